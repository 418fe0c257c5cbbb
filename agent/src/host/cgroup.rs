//! How long the agent's own control groups were throttled by their CPU quota.

use super::HostFiles;

impl HostFiles {
    /// Nanoseconds since the groups were made, the largest over the agent's group and those above it; absent where
    /// no group tells. Version 2 counts in `throttled_usec`, version 1 in `throttled_time` (nanoseconds).
    #[must_use]
    pub fn throttled_ns(&self) -> Option<u64> {
        let groups = self.read("proc/self/cgroup")?;
        groups.lines().filter_map(|line| self.throttled_in(line)).max()
    }

    /// A line is `number:controllers:path` (cgroups(7)).
    fn throttled_in(&self, line: &str) -> Option<u64> {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let mounts: &[&str] = match controllers {
            "" => &["sys/fs/cgroup", "sys/fs/cgroup/unified"],
            list if list.split(',').any(|name| name == "cpu") => &["sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"],
            _ => return None,
        };
        mounts.iter().filter_map(|mount| self.throttled_below(mount, path)).max()
    }

    /// A group is throttled with any of those above it.
    fn throttled_below(&self, mount: &str, path: &str) -> Option<u64> {
        let above = std::path::Path::new(path).ancestors();
        above.filter_map(|group| self.cpu_stat(mount, group.to_str()?.trim_start_matches('/'))).max()
    }

    fn cpu_stat(&self, mount: &str, group: &str) -> Option<u64> {
        let text = self.read(&format!("{mount}/{group}/cpu.stat"))?;
        text.lines().find_map(|line| match line.split_once(' ')? {
            ("throttled_usec", value) => value.trim().parse::<u64>().ok()?.checked_mul(1000),
            ("throttled_time", value) => value.trim().parse().ok(),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake as host;

    #[test]
    fn version_two_counts_with_its_parents() {
        let (_root, files) = host(&[
            ("proc/self/cgroup", "0::/system.slice/lacuna.service\n"),
            ("sys/fs/cgroup/system.slice/lacuna.service/cpu.stat", "usage_usec 5\nthrottled_usec 7\n"),
            ("sys/fs/cgroup/system.slice/cpu.stat", "throttled_usec 9\n"),
        ]);
        assert_eq!(files.throttled_ns(), Some(9_000));
    }

    #[test]
    fn version_one_is_read_as_well() {
        let (_root, files) = host(&[
            ("proc/self/cgroup", "4:memory:/x\n1:cpu,cpuacct:/agent\n"),
            ("sys/fs/cgroup/cpu,cpuacct/agent/cpu.stat", "nr_throttled 3\nthrottled_time 1234\n"),
        ]);
        assert_eq!(files.throttled_ns(), Some(1234));
    }

    #[test]
    fn without_a_quota_nothing_is_claimed() {
        let (_root, files) = host(&[("proc/self/cgroup", "0::/\n")]);
        assert_eq!(files.throttled_ns(), None);
    }
}
