//! CPU time by `/proc/stat` and waiting by `/proc/pressure/cpu`.

use super::HostFiles;
use super::kept::Kept;

/// Time of one CPU since boot, in ticks of `USER_HZ` (proc(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// Its number.
    pub cpu: u32,
    /// All fields up to steal together; guest time is part of user time already.
    pub total: u64,
    /// `user` and `nice`: programs.
    pub user: u64,
    /// `system`, `irq` and `softirq`: the kernel.
    pub system: u64,
    /// `idle` and `iowait`.
    pub idle: u64,
    /// Taken by the hypervisor.
    pub steal: u64,
}

/// A reading of `/proc/stat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Every CPU that is online.
    pub cpus: Vec<CpuTime>,
    /// Tasks that run or want to.
    pub runnable: u32,
    /// Tasks that are blocked on storage (`procs_blocked`); absent where the kernel does not say.
    pub blocked: Option<u32>,
}

/// One tick of `USER_HZ` in nanoseconds: 100 a second on every architecture that the agent supports.
pub const TICK_NS: u64 = 10_000_000;

/// `/proc/stat`, which is read again and again.
#[derive(Debug)]
pub struct StatFile(Kept);

impl StatFile {
    /// That of the host with these files.
    #[must_use]
    pub fn new(files: &HostFiles) -> Self {
        Self(files.kept("proc/stat"))
    }

    /// What it says now; absent where it cannot be read.
    pub fn read(&mut self) -> Option<Stat> {
        let stat = parse(self.0.read()?);
        (!stat.cpus.is_empty()).then_some(stat)
    }
}

impl HostFiles {
    /// How long some task waited for a CPU since boot, in microseconds (`/proc/pressure/cpu`, `some`, `total`).
    #[must_use]
    pub fn cpu_pressure_us(&self) -> Option<u64> {
        let text = self.read("proc/pressure/cpu")?;
        let some = text.lines().find(|line| line.starts_with("some "))?;
        some.split_whitespace().find_map(|field| field.strip_prefix("total="))?.parse().ok()
    }
}

fn parse(text: &str) -> Stat {
    let count = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Stat {
        cpus: text.lines().filter_map(parse_cpu).collect(),
        runnable: count("procs_running ").unwrap_or(0),
        blocked: count("procs_blocked "),
    }
}

fn parse_cpu(line: &str) -> Option<CpuTime> {
    let (number, rest) = line.strip_prefix("cpu")?.split_once(' ')?;
    let mut fields = [0; 8];
    let mut texts = rest.split_ascii_whitespace();
    for field in &mut fields {
        *field = texts.next()?.parse::<u64>().ok()?;
    }
    let total = fields.iter().try_fold(0_u64, |sum, field| sum.checked_add(*field))?;
    // Whoever multiplies by `TICK_NS` need not look: 584 years are no time of a CPU.
    total.checked_mul(TICK_NS)?;
    let [user, nice, system, idle, iowait, irq, softirq, steal] = fields;
    Some(CpuTime {
        cpu: number.parse().ok()?,
        total,
        user: user + nice,
        system: system + irq + softirq,
        idle: idle + iowait,
        steal,
    })
}

impl Stat {
    /// What passed from `earlier` to `self`, for each CPU that is in both.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Vec<CpuTime> {
        let delta = |now: &CpuTime| {
            let before = earlier.cpus.iter().find(|before| before.cpu == now.cpu)?;
            Some(CpuTime {
                cpu: now.cpu,
                total: now.total.checked_sub(before.total)?,
                user: now.user.saturating_sub(before.user),
                system: now.system.saturating_sub(before.system),
                // iowait may run backwards (proc(5)); then nothing of it is counted.
                idle: now.idle.saturating_sub(before.idle),
                steal: now.steal.saturating_sub(before.steal),
            })
        };
        self.cpus.iter().filter_map(delta).collect()
    }
}

/// The parts of all CPUs' time that were not idle and that were stolen, from 0 to 1; absent where no time passed.
#[must_use]
pub fn shares(delta: &[CpuTime]) -> Option<(f64, f64)> {
    let sum = |of: fn(&CpuTime) -> u64| delta.iter().map(of).sum::<u64>() as f64;
    let total = sum(|cpu| cpu.total);
    (total > 0.0).then(|| (1.0 - (sum(|cpu| cpu.idle) / total).min(1.0), sum(|cpu| cpu.steal) / total))
}

/// Which of `cpus` lost most to the hypervisor, and how much, in nanoseconds.
#[must_use]
pub fn most_stolen(delta: &[CpuTime], cpus: &[Option<u32>]) -> Option<(u32, u64)> {
    let concerned = delta.iter().filter(|time| cpus.contains(&Some(time.cpu)));
    concerned.max_by_key(|time| time.steal).map(|time| (time.cpu, time.steal * TICK_NS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "cpu  30 0 0 70 0 0 0 0 0 0\ncpu0 10 0 0 30 10 0 0 0 0 0\ncpu1 10 0 0 30 10 0 0 0 0 0\n\
        intr 5 0\nprocs_running 3\n";
    const AFTER: &str = "cpu  1 1 1 1 1 1 1 1\ncpu0 60 0 0 30 10 0 0 0 0 0\ncpu1 10 0 0 40 10 0 0 40 0 0\n\
        procs_running 1\n";

    #[test]
    fn busy_and_stolen_time_are_told_apart() {
        let (before, after) = (parse(BEFORE), parse(AFTER));
        assert_eq!((before.cpus.len(), before.runnable), (2, 3));
        let delta = after.since(&before);
        assert_eq!(shares(&delta), Some((0.9, 0.4)));
        assert_eq!(most_stolen(&delta, &[Some(0), Some(1)]), Some((1, 40 * TICK_NS)));
        assert_eq!(most_stolen(&delta, &[Some(0), None]), Some((0, 0)), "what another CPU lost explains nothing here");
    }

    #[test]
    fn programs_and_kernel_are_told_apart() {
        let time = parse_cpu("cpu3 1 2 4 8 16 32 64 128 256 512").unwrap();
        let expected = CpuTime { cpu: 3, total: 255, user: 3, system: 100, idle: 24, steal: 128 };
        assert_eq!(time, expected);
        assert_eq!(parse_cpu("cpu3 1 2 4 8"), None, "steal is missing");
    }

    #[test]
    fn a_time_that_nanoseconds_cannot_hold_is_no_time_of_a_cpu() {
        assert_eq!(parse_cpu(&format!("cpu0 {} 1 0 0 0 0 0 0", u64::MAX)), None);
        assert_eq!(parse_cpu(&format!("cpu0 0 0 0 0 0 0 0 {}", u64::MAX / TICK_NS + 1)), None);
        assert!(parse_cpu(&format!("cpu0 0 0 0 0 0 0 0 {}", u64::MAX / TICK_NS)).is_some());
    }

    #[test]
    fn a_cpu_that_was_away_is_left_out() {
        let earlier = Stat::default();
        assert_eq!(parse(AFTER).since(&earlier), []);
        assert_eq!(shares(&[]), None);
    }

    #[test]
    fn this_host_can_be_read() {
        let mut file = StatFile::new(&HostFiles::default());
        assert!(!file.read().unwrap().cpus.is_empty());
    }
}
