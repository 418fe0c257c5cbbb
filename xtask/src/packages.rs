//! What the build and the tests need from Debian, and how it is installed.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::geteuid;

use crate::process;

/// What a command needs on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To build the probes and the agent.
    Build,
    /// To run the lab on network namespaces.
    Lab,
    /// To run the lab on virtual machines.
    Guests,
    /// To measure against others.
    Bench,
    /// To run others beside Lacuna in the lab.
    Compare,
    /// To run dashboards' queries and alerts, and to check them.
    Watch,
    /// To look at the page as a browser shows it.
    Browser,
    /// To run a collector of traces.
    Collector,
}

/// Decides whether packages may start their services (Debian's invoke-rc.d and systemd's helper ask it).
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Says that they may not.
const NO_SERVICES: &str = "#!/bin/sh\n# Of `cargo xtask`, while it installs packages.\nexit 101\n";

/// The version of the linker that is known to build the probes, with the LLVM of [`PROBE_PACKAGES`].
const BPF_LINKER: &str = "0.13.0";

/// Where `llvm-22-dev` puts LLVM.
const LLVM: &str = "/usr/lib/llvm-22";

/// A compiler with `core` for BPF, and the LLVM that the linker is built with.
pub(crate) const PROBE_PACKAGES: [&str; 4] = ["rustc-web", "libstd-rust-web-dev-bpf", "llvm-22-dev", "libpolly-22-dev"];

impl Need {
    fn packages(self) -> &'static [&'static str] {
        match self {
            // libFuzzer is C++.
            Self::Build => &["g++", "gcc", "libc6-dev"],
            Self::Lab => &["iproute2", "nftables", "iputils-ping", "keepalived", "nginx", "curl", "iperf3"],
            // The emulator; what is copied into guests; what their kernels' modules are unpacked and built with.
            Self::Guests => &[
                "binutils",
                "busybox-static",
                "gcc-12",
                "iproute2",
                "libelf1",
                "make",
                "qemu-system-x86",
                "stress-ng",
                "xz-utils",
            ],
            Self::Bench => &["bird2", "iproute2", "nftables"],
            Self::Compare => &["bird2", "corosync", "keepalived"],
            Self::Watch => &["prometheus", "prometheus-alertmanager"],
            Self::Browser => &["chromium", "fonts-dejavu-core"],
            // The collector comes as a package of Python, and needs its library, whatever its version.
            Self::Collector => &["libpython3-dev", "python3-venv"],
        }
    }

    /// Programs that may come in several ways, and the package where they are not there.
    fn programs(self) -> &'static [(&'static str, &'static str)] {
        if self == Self::Watch { &[("npm", "npm")] } else { &[] }
    }
}

/// Installs what is missing for `needs`, after it has listed it. Without network access where nothing is missing.
///
/// # Errors
/// Where something is missing and cannot be installed; the message names it.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let builds = needs.contains(&Need::Build);
    let mut wanted: Vec<&str> = needs.iter().flat_map(|need| need.packages()).copied().collect();
    let programs = needs.iter().flat_map(|need| need.programs()).filter(|(program, _)| in_path(program).is_none());
    wanted.extend(programs.map(|(_, package)| *package));
    // Where rustup can build the probes by itself, its linker brings its own LLVM.
    let debian = builds && !crate::build::nightly_has_source();
    if debian {
        wanted.extend(PROBE_PACKAGES);
    }
    wanted.sort_unstable();
    wanted.dedup();
    let missing: Vec<&str> = wanted.into_iter().filter(|name| !installed(name)).collect();
    let linker_missing = builds && linker().is_none();
    announce(&missing, linker_missing);
    install(&missing)?;
    if linker_missing {
        install_linker(debian)?;
    }
    Ok(())
}

fn announce(missing: &[&str], linker_missing: bool) {
    if missing.is_empty() && !linker_missing {
        return;
    }
    eprintln!("Missing on this machine, and installed now:");
    for name in missing {
        eprintln!("  {name} (Debian package)");
    }
    if linker_missing {
        eprintln!("  bpf-linker {BPF_LINKER} (cargo install)");
    }
}

/// Whether dpkg has the package, unpacked and configured.
fn installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .output()
        .is_ok_and(|answer| answer.stdout == b"installed")
}

fn install(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    ensure!(
        Path::new("/usr/bin/apt-get").exists(),
        "missing: {names}. These are Debian packages and there is no apt-get here: install their equivalents"
    );
    ensure!(geteuid().is_root(), "missing: {names}. Run this as root, or first: apt-get install {names}");
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    process::run(apt().arg("update"))?;
    let _none_starts = NoServices::set()?;
    process::run(apt().args(["install", "--yes", "--no-install-recommends"]).args(missing))
        .with_context(|| format!("could not install {names}"))
}

/// As long as it lives, packages that are installed start no services: the lab starts its own, in its own namespaces.
struct NoServices {
    /// Where there was no policy before.
    ours: bool,
}

impl NoServices {
    fn set() -> Result<Self> {
        let there = std::fs::read_to_string(POLICY);
        // One of ours may be left of a run that was killed.
        let ours = !there.as_deref().is_ok_and(|text| text != NO_SERVICES);
        if there.is_err() {
            let mut file = File::options().write(true).create_new(true).mode(0o755).open(POLICY).context(POLICY)?;
            file.write_all(NO_SERVICES.as_bytes()).context(POLICY)?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours && std::fs::remove_file(POLICY).is_err() {
            eprintln!("warning: cannot remove {POLICY}, which keeps packages from starting their services");
        }
    }
}

/// `bpf-linker`, in the search path or where cargo installs.
pub(crate) fn linker() -> Option<PathBuf> {
    in_path("bpf-linker").or_else(|| cargo_bin().map(|folder| folder.join("bpf-linker")).filter(|path| path.is_file()))
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

fn cargo_bin() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    Some(home.join("bin"))
}

fn install_linker(with_debian_llvm: bool) -> Result<()> {
    let mut cargo = crate::build::cargo();
    cargo.args(["install", "bpf-linker", "--version", BPF_LINKER]);
    if with_debian_llvm {
        // Without its tools first in the path the build finds Debian's default LLVM, which is too old.
        let path = std::env::var("PATH").unwrap_or_default();
        cargo
            .args(["--no-default-features", "--features", "llvm-22"])
            .env("PATH", format!("{LLVM}/bin:{path}"))
            .env("LLVM_PREFIX", LLVM);
    }
    process::run(&mut cargo).context("could not install bpf-linker")?;
    if linker().is_none() {
        bail!("bpf-linker was installed, but not into the search path: add ~/.cargo/bin to PATH");
    }
    Ok(())
}
