//! What this host's own kernel says of its network: interfaces by netlink, protocols by what they count of themselves.

use lacuna_core::evidence::{Evidence, Fact, FragmentLoss, Way};
use lacuna_core::time::Nanos;

use crate::host::HostFiles;
use crate::host::snmp::ProtocolCounters;
use crate::host::softnet::Softnet;
use crate::link_state::{Around, InterfaceWatch};
use crate::shared::NetworkStatus;

/// See the module's documentation.
pub struct OwnNetwork {
    files: HostFiles,
    links: Option<InterfaceWatch>,
    before: Option<Reading>,
}

/// What was counted, and when.
#[derive(Clone, Debug)]
struct Reading {
    at: Nanos,
    protocols: ProtocolCounters,
    softnet: Option<Softnet>,
}

impl OwnNetwork {
    /// Without `links` changes of interfaces are not seen, and everything else is.
    #[must_use]
    pub fn new(files: HostFiles, links: Option<InterfaceWatch>) -> Self {
        Self { files, links, before: None }
    }

    /// Takes other interfaces while it runs.
    pub fn want(&mut self, interfaces: &[String]) {
        if let Some(links) = &mut self.links {
            links.want(interfaces);
        }
    }

    /// What changed since the last turn.
    pub fn changes(&mut self, around: &Around<'_>, now: Nanos) -> Vec<Evidence> {
        self.links.as_mut().map(|links| links.changes(around, now)).unwrap_or_default()
    }

    /// Once a second: what was counted since.
    pub fn counters(&mut self, around: &Around<'_>, now: Nanos) -> Vec<Evidence> {
        let reading = Reading { at: now, protocols: self.files.protocol_counters(), softnet: self.files.softnet() };
        let mut seen = Vec::new();
        if let Some(before) = &self.before {
            let facts = counted(before, &reading);
            seen.extend(facts.into_iter().map(|fact| Evidence::during(around.host, before.at, now, fact)));
        }
        if let Some(links) = &mut self.links {
            if self.before.as_ref().is_some_and(|before| may_have_brought_an_mtu(before, &reading)) {
                links.suspect_path_mtu(around);
            }
            seen.extend(links.counters(around, now));
        }
        self.before = Some(reading);
        seen
    }

    /// What readers see of it.
    #[must_use]
    pub fn status(&self) -> NetworkStatus {
        let reading = self.before.clone();
        NetworkStatus {
            softnet: reading.as_ref().and_then(|reading| reading.softnet),
            protocols: reading.map(|reading| reading.protocols).unwrap_or_default(),
            interfaces: self.links.iter().flat_map(InterfaceWatch::watched).cloned().collect(),
            refused: self.links.as_ref().map(InterfaceWatch::refused),
        }
    }
}

/// How much a counter grew; nothing where it is not known on either side, or began anew.
fn grown(before: &Reading, now: &Reading, of: fn(&ProtocolCounters) -> Option<u64>) -> u64 {
    let grown = || of(&now.protocols)?.checked_sub(of(&before.protocols)?);
    grown().unwrap_or(0)
}

/// ICMP has one counter for all that cannot be reached; the path MTUs themselves then tell.
fn may_have_brought_an_mtu(before: &Reading, now: &Reading) -> bool {
    grown(before, now, |it| it.unreachable_received) > 0 || grown(before, now, |it| it.too_big_received) > 0
}

/// What happened between two readings; what did not is not told.
fn counted(before: &Reading, now: &Reading) -> Vec<Fact> {
    let grown = |of| grown(before, now, of);
    let expired = grown(|it| it.reassembly_timeouts);
    let failed = grown(|it| it.reassembly_fails).saturating_sub(expired);
    let dropped = || now.softnet?.dropped.checked_sub(before.softnet?.dropped);
    let fragments = |direction, result, count| Fact::Fragments { direction, result, count };
    let too_big = |direction, count| Fact::FragNeeded { direction, mtu: None, count };
    let zero_windows = |direction, count| Fact::ZeroWindows { direction, count };
    let all = [
        fragments(Way::Out, FragmentLoss::Failed, grown(|it| it.fragment_fails)),
        fragments(Way::In, FragmentLoss::Failed, failed),
        fragments(Way::In, FragmentLoss::Expired, expired),
        too_big(Way::In, grown(|it| it.too_big_received)),
        too_big(Way::Out, grown(|it| it.too_big_sent)),
        zero_windows(Way::Out, grown(|it| it.zero_windows_told)),
        zero_windows(Way::In, grown(|it| it.window_probes)),
        Fact::ReceiveOverflow { count: grown(|it| it.receive_overflows) },
        Fact::SoftnetDrops { count: dropped().unwrap_or(0) },
    ];
    all.into_iter().filter(|fact| count(fact) > 0).collect()
}

fn count(fact: &Fact) -> u64 {
    match fact {
        Fact::Fragments { count, .. }
        | Fact::FragNeeded { count, .. }
        | Fact::ZeroWindows { count, .. }
        | Fact::ReceiveOverflow { count }
        | Fact::SoftnetDrops { count } => *count,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    const NOBODY: Around<'_> = Around { host: "me", peers: &[], gateway: None };

    fn write(root: &Path, fails: u64, reassembly: (u64, u64), overflows: u64, softnet: u32) {
        let net = root.join("proc/thread-self/net");
        fs::create_dir_all(&net).unwrap();
        let (failed, timeouts) = reassembly;
        let snmp = format!(
            "Ip: ReasmTimeout ReasmFails FragFails\nIp: {timeouts} {failed} {fails}\nUdp: RcvbufErrors\nUdp: {overflows}\n"
        );
        fs::write(net.join("snmp"), snmp).unwrap();
        fs::write(net.join("softnet_stat"), format!("00000001 {softnet:08x} 00000000\n")).unwrap();
    }

    fn facts(network: &mut OwnNetwork, seconds: u64) -> Vec<Fact> {
        let now = Nanos(0).plus(Duration::from_secs(seconds));
        network.counters(&NOBODY, now).into_iter().map(|evidence| evidence.fact).collect()
    }

    #[test]
    fn only_what_happened_is_told_and_the_first_reading_begins() {
        let root = tempfile::tempdir().unwrap();
        let mut network = OwnNetwork::new(HostFiles::below(root.path()), None);
        write(root.path(), 5, (5, 5), 5, 5);
        assert_eq!(facts(&mut network, 1), []);
        assert_eq!(facts(&mut network, 2), [], "nothing grew");
        write(root.path(), 6, (9, 7), 5, 8);
        let expected = [
            Fact::Fragments { direction: Way::Out, result: FragmentLoss::Failed, count: 1 },
            Fact::Fragments { direction: Way::In, result: FragmentLoss::Failed, count: 2 },
            Fact::Fragments { direction: Way::In, result: FragmentLoss::Expired, count: 2 },
            Fact::SoftnetDrops { count: 3 },
        ];
        assert_eq!(facts(&mut network, 3), expected);
        write(root.path(), 0, (0, 0), 9, 0);
        assert_eq!(
            facts(&mut network, 4),
            [Fact::ReceiveOverflow { count: 4 }],
            "counters that began anew tell nothing"
        );
        assert_eq!(network.status().protocols.receive_overflows, Some(9));
    }
}
