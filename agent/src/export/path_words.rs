//! Evidence about sizes and losses in words.

use lacuna_core::evidence::{Fact, HoleReason, HoleReport, KernelDrops, Way};
use lacuna_core::incident::Direction;
use lacuna_core::loss::LossRate;

/// The sentence for a fact of the network; absent for others.
pub(super) fn of_path(host: &str, fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::LargeHeartbeat(large) => {
            format!("a heartbeat of {} bytes came in from {host} ({})", large.bytes, large.size.name())
        }
        Fact::LargeSent { size, bytes, seq } => {
            format!("heartbeat {seq} of {bytes} bytes left for {host} ({})", size.name())
        }
        Fact::Duplicates { size, count } => format!("{count} packets of {host} came in again ({})", size.name()),
        Fact::SizeProbe(probe) => format!("a size probe of {} bytes came in from {host}", probe.bytes),
        Fact::SizeProbeSent(probe) => format!("a size probe of {} bytes left for {host}", probe.bytes),
        Fact::TooBig { mtu } => {
            format!("no packet beyond {mtu} bytes passes on the way to {host}, a kernel on it said")
        }
        Fact::Sizes { size, bytes, sent, heard } => {
            format!("of {sent} heartbeats of {bytes} bytes ({}) {host} heard {heard}", size.name())
        }
        Fact::Hole(report) => hole(host, *report),
        Fact::Loss { direction, rate } => loss(host, *direction, *rate),
        Fact::HeartbeatDropsCounted => {
            format!("this host's kernel counts the heartbeats from and to {host} that it drops")
        }
        Fact::HeartbeatDrops { direction: Way::In, reason, count } => {
            format!("the kernel of this host dropped {count} heartbeats that came from {host}: {reason}")
        }
        Fact::HeartbeatDrops { direction: Way::Out, reason, count } => {
            format!("the kernel of this host dropped {count} heartbeats that were to go to {host}: {reason}")
        }
        Fact::PeerDrops(drops) => peer_drops(host, drops),
        _ => return None,
    })
}

fn hole(host: &str, report: HoleReport) -> String {
    let what = match report.reason {
        HoleReason::DfDropped => "large packets",
        HoleReason::FragmentsLost => "fragments",
        HoleReason::FragNeededLost => "large packets that must not be fragmented",
    };
    let passes = report.passes.map(|passes| format!("; up to {passes} bytes pass")).unwrap_or_default();
    format!("{host} says that {what} of it do not arrive here{passes}")
}

fn peer_drops(host: &str, drops: &KernelDrops) -> String {
    let ways = [("sent to it", Way::In), ("that it sent here", Way::Out)];
    let part = |(which, way): (&str, Way)| {
        let reason = drops.reason(way).map(|reason| format!(" ({reason})")).unwrap_or_default();
        let count = drops.count(way);
        (count > 0).then(|| format!("{count} heartbeats {which}{reason}"))
    };
    let parts: Vec<_> = ways.into_iter().filter_map(part).collect();
    format!("{host} says that its kernel dropped {}", parts.join(" and "))
}

fn loss(host: &str, direction: Direction, rate: LossRate) -> String {
    let way = match direction {
        Direction::FromPeer => "from",
        Direction::ToPeer => "to",
        Direction::Both => "from and to",
    };
    let [part, low, high] = [rate.rate, rate.low, rate.high].map(|part| part * 100.0);
    format!("{part:.1} % of {} heartbeats {way} {host} were lost ({low:.1} to {high:.1} %)", rate.packets)
}

#[cfg(test)]
mod tests {
    use lacuna_core::evidence::Size;

    use super::*;

    #[test]
    fn figures_are_in_the_words() {
        let sizes = Fact::Sizes { size: Size::Mtu, bytes: 1500, sent: 9, heard: 0 };
        assert_eq!(of_path("b", &sizes).as_deref(), Some("of 9 heartbeats of 1500 bytes (mtu) b heard 0"));
        let rate = LossRate { rate: 0.1, low: 0.055, high: 0.175, packets: 300 };
        let loss = Fact::Loss { direction: Direction::ToPeer, rate };
        let expected = "10.0 % of 300 heartbeats to b were lost (5.5 to 17.5 %)";
        assert_eq!(of_path("b", &loss).as_deref(), Some(expected));
        let drops = KernelDrops { received: 50, received_for: Some("NETFILTER_DROP".into()), ..KernelDrops::default() };
        let expected = "b says that its kernel dropped 50 heartbeats sent to it (NETFILTER_DROP)";
        assert_eq!(of_path("b", &Fact::PeerDrops(drops)).as_deref(), Some(expected));
        assert_eq!(of_path("b", &Fact::EchoSent), None);
    }
}
