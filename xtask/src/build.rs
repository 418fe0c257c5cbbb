//! `cargo xtask build`: the probes, then the agent with the probes inside.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::packages::{self, Need, PROBE_PACKAGES};
use crate::process;

/// Arguments of `cargo xtask build`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Link statically, for minimal guests.
    #[arg(long = "static")]
    pub(crate) statically: bool,
}

/// The package with the first process of the lab's guests.
const GUEST: &str = "lacuna-lab-guest";
/// What the probes are compiled for. The agent's build.rs knows the folder as well.
const TARGET: &str = "bpfel-unknown-none";
/// The profile in Cargo.toml, and the folder below the target's.
const PROFILE: &str = "probes";
/// Debian's compiler, beside rustup's.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Builds; the last line on stdout is the path of the binary.
pub(crate) fn run(args: &Args) -> Result<()> {
    packages::ensure(&[Need::Build])?;
    println!("{}", agent(args.statically)?.display());
    Ok(())
}

/// Builds the probes; the folder with their objects.
///
/// # Errors
/// Where neither Debian's compiler nor a nightly with its source is there; the message names what is missing.
pub(crate) fn probes() -> Result<PathBuf> {
    let Some(linker) = packages::linker() else {
        bail!("bpf-linker is missing: run `cargo xtask build` as root, it installs what is missing");
    };
    let way = Way::find()?;
    eprintln!("Building the probes with {}", way.name());
    let target_dir = root().join("target").join("probes");
    let mut cargo = way.cargo();
    cargo
        .current_dir(root())
        .args(["--package", "lacuna-probes", "--profile", PROFILE])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        .env("RUSTFLAGS", "-C debuginfo=2 -C link-arg=--btf")
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    process::run(&mut cargo)?;
    Ok(target_dir.join(TARGET).join(PROFILE))
}

/// Builds probes and agent; the path of the binary.
///
/// # Errors
/// Where one of them cannot be built.
pub(crate) fn agent(statically: bool) -> Result<PathBuf> {
    let probes = probes()?;
    let target_dir = root().join("target");
    let mut cargo = cargo();
    cargo
        .current_dir(root())
        .args(["build", "--release", "--package", "lacuna", "--target-dir"])
        .arg(&target_dir)
        .env("LACUNA_PROBES", probes);
    if !statically {
        process::run(&mut cargo)?;
        return binary(target_dir.join("release"), "lacuna");
    }
    link_statically(cargo, &target_dir, "lacuna")
}

/// Builds the stand-ins for many peers (`agent/examples/mesh_peers.rs`); the path of the program.
///
/// # Errors
/// Where they cannot be built.
pub(crate) fn stand_ins() -> Result<PathBuf> {
    example("mesh_peers")
}

/// Builds what makes a store with many incidents (`agent/examples/many_incidents.rs`); the path of the program.
///
/// # Errors
/// Where it cannot be built.
pub(crate) fn many_incidents() -> Result<PathBuf> {
    example("many_incidents")
}

fn example(name: &str) -> Result<PathBuf> {
    let target_dir = root().join("target");
    let mut cargo = cargo();
    // With the same probes as the agent, or each would undo the build of the other.
    cargo.current_dir(root()).env("LACUNA_PROBES", probes()?);
    cargo.args(["build", "--release", "--package", "lacuna", "--example", name, "--target-dir"]).arg(&target_dir);
    process::run(&mut cargo)?;
    binary(target_dir.join("release").join("examples"), name)
}

/// Builds the first process of the lab's guests, statically; the path of the binary.
///
/// # Errors
/// Where it cannot be built.
pub(crate) fn first_process() -> Result<PathBuf> {
    let target_dir = root().join("target");
    let mut cargo = cargo();
    cargo.current_dir(root()).args(["build", "--release", "--package", GUEST, "--target-dir"]).arg(&target_dir);
    link_statically(cargo, &target_dir, GUEST)
}

/// Builds the tests of the probes with the probes inside, statically; the path of the program.
///
/// # Errors
/// Where they cannot be built.
pub(crate) fn probe_tests() -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.current_dir(root()).env("LACUNA_PROBES", probes()?).env("RUSTFLAGS", static_flags());
    cargo.args(["test", "--release", "--no-run", "--package", "lacuna", "--test", "probes"]);
    cargo.args(["--message-format", "json", "--target", &host_target(), "--target-dir"]).arg(root().join("target"));
    let messages = crate::sh::output(&mut cargo, "")?;
    let mut program = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    program.next_back().context("cargo did not say where it left the tests of the probes")
}

/// With the target named, build scripts and procedural macros are not linked statically, which they could not be.
fn link_statically(mut cargo: Command, target_dir: &Path, name: &str) -> Result<PathBuf> {
    let target = host_target();
    cargo.args(["--target", &target]).env("RUSTFLAGS", static_flags());
    process::run(&mut cargo)?;
    binary(target_dir.join(target).join("release"), name)
}

fn host_target() -> String {
    format!("{}-unknown-linux-gnu", env::consts::ARCH)
}

fn static_flags() -> OsString {
    let mut flags = env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.push(" -C target-feature=+crt-static");
    flags
}

fn binary(folder: PathBuf, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    ensure!(path.is_file(), "cargo did not leave {}", path.display());
    Ok(path)
}

/// A way to compile for BPF on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Debian's compiler, which has `core` for BPF prebuilt.
    Debian,
    /// A nightly of rustup, which builds `core` from its source.
    Nightly,
}

impl Way {
    fn find() -> Result<Self> {
        match Self::choose(debian_has_core(), nightly_has_source()) {
            Some(way) => Ok(way),
            None => bail!(
                "no compiler for BPF here. Either, on Debian 12 or later: apt-get install {}. Or: rustup toolchain \
                 install nightly --component rust-src",
                PROBE_PACKAGES.join(" ")
            ),
        }
    }

    fn choose(debian_has_core: bool, nightly_has_source: bool) -> Option<Self> {
        match (debian_has_core, nightly_has_source) {
            (true, _) => Some(Self::Debian),
            (false, true) => Some(Self::Nightly),
            (false, false) => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Debian => "Debian's compiler (/usr/bin/rustc, package rustc-web)",
            Self::Nightly => "rustup's nightly (-Z build-std=core)",
        }
    }

    /// `cargo build`, so that it uses that compiler.
    fn cargo(self) -> Command {
        match self {
            Self::Debian => {
                let mut cargo = cargo();
                // aya-ebpf uses an unstable feature (asm_experimental_arch).
                cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
                cargo.arg("build");
                cargo
            }
            Self::Nightly => {
                let mut rustup = Command::new("rustup");
                rustup.args(["run", "nightly", "cargo", "build", "-Z", "build-std=core"]);
                rustup.env_remove("RUSTC").env_remove("CARGO");
                rustup
            }
        }
    }
}

/// Whether `/usr/bin/rustc` is there with `core` for BPF.
fn debian_has_core() -> bool {
    Path::new(DEBIAN_RUSTC).exists() && Path::new("/usr/lib/rustlib").join(TARGET).is_dir()
}

/// Whether rustup has a nightly with the component `rust-src`.
pub(crate) fn nightly_has_source() -> bool {
    let answer = Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]).output();
    let Ok(answer) = answer else { return false };
    let sysroot = String::from_utf8_lossy(&answer.stdout);
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
    answer.status.success() && core.is_dir()
}

/// The cargo that runs this, or the one in the search path.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The top folder of the workspace.
fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_is_preferred_and_nothing_is_an_error() {
        assert_eq!(Way::choose(true, true), Some(Way::Debian));
        assert_eq!(Way::choose(false, true), Some(Way::Nightly));
        assert_eq!(Way::choose(false, false), None);
    }
}
