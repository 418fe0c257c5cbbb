//! Tasks that want a CPU: real-time hogs, ordinary ones, and control groups with a quota.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Pid;

use crate::cpu;

/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";
/// The priority of a hog; Linux has 1 to 99 for real-time tasks.
const PRIORITY: i32 = 50;
/// Real-time tasks may run that long in each second, in microseconds; -1 lifts the bound.
const RT_RUNTIME: &str = "/proc/sys/kernel/sched_rt_runtime_us";
/// Linux's default of it (kernel/sched/rt.c, `sysctl_sched_rt_runtime`).
const RT_DEFAULT: &str = "950000";
/// From Linux 6.12 on each CPU has a server that gives ordinary tasks a part of it; 0 switches it off.
const FAIR_SERVERS: &str = "/sys/kernel/debug/sched/fair_server";
/// Its default in nanoseconds (kernel/sched/deadline.c, `fair_server_init`).
const FAIR_DEFAULT: &str = "50000000";

/// The control groups of the lab.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Group {
    /// Only the agent is in it.
    Agent,
    /// Everything but the agent.
    Others,
}

impl Group {
    fn folder(self) -> PathBuf {
        PathBuf::from(GROUPS).join(match self {
            Self::Agent => "agent",
            Self::Others => "others",
        })
    }

    /// Moves a process into it.
    pub(crate) fn join(self, pid: Pid) -> Result<()> {
        let folder = self.folder();
        if !folder.exists() {
            std::fs::write(PathBuf::from(GROUPS).join("cgroup.subtree_control"), "+cpu").context("+cpu")?;
            std::fs::create_dir(&folder)?;
        }
        let path = folder.join("cgroup.procs");
        std::fs::write(&path, pid.to_string()).with_context(|| path.display().to_string())
    }

    /// Its processes get so many microseconds of CPU time in each period; none lifts the bound.
    pub(crate) fn limit(self, quota: Option<u64>, period: u64) -> Result<()> {
        let path = self.folder().join("cpu.max");
        let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        std::fs::write(&path, format!("{quota} {period}")).with_context(|| path.display().to_string())
    }

    /// How often it was throttled, and for how many microseconds.
    pub(crate) fn throttled(self) -> Result<(u64, u64)> {
        let path = self.folder().join("cpu.stat");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let figure = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            line.with_context(|| format!("{} has no {name}", path.display()))
        };
        Ok((figure("nr_throttled ")?, figure("throttled_usec ")?))
    }
}

/// Whether real-time tasks are bounded.
pub(crate) fn bound_real_time(bounded: bool) -> Result<()> {
    std::fs::write(RT_RUNTIME, if bounded { RT_DEFAULT } else { "-1" }).context(RT_RUNTIME)?;
    let Ok(servers) = std::fs::read_dir(FAIR_SERVERS) else {
        // Not before Linux 6.12.
        return Ok(());
    };
    for server in servers {
        let path = server?.path().join("runtime");
        std::fs::write(&path, if bounded { FAIR_DEFAULT } else { "0" }).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// In a helper: keeps a CPU for itself as a real-time task.
pub(crate) fn hog(on: usize, lasts: Duration) -> Result<()> {
    cpu::pin(on)?;
    // The kernel's own bound of a real-time task's time without a system call, should the loop not end.
    let most = u64::try_from((lasts * 2).as_micros())?;
    setrlimit(Resource::RLIMIT_RTTIME, most, most)?;
    cpu::real_time(PRIORITY)?;
    spin(lasts);
    Ok(())
}

/// In a helper: an ordinary busy task.
pub(crate) fn spin(lasts: Duration) {
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// `stress-ng` from the image.
pub(crate) fn stress(cpus: u64, bytes: &str, seconds: u64) -> Command {
    let mut command = Command::new("/usr/bin/stress-ng");
    command.args(["--cpu", &cpus.to_string(), "--vm", "1", "--vm-bytes", bytes]);
    command.args(["--timeout", &format!("{seconds}s"), "--temp-path", "/tmp"]);
    command
}
