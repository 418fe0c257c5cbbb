//! Duplicates, overtaken packets and the variation of the time on the way: by size, and told to the peer.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Engine, Me};
use crate::evidence::{Evidence, Fact, FlowReport, Heard, Heartbeat, LargeHeartbeat, Size};
use crate::incident::Class;
use crate::settings::Settings;
use crate::time::Nanos;

const MS: u64 = 1_000_000;

fn engine() -> Engine {
    let me = Me { incarnation: 1, ..Me::default() };
    Engine::new(Settings { host: "a".into(), peers: vec!["b".into()], ..Settings::default() }, me)
}

/// Number `seq` of b, `late_ms` on its way.
fn beat(engine: &mut Engine, incarnation: u64, seq: u64, late_ms: u64) {
    let sent_at = Nanos((1000 + seq * 100) * MS);
    let beat = Heartbeat { seq, sent_at, incarnation, ..Heartbeat::default() };
    let at = sent_at.plus(Duration::from_millis(late_ms));
    engine.handle(Evidence::at("b", at, Fact::Heartbeat(Arc::new(beat))));
}

fn large(engine: &mut Engine, size: Size, seq: u64, late_ms: u64) {
    let sent_at = Nanos((1000 + seq * 1000) * MS);
    let large = LargeHeartbeat { size, bytes: 1500, seq, sent_at, boot_id: [0; 16], incarnation: 7 };
    engine.handle(Evidence::at("b", sent_at.plus(Duration::from_millis(late_ms)), Fact::LargeHeartbeat(large)));
}

fn flow(engine: &Engine, size: Size) -> Option<FlowReport> {
    let told = engine.heartbeat("b", Nanos(100_000 * MS)).unwrap().flows;
    told.into_iter().find(|flow| flow.size == size)
}

#[test]
fn each_size_is_counted_by_itself() {
    let mut engine = engine();
    [(1, 0), (3, 0), (2, 120), (3, 1), (4, 0)].into_iter().for_each(|(seq, late)| beat(&mut engine, 7, seq, late));
    [(5, 0), (7, 0), (6, 1900), (7, 1), (7, 2)]
        .into_iter()
        .for_each(|(seq, late)| large(&mut engine, Size::Mtu, seq, late));
    let (small, mtu) = (flow(&engine, Size::Small).unwrap(), flow(&engine, Size::Mtu).unwrap());
    assert_eq!((small.duplicates, small.reordered), (1, 1));
    assert_eq!((mtu.duplicates, mtu.reordered), (2, 1));
    assert!(small.variation > Some(Duration::from_millis(10)), "two steps of 120 ms, a sixteenth each: {small:?}");
    assert_eq!(flow(&engine, Size::Fragmented), None, "none came in");
    assert_eq!(engine.peer("b").unwrap().large_from(Size::Mtu), Some((3, 3)), "what came twice is no loss made up for");
}

#[test]
fn what_tags_told_of_counts_as_well() {
    let mut engine = engine();
    beat(&mut engine, 7, 1, 0);
    engine.handle(Evidence::at("b", Nanos(2000 * MS), Fact::Duplicates { size: Size::Small, count: 3 }));
    assert_eq!(flow(&engine, Size::Small).map(|flow| flow.duplicates), Some(3));
}

#[test]
fn the_most_that_can_be_counted_stays_the_most() {
    let mut engine = engine();
    beat(&mut engine, 7, 1, 0);
    large(&mut engine, Size::Mtu, 5, 0);
    for size in [Size::Small, Size::Mtu] {
        engine.handle(Evidence::at("b", Nanos(7000 * MS), Fact::Duplicates { size, count: u64::MAX }));
    }
    beat(&mut engine, 7, 1, 0);
    large(&mut engine, Size::Mtu, 5, 0);
    for size in [Size::Small, Size::Mtu] {
        assert_eq!(flow(&engine, size).map(|flow| flow.duplicates), Some(u64::MAX));
    }
}

#[test]
fn another_start_of_the_peer_is_told_of_itself_and_the_totals_go_on() {
    let mut engine = engine();
    [1, 2, 2].into_iter().for_each(|seq| beat(&mut engine, 7, seq, 0));
    [3, 4].into_iter().for_each(|seq| beat(&mut engine, 8, seq, 500));
    let small = flow(&engine, Size::Small).unwrap();
    assert_eq!((small.duplicates, small.variation), (0, Some(Duration::ZERO)), "another clock begins anew");
    assert_eq!(engine.peer("b").unwrap().flows[Size::Small.place()].duplicates, 1);
}

#[test]
fn the_peers_word_counts_where_it_is_about_this_start() {
    let mut engine = engine();
    let told = FlowReport { size: Size::Fragmented, duplicates: 2, reordered: 1, variation: None };
    for (seq, incarnation, expected) in [(1, 1, Some(told)), (2, 6, None)] {
        let heard = Some(Heard { incarnation, seq: 1, count: 1, age: Duration::ZERO });
        let beat = Heartbeat { seq, heard, flows: vec![told], ..Heartbeat::default() };
        engine.handle(Evidence::at("b", Nanos(seq * 100 * MS), Fact::Heartbeat(Arc::new(beat))));
        assert_eq!(engine.peer("b").unwrap().flows_to[Size::Fragmented.place()], expected);
    }
}

/// b heard number `seq` of a last, and `count` of them in all.
fn word(engine: &mut Engine, number: u64, seq: u64, count: u64) {
    let at = Nanos((1000 + number * 100) * MS);
    let heard = Some(Heard { incarnation: 1, seq, count, age: Duration::ZERO });
    let beat = Heartbeat { seq: number, sent_at: at, incarnation: 7, heard, ..Heartbeat::default() };
    engine.handle(Evidence::at("b", at, Fact::Heartbeat(Arc::new(beat))));
    engine.handle(Evidence::at("b", at, Fact::HeartbeatSent { seq: number + 1, error: None }));
    engine.handle_timeout(at);
}

#[test]
fn what_was_overtaken_on_its_way_to_the_peer_is_not_lost() {
    for (late, lost) in [(true, false), (false, true)] {
        let (mut engine, mut count) = (engine(), 0);
        for number in 1..=600 {
            count += u64::from(number % 25 != 0);
            // The next word has the one that was missing as well, or not.
            count += u64::from(late && number % 25 == 1 && number > 1);
            word(&mut engine, number, number, count);
        }
        let said = std::iter::from_fn(|| engine.poll()).any(|one| one.verdict.class == Class::PacketLoss);
        assert_eq!(said, lost);
    }
}

#[test]
fn a_large_heartbeat_is_due_in_its_turn_though_that_begins_a_moment_early() {
    let (mut engine, sent) = (engine(), Nanos(5000 * MS));
    for size in [Size::Mtu, Size::Fragmented] {
        engine.handle(Evidence::at("b", sent, Fact::LargeSent { size, bytes: 1500, seq: 1 }));
    }
    let due_after = |millis| engine.large_due("b", sent.plus(Duration::from_millis(millis))).0.len();
    // The last one is not heard of yet: then every 300 ms.
    assert_eq!([due_after(200), due_after(299), due_after(300)], [0, 2, 2]);
}
