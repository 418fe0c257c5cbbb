//! In words: what was seen of a CPU, of storage and in the kernel's log.

use lacuna_core::evidence::{CpuStall, Fact, Handler, IoStuck, Landed, Place, Poke};
use lacuna_core::time;

use super::words::nanos;

/// What a piece of evidence about the host's own kernel says; absent where it is of another kind.
pub(super) fn of_kernel(host: &str, took: &str, fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::CpuStall(stall) => cpu_stall(host, took, stall),
        Fact::IoStuck(stuck) => io_stuck(host, took, stuck),
        Fact::KernelMessage(message) => {
            format!("the kernel of {host} logged ({}): {}", message.about, message.text.escape_debug())
        }
        Fact::SoftirqDelay { cpu, softirq } => {
            format!("softirq {softirq} on CPU {cpu} of {host} ran {took} after it was raised")
        }
        Fact::RcuStall { detail } => {
            format!("the kernel of {host} reports an RCU stall: {}", detail.escape_debug())
        }
        Fact::TaskHung { pid, comm } => {
            format!("the kernel of {host} reports the hung task {} (pid {pid})", comm.escape_debug())
        }
        Fact::ClockStood { behind_ns } => {
            format!("the clock of {host} went on by {} more than this host's own", nanos(*behind_ns))
        }
        _ => return None,
    })
}

fn cpu_stall(host: &str, took: &str, stall: &CpuStall) -> String {
    let count = |what: &str, count: Option<u64>| count.map(|count| format!("{count} {what}"));
    let time = |what: &str, ns: Option<u64>| ns.map(|ns| format!("{} {what}", nanos(ns)));
    let running = stall.running.as_ref().map(|running| {
        let policy = running.policy.as_ref().map(|policy| format!(" ({policy})")).unwrap_or_default();
        format!("it ran {}{policy}", running.comm.escape_debug())
    });
    let parts = [
        count("other interrupts", stall.interrupts),
        count("softirqs", stall.softirqs),
        count("task switches", stall.switches),
        stall.poke.map(|poke| match poke {
            Poke::Answered => "it ran what another CPU woke".to_owned(),
            Poke::Unanswered => "it did not run what another CPU woke".to_owned(),
        }),
        time("in user mode", stall.user_ns),
        time("in the kernel", stall.system_ns),
        time("taken by the hypervisor", stall.stolen_ns),
        running,
        stall.handler.as_ref().map(in_handler),
        stall.landed.as_ref().map(landed),
        stall.sampled.first().map(|function| format!("at a tick of its timer it was in {function}")),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    let verb = if stall.over { "was" } else { "is" };
    format!("the sentinel of CPU {} of {host} {verb} {took} overdue{parts}", stall.cpu)
}

fn in_handler(handler: &Handler) -> String {
    let took = handler.until.map(|until| format!(" for {}", nanos(time::nanos(until.since(handler.since)))));
    format!("it was in the interrupt handler {}{}", handler.name, took.unwrap_or_default())
}

fn landed(landed: &Landed) -> String {
    let innermost = landed.stack.first().map(|function| format!(", in {function}")).unwrap_or_default();
    match (landed.place, landed.just_enabled) {
        (Place::User, _) => "it went on in user mode".to_owned(),
        (Place::Idle, _) => "it went on in the idle loop".to_owned(),
        (Place::Kernel, Some(true)) => format!("it went on just after interrupts were enabled{innermost}"),
        (Place::Kernel, _) => format!("it went on in the kernel{innermost}"),
        (Place::Unknown, _) => "where it went on could not be read".to_owned(),
    }
}

fn io_stuck(host: &str, took: &str, stuck: &IoStuck) -> String {
    let who = if stuck.tasks.is_empty() { format!("tasks of {host}") } else { stuck.tasks.join(", ") };
    let blocked = stuck.blocked.map(|count| format!("; {count} tasks were blocked at the end")).unwrap_or_default();
    let psi = stuck.some_ns.map(|some| format!("; by the kernel's count some task waited for {}", nanos(some)));
    format!("{who} waited for storage and did not run for {took}{blocked}{}", psi.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use lacuna_core::evidence::Running;

    use super::*;

    #[test]
    fn a_stall_has_what_was_measured_and_nothing_else() {
        let bare = CpuStall { cpu: 1, ..CpuStall::default() };
        assert_eq!(cpu_stall("db1", "2.0 s", &bare), "the sentinel of CPU 1 of db1 is 2.0 s overdue");
        let stack = vec!["spin+0x1".to_owned()];
        let landed = Some(Landed { place: Place::Kernel, just_enabled: Some(true), passed: None, stack });
        let running = Some(Running { tid: 1, comm: "hog".into(), policy: Some("SCHED_FIFO".into()) });
        let full = CpuStall { over: true, interrupts: Some(3), system_ns: Some(5_000_000), running, landed, ..bare };
        assert_eq!(
            cpu_stall("db1", "2.0 s", &full),
            "the sentinel of CPU 1 of db1 was 2.0 s overdue: 3 other interrupts, 5 ms in the kernel, it ran hog \
             (SCHED_FIFO), it went on just after interrupts were enabled, in spin+0x1"
        );
    }
}
