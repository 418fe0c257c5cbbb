//! How often each CPU takes each interrupt, by `/proc/interrupts`: a vCPU that is taken away is likely to be in the handler of one
//! that comes thousands of times a second. It is read while all is well: the kernel takes locks for it that a CPU in trouble may hold.

use std::time::Duration;

use lacuna_core::time::Nanos;

use crate::host::HostFiles;
use crate::host::interrupts::Counts;

/// Between two readings, and between the first two.
const EVERY: Duration = Duration::from_secs(60);
const FIRST: Duration = Duration::from_secs(2);

/// By the last two readings.
#[derive(Debug, Default)]
pub(super) struct Rates {
    now: Reading,
    before: Reading,
}

#[derive(Debug, Default)]
struct Reading {
    at: Nanos,
    counts: Counts,
}

impl Rates {
    /// Reads them again where that is due at `now`.
    pub(super) fn follow(&mut self, files: &HostFiles, now: Nanos) {
        let wait = if self.before.at == Nanos(0) { FIRST } else { EVERY };
        if self.now.at != Nanos(0) && now < self.now.at.plus(wait) {
            return;
        }
        if let Some(counts) = files.interrupt_counts() {
            self.before = std::mem::replace(&mut self.now, Reading { at: now, counts });
        }
    }

    /// How often a second that CPU took the interrupt with that name, as the probes have it, at least 1 where it took any; absent
    /// where that is not counted.
    pub(super) fn of(&self, cpu: u32, name: &str) -> Option<u64> {
        let label = label(name)?;
        let [now, before] = [&self.now, &self.before].map(|reading| reading.counts.of(cpu, label));
        let seconds = self.now.at.since(self.before.at).as_secs().max(1);
        Some(now?.saturating_sub(before?).div_ceil(seconds))
    }
}

/// The line of `/proc/interrupts` (`arch/x86/kernel/irq.c`).
fn label(name: &str) -> Option<&str> {
    match name {
        "local_timer" => Some("LOC"),
        "reschedule" => Some("RES"),
        "call_function" | "call_function_single" => Some("CAL"),
        "irq_work" => Some("IWI"),
        _ => name.strip_prefix("irq "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(irq: u64, cross_calls: u64) -> (tempfile::TempDir, HostFiles) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("proc")).unwrap();
        let text = format!(
            "  CPU0 CPU3\n 24: 0 {irq} PCI-MSI 81920-edge virtio0-input.0\nCAL: 1 {cross_calls} Function call interrupts\n"
        );
        std::fs::write(root.path().join("proc/interrupts"), text).unwrap();
        let files = HostFiles::below(root.path());
        (root, files)
    }

    #[test]
    fn what_came_between_the_last_two_readings_counts() {
        let mut rates = Rates::default();
        let mut read = |irq, cross_calls, seconds: u64| {
            let (_root, files) = files(irq, cross_calls);
            rates.follow(&files, Nanos(seconds * 1_000_000_000));
            ["irq 24", "call_function_single", "irq 25", "thermal"].map(|name| rates.of(3, name))
        };
        assert_eq!(read(5000, 500, 1000), [None; 4], "what came as the machine was booted is no rate");
        assert_eq!(read(9000, 500, 1001), [None; 4], "it is not due yet");
        assert_eq!(read(5200, 501, 1002), [Some(100), Some(1), None, None]);
        assert_eq!(read(6000, 501, 1060), [Some(100), Some(1), None, None]);
        assert_eq!(read(6400, 501, 1062), [Some(20), Some(0), None, None]);
        assert_eq!((rates.of(0, "irq 24"), rates.of(7, "irq 24")), (Some(0), None));
    }

    #[test]
    fn what_cannot_be_read_is_not_counted() {
        let mut rates = Rates::default();
        rates.follow(&HostFiles::below(std::path::Path::new("/nowhere")), Nanos(1));
        assert_eq!(rates.of(0, "local_timer"), None);
    }
}
