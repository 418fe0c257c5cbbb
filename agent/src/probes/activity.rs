//! What a CPU did so far, as the probes count it.

use std::fmt;

use lacuna_abi::{
    CpuActivity as Raw, CpuSwitches as RawSwitches, INTERRUPT_CALL_FUNCTION, INTERRUPT_CALL_FUNCTION_SINGLE,
    INTERRUPT_DEVICE, INTERRUPT_IRQ_WORK, INTERRUPT_RESCHEDULE, INTERRUPT_TIMER,
};
use lacuna_core::evidence::Handler;
use lacuna_core::time::Nanos;

use super::decode::{long, word};

/// What a CPU did since the probes were loaded. A figure that the running kernel does not give is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuActivity {
    /// Its latest local timer interrupt; absent before the first one.
    pub timer_at: Option<Nanos>,
    /// Local timer interrupts.
    pub timer_interrupts: Option<u64>,
    /// Interrupts by other CPUs, by itself and by devices: all but the timer's.
    pub interrupts: Option<u64>,
    /// Softirqs that began.
    pub softirqs: Option<u64>,
    /// Switches from one task to another.
    pub switches: Option<u64>,
    /// The thread id that it switched to last; 0 for the idle task. Absent before the first switch.
    pub running: Option<u32>,
    /// When that was.
    pub switched_at: Option<Nanos>,
    /// The interrupt handler that it is in right now.
    pub handler: Option<Handler>,
    /// The latest one that took long, and has ended.
    pub long_handler: Option<Handler>,
}

/// Kinds of interrupts. The text is the kernel's own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// The CPU's own timer.
    LocalTimer,
    /// Another CPU asks it to look at its run queue.
    Reschedule,
    /// A call by another CPU that goes to several.
    CallFunction,
    /// A call by another CPU that goes to this one only.
    CallFunctionSingle,
    /// Work that was put off.
    IrqWork,
    /// A device, by the number of the interrupt.
    Device(u32),
}

impl Interrupt {
    /// From `INTERRUPT_*` and the number; absent where it is none that this version knows.
    pub(super) fn decode(kind: u32, irq: u32) -> Option<Self> {
        Some(match kind {
            INTERRUPT_TIMER => Self::LocalTimer,
            INTERRUPT_RESCHEDULE => Self::Reschedule,
            INTERRUPT_CALL_FUNCTION => Self::CallFunction,
            INTERRUPT_CALL_FUNCTION_SINGLE => Self::CallFunctionSingle,
            INTERRUPT_IRQ_WORK => Self::IrqWork,
            INTERRUPT_DEVICE => Self::Device(irq),
            _ => return None,
        })
    }
}

impl fmt::Display for Interrupt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::LocalTimer => "local_timer",
            Self::Reschedule => "reschedule",
            Self::CallFunction => "call_function",
            Self::CallFunctionSingle => "call_function_single",
            Self::IrqWork => "irq_work",
            Self::Device(irq) => return write!(formatter, "irq {irq}"),
        })
    }
}

/// Which hooks are attached, hence which figures mean something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watched {
    /// The timer's interrupt.
    pub(super) timer: bool,
    /// All other interrupts.
    pub(super) others: bool,
    /// Entry and exit of all interrupts.
    pub(super) handlers: bool,
    /// The begin of softirqs.
    pub(super) softirqs: bool,
}

/// An [`Raw`] as a map read gives it.
pub(super) type ActivityBytes = [u8; size_of::<Raw>()];
/// A [`RawSwitches`] as a map read gives it.
pub(super) type SwitchesBytes = [u8; size_of::<RawSwitches>()];

/// How the times of the probes become times of the boot clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// How far the boot clock is ahead of `CLOCK_MONOTONIC`, in nanoseconds.
    pub(super) boot_ahead: u64,
}

impl Times {
    fn exact(&self, monotonic: u64) -> Option<Nanos> {
        (monotonic > 0).then(|| Nanos(monotonic.saturating_add(self.boot_ahead)))
    }
}

impl CpuActivity {
    /// What the counters of interrupts say; absent where the bytes are too few.
    pub(super) fn add_interrupts(&mut self, bytes: &[u8], watched: Watched, times: &Times) -> Option<()> {
        let field = |offset| long(bytes, offset);
        if watched.timer {
            self.timer_at = times.exact(field(std::mem::offset_of!(Raw, timer_at))?);
            self.timer_interrupts = Some(field(std::mem::offset_of!(Raw, timers))?);
        }
        if watched.others {
            let (ipis, devices) = (field(std::mem::offset_of!(Raw, ipis))?, field(std::mem::offset_of!(Raw, devices))?);
            self.interrupts = Some(ipis.saturating_add(devices));
        }
        if watched.softirqs {
            self.softirqs = Some(field(std::mem::offset_of!(Raw, softirqs))?);
        }
        if watched.handlers {
            self.handler = handler(bytes, times);
            self.long_handler = long_handler(bytes, times);
        }
        Some(())
    }

    /// What the counters of switches say; absent where the bytes are too few.
    pub(super) fn add_switches(&mut self, bytes: &[u8], times: &Times) -> Option<()> {
        let field = |offset| long(bytes, offset);
        self.switches = Some(field(std::mem::offset_of!(RawSwitches, count))?);
        self.switched_at = times.exact(field(std::mem::offset_of!(RawSwitches, at))?);
        let running = field(std::mem::offset_of!(RawSwitches, pid))?;
        self.running = u32::try_from(running).ok().filter(|_| self.switched_at.is_some());
        Some(())
    }
}

fn handler(bytes: &[u8], times: &Times) -> Option<Handler> {
    let kind = word(bytes, std::mem::offset_of!(Raw, handler))?;
    let interrupt = Interrupt::decode(kind, word(bytes, std::mem::offset_of!(Raw, irq))?)?;
    let since = times.exact(long(bytes, std::mem::offset_of!(Raw, interrupt_at))?)?;
    Some(Handler { name: interrupt.to_string(), since, until: None, per_second: None })
}

fn long_handler(bytes: &[u8], times: &Times) -> Option<Handler> {
    let kind = word(bytes, std::mem::offset_of!(Raw, long_handler))?;
    let interrupt = Interrupt::decode(kind, word(bytes, std::mem::offset_of!(Raw, long_irq))?)?;
    let since = times.exact(long(bytes, std::mem::offset_of!(Raw, long_since))?)?;
    let until = times.exact(long(bytes, std::mem::offset_of!(Raw, long_until))?);
    Some(Handler { name: interrupt.to_string(), since, until, per_second: None })
}

#[cfg(test)]
#[path = "activity_tests.rs"]
mod tests;
