//! Loads the objects and attaches what the kernel takes; whatever it refuses has its own reason.

use std::collections::{BTreeMap, BTreeSet};
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
use crate::memory;

use super::activity::Watched;
use super::cpus::CpuMaps;
use super::decode::ReasonNames;
use super::error::{ProbeError, brief};
use super::fragments::{FragmentKind, FragmentMaps};
use super::heartbeat_drops::HeartbeatMaps;
use super::hooks::{Hook, KPROBE, Kind, Object, RETRANSMIT_HAS_ERROR, Told};
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
    let old = KernelVersion::current().is_ok_and(|version| version < KernelVersion::new(5, 11, 0));
    if old {
        let _ = memory::lift_lock_limit();
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
    let attach = |(hook, plan): (&Hook, Result<_, ProbeError>)| match plan
        .and_then(|_| attach(&mut ebpf, hook, &kernel.btf, options))
    {
        Ok(name) => ProbeStatus { hook: name, ..status(hook, None) },
        Err(error) => status(hook, Some(&error)),
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
        instead: error.and(hook.instead).map(str::to_owned),
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

/// Attaches the hook's program; what it hangs on, as status and metrics name it.
fn attach(ebpf: &mut Ebpf, hook: &Hook, btf: &Btf, options: &Options) -> Result<String, ProbeError> {
    if hook.kind == Kind::Function {
        return attach_to_function(ebpf, hook, btf, options);
    }
    let result = match (hook.kind, program(ebpf, hook.tracepoint)?) {
        (Kind::Btf, Program::BtfTracePoint(program)) => {
            program.load(hook.tracepoint, btf).and_then(|()| program.attach().map(drop))
        }
        (Kind::Raw, Program::RawTracePoint(program)) => {
            program.load().and_then(|()| program.attach(hook.tracepoint).map(drop))
        }
        _ => return Err(no_program(hook.tracepoint)),
    };
    result.map(|()| hook.name()).map_err(|error| ProbeError::of_loader(&error))
}

/// By fentry, which costs least, else by a kprobe: kernels without trampolines for it have those (arm64 before Linux 6.0).
fn attach_to_function(ebpf: &mut Ebpf, hook: &Hook, btf: &Btf, options: &Options) -> Result<String, ProbeError> {
    let function = hook.tracepoint;
    let Program::FEntry(fentry) = program(ebpf, function)? else { return Err(no_program(function)) };
    let fentry = match options.fentry {
        true => fentry.load(function, btf).and_then(|()| fentry.attach().map(drop)).map_err(|error| brief(&error)),
        false => Err("not wanted".to_owned()),
    };
    let Err(fentry) = fentry else { return Ok(hook.name()) };
    let name = format!("{KPROBE}{function}");
    let Program::KProbe(kprobe) = program(ebpf, &name)? else { return Err(no_program(&name)) };
    match kprobe.load().and_then(|()| kprobe.attach(function, 0).map(drop)) {
        Ok(()) => Ok(format!("kprobe/{function}")),
        Err(kprobe) => Err(ProbeError::Unhookable { function, fentry, kprobe: brief(&kprobe) }),
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, ProbeError> {
    ebpf.program_mut(name).ok_or_else(|| no_program(name))
}

fn no_program(name: &str) -> ProbeError {
    ProbeError::Refused(format!("no program {name} in the object"))
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
            metrics.size_window = self.take("SIZE_WINDOW").map(Mutex::new);
            metrics.failures_told = self.failures_told;
        }
        if self.attached(&["kfree_skb"]) {
            metrics.drops = self.take("DROPS");
            let heartbeats = self.take("HEARTBEAT_PEERS").zip(self.take("HEARTBEAT_DROPS"));
            metrics.heartbeats = heartbeats.map(|(peers, drops)| HeartbeatMaps::new(peers, drops));
        }
        self.take_fragments(&mut metrics.fragments);
    }

    /// The maps about fragments, and which kinds are counted, by version of IP.
    fn take_fragments(&mut self, fragments: &mut FragmentMaps) {
        let is_attached = |hook: &&str| self.attached(&[*hook]);
        let kinds = |hooks: [&str; 5]| -> BTreeSet<FragmentKind> {
            let both = FragmentKind::ALL.into_iter().zip(hooks);
            both.filter(|(_, hook)| is_attached(hook)).map(|(kind, _)| kind).collect()
        };
        fragments.ipv4 = kinds(["ip_do_fragment", "ip_defrag", "ip_expire", "icmp_send", "icmp_unreach"]);
        fragments.ipv6 = kinds(["ip6_fragment", "ipv6_frag_rcv", "ip6_frag_expire", "icmp6_send", "icmpv6_notify"]);
        if !(fragments.ipv4.is_empty() && fragments.ipv6.is_empty()) {
            fragments.by_remote = self.take("FRAGMENTS");
            fragments.totals = self.take("FRAGMENT_TOTALS");
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
