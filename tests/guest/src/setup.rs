//! What a distribution would have done: file systems, modules, the network.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};

/// Source, target, type.
const MOUNTS: [(&str, &str, &str); 9] = [
    ("proc", "/proc", "proc"),
    ("sysfs", "/sys", "sysfs"),
    ("devtmpfs", "/dev", "devtmpfs"),
    ("tmpfs", "/run", "tmpfs"),
    ("tmpfs", "/tmp", "tmpfs"),
    ("cgroup2", "/sys/fs/cgroup", "cgroup2"),
    ("bpf", "/sys/fs/bpf", "bpf"),
    ("debugfs", "/sys/kernel/debug", "debugfs"),
    ("tracefs", "/sys/kernel/tracing", "tracefs"),
];
/// The modules of the image, in the order in which they depend on each other.
const MODULES: &str = "/lab/modules";
/// The network card.
const LINK: &str = "eth0";

/// Everything, in the order in which it depends on each other.
pub(crate) fn all() -> Result<()> {
    for (source, target, kind) in MOUNTS {
        std::fs::create_dir_all(target).context(target)?;
        mount(Some(source), target, Some(kind), MsFlags::empty(), None::<&str>).context(target)?;
    }
    // Root reads the addresses of the kernel's functions, and its log.
    std::fs::write("/proc/sys/kernel/kptr_restrict", "0")?;
    load_modules()?;
    network()
}

fn load_modules() -> Result<()> {
    let mut paths: Vec<_> = std::fs::read_dir(MODULES)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    paths.iter().try_for_each(|path| load(path))
}

fn load(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    finit_module(&file, c"", ModuleInitFlags::empty()).with_context(|| path.display().to_string())
}

/// The addresses come with the kernel's command line: `lab.address=10.77.0.11/24 lab.gateway=10.77.0.1`.
fn network() -> Result<()> {
    let line = std::fs::read_to_string("/proc/cmdline")?;
    let host = parameter(&line, "lab.host").context("no lab.host= on the command line")?;
    nix::unistd::sethostname(host)?;
    let address = parameter(&line, "lab.address").context("no lab.address= on the command line")?;
    let gateway = parameter(&line, "lab.gateway").context("no lab.gateway= on the command line")?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&["address", "add", address, "dev", LINK])?;
    ip(&["link", "set", LINK, "up"])?;
    ip(&["route", "add", "default", "via", gateway])
}

/// The value of `name=value`.
fn parameter<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn ip(words: &[&str]) -> Result<()> {
    let done = Command::new("/bin/busybox").arg("ip").args(words).output().context("busybox")?;
    ensure!(done.status.success(), "ip {}: {}", words.join(" "), String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_by_its_whole_name() {
        let line = "console=ttyS0 lab.hosts=x lab.host=db1 quiet\n";
        assert_eq!(parameter(line, "lab.host"), Some("db1"));
        assert_eq!(parameter(line, "lab.address"), None);
    }
}
