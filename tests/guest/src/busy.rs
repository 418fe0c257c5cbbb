//! Tasks that want a CPU: real-time hogs, ordinary ones, and control groups with a quota.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Pid;

use crate::cpu;

/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";
/// There while a hog has its CPU.
const HOGGED: &str = "/run/hogged";
/// How long it may take to get it.
const PATIENCE: Duration = Duration::from_secs(2);
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

/// Whether real-time tasks are bounded. The servers get theirs back first: before that Linux 6.12 counts less than
/// nothing as given away, and refuses the bound (`dl_clear_root_domain` forgets what the servers got at boot).
pub(crate) fn bound_real_time(bounded: bool) -> Result<()> {
    if bounded {
        set_fair_servers(FAIR_DEFAULT)?;
        return std::fs::write(RT_RUNTIME, RT_DEFAULT).context(RT_RUNTIME);
    }
    std::fs::write(RT_RUNTIME, "-1").context(RT_RUNTIME)?;
    set_fair_servers("0")
}

fn set_fair_servers(runtime: &str) -> Result<()> {
    let Ok(servers) = std::fs::read_dir(FAIR_SERVERS) else {
        // Not before Linux 6.12.
        return Ok(());
    };
    for server in servers {
        let path = server?.path().join("runtime");
        std::fs::write(&path, runtime).with_context(|| path.display().to_string())?;
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
    std::fs::write(HOGGED, "").context(HOGGED)?;
    spin(lasts);
    std::fs::remove_file(HOGGED).context(HOGGED)
}

/// Waits until a hog has begun.
pub(crate) fn hog_begun() -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !Path::new(HOGGED).exists() {
        ensure!(Instant::now() < end, "no hog after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// In a helper: an ordinary busy task.
pub(crate) fn spin(lasts: Duration) {
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// In a helper: two threads that hand a byte to and fro through pipes, on the CPU of the caller. Most of that is system
/// calls, switches of tasks and locks.
pub(crate) fn load_kernel(lasts: Duration) -> Result<()> {
    let (mut from_other, mut to_me) = std::io::pipe()?;
    let (mut from_me, mut to_other) = std::io::pipe()?;
    let other = std::thread::spawn(move || {
        let mut byte = [0];
        while from_me.read(&mut byte).is_ok_and(|read| read > 0) && to_me.write_all(&byte).is_ok() {}
    });
    let (end, mut byte) = (Instant::now() + lasts, [0]);
    while Instant::now() < end {
        to_other.write_all(&byte)?;
        from_other.read_exact(&mut byte)?;
    }
    drop(to_other);
    other.join().map_err(|_| anyhow::anyhow!("the other thread panicked"))
}

/// `stress-ng` from the image.
pub(crate) fn stress(cpus: u64, bytes: &str, seconds: u64) -> Command {
    let mut command = Command::new("/usr/bin/stress-ng");
    command.args(["--cpu", &cpus.to_string(), "--vm", "1", "--vm-bytes", bytes]);
    command.args(["--timeout", &format!("{seconds}s"), "--temp-path", "/tmp"]);
    command
}
