//! Why the store cannot be used, and what to do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// What is wrong with the store. Unless it says otherwise, nothing in the store was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory is not there and could not be made.
    #[error("{}: cannot make the store's directory: {source}; set store.path to a directory that can be written", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no database.
    #[error("{}: there is no store; no agent has run with this store.path yet", path.display())]
    Missing {
        /// The database file.
        path: PathBuf,
    },
    /// The database or its file system can only be read.
    #[error("{}: the store is read-only; make it writable, or set store.path to another directory", path.display())]
    ReadOnly {
        /// The database file.
        path: PathBuf,
    },
    /// The database file cannot be opened.
    #[error("{}: cannot open the store ({reason}); check the owner and the mode of the directory", path.display())]
    CannotOpen {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// A newer version of Lacuna wrote the database.
    #[error("{}: the store has schema version {found}, this lacuna knows up to {known}; install the newer version again, or set store.path to another directory", path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest that this binary knows.
        known: i64,
    },
    /// The file is no database, or a damaged one.
    #[error("{}: not a database, or a damaged one; move it away and a new one is made", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is a database of some other program.
    #[error("{}: a database of another program; set store.path to a directory of its own", path.display())]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// Another agent writes to this store.
    #[error("{}: another agent keeps its incidents here; set store.path to a directory of this agent's own", path.display())]
    InUse {
        /// The store's directory.
        path: PathBuf,
    },
    /// The database was deleted or moved away while it was open.
    #[error("{}: the database was deleted or moved away while the agent ran; a new one is made", path.display())]
    Moved {
        /// Where it was.
        path: PathBuf,
    },
    /// There is no room, and no closed incident left that could go.
    #[error("{}: the store is full and holds no closed incident that could go; raise store.max_size or make room on the disk", path.display())]
    Full {
        /// The database file.
        path: PathBuf,
    },
    /// Marks are bounded.
    #[error("{}: {most} marks are there already; the oldest goes with store.retention", path.display())]
    TooManyMarks {
        /// The database file.
        path: PathBuf,
        /// How many there may be.
        most: u32,
    },
    /// An incident that cannot be kept as it is: it would fail each time.
    #[error("incident {id} cannot be stored: {reason}")]
    Document {
        /// Its id.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Anything else that SQLite says.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// The meaning of what SQLite said of `path`.
    pub(super) fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path },
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::CannotOpen { path, reason: source.to_string() }
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::NotADatabase { path },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            _ => Self::Sqlite { path, source },
        }
    }
}
