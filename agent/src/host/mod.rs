//! What this host's kernel says in files. Every reader takes a root path, so that tests can bring files of their own.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use lacuna_core::incident::HostFacts;

use kept::Kept;

pub mod blocked;
pub mod cgroup;
mod code;
pub mod interrupts;
pub mod kallsyms;
mod kept;
pub mod kmsg;
pub mod landing;
pub mod mtu;
pub mod pressure;
pub mod snmp;
pub mod softnet;
pub mod stat;
pub mod task;
pub mod threads;
pub mod topology;

/// Most entries of a folder that are looked at: `/proc` has one for each process, and `pid_max` is 32768 by default.
const MAX_ENTRIES: usize = 32_768;

/// The files of a host, below a root path.
#[derive(Clone, Debug)]
pub struct HostFiles {
    root: PathBuf,
}

impl Default for HostFiles {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

impl HostFiles {
    /// Reads below `root` instead of `/`.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The content of a file; absent where it cannot be read.
    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// A file that is read again and again.
    fn kept(&self, path: impl AsRef<Path>) -> Kept {
        Kept::new(self.root.join(path))
    }

    /// Whether there is such a file.
    fn has(&self, path: impl AsRef<Path>) -> bool {
        self.root.join(path).exists()
    }

    /// The names in a folder; none where it cannot be read. At most [`MAX_ENTRIES`].
    fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(path)).into_iter().flatten().flatten();
        entries.take(MAX_ENTRIES).filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn line(&self, path: &str) -> String {
        self.read(path).map(|text| text.trim().to_owned()).unwrap_or_default()
    }

    /// The id of this boot (`random(4)`).
    #[must_use]
    pub fn boot_id(&self) -> Option<[u8; 16]> {
        let text = self.read("proc/sys/kernel/random/boot_id")?;
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        let value = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)?;
        Some(value.to_be_bytes())
    }

    /// What an incident says of the host.
    #[must_use]
    pub fn facts(&self) -> HostFacts {
        HostFacts {
            kernel: self.line("proc/sys/kernel/osrelease"),
            command_line: self.line("proc/cmdline"),
            clock_source: self.line("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The gateway of the default route with the lowest metric (`/proc/net/route`); IPv4 only.
    #[must_use]
    pub fn default_gateway(&self) -> Option<Ipv4Addr> {
        parse_gateway(&self.read("proc/net/route")?)
    }
}

/// Destination and mask zero, flag RTF_GATEWAY (2); addresses are hexadecimal in the host's byte order.
fn parse_gateway(routes: &str) -> Option<Ipv4Addr> {
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let flags = u32::from_str_radix(fields.get(3)?, 16).ok()?;
        let is_default = fields.get(1)? == &"00000000" && fields.get(7)? == &"00000000" && flags & 2 != 0;
        let gateway = u32::from_str_radix(fields.get(2)?, 16).ok().filter(|_| is_default)?;
        Some((fields.get(6)?.parse::<u32>().ok()?, Ipv4Addr::from(gateway.to_ne_bytes())))
    };
    routes.lines().filter_map(parse).min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

/// A host of files for tests.
#[cfg(test)]
fn fake(files: &[(&str, &str)]) -> (tempfile::TempDir, HostFiles) {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let files = HostFiles::below(root.path());
    (root, files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_id_of_this_host_is_read() {
        assert!(HostFiles::default().boot_id().is_some());
        assert_eq!(HostFiles::below(Path::new("/nowhere")).boot_id(), None);
    }

    #[test]
    fn the_best_default_route_counts() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
            eth0\t00000000\t0200000A\t0003\t0\t0\t200\t00000000\t0\t0\t0\n\
            eth1\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth1\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(parse_gateway(routes), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(parse_gateway("rubbish\n"), None);
    }
}
