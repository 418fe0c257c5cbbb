use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::evidence::{
    Fact, FlowReport, Heard, Heartbeat, LargeHeard, LargeHeartbeat, OtherViews, PeerView, Scope, Size, Story, StoryKind,
};
use crate::time::WallNanos;
use crate::trace::TraceId;

/// It is moved some times on its way to the engine: by instructions up to there, by calls beyond.
#[test]
fn a_piece_is_small() {
    assert!(size_of::<Piece>() <= 128, "{} bytes", size_of::<Piece>());
}

fn begin(incarnation: u64) -> Line {
    let me = Me { boot_id: [7; 16], incarnation, ..Me::default() };
    Line::Begin { version: VERSION, settings: Box::default(), me: Box::new(me) }
}

/// Lines of every kind that has a compact form, and of some that have none; values that follow each other or do not.
fn lines() -> impl Strategy<Value = Vec<Line>> {
    let number = || prop_oneof![0..1000_u64, any::<u64>()];
    let line = (0..9_u8, prop_oneof![Just("b"), Just("c")], [number(), number(), number(), number()], any::<u8>());
    vec(line.prop_map(|(kind, host, numbers, choice)| some_line(kind, host, numbers, choice)), 0..60)
}

fn some_line(kind: u8, host: &str, [a, b, c, d]: [u64; 4], choice: u8) -> Line {
    let size = if choice.is_multiple_of(2) { Size::Mtu } else { Size::Fragmented };
    let sender = ([choice % 3; 16], u64::from(choice % 2));
    let fact = match kind {
        0 => return Line::Timeout(Nanos(a)),
        1 => return Line::Configure(Box::new(Settings { host: host.into(), ..Settings::default() })),
        2 => Fact::HeartbeatSent { seq: a, error: choice.is_multiple_of(5).then(|| "unreachable".into()) },
        3 => Fact::EchoSent,
        4 => Fact::EchoReply,
        5 => Fact::LargeSent { size, bytes: 1500, seq: a },
        6 => {
            let (boot_id, incarnation) = sender;
            Fact::LargeHeartbeat(LargeHeartbeat { size, bytes: 1500, seq: a, sent_at: Nanos(b), boot_id, incarnation })
        }
        7 => Fact::CpuLoad(crate::evidence::CpuLoad {
            busy: 0.1 + f64::from(choice) / 3.0,
            steal: 1.0 / f64::from(choice.max(1)),
            pressure: None,
            cpus: 2,
            runnable: 1,
        }),
        _ => Fact::Heartbeat(Arc::new(beat(sender, [a, b, c, d], choice, size))),
    };
    Line::Evidence(Evidence {
        host: host.into(),
        from: Nanos(c),
        to: if kind == 8 { Nanos(d) } else { Nanos(c) },
        fact,
    })
}

fn beat(sender: ([u8; 16], u64), [a, b, c, d]: [u64; 4], choice: u8, size: Size) -> Heartbeat {
    let age = Some(Duration::from_nanos(c));
    let heard_for = (choice > 60).then_some(Duration::from_nanos(a));
    let view = PeerView { peer: d, heard_age: age, kernel_answers: Some(choice > 9), heard_for };
    let flow = FlowReport { size, duplicates: a % 2, reordered: b, variation: heard_for };
    let heard_within = if choice.is_multiple_of(13) { Duration::MAX } else { Duration::from_nanos(b) };
    Heartbeat {
        seq: a,
        sent_at: Nanos(b),
        sent_wall: WallNanos(c),
        boot_id: sender.0,
        incarnation: sender.1,
        goodbye: choice.is_multiple_of(7),
        heard: (!choice.is_multiple_of(4)).then_some(Heard {
            incarnation: d,
            seq: a,
            count: b,
            age: Duration::from_nanos(d),
        }),
        overflow: u64::from(choice % 2),
        views: vec![view; usize::from(choice % 3)],
        others: (!choice.is_multiple_of(5)).then_some(OtherViews { heard_within, all: c }),
        large: vec![LargeHeard { size, seq: b, count: c }; usize::from(choice % 3)],
        flows: vec![flow; usize::from(choice % 3)],
        stories: vec![story(a, d, choice); usize::from(choice % 2)],
        ..Heartbeat::default()
    }
}

fn story(tail: u64, host: u64, choice: u8) -> Story {
    Story {
        trace: TraceId::of(1, tail.into()),
        age: Duration::from_nanos(host),
        over: (choice > 99).then_some(Duration::from_nanos(tail)),
        settled: choice > 199,
        kind: if choice > 150 { StoryKind::Loss } else { StoryKind::Stall },
        scope: Scope::Path,
        host,
        peer: Some(tail),
    }
}

/// A file of those parts, each a list of blocks.
fn file(parts: &[Vec<Vec<Line>>]) -> Vec<u8> {
    let (mut writer, mut bytes) = (BlockWriter::default(), MAGIC.to_vec());
    for part in parts {
        writer.begin_part();
        for lines in part {
            lines.iter().for_each(|line| writer.put(line));
            bytes.extend(writer.take());
        }
    }
    bytes
}

fn read(bytes: &[u8]) -> (Vec<Line>, Option<Damage>) {
    let (mut lines, mut damage) = (Vec::new(), None);
    for piece in pieces(bytes) {
        match piece {
            Ok(Piece::Line(line)) => lines.push(line),
            Ok(Piece::Hole) => panic!("nothing is missing"),
            Err(found) => damage = Some(found),
        }
    }
    (lines, damage)
}

proptest! {
    #[test]
    fn what_was_written_is_read(parts in vec(vec(lines(), 1..4), 1..3)) {
        let (lines, damage) = read(&file(&parts));
        prop_assert_eq!(damage, None);
        prop_assert_eq!(lines, parts.concat().concat());
    }

    #[test]
    fn a_damaged_file_is_read_up_to_the_damage(lines in lines(), place in any::<prop::sample::Index>(), cut in any::<bool>()) {
        let mut bytes = file(&[lines.chunks(5).map(<[Line]>::to_vec).collect()]);
        let place = MAGIC.len() + place.index(bytes.len() - MAGIC.len() + 1);
        if cut { bytes.truncate(place) } else if let Some(byte) = bytes.get_mut(place) { *byte ^= 0x10 }
        let (read, damage) = read(&bytes);
        prop_assert_eq!(&read, &lines[..read.len()], "what is read was written");
        prop_assert!(damage.is_some() || cut || read.len() == lines.len(), "no damage is silent: {} of {}", read.len(), lines.len());
    }
}

#[test]
fn a_steady_heartbeat_takes_few_bytes() {
    let line = |at: u64| {
        let beat = beat(([1; 16], 1), [at, at * 100_000_007, at * 100_000_011, 5], 1, Size::Mtu);
        let beat = Heartbeat { views: Vec::new(), ..beat };
        Line::Evidence(Evidence::at("b", Nanos(at * 100_000_003), Fact::Heartbeat(Arc::new(beat))))
    };
    let lines: Vec<Line> = (1..1000).map(line).collect();
    let text: usize = lines.iter().map(|line| serde_json::to_string(line).unwrap().len() + 1).sum();
    let compact = file(&[vec![lines]]).len();
    assert!(compact * 8 < text, "{compact} bytes of {text}");
}

#[test]
fn more_hosts_than_have_a_place_are_told_of_all_the_same() {
    let lines: Vec<Line> = (0..600).map(|at| some_line(8, "b", [at, at, at, at % 300], 61)).collect();
    assert_eq!(read(&file(&[vec![lines.clone()]])), (lines, None));
}

#[test]
fn each_part_can_be_read_alone_and_a_missing_one_is_seen() {
    let lines: Vec<Line> = (0..6).map(|at| some_line(8, "b", [at, at, at, at], 1)).collect();
    let parts: Vec<Vec<Vec<Line>>> = lines.chunks(2).map(|two| vec![[vec![begin(1)], two.to_vec()].concat()]).collect();
    let whole = file(&parts);
    let ends: Vec<usize> = (0..=parts.len()).map(|count| file(&parts[..count]).len()).collect();
    let without_second = [&whole[..ends[1]], &whole[ends[2]..]].concat();
    let pieces: Vec<Piece> = pieces(&without_second).map(Result::unwrap).collect();
    assert_eq!(pieces.iter().filter(|piece| **piece == Piece::Hole).count(), 1);
    assert_eq!(pieces.len(), 3 + 1 + 3);
    let replayed = replay(&without_second, &Options::default()).unwrap();
    assert_eq!((replayed.holes, replayed.damage), (1, None));
    let last_alone = [&MAGIC[..], &whole[ends[2]..]].concat();
    assert_eq!(read(&last_alone).0.len(), 3);
}

#[test]
fn what_is_no_recording_is_refused_with_its_place() {
    let refused = |bytes: &[u8]| replay(bytes, &Options::default()).unwrap_err().to_string();
    assert!(refused(b"").starts_with("no recording: it does not begin"));
    assert!(refused(b"{\"timeout\":5}\n").starts_with("no recording: it does not begin"));
    assert!(refused(b"rubbish\n").starts_with("no recording: line 1: "));
    assert!(refused(b"LACUNAR2 and more").starts_with("no recording: byte 8: it ends within the head"));
    let newer = serde_json::to_string(&begin(1)).unwrap().replace(&format!("\"version\":{VERSION}"), "\"version\":9");
    assert!(refused(newer.as_bytes()).contains("version 9"), "{}", refused(newer.as_bytes()));
}
