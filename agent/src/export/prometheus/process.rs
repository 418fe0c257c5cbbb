//! What this process costs, from `/proc`, as the Prometheus conventions have it.

use std::path::Path;
use std::str::FromStr;

use nix::unistd::{SysconfVar, sysconf};

/// The figures; one that could not be read is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// User and system time, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Resident memory, in bytes.
    pub resident_bytes: Option<f64>,
    /// Virtual memory, in bytes.
    pub virtual_bytes: Option<f64>,
    /// Open file descriptors.
    pub open_fds: Option<f64>,
    /// Most file descriptors; absent where there is no limit.
    pub max_fds: Option<f64>,
    /// Start of the process, in seconds since 1970.
    pub start_time_seconds: Option<f64>,
}

impl Process {
    /// Reads `proc/self` and `proc/stat` under `root`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let text = |name: &str| std::fs::read_to_string(root.join("proc").join(name)).ok();
        let stat = text("self/stat").unwrap_or_default();
        let ticks = |field| Some(stat_field::<f64>(&stat, field)? / config(SysconfVar::CLK_TCK)?);
        let boot = text("stat").and_then(|stat| value_after(&stat, "btime"));
        let limits = text("self/limits");
        Self {
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, system)| user + system),
            resident_bytes: stat_field::<f64>(&stat, 24)
                .zip(config(SysconfVar::PAGE_SIZE))
                .map(|(pages, size)| pages * size),
            virtual_bytes: stat_field(&stat, 23),
            open_fds: open_files(&root.join("proc/self/fd")),
            max_fds: limits.and_then(|limits| value_after(&limits, "Max open files")),
            start_time_seconds: boot.zip(ticks(22)).map(|(boot, since)| boot + since),
        }
    }
}

/// A field of `/proc/self/stat`, counted from 1 as proc(5) does. The name, field 2, may hold blanks and brackets.
fn stat_field<T: FromStr>(stat: &str, number: usize) -> Option<T> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split_whitespace();
    fields.nth(number.checked_sub(3)?)?.parse().ok()
}

fn value_after(text: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "descriptors and system constants are small")]
fn open_files(directory: &Path) -> Option<f64> {
    let entries = std::fs::read_dir(directory).ok()?;
    // One of them is the directory that is being read.
    Some(entries.count().saturating_sub(1) as f64)
}

#[expect(clippy::cast_precision_loss, reason = "descriptors and system constants are small")]
fn config(variable: SysconfVar) -> Option<f64> {
    sysconf(variable).ok().flatten().map(|value| value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_proc() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("proc/self");
        std::fs::create_dir_all(own.join("fd")).unwrap();
        for fd in ["0", "1", "2", "3"] {
            std::fs::write(own.join("fd").join(fd), "").unwrap();
        }
        let stat = "7 (a) b ( c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 1000 8192 3 18446744073709551615";
        std::fs::write(own.join("stat"), stat).unwrap();
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        std::fs::write(own.join("limits"), limits).unwrap();
        std::fs::write(root.path().join("proc/stat"), "cpu 1 2\nbtime 1700000000\n").unwrap();
        let expected = Process {
            cpu_seconds: Some(2.0),
            resident_bytes: Some(3.0 * 4096.0),
            virtual_bytes: Some(8192.0),
            open_fds: Some(3.0),
            max_fds: Some(1024.0),
            start_time_seconds: Some(1_700_000_010.0),
        };
        assert_eq!(Process::read(root.path()), expected);
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Process::read(root.path()), Process::default());
        let here = Process::read(Path::new("/"));
        assert!(here.resident_bytes.unwrap() > 1e5, "{here:?}");
        assert!(here.start_time_seconds.unwrap() > 1.7e9, "{here:?}");
    }
}
