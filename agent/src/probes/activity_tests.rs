//! Counters as the kernel lays them out.

use super::*;

const ALL: Watched = Watched { timer: true, others: true, handlers: true, softirqs: true };

/// A CPU whose latest timer interrupt came at `timer_at`; it is in the handler since the 900th millisecond, and was in one
/// from the 100th to the 400th.
fn bytes(timer_at: u64, handler: u32) -> ActivityBytes {
    let mut bytes = Vec::new();
    for word in [timer_at, 900_000_000, 7, 20, 3, 11, 225, 100_000_000, 400_000_000] {
        bytes.extend(u64::to_ne_bytes(word));
    }
    bytes.extend(INTERRUPT_CALL_FUNCTION.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(handler.to_ne_bytes());
    bytes.extend(24_u32.to_ne_bytes());
    bytes.try_into().unwrap()
}

const TIMES: Times = Times { boot_ahead: 1_000 };

fn decode(cpu: &ActivityBytes, watched: Watched) -> CpuActivity {
    let mut found = CpuActivity::default();
    found.add_interrupts(cpu, watched, &TIMES).unwrap();
    found
}

#[test]
fn every_counter_is_in_its_place() {
    let expected = CpuActivity {
        timer_at: Some(Nanos(1_000_001_000)),
        timer_interrupts: Some(7),
        interrupts: Some(23),
        softirqs: Some(11),
        handler: Some(Handler { name: "irq 24".into(), since: Nanos(900_001_000), until: None, per_second: None }),
        long_handler: Some(Handler {
            name: "call_function".into(),
            since: Nanos(100_001_000),
            until: Some(Nanos(400_001_000)),
            per_second: None,
        }),
        ..CpuActivity::default()
    };
    assert_eq!(decode(&bytes(1_000_000_000, INTERRUPT_DEVICE), ALL), expected);
}

#[test]
fn a_cpu_in_no_handler_and_without_a_timer_interrupt_says_neither() {
    let found = decode(&bytes(0, lacuna_abi::INTERRUPT_NONE), ALL);
    assert_eq!((found.handler, found.timer_at, found.timer_interrupts), (None, None, Some(7)));
}

#[test]
fn what_is_not_watched_is_absent() {
    let found = decode(&bytes(1_000_000_000, INTERRUPT_TIMER), Watched::default());
    assert_eq!(found, CpuActivity::default());
}

#[test]
fn a_switch_tells_task_and_time() {
    let raw = |words: [u64; 3]| words.into_iter().flat_map(u64::to_ne_bytes).collect::<Vec<u8>>();
    let mut found = CpuActivity::default();
    found.add_switches(&raw([5, 2_000, 4711]), &TIMES).unwrap();
    assert_eq!((found.switches, found.switched_at, found.running), (Some(5), Some(Nanos(3_000)), Some(4711)));
    found.add_switches(&raw([0, 0, 0]), &TIMES).unwrap();
    assert_eq!((found.switches, found.switched_at, found.running), (Some(0), None, None), "not the idle task");
}

#[test]
fn what_is_cut_short_says_nothing() {
    let whole = bytes(1, INTERRUPT_TIMER);
    for length in 0..size_of::<u64>() {
        assert_eq!(CpuActivity::default().add_interrupts(&whole[..length], ALL, &TIMES), None);
        assert_eq!(CpuActivity::default().add_switches(&whole[..length], &TIMES), None);
    }
}
