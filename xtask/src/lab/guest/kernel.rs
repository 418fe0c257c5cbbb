//! The kernels of the guests: Debian's for clouds, newest of each line, with the modules that a guest needs.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{debian, module};
use crate::sh;

/// What a guest may need, beside what those depend on. Where a kernel has one built in, there is no module of it.
const MODULES: [&str; 6] = ["virtio_pci", "virtio_net", "virtio_blk", "sch_netem", "sch_prio", "cls_u32"];
/// Modules that one module may need, deep down.
const MAX_MODULES: usize = 64;

/// How the names of packages with a kernel begin.
const IMAGE: &str = "linux-image-";

/// A line of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Release {
    /// Debian 12's own.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's, backported.
    #[value(name = "6.12")]
    V6_12,
}

/// The files of a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// The image to boot.
    pub(crate) vmlinuz: PathBuf,
    /// Modules, decompressed, in the order of loading.
    pub(crate) modules: Vec<PathBuf>,
}

impl Release {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    /// The meta package of its newest image, and how the name of that begins.
    fn meta(self) -> (&'static str, &'static str) {
        match self {
            Self::V6_1 => ("linux-image-cloud-amd64", "linux-image-6.1."),
            Self::V6_12 => ("linux-image-6.12-cloud-amd64", "linux-image-6.12."),
        }
    }

    /// Its files, fetched where they are not there yet.
    ///
    /// # Errors
    /// Where the packages cannot be had, or the module of the lab cannot be built.
    pub(crate) fn fetch(self) -> Result<Kernel> {
        let (meta, begins) = self.meta();
        // With other modules it is made anew.
        let with = format!("-{:016x}", hash_of_modules());
        let known = debian::newest_cached(&begins.replace(IMAGE, "kernel-"), &with)?;
        let version = match known {
            Some(name) => name.trim_start_matches("kernel-").trim_end_matches(&with).to_owned(),
            None => debian::dependency(meta, begins)?.trim_start_matches(IMAGE).to_owned(),
        };
        let package = format!("{IMAGE}{version}");
        let folder = debian::cached(&format!("kernel-{version}{with}"), |folder| fill(&package, &version, folder))?;
        let mut modules = files(&folder.join("modules"))?;
        modules.sort();
        modules.push(module::built_for(&version)?);
        Ok(Kernel { vmlinuz: folder.join("vmlinuz"), modules })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        })
    }
}

fn hash_of_modules() -> u64 {
    let mut hasher = DefaultHasher::new();
    MODULES.hash(&mut hasher);
    hasher.finish()
}

/// Unpacks the package and keeps the image and the modules that are needed.
fn fill(package: &str, version: &str, folder: &Path) -> Result<()> {
    let whole = folder.join("whole");
    debian::unpack(&[package], &whole)?;
    std::fs::rename(whole.join(format!("boot/vmlinuz-{version}")), folder.join("vmlinuz")).context("vmlinuz")?;
    let modules = folder.join("modules");
    std::fs::create_dir(&modules)?;
    let all = Modules::find(&whole.join("lib/modules").join(version))?;
    for (number, (name, content)) in all.in_order(&MODULES)?.into_iter().enumerate() {
        std::fs::write(modules.join(format!("{number:02}-{name}.ko")), content)?;
    }
    std::fs::remove_dir_all(&whole)?;
    Ok(())
}

/// The files of a tree of modules.
struct Modules(Vec<PathBuf>);

impl Modules {
    fn find(folder: &Path) -> Result<Self> {
        let mut find = sh::command(&["find"]);
        find.arg(folder).args(["-name", "*.ko*", "-type", "f"]);
        Ok(Self(sh::output(&mut find, "")?.lines().map(PathBuf::from).collect()))
    }

    /// Name and content of the wanted modules and of all that they need, those first. The package has no
    /// modules.dep, which is only made where it is installed; each module says what it needs.
    fn in_order(&self, wanted: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut ordered = Vec::new();
        let mut known = BTreeSet::new();
        for name in wanted {
            self.add(name, &mut known, &mut ordered)?;
        }
        Ok(ordered)
    }

    fn add(&self, name: &str, known: &mut BTreeSet<String>, ordered: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
        let Some(path) = self.0.iter().find(|path| name_of(path) == name) else {
            // Built in.
            return Ok(());
        };
        if !known.insert(name.to_owned()) {
            return Ok(());
        }
        ensure!(known.len() <= MAX_MODULES, "{name} needs too many modules");
        let content = decompressed(path)?;
        for needed in needs(&content) {
            self.add(&needed, known, ordered)?;
        }
        ordered.push((name.to_owned(), content));
        Ok(())
    }
}

/// The module's name, as modules call each other.
fn name_of(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    file.split('.').next().unwrap_or_default().replace('-', "_")
}

fn decompressed(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|ending| ending == "xz") {
        let done = sh::command(&["xz", "--decompress", "--stdout"]).arg(path).output().context("xz")?;
        ensure!(done.status.success(), "xz cannot read {}", path.display());
        return Ok(done.stdout);
    }
    std::fs::read(path).with_context(|| path.display().to_string())
}

/// What the module's own information says in `depends=`.
fn needs(module: &[u8]) -> Vec<String> {
    let mark = b"\0depends=";
    let Some(at) = module.windows(mark.len()).position(|window| window == mark) else {
        return Vec::new();
    };
    let list = module[at + mark.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let list = String::from_utf8_lossy(list);
    list.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_those_that_it_needs() {
        let folder = std::env::temp_dir().join(format!("xtask-modules-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, needs: &str| {
            std::fs::write(folder.join(name), format!("ELF\0license=GPL\0depends={needs}\0name=x\0")).unwrap();
        };
        write("virtio_net.ko", "net-failover,failover");
        write("net_failover.ko", "failover");
        write("failover.ko", "");
        let modules = Modules::find(&folder).unwrap();
        let ordered = modules.in_order(&["virtio_net", "built_in", "failover"]).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let names: Vec<_> = ordered.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["failover", "net_failover", "virtio_net"]);
    }
}
