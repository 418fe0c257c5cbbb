//! What this host's own kernel says of its network stands in the incidents of the peers that it concerns.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::fleet::Fleet;
use crate::evidence::{Evidence, Fact, FragmentLoss, LinkAddress, Way};
use crate::incident::{Class, Incident};

/// Tells host `a` what was seen of `host` in the last 100 ms.
fn tell(fleet: &mut Fleet, host: &str, fact: Fact) {
    let (from, to) = (fleet.now.minus(Duration::from_millis(100)), fleet.now);
    fleet.host("a").engine.handle(Evidence::during(host, from, to, fact));
}

/// The last word of `a` on each of its incidents.
fn latest(fleet: &mut Fleet) -> Vec<Incident> {
    let seen = fleet.host("a").seen.clone();
    let ids: BTreeSet<&str> = seen.iter().map(|incident| incident.id.as_str()).collect();
    ids.iter().filter_map(|id| seen.iter().rev().find(|incident| incident.id == *id).cloned()).collect()
}

fn cites(incident: &Incident, wanted: &Fact) -> bool {
    incident.evidence.iter().any(|cited| cited.fact == *wanted)
}

/// `a` loses two peers, which `d` goes on hearing; the facts are told just when it does.
fn a_loses_two(facts: &[(&str, Fact)]) -> Vec<Incident> {
    let mut fleet = Fleet::new(4);
    fleet.run(1.0);
    fleet.cut_both("a", "b");
    fleet.cut_both("a", "c");
    fleet.run(0.1);
    for (host, fact) in facts {
        tell(&mut fleet, host, fact.clone());
    }
    fleet.run(5.0);
    fleet.heal();
    fleet.run(3.0);
    let incidents = latest(&mut fleet);
    assert_eq!(incidents.len(), 2);
    incidents
}

#[test]
fn a_lost_carrier_stands_in_the_incident_of_every_peer() {
    let lost = Fact::Carrier { interface: "eth0".into(), up: false };
    let mtu = Fact::MtuChanged { interface: "eth0".into(), before: 1500, now: 1280 };
    for incident in a_loses_two(&[("a", lost.clone()), ("a", mtu.clone())]) {
        assert!(cites(&incident, &lost) && cites(&incident, &mtu), "{incident:#?}");
    }
}

#[test]
fn a_carrier_that_comes_back_while_the_incident_is_open_stands_in_it() {
    let mut fleet = Fleet::new(2);
    fleet.run(1.0);
    fleet.cut_both("a", "b");
    fleet.run(2.0);
    let back = Fact::Carrier { interface: "eth0".into(), up: true };
    tell(&mut fleet, "a", back.clone());
    fleet.heal();
    fleet.run(3.0);
    assert!(cites(&fleet.host("a").incident(), &back));
}

#[test]
fn what_is_of_one_peer_stands_in_its_incident_only() {
    let of_b = [
        Fact::PathMtu { before: None, now: Some(1280) },
        Fact::RetransmitSizes { count: 3, smallest: 1300, largest: 1448 },
        Fact::Fragments { direction: Way::In, result: FragmentLoss::Expired, count: 2 },
        Fact::FragNeeded { direction: Way::In, mtu: Some(1280), count: 1 },
    ];
    let told: Vec<_> = of_b.iter().map(|fact| ("b", fact.clone())).collect();
    for incident in a_loses_two(&told) {
        let is_of_b = incident.verdict.subject.peer.as_deref() == Some("b");
        for fact in &of_b {
            assert_eq!(cites(&incident, fact), is_of_b, "{fact:?} in {incident:#?}");
        }
    }
}

#[test]
fn another_gateway_concerns_every_peer_and_another_neighbour_only_itself() {
    let changed = |gateway: bool| Fact::NeighbourChanged {
        interface: "eth0".into(),
        address: Ipv4Addr::new(10, 0, 0, 1).into(),
        gateway,
        before: Some("02:00:00:00:00:01".into()),
        now: None,
    };
    for incident in a_loses_two(&[("a", changed(true)), ("b", changed(false))]) {
        assert!(cites(&incident, &changed(true)));
        assert_eq!(cites(&incident, &changed(false)), incident.verdict.subject.peer.as_deref() == Some("b"));
    }
}

#[test]
fn what_grows_while_an_incident_is_open_is_added_up() {
    let sizes = |count, smallest, largest| Fact::RetransmitSizes { count, smallest, largest };
    let failed = |count| Fact::Fragments { direction: Way::Out, result: FragmentLoss::Failed, count };
    let mut fleet = Fleet::new(2);
    fleet.run(1.0);
    fleet.cut_both("a", "b");
    fleet.run(1.0);
    for (host, fact) in [
        ("b", sizes(2, 1300, 1448)),
        ("b", sizes(3, 1200, 1400)),
        ("a", failed(1)),
        ("a", Fact::Fragments { direction: Way::In, result: FragmentLoss::Expired, count: 7 }),
        ("a", failed(4)),
    ] {
        tell(&mut fleet, host, fact);
    }
    fleet.run(1.0);
    let incident = fleet.host("a").incident();
    assert!(cites(&incident, &sizes(5, 1200, 1448)), "{incident:#?}");
    assert!(cites(&incident, &failed(5)), "{incident:#?}");
}

/// Host `a` is told this of c ten times a second, for so many seconds.
fn run_and_tell(fleet: &mut Fleet, seconds: u32, facts: &[Fact]) {
    for _ in 0..seconds * 10 {
        fleet.run(0.1);
        let now = fleet.now;
        for fact in facts {
            fleet.host("a").engine.handle(Evidence::at("c", now, fact.clone()));
        }
    }
}

#[test]
fn a_host_that_answers_arp_is_not_down_for_whom_it_answers() {
    let mut fleet = Fleet::new(3);
    fleet.gone("c");
    let link = LinkAddress([2, 0, 0, 0, 0, 3]);
    run_and_tell(&mut fleet, 15, &[Fact::ArpReply { address: Ipv4Addr::new(10, 0, 0, 3).into(), link, count: 1 }]);
    assert_eq!(fleet.host("a").classes(), BTreeSet::from(["unknown"]), "{}", fleet.host("a").history());
    assert_eq!(fleet.host("b").incident().verdict.class, Class::HostDown, "nobody answers b");
}

#[test]
fn a_host_that_answers_arp_no_more_may_be_down() {
    let mut fleet = Fleet::new(3);
    let link = LinkAddress([2, 0, 0, 0, 0, 3]);
    fleet.kill("c");
    run_and_tell(&mut fleet, 5, &[Fact::ArpReply { address: Ipv4Addr::new(10, 0, 0, 3).into(), link, count: 1 }]);
    fleet.gone("c");
    fleet.run(15.0);
    assert_eq!(fleet.host("a").incident().verdict.class, Class::HostDown, "{}", fleet.host("a").history());
}

#[test]
fn what_answers_with_the_address_of_a_host_and_another_link_address_is_not_that_host() {
    let mut fleet = Fleet::new(3);
    fleet.gone("c");
    fleet.run(1.0);
    let changed = |before: Option<&str>, now: Option<&str>| Fact::NeighbourChanged {
        interface: "eth0".into(),
        address: Ipv4Addr::new(10, 0, 0, 3).into(),
        gateway: false,
        before: before.map(Into::into),
        now: now.map(Into::into),
    };
    let (own, other) = (Some("02:00:00:00:00:03"), Some("02:00:00:00:00:09"));
    tell(&mut fleet, "c", changed(own, other));
    run_and_tell(&mut fleet, 15, &[Fact::EchoReply, Fact::PortUnreachable]);
    assert_eq!(fleet.host("a").classes(), BTreeSet::from(["unknown"]), "{}", fleet.host("a").history());
    tell(&mut fleet, "c", changed(other, None));
    fleet.run(5.0);
    assert!(!fleet.host("a").classes().contains("agent-stall"), "{}", fleet.host("a").history());
}
