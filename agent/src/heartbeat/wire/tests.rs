use proptest::collection::vec;
use proptest::prelude::*;

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
    let cpu = proptest::option::of(0..u32::from(NO_CPU));
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
    (any::<u64>(), any::<Option<u32>>(), any::<Option<bool>>()).prop_map(|(peer, age, kernel_answers)| PeerView {
        peer,
        heard_age: age.map(|age| Duration::from_millis(age.min(NEVER - 1).into())),
        kernel_answers,
    })
}

prop_compose! {
    fn beats()(
        numbers in any::<[u64; 5]>(),
        boot_id in any::<[u8; 16]>(),
        goodbye in any::<bool>(),
        heard in proptest::option::of(heards()),
        stalls in vec(stalls(), 0..=MAX_STALLS),
        views in vec(views(), 0..=MAX_VIEWS),
        hypervisor in any::<Option<u64>>(),
    ) -> Heartbeat {
        let [incarnation, seq, sent_at, sent_wall, overflow] = numbers;
        let (sent_at, sent_wall) = (Nanos(sent_at), WallNanos(sent_wall));
        Heartbeat { seq, sent_at, sent_wall, boot_id, incarnation, goodbye, heard, overflow, stalls, views, hypervisor }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(name in "[a-z0-9.-]{1,64}", beat in beats()) {
        let mut packet = Vec::new();
        encode(&name, &beat, &mut packet)?;
        prop_assert!(packet.len() <= MAX_PACKET);
        prop_assert_eq!(decode(&packet), Ok((name, beat)));
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
        if let Ok((name, beat)) = decode(&packet) {
            let mut again = Vec::new();
            encode(&name, &beat, &mut again)?;
            prop_assert_eq!(decode(&again), Ok((name, beat)));
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
    refused(WireError::Long, |packet| packet.resize(MAX_PACKET + 1, 0));
    let stalls = packet().len() - 2;
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
    let (_, read) = decode(&packet).unwrap();
    assert_eq!(read.stalls, beat.stalls[20 - MAX_STALLS..]);
}

/// Packets that the fuzzer begins with; `LACUNA_BLESS=1` writes them anew after a change of the format.
#[test]
fn the_seeds_of_the_fuzzer_are_packets_of_this_version() {
    let (state, clock) = (Some(AgentState::Stopped), Some(ClockState::RanOn));
    let (from, to, class) = (Nanos(1), Nanos(2), Class::AgentStall);
    let stall = StallReport { from, to, class, state, cpu: Some(1), clock, open: true, deaf: true };
    let view = PeerView { peer: 7, heard_age: Some(Duration::from_millis(9)), kernel_answers: Some(true) };
    let heard = Some(Heard { incarnation: 1, seq: 2, count: 3, age: Duration::from_nanos(4) });
    let full =
        Heartbeat { heard, hypervisor: Some(5), stalls: vec![stall; 3], views: vec![view; 3], ..Heartbeat::default() };
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
