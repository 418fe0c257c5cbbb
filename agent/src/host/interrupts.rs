//! Interrupts of each CPU by `/proc/interrupts`, for kernels that take no probes.

use std::collections::BTreeMap;

use super::HostFiles;

/// Interrupts that a CPU took since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuInterrupts {
    /// By its own timer.
    pub timer: u64,
    /// By other CPUs and by itself. Where the kernel counts a call to flush the TLB under two names, it counts twice.
    pub ipis: u64,
    /// By devices, the hypervisor included.
    pub devices: u64,
}

/// Every line of `/proc/interrupts`: what each CPU took of it since boot.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    cpus: Vec<u32>,
    by_label: BTreeMap<String, Vec<u64>>,
}

impl Counts {
    /// Of that CPU, by the label of the line; absent where there is no such line or CPU.
    #[must_use]
    pub fn of(&self, cpu: u32, label: &str) -> Option<u64> {
        let place = self.cpus.iter().position(|one| *one == cpu)?;
        self.by_label.get(label)?.get(place).copied()
    }
}

/// What a line of `/proc/interrupts` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Timer,
    Ipi,
    Device,
}

impl HostFiles {
    /// Of every CPU that is online; absent where the file cannot be read or has no CPUs.
    #[must_use]
    pub fn interrupts(&self) -> Option<BTreeMap<u32, CpuInterrupts>> {
        let found = parse(&self.read("proc/interrupts")?);
        (!found.is_empty()).then_some(found)
    }

    /// Every line of them; absent where the file cannot be read.
    #[must_use]
    pub fn interrupt_counts(&self) -> Option<Counts> {
        self.read("proc/interrupts").map(|text| counts(&text))
    }
}

/// The first line names the CPUs.
fn online(header: &str) -> Vec<u32> {
    header.split_whitespace().filter_map(|name| name.strip_prefix("CPU")?.parse().ok()).collect()
}

fn counts(text: &str) -> Counts {
    let mut lines = text.lines();
    let cpus = online(lines.next().unwrap_or_default());
    let of_line = |line: &str| {
        let (label, rest) = line.split_once(':')?;
        Some((label.trim().to_owned(), counts_of(&mut rest.split_whitespace(), cpus.len())?))
    };
    let by_label = lines.filter_map(of_line).collect();
    Counts { cpus, by_label }
}

/// The first line names the CPUs, the others have a label and a count for each of them.
fn parse(text: &str) -> BTreeMap<u32, CpuInterrupts> {
    let mut lines = text.lines();
    let cpus = online(lines.next().unwrap_or_default());
    let mut found: BTreeMap<u32, CpuInterrupts> = cpus.iter().map(|cpu| (*cpu, CpuInterrupts::default())).collect();
    for line in lines {
        let Some((source, counts)) = parse_line(line, cpus.len()) else { continue };
        for (cpu, count) in cpus.iter().zip(counts) {
            let interrupts = found.entry(*cpu).or_default();
            let counter = match source {
                Source::Timer => &mut interrupts.timer,
                Source::Ipi => &mut interrupts.ipis,
                Source::Device => &mut interrupts.devices,
            };
            *counter = counter.saturating_add(count);
        }
    }
    found
}

/// Absent where it is none of the three, or has no count for each CPU (`ERR`, `MIS`).
fn parse_line(line: &str, cpus: usize) -> Option<(Source, Vec<u64>)> {
    let (label, rest) = line.split_once(':')?;
    let mut words = rest.split_whitespace();
    let counts = counts_of(&mut words, cpus)?;
    Some((source(label.trim(), words.next_back().unwrap_or_default())?, counts))
}

/// A count for each CPU; absent where there are fewer.
fn counts_of<'a>(words: &mut impl Iterator<Item = &'a str>, cpus: usize) -> Option<Vec<u64>> {
    let counts: Vec<u64> = words.take(cpus).map_while(|word| word.parse().ok()).collect();
    (counts.len() == cpus).then_some(counts)
}

/// By the label (`arch/x86/kernel/irq.c`, `arch/arm64/kernel/smp.c`) and the name of the handler. What cannot be masked
/// (`NMI`, `PMI`, `MCE`) says nothing of a CPU that keeps interrupts out, and is none.
fn source(label: &str, handler: &str) -> Option<Source> {
    match label {
        "LOC" | "HVS" => Some(Source::Timer),
        "RES" | "CAL" | "TLB" | "IWI" => Some(Source::Ipi),
        "HYP" => Some(Source::Device),
        _ if label.starts_with("IPI") => Some(Source::Ipi),
        _ if label.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(if is_timer(handler) { Source::Timer } else { Source::Device })
        }
        _ => None,
    }
}

/// The timer of a CPU has a numbered line on arm64 (`arch_timer`) and on Xen, by CPU (`timer0`, `arch/x86/xen/time.c`). That of the
/// board (`timer`) interrupts one CPU only.
fn is_timer(handler: &str) -> bool {
    let of_cpu = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    handler == "arch_timer" || handler.strip_prefix("timer").is_some_and(of_cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    const XEN: &str = "           CPU0       CPU1\n 48:       900          0   xen-percpu    -virq      timer0\n 50:         0        \
        800   xen-percpu    -virq      timer1\n 60:         7          0   xen-dyn    -event     eth0\nLOC:          0          \
        0   Local timer interrupts\nHYP:        907        800   Hypervisor callback interrupts\n";

    const X86: &str = "           CPU0       CPU3       \n  0:         10          0   IO-APIC   2-edge      timer\n\
        \x20 24:          0          7   PCI-MSI 81920-edge      virtio0-input.0\nNMI:          5          5   \
        Non-maskable interrupts\nLOC:        100        200   Local timer interrupts\nRES:         30         40   \
        Rescheduling interrupts\nCAL:          1          2   Function call interrupts\nERR:          9\nMIS:          0\n";

    const ARM: &str = "       CPU0\n 11:   50   GICv3  27 Level     arch_timer\n 40:    3   GICv3  78 Edge      eth0\n\
        IPI0:   4       Rescheduling interrupts\n";

    #[test]
    fn timer_other_cpus_and_devices_are_told_apart() {
        let found = parse(X86);
        assert_eq!(found[&0], CpuInterrupts { timer: 100, ipis: 31, devices: 10 });
        assert_eq!(found[&3], CpuInterrupts { timer: 200, ipis: 42, devices: 7 });
        assert_eq!(parse(ARM)[&0], CpuInterrupts { timer: 50, ipis: 4, devices: 3 });
        assert_eq!(parse(XEN)[&0].timer, 900);
        assert_eq!(parse(XEN)[&1].timer, 800);
    }

    #[test]
    fn rubbish_counts_nothing() {
        assert!(parse("").is_empty());
        assert_eq!(parse("CPU0\nLOC: many\nLOC 5\n:\n")[&0], CpuInterrupts::default());
    }

    #[test]
    fn this_host_can_be_read() {
        let found = HostFiles::default().interrupts().unwrap();
        assert!(found.values().any(|cpu| cpu.timer > 0), "{found:?}");
    }
}
