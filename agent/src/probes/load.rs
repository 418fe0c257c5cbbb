//! Loads the objects and attaches what the kernel takes; whatever it refuses has its own reason.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use aya::programs::Program;
use aya::util::KernelVersion;
use aya::{Btf, Ebpf, EbpfLoader};
use lacuna_core::time::nanos;

use crate::clock;
use crate::host::HostFiles;
use crate::host::kallsyms::Function;

use super::activity::Watched;
use super::cpus::CpuMaps;
use super::decode::ReasonNames;
use super::error::ProbeError;
use super::hooks::{Hook, Kind, Object, RETRANSMIT_HAS_ERROR, Told};
use super::kernel_types::KernelTypes;
use super::metrics::{KernelMetrics, Refused};
use super::{Options, ProbeStatus, offsets};

/// `arch/x86/entry/entry_64.S`.
const TIMER_ENTRY: &str = "asm_sysvec_apic_timer_interrupt";

/// The entries of all interrupts but the timer's.
const OTHER_ENTRIES: [&str; 5] =
    ["irq_handler_entry", "reschedule_entry", "call_function_entry", "call_function_single_entry", "irq_work_entry"];

/// The exits of all interrupts.
const EXITS: [&str; 6] = [
    "local_timer_exit",
    "irq_handler_exit",
    "reschedule_exit",
    "call_function_exit",
    "call_function_single_exit",
    "irq_work_exit",
];

/// What all objects need of the running kernel.
pub(super) struct Kernel {
    types: KernelTypes,
    btf: Btf,
    netns_inum: u32,
    /// Where the timer's interrupt enters the kernel; absent where addresses are hidden, or not on x86.
    timer_entry: Option<Function>,
}

impl Kernel {
    /// Reads it, and lifts the limit on locked memory where the kernel still counts maps against it.
    pub(super) fn read(options: &Options) -> Result<Self, ProbeError> {
        lift_memlock();
        let types = KernelTypes::read()?;
        let btf = Btf::from_sys_fs().map_err(|error| ProbeError::of_loader(&error))?;
        let netns_inum = match options.netns_inum {
            0 => own_netns().map_err(ProbeError::NoNamespace)?,
            inum => inum,
        };
        let timer_entry = HostFiles::default().functions(|name| name == TIMER_ENTRY).pop();
        Ok(Self { types, btf, netns_inum, timer_entry })
    }

    /// The names of drop reasons.
    pub(super) fn reasons(&self) -> ReasonNames {
        ReasonNames {
            core: self.types.enumeration("skb_drop_reason"),
            subsystems: self.types.enumeration("skb_drop_reason_subsys"),
        }
    }
}

/// The inode number of this process's network namespace.
fn own_netns() -> std::io::Result<u32> {
    let inode = std::fs::metadata("/proc/self/ns/net")?.ino();
    u32::try_from(inode).map_err(std::io::Error::other)
}

/// Below 5.11 maps count as locked memory, of which a process has 64 KiB by default. A refusal shows at the load.
fn lift_memlock() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    let old = KernelVersion::current().is_ok_and(|version| version < KernelVersion::new(5, 11, 0));
    if old {
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    }
}

/// An object in the kernel. Its programs are detached when it is dropped.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    /// What became of each of its hooks.
    pub(super) status: Vec<ProbeStatus>,
    failures_told: bool,
}

/// Loads the object and attaches its programs.
///
/// # Errors
/// Where the object as a whole is refused. Where single programs are, it is in their status.
pub(super) fn load(object: &'static Object, kernel: &Kernel, options: &Options) -> Result<Loaded, ProbeError> {
    if object.bytes.is_empty() {
        return Err(ProbeError::NotBuilt);
    }
    let planned: Vec<_> = object.hooks.iter().map(|hook| (hook, offsets::globals(&kernel.types, hook))).collect();
    let globals: BTreeMap<&str, u32> =
        planned.iter().filter_map(|(_, globals)| globals.as_ref().ok()).flatten().copied().collect();
    let mut ebpf = load_object(object, &globals, kernel, options)?;
    let attach = |(hook, plan): (&Hook, Result<_, ProbeError>)| {
        let result = plan.and_then(|_| attach(&mut ebpf, hook, &kernel.btf));
        status(hook, result.err().as_ref())
    };
    let status = planned.into_iter().map(attach).collect();
    Ok(Loaded { ebpf, status, failures_told: globals.get(RETRANSMIT_HAS_ERROR) == Some(&1) })
}

/// What became of `hook`.
pub(super) fn status(hook: &Hook, error: Option<&ProbeError>) -> ProbeStatus {
    ProbeStatus {
        probe: hook.probe.to_owned(),
        hook: hook.name(),
        attached: error.is_none(),
        because: error.map(ToString::to_string),
    }
}

fn load_object(
    object: &Object,
    globals: &BTreeMap<&str, u32>,
    kernel: &Kernel,
    options: &Options,
) -> Result<Ebpf, ProbeError> {
    let durations: Vec<(&str, u64)> = object.durations.iter().map(|told| duration(*told, options)).collect();
    let mut loader = EbpfLoader::new();
    loader.btf(Some(&kernel.btf)).allow_unsupported_maps();
    for (name, value) in globals {
        loader.override_global(name, value, true);
    }
    loader.override_global("NETNS_INUM", &kernel.netns_inum, false);
    for (name, nanoseconds) in &durations {
        loader.override_global(name, nanoseconds, true);
    }
    if let Some(entry) = &kernel.timer_entry {
        loader.override_global("TIMER_ENTRY", &entry.begin, false);
        loader.override_global("TIMER_ENTRY_END", &entry.end, false);
    }
    loader.load(object.bytes).map_err(|error| ProbeError::of_loader(&error))
}

/// The name of the global and its value in nanoseconds.
fn duration(told: Told, options: &Options) -> (&'static str, u64) {
    let (name, duration) = match told {
        Told::TimerLate => ("TIMER_LATE_NS", options.timer_late),
        Told::RunqueueDelay => ("RUNQUEUE_DELAY_NS", options.runqueue_delay),
        Told::SoftirqDelay => ("SOFTIRQ_DELAY_NS", options.softirq_delay),
        Told::LandingSilence => ("LANDING_NS", options.landing_silence),
        Told::Jiffy => ("JIFFY_NS", clock::jiffy()),
    };
    (name, nanos(duration))
}

fn attach(ebpf: &mut Ebpf, hook: &Hook, btf: &Btf) -> Result<(), ProbeError> {
    let missing = || ProbeError::Refused(format!("no program {} in the object", hook.tracepoint));
    let program = ebpf.program_mut(hook.tracepoint).ok_or_else(missing)?;
    let result = match (hook.kind, program) {
        (Kind::Btf, Program::BtfTracePoint(program)) => {
            program.load(hook.tracepoint, btf).and_then(|()| program.attach().map(drop))
        }
        (Kind::Raw, Program::RawTracePoint(program)) => {
            program.load().and_then(|()| program.attach(hook.tracepoint).map(drop))
        }
        _ => return Err(missing()),
    };
    result.map_err(|error| ProbeError::of_loader(&error))
}

impl Loaded {
    /// Hands over the ring buffer and the counters of what found no room.
    pub(super) fn take_output(&mut self) -> Option<(RingBuf<MapData>, Refused)> {
        let ring = RingBuf::try_from(self.ebpf.take_map("EVENTS")?).ok()?;
        let refused = PerCpuArray::try_from(self.ebpf.take_map("REFUSED")?).ok()?;
        Some((ring, refused.into()))
    }

    /// Hands over the maps that are counted into; what is not attached counts nothing, and stays absent.
    pub(super) fn take_maps(&mut self, metrics: &mut KernelMetrics) {
        if self.attached(&["hrtimer_expire_entry", "hrtimer_start"]) {
            metrics.timer_lateness = self.take("TIMER_LATENESS");
        }
        if self.attached(&["local_timer_entry"]) {
            metrics.timer_gaps = self.take("TIMER_GAPS");
        }
        self.take_cpus(&mut metrics.cpus);
        if self.attached(&["sched_wakeup", "sched_wakeup_new", "sched_switch"]) {
            metrics.runqueue_delay = self.take("RUNQUEUE_DELAY");
        }
        if self.attached(&["tcp_retransmit_skb"]) {
            metrics.retransmits = self.take("RETRANSMITS");
            metrics.failures_told = self.failures_told;
        }
        if self.attached(&["kfree_skb"]) {
            metrics.drops = self.take("DROPS");
        }
    }

    /// The maps about each CPU. Where the entry of one kind of interrupt is missing, a silence is none, and nothing can be
    /// said of what ended it.
    fn take_cpus(&mut self, cpus: &mut CpuMaps) {
        let timer = self.attached(&["local_timer_entry"]);
        let others = self.attached(&OTHER_ENTRIES);
        if timer {
            cpus.sample = self.take("SAMPLE").map(Mutex::new);
        }
        if timer || others {
            let exits = self.attached(&EXITS);
            let softirqs = self.attached(&["softirq_entry"]);
            cpus.watched = Watched { timer, others, handlers: timer && others && exits, softirqs };
            cpus.activity = self.take("ACTIVITY");
        }
        if timer && others {
            cpus.landing = self.take("LANDING");
            cpus.passed = self.take("PASSED");
        }
        if self.attached(&["sched_switch"]) {
            cpus.switches = self.take("SWITCHES");
        }
    }

    fn attached(&self, tracepoints: &[&str]) -> bool {
        tracepoints.iter().all(|tracepoint| {
            self.status.iter().any(|status| status.attached && status.hook.split('/').next_back() == Some(tracepoint))
        })
    }

    fn take<T: TryFrom<Map>>(&mut self, name: &str) -> Option<T> {
        T::try_from(self.ebpf.take_map(name)?).ok()
    }
}
