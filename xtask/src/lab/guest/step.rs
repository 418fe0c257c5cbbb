//! What a scenario may do to its guests.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::vm::CPUS;

/// `LONGEST` in the module that stalls the kernel.
const LONGEST: Duration = Duration::from_secs(20);
/// The periods and the shortest quota of Linux (kernel/sched/core.c, `max_cfs_quota_period` and its neighbours).
const PERIODS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(1);

/// That part of a period.
pub(crate) fn part(percent: u32, period: Duration) -> Duration {
    period * percent / 100
}

/// The kinds of steps of guests, each by the member of the step that names it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GuestStep {
    /// The local timer of a CPU is masked.
    TimerMask(OnCpu),
    /// And unmasked.
    TimerUnmask(OnCpu),
    /// A virtual CPU is not run any more.
    VcpuFreeze(Freeze),
    /// And run again.
    VcpuThaw(OnCpu),
    /// The emulator stops all CPUs and clocks.
    VmPause(String),
    /// And lets them go on.
    VmResume(String),
    /// The emulator itself is stopped; clocks run on.
    VmStop(VmStop),
    /// And continued.
    VmContinue(String),
    /// All virtual CPUs together get a part of a CPU.
    VcpuThrottle(Throttle),
    /// A real-time task keeps a CPU.
    RtHog(RtHog),
    /// A CPU keeps its interrupts off.
    IrqsOff(Stall),
    /// A CPU runs kernel code that does not leave it, and takes its interrupts.
    PreemptOff(Stall),
    /// A CPU is in the handler of a cross-call.
    LongHandler(Stall),
    /// A CPU keeps its interrupts off, and another one waits for it to answer a cross-call.
    CrossCallWait(Stall),
    /// The guest is reset, boots, and its agent starts again.
    Reset(String),
    /// A discipline on the guest's link.
    Netem(Netem),
    /// The discipline goes.
    NetemOff(String),
    /// The agent gets a part of a CPU.
    AgentQuota(Quota),
    /// A busy task that is not the agent gets a part of a CPU.
    OthersQuota(Quota),
    /// Two tasks on a CPU that wake each other as fast as they can: most of its time goes to the kernel.
    KernelLoad(Stall),
    /// `stress-ng`.
    Stress(Stress),
    /// The disk does not answer while a task reads from it.
    DiskStall(DiskStall),
}

/// A CPU of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OnCpu {
    /// Whose.
    pub(crate) host: String,
    /// Which, from 0.
    pub(crate) cpu: u32,
}

/// `vcpu-freeze`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Freeze {
    /// Whose.
    pub(crate) host: String,
    /// Which, from 0.
    pub(crate) cpu: u32,
    /// Whether it must be taken away while it is halted. Anywhere else what it does then may look like a lock-up, and
    /// an idle CPU ticks.
    #[serde(default)]
    pub(crate) halted: bool,
}

/// `vm-stop`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VmStop {
    /// Whose.
    pub(crate) host: String,
    /// Whether one of its CPUs must be halted. Where all are in the kernel, one may wait for a lock of another for all that
    /// anybody in the guest can know.
    #[serde(default)]
    pub(crate) halted: bool,
}

/// A CPU of a guest for a time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stall {
    /// Whose.
    pub(crate) host: String,
    /// Which, from 0.
    pub(crate) cpu: u32,
    /// For how long, at most 20 s.
    #[serde(with = "humantime_serde")]
    pub(crate) lasts: Duration,
}

/// `vcpu-throttle`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Throttle {
    /// Whose.
    pub(crate) host: String,
    /// Percent of one CPU for all of them.
    pub(crate) quota_percent: u32,
    /// In each of which they get it; at most 1 s.
    #[serde(with = "humantime_serde")]
    pub(crate) period: Duration,
    /// For how long.
    #[serde(with = "humantime_serde")]
    pub(crate) lasts: Duration,
}

/// `rt-hog`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RtHog {
    /// Whose.
    pub(crate) host: String,
    /// On which CPU.
    pub(crate) cpu: u32,
    /// For how long.
    #[serde(with = "humantime_serde")]
    pub(crate) lasts: Duration,
    /// Whether the kernel leaves a part to ordinary tasks, as it does where nobody changes it.
    pub(crate) throttled: bool,
}

/// `netem`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Netem {
    /// On whose link.
    pub(crate) host: String,
    /// As `tc` takes it, such as `loss 100%`.
    pub(crate) args: String,
    /// Done to IPv4 only. An ARP frame with a flipped bit would give its receiver a wrong neighbour, which is another fault.
    #[serde(default)]
    pub(crate) ipv4_only: bool,
}

/// `agent-quota` and `others-quota`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quota {
    /// Whose.
    pub(crate) host: String,
    /// Percent of one CPU.
    pub(crate) percent: u32,
    /// In each of which they get it; at most 1 s.
    #[serde(with = "humantime_serde")]
    pub(crate) period: Duration,
    /// For how long.
    #[serde(with = "humantime_serde")]
    pub(crate) lasts: Duration,
}

/// `stress`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Stress {
    /// Whose.
    pub(crate) host: String,
    /// Busy tasks.
    pub(crate) cpu: u32,
    /// Memory that one task writes on and on, as `stress-ng` takes it.
    pub(crate) vm_bytes: String,
    /// For how long.
    #[serde(with = "humantime_serde")]
    pub(crate) lasts: Duration,
}

/// `disk-stall`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiskStall {
    /// Whose.
    pub(crate) host: String,
    /// For how long.
    #[serde(with = "humantime_serde")]
    pub(crate) lasts: Duration,
}

impl GuestStep {
    /// By which steps are told from those that other hosts have, too.
    pub(crate) const NAMES: [&str; 22] = [
        "timer-mask",
        "timer-unmask",
        "vcpu-freeze",
        "vcpu-thaw",
        "vm-pause",
        "vm-resume",
        "vm-stop",
        "vm-continue",
        "vcpu-throttle",
        "rt-hog",
        "irqs-off",
        "preempt-off",
        "long-handler",
        "cross-call-wait",
        "reset",
        "netem",
        "netem-off",
        "agent-quota",
        "others-quota",
        "kernel-load",
        "stress",
        "disk-stall",
    ];

    /// The guest that it is done to.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::TimerMask(on) | Self::TimerUnmask(on) | Self::VcpuThaw(on) => &on.host,
            Self::VcpuFreeze(freeze) => &freeze.host,
            Self::VmStop(stop) => &stop.host,
            Self::VmPause(host) | Self::VmResume(host) | Self::VmContinue(host) => host,
            Self::Reset(host) | Self::NetemOff(host) => host,
            Self::VcpuThrottle(throttle) => &throttle.host,
            Self::RtHog(hog) => &hog.host,
            Self::IrqsOff(stall) | Self::PreemptOff(stall) | Self::LongHandler(stall) | Self::CrossCallWait(stall) => {
                &stall.host
            }
            Self::KernelLoad(load) => &load.host,
            Self::Netem(netem) => &netem.host,
            Self::AgentQuota(quota) | Self::OthersQuota(quota) => &quota.host,
            Self::Stress(stress) => &stress.host,
            Self::DiskStall(stall) => &stall.host,
        }
    }

    /// Whether the figures make sense.
    ///
    /// # Errors
    /// Where a CPU is not there, a stall too long, or a part or period no part or period.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(cpu) = self.cpu() {
            ensure!(cpu < CPUS, "a guest has no CPU {cpu}, but {CPUS} from 0");
        }
        if let Self::IrqsOff(stall) | Self::PreemptOff(stall) | Self::LongHandler(stall) | Self::CrossCallWait(stall) =
            self
        {
            ensure!(stall.lasts <= LONGEST, "a kernel is stalled for at most {LONGEST:?}");
        }
        let bound = match self {
            Self::VcpuThrottle(throttle) => Some((throttle.quota_percent, throttle.period)),
            Self::AgentQuota(quota) | Self::OthersQuota(quota) => Some((quota.percent, quota.period)),
            _ => None,
        };
        if let Some((percent, period)) = bound {
            ensure!(PERIODS.contains(&period), "a period is {PERIODS:?}");
            let quota = part(percent, period);
            ensure!(
                quota >= SHORTEST,
                "{percent} % of {period:?} are {quota:?}; the kernel takes {SHORTEST:?} and more"
            );
        }
        Ok(())
    }

    fn cpu(&self) -> Option<u32> {
        match self {
            Self::TimerMask(on) | Self::TimerUnmask(on) | Self::VcpuThaw(on) => Some(on.cpu),
            Self::VcpuFreeze(freeze) => Some(freeze.cpu),
            Self::IrqsOff(stall) | Self::PreemptOff(stall) | Self::LongHandler(stall) | Self::CrossCallWait(stall) => {
                Some(stall.cpu)
            }
            Self::RtHog(hog) => Some(hog.cpu),
            Self::KernelLoad(load) => Some(load.cpu),
            _ => None,
        }
    }

    /// For how long it goes on by itself; none where it is done at once, or where nobody knows (a reset).
    pub(crate) fn lasts(&self) -> Option<Duration> {
        match self {
            Self::VcpuThrottle(throttle) => Some(throttle.lasts),
            Self::RtHog(hog) => Some(hog.lasts),
            Self::KernelLoad(load) => Some(load.lasts),
            Self::IrqsOff(stall) | Self::PreemptOff(stall) | Self::LongHandler(stall) | Self::CrossCallWait(stall) => {
                Some(stall.lasts)
            }
            Self::AgentQuota(quota) | Self::OthersQuota(quota) => Some(quota.lasts),
            Self::Stress(stress) => Some(stress.lasts),
            Self::DiskStall(stall) => Some(stall.lasts),
            _ => None,
        }
    }

    /// Whether its end is a moment of its own.
    pub(crate) fn has_end(&self) -> bool {
        self.lasts().is_some() || matches!(self, Self::Reset(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_among_the_names() {
        let error = toml::from_str::<GuestStep>("nothing = 1").unwrap_err().to_string();
        let known = error.split('`').skip(3).step_by(2);
        assert_eq!(known.collect::<Vec<_>>(), GuestStep::NAMES);
    }

    #[test]
    fn figures_that_make_no_sense_are_refused() {
        let cases = [
            ("timer-mask = { host = \"a\", cpu = 1 }", ""),
            ("timer-mask = { host = \"a\", cpu = 2 }", "no CPU 2"),
            ("irqs-off = { host = \"a\", cpu = 0, lasts = \"21s\" }", "at most"),
            ("agent-quota = { host = \"a\", percent = 1, period = \"1s\", lasts = \"5s\" }", ""),
            ("agent-quota = { host = \"a\", percent = 1, period = \"2s\", lasts = \"5s\" }", "a period is"),
            ("others-quota = { host = \"a\", percent = 1, period = \"50ms\", lasts = \"5s\" }", "1 % of 50ms"),
        ];
        for (text, expected) in cases {
            let step: GuestStep = toml::from_str(text).unwrap();
            let said = step.check().map_or_else(|error| error.to_string(), |()| String::new());
            assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{text}: {said}");
        }
    }
}
