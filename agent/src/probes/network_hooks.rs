//! The hooks of the families `fragments` and `link`. Functions may vanish between two builds of a kernel, and some kernels
//! let nobody hang on any: each says what tells the same then, for all remotes together.

use super::hooks::{Global, Hook, Kind, at_least, offset};

const SKB_DEV: Global = offset("SKB_DEV", &["sk_buff.dev"]);
const NET_DEVICE_NET: Global = offset("NET_DEVICE_NET", &["net_device.nd_net.net"]);
const NET_INUM: Global = offset("NET_INUM", &["net.ns.inum"]);
const SKB_HEAD: Global = offset("SKB_HEAD", &["sk_buff.head"]);
const SKB_DATA: Global = offset("SKB_DATA", &["sk_buff.data"]);
const SKB_NETWORK_HEADER: Global = offset("SKB_NETWORK_HEADER", &["sk_buff.network_header"]);
const FRAG_QUEUE_TIMER: Global = offset("FRAG_QUEUE_TIMER", &["inet_frag_queue.timer"]);
const FRAG_QUEUE_FLAGS: Global = offset("FRAG_QUEUE_FLAGS", &["inet_frag_queue.flags"]);
const FRAG_QUEUE_FQDIR: Global = offset("FRAG_QUEUE_FQDIR", &["inet_frag_queue.fqdir"]);
const FQDIR_NET: Global = offset("FQDIR_NET", &["fqdir.net"]);

const SNMP: &str = "/proc/net/snmp counts them, not by peer";
const SNMP6: &str = "/proc/net/snmp6 counts them, not by peer";

const FUNCTION: Hook = Hook {
    probe: "fragments",
    kind: Kind::Function,
    tracepoint: "",
    values: at_least(1, "Linux 5.8"),
    globals: &[],
    instead: Some(SNMP),
};

/// A datagram is fragmented on its way out.
pub(super) const IP_DO_FRAGMENT: Hook = Hook {
    tracepoint: "ip_do_fragment",
    values: at_least(3, "Linux 5.8"),
    globals: &[NET_INUM, SKB_HEAD, SKB_NETWORK_HEADER],
    ..FUNCTION
};
/// The same for IPv6.
pub(super) const IP6_FRAGMENT: Hook = Hook { tracepoint: "ip6_fragment", instead: Some(SNMP6), ..IP_DO_FRAGMENT };

/// A fragment came in.
pub(super) const IP_DEFRAG: Hook = Hook { tracepoint: "ip_defrag", values: at_least(2, "Linux 5.8"), ..IP_DO_FRAGMENT };
/// The same for IPv6.
pub(super) const IPV6_FRAG_RCV: Hook = Hook {
    tracepoint: "ipv6_frag_rcv",
    globals: &[SKB_DEV, NET_DEVICE_NET, NET_INUM, SKB_HEAD, SKB_NETWORK_HEADER],
    instead: Some(SNMP6),
    ..FUNCTION
};

/// The time of a datagram ran out before all of its fragments were there.
pub(super) const IP_EXPIRE: Hook = Hook {
    tracepoint: "ip_expire",
    globals: &[
        NET_INUM,
        FRAG_QUEUE_TIMER,
        FRAG_QUEUE_FLAGS,
        FRAG_QUEUE_FQDIR,
        FQDIR_NET,
        offset("FRAG_QUEUE_SADDR4", &["inet_frag_queue.key.v4.saddr"]),
    ],
    ..FUNCTION
};
/// The same for IPv6.
pub(super) const IP6_FRAG_EXPIRE: Hook = Hook {
    tracepoint: "ip6_frag_expire",
    globals: &[
        NET_INUM,
        FRAG_QUEUE_TIMER,
        FRAG_QUEUE_FLAGS,
        FRAG_QUEUE_FQDIR,
        FQDIR_NET,
        offset("FRAG_QUEUE_SADDR6", &["inet_frag_queue.key.v6.saddr"]),
    ],
    instead: Some(SNMP6),
    ..FUNCTION
};

/// This host was told that a destination cannot be reached.
pub(super) const ICMP_UNREACH: Hook = Hook {
    tracepoint: "icmp_unreach",
    globals: &[
        SKB_DEV,
        NET_DEVICE_NET,
        NET_INUM,
        SKB_HEAD,
        SKB_DATA,
        offset("SKB_TRANSPORT_HEADER", &["sk_buff.transport_header"]),
    ],
    instead: Some("the path MTU that the kernel holds for each peer shows what it was told"),
    ..FUNCTION
};
/// The same for IPv6.
pub(super) const ICMPV6_NOTIFY: Hook = Hook {
    tracepoint: "icmpv6_notify",
    values: at_least(4, "Linux 5.8"),
    globals: &[SKB_DEV, NET_DEVICE_NET, NET_INUM, SKB_DATA],
    instead: Some(SNMP6),
    ..FUNCTION
};

/// This host tells another one that a packet of its cannot be delivered.
pub(super) const ICMP_SEND: Hook = Hook {
    kind: Kind::Raw,
    tracepoint: "icmp_send",
    values: at_least(3, "Linux 6.10, or a distribution that took it over"),
    globals: &[SKB_DEV, NET_DEVICE_NET, NET_INUM, SKB_HEAD, SKB_NETWORK_HEADER],
    instead: Some("drops for the reason PKT_TOO_BIG"),
    ..FUNCTION
};
/// The same for IPv6.
pub(super) const ICMP6_SEND: Hook = Hook {
    kind: Kind::Function,
    tracepoint: "icmp6_send",
    values: at_least(4, "Linux 5.8"),
    instead: Some(SNMP6),
    ..ICMP_SEND
};

/// A network device did not transmit for too long.
pub(super) const NET_DEV_XMIT_TIMEOUT: Hook = Hook {
    probe: "link",
    kind: Kind::Raw,
    tracepoint: "net_dev_xmit_timeout",
    values: at_least(2, "Linux 5.8"),
    globals: &[NET_DEVICE_NET, NET_INUM, offset("NET_DEVICE_NAME", &["net_device.name"])],
    instead: Some("the kernel's log says so"),
};
