//! What a broken or forged heartbeat may do: nothing that panics, spins or grows.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::fleet::Fleet;
use crate::engine::{Engine, Me};
use crate::evidence::{
    Evidence, Fact, FlowReport, Heard, Heartbeat, HoleReason, HoleReport, KernelDrops, LargeHeard, LargeHeartbeat,
    OtherViews, PeerView, Scope, Size, SizeProbe, StallReport, Story, StoryKind, name_hash,
};
use crate::incident::{Class, State};
use crate::settings::Settings;
use crate::time::{Nanos, WallNanos};
use crate::trace::TraceId;

/// Numbers as a forger likes them.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..20_u64, Just(u64::MAX), Just(u64::MAX - 1), Just(1 << 63), any::<u64>()]
}

fn beat() -> impl Strategy<Value = Heartbeat> {
    let heard = proptest::option::of((number(), number(), number(), number()));
    let class =
        prop_oneof![Just(Class::VcpuStall), Just(Class::VmPause), Just(Class::AgentStall), Just(Class::Unknown)];
    let cpu = proptest::option::of(0..4_u32);
    let stall = (number(), number(), class, any::<bool>(), cpu).prop_map(|(from, length, class, open, cpu)| {
        let to = Nanos(from.saturating_add(length));
        StallReport { from: Nanos(from), to, class, open, deaf: open, cpu, ..StallReport::default() }
    });
    let view = (any::<bool>(), proptest::option::of(number()), any::<Option<bool>>(), proptest::option::of(number()));
    let view = view.prop_map(|(known, age, kernel_answers, heard_for)| {
        let peer = name_hash(if known { "b" } else { "c" });
        let [heard_age, heard_for] = [age, heard_for].map(|age| age.map(Duration::from_nanos));
        PeerView { peer, heard_age, kernel_answers, heard_for }
    });
    let size = || prop_oneof![Just(Size::Small), Just(Size::Mtu), Just(Size::Fragmented)];
    let large = (size(), number(), number()).prop_map(|(size, seq, count)| LargeHeard { size, seq, count });
    let probe = (any::<u32>(), any::<u16>()).prop_map(|(id, bytes)| SizeProbe { id, bytes });
    let reason =
        prop_oneof![Just(HoleReason::DfDropped), Just(HoleReason::FragmentsLost), Just(HoleReason::FragNeededLost)];
    let hole = (reason, any::<Option<u16>>()).prop_map(|(reason, passes)| HoleReport { reason, passes });
    let flow =
        (size(), any::<[u64; 2]>(), any::<Option<u64>>()).prop_map(|(size, [duplicates, reordered], variation)| {
            FlowReport { size, duplicates, reordered, variation: variation.map(Duration::from_nanos) }
        });
    let why = proptest::option::of(Just("NETFILTER_DROP".to_owned()));
    let drops = (number(), number(), number(), why).prop_map(|(received, sent, refused, received_for)| {
        let sent_for = received_for.clone();
        KernelDrops { received, received_for, sent, sent_for, refused }
    });
    let drops = proptest::option::of(drops);
    let (larges, flows) = (proptest::collection::vec(large, 0..3), proptest::collection::vec(flow, 0..4));
    let sizes = (larges, proptest::option::of(probe), proptest::option::of(hole), flows, drops);
    let lists = (proptest::collection::vec(stall, 0..3), proptest::collection::vec(view, 0..3), sizes, stories());
    ((number(), number(), number(), 0..3_u8, number(), any::<bool>(), number()), heard, lists).prop_map(
        |((seq, sent_at, wall, boot, incarnation, goodbye, overflow), heard, (stalls, views, sizes, stories))| {
            Heartbeat {
                seq,
                sent_at: Nanos(sent_at),
                sent_wall: WallNanos(wall),
                boot_id: [boot; 16],
                incarnation,
                goodbye,
                overflow,
                heard: heard.map(|(incarnation, seq, count, age)| Heard {
                    incarnation,
                    seq,
                    count,
                    age: Duration::from_nanos(age),
                }),
                stalls,
                views,
                others: (seq % 2 == 0).then_some(OtherViews { heard_within: Duration::from_nanos(seq), all: seq }),
                hypervisor: None,
                large: sizes.0,
                flows: sizes.3,
                probe: sizes.1,
                hole: sizes.2,
                drops: sizes.4,
                stories,
            }
        },
    )
}

/// About anybody, under names that are worse and better than any.
fn stories() -> impl Strategy<Value = Vec<Story>> {
    let scope = prop_oneof![Just(Scope::Host), Just(Scope::Path), Just(Scope::PathOrHost), Just(Scope::All)];
    let kind = prop_oneof![Just(StoryKind::Stall), Just(StoryKind::Loss), Just(StoryKind::Hole)];
    let story = (1..4_u128, any::<bool>(), number(), number(), any::<[bool; 3]>(), kind, scope);
    let story = story.prop_map(|(trace, low, age, over, [goes_on, settled, of_b], kind, scope)| Story {
        trace: TraceId::of(if low { 0 } else { u64::MAX }, trace),
        age: Duration::from_nanos(age),
        over: (!goes_on).then_some(Duration::from_nanos(over)),
        settled,
        kind,
        scope,
        host: name_hash(if of_b { "b" } else { "a" }),
        peer: (scope != Scope::Host).then_some(name_hash("c")),
    });
    proptest::collection::vec(story, 0..3)
}

#[derive(Clone, Debug)]
enum Step {
    Beat(&'static str, Arc<Heartbeat>),
    Sent(&'static str),
    Echo(&'static str, bool),
    Late(u64),
    Turn(u64),
    Large(&'static str, LargeHeartbeat),
    Probe(&'static str, SizeProbe),
    PathMtu(&'static str, u16),
    Duplicates(&'static str, u64),
    Configure(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop_oneof![Just("b"), Just("c")];
    prop_oneof![
        4 => (name(), beat()).prop_map(|(name, beat)| Step::Beat(name, Arc::new(beat))),
        2 => name().prop_map(Step::Sent),
        1 => (name(), any::<bool>()).prop_map(|(name, answered)| Step::Echo(name, answered)),
        1 => (0..2_000_u64).prop_map(Step::Late),
        4 => (1..1_000_u64).prop_map(Step::Turn),
        1 => (name(), any::<bool>(), number(), any::<u16>()).prop_map(|(name, mtu, seq, bytes)| {
            let size = if mtu { Size::Mtu } else { Size::Fragmented };
            let (sent_at, boot_id, incarnation) = (Nanos(seq), [0; 16], seq);
            Step::Large(name, LargeHeartbeat { size, bytes, seq, sent_at, boot_id, incarnation })
        }),
        1 => (name(), any::<u32>(), any::<u16>()).prop_map(|(name, id, bytes)| Step::Probe(name, SizeProbe { id, bytes })),
        1 => (name(), any::<u16>()).prop_map(|(name, mtu)| Step::PathMtu(name, mtu)),
        1 => (name(), any::<u64>()).prop_map(|(name, count)| Step::Duplicates(name, count)),
        1 => any::<bool>().prop_map(Step::Configure),
    ]
}

fn settings(with_c: bool) -> Settings {
    let peers = ["b", "c"][..if with_c { 2 } else { 1 }].iter().map(|name| (*name).to_owned()).collect();
    Settings { host: "a".into(), peers, ..Settings::default() }
}

fn take(engine: &mut Engine, step: Step, now: &mut Nanos) {
    match step {
        Step::Beat(name, beat) => engine.handle(Evidence::at(name, *now, Fact::Heartbeat(beat))),
        Step::Large(name, large) => engine.handle(Evidence::at(name, *now, Fact::LargeHeartbeat(large))),
        Step::Probe(name, probe) => engine.handle(Evidence::at(name, *now, Fact::SizeProbe(probe))),
        Step::PathMtu(name, mtu) => engine.handle(Evidence::at(name, *now, Fact::TooBig { mtu })),
        Step::Duplicates(name, count) => {
            engine.handle(Evidence::at(name, *now, Fact::Duplicates { size: Size::Mtu, count }));
        }
        Step::Sent(name) => {
            let (large, probe) = engine.large_due(name, *now);
            for (size, seq) in large {
                engine.handle(Evidence::at(name, *now, Fact::LargeSent { size, bytes: 1500, seq }));
            }
            if let Some(probe) = probe {
                engine.handle(Evidence::at(name, *now, Fact::SizeProbeSent(probe)));
            }
            if let Some(seq) = engine.heartbeat(name, *now).map(|beat| beat.seq) {
                engine.handle(Evidence::at(name, *now, Fact::HeartbeatSent { seq, error: None }));
            }
        }
        Step::Echo(name, true) => engine.handle(Evidence::at(name, *now, Fact::EchoReply)),
        Step::Echo(name, false) => engine.handle(Evidence::at(name, *now, Fact::EchoSent)),
        Step::Late(ms) => {
            let late = Fact::AgentLate(Box::default());
            engine.handle(Evidence::during("a", now.minus(Duration::from_millis(ms)), *now, late));
        }
        Step::Turn(ms) => *now = now.plus(Duration::from_millis(ms)),
        Step::Configure(with_c) => engine.configure(settings(with_c)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_in_the_loop_does_not_spin(steps in proptest::collection::vec(step(), 1..120)) {
        let mut engine = Engine::new(settings(true), Me { incarnation: 7, ..Me::default() });
        let mut now = Nanos(1_000_000_000_000);
        for step in steps {
            take(&mut engine, step, &mut now);
            engine.handle_timeout(now);
            prop_assert!(engine.next_timeout().is_none_or(|at| at > now));
            let said = std::iter::from_fn(|| engine.poll()).count();
            prop_assert!(said <= 4, "{said} documents in one turn");
        }
    }
}

#[test]
fn a_forged_jump_of_the_number_does_not_shut_the_peer_out() {
    let mut fleet = Fleet::new(2);
    let now = fleet.now;
    let mut forged = fleet.host("b").engine.heartbeat("a", now).expect("a peer");
    (forged.seq, forged.incarnation) = (u64::MAX, u64::MAX);
    fleet.host("a").engine.handle(Evidence::at("b", now, Fact::Heartbeat(Arc::new(forged))));
    fleet.run(10.0);
    for incident in fleet.host("a").incidents() {
        assert_eq!((incident.verdict.class, incident.state), (Class::Unknown, State::Closed));
    }
    assert!(!fleet.host("a").engine.is_silent("b"));
}
