//! An archive that the kernel unpacks as its first file system: the format `newc`, as in the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};

/// The mode of a folder, and the permissions of everything.
const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
/// The name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    /// Paths that are in it.
    known: BTreeSet<PathBuf>,
    entries: u32,
}

impl Archive {
    /// Adds a file and the folders above it; one that is there already stays as it is.
    pub(crate) fn add(&mut self, path: &str, content: &[u8]) -> Result<()> {
        let path = path.trim_start_matches('/');
        self.add_folders(Path::new(path))?;
        if self.known.insert(path.into()) {
            self.entry(path, FILE, content)?;
        }
        Ok(())
    }

    /// Adds a file of this machine.
    pub(crate) fn add_copy(&mut self, path: &str, from: &Path) -> Result<()> {
        let content = std::fs::read(from).with_context(|| from.display().to_string())?;
        self.add(path, &content)
    }

    /// The whole of it.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.entry(TRAILER, 0, &[])?;
        Ok(self.bytes)
    }

    fn add_folders(&mut self, path: &Path) -> Result<()> {
        let mut folder = PathBuf::new();
        let above = path.parent().into_iter().flat_map(Path::components);
        for name in above.filter(|component| matches!(component, Component::Normal(_))) {
            folder.push(name);
            if self.known.insert(folder.clone()) {
                self.entry(&folder.to_string_lossy(), FOLDER, &[])?;
            }
        }
        Ok(())
    }

    /// A header of 13 figures, the name, the content; name and content end at a multiple of 4.
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.entries += 1;
        let length = u32::try_from(content.len()).context(name.to_owned())?;
        let name_length = u32::try_from(name.len() + 1)?;
        let figures = [self.entries, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name_length, 0];
        self.bytes.extend(b"070701");
        figures.iter().for_each(|figure| self.bytes.extend(format!("{figure:08x}").bytes()));
        self.bytes.extend(name.bytes().chain([0]));
        self.pad();
        self.bytes.extend(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_what_the_format_says() {
        let mut archive = Archive::default();
        archive.add("/a/b", b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        let header = |at: usize| String::from_utf8_lossy(&bytes[at..at + 110]).into_owned();
        assert!(header(0).starts_with("07070100000001000041ed"), "{}", header(0));
        assert_eq!(&bytes[110..112], b"a\0");
        let second = 112;
        assert_eq!(&header(second)[54..62], "00000005");
        assert_eq!(&bytes[second + 110..second + 114], b"a/b\0");
        assert_eq!(&bytes[second + 116..second + 121], b"hello");
        assert_eq!(bytes.len() % 4, 0);
    }
}
