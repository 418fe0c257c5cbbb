//! What the kernel itself says in its log (`/dev/kmsg`) about stalls: its own watchdogs and what comes with them.
//!
//! Evidence beside other evidence, never the only one: the watchdogs are slow (10 s and more), and after a pause of the
//! whole machine they hold their tongue.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;

use lacuna_core::time::Nanos;
use nix::errno::Errno;
use thiserror::Error;

use super::HostFiles;

/// Most records that one call reads; the others stay in the kernel's log until the next one.
const MAX_RECORDS: usize = 256;
/// The longest record (`PRINTK_MESSAGE_MAX` of Linux 6.1 is 2048, `CONSOLE_EXT_LOG_MAX` before it 8192).
const MAX_RECORD_BYTES: usize = 8192;
/// Longer texts are cut.
const MAX_TEXT_CHARS: usize = 200;

/// Why the kernel's log cannot be read.
#[derive(Debug, Error)]
pub enum KmsgError {
    /// The kernel does not allow it.
    #[error("/dev/kmsg: not permitted: CAP_SYSLOG is needed (kernel.dmesg_restrict); grant it in the unit file")]
    NotPermitted,
    /// It is not there, or cannot be read.
    #[error("/dev/kmsg: {0}; the kernel's own messages are not evidence then")]
    Unreadable(io::Error),
}

/// A message of the kernel that says something about a stall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelMessage {
    /// When it was written, by the clock of the kernel's log: close to `CLOCK_MONOTONIC`, but not corrected by NTP.
    pub at: Nanos,
    /// What it is about.
    pub kind: KernelMessageKind,
    /// The message, at most 200 characters.
    pub text: String,
    /// The CPU that it names as the one concerned.
    pub cpu: Option<u32>,
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelMessageKind {
    /// A CPU did not schedule for 20 s by default.
    SoftLockup,
    /// A CPU took no interrupt for 10 s by default.
    HardLockup,
    /// RCU waited too long for a CPU or a task.
    RcuStall,
    /// A task was blocked for 120 s by default.
    HungTask,
    /// A clock source was read too late, or runs wrong.
    ClocksourceWatchdog,
    /// A local interrupt controller reported an error.
    ApicError,
    /// A network card did not send what it was given.
    NetdevWatchdog,
    /// Real-time tasks took so much time that the others got their part by force.
    RtThrottling,
    /// A process was killed since memory ran out.
    OutOfMemory,
}

impl KernelMessageKind {
    /// Its name in evidence.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SoftLockup => "soft-lockup",
            Self::HardLockup => "hard-lockup",
            Self::RcuStall => "rcu-stall",
            Self::HungTask => "hung-task",
            Self::ClocksourceWatchdog => "clocksource-watchdog",
            Self::ApicError => "apic-error",
            Self::NetdevWatchdog => "netdev-watchdog",
            Self::RtThrottling => "rt-throttling",
            Self::OutOfMemory => "out-of-memory",
        }
    }
}

/// The kernel's log, from the moment of opening on.
#[derive(Debug)]
pub struct Kmsg {
    file: File,
    /// The number of the record that should come next.
    next: Option<u64>,
    lost: u64,
}

impl HostFiles {
    /// Opens the kernel's log; what is in it already is not read.
    ///
    /// # Errors
    /// Where it cannot be opened; nothing is held open then.
    pub fn kmsg(&self) -> Result<Kmsg, KmsgError> {
        let path = self.root.join("dev/kmsg");
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(path)
            .map_err(KmsgError::of)?;
        file.seek(SeekFrom::End(0)).map_err(KmsgError::of)?;
        Ok(Kmsg::from_file(file))
    }
}

impl KmsgError {
    fn of(error: io::Error) -> Self {
        if error.kind() == ErrorKind::PermissionDenied { Self::NotPermitted } else { Self::Unreadable(error) }
    }
}

impl Kmsg {
    fn from_file(file: File) -> Self {
        Self { file, next: None, lost: 0 }
    }

    /// What came since the last call and says something about a stall; never blocks.
    pub fn drain(&mut self) -> Vec<KernelMessage> {
        let mut found = Vec::new();
        let mut record = [0; MAX_RECORD_BYTES];
        for _ in 0..MAX_RECORDS {
            match self.file.read(&mut record) {
                Ok(0) => break,
                Ok(length) => {
                    let record = String::from_utf8_lossy(&record[..length]);
                    self.count_lost(&record);
                    found.extend(parse(&record));
                }
                // Records were overwritten before they were read (EPIPE): the next number shows how many.
                Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => {}
                Err(_) => break,
            }
        }
        found
    }

    /// Records that were overwritten before they could be read, since the opening.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn count_lost(&mut self, record: &str) {
        let number = record.split(',').nth(1).and_then(|number| number.parse::<u64>().ok());
        if let (Some(number), Some(next)) = (number, self.next) {
            self.lost = self.lost.saturating_add(number.saturating_sub(next));
        }
        self.next = number.map(|number| number.saturating_add(1)).or(self.next);
    }
}

/// What the record says (`Documentation/ABI/testing/dev-kmsg`); absent where it says nothing of a stall, or was not written
/// by the kernel: everybody who may write to `/dev/kmsg` could claim anything.
#[must_use]
pub fn parse(record: &str) -> Option<KernelMessage> {
    let (prefix, message) = record.split_once(';')?;
    let text = message.lines().next()?;
    let mut fields = prefix.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let microseconds: u64 = fields.nth(1)?.parse().ok()?;
    let is_kernel = priority >> 3 == 0;
    let kind = kind(text).filter(|_| is_kernel)?;
    Some(KernelMessage {
        at: Nanos(microseconds.saturating_mul(1000)),
        kind,
        text: text.chars().take(MAX_TEXT_CHARS).collect(),
        cpu: cpu(kind, text),
    })
}

/// Words of the kernel and what they are about, from Linux 5.8 to 6.18: `kernel/watchdog.c`, `kernel/watchdog_perf.c`,
/// `kernel/rcu/tree_stall.h`, `kernel/hung_task.c`, `kernel/time/clocksource.c`, `arch/x86/kernel/apic/apic.c`,
/// `net/sched/sch_generic.c`, `kernel/sched/rt.c`, `mm/oom_kill.c`.
const WORDS: [(&str, KernelMessageKind); 14] = [
    ("BUG: soft lockup", KernelMessageKind::SoftLockup),
    ("Watchdog detected hard LOCKUP", KernelMessageKind::HardLockup),
    ("self-detected stall on CPU", KernelMessageKind::RcuStall),
    ("detected stalls on CPUs/tasks", KernelMessageKind::RcuStall),
    ("detected expedited stalls on CPUs/tasks", KernelMessageKind::RcuStall),
    ("kthread starved for", KernelMessageKind::RcuStall),
    ("blocked for more than", KernelMessageKind::HungTask),
    ("clocksource: timekeeping watchdog", KernelMessageKind::ClocksourceWatchdog),
    ("clocksource: Marking clocksource", KernelMessageKind::ClocksourceWatchdog),
    ("clocksource: Long readout interval", KernelMessageKind::ClocksourceWatchdog),
    ("APIC error on CPU", KernelMessageKind::ApicError),
    ("NETDEV WATCHDOG", KernelMessageKind::NetdevWatchdog),
    ("sched: RT throttling activated", KernelMessageKind::RtThrottling),
    ("ut of memory: Killed process", KernelMessageKind::OutOfMemory),
];

fn kind(text: &str) -> Option<KernelMessageKind> {
    WORDS.iter().find(|(words, _)| text.contains(words)).map(|(_, kind)| *kind)
}

/// The CPU concerned. Where the number is only that of the one that noticed, there is none.
fn cpu(kind: KernelMessageKind, text: &str) -> Option<u32> {
    let before = match kind {
        KernelMessageKind::SoftLockup => "CPU#",
        KernelMessageKind::HardLockup => "LOCKUP on cpu ",
        KernelMessageKind::ApicError => "APIC error on CPU",
        _ => return None,
    };
    let (_, rest) = text.split_once(before)?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

#[cfg(test)]
#[path = "kmsg_tests.rs"]
mod tests;
