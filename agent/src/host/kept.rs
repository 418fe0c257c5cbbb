//! A file that is read many times a second: it is opened once, and its room is used again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// Room that is added to read more; `/proc/stat` of a few CPUs fits.
const CHUNK: usize = 4096;
/// Most bytes that are kept of a file: `/proc/stat` has some 100 for a CPU, and a number for each of its interrupts.
const MOST: usize = 1 << 20;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    file: Option<File>,
    room: Vec<u8>,
}

impl Kept {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, room: Vec::new() }
    }

    /// What it says now, up to 1 MiB; absent where it cannot be read. One that could not be read is opened anew with the next
    /// call: a control group may have been removed and made again.
    pub(super) fn read(&mut self) -> Option<&str> {
        let length = self.fill().ok()?;
        std::str::from_utf8(self.room.get(..length)?).ok()
    }

    /// Reads from its begin to its end; how many bytes that were. Files of `proc(5)` may give less than there is room for
    /// before their end.
    fn fill(&mut self) -> io::Result<usize> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path)?,
        };
        let mut length = 0;
        while length < MOST {
            if self.room.len() - length < CHUNK {
                self.room.resize(self.room.len() + CHUNK, 0);
            }
            match file.read_at(&mut self.room[length..], length as u64)? {
                0 => break,
                read => length += read,
            }
        }
        self.file = Some(file);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_a_file_says_by_now_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counter");
        let mut kept = Kept::new(path.clone());
        assert_eq!(kept.read(), None, "it is not there yet");
        for text in ["1\n", "a longer one\n", "2\n", ""] {
            fs::write(&path, text).unwrap();
            assert_eq!(kept.read(), Some(text));
        }
    }

    #[test]
    fn a_long_file_is_read_whole_and_an_endless_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        let text: String = (0..20_000).map(|number| format!("cpu{number} 1 2 3\n")).collect();
        fs::write(&path, &text).unwrap();
        assert_eq!(Kept::new(path).read(), Some(text.as_str()));
        let mut endless = Kept::new("/dev/zero".into());
        assert!(endless.read().is_some_and(|text| (MOST..MOST + 2 * CHUNK).contains(&text.len())));
    }

    #[test]
    fn files_of_the_kernel_are_read_again_and_again() {
        let mut stat = Kept::new("/proc/stat".into());
        for _ in 0..3 {
            let own = stat.read().map(|text| text.lines().count());
            assert!(own.is_some_and(|lines| lines > 5), "{own:?}");
        }
    }
}
