//! Bytes as the kernel lays them out, and bytes that it would never send.

use super::*;

const BOOT_AHEAD: u64 = 1_000;

/// An event as the kernel writes it: the layout of `lacuna_abi::Event`, written out by hand.
fn bytes(kind: u32, comm: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(3_u32.to_ne_bytes());
    bytes.extend(10_u64.to_ne_bytes());
    bytes.extend(25_u64.to_ne_bytes());
    bytes.extend(4711_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(comm);
    bytes.resize(size_of::<Event>(), 0);
    bytes
}

#[test]
fn a_late_timer_is_on_the_boot_clock() {
    let evidence = event(&bytes(EVENT_TIMER_LATE, b""), "db1", BOOT_AHEAD).unwrap();
    let expected = Evidence::during("db1", Nanos(1_010), Nanos(1_025), Fact::TimerLate { cpu: 3 });
    assert_eq!(evidence, expected);
}

#[test]
fn a_wait_has_the_task() {
    let evidence = event(&bytes(EVENT_RUNQUEUE_DELAY, b"postgres\0junk"), "db1", 0).unwrap();
    let fact = Fact::RunqueueDelay { cpu: 3, pid: 4711, comm: "postgres".into() };
    assert_eq!(evidence.fact, fact);
}

#[test]
fn softirqs_and_watchdogs_have_their_names() {
    let check = |kind, comm: &[u8], expected| assert_eq!(event(&bytes(kind, comm), "db1", 0).unwrap().fact, expected);
    check(EVENT_RCU_STALL, b"SelfDetected\0", Fact::RcuStall { detail: "SelfDetected".into() });
    check(EVENT_TASK_HUNG, b"dd\0", Fact::TaskHung { pid: 4711, comm: "dd".into() });
    check(EVENT_SOFTIRQ_DELAY, b"", Fact::SoftirqDelay { cpu: 3, softirq: "4711".into() });
    assert_eq!(softirq(3), "NET_RX");
}

#[test]
fn a_device_that_does_not_transmit_has_its_name_and_its_queue() {
    let fact = Fact::TransmitTimeout { interface: "eth0".into(), queue: 4711 };
    assert_eq!(event(&bytes(EVENT_TRANSMIT_TIMEOUT, b"eth0\0"), "db1", 0).unwrap().fact, fact);
}

#[test]
fn sizes_are_of_the_present_window_over_all_cpus() {
    let of = |window, smallest, largest| [9, 0, window, smallest, largest];
    let counts = [of(7, 1300, 1400), of(6, 1, 9000), of(7, 1200, 1300), of(7, 0, 0)];
    assert_eq!(sizes(&counts, 7), Some(Sizes { smallest: 1200, largest: 1400 }));
    assert_eq!(sizes(&counts, 8), None);
    assert_eq!(sizes(&counts[3..], 7), None, "only segments without data");
}

#[test]
fn a_name_without_nul_or_not_utf8_is_still_one() {
    assert_eq!(name(b"sixteen_bytes_xx"), "sixteen_bytes_xx");
    assert_eq!(name(b"a\xffb\0"), "a\u{fffd}b");
}

#[test]
fn what_is_cut_short_or_unknown_is_no_event() {
    let whole = bytes(EVENT_RUNQUEUE_DELAY, b"x");
    for length in 0..whole.len() {
        assert_eq!(event(&whole[..length], "db1", 0), None, "{length} bytes");
    }
    assert_eq!(event(&bytes(99, b""), "db1", 0), None);
}

#[test]
fn a_histogram_has_counts_and_seconds() {
    let mut words = [0; HISTOGRAM_WORDS];
    words[lacuna_abi::bucket(1_500_000_000)] = 2;
    words[BUCKETS] = 3_000_000_000;
    let histogram = histogram(&words);
    assert_eq!(histogram.counts.len(), BUCKETS);
    assert_eq!(histogram.counts[30], 2, "2^30 ns = 1.07 s");
    assert!((histogram.sum_seconds - 3.0).abs() < 1e-9);
}

#[test]
fn addresses_come_in_their_own_family() {
    let mut key = [0; size_of::<RetransmitKey>()];
    key[10..16].copy_from_slice(&[0xff, 0xff, 10, 77, 0, 12]);
    key[16..].copy_from_slice(&CAUSE_TIMEOUT.to_ne_bytes());
    let expected = (IpAddr::from([10, 77, 0, 12]), RetransmitCause::Timeout);
    assert_eq!(retransmit_key(&key), Some(expected));

    key[..16].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
    let expected = (IpAddr::from(Ipv6Addr::LOCALHOST), RetransmitCause::Timeout);
    assert_eq!(retransmit_key(&key), Some(expected));

    key[16..].copy_from_slice(&99_u32.to_ne_bytes());
    assert_eq!(retransmit_key(&key), None);
}

#[test]
fn reasons_are_named_as_the_kernel_does() {
    let names = ReasonNames {
        core: [(1, "SKB_CONSUMED".to_owned()), (8, "SKB_DROP_REASON_NETFILTER_DROP".to_owned())].into(),
        subsystems: [(3, "SKB_DROP_REASON_SUBSYS_OPENVSWITCH".to_owned())].into(),
    };
    let check = |reason, expected: &str| assert_eq!(names.name(reason), expected);
    check(8, "NETFILTER_DROP");
    check(1, "SKB_CONSUMED");
    check(77, "UNKNOWN_77");
    check(3 << 16 | 2, "OPENVSWITCH_2");
    check(9 << 16 | 2, "SUBSYS_9_2");
}
