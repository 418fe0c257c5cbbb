//! One file of all that the ring holds.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use std::{fs, io};

use lacuna_core::recording::{MAGIC, intact};

use super::Job;
use super::ring::{KEPT, files_in};

/// How long the thread may take to write what waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the recorder's thread; any number of these may.
#[derive(Clone, Debug)]
pub struct Exporter {
    jobs: SyncSender<Job>,
}

/// Why there is nothing to export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The thread does not answer.
    #[error("the recorder does not answer within {PATIENCE:?}: the disk may be too slow")]
    Silent,
    /// A file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Exporter {
    pub(super) fn new(jobs: SyncSender<Job>) -> Self {
        Self { jobs }
    }

    /// A recording of all that is on the disk. The second before may still be in memory.
    ///
    /// # Errors
    /// [`ExportError`]
    pub fn export(&self) -> Result<Exported, ExportError> {
        let (answer, files) = sync_channel(1);
        self.jobs.try_send(Job::List(answer)).map_err(|_| ExportError::Silent)?;
        join(&files.recv_timeout(PATIENCE).map_err(|_| ExportError::Silent)?)
    }
}

/// A recording, and what could not become part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The recording.
    pub bytes: Vec<u8>,
    /// Files that were read only up to a damage, and from which byte on nothing of them is there.
    pub damaged: Vec<(PathBuf, usize)>,
}

impl Exported {
    /// Where the damages are, in words.
    pub fn places_of_damage(&self) -> impl Iterator<Item = String> {
        self.damaged.iter().map(|(path, at)| format!("{} from byte {at} on", path.display()))
    }
}

/// The recording that an agent which does not run has left in that folder.
///
/// # Errors
/// [`ExportError`]
pub fn export(folder: &Path) -> Result<Exported, ExportError> {
    let error = |error| ExportError::File { path: folder.to_owned(), error };
    join(&files_in(folder).map_err(error)?)
}

pub(super) fn join(files: &[PathBuf]) -> Result<Exported, ExportError> {
    let mut exported = Exported { bytes: MAGIC.to_vec(), damaged: Vec::new() };
    for path in files {
        let Some(bytes) = read(path).map_err(|error| ExportError::File { path: path.clone(), error })? else {
            continue;
        };
        let whole = intact(&bytes);
        exported.bytes.extend(bytes.get(MAGIC.len()..whole).unwrap_or_default());
        if whole < bytes.len() {
            exported.damaged.push((path.clone(), whole));
        }
    }
    Ok(exported)
}

/// The file, also where it was renamed since it was listed, as an incident keeps it; absent where the ring has gone on and it was
/// the oldest.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    for path in [path, &path.with_extension(KEPT)] {
        match fs::read(path) {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
