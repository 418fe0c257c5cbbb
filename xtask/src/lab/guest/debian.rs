//! Packages of Debian that are unpacked into the cache and never installed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::sh;

/// Where kernels, modules and the like are kept between runs.
fn cache() -> PathBuf {
    crate::target().join("lab-cache")
}

/// The folder of that name in the cache; `fill` makes it where it is missing. What is half made is never seen.
pub(crate) fn cached(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = cache().join(name);
    if folder.exists() {
        return Ok(folder);
    }
    eprintln!("making {} for the guests (once)", folder.display());
    let making = cache().join(format!("{name}.{}", std::process::id()));
    if making.exists() {
        std::fs::remove_dir_all(&making)?;
    }
    std::fs::create_dir_all(&making).with_context(|| making.display().to_string())?;
    let filled = fill(&making).and_then(|()| match std::fs::rename(&making, &folder) {
        Err(error) if !folder.exists() => Err(error).with_context(|| folder.display().to_string()),
        // Or another runner was faster.
        _ => Ok(()),
    });
    if making.exists() {
        std::fs::remove_dir_all(&making)?;
    }
    filled.with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The folder in the cache whose name begins and ends so, of several the one that was made last; none where there is none.
pub(crate) fn newest_cached(begins: &str, ends: &str) -> Result<Option<String>> {
    let Ok(entries) = std::fs::read_dir(cache()) else { return Ok(None) };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // What is being made has the number of a process at the end.
        if name.starts_with(begins) && name.ends_with(ends) {
            found.push((entry.metadata()?.modified()?, name));
        }
    }
    Ok(found.into_iter().max().map(|(_, name)| name))
}

/// The first package that `package` depends on and whose name begins so: what a meta package stands for.
pub(crate) fn dependency(package: &str, begins: &str) -> Result<String> {
    let ask = || sh::output(&mut sh::command(&["apt-cache", "depends", "--important", package]), "");
    let found = ask().ok().and_then(|answer| depends(&answer, begins));
    if let Some(found) = found {
        return Ok(found);
    }
    // The lists of packages may be old or missing.
    sh::output(&mut sh::command(&["apt-get", "update"]), "")?;
    depends(&ask()?, begins).with_context(|| format!("{package} depends on no package {begins}…"))
}

fn depends(answer: &str, begins: &str) -> Option<String> {
    let names = answer.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.map(str::trim).find(|name| name.starts_with(begins)).map(str::to_owned)
}

/// Downloads packages and unpacks them into `folder`.
pub(crate) fn unpack(packages: &[&str], folder: &Path) -> Result<()> {
    let downloads = folder.join("downloads");
    std::fs::create_dir_all(&downloads)?;
    let mut download = sh::command(&["apt-get", "download", "--quiet"]);
    sh::output(download.args(packages).current_dir(&downloads), "")?;
    let archives: Vec<_> = std::fs::read_dir(&downloads)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    ensure!(archives.len() == packages.len(), "{} of {} packages came", archives.len(), packages.len());
    for archive in archives {
        let mut unpack = sh::command(&["dpkg-deb", "--extract"]);
        sh::output(unpack.arg(&archive).arg(folder), "")?;
    }
    std::fs::remove_dir_all(&downloads)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_package_names_the_real_one() {
        let answer = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(depends(answer, "linux-image-6.1.").as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(depends(answer, "linux-image-6.12."), None);
    }
}
