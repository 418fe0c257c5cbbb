//! The probes in the running kernel: they need root, BTF and a binary with the probes inside (`cargo xtask test`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "probes/cable.rs"]
mod cable;
#[path = "probes/congestion.rs"]
mod congestion;
#[path = "probes/fragments.rs"]
mod fragments;
#[path = "probes/heartbeats.rs"]
mod heartbeats;
mod support;

use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use lacuna::host::HostFiles;
use lacuna::probes::{Interrupt, LandingKind, Log2Histogram, Options, ProbeMetrics, Probes, RawLanding, attach};
use lacuna_core::evidence::{Evidence, Fact, Landed, Place, RetransmitCause};
use lacuna_core::time::Nanos;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::{Pid, gettid};
use support::{Cable, FAR};

/// Nothing crosses it.
const NEVER: Duration = Duration::from_secs(3600);

/// Longer than what is waited for ever takes.
const PATIENCE: Duration = Duration::from_secs(15);

const QUIET: Options = Options {
    netns_inum: 0,
    timer_late: NEVER,
    runqueue_delay: NEVER,
    softirq_delay: NEVER,
    landing_silence: Duration::from_millis(400),
    fentry: true,
};

/// At least one jiffy of any kernel (100 Hz).
const JIFFY: Duration = Duration::from_millis(10);

/// Everything attached, or at least something in its place; otherwise the test fails with the reason.
fn probes(options: &Options) -> Probes {
    let probes = attach(options);
    for status in &probes.status {
        let x86_only = status.because.as_deref().is_some_and(|because| because.contains("no tracepoint"));
        if x86_only && !cfg!(target_arch = "x86_64") {
            continue;
        }
        assert!(!status.is_missing(), "{}: {:?}", status.hook, status.because);
    }
    probes
}

fn within(netns_inum: u32) -> Probes {
    probes(&Options { netns_inum, ..QUIET })
}

fn metrics(probes: &Probes) -> &dyn ProbeMetrics {
    probes.metrics.as_deref().unwrap()
}

fn drain(probes: &mut Probes) -> Vec<Evidence> {
    let mut evidence = Vec::new();
    probes.events.as_mut().unwrap().drain("me", &mut evidence);
    evidence
}

fn total(histograms: Option<Vec<(u32, Log2Histogram)>>) -> u64 {
    let histograms = histograms.unwrap();
    assert!(!histograms.is_empty(), "a histogram for each CPU");
    let counts = histograms.iter().flat_map(|(_, histogram)| &histogram.counts);
    counts.sum()
}

/// Waits until `holds`; fails after [`PATIENCE`].
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "never came: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn every_family_is_attached() {
    let probes = probes(&QUIET);
    for family in ["sched", "timer", "irq", "softirq", "watchdogs", "tcp", "drops", "fragments", "link"] {
        assert!(probes.status.iter().any(|status| status.probe == family), "{family} is missing: {:?}", probes.status);
    }
}

#[test]
fn histograms_move() {
    let probes = probes(&QUIET);
    let metrics = metrics(&probes);
    let seen = || [total(metrics.runqueue_delay()), total(metrics.timer_lateness()), total(metrics.timer_gaps())];
    let before = seen();
    wait_for("growth of every histogram", || {
        let now = seen();
        (0..now.len()).all(|which| now[which] > before[which])
    });
    assert_eq!(metrics.events_lost(), Some(0));
    assert_eq!(metrics.entries_refused(), Some(0));
}

#[test]
fn the_activity_of_every_cpu_moves() {
    let probes = probes(&QUIET);
    let before = metrics(&probes).activity().unwrap();
    assert!(!before.is_empty());
    wait_for("interrupts, softirqs and switches on every CPU", || {
        let now = metrics(&probes).activity().unwrap();
        now.iter().all(|(cpu, now)| {
            let before = &before[cpu];
            now.timer_interrupts > before.timer_interrupts
                && now.interrupts > before.interrupts
                && now.softirqs > before.softirqs
                && now.switches > before.switches
        })
    });
}

/// What the next timer interrupt of `cpu` lands in.
fn sample(probes: &Probes, cpu: u32) -> RawLanding {
    let asked = boot_clock();
    metrics(probes).sample(cpu);
    let mut found = None;
    wait_for("a sample", || {
        found =
            metrics(probes).landing(cpu).filter(|landing| landing.at >= asked && landing.kind == LandingKind::Sample);
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn a_timer_interrupt_lands_in_a_busy_program() {
    let probes = probes(&QUIET);
    if metrics(&probes).activity().unwrap()[&0].timer_interrupts.is_none() {
        eprintln!("not run: this kernel does not show its timer interrupt");
        return;
    }
    let hog = hog(Duration::from_secs(5));
    // Others run on this CPU as well: one of several samples has to meet the program.
    let samples: Vec<_> = (0..20).map(|_| sample(&probes, 0)).collect();
    hog.join().unwrap();
    let host = HostFiles::default();
    let landed: Vec<_> = samples.iter().map(|sample| host.landed(sample, |_| None)).collect();
    let user = Landed { place: Place::User, just_enabled: None, passed: None, stack: vec![] };
    assert!(landed.contains(&user), "{landed:#?}");
    assert!(landed.iter().all(|landed| landed.place != Place::Unknown), "{landed:#?}");
    let way = host.symbolise(&samples[0].frames);
    let is_timer = |name: &String| name.starts_with("asm_sysvec_apic_timer_interrupt+");
    assert!(way.iter().flatten().any(is_timer), "{way:#?}");
}

/// Keeps CPU 0 in the kernel, in which it takes and gives back a lock with interrupts off all the time.
fn kernel_hog(running: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let running = Arc::clone(running);
    thread::spawn(move || {
        pin_to_first();
        while running.load(Ordering::Relaxed) {
            drop(thread::spawn(|| {}).join());
        }
    })
}

#[test]
fn ticks_tell_where_interrupts_are_let_in_all_the_time() {
    let probes = probes(&QUIET);
    if metrics(&probes).activity().unwrap()[&0].timer_interrupts.is_none() {
        eprintln!("not run: this kernel does not show its timer interrupt");
        return;
    }
    let host = HostFiles::default();
    let running = Arc::new(AtomicBool::new(true));
    let hog = kernel_hog(&running);
    let counted = std::cell::Cell::new(None);
    wait_for("a tick where ticks were counted before", || {
        let samples: Vec<_> = (0..20).map(|_| sample(&probes, 0)).collect();
        samples.iter().any(|sample| {
            let landed = host.landed(sample, |address| {
                counted.set(metrics(&probes).passed(address));
                counted.get()
            });
            landed.just_enabled == Some(true) && landed.passed.is_some_and(|ticks| ticks > 0)
        })
    });
    running.store(false, Ordering::Relaxed);
    hog.join().unwrap();
    assert!(counted.get().is_some());
    assert_eq!(metrics(&probes).passed(1), Some(0), "no code is there");
}

#[test]
fn the_interrupt_that_ends_a_silence_leaves_a_landing() {
    let silence = Duration::from_nanos(1);
    let begin = boot_clock();
    let probes = probes(&Options { landing_silence: silence, ..QUIET });
    let mut landing = None;
    wait_for("a landing by the timer", || {
        let by_timer = LandingKind::Ended(Interrupt::LocalTimer);
        landing = metrics(&probes).landing(0).filter(|landing| landing.kind == by_timer);
        landing.is_some()
    });
    let landing = landing.unwrap();
    assert!(landing.silence >= silence && landing.at >= begin && landing.at <= boot_clock(), "{landing:?}");
    assert!(
        landing.at.minus(landing.silence).plus(JIFFY) >= begin,
        "the probes had seen the interrupt before: {landing:?}"
    );
    assert_eq!(landing.code.len(), landing.frames.len().min(16));
    // Further out the kernel may have freed the code: the boot CPU's idle loop was called by `start_kernel`.
    let way = landing.code.iter().take(4);
    assert!(
        way.clone().count() == 4 && way.clone().all(|code| *code != [0; lacuna_abi::CODE_BYTES]),
        "code can be read: {landing:x?}"
    );
}

#[test]
fn a_softirq_that_waits_is_an_event() {
    let begin = boot_clock();
    let mut probes = probes(&Options { softirq_delay: Duration::ZERO, ..QUIET });
    let mut found = None;
    wait_for("a softirq", || {
        let softirq = |evidence: &Evidence| matches!(evidence.fact, Fact::SoftirqDelay { .. });
        found = drain(&mut probes).into_iter().find(softirq);
        found.is_some()
    });
    let found = found.unwrap();
    assert!(found.from <= found.to && found.to >= begin && found.to <= boot_clock(), "{found:?}");
    let Fact::SoftirqDelay { softirq, .. } = found.fact else { return };
    assert!(softirq.parse::<u32>().is_err(), "it has a name: {softirq}");
}

fn boot_clock() -> Nanos {
    let now = nix::time::ClockId::CLOCK_BOOTTIME.now().unwrap();
    Nanos(u64::try_from(now.tv_sec() * 1_000_000_000 + now.tv_nsec()).unwrap())
}

/// Keeps CPU 0 busy for that time; its thread id.
fn hog(time: Duration) -> thread::JoinHandle<u32> {
    thread::spawn(move || {
        pin_to_first();
        let begin = Instant::now();
        while begin.elapsed() < time {
            std::hint::spin_loop();
        }
        u32::try_from(gettid().as_raw()).unwrap()
    })
}

/// The calling thread runs on CPU 0 only.
fn pin_to_first() {
    let mut first = CpuSet::new();
    first.set(0).unwrap();
    sched_setaffinity(Pid::from_raw(0), &first).unwrap();
}

#[test]
fn a_task_that_waits_for_its_cpu_is_an_event() {
    let threshold = Duration::from_micros(500);
    let mut probes = probes(&Options { runqueue_delay: threshold, ..QUIET });
    let begin = boot_clock();
    let hogs: Vec<_> = (0..3).map(|_| hog(Duration::from_millis(400))).collect();
    let threads: Vec<u32> = hogs.into_iter().map(|hog| hog.join().unwrap()).collect();
    let end = boot_clock();

    let mut evidence = Vec::new();
    (0..20).for_each(|_| evidence.extend(drain(&mut probes)));
    let ours: Vec<_> = evidence
        .iter()
        .filter(|evidence| matches!(&evidence.fact, Fact::RunqueueDelay { cpu: 0, pid, .. } if threads.contains(pid)))
        .collect();
    assert!(!ours.is_empty(), "{threads:?} waited for each other: {evidence:?}");
    for evidence in ours {
        assert!(evidence.to.since(evidence.from) >= threshold, "{evidence:?}");
        assert!(evidence.from >= begin && evidence.to <= end, "{evidence:?}");
    }
}

#[test]
fn an_expired_timer_beyond_the_threshold_is_an_event() {
    let mut probes = probes(&Options { timer_late: Duration::ZERO, ..QUIET });
    thread::sleep(Duration::from_millis(20));
    let evidence = drain(&mut probes);
    let late = |evidence: &&Evidence| matches!(evidence.fact, Fact::TimerLate { .. });
    let late = evidence.iter().find(late).expect("every timer is an event");
    assert!(late.from <= late.to, "{late:?}");
}

#[test]
fn a_timer_that_was_armed_too_late_is_no_late_timer() {
    let mut probes = probes(&Options { timer_late: Duration::from_millis(900), ..QUIET });
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::empty()).unwrap();
    // One nanosecond after boot: overdue by as long as this machine has been up.
    let past = Expiration::OneShot(TimeSpec::new(0, 1));
    for _ in 0..20 {
        timer.set(past, TimerSetTimeFlags::TFD_TIMER_ABSTIME).unwrap();
        timer.wait().unwrap();
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(drain(&mut probes), []);
}

#[test]
fn a_full_ring_buffer_is_counted_and_becomes_evidence() {
    let mut probes = probes(&Options { runqueue_delay: Duration::ZERO, ..QUIET });
    wait_for("a full ring buffer", || {
        ping_pong(20_000);
        metrics(&probes).events_lost().unwrap() > 0
    });
    let evidence = drain(&mut probes);
    let lost = evidence.iter().find_map(|evidence| match evidence.fact {
        Fact::EventsLost { count } => Some(count),
        _ => None,
    });
    assert!(lost.expect("the loss is evidence") > 0);
    assert!(evidence.len() < 1000, "one call takes a bounded number, not {}", evidence.len());
}

/// Two threads that wake each other so often.
fn ping_pong(times: u32) {
    let (ping, pinged) = mpsc::sync_channel(0);
    let (pong, ponged) = mpsc::sync_channel(0);
    let other = thread::spawn(move || pinged.iter().for_each(|()| pong.send(()).unwrap()));
    for _ in 0..times {
        ping.send(()).unwrap();
        ponged.recv().unwrap();
    }
    drop(ping);
    other.join().unwrap();
}

/// Retransmits to the far end of the cable: carried out, failed.
fn to_far(probes: &Probes, wanted: impl Fn(RetransmitCause) -> bool) -> (u64, u64) {
    let far: IpAddr = FAR.parse().unwrap();
    let rows = metrics(probes).retransmits().unwrap();
    let ours = rows.into_iter().filter(|(address, cause, ..)| *address == far && wanted(*cause));
    ours.fold((0, 0), |sum, (_, _, sent, failed)| (sum.0 + sent, sum.1 + failed))
}

fn netfilter_drops(probes: &Probes) -> u64 {
    let drops = metrics(probes).drops().unwrap();
    let row = drops.iter().find(|(reason, _)| reason == "NETFILTER_DROP");
    row.map_or(0, |(_, count)| *count)
}

/// A connection from the near to the far end, and its port.
fn connect(cable: &Cable) -> (TcpStream, TcpStream, u16) {
    let listener = cable.far.within(|| TcpListener::bind((FAR, 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    let near = cable.near.within(move || TcpStream::connect((FAR, port)).unwrap());
    let (far, _) = listener.accept().unwrap();
    (near, far, port)
}

#[test]
fn network_probes_count_their_own_namespace_only() {
    let cable = Cable::new();
    let (near, far) = (within(cable.near.inum()), within(cable.far.inum()));
    let host = probes(&QUIET);

    let (stream, _peer, port) = connect(&cable);
    cable.far.drop_incoming(port);
    std::io::Write::write_all(&mut &stream, b"lost").unwrap();

    wait_for("a retransmit after a timeout", || to_far(&near, |cause| cause == RetransmitCause::Timeout).0 > 0);
    wait_for("a drop by the filter", || netfilter_drops(&far) > 0);
    for (other, name) in [(&far, "the far end"), (&host, "the host")] {
        assert_eq!(to_far(other, |_| true), (0, 0), "{name} sent nothing");
    }
    assert_eq!(netfilter_drops(&near), 0, "the near end dropped nothing");
}

#[test]
fn a_syn_that_is_not_answered_is_a_retransmit_of_its_own_kind() {
    let cable = Cable::new();
    let near = within(cable.near.inum());
    let address = (FAR.parse::<IpAddr>().unwrap(), 7).into();
    cable.far.drop_incoming(7);
    let connect = move || TcpStream::connect_timeout(&address, Duration::from_millis(2500));
    cable.near.within(connect).unwrap_err();
    assert!(to_far(&near, |cause| cause == RetransmitCause::Syn).0 > 0);
    assert_eq!(to_far(&near, |cause| cause != RetransmitCause::Syn), (0, 0));
}

#[test]
fn an_attempt_that_this_host_could_not_carry_out_is_told_apart() {
    let cable = Cable::new();
    let near = within(cable.near.inum());
    if !metrics(&near).retransmit_failures_told() {
        eprintln!("not run: this kernel does not hand over the error");
        return;
    }
    let (stream, _peer, port) = connect(&cable);
    cable.far.drop_incoming(port);
    std::io::Write::write_all(&mut &stream, b"lost").unwrap();
    // Only what was sent once is sent again: the near end's own filter comes after the first time.
    cable.near.drop_outgoing(port);
    wait_for("a failed retransmit", || to_far(&near, |_| true).1 > 0);
}
