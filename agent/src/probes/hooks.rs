//! Every probe: what it hangs on, and what it needs to know of the kernel.

use super::{irq_hooks, network_hooks};

/// How a probe hangs on its hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A BTF tracepoint: the verifier knows the types, fields are read without a call.
    Btf,
    /// A raw tracepoint.
    Raw,
    /// A function of the kernel: fentry, else a kprobe, whose program has [`KPROBE`] before its name.
    Function,
}

/// What the names of programs for kprobes begin with.
pub(super) const KPROBE: &str = "kprobe_";

/// One program and its hook. The program has the name of the tracepoint or function.
pub(super) struct Hook {
    /// The family.
    pub(super) probe: &'static str,
    /// How it hangs there.
    pub(super) kind: Kind,
    /// The tracepoint or function.
    pub(super) tracepoint: &'static str,
    /// What it must hand over.
    pub(super) values: Values,
    /// What the program must be told.
    pub(super) globals: &'static [Global],
    /// What tells the same, or most of it, where the hook cannot be had.
    pub(super) instead: Option<&'static str>,
}

impl Hook {
    /// As status and metrics name it.
    pub(super) fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Btf => "tp_btf",
            Kind::Raw => "raw_tp",
            Kind::Function => "fentry",
        };
        format!("{kind}/{}", self.tracepoint)
    }
}

/// What a tracepoint must hand over.
pub(super) struct Values {
    /// How many values.
    pub(super) at_least: usize,
    /// Which kernels do.
    pub(super) since: &'static str,
}

/// A global of the probes that the kernel's types decide.
pub(super) struct Global {
    /// Its name in the object.
    pub(super) name: &'static str,
    /// What decides it.
    pub(super) source: Source,
}

/// What decides a global.
pub(super) enum Source {
    /// The byte of the first of these fields that the kernel has.
    Offset(&'static [&'static str]),
    /// How far a bit field is shifted in its byte.
    Shift(&'static str),
    /// The bits of a bit field, after the shift.
    Mask(&'static str),
    /// 1 where the tracepoint hands over at least so many values.
    Hands(usize),
    /// 1 where the kernel has one of these fields.
    Has(&'static [&'static str]),
}

/// One object file: the kernel takes all of its maps or none.
pub(super) struct Object {
    /// The file, empty where the binary was built without probes.
    pub(super) bytes: &'static [u8],
    /// Its programs.
    pub(super) hooks: &'static [Hook],
    /// The durations that it is told.
    pub(super) durations: &'static [Told],
}

/// A duration that an object is told, as a global in nanoseconds.
#[derive(Clone, Copy)]
pub(super) enum Told {
    /// `timer_late` of the options.
    TimerLate,
    /// `runqueue_delay` of the options.
    RunqueueDelay,
    /// `softirq_delay` of the options.
    SoftirqDelay,
    /// `landing_silence` of the options.
    LandingSilence,
    /// The running kernel's jiffy.
    Jiffy,
}

/// All objects.
pub(super) static OBJECTS: [Object; 2] = [
    Object {
        bytes: aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lacuna-probes-sched")),
        hooks: &[SCHED_WAKEUP, SCHED_WAKEUP_NEW, SCHED_SWITCH],
        durations: &[Told::RunqueueDelay],
    },
    Object {
        bytes: aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lacuna-probes")),
        hooks: &[
            HRTIMER_EXPIRE_ENTRY,
            HRTIMER_START,
            irq_hooks::LOCAL_TIMER_ENTRY,
            irq_hooks::LOCAL_TIMER_EXIT,
            irq_hooks::RESCHEDULE_ENTRY,
            irq_hooks::RESCHEDULE_EXIT,
            irq_hooks::CALL_FUNCTION_ENTRY,
            irq_hooks::CALL_FUNCTION_EXIT,
            irq_hooks::CALL_FUNCTION_SINGLE_ENTRY,
            irq_hooks::CALL_FUNCTION_SINGLE_EXIT,
            irq_hooks::IRQ_WORK_ENTRY,
            irq_hooks::IRQ_WORK_EXIT,
            irq_hooks::IRQ_HANDLER_ENTRY,
            irq_hooks::IRQ_HANDLER_EXIT,
            // What is raised before anybody looks at what runs would seem to wait.
            irq_hooks::SOFTIRQ_ENTRY,
            irq_hooks::SOFTIRQ_RAISE,
            irq_hooks::RCU_STALL_WARNING,
            irq_hooks::SCHED_PROCESS_HANG,
            TCP_RETRANSMIT_SKB,
            TCP_RETRANSMIT_SYNACK,
            KFREE_SKB,
            network_hooks::NET_DEV_XMIT_TIMEOUT,
            network_hooks::ICMP_SEND,
            network_hooks::ICMP6_SEND,
            network_hooks::ICMP_UNREACH,
            network_hooks::ICMPV6_NOTIFY,
            network_hooks::IP_DO_FRAGMENT,
            network_hooks::IP6_FRAGMENT,
            network_hooks::IP_DEFRAG,
            network_hooks::IPV6_FRAG_RCV,
            network_hooks::IP_EXPIRE,
            network_hooks::IP6_FRAG_EXPIRE,
        ],
        durations: &[Told::TimerLate, Told::SoftirqDelay, Told::LandingSilence, Told::Jiffy],
    },
];

pub(super) const fn at_least(at_least: usize, since: &'static str) -> Values {
    Values { at_least, since }
}

pub(super) const fn offset(name: &'static str, paths: &'static [&'static str]) -> Global {
    let source = Source::Offset(paths);
    Global { name, source }
}

const SCHED_WAKEUP: Hook = Hook {
    probe: "sched",
    kind: Kind::Btf,
    tracepoint: "sched_wakeup",
    values: at_least(1, "Linux 5.8"),
    globals: &[],
    instead: None,
};

const SCHED_WAKEUP_NEW: Hook = Hook { tracepoint: "sched_wakeup_new", ..SCHED_WAKEUP };

const SCHED_SWITCH: Hook = Hook {
    probe: "sched",
    kind: Kind::Btf,
    tracepoint: "sched_switch",
    values: at_least(3, "Linux 5.8"),
    globals: &[
        offset("TASK_PID", &["task_struct.pid"]),
        offset("TASK_COMM", &["task_struct.comm"]),
        // Renamed in 5.14.
        offset("TASK_STATE", &["task_struct.__state", "task_struct.state"]),
        // The state of the task that leaves, since 5.18.
        Global { name: "SWITCH_HAS_STATE", source: Source::Hands(4) },
        // Task storage makes its entries of memory that it has already (`bpf_selem_alloc`), since 6.4, or without a lock, since 6.19.
        Global {
            name: "STORAGE_HAS_MEMORY",
            source: Source::Has(&["bpf_local_storage_map.selem_ma", "bpf_local_storage_map.use_kmalloc_nolock"]),
        },
    ],
    instead: None,
};

const HRTIMER_EXPIRE_ENTRY: Hook = Hook {
    probe: "timer",
    kind: Kind::Btf,
    tracepoint: "hrtimer_expire_entry",
    values: at_least(2, "Linux 5.8"),
    globals: &[
        offset("HRTIMER_EXPIRES", &["hrtimer.node.expires"]),
        offset("HRTIMER_BASE", &["hrtimer.base"]),
        offset("HRTIMER_IS_SOFT", &["hrtimer.is_soft"]),
        offset("CLOCK_BASE_CLOCKID", &["hrtimer_clock_base.clockid"]),
    ],
    instead: None,
};

const HRTIMER_START: Hook =
    Hook { tracepoint: "hrtimer_start", values: at_least(1, "Linux 5.8"), ..HRTIMER_EXPIRE_ENTRY };

const TCP_RETRANSMIT_SKB: Hook = Hook {
    probe: "tcp",
    kind: Kind::Raw,
    tracepoint: "tcp_retransmit_skb",
    values: at_least(2, "Linux 5.8"),
    globals: &[
        offset("SKC_NET", &["sock_common.skc_net.net"]),
        offset("NET_INUM", &["net.ns.inum"]),
        offset("SKC_FAMILY", &["sock_common.skc_family"]),
        offset("SKC_STATE", &["sock_common.skc_state"]),
        offset("SKC_DADDR", &["sock_common.skc_daddr"]),
        offset("SKC_V6_DADDR", &["sock_common.skc_v6_daddr"]),
        offset("ICSK_CA_STATE", &["inet_connection_sock.icsk_ca_state"]),
        Global { name: "ICSK_CA_STATE_SHIFT", source: Source::Shift("inet_connection_sock.icsk_ca_state") },
        Global { name: "ICSK_CA_STATE_MASK", source: Source::Mask("inet_connection_sock.icsk_ca_state") },
        offset("ICSK_PENDING", &["inet_connection_sock.icsk_pending"]),
        offset("SKB_LEN", &["sk_buff.len"]),
        offset("SKB_CB", &["sk_buff.cb"]),
        offset("TCP_GSO_SIZE", &["tcp_skb_cb.tcp_gso_size"]),
        Global { name: RETRANSMIT_HAS_ERROR, source: Source::Hands(3) },
    ],
    instead: None,
};

/// The global that says whether the kernel tells failed retransmits apart.
pub(super) const RETRANSMIT_HAS_ERROR: &str = "RETRANSMIT_HAS_ERROR";

const TCP_RETRANSMIT_SYNACK: Hook = Hook {
    probe: "tcp",
    kind: Kind::Raw,
    tracepoint: "tcp_retransmit_synack",
    values: at_least(2, "Linux 5.8"),
    globals: &[
        offset("SKC_NET", &["sock_common.skc_net.net"]),
        offset("NET_INUM", &["net.ns.inum"]),
        offset("SKC_FAMILY", &["sock_common.skc_family"]),
        offset("SKC_DADDR", &["sock_common.skc_daddr"]),
        offset("SKC_V6_DADDR", &["sock_common.skc_v6_daddr"]),
    ],
    instead: None,
};

const KFREE_SKB: Hook = Hook {
    probe: "drops",
    kind: Kind::Raw,
    tracepoint: "kfree_skb",
    values: at_least(3, "Linux 5.17, or a distribution that took over drop reasons"),
    globals: &[
        offset("SKB_DEV", &["sk_buff.dev"]),
        offset("SKB_HEAD", &["sk_buff.head"]),
        offset("SKB_NETWORK_HEADER", &["sk_buff.network_header"]),
        offset("SKB_SK", &["sk_buff.sk"]),
        offset("NET_DEVICE_NET", &["net_device.nd_net.net"]),
        offset("SKC_NET", &["sock_common.skc_net.net"]),
        offset("NET_INUM", &["net.ns.inum"]),
        // The receiving socket, since 6.11.
        Global { name: "DROP_HAS_RX_SK", source: Source::Hands(4) },
    ],
    instead: None,
};
