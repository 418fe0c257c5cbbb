//! The database file: how it is opened, what is in it, which version that is.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{StoreError, StoreSettings};

/// The schema that this binary writes. It reads all before it, and brings them up to this one when it writes.
pub(super) const VERSION: i64 = 3;
/// The first that has a timeline: what was watched, and marks.
pub(super) const WITH_TIMELINE: i64 = 2;
/// "LACN": tells our databases from those of others.
const APPLICATION_ID: i64 = 0x4c41_434e;
/// The file in the store's directory.
const FILE: &str = "incidents.db";
/// How long a statement waits for another process that holds the lock.
const BUSY: Duration = Duration::from_secs(2);
/// SQLite's page size on every platform since 3.12.
const PAGE: u32 = 4096;
/// The write-ahead log goes back into the database beyond this size, in pages (1 MiB).
const LOG_PAGES: u32 = 256;
/// Below this number of pages not even the tables fit.
const LEAST_PAGES: u64 = 24;

const TABLES: &str = "
CREATE TABLE incidents (
    number     INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    version    INTEGER NOT NULL,  -- how often it was written
    class      TEXT NOT NULL,
    state      TEXT NOT NULL,
    started_ms INTEGER NOT NULL,  -- since 1970, UTC
    ended_ms   INTEGER,
    document   TEXT NOT NULL      -- JSON, without the evidence
) STRICT;
CREATE INDEX incidents_by_start ON incidents (started_ms, id);
CREATE INDEX incidents_by_state ON incidents (state, started_ms);
CREATE TABLE evidence (
    incident      INTEGER NOT NULL REFERENCES incidents (number) ON DELETE CASCADE,
    cited         TEXT NOT NULL,     -- JSON
    first_version INTEGER NOT NULL,  -- of the incident that cited it
    last_version  INTEGER NOT NULL,
    position      INTEGER NOT NULL,  -- in that last version
    PRIMARY KEY (incident, cited)
) STRICT, WITHOUT ROWID;
";

/// Added in version 2.
pub(super) const TIMELINE: &str = "
CREATE TABLE watched (             -- a time in which the agent watched without a break
    host      TEXT NOT NULL,
    boot_id   TEXT NOT NULL,
    booted_ms INTEGER NOT NULL,    -- since 1970, UTC, as all times
    from_ms   INTEGER NOT NULL,
    to_ms     INTEGER NOT NULL,    -- moves on while the agent runs
    PRIMARY KEY (boot_id, from_ms)
) STRICT, WITHOUT ROWID;
CREATE TABLE marks (
    number INTEGER PRIMARY KEY,
    at_ms  INTEGER NOT NULL,
    text   TEXT NOT NULL
) STRICT;
CREATE TABLE complete (            -- incidents from before that may have been removed
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    from_ms  INTEGER NOT NULL
) STRICT;
INSERT INTO complete VALUES (1, 0);
";

/// Changed in version 3: two machines of one snapshot, and containers of one kernel, have one boot id.
const WATCHED_BY_HOST: &str = "
CREATE TABLE watched_by_host (
    host      TEXT NOT NULL,
    boot_id   TEXT NOT NULL,
    booted_ms INTEGER NOT NULL,
    from_ms   INTEGER NOT NULL,
    to_ms     INTEGER NOT NULL,
    PRIMARY KEY (host, boot_id, from_ms)
) STRICT, WITHOUT ROWID;
INSERT INTO watched_by_host SELECT host, boot_id, booted_ms, from_ms, to_ms FROM watched;
DROP TABLE watched;
ALTER TABLE watched_by_host RENAME TO watched;
";

/// What each version has beyond the one before.
const STEPS: [(i64, &str); 2] = [(WITH_TIMELINE, TIMELINE), (3, WATCHED_BY_HOST)];

/// The database file of a store's directory.
pub(super) fn file(directory: &Path) -> std::path::PathBuf {
    directory.join(FILE)
}

/// Makes the store's directory where it is missing.
pub(super) fn make_directory(directory: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(directory).map_err(|source| StoreError::Directory { path: directory.to_owned(), source })
}

/// Opens the database for writing, in a directory that is there; makes and adds what is missing.
pub(super) fn open(settings: &StoreSettings) -> Result<Connection, StoreError> {
    let path = file(&settings.path);
    let of = |source| StoreError::of(&path, source);
    let mut connection = Connection::open(&path).map_err(of)?;
    connection.busy_timeout(BUSY).map_err(of)?;
    if connection.is_readonly("main").map_err(of)? {
        return Err(StoreError::ReadOnly { path });
    }
    if is_new(&connection, &path)? {
        create(&mut connection).map_err(of)?;
    } else {
        migrate(&mut connection).map_err(of)?;
    }
    set_up(&connection, settings.max_size).map_err(of)?;
    Ok(connection)
}

/// Opens the database for reading, whether or not an agent has it open or ended in a hurry.
pub(super) fn open_to_read(directory: &Path) -> Result<Connection, StoreError> {
    let path = file(directory);
    if !path.exists() {
        return Err(StoreError::Missing { path });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(&path, flags)
        .map_err(|source| StoreError::of(&path, source))
        .and_then(|connection| checked(connection, &path));
    match opened {
        Err(StoreError::CannotOpen { .. } | StoreError::ReadOnly { .. }) if !has_log(&path) => open_immutable(&path),
        opened => opened,
    }
}

/// A reader that may not write in the directory cannot make the shared index of the write-ahead log; where there
/// is no log, the file itself is all there is.
fn open_immutable(path: &Path) -> Result<Connection, StoreError> {
    let name = path.to_string_lossy();
    let name = name.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{name}?immutable=1"), flags)
        .map_err(|source| StoreError::of(path, source))?;
    checked(connection, path)
}

fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

fn checked(connection: Connection, path: &Path) -> Result<Connection, StoreError> {
    let of = |source| StoreError::of(path, source);
    connection.busy_timeout(BUSY).map_err(of)?;
    if is_new(&connection, path)? {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    Ok(connection)
}

/// True for an empty database; an error for one that is not ours or too new.
fn is_new(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    let of = |source| StoreError::of(path, source);
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let path = path.to_owned();
    let tables = number("SELECT count(*) FROM sqlite_schema").map_err(of)?;
    if tables == 0 {
        return Ok(true);
    }
    if number("PRAGMA application_id").map_err(of)? != APPLICATION_ID {
        return Err(StoreError::Foreign { path });
    }
    let found = version(connection).map_err(of)?;
    if found > VERSION {
        return Err(StoreError::Newer { path, found, known: VERSION });
    }
    Ok(false)
}

/// The schema version of a database.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Adds what later versions have; all of it or nothing.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    if version(connection)? >= VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    add_steps(&transaction, version(&transaction)?)?;
    transaction.commit()
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    add_steps(&transaction, 1)?;
    transaction.commit()
}

/// All that came after that version.
fn add_steps(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    for (_, step) in STEPS.iter().filter(|(of, _)| *of > version) {
        connection.execute_batch(step)?;
    }
    connection.pragma_update(None, "user_version", VERSION)
}

fn set_up(connection: &Connection, max_size: u64) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // The incident that matters most is the one just before the host itself goes down: each commit reaches the disk.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_PAGES * PAGE)?;
    // The log stands beside the database and counts as well.
    let pages = (max_size / u64::from(PAGE)).saturating_sub(LOG_PAGES.into()).max(LEAST_PAGES);
    let pages = i64::try_from(pages).unwrap_or(i64::MAX);
    connection.pragma_update(None, "max_page_count", pages)
}
