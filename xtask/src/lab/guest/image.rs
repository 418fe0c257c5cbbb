//! What a guest boots from: an archive with the first process, the agent, modules and the programs of faults.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Release;
use super::cpio::Archive;
use super::kernel::Kernel;
use crate::sh;

/// The first process, which also obeys.
const INIT: &str = "/init";

/// A kernel and what all of its guests have in common.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Which line it is of.
    pub(crate) release: Release,
    /// The kernel.
    pub(crate) vmlinuz: PathBuf,
    archive: Archive,
}

impl Image {
    /// Makes it: `agent` and `first` are linked statically.
    pub(crate) fn make(release: Release, agent: &Path, first: &Path) -> Result<Self> {
        let Kernel { vmlinuz, modules } = release.fetch()?;
        let mut archive = Archive::default();
        archive.add(INIT, &stripped(first)?)?;
        archive.add("/lab/lacuna", &stripped(agent)?)?;
        archive.add_copy("/bin/busybox", &found("busybox")?)?;
        for (number, module) in modules.iter().enumerate() {
            let name = module.file_name().unwrap_or_default().to_string_lossy();
            archive.add_copy(&format!("/lab/modules/{number:02}-{name}"), module)?;
        }
        add_program(&mut archive, "/sbin/tc", &found("tc")?)?;
        Ok(Self { release, vmlinuz, archive })
    }

    /// The archive of one guest, with the configuration of its agent; with `stress-ng`, whose libraries take memory,
    /// where it is needed.
    pub(crate) fn of_guest(&self, config: &str, stress: bool) -> Result<Vec<u8>> {
        let mut archive = self.archive.clone();
        if stress {
            add_program(&mut archive, "/usr/bin/stress-ng", &found("stress-ng")?)?;
        }
        archive.add("/lab/lacuna.toml", config.as_bytes())?;
        archive.finish()
    }

    /// The same with one more program, which is linked statically, at the path `there`.
    pub(crate) fn with_program(&self, there: &str, program: &Path) -> Result<Self> {
        let mut image = self.clone();
        image.archive.add(there, &stripped(program)?)?;
        Ok(image)
    }
}

/// A program without what only debuggers read: guests have little memory.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let to = crate::target().join(format!("stripped.{}", std::process::id()));
    sh::output(sh::command(&["strip", "-o"]).arg(&to).arg(program), "")?;
    let content = std::fs::read(&to).with_context(|| to.display().to_string());
    std::fs::remove_file(&to)?;
    content
}

/// A program in the search path.
fn found(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/sbin".into(), "/usr/sbin".into(), "/usr/bin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not installed"))
}

/// Adds a program with the libraries that it is linked with, each at the place where it is here.
fn add_program(archive: &mut Archive, there: &str, program: &Path) -> Result<()> {
    archive.add_copy(there, program)?;
    let libraries = sh::output(sh::command(&["ldd"]).arg(program), "")?;
    for library in libraries.lines().filter_map(library) {
        archive.add_copy(library, Path::new(library))?;
    }
    Ok(())
}

/// The path in a line of `ldd`: `name => path (address)` or `path (address)`.
fn library(line: &str) -> Option<&str> {
    let path = line.rsplit("=> ").next()?.split_whitespace().next()?;
    path.starts_with('/').then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_with_a_path() {
        let cases = [
            ("\tlinux-vdso.so.1 (0x00007ffd)", None),
            ("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x0000)", Some("/lib/x86_64-linux-gnu/libc.so.6")),
            ("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)", Some("/lib64/ld-linux-x86-64.so.2")),
        ];
        for (line, path) in cases {
            assert_eq!(library(line), path);
        }
    }
}
