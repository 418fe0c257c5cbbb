//! How long the agent's own control groups were throttled by their CPU quota.

use std::path::{Path, PathBuf};

use super::HostFiles;
use super::kept::Kept;

/// The agent's own control groups.
#[derive(Debug)]
pub struct OwnGroups {
    files: HostFiles,
    /// Which they are.
    own: Kept,
    /// What it said when `stats` was made.
    known: String,
    /// `cpu.stat` of each group that the agent is throttled with.
    stats: Vec<Kept>,
}

impl OwnGroups {
    /// Those of this process on the host with these files.
    #[must_use]
    pub fn new(files: HostFiles) -> Self {
        let own = files.kept("proc/self/cgroup");
        Self { files, own, known: String::new(), stats: Vec::new() }
    }

    /// Nanoseconds since the groups were made, the largest over the agent's groups and those above them; absent where
    /// no group tells. Version 2 counts in `throttled_usec`, version 1 in `throttled_time` (nanoseconds).
    pub fn throttled_ns(&mut self) -> Option<u64> {
        let now = self.own.read()?;
        if now != self.known {
            now.clone_into(&mut self.known);
            let paths = self.known.lines().flat_map(stat_paths);
            self.stats = paths.filter(|path| self.files.has(path)).map(|path| self.files.kept(path)).collect();
        }
        self.stats.iter_mut().filter_map(|stat| throttled_in(stat.read()?)).max()
    }
}

/// Where `cpu.stat` may be of the group in a line of `/proc/self/cgroup`, and of those above it, with any of which it is
/// throttled. A line is `number:controllers:path` (cgroups(7)).
fn stat_paths(line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let mounts: &[&str] = match controllers {
        "" => &["sys/fs/cgroup", "sys/fs/cgroup/unified"],
        list if list.split(',').any(|name| name == "cpu") => &["sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"],
        _ => return Vec::new(),
    };
    let groups = Path::new(path).ancestors().filter_map(|group| group.strip_prefix("/").ok());
    groups.flat_map(|group| mounts.iter().map(move |mount| Path::new(mount).join(group).join("cpu.stat"))).collect()
}

fn throttled_in(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| match line.split_once(' ')? {
        ("throttled_usec", value) => value.trim().parse::<u64>().ok()?.checked_mul(1000),
        ("throttled_time", value) => value.trim().parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    fn throttled_ns(root: &tempfile::TempDir) -> Option<u64> {
        OwnGroups::new(HostFiles::below(root.path())).throttled_ns()
    }

    #[test]
    fn version_two_counts_with_its_parents() {
        let (root, _) = fake(&[
            ("proc/self/cgroup", "0::/system.slice/lacuna.service\n"),
            ("sys/fs/cgroup/system.slice/lacuna.service/cpu.stat", "usage_usec 5\nthrottled_usec 7\n"),
            ("sys/fs/cgroup/system.slice/cpu.stat", "throttled_usec 9\n"),
        ]);
        assert_eq!(throttled_ns(&root), Some(9_000));
    }

    #[test]
    fn version_one_is_read_as_well() {
        let (root, _) = fake(&[
            ("proc/self/cgroup", "4:memory:/x\n1:cpu,cpuacct:/agent\n"),
            ("sys/fs/cgroup/cpu,cpuacct/agent/cpu.stat", "nr_throttled 3\nthrottled_time 1234\n"),
        ]);
        assert_eq!(throttled_ns(&root), Some(1234));
    }

    #[test]
    fn without_a_quota_nothing_is_claimed() {
        let (root, _) = fake(&[("proc/self/cgroup", "0::/\n")]);
        assert_eq!(throttled_ns(&root), None);
    }

    #[test]
    fn a_group_that_the_agent_is_moved_to_counts_from_then_on() {
        let (root, files) = fake(&[
            ("proc/self/cgroup", "1:cpu:/a\n"),
            ("sys/fs/cgroup/cpu/a/cpu.stat", "throttled_time 5\n"),
            ("sys/fs/cgroup/cpu/b/cpu.stat", "throttled_time 7\n"),
        ]);
        let mut groups = OwnGroups::new(files);
        assert_eq!(groups.throttled_ns(), Some(5));
        let write = |path: &str, text: &str| std::fs::write(root.path().join(path), text).unwrap();
        write("sys/fs/cgroup/cpu/a/cpu.stat", "throttled_time 6\n");
        assert_eq!(groups.throttled_ns(), Some(6));
        write("proc/self/cgroup", "1:cpu:/b\n");
        assert_eq!(groups.throttled_ns(), Some(7));
    }
}
