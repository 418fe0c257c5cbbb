//! What a guest dies of that is neither the agent nor a fault step: the emulator.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// What the kernel says of a breakpoint that nobody set (`arch/x86/kernel/traps.c`, `do_int3`).
const STRAY_BREAKPOINT: &str = "Oops: int3";
/// What the watchdog says of a CPU that waits for another one (`kernel/watchdog.c`, `watchdog_timer_fn`), after 20 s and more,
/// and where it waits (`arch/x86/kernel/alternative.c`, `text_poke_bp_batch`). No scenario stalls a kernel for so long.
const STUCK_PATCHING: [&str; 2] = ["BUG: soft lockup", "text_poke_bp_batch+"];
/// Before the addresses of the functions that handle a breakpoint, which a guest tells on its console once it is up.
const HANDLERS: &str = "lab: breakpoint handlers ";
/// What is written of a guest that does not answer and has a CPU in them.
const STUCK_HANDLING: &str = "lab: a CPU without interrupts does not leave a breakpoint";
/// What is written of a guest whose emulator let a CPU stand still that nobody froze.
const STANDS_STILL: &str = "lab: a CPU that is run does not leave an instruction of a program";
/// How often, and how far apart, it is looked where the CPUs of such a guest are; and how often one has to be in them.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
const ENOUGH: usize = 5;
/// `IF` of the flags: interrupts are taken (Intel SDM volume 1, 3.4.3.3).
const INTERRUPTS_ON: u64 = 1 << 9;

/// Whether a guest's kernel died of the emulator: Linux patches its code (to attach a probe, for one) by way of breakpoints
/// that it takes out again once every CPU has seen the new code. QEMU's emulation of several CPUs may run one that was
/// taken out, again and again, or a CPU never answers that it has seen it. Such a run says nothing of the agent.
pub(crate) fn emulator_erred(folder: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "log") && is_of_emulator(&std::fs::read(&path)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_of_emulator(log: &[u8]) -> bool {
    let log = String::from_utf8_lossy(log);
    log.contains(STRAY_BREAKPOINT)
        || log.contains(STUCK_HANDLING)
        || log.contains(STANDS_STILL)
        || STUCK_PATCHING.iter().all(|words| log.contains(words))
}

/// Looks for a CPU that runs into the same breakpoint for ever; `registers` gives a CPU's, as QEMU prints them. With its
/// interrupts off nothing in the guest tells of it. What was found is written beside the console of that name.
pub(super) fn look_for_breakpoints(
    folder: &Path,
    name: &str,
    cpus: u32,
    registers: impl Fn(u32) -> Result<String>,
) -> Result<()> {
    let console = std::fs::read(folder.join(format!("{name}.log"))).context("its console")?;
    let handlers = handlers(&String::from_utf8_lossy(&console));
    for cpu in 0..cpus {
        let mut inside = 0;
        for _ in 0..LOOKS {
            inside += usize::from(is_inside(&handlers, &registers(cpu)?));
            std::thread::sleep(BETWEEN_LOOKS);
        }
        if inside >= ENOUGH {
            let found = format!("{STUCK_HANDLING}: CPU {cpu}, {inside} of {LOOKS} looks\n");
            std::fs::write(folder.join(format!("{name}.breakpoint.log")), found)?;
        }
    }
    Ok(())
}

/// Looks whether a CPU that does not answer stands at one instruction of a program, which each tick of its timer would have
/// it leave. One that waits for another CPU does so in the kernel; so the emulator itself waits, for a thread of its own that
/// is frozen. What was found is written beside the console of that name.
pub(super) fn look_for_standstill(
    folder: &Path,
    name: &str,
    cpu: u32,
    registers: impl Fn() -> Result<String>,
) -> Result<bool> {
    let first = registers()?;
    let Some(at) = program_counter(&first) else { return Ok(false) };
    for _ in 1..LOOKS {
        std::thread::sleep(BETWEEN_LOOKS);
        if program_counter(&registers()?) != Some(at) {
            return Ok(false);
        }
    }
    std::fs::write(folder.join(format!("{name}.standstill.log")), format!("{STANDS_STILL}: CPU {cpu}\n{first}"))?;
    Ok(true)
}

/// Where a CPU is that runs a program, and does not wait for an interrupt.
fn program_counter(registers: &str) -> Option<u64> {
    let is = |part| registers.split_whitespace().any(|word| word == part);
    register(registers, "RIP").filter(|_| is("CPL=3") && is("HLT=0"))
}

/// From where to where the handlers are, of `ffffffffa5c01000-ffffffffa5c01130` and so on.
fn handlers(console: &str) -> Vec<Range<u64>> {
    // Of the last boot: the kernel is somewhere else after each.
    let (_, line) = console.rsplit_once(HANDLERS).unwrap_or_default();
    let line = line.lines().next().unwrap_or_default();
    let address = |word: &str| u64::from_str_radix(word, 16).ok();
    let ranges = line.split_whitespace().filter_map(|range| range.split_once('-'));
    ranges.filter_map(|(from, to)| Some(address(from)?..address(to)?)).collect()
}

/// Whether that CPU takes no interrupts and is in one of the handlers.
fn is_inside(handlers: &[Range<u64>], registers: &str) -> bool {
    let (Some(at), Some(flags)) = (register(registers, "RIP"), register(registers, "RFL")) else { return false };
    flags & INTERRUPTS_ON == 0 && handlers.iter().any(|handler| handler.contains(&at))
}

/// The value of that register, as QEMU's `x86_cpu_dump_state` prints it.
fn register(registers: &str, name: &str) -> Option<u64> {
    let value = registers.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
    u64::from_str_radix(value, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::folder::Folder;

    #[test]
    fn only_what_patching_did_is_of_the_emulator() {
        let stuck = "watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [lacuna:94]\n";
        let cases = [
            ("Oops: int3 [#1] PREEMPT SMP", true),
            (stuck, false),
            (&format!("{stuck} text_poke_bp_batch+0x29f/0x300\n"), true),
            (&format!("{STUCK_HANDLING}: CPU 1, 12 of 20 looks"), true),
            ("INFO: rcu_preempt detected stalls\n text_poke_bp_batch+0x29f/0x300", false),
        ];
        for (log, expected) in cases {
            assert_eq!(is_of_emulator(log.as_bytes()), expected, "{log}");
        }
    }

    /// A guest whose second CPU is where `second` says, once a folder has its console.
    fn looked(second: &str) -> bool {
        let folder = Folder::create("breakpoint-test").unwrap();
        let console =
            format!("[    1.2] up\n{HANDLERS}ffffffff81a00000-ffffffff81a00040 ffffffff81b00000-ffffffff81b00010\r\n");
        std::fs::write(folder.path().join("db1.log"), console).unwrap();
        let registers =
            |cpu| Ok(if cpu == 1 { second } else { "RIP=ffffffff81a00010 RFL=00000246 [---Z-P-]" }.to_owned());
        look_for_breakpoints(folder.path(), "db1", 2, registers).unwrap();
        emulator_erred(folder.path()).unwrap()
    }

    #[test]
    fn only_a_cpu_in_the_handlers_without_interrupts_is_stuck() {
        assert!(looked("RAX=0 RIP=ffffffff81b0000f RFL=00000046 [---Z-P-] CPL=0"));
        assert!(!looked("RAX=0 RIP=ffffffff81b00010 RFL=00000046 [---Z-P-] CPL=0"), "behind it");
        assert!(!looked("RAX=0 RIP=ffffffff81b0000f RFL=00000246 [---Z-P-] CPL=0"), "it takes interrupts");
        assert!(!looked("no registers"));
    }

    /// Whether a CPU stands still whose registers are these, one after the other, and again.
    fn stands(registers: &[&str]) -> bool {
        let folder = Folder::create("standstill-test").unwrap();
        let number = std::cell::Cell::new(0);
        let next = || Ok(registers[number.replace(number.get() + 1) % registers.len()].to_owned());
        let stands = look_for_standstill(folder.path(), "db1", 1, next).unwrap();
        assert_eq!(emulator_erred(folder.path()).unwrap(), stands, "it is written down");
        stands
    }

    #[test]
    fn only_a_cpu_that_stays_in_a_program_stands_still() {
        let at = "RIP=00007f1200001000 RFL=00000246 [---Z-P-] CPL=3 II=0 A20=1 SMM=0 HLT=0";
        assert!(stands(&[at]));
        assert!(!stands(&[at, &at.replace("1000 ", "1004 ")]), "it goes on");
        assert!(!stands(&[&at.replace("CPL=3", "CPL=0")]), "the kernel may wait for another CPU");
        assert!(!stands(&[&at.replace("HLT=0", "HLT=1")]));
        assert!(!stands(&["no registers"]));
    }
}
