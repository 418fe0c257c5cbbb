//! A CPU of this machine that runs nothing else for a while, as the agent's watch over CPUs sees it. A process of its own,
//! since the watch moves all threads of its process off such a CPU.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use lacuna::clock;
use lacuna::cpus::{CpuWatch, Pulse};
use lacuna::driver::TurnReading;
use lacuna::host::HostFiles;
use lacuna_core::evidence::Fact;
use nix::sched::sched_getaffinity;
use nix::unistd::Pid;

/// Nothing here takes longer, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn allowed(cpu: u32) -> bool {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("the own affinity");
    set.is_set(usize::try_from(cpu).expect("a small number")).expect("a CPU")
}

#[test]
fn a_cpu_that_runs_nothing_else_is_told_and_avoided_while_it_lasts() {
    let (commands, _inbox) = sync_channel(1);
    let mut watch = CpuWatch::start(HostFiles::default(), None, Arc::new(Pulse::default()), commands);
    let cpu = watch.watched() - 1;
    assert!(cpu > 0, "this test needs a second CPU to look from");
    watch.look("db1", clock::boot(), Duration::ZERO, &TurnReading::default());
    thread::sleep(Duration::from_millis(300));
    // A real-time task, which `timeout` ends from outside of that CPU. The scheduler takes it away for a moment each second: where
    // this process gets no other CPU in time to see one of its stalls, there is another.
    let spin =
        ["-k", "1", "4", "chrt", "-f", "10", "taskset", "-c", &cpu.to_string(), "sh", "-c", "while :; do :; done"];
    let mut hog = Command::new("timeout").args(spin).spawn().expect("timeout and chrt");
    let (mut during, mut avoided, mut after) = (false, false, None);
    let end = Instant::now() + PATIENCE;
    while !(during && avoided && after.is_some()) && Instant::now() < end {
        for evidence in watch.look("db1", clock::boot(), Duration::ZERO, &TurnReading::default()) {
            let length = evidence.to.since(evidence.from);
            let Fact::CpuStall(stall) = evidence.fact else { panic!("only stalls are told here") };
            if stall.cpu == cpu && !stall.over {
                during = true;
            } else if stall.cpu == cpu && length > Duration::from_millis(300) {
                after = Some(stall);
            }
        }
        avoided |= !allowed(cpu);
        thread::sleep(Duration::from_millis(20));
    }
    hog.wait().expect("the hog has ended");
    let after = after.expect("it is told in the end");
    assert_eq!(after.of_cpus, watch.watched());
    assert!(during, "it is told while it lasts");
    assert!(avoided, "the other threads keep off that CPU");
    watch.look("db1", clock::boot(), Duration::ZERO, &TurnReading::default());
    drop(watch);
    assert!(allowed(cpu), "and may use it again afterwards");
}
