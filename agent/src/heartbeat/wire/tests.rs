use proptest::collection::vec;
use proptest::prelude::*;

use lacuna_core::evidence::{
    FlowReport, HoleReason, HoleReport, KernelDrops, LargeHeard, OtherViews, PeerView, Scope, SizeProbe, StallReport,
    Story, StoryKind,
};
use lacuna_core::incident::{AgentState, Class, ClockState};
use lacuna_core::trace::TraceId;
use lacuna_core::views::Views;

use super::*;

fn heards() -> impl Strategy<Value = Heard> {
    any::<[u64; 4]>().prop_map(|[incarnation, seq, count, age]| Heard {
        incarnation,
        seq,
        count,
        age: Duration::from_nanos(age),
    })
}

fn stalls() -> impl Strategy<Value = StallReport> {
    let state = prop_oneof![
        Just(None),
        Just(Some(AgentState::Stopped)),
        Just(Some(AgentState::Throttled)),
        Just(Some(AgentState::NotRunning))
    ];
    let clock = prop_oneof![Just(None), Just(Some(ClockState::Stopped)), Just(Some(ClockState::RanOn))];
    let cpu = proptest::option::of(0..u32::from(stall::NO_CPU));
    let stall = (any::<[u64; 2]>(), 0..Class::ALL.len(), state, cpu, clock, any::<[bool; 2]>());
    stall.prop_map(|([a, b], class, state, cpu, clock, [open, deaf])| StallReport {
        from: Nanos(a.min(b)),
        to: Nanos(a.max(b)),
        class: Class::ALL[class].0,
        state,
        cpu,
        clock,
        open,
        deaf,
    })
}

fn views() -> impl Strategy<Value = PeerView> {
    let time = |time: Option<u32>| time.map(|time| Duration::from_millis(time.min(view::NEVER - 1).into()));
    (any::<u64>(), any::<[Option<u32>; 2]>(), any::<Option<bool>>()).prop_map(move |(peer, times, kernel_answers)| {
        let [heard_age, heard_for] = times.map(time);
        PeerView { peer, heard_age, kernel_answers, heard_for }
    })
}

fn larges() -> impl Strategy<Value = LargeHeard> {
    let size = prop_oneof![Just(Size::Mtu), Just(Size::Fragmented)];
    (size, any::<[u64; 2]>()).prop_map(|(size, [seq, count])| LargeHeard { size, seq, count })
}

fn flows() -> impl Strategy<Value = FlowReport> {
    let size = prop_oneof![Just(Size::Small), Just(Size::Mtu), Just(Size::Fragmented)];
    let variation = proptest::option::of(0..size::NOT_KNOWN);
    (size, any::<[u64; 2]>(), variation).prop_map(|(size, [duplicates, reordered], variation)| FlowReport {
        size,
        duplicates,
        reordered,
        variation: variation.map(Duration::from_nanos),
    })
}

fn others() -> impl Strategy<Value = OtherViews> {
    (any::<u32>(), any::<u64>())
        .prop_map(|(ms, all)| OtherViews { heard_within: Duration::from_millis(ms.into()), all })
}

fn holes() -> impl Strategy<Value = HoleReport> {
    let reasons = [HoleReason::DfDropped, HoleReason::FragmentsLost, HoleReason::FragNeededLost];
    let passes = proptest::option::of(1..=u16::MAX);
    (proptest::sample::select(reasons.to_vec()), passes).prop_map(|(reason, passes)| HoleReport { reason, passes })
}

fn drops() -> impl Strategy<Value = KernelDrops> {
    let reason = || proptest::option::of("[A-Z0-9_]{1,40}");
    (any::<[u64; 3]>(), reason(), reason()).prop_map(|([received, sent, refused], received_for, sent_for)| {
        KernelDrops { received, received_for, sent, sent_for, refused }
    })
}

fn stories() -> impl Strategy<Value = Story> {
    let kinds =
        [StoryKind::Stall, StoryKind::Loss, StoryKind::Hole, StoryKind::Load, StoryKind::Storage, StoryKind::Address];
    let scopes = [Scope::Host, Scope::Path, Scope::PathOrHost, Scope::All];
    let (kind, scope) = (proptest::sample::select(kinds.to_vec()), proptest::sample::select(scopes.to_vec()));
    let times = (0..u32::MAX - 1, any::<Option<u32>>());
    (1..=u128::MAX, times, any::<bool>(), kind, scope, any::<u64>(), any::<Option<u64>>()).prop_map(
        |(trace, (age, over), settled, kind, scope, host, peer)| {
            let ms = |ms: u32| Duration::from_millis(ms.into());
            let (trace, over) = (TraceId::new(trace).unwrap(), over.map(|over| ms(over.min(age))));
            Story { trace, age: ms(age), over, settled, kind, scope, host, peer }
        },
    )
}

prop_compose! {
    fn beats()(
        numbers in any::<[u64; 5]>(),
        boot_id in any::<[u8; 16]>(),
        goodbye in any::<bool>(),
        heard in proptest::option::of(heards()),
        stalls in vec(stalls(), 0..=MAX_STALLS),
        (views, others, stories) in (vec(views(), 0..=32), proptest::option::of(others()), vec(stories(), 0..=MAX_STORIES)),
        hypervisor in any::<Option<u64>>(),
        large in vec(larges(), 0..=2),
        flows in vec(flows(), 0..=MAX_FLOWS),
        probe in proptest::option::of(any::<(u32, u16)>()),
        hole in proptest::option::of(holes()),
        drops in proptest::option::of(drops()),
    ) -> Heartbeat {
        let [incarnation, seq, sent_at, sent_wall, overflow] = numbers;
        let (sent_at, sent_wall) = (Nanos(sent_at), WallNanos(sent_wall));
        let probe = probe.map(|(id, bytes)| SizeProbe { id, bytes });
        Heartbeat {
            seq, sent_at, sent_wall, boot_id, incarnation, goodbye, heard, overflow, stalls, views, hypervisor, large, flows,
            probe, hole, drops, others, stories,
        }
    }
}

#[test]
fn the_name_of_a_reason_is_one_of_a_kernel() {
    for (reason, written) in [("NETFILTER_DROP", true), ("NOT_SPECIFIED", false), ("drop table", false), ("", false)] {
        let drops = KernelDrops { received: 1, received_for: Some(reason.into()), ..KernelDrops::default() };
        let mut packet = Vec::new();
        encode("a", &Heartbeat { drops: Some(drops), ..Heartbeat::default() }, &mut packet).unwrap();
        let Ok((_, Message::Heartbeat(read))) = decode(&packet) else { panic!("{reason}") };
        assert_eq!(read.drops.as_ref().unwrap().received_for.is_some(), written, "{reason}");
    }
    let drops = Some(KernelDrops { sent_for: Some("X".into()), ..KernelDrops::default() });
    let mut packet = Vec::new();
    encode("a", &Heartbeat { drops, ..Heartbeat::default() }, &mut packet).unwrap();
    let place = packet.iter().rposition(|byte| *byte == b'X').unwrap();
    packet[place] = b'\n';
    assert_eq!(decode(&packet), Err(WireError::Range), "it would stand in somebody's log");
    packet[place - 1] = 41;
    assert_eq!(decode(&packet), Err(WireError::Range), "longer than any name");
}

proptest! {
    #[test]
    fn what_is_written_is_read(name in "[a-z0-9.-]{1,64}", beat in beats()) {
        let mut packet = Vec::new();
        encode(&name, &beat, &mut packet)?;
        prop_assert!(packet.len() <= MAX_SMALL - TAG_LEN);
        prop_assert_eq!(decode(&packet), Ok((name, Message::Heartbeat(Arc::new(beat)))));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..1500)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn every_cut_is_refused(beat in beats(), at in any::<prop::sample::Index>()) {
        let mut packet = Vec::new();
        encode("db1", &beat, &mut packet)?;
        let at = at.index(packet.len());
        prop_assert_eq!(decode(&packet[..at]), Err(WireError::Short));
    }

    #[test]
    fn what_is_read_is_written_alike(mut bytes in vec(any::<u8>(), 0..300), beat in beats()) {
        // Start from something that mostly decodes: a real packet with a foreign tail.
        let mut packet = Vec::new();
        encode("db1", &beat, &mut packet)?;
        bytes.truncate(packet.len());
        let keep = packet.len() - bytes.len();
        packet.truncate(keep);
        packet.extend(bytes);
        if let Ok((name, Message::Heartbeat(beat))) = decode(&packet) {
            let mut again = Vec::new();
            encode(&name, &beat, &mut again)?;
            prop_assert_eq!(decode(&again), Ok((name, Message::Heartbeat(beat))));
        }
    }
}

fn packet() -> Vec<u8> {
    let mut packet = Vec::new();
    encode("db1", &Heartbeat::default(), &mut packet).unwrap();
    packet
}

fn refused(expected: WireError, change: impl FnOnce(&mut Vec<u8>)) {
    let mut packet = packet();
    change(&mut packet);
    assert_eq!(decode(&packet), Err(expected));
}

#[test]
fn each_fault_is_named() {
    refused(WireError::Short, Vec::clear);
    refused(WireError::Magic, |packet| packet[0] = b'X');
    refused(WireError::Version(9), |packet| packet[2] = 9);
    refused(WireError::Range, |packet| packet[3] = 0x80);
    refused(WireError::Name, |packet| packet[4] = 0);
    refused(WireError::Name, |packet| packet[5] = 0xff);
    refused(WireError::Long, |packet| packet.push(0));
    refused(WireError::Long, |packet| packet.resize(MAX_SMALL - TAG_LEN + 1, 0));
    refused(WireError::Long, |packet| packet.resize(MAX_PACKET + 1, 0));
    refused(WireError::Range, |packet| *packet.last_mut().unwrap() = 2);
    let stalls = packet().len() - 4;
    refused(WireError::Range, |packet| packet[stalls + 1] = u8::try_from(MAX_STORIES).unwrap() + 1);
    refused(WireError::Range, |packet| packet[stalls - 2] = u8::try_from(MAX_LARGE).unwrap() + 1);
    refused(WireError::Range, |packet| packet[stalls - 1] = u8::try_from(MAX_FLOWS).unwrap() + 1);
    refused(WireError::Range, |packet| packet[stalls] = u8::try_from(MAX_STALLS).unwrap() + 1);
}

#[test]
fn a_name_that_does_not_fit_is_not_sent() {
    let mut out = Vec::new();
    assert_eq!(encode("", &Heartbeat::default(), &mut out), Err(WireError::Name));
    assert_eq!(encode(&"x".repeat(MAX_NAME + 1), &Heartbeat::default(), &mut out), Err(WireError::Name));
}

#[test]
fn lists_beyond_their_limit_keep_the_newest() {
    let stall = |at| StallReport { from: Nanos(at), to: Nanos(at), class: Class::AgentStall, ..Default::default() };
    let beat = Heartbeat { stalls: (0..20).map(stall).collect(), ..Heartbeat::default() };
    let mut packet = Vec::new();
    encode("db1", &beat, &mut packet).unwrap();
    let (_, Message::Heartbeat(read)) = decode(&packet).unwrap() else { panic!("it is a heartbeat") };
    assert_eq!(read.stalls, beat.stalls[20 - MAX_STALLS..]);
}

fn story() -> Story {
    let (age, over) = (Duration::from_secs(9), Some(Duration::from_secs(2)));
    let trace = TraceId::of(1_800_000_000_000, 7);
    Story { trace, age, over, settled: true, kind: StoryKind::Hole, scope: Scope::Path, host: 5, peer: Some(6) }
}

#[test]
fn a_story_without_a_name_or_with_its_end_before_its_begin_is_refused() {
    let beat = Heartbeat { stories: vec![story()], ..Heartbeat::default() };
    let mut packet = Vec::new();
    encode("db1", &beat, &mut packet).unwrap();
    let begin = packet.len() - 2 - 41;
    for (from, bytes) in [(0, &[0; 16][..]), (16, &[0; 4]), (24, &[0xff]), (24, &[0x07])] {
        let mut packet = packet.clone();
        packet[begin + from..begin + from + bytes.len()].copy_from_slice(bytes);
        assert_eq!(decode(&packet), Err(WireError::Range), "byte {from}");
    }
    assert!(decode(&packet).is_ok());
}

/// Packets that the fuzzer begins with; `LACUNA_BLESS=1` writes them anew after a change of the format.
#[test]
fn the_seeds_of_the_fuzzer_are_packets_of_this_version() {
    let (state, clock) = (Some(AgentState::Stopped), Some(ClockState::RanOn));
    let (from, to, class) = (Nanos(1), Nanos(2), Class::AgentStall);
    let stall = StallReport { from, to, class, state, cpu: Some(1), clock, open: true, deaf: true };
    let (heard_age, heard_for) = (Some(Duration::from_millis(9)), Some(Duration::from_secs(8)));
    let view = PeerView { peer: 7, heard_age, kernel_answers: Some(true), heard_for };
    let heard = Some(Heard { incarnation: 1, seq: 2, count: 3, age: Duration::from_nanos(4) });
    let large = LargeHeard { size: Size::Mtu, seq: 9, count: 8 };
    let flow = FlowReport { size: Size::Mtu, duplicates: 1, reordered: 2, variation: Some(Duration::from_micros(3)) };
    let full = Heartbeat {
        heard,
        hypervisor: Some(5),
        stalls: vec![stall; 3],
        views: vec![view; 3],
        others: Some(OtherViews { heard_within: Duration::from_millis(170), all: 7 }),
        large: vec![large; 2],
        flows: vec![flow; MAX_FLOWS],
        probe: Some(SizeProbe { id: 6, bytes: 1400 }),
        hole: Some(HoleReport { reason: HoleReason::DfDropped, passes: Some(1400) }),
        stories: vec![story(); MAX_STORIES],
        ..Heartbeat::default()
    };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds/wire");
    for (name, beat) in [("small", Heartbeat::default()), ("full", full)] {
        let mut packet = Vec::new();
        encode("db1", &beat, &mut packet).unwrap();
        if std::env::var_os("LACUNA_BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(name), &packet).unwrap();
        }
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), packet, "{name}");
    }
}

#[test]
fn with_everything_at_its_limit_a_heartbeat_still_passes_everywhere() {
    let view = |peer| PeerView { peer, heard_age: None, kernel_answers: None, heard_for: None };
    let most = u64::try_from(MAX_VIEWS).unwrap();
    let whole = OtherViews { all: (0..most).fold(0, |sum, peer| sum ^ peer), ..OtherViews::default() };
    let beat = Heartbeat {
        heard: Some(Heard::default()),
        hypervisor: Some(1),
        stalls: vec![StallReport::default(); MAX_STALLS],
        views: (0..most).map(view).collect(),
        others: Some(whole),
        large: vec![LargeHeard { size: Size::Mtu, seq: 1, count: 1 }; 2],
        flows: vec![FlowReport { size: Size::Mtu, duplicates: 1, reordered: 1, variation: None }; MAX_FLOWS],
        probe: Some(SizeProbe::default()),
        hole: Some(HoleReport { reason: HoleReason::DfDropped, passes: None }),
        stories: vec![story(); MAX_STORIES],
        ..Heartbeat::default()
    };
    let mut packet = Vec::new();
    encode(&"x".repeat(MAX_NAME), &beat, &mut packet).unwrap();
    assert!(packet.len() + TAG_LEN <= MAX_SMALL);
    let (_, Message::Heartbeat(read)) = decode(&packet).unwrap() else { panic!("it is a heartbeat") };
    assert!((36..MAX_VIEWS).contains(&read.views.len()), "views that do not fit are left out: {}", read.views.len());
    assert_eq!(read.views[0].peer, 0, "the first ones are left");
    let mut views = Views::default();
    views.on_heartbeat(&read, Nanos(1));
    assert!(!views.are_complete(), "nobody takes those that fit for all");
    views.on_heartbeat(&beat, Nanos(2));
    assert!(views.are_complete());
}

#[test]
fn large_packets_have_the_length_that_was_asked_for_and_nothing_hides_in_them() {
    let (sender, echo) = (Sender { name: "db1", boot_id: [7; 16], incarnation: 3 }, Echo { incarnation: 8, seq: 77 });
    let from = (&sender, echo);
    let mut packet = Vec::new();
    encode_large(from, Size::Fragmented, 9, Nanos(5), 1972, TAG_LEN, &mut packet).unwrap();
    assert_eq!(packet.len(), 1972 - TAG_LEN);
    let large = LargeHeartbeat {
        size: Size::Fragmented,
        bytes: 0,
        seq: 9,
        sent_at: Nanos(5),
        boot_id: [7; 16],
        incarnation: 3,
    };
    assert_eq!(decode(&packet), Ok(("db1".to_owned(), Message::Large(large, echo))));
    packet[1000] = 1;
    assert_eq!(decode(&packet), Err(WireError::Range));
    encode_probe(from, (4, 2), Nanos(5), 164, 0, &mut packet).unwrap();
    let probe = Message::Probe { seq: 4, id: 2, boot_id: [7; 16], incarnation: 3, sent_at: Nanos(5), echo };
    assert_eq!(decode(&packet), Ok(("db1".to_owned(), probe)));
    assert_eq!(encode_probe(from, (4, 2), Nanos(5), 20, 0, &mut packet), Err(WireError::Short), "too short to be one");
    assert_eq!(encode_large(from, Size::Small, 9, Nanos(5), 1972, 0, &mut packet), Err(WireError::Range));
}
