//! The embedded store: incidents and their evidence in SQLite, bounded in size and age, safe against `kill -9`.

mod error;
mod query;
mod schema;
#[cfg(test)]
mod tests;
mod timeline;
#[cfg(test)]
mod timeline_tests;
mod watch;
mod writer;

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lacuna_core::incident::Incident;
use rusqlite::{Connection, Transaction, params};

pub use crate::config::Store as StoreSettings;
pub use error::StoreError;
pub use query::{Cursor, DEFAULT_LIMIT, Found, MAX_LIMIT, NoCursor, Query, StoreReader, state_name};
pub use timeline::{MAX_INCIDENTS, MAX_MARKS, Past};
pub(crate) use watch::BEAT;
pub use watch::HeardPeer;
pub use writer::{Marker, QUEUE, Writer, spawn_writer};

/// The file in the store's directory that the agent which writes to it holds locked.
const LOCK: &str = "agent.lock";
/// Closed incidents that go at once when room is needed.
const EVICTED_AT_ONCE: u32 = 16;
/// How often room is made for one incident before the store says that it is full.
const EVICTION_ROUNDS: u32 = 64;
const DAY_MS: i64 = 86_400_000;
/// Pieces of evidence of earlier versions that an incident keeps; the oldest go first.
const EARLIER_EVIDENCE: u32 = 1000;

/// The store as its one writer has it.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    /// The file that is open, whatever stands at `path` by now; absent where that could not be told.
    file: Option<FileId>,
    retention: Duration,
    /// Held as long as the store is open.
    _lock: Option<File>,
}

/// Two agents on one store would take over each other's open incidents. The kernel lets go of the lock when the
/// process ends, however it ends; where the file system has no locks there is none.
fn lock(directory: &Path) -> Result<Option<File>, StoreError> {
    let Ok(file) = File::options().create(true).truncate(false).write(true).open(directory.join(LOCK)) else {
        return Ok(None);
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Device and inode.
type FileId = (u64, u64);

fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Store {
    /// Opens the store; makes the directory and the database where they are missing.
    ///
    /// # Errors
    /// It cannot be made, is read-only, full, of a newer version, of another agent that runs or not a store at all.
    pub fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        schema::make_directory(&settings.path)?;
        // First: an agent that runs is not to find other tables all at once.
        let lock = lock(&settings.path)?;
        let connection = schema::open(settings)?;
        let path = schema::file(&settings.path);
        Ok(Self { connection, file: file_id(&path), path, retention: settings.retention, _lock: lock })
    }

    /// SQLite goes on writing to a file that was deleted or moved away, where nobody finds it.
    ///
    /// # Errors
    /// [`StoreError::Moved`] where the open file is not the one at the store's path any more.
    pub fn check_in_place(&self) -> Result<(), StoreError> {
        if self.file.is_some() && file_id(&self.path) != self.file {
            return Err(StoreError::Moved { path: self.path.clone() });
        }
        Ok(())
    }

    /// Writes a version of an incident; once this returns, it survives the end of the process and of the host.
    ///
    /// Where there is no room, the oldest closed incidents go; the answer is how many went.
    ///
    /// # Errors
    /// There is no room even so, or the database cannot be written; the version before stays as it was.
    pub fn put(&mut self, incident: &Incident) -> Result<u64, StoreError> {
        let row = Row::of(incident)?;
        self.with_room(&row.id, |store| store.write(&row)).map(|((), evicted)| evicted)
    }

    /// Writes; where there is no room, the oldest closed incidents go, except `but`. The second answer is how many went.
    fn with_room<T>(
        &mut self,
        but: &str,
        write: impl Fn(&mut Self) -> rusqlite::Result<T>,
    ) -> Result<(T, u64), StoreError> {
        let mut evicted = 0;
        for _ in 0..EVICTION_ROUNDS {
            let written = write(self).map_err(|error| self.of(error));
            if !matches!(written, Err(StoreError::Full { .. })) {
                return written.map(|value| (value, evicted));
            }
            let gone = self.evict(but)?;
            if gone == 0 {
                break;
            }
            evicted += gone;
        }
        Err(StoreError::Full { path: self.path.clone() })
    }

    /// Incidents that were open when they were last written, oldest first: for a restarted agent to go on with.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn open_incidents(&self) -> Result<Found, StoreError> {
        query::find(&self.connection, &Query::open()).map_err(|error| self.of(error))
    }

    /// Removes closed incidents, watched time and marks that are older than the retention; the answer is how many incidents. A clock
    /// that is more than a day ahead of what was watched last is not believed until the agent has watched for an hour by it: at boot
    /// it may not be set yet.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn expire(&mut self, now: SystemTime) -> Result<u64, StoreError> {
        let retention_ms = i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        let watched_ms = timeline::watched_until(&self.connection).map_err(|error| self.of(error))?;
        let now_ms = millis(now).min(watched_ms.saturating_add(DAY_MS));
        self.expire_before(now_ms.saturating_sub(retention_ms)).map_err(|error| self.of(error))
    }

    fn expire_before(&mut self, oldest_ms: i64) -> rusqlite::Result<u64> {
        let transaction = self.connection.transaction()?;
        let old = "FROM incidents WHERE state = 'closed' AND coalesce(ended_ms, started_ms) < ?";
        let newest: Option<i64> =
            transaction.query_row(&format!("SELECT max(started_ms) {old}"), [oldest_ms], |row| row.get(0))?;
        let removed = transaction.execute(&format!("DELETE {old}"), [oldest_ms])?;
        // By what is gone, and not by the clock: one that is wrong for a while would leave no time to report on.
        if let Some(newest) = newest {
            timeline::complete_from(&transaction, newest.saturating_add(1))?;
        }
        timeline::forget_before(&transaction, oldest_ms)?;
        transaction.commit()?;
        Ok(count(removed))
    }

    fn of(&self, error: rusqlite::Error) -> StoreError {
        StoreError::of(&self.path, error)
    }

    fn write(&mut self, row: &Row) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let (number, version) = write_incident(&transaction, row)?;
        write_evidence(&transaction, row, number, version)?;
        trim_evidence(&transaction, number, version)?;
        transaction.commit()
    }

    fn evict(&mut self, but: &str) -> Result<u64, StoreError> {
        self.evict_some(but).map_err(|error| self.of(error))
    }

    /// Time from which incidents went looks quiet and was not: that is kept account of.
    fn evict_some(&mut self, but: &str) -> rusqlite::Result<u64> {
        let sql = "DELETE FROM incidents WHERE number IN (
                       SELECT number FROM incidents WHERE state = 'closed' AND id <> ?1
                       ORDER BY started_ms, id LIMIT ?2) RETURNING started_ms";
        let transaction = self.connection.transaction()?;
        let gone: Vec<i64> = transaction
            .prepare_cached(sql)?
            .query_map(params![but, EVICTED_AT_ONCE], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        if let Some(newest) = gone.iter().max() {
            timeline::complete_from(&transaction, newest + 1)?;
        }
        transaction.commit()?;
        Ok(count(gone.len()))
    }
}

/// An incident as the tables hold it.
struct Row {
    id: String,
    class: &'static str,
    state: &'static str,
    started_ms: i64,
    ended_ms: Option<i64>,
    document: String,
    evidence: Vec<String>,
}

impl Row {
    fn of(incident: &Incident) -> Result<Self, StoreError> {
        let wrong = |reason: String| StoreError::Document { id: incident.id.clone(), reason };
        let time = |text: &str| {
            humantime::parse_rfc3339_weak(text)
                .map(millis)
                .map_err(|error| wrong(format!("\"{text}\" is not a time ({error})")))
        };
        let json = |error: serde_json::Error| wrong(error.to_string());
        let evidence: Result<_, _> = incident.evidence.iter().map(serde_json::to_string).collect();
        let bare = Incident { evidence: Vec::new(), ..incident.clone() };
        Ok(Self {
            id: incident.id.clone(),
            class: incident.verdict.class.name(),
            state: state_name(incident.state),
            started_ms: time(&incident.started_at)?,
            ended_ms: incident.ended_at.as_deref().map(time).transpose()?,
            document: serde_json::to_string(&bare).map_err(json)?,
            evidence: evidence.map_err(json)?,
        })
    }
}

/// The number of the incident's row, and its version from now on.
fn write_incident(transaction: &Transaction<'_>, row: &Row) -> rusqlite::Result<(i64, i64)> {
    let sql = "INSERT INTO incidents (id, version, class, state, started_ms, ended_ms, document)
               VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (id) DO UPDATE SET version = version + 1, class = ?2, state = ?3,
                   started_ms = ?4, ended_ms = ?5, document = ?6
               RETURNING number, version";
    let values = params![row.id, row.class, row.state, row.started_ms, row.ended_ms, row.document];
    let mut statement = transaction.prepare_cached(sql)?;
    statement.query_row(values, |row| Ok((row.get(0)?, row.get(1)?)))
}

fn write_evidence(transaction: &Transaction<'_>, row: &Row, number: i64, version: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO evidence (incident, cited, first_version, last_version, position)
               VALUES (?1, ?2, ?3, ?3, ?4)
               ON CONFLICT (incident, cited) DO UPDATE SET last_version = ?3, position = ?4";
    let mut statement = transaction.prepare_cached(sql)?;
    for (position, cited) in (0_i64..).zip(&row.evidence) {
        statement.execute(params![number, cited, version, position])?;
    }
    Ok(())
}

fn trim_evidence(transaction: &Transaction<'_>, number: i64, version: i64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM evidence WHERE incident = ?1 AND cited IN (
                   SELECT cited FROM evidence WHERE incident = ?1 AND last_version < ?2
                   ORDER BY last_version DESC, position LIMIT -1 OFFSET ?3)";
    let mut statement = transaction.prepare_cached(sql)?;
    statement.execute(params![number, version, EARLIER_EVIDENCE])?;
    Ok(())
}

/// Milliseconds since 1970; 0 for what was before.
pub(crate) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
