//! Sentinels on the CPUs of this machine.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread;
use std::time::{Duration, Instant};

use lacuna_core::evidence::RetransmitCause;

use super::*;
use crate::clock;
use crate::probes::Log2Histogram;

/// Nothing here takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn watch() -> CpuWatch {
    // Nobody reads the commands: a driver that never began is not woken.
    let (commands, _) = sync_channel(1);
    CpuWatch::start(HostFiles::default(), None, Arc::new(Pulse::default()), commands)
}

#[test]
fn every_cpu_has_a_sentinel_that_runs_there() {
    let watch = watch();
    assert!(watch.watched() > 0);
    for sentinel in &watch.sentinels {
        let before = clock::boot();
        until("its timer wakes it", || sentinel.look().ran > before && !sentinel.look().displaced);
    }
}

#[test]
fn a_poke_is_answered() {
    let watch = watch();
    let sentinel = &watch.sentinels[0];
    until("it has begun", || sentinel.look().ran > Nanos(0));
    assert_eq!(sentinel.look().poke, None);
    sentinel.poke();
    until("it answers", || sentinel.look().poke == Some(true));
}

#[test]
fn a_sentinel_ends_with_its_watch() {
    let named = |files: &HostFiles| files.own_threads().iter().filter(|(_, one)| one.comm == "lacuna-cpu/7777").count();
    let files = HostFiles::default();
    let (sender, _reports) = sync_channel(1);
    let ticked = Arc::new(AtomicBool::new(false));
    let tick = Arc::clone(&ticked);
    let gone = Sentinel::start(7_777, sender, move |_, _| tick.store(true, Relaxed)).unwrap();
    until("a CPU that is not there has none", || gone.look().displaced);
    drop(gone);
    until("the thread ends", || named(&files) == 0);
    assert!(!ticked.load(Relaxed));
}

#[test]
fn counts_of_timer_interrupts_tell_from_the_second_look_on() {
    let counted = |timers| {
        let activity = CpuActivity { timer_interrupts: Some(timers), ..CpuActivity::default() };
        Known { activity: Some(activity), ..Known::default() }
    };
    let (due, now, known) = (Nanos(5), Nanos(9), counted(7));
    assert_eq!(timer_at(None, &known, due, now), None, "there is nothing to compare with");
    assert_eq!(timer_at(Some(&known), &known, due, now), Some(due));
    assert_eq!(timer_at(Some(&counted(6)), &known, due, now), Some(now));
}

#[test]
fn a_hook_that_never_runs_says_nothing_of_timers() {
    let probed = |timer_at, timers| {
        let one =
            CpuActivity { timer_at, timer_interrupts: Some(timers), interrupts: Some(3), ..CpuActivity::default() };
        BTreeMap::from([(0, one.clone()), (1, one)])
    };
    assert!(see_timers(probed(Some(Nanos(5)), 1).values()));
    let blind = probed(None, 0);
    assert!(!see_timers(blind.values()));
    assert_eq!(with_counts(blind.clone(), BTreeMap::new())[&1].timer_interrupts, None, "0 would be a dead timer");
    let counts = BTreeMap::from([(1, CpuInterrupts { timer: 70, ipis: 1, devices: 1 })]);
    let with = with_counts(blind, counts.clone());
    assert_eq!((with[&1].timer_interrupts, with[&1].interrupts), (Some(70), Some(3)));
    assert_eq!(with_counts(BTreeMap::new(), counts)[&1].interrupts, Some(2));
}

#[test]
fn what_a_cpu_did_is_told_since_before_its_stall_though_it_is_on_time_again_before_its_report_comes() {
    let mut watch = watch();
    let cpu = watch.sentinels[0].cpu;
    let after = |ticks| Known { time: Some(CpuTime { cpu, user: ticks, ..CpuTime::default() }), ..Known::default() };
    let (due, to) = (Nanos(1_000_000_000), Nanos(6_000_000_000));
    watch.before.insert(cpu, after(100));
    let look = Look { due, ..watch.sentinels[0].look() };
    watch.standing("b", 0, look, &after(120), due);
    // The sentinel ran, and its report is still on its way.
    watch.before.insert(cpu, after(600));
    let ended = watch.ended("b", Late { cpu, from: due, to }, &BTreeMap::from([(cpu, after(601))]));
    assert_eq!(told(&ended).user_ns, Some(501 * TICK_NS));
}

/// A kernel whose CPUs tick in one function, and how often it was asked for a stack.
#[derive(Default)]
struct Ticking(AtomicU32);

impl ProbeMetrics for Ticking {
    fn landing(&self, _cpu: u32) -> Option<RawLanding> {
        self.0.fetch_add(1, Relaxed);
        let kind = LandingKind::Sample;
        Some(RawLanding { at: Nanos(u64::MAX), silence: Duration::ZERO, kind, frames: vec![1], code: Vec::new() })
    }
    fn timer_lateness(&self) -> Option<Vec<(u32, Log2Histogram)>> {
        None
    }
    fn timer_gaps(&self) -> Option<Vec<(u32, Log2Histogram)>> {
        None
    }
    fn runqueue_delay(&self) -> Option<Vec<(u32, Log2Histogram)>> {
        None
    }
    fn retransmits(&self) -> Option<Vec<(IpAddr, RetransmitCause, u64, u64)>> {
        None
    }
    fn drops(&self) -> Option<Vec<(String, u64)>> {
        None
    }
    fn events_lost(&self) -> Option<u64> {
        None
    }
}

fn told(evidence: &Evidence) -> &CpuStall {
    let Fact::CpuStall(stall) = &evidence.fact else { unreachable!("it is of a CPU") };
    stall
}

#[test]
fn a_stack_is_asked_for_once_and_told_though_the_stall_is_over_before_it_has_names() {
    let (kernel, (commands, _)) = (Arc::new(Ticking::default()), sync_channel(1));
    let metrics: Arc<dyn ProbeMetrics> = Arc::clone(&kernel) as _;
    let mut watch = CpuWatch::start(HostFiles::default(), Some(metrics), Arc::new(Pulse::default()), commands);
    let cpu = watch.sentinels[0].cpu;
    let after = |ticks| Known {
        time: Some(CpuTime { cpu, system: ticks, ..CpuTime::default() }),
        activity: Some(CpuActivity { timer_at: Some(Nanos(3_000_000_000)), ..CpuActivity::default() }),
        ..Known::default()
    };
    let (due, to) = (Nanos(1_000_000_000), Nanos(6_000_000_000));
    watch.before.insert(cpu, after(0));
    let look = Look { due, ..watch.sentinels[0].look() };
    for ticks in 1..5 {
        watch.standing("b", 0, look, &after(ticks), Nanos(4_000_000_000));
    }
    assert_eq!(kernel.0.load(Relaxed), 1);
    let ended = watch.ended("b", Late { cpu, from: due, to }, &BTreeMap::from([(cpu, after(9))]));
    assert!(told(&ended).over && told(&ended).naming && told(&ended).sampled.is_empty());
    let mut again = Vec::new();
    until("the names are found", || {
        again.extend(watch.named());
        !again.is_empty()
    });
    assert_eq!((again[0].from, again[0].to), (ended.from, ended.to));
    assert!(told(&again[0]).over && !told(&again[0]).naming);
    assert_eq!(told(&again[0]).sampled, ["0x1"]);
}

#[test]
fn a_landing_ends_the_stall_that_its_silence_began_with() {
    let late = Late { cpu: 1, from: Nanos(1_000_000_000), to: Nanos(5_000_000_000) };
    let landing = |at: u64, silence_ms| RawLanding {
        at: Nanos(at * 1_000_000_000),
        silence: Duration::from_millis(silence_ms),
        kind: LandingKind::Ended(crate::probes::Interrupt::LocalTimer),
        frames: vec![1],
        code: Vec::new(),
    };
    assert!(ends(&landing(5, 4100), &late) && ends(&landing(5, 3900), &late));
    assert!(!ends(&landing(5, 3000), &late), "it took interrupts in the first second");
    assert!(!ends(&landing(2, 1100), &late), "most of it came after");
    assert!(!ends(&landing(6, 5100), &late), "of a later one");
}
