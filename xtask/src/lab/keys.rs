//! The keys of a run, each made at random when it is first named, and the key files of its hosts.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// The key of all hosts, where the scenario says nothing else.
pub(crate) const CLUSTER: &str = "cluster";
/// Bytes of a key.
const LENGTH: usize = 32;

/// `keys` of a step: the host's key file has these keys from then on, and its agent is told (SIGHUP).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rekey {
    /// Whose.
    pub(crate) host: String,
    /// The names of the keys; the first signs.
    pub(crate) are: Vec<String>,
}

/// The key file of that host.
pub(crate) fn file(folder: &Path, host: &str) -> PathBuf {
    folder.join(format!("{host}.key"))
}

/// Puts these keys into the key file of that host, all at once.
pub(crate) fn give(folder: &Path, host: &str, names: &[impl AsRef<str>]) -> Result<()> {
    let mut text = String::new();
    for name in names {
        text += &format!("# {}\n{}\n", name.as_ref(), STANDARD.encode(named(folder, name.as_ref())?));
    }
    let path = file(folder, host);
    let new = path.with_extension("key-new");
    private(&new)?.write_all(text.as_bytes()).with_context(|| new.display().to_string())?;
    std::fs::rename(&new, &path).with_context(|| path.display().to_string())
}

/// The key that the host signs with.
pub(crate) fn signing(folder: &Path, host: &str) -> Result<[u8; LENGTH]> {
    let path = file(folder, host);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let line = text.lines().find(|line| !line.starts_with('#')).context("a key file without a key")?;
    STANDARD.decode(line)?.try_into().map_err(|_| anyhow!("{}: no key", path.display()))
}

/// The key of that name.
fn named(folder: &Path, name: &str) -> Result<[u8; LENGTH]> {
    let path = folder.join(format!("key-{name}"));
    let mut key = [0; LENGTH];
    if let Ok(mut known) = File::open(&path) {
        known.read_exact(&mut key).with_context(|| path.display().to_string())?;
        return Ok(key);
    }
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut key)).context("/dev/urandom")?;
    private(&path)?.write_all(&key).with_context(|| path.display().to_string())?;
    Ok(key)
}

/// A new file that nobody else may read.
fn private(path: &Path) -> Result<File> {
    let file = File::options().create(true).truncate(true).write(true).mode(0o600).open(path);
    file.with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_one_key_and_the_first_one_signs() {
        let folder = std::env::temp_dir().join(format!("xtask-keys-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        give(&folder, "a", &["old", "new"]).unwrap();
        give(&folder, "b", &["new", "old"]).unwrap();
        let (a, b) = (signing(&folder, "a").unwrap(), signing(&folder, "b").unwrap());
        give(&folder, "a", &["new"]).unwrap();
        let later = signing(&folder, "a").unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_ne!(a, b);
        assert_eq!(later, b);
    }
}
