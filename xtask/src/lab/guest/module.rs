//! The lab's own module, built against the headers of a guest's kernel.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::debian;
use crate::sh;

/// Its sources, below the root.
const SOURCES: &str = "tests/guest/module";
/// What is built.
const OBJECT: &str = "lab_stall.ko";
/// Debian's headers of all flavours of a version.
const COMMON: &str = "linux-headers-";

/// The module for the kernel of that version, such as `6.1.0-56-cloud-amd64`; built where it is not there yet.
pub(crate) fn built_for(version: &str) -> Result<PathBuf> {
    let name = format!("module-{version}-{:016x}", hash_of_sources()?);
    let folder = debian::cached(&name, |folder| build(version, folder))?;
    Ok(folder.join(OBJECT))
}

fn sources() -> Result<Vec<PathBuf>> {
    let folder = crate::root().join(SOURCES);
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn hash_of_sources() -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for path in sources()? {
        std::fs::read(&path)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn build(version: &str, folder: &Path) -> Result<()> {
    let headers = folder.join("headers");
    let own = format!("{COMMON}{version}");
    let common = debian::dependency(&own, COMMON)?;
    let tools = debian::dependency(&own, "linux-kbuild-")?;
    debian::unpack(&[&own, &common, &tools], &headers)?;
    let tree = headers.join("usr/src").join(&own);
    relocate(&tree.join("Makefile"), &headers)?;
    let build = folder.join("build");
    std::fs::create_dir(&build)?;
    for source in sources()? {
        std::fs::copy(&source, build.join(source.file_name().unwrap_or_default()))?;
    }
    let mut make = sh::command(&["make", "-C"]);
    make.arg(&tree).arg(format!("M={}", build.display()));
    // Types of the module for BPF would need a further program, and nobody reads them.
    sh::output(make.args(["CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]), "").context("the module of the lab")?;
    sh::output(sh::command(&["strip", "--strip-debug"]).arg(build.join(OBJECT)), "")?;
    std::fs::rename(build.join(OBJECT), folder.join(OBJECT))?;
    std::fs::remove_dir_all(&build)?;
    std::fs::remove_dir_all(&headers)?;
    Ok(())
}

/// The headers know each other by where they would be installed.
fn relocate(makefile: &Path, root: &Path) -> Result<()> {
    let text = std::fs::read_to_string(makefile).with_context(|| makefile.display().to_string())?;
    let text = text.replace("include /usr/src", &format!("include {}/usr/src", root.display()));
    std::fs::write(makefile, text).with_context(|| makefile.display().to_string())
}
