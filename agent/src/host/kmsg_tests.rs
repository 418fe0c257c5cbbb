//! Records as kernels write them.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use super::*;

fn check(text: &str, kind: KernelMessageKind, cpu: Option<u32>) {
    let found = parse(&format!("3,1001,5000123,-;{text}\n SUBSYSTEM=cpu\n")).unwrap_or_else(|| panic!("{text}"));
    let expected = KernelMessage { at: Nanos(5_000_123_000), kind, text: text.to_owned(), cpu };
    assert_eq!(found, expected);
}

#[test]
fn lock_ups_name_their_cpu() {
    check("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [hog:77]", KernelMessageKind::SoftLockup, Some(1));
    check("watchdog: Watchdog detected hard LOCKUP on cpu 12", KernelMessageKind::HardLockup, Some(12));
    check("CPU3: Watchdog detected hard LOCKUP on cpu 1", KernelMessageKind::HardLockup, Some(1));
    check("APIC error on CPU0: 00(40), Send illegal vector", KernelMessageKind::ApicError, Some(0));
}

#[test]
fn the_others_name_none() {
    use KernelMessageKind as Kind;
    check("rcu: INFO: rcu_preempt self-detected stall on CPU", Kind::RcuStall, None);
    check("rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", Kind::RcuStall, None);
    check("INFO: task dd:77 blocked for more than 120 seconds.", Kind::HungTask, None);
    let watchdog = "clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable because";
    check(watchdog, Kind::ClocksourceWatchdog, None);
    let interval = "clocksource: Long readout interval, skipping watchdog check: cs_nsec: 4000000000";
    check(interval, Kind::ClocksourceWatchdog, None);
    check("virtio_net virtio0 eth0: NETDEV WATCHDOG: CPU: 1: transmit queue 0 timed out", Kind::NetdevWatchdog, None);
    check("sched: RT throttling activated", Kind::RtThrottling, None);
    check("Memory cgroup out of memory: Killed process 5 (stress) total-vm:1kB", Kind::OutOfMemory, None);
}

#[test]
fn what_a_program_wrote_is_not_the_kernels_word() {
    assert_eq!(parse("12,1,5,-;watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [hog:77]\n"), None);
}

#[test]
fn rubbish_says_nothing() {
    for record in ["", ";", "3,1", "3,1,5,-;usb 1-1: new device\n", "x,1,5,-;BUG: soft lockup", "3;BUG: soft lockup"] {
        assert_eq!(parse(record), None, "{record:?}");
    }
}

#[test]
fn a_long_text_is_cut() {
    let text = format!("BUG: soft lockup {}", "ä".repeat(500));
    let found = parse(&format!("3,1,5,-;{text}\n")).unwrap();
    assert_eq!(found.text.chars().count(), MAX_TEXT_CHARS);
}

/// A log that hands out one record for each read, as `/dev/kmsg` does.
fn log() -> (UnixDatagram, Kmsg) {
    let (kernel, reader) = UnixDatagram::pair().unwrap();
    reader.set_nonblocking(true).unwrap();
    (kernel, Kmsg::from_file(File::from(OwnedFd::from(reader))))
}

fn record(number: u64) -> Vec<u8> {
    format!("3,{number},5,-;sched: RT throttling activated\n").into_bytes()
}

#[test]
fn overwritten_records_are_counted() {
    let (kernel, mut log) = log();
    for number in [7, 8, 20] {
        kernel.send(&record(number)).unwrap();
    }
    assert_eq!((log.drain().len(), log.lost()), (3, 11));
    assert_eq!(log.drain(), [], "it does not block");
}

#[test]
fn one_call_takes_a_bounded_number() {
    let (kernel, mut log) = log();
    kernel.set_nonblocking(true).unwrap();
    let (mut sent, mut taken) = (0, 0);
    while taken < 2 * MAX_RECORDS {
        while sent < 3 * MAX_RECORDS && kernel.send(&record(sent as u64)).is_ok() {
            sent += 1;
        }
        let now = log.drain().len();
        assert!(now > 0 && now <= MAX_RECORDS);
        taken += now;
    }
    assert_eq!(log.lost(), 0);
}

#[test]
fn this_hosts_log_is_read_from_now_on() {
    let mut log = match HostFiles::default().kmsg() {
        Ok(log) => log,
        Err(error) => return eprintln!("not run: {error}"),
    };
    let Ok(mut kmsg) = OpenOptions::new().write(true).open("/dev/kmsg") else {
        return eprintln!("not run: /dev/kmsg cannot be written to");
    };
    assert_eq!(log.next, None);
    kmsg.write_all(b"lacuna test: BUG: soft lockup, says a program\n").unwrap();
    assert_eq!(log.drain(), [], "a program's word");
    assert!(log.next.is_some(), "but it was read");
}

#[test]
fn a_log_that_is_not_there_says_why() {
    let error = HostFiles::below(std::path::Path::new("/nowhere")).kmsg().unwrap_err();
    assert!(matches!(error, KmsgError::Unreadable(_)), "{error}");
}
