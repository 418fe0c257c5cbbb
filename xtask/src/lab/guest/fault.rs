//! Faults of guests: each is made, looked at, and made again where it did not do what it should.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::cgroup::Group;
use super::step::{DiskStall, Freeze, GuestStep, Netem, OnCpu, Quota, RtHog, Stall, Stress, Throttle, part};
use super::threads::{must_spin, runs, waits};
use super::vm::{CPUS, Guest};
use crate::lab::clock::Moment;
use crate::lab::helper::Helper;
use crate::stop::Stop;

/// How often a fault is tried.
const TRIES: u32 = 20;
/// Between two tries, and a little more each time, so that they do not fall into step with the guest.
const PAUSE: Duration = Duration::from_millis(23);
/// The same after a try that held the whole guest: heartbeats of it come in between, so that it is no part of the fault.
const RECOVERY: Duration = Duration::from_millis(350);
/// How long something may take that is done at once.
const SOON: Duration = Duration::from_secs(1);
/// How long the rest of a guest may take to show that it still runs: a try that failed must not be a stall by itself.
const GLANCE: Duration = Duration::from_millis(60);
/// How much longer than it should something that ends by itself is waited for.
const LATE: Duration = Duration::from_secs(30);
/// For how long a task goes on beyond the fault that it feels.
const BEYOND: Duration = Duration::from_secs(1);

/// When it took effect, and what goes on.
pub(crate) type Done = (Moment, Vec<Helper>);

/// The faults that last until another step.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Virtual CPUs that are not run, by guest and number.
    frozen: BTreeMap<(String, u32), Group>,
}

impl Faults {
    /// Does what the step says.
    pub(crate) fn perform(&mut self, guest: &Arc<Guest>, step: &GuestStep, stop: &Stop) -> Result<Done> {
        match step {
            GuestStep::TimerMask(on) => timer(guest, on, "timer-mask", stop),
            GuestStep::TimerUnmask(on) => timer(guest, on, "timer-unmask", stop),
            GuestStep::VcpuFreeze(freeze) => self.freeze(guest, freeze, stop),
            GuestStep::VcpuThaw(on) => self.thaw(guest, on, stop),
            GuestStep::VmPause(_) => switch(guest, "stop", "paused"),
            GuestStep::VmResume(_) => switch(guest, "cont", "running"),
            GuestStep::VmStop(step) => vm_stop(guest, step.halted, stop),
            GuestStep::VmContinue(_) => guest.stop_emulator(false).map(at_once),
            GuestStep::VcpuThrottle(throttle) => vcpu_throttle(guest, throttle, stop),
            GuestStep::RtHog(hog) => rt_hog(guest, hog, stop),
            GuestStep::IrqsOff(stall) => kernel_stall(guest, stall, &format!("irqs-off {}", figures(stall)), stop),
            GuestStep::PreemptOff(stall) => {
                kernel_stall(guest, stall, &format!("preempt-off {}", figures(stall)), stop)
            }
            GuestStep::LongHandler(stall) => {
                kernel_stall(guest, stall, &format!("long-handler {}", figures(stall)), stop)
            }
            GuestStep::CrossCallWait(stall) => {
                let command = format!("cross-call-wait {} {}", other(stall.cpu), figures(stall));
                kernel_stall(guest, stall, &command, stop)
            }
            GuestStep::Reset(_) => guest.reset().map(at_once),
            GuestStep::Netem(netem) => self::netem(guest, netem),
            GuestStep::NetemOff(_) => run(guest, "tc qdisc del dev eth0 root").map(at_once),
            GuestStep::AgentQuota(quota) => self::quota(guest, quota, "agent", stop),
            GuestStep::OthersQuota(quota) => others_quota(guest, quota, stop),
            GuestStep::KernelLoad(load) => kernel_load(guest, load, stop),
            GuestStep::Stress(stress) => self::stress(guest, stress, stop),
            GuestStep::DiskStall(stall) => disk_stall(guest, stall, stop),
        }
    }

    /// What stands still would not end when it is killed.
    pub(crate) fn heal(&mut self) {
        self.frozen.clear();
    }

    /// A thread that is stopped while it holds the emulator's lock would stop everything: then it is let go at once
    /// and stopped at another moment; so is one that is not halted where it must be.
    fn freeze(&mut self, guest: &Arc<Guest>, step: &Freeze, stop: &Stop) -> Result<Done> {
        let Freeze { ref host, cpu, halted } = *step;
        let key = (host.clone(), cpu);
        ensure!(!self.frozen.contains_key(&key), "CPU {cpu} of {host} is frozen already");
        let thread = thread_of(guest, cpu)?;
        settle(guest, other(cpu))?;
        // It shall be taken away at any moment, not in the interrupt of the last answer.
        stop.sleep_until(Instant::now() + PAUSE * 2)?;
        let group = Group::for_freezing(guest.pid, &[thread])?;
        for number in 0..TRIES {
            let (moment, ()) = Moment::of(|| freeze(&group, stop))?;
            let rest_runs = guest.emulator_answers(GLANCE) && guest.answers(other(cpu), GLANCE);
            if rest_runs && (!halted || guest.is_halted(cpu, GLANCE)?) {
                self.frozen.insert(key, group);
                return Ok((moment, Vec::new()));
            }
            group.freeze(false)?;
            stop.sleep_until(Instant::now() + RECOVERY + PAUSE * number)?;
        }
        let want = if halted { " or was not halted" } else { "" };
        bail!("whenever CPU {cpu} of {host} stood still, so did the whole of it{want} ({TRIES} tries)");
    }

    fn thaw(&mut self, guest: &Arc<Guest>, on: &OnCpu, stop: &Stop) -> Result<Done> {
        let group = self.frozen.remove(&(on.host.clone(), on.cpu));
        let group = group.with_context(|| format!("CPU {} of {} is not frozen", on.cpu, on.host))?;
        // What runs on the other CPU may wait for this one by now, and not answer; but it does so on a CPU that is run.
        let rest = other(on.cpu);
        let rest_ran = guest.emulator_answers(SOON)
            && (guest.answers(rest, SOON)
                || runs(guest.pid, thread_of(guest, rest)?, stop)? && !guest.stands_still(rest)?);
        let (moment, ()) = Moment::of(|| group.freeze(false))?;
        ensure!(rest_ran, "not only CPU {} of {} stood still in the end, but the whole of it", on.cpu, on.host);
        Ok((moment, Vec::new()))
    }
}

fn at_once(moment: Moment) -> Done {
    (moment, Vec::new())
}

/// The CPU that serves requests while that one stalls.
fn other(cpu: u32) -> u32 {
    (cpu + 1) % CPUS
}

fn figures(stall: &Stall) -> String {
    format!("{} {}", stall.cpu, stall.lasts.as_millis())
}

fn thread_of(guest: &Guest, cpu: u32) -> Result<u32> {
    let thread = guest.threads.get(usize::try_from(cpu)?);
    thread.copied().with_context(|| format!("{} has no CPU {cpu}", guest.name))
}

fn run(guest: &Guest, request: &str) -> Result<Moment> {
    Moment::of(|| guest.request(0, request)).map(|(moment, _)| moment)
}

/// Lets that CPU serve the serial port: its interrupt moves there with the interrupt after the first request.
fn settle(guest: &Guest, cpu: u32) -> Result<()> {
    for _ in 0..3 {
        guest.request(cpu, "ping")?;
    }
    Ok(())
}

/// Masks or unmasks the timer, and sees whether it ticks. A CPU that idles may lawfully not tick for a while, so the
/// first unmasking is the one that counts.
fn timer(guest: &Guest, on: &OnCpu, command: &str, stop: &Stop) -> Result<Done> {
    let server = other(on.cpu);
    settle(guest, server)?;
    let masked = command == "timer-mask";
    let mut first = None;
    for number in 0..TRIES {
        let (moment, _) = Moment::of(|| guest.request(server, &format!("{command} {}", on.cpu)))?;
        let moment = if masked { moment } else { *first.get_or_insert(moment) };
        let ticks: u64 = guest.request(server, &format!("ticks {}", on.cpu))?.trim().parse()?;
        if masked == (ticks == 0) {
            return Ok((moment, Vec::new()));
        }
        stop.sleep_until(Instant::now() + PAUSE * (number + 1))?;
    }
    bail!("{command} of CPU {} of {}: not after {TRIES} tries", on.cpu, on.host);
}

fn freeze(group: &Group, stop: &Stop) -> Result<()> {
    group.freeze(true)?;
    let frozen = stop.wait_for(SOON, || group.is_frozen().unwrap_or(false))?;
    if !frozen {
        group.freeze(false)?;
        bail!("the thread of a CPU does not freeze");
    }
    Ok(())
}

fn switch(guest: &Guest, command: &str, status: &str) -> Result<Done> {
    let (moment, _) = Moment::of(|| guest.qmp(command, json!({})))?;
    let answer = guest.qmp("query-status", json!({}))?;
    let now = answer.get("status").and_then(Value::as_str);
    ensure!(now == Some(status), "{} is {now:?} after `{command}`", guest.name);
    Ok((moment, Vec::new()))
}

/// Stops the emulator, at another moment where none of the CPUs is halted of which one must be.
fn vm_stop(guest: &Guest, halted: bool, stop: &Stop) -> Result<Done> {
    if !halted {
        return guest.stop_emulator(true).map(at_once);
    }
    for number in 0..TRIES {
        if let Some(cpu) = halted_cpu(guest)? {
            let moment = guest.stop_emulator(true)?;
            if waits(guest.pid, thread_of(guest, cpu)?) {
                return Ok(at_once(moment));
            }
            guest.stop_emulator(false)?;
        }
        stop.sleep_until(Instant::now() + PAUSE * (number + 1))?;
    }
    bail!("no CPU of {} was halted in {TRIES} tries", guest.name);
}

fn halted_cpu(guest: &Guest) -> Result<Option<u32>> {
    for cpu in 0..CPUS {
        if guest.is_halted(cpu, GLANCE)? {
            return Ok(Some(cpu));
        }
    }
    Ok(None)
}

/// Keeps all CPUs busy, so that they feel the bound.
fn vcpu_throttle(guest: &Arc<Guest>, throttle: &Throttle, stop: &Stop) -> Result<Done> {
    let Throttle { quota_percent, period, lasts, .. } = *throttle;
    for cpu in 0..CPUS {
        guest.begin(cpu, &format!("spin {}", (lasts + BEYOND).as_millis()))?;
    }
    let quota = part(quota_percent, period);
    let (moment, group) = Moment::of(|| Group::with_quota(guest.pid, &guest.threads, quota, period))?;
    let end = Instant::now() + lasts;
    let helper = Helper::spawn("throttle", stop, move |stop| {
        stop.sleep_until(end)?;
        let times = group.times_throttled()?;
        drop(group);
        ensure!(times > 0, "the emulator's threads were never throttled");
        Ok(())
    })?;
    Ok((moment, vec![helper]))
}

/// Beside an ordinary busy task, which takes whatever is kept for others: one that wants little would not be kept waiting.
fn rt_hog(guest: &Arc<Guest>, hog: &RtHog, stop: &Stop) -> Result<Done> {
    let server = other(hog.cpu);
    guest.begin(hog.cpu, &format!("spin {}", (hog.lasts + BEYOND).as_millis()))?;
    settle(guest, server)?;
    if !hog.throttled {
        guest.request(server, "real-time unbounded")?;
    }
    let command = format!("rt-hog {} {}", hog.cpu, hog.lasts.as_millis());
    let (moment, (number, _)) = Moment::of(|| guest.begin(server, &command))?;
    must_spin(guest.pid, thread_of(guest, hog.cpu)?, stop)?;
    let (guest, patience) = (Arc::clone(guest), hog.lasts + LATE);
    let helper = Helper::spawn("rt-hog", stop, move |_| {
        must_be_clean(&guest, number, patience)?;
        guest.request(server, "real-time bounded").map(drop)
    })?;
    Ok((moment, vec![helper]))
}

fn kernel_stall(guest: &Arc<Guest>, stall: &Stall, command: &str, stop: &Stop) -> Result<Done> {
    let server = other(stall.cpu);
    settle(guest, server)?;
    let (moment, (number, _)) = Moment::of(|| guest.begin(server, command))?;
    must_spin(guest.pid, thread_of(guest, stall.cpu)?, stop)?;
    Ok((moment, vec![until_done(guest, number, stall.lasts, stop)?]))
}

/// Waits until what was begun has ended well.
fn until_done(guest: &Arc<Guest>, number: u64, lasts: Duration, stop: &Stop) -> Result<Helper> {
    let guest = Arc::clone(guest);
    Helper::spawn("end of a fault", stop, move |_| must_be_clean(&guest, number, lasts + LATE))
}

fn must_be_clean(guest: &Guest, number: u64, patience: Duration) -> Result<()> {
    let (_, how) = guest.end(number, patience)?;
    ensure!(how == "exit 0", "{}: ended with {how}", guest.name);
    Ok(())
}

fn netem(guest: &Guest, netem: &Netem) -> Result<Done> {
    let place = if netem.ipv4_only { split_ipv4_off(guest)? } else { "root" };
    let moment = run(guest, &format!("tc qdisc replace dev eth0 {place} netem {}", netem.args))?;
    let shown = guest.request(0, "tc qdisc show dev eth0")?;
    ensure!(shown.contains("netem"), "{}: its link has {shown}", guest.name);
    Ok((moment, Vec::new()))
}

/// Gives IPv4 a queue of its own, and everything else another; where that of IPv4 is.
fn split_ipv4_off(guest: &Guest) -> Result<&'static str> {
    run(guest, "tc qdisc replace dev eth0 root handle 1: prio bands 2 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0")?;
    run(guest, "tc filter add dev eth0 parent 1: protocol ip u32 match u32 0 0 flowid 1:2")?;
    Ok("parent 1:2")
}

fn quota(guest: &Arc<Guest>, quota: &Quota, group: &'static str, stop: &Stop) -> Result<Done> {
    let time = part(quota.percent, quota.period).as_micros();
    let moment = run(guest, &format!("limit {group} {time} {}", quota.period.as_micros()))?;
    let (end, guest) = (Instant::now() + quota.lasts, Arc::clone(guest));
    let helper = Helper::spawn("quota", stop, move |stop| {
        stop.sleep_until(end)?;
        let answer = guest.request(0, &format!("unlimit {group}"))?;
        let times = answer.split_whitespace().next();
        ensure!(times.is_some_and(|times| times != "0"), "{}: {group} was never throttled", guest.name);
        Ok(())
    })?;
    Ok((moment, vec![helper]))
}

fn others_quota(guest: &Arc<Guest>, quota: &Quota, stop: &Stop) -> Result<Done> {
    guest.begin(0, &format!("spin {}", (quota.lasts + BEYOND).as_millis()))?;
    self::quota(guest, quota, "others", stop)
}

fn kernel_load(guest: &Arc<Guest>, load: &Stall, stop: &Stop) -> Result<Done> {
    let command = format!("kernel-load {}", load.lasts.as_millis());
    let (moment, (number, _)) = Moment::of(|| guest.begin(load.cpu, &command))?;
    // Requests are served elsewhere from now on.
    settle(guest, other(load.cpu))?;
    must_spin(guest.pid, thread_of(guest, load.cpu)?, stop)?;
    Ok((moment, vec![until_done(guest, number, load.lasts, stop)?]))
}

fn stress(guest: &Arc<Guest>, stress: &Stress, stop: &Stop) -> Result<Done> {
    let Stress { cpu, vm_bytes, lasts, .. } = stress;
    let command = format!("stress {cpu} {vm_bytes} {}", lasts.as_secs());
    let (moment, (number, _)) = Moment::of(|| guest.begin(0, &command))?;
    Ok((moment, vec![until_done(guest, number, *lasts, stop)?]))
}

/// A disk that serves next to nothing, while a task reads from it.
fn disk_stall(guest: &Arc<Guest>, stall: &DiskStall, stop: &Stop) -> Result<Done> {
    let (number, _) = guest.begin(0, &format!("read-disk {}", (stall.lasts + BEYOND).as_millis()))?;
    ensure!(reads(guest, stop)? > 0, "{}: nobody reads from the disk", guest.name);
    let (moment, _) = Moment::of(|| guest.throttle_disk(1))?;
    // What was on its way may still be answered.
    stop.sleep_until(Instant::now() + PAUSE)?;
    ensure!(reads(guest, stop)? <= 1, "{}: the disk goes on to answer", guest.name);
    let (end, other) = (Instant::now() + stall.lasts, Arc::clone(guest));
    let helper = Helper::spawn("disk-stall", stop, move |stop| {
        stop.sleep_until(end)?;
        other.throttle_disk(0)
    })?;
    // A read that failed would be another fault than one that hangs.
    let reader = until_done(guest, number, stall.lasts, stop)?;
    Ok((moment, vec![helper, reader]))
}

/// How many reads the guest's disk completed in a moment: the first figure of its `stat`.
fn reads(guest: &Guest, stop: &Stop) -> Result<u64> {
    let count = || -> Result<u64> {
        let answer = guest.request(0, "busybox cat /sys/block/vda/stat")?;
        answer.split_whitespace().next().context("an empty answer")?.parse().context(answer.clone())
    };
    let before = count()?;
    stop.sleep_until(Instant::now() + SOON / 4)?;
    Ok(count()?.saturating_sub(before))
}
