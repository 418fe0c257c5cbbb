//! What each request does.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use nix::sys::time::{TimeSpec, TimeValLike as _};
use nix::time::{ClockId, clock_gettime, clock_settime};

use crate::agent::Agent;
use crate::busy::{self, Group};
use crate::jobs::{self, Jobs};
use crate::request::Request;
use crate::{apic, cpu, disk, kernel};

/// For how long the timer of a CPU is watched, to see whether it ticks: some idle CPU ticks but a few times a second.
const WATCHED: Duration = Duration::from_millis(300);

/// What the last program printed that was to be logged.
const LOG: &str = "/run/log";

/// What the guest does.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// The agent.
    pub(crate) agent: Agent,
    /// Everything else that takes time.
    pub(crate) jobs: Jobs,
}

impl Control {
    /// Does it; the text of the answer.
    pub(crate) fn perform(&mut self, request: &Request) -> Result<String> {
        match request.command.as_str() {
            "ping" => {}
            "clock" => return clock(),
            "set-clock" => set_clock(request.figure(0)?)?,
            "agent-start" => self.agent.start(&mut self.jobs, request.number)?,
            "agent-signal" => self.agent.signal(&self.jobs, request.text(0)?)?,
            "end-job" => self.jobs.signal(request.figure(0)?, Signal::SIGKILL),
            "timer-mask" => self.jobs.run(&["apic-mask", request.text(0)?])?,
            "timer-unmask" => self.jobs.run(&["apic-unmask", request.text(0)?])?,
            "ticks" => return Ok(ticks_of(usize::try_from(request.figure(0)?)?)?.to_string()),
            "real-time" => busy::bound_real_time(request.text(0)? == "bounded")?,
            "busybox" => return output(&mut busybox(&request.arguments)),
            "tc" => return output(std::process::Command::new("/sbin/tc").args(&request.arguments)),
            // What the kernel's tasks and CPUs do goes to the console (`Documentation/admin-guide/sysrq.rst`).
            "sysrq" => std::fs::write("/proc/sysrq-trigger", request.text(0)?).context("sysrq")?,
            "limit" => limit(group(request)?, request)?,
            "unlimit" => return unlimit(group(request)?),
            _ => return self.begin(request),
        }
        Ok(String::new())
    }

    /// Requests that begin something which ends by itself.
    fn begin(&mut self, request: &Request) -> Result<String> {
        let words: Vec<&str> =
            std::iter::once(&request.command).chain(&request.arguments).map(String::as_str).collect();
        match request.command.as_str() {
            "rt-hog" | "irqs-off" | "preempt-off" | "long-handler" | "read-disk" | "spin" | "kernel-load" => {}
            "cross-call-wait" => return self.cross_call(request),
            "log" => {
                self.jobs.start_anywhere(request.number, &mut logged(request)?)?;
                return Ok(String::new());
            }
            "stress" => {
                let mut stress = busy::stress(request.figure(0)?, request.text(1)?, request.figure(2)?);
                self.jobs.start_anywhere(request.number, &mut stress)?;
                return Ok(String::new());
            }
            unknown => bail!("unknown command `{unknown}`"),
        }
        let pid = self.jobs.start(request.number, &words)?;
        match request.command.as_str() {
            "irqs-off" | "preempt-off" | "long-handler" => kernel::begun()?,
            "rt-hog" => busy::hog_begun()?,
            "spin" => Group::Others.join(pid)?,
            _ => {}
        }
        Ok(String::new())
    }

    /// `cross-call-wait <waiting cpu> <locked cpu> <ms>`
    fn cross_call(&mut self, request: &Request) -> Result<String> {
        let (waiting, locked, ms) = (request.text(0)?, request.text(1)?, request.text(2)?);
        self.jobs.start(request.number, &["irqs-off", locked, ms])?;
        kernel::begun()?;
        self.jobs.start(request.number, &["cross-call", waiting, locked])?;
        Ok(String::new())
    }
}

/// One thing in a process of its own, on the CPU that is its business.
pub(crate) fn helper(words: &[String]) -> Result<()> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let ms = |text: &str| Ok::<_, anyhow::Error>(Duration::from_millis(text.parse()?));
    match words.as_slice() {
        ["apic-mask", cpu] => {
            jobs::take_cpu(cpu.parse()?)?;
            apic::mask()
        }
        ["apic-unmask", cpu] => {
            jobs::take_cpu(cpu.parse()?)?;
            apic::unmask()
        }
        ["rt-hog", cpu, lasts] => busy::hog(cpu.parse()?, ms(lasts)?),
        [name @ ("irqs-off" | "preempt-off"), cpu, lasts] => {
            cpu::pin(cpu.parse()?)?;
            kernel::stall(&format!("{name} {lasts}"))
        }
        ["long-handler", cpu, lasts] => kernel::stall_other(&format!("long-handler {cpu} {lasts}")),
        ["cross-call", waiting, locked] => {
            cpu::pin(waiting.parse()?)?;
            kernel::wait_for(locked.parse()?)
        }
        ["read-disk", lasts] => disk::read_on(ms(lasts)?),
        ["kernel-load", lasts] => busy::load_kernel(ms(lasts)?),
        ["spin", lasts] => {
            busy::spin(ms(lasts)?);
            Ok(())
        }
        _ => bail!("unknown helper {words:?}"),
    }
}

/// The interrupts of its timer that a CPU takes in [`WATCHED`].
fn ticks_of(cpu: usize) -> Result<u64> {
    let before = cpu::timer_interrupts(Path::new("/"), cpu)?;
    std::thread::sleep(WATCHED);
    Ok(cpu::timer_interrupts(Path::new("/"), cpu)?.saturating_sub(before))
}

/// The wall clock in nanoseconds.
fn clock() -> Result<String> {
    Ok(clock_gettime(ClockId::CLOCK_REALTIME)?.num_nanoseconds().to_string())
}

fn set_clock(wall: u64) -> Result<()> {
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::nanoseconds(i64::try_from(wall)?)).context("the clock")
}

fn group(request: &Request) -> Result<Group> {
    match request.text(0)? {
        "agent" => Ok(Group::Agent),
        "others" => Ok(Group::Others),
        other => bail!("no group `{other}`"),
    }
}

/// `limit <group> <quota in us> <period in us>`
fn limit(group: Group, request: &Request) -> Result<()> {
    group.limit(Some(request.figure(1)?), request.figure(2)?)
}

/// `unlimit <group>`: says how often it was throttled and for how many microseconds.
fn unlimit(group: Group) -> Result<String> {
    group.limit(None, 100_000)?;
    let (times, us) = group.throttled()?;
    Ok(format!("{times} {us}"))
}

/// `log <program> <arguments…>`: what it prints goes to [`LOG`].
fn logged(request: &Request) -> Result<std::process::Command> {
    let log = std::fs::File::create(LOG).context(LOG)?;
    let mut command = std::process::Command::new(request.text(0)?);
    command.args(request.arguments.iter().skip(1)).stdin(std::process::Stdio::null());
    command.stdout(log.try_clone()?).stderr(log);
    Ok(command)
}

fn busybox(words: &[String]) -> std::process::Command {
    let mut command = std::process::Command::new("/bin/busybox");
    command.args(words);
    command
}

fn output(command: &mut std::process::Command) -> Result<String> {
    let done = command.stdin(std::process::Stdio::null()).output()?;
    let stderr = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{}: {}", done.status, stderr.trim().replace('\n', " | "));
    Ok(String::from_utf8_lossy(&done.stdout).trim().replace('\n', " | "))
}
