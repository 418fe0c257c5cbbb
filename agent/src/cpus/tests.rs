//! Sentinels on the CPUs of this machine.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::clock;

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
    let Fact::CpuStall(stall) = ended.fact else { unreachable!("it is of a CPU") };
    assert_eq!(stall.user_ns, Some(501 * TICK_NS));
}
