//! What the kernel's protocols count of themselves: `/proc/net/snmp`, `netstat` and `snmp6`.
//!
//! They are read for the network namespace of the calling thread. A counter that the kernel does not know is absent.

use std::collections::BTreeMap;

use super::HostFiles;

/// What all protocols count since the namespace was made. Of what IPv4 and IPv6 count alike it is the sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtocolCounters {
    /// Datagrams that were fragmented (`FragOKs`).
    pub fragmented: Option<u64>,
    /// Fragments that were made (`FragCreates`).
    pub fragments_made: Option<u64>,
    /// Datagrams that were too big and must not be fragmented (`FragFails`).
    pub fragment_fails: Option<u64>,
    /// Fragments that came in (`ReasmReqds`).
    pub fragments_received: Option<u64>,
    /// Datagrams that were put together (`ReasmOKs`).
    pub reassembled: Option<u64>,
    /// Datagrams that could not be put together (`ReasmFails`), whatever the reason.
    pub reassembly_fails: Option<u64>,
    /// Of these those whose time ran out (`ReasmTimeout`).
    pub reassembly_timeouts: Option<u64>,
    /// ICMP messages that a destination cannot be reached, fragmentation needed being one of the reasons (`InDestUnreachs`).
    pub unreachable_received: Option<u64>,
    /// ICMPv6 messages that a packet was too big (`Icmp6InPktTooBigs`).
    pub too_big_received: Option<u64>,
    /// ICMPv6 messages that a packet was too big, by this host (`Icmp6OutPktTooBigs`).
    pub too_big_sent: Option<u64>,
    /// Times that TCP began to tell a peer that it has no room (`TCPToZeroWindowAdv`; since Linux 3.15).
    pub zero_windows_told: Option<u64>,
    /// Times that TCP asked a peer which had told so (`TCPWinProbe`; since Linux 4.0).
    pub window_probes: Option<u64>,
    /// Datagrams that found no room in the buffer of their UDP socket (`RcvbufErrors`).
    pub receive_overflows: Option<u64>,
}

impl HostFiles {
    /// What all protocols count.
    #[must_use]
    pub fn protocol_counters(&self) -> ProtocolCounters {
        let read = |name: &str| self.read(&format!("proc/thread-self/net/{name}")).unwrap_or_default();
        let mut found = tables(&read("snmp"));
        found.extend(tables(&read("netstat")));
        found.extend(lines(&read("snmp6")));
        of(&found)
    }

    /// Datagrams of UDP that came in with a wrong checksum (`InCsumErrors`), of all sockets; absent where the kernel does not
    /// say.
    #[must_use]
    pub fn wrong_checksums(&self) -> Option<u64> {
        let mut found = tables(&self.read("proc/thread-self/net/snmp")?);
        found.extend(lines(&self.read("proc/thread-self/net/snmp6").unwrap_or_default()));
        let one = |name: &str| found.get(name).copied();
        sum(one("UdpInCsumErrors"), one("Udp6InCsumErrors"))
    }
}

fn of(found: &BTreeMap<String, u64>) -> ProtocolCounters {
    let one = |name: &str| found.get(name).copied();
    let both = |name: &str| sum(one(&format!("Ip{name}")), one(&format!("Ip6{name}")));
    ProtocolCounters {
        fragmented: both("FragOKs"),
        fragments_made: both("FragCreates"),
        fragment_fails: both("FragFails"),
        fragments_received: both("ReasmReqds"),
        reassembled: both("ReasmOKs"),
        reassembly_fails: both("ReasmFails"),
        reassembly_timeouts: both("ReasmTimeout"),
        unreachable_received: one("IcmpInDestUnreachs"),
        too_big_received: one("Icmp6InPktTooBigs"),
        too_big_sent: one("Icmp6OutPktTooBigs"),
        zero_windows_told: one("TcpExtTCPToZeroWindowAdv"),
        window_probes: one("TcpExtTCPWinProbe"),
        receive_overflows: sum(one("UdpRcvbufErrors"), one("Udp6RcvbufErrors")),
    }
}

/// A host without IPv6 has the counters of IPv4 all the same.
fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}

/// Pairs of lines, `Ip: Forwarding DefaultTTL` and `Ip: 1 64`: each figure under the protocol's name and its own. Kernels
/// add columns, and some figures may be negative (`MaxConn`): what is no count is left out.
fn tables(text: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut titles: Option<(&str, &str)> = None;
    for line in text.lines() {
        let Some((protocol, rest)) = line.split_once(':') else { continue };
        let Some((_, names)) = titles.take().filter(|(titled, _)| *titled == protocol) else {
            titles = Some((protocol, rest));
            continue;
        };
        for (name, figure) in names.split_whitespace().zip(rest.split_whitespace()) {
            if let Ok(figure) = figure.parse() {
                found.insert(format!("{protocol}{name}"), figure);
            }
        }
    }
    found
}

/// Lines of a name and a figure.
fn lines(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, figure) = line.split_once(char::is_whitespace)?;
        Some((name.to_owned(), figure.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    /// As Linux 6.18 has it, shortened.
    const SNMP: &str = "Ip: Forwarding DefaultTTL ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates OutTransmits\n\
        Ip: 1 64 1 20 8 3 5 2 10 99\n\
        Icmp: InMsgs InErrors InCsumErrors InDestUnreachs\nIcmp: 9 0 0 4\n\
        IcmpMsg: InType3 OutType3\nIcmpMsg: 4 4\n\
        Tcp: RtoAlgorithm RtoMin RtoMax MaxConn\nTcp: 1 200 120000 -1\n\
        Udp: InDatagrams RcvbufErrors\nUdp: 100 6\n";
    const NETSTAT: &str = "TcpExt: SyncookiesSent TCPFromZeroWindowAdv TCPToZeroWindowAdv TCPWantZeroWindowAdv TCPWinProbe\n\
        TcpExt: 0 2 3 0 7\nIpExt: InNoRoutes\nIpExt: 5\n";
    const SNMP6: &str = "Ip6ReasmTimeout                 \t1\nIp6ReasmFails                   \t1\n\
        Ip6FragFails                    \t4\nIcmp6InPktTooBigs               \t2\nIcmp6OutPktTooBigs              \t3\n\
        Udp6RcvbufErrors                \t1\n";

    #[test]
    fn counters_of_both_versions_of_ip_are_added_up() {
        let (_root, files) = fake(&[
            ("proc/thread-self/net/snmp", SNMP),
            ("proc/thread-self/net/netstat", NETSTAT),
            ("proc/thread-self/net/snmp6", SNMP6),
        ]);
        let expected = ProtocolCounters {
            fragmented: Some(5),
            fragments_made: Some(10),
            fragment_fails: Some(6),
            fragments_received: Some(20),
            reassembled: Some(8),
            reassembly_fails: Some(4),
            reassembly_timeouts: Some(2),
            unreachable_received: Some(4),
            too_big_received: Some(2),
            too_big_sent: Some(3),
            zero_windows_told: Some(3),
            window_probes: Some(7),
            receive_overflows: Some(7),
        };
        assert_eq!(files.protocol_counters(), expected);
    }

    #[test]
    fn a_host_without_ipv6_and_an_old_kernel_have_less() {
        let (_root, files) = fake(&[("proc/thread-self/net/snmp", SNMP)]);
        let found = files.protocol_counters();
        assert_eq!((found.fragment_fails, found.receive_overflows), (Some(2), Some(6)));
        assert_eq!((found.too_big_received, found.zero_windows_told, found.window_probes), (None, None, None));
    }

    #[test]
    fn what_makes_no_sense_is_no_counter() {
        let odd = "Ip: FragOKs FragFails FragCreates\nUdp: RcvbufErrors\nUdp: 18446744073709551616\nrubbish\n\
            Ip: FragOKs\nIp: 3 4 5\nIp: FragFails";
        let (_root, files) =
            fake(&[("proc/thread-self/net/snmp", odd), ("proc/thread-self/net/snmp6", "Ip6FragOKs\n")]);
        let found = files.protocol_counters();
        assert_eq!(found, ProtocolCounters { fragmented: Some(3), ..ProtocolCounters::default() });
        assert_eq!(fake(&[]).1.protocol_counters(), ProtocolCounters::default());
    }

    #[test]
    fn this_host_has_them() {
        let found = HostFiles::default().protocol_counters();
        assert!(found.fragment_fails.is_some() && found.reassembly_timeouts.is_some(), "{found:?}");
        assert!(HostFiles::default().wrong_checksums().is_some());
        assert!(found.zero_windows_told.is_some() && found.receive_overflows.is_some(), "{found:?}");
    }
}
