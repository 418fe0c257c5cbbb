//! Interfaces as messages of the kernel tell of them.

use netlink_packet_route::tc::TcStatsQueue;

use super::*;

const UP: LinkFlags = LinkFlags::Up.union(LinkFlags::LowerUp);

fn link(index: u32, name: &str, flags: LinkFlags, mtu: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = flags;
    message.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::Mtu(mtu)];
    message
}

fn with_errors(mut message: LinkMessage, rx_errors: u64, rx_dropped: u64) -> LinkMessage {
    let mut stats = Stats64::default();
    (stats.rx_errors, stats.rx_dropped) = (rx_errors, rx_dropped);
    message.attributes.push(LinkAttribute::Stats64(stats));
    message
}

/// What one message after the other makes the interfaces tell.
fn told(interfaces: &mut Interfaces, messages: &[LinkMessage]) -> Vec<Fact> {
    let mut facts = Vec::new();
    messages.iter().for_each(|message| interfaces.is_there(message, &mut |fact| facts.push(fact)));
    facts
}

/// After a first look at these.
fn begun(messages: &[LinkMessage]) -> Interfaces {
    let mut interfaces = Interfaces::default();
    interfaces.begin_look();
    told(&mut interfaces, messages);
    interfaces
}

fn carrier(up: bool) -> Fact {
    Fact::Carrier { interface: "eth0".into(), up }
}

#[test]
fn a_carrier_that_goes_and_comes_is_told_once_each() {
    let mut interfaces = begun(&[link(2, "eth0", UP, 1500)]);
    let down = link(2, "eth0", LinkFlags::Up, 1500);
    assert_eq!(told(&mut interfaces, &[down.clone(), down.clone()]), [carrier(false)]);
    assert_eq!(told(&mut interfaces, &[link(2, "eth0", UP, 1500)]), [carrier(true)]);
    assert_eq!(told(&mut interfaces, &[link(2, "eth0", LinkFlags::empty(), 1500)]), [carrier(false)], "set down");
}

#[test]
fn another_mtu_is_told_with_the_one_before() {
    let mut interfaces = begun(&[link(2, "eth0", UP, 1500)]);
    let changed = Fact::MtuChanged { interface: "eth0".into(), before: 1500, now: 1280 };
    assert_eq!(told(&mut interfaces, &[link(2, "eth0", UP, 1280), link(2, "eth0", UP, 1280)]), [changed]);
}

#[test]
fn the_loopback_and_what_is_down_are_left_alone_until_it_is_up() {
    let down = link(3, "eth0", LinkFlags::empty(), 1500);
    let mut interfaces = begun(&[link(1, "lo", UP | LinkFlags::Loopback, 65536), down]);
    assert_eq!(interfaces.watched().count(), 0);
    assert_eq!(interfaces.name(3), Some("eth0"));
    assert_eq!(told(&mut interfaces, &[link(3, "eth0", UP, 1500)]), [carrier(true)]);
    assert_eq!(interfaces.watched_name(3), Some("eth0"));
}

#[test]
fn only_the_configured_ones_are_watched_also_when_they_are_down() {
    let mut interfaces = Interfaces::default();
    assert!(interfaces.want(&["eth0".into()]) && !interfaces.want(&["eth0".into()]));
    let all = [link(2, "eth0", LinkFlags::empty(), 1500), link(3, "eth1", UP, 1500)];
    assert_eq!(told(&mut interfaces, &all), []);
    assert_eq!(interfaces.watched().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["eth0"]);
    assert!(interfaces.want(&["eth1".into()]));
    assert_eq!(interfaces.watched().count(), 0);
}

#[test]
fn an_interface_that_is_removed_has_no_carrier_any_more() {
    let mut interfaces = begun(&[link(2, "eth0", UP, 1500)]);
    let mut facts = Vec::new();
    let mut of_a_bridge = link(2, "eth0", UP, 1500);
    of_a_bridge.header.interface_family = AddressFamily::Bridge;
    interfaces.is_gone(&of_a_bridge, &mut |fact| facts.push(fact));
    assert_eq!(facts, [], "it only left its bridge");
    interfaces.is_gone(&link(2, "eth0", UP, 1500), &mut |fact| facts.push(fact));
    assert_eq!(facts, [carrier(false)]);
    assert_eq!((interfaces.watched().count(), interfaces.name(2)), (0, None));
}

#[test]
fn errors_are_told_as_they_grow_and_unwanted_packets_are_only_counted() {
    let at = |errors, dropped| with_errors(link(2, "eth0", UP, 1500), errors, dropped);
    let mut interfaces = begun(&[at(7, 7)]);
    let grown = |count| Fact::InterfaceErrors { interface: "eth0".into(), what: InterfaceTrouble::RxErrors, count };
    assert_eq!(told(&mut interfaces, &[at(7, 7), at(9, 9), at(1, 9)]), [grown(2), grown(1)]);
    let counted = interfaces.watched().next().unwrap().trouble[&InterfaceTrouble::RxDropped];
    assert_eq!(counted, 9);
}

#[test]
fn drops_of_the_outermost_queue_are_told() {
    let mut interfaces = begun(&[link(2, "eth0", UP, 1500)]);
    let mut queue = |parent, drops| {
        let mut message = TcMessage::with_index(2);
        message.header.parent = parent;
        let mut stats = TcStatsQueue::default();
        stats.drops = drops;
        message.attributes = vec![TcAttribute::Stats2(vec![TcStats2::Queue(stats)])];
        let mut facts = Vec::new();
        interfaces.queue(&message, &mut |fact| facts.push(fact));
        facts
    };
    assert_eq!(queue(TcHandle::ROOT, 3), []);
    assert_eq!(queue(TcHandle { major: 1, minor: 1 }, 90), [], "an inner one");
    let grown = Fact::InterfaceErrors { interface: "eth0".into(), what: InterfaceTrouble::QueueDropped, count: 2 };
    assert_eq!(queue(TcHandle::ROOT, 5), [grown]);
}

#[test]
fn a_host_of_many_containers_watches_its_own_interfaces_and_counts_the_others() {
    let many: Vec<_> = (1..=40).map(|index| link(index, &format!("eth{index}"), UP, 1500)).collect();
    let interfaces = begun(&many);
    assert_eq!((interfaces.watched().count(), interfaces.beyond), (MAX_WATCHED, 40 - MAX_WATCHED as u64));
    assert_eq!(interfaces.watched_name(1), Some("eth1"));
}
