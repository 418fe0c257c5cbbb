//! When the agent watched, and which changes were noted: what recurrence is measured on.

use std::time::SystemTime;

use lacuna_core::incident::{Class, Subject};
use lacuna_core::recurrence::{History, Mark, Occurrence, Watched};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Deserialize;

use super::{Store, StoreError, millis, schema};
use crate::export::words;

/// Most marks in a store.
pub const MAX_MARKS: u32 = 1000;
/// Most incidents that one report is about, the newest ones: one a minute for three months.
pub const MAX_INCIDENTS: usize = 131_072;

/// So long by one clock it is believed.
const HOUR_MS: i64 = 3_600_000;

/// What is known of the past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Watched time and incidents.
    pub history: History,
    /// Changes, oldest first.
    pub marks: Vec<Mark>,
    /// All incidents since then are there; from before it some may be missing.
    pub complete_from_ms: i64,
    /// Incidents that this version cannot read.
    pub unreadable: u64,
}

impl Store {
    /// Notes a change.
    ///
    /// # Errors
    /// There are [`MAX_MARKS`] already, or the database cannot be written.
    pub fn mark(&mut self, text: &str, at: SystemTime) -> Result<Mark, StoreError> {
        let at_ms = millis(at);
        let (number, _) = self.with_room("", |store| insert_mark(&store.connection, at_ms, text))?;
        let id = number.ok_or_else(|| StoreError::TooManyMarks { path: self.path.clone(), most: MAX_MARKS })?;
        Ok(Mark { id, at_ms, text: text.to_owned() })
    }

    /// When the newest mark was noted, in milliseconds since 1970; absent where there is none.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn newest_mark_ms(&self) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT max(at_ms) FROM marks";
        self.connection.query_row(sql, [], |row| row.get(0)).map_err(|error| self.of(error))
    }

    /// Notes that the agent watched, or still watches, or heard a peer: all of it or nothing.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn watched<'a>(&mut self, periods: impl Iterator<Item = &'a Watched> + Clone) -> Result<(), StoreError> {
        let write = |store: &mut Self| {
            let transaction = store.connection.transaction()?;
            periods.clone().try_for_each(|period| upsert_watched(&transaction, period))?;
            transaction.commit()
        };
        self.with_room("", write).map(|_| ())
    }
}

/// The number of the mark; absent where there are too many.
fn insert_mark(connection: &Connection, at_ms: i64, text: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "INSERT INTO marks (at_ms, text) SELECT ?1, ?2 WHERE (SELECT count(*) FROM marks) < ?3 RETURNING number";
    connection.prepare_cached(sql)?.query_row(params![at_ms, text, MAX_MARKS], |row| row.get(0)).optional()
}

fn upsert_watched(connection: &Connection, period: &Watched) -> rusqlite::Result<()> {
    let sql = "INSERT INTO watched (host, boot_id, booted_ms, from_ms, to_ms) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (host, boot_id, from_ms) DO UPDATE SET to_ms = max(to_ms, ?5)";
    let Watched { host, boot_id, booted_ms, from_ms, to_ms } = period;
    connection.prepare_cached(sql)?.execute(params![host, boot_id, booted_ms, from_ms, to_ms]).map(|_| ())
}

/// Incidents of before may be gone.
pub(super) fn complete_from(connection: &Connection, from_ms: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE complete SET from_ms = max(from_ms, ?1)";
    connection.prepare_cached(sql)?.execute([from_ms]).map(|_| ())
}

/// The newest moment that was watched for an hour without a break, since shorter ones may be by a clock that was not set yet; the
/// end of all times where nothing was ever watched.
pub(super) fn watched_until(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT max(iif(to_ms - from_ms >= ?1, to_ms, 0)) FROM watched";
    let watched: Option<i64> = connection.query_row(sql, [HOUR_MS], |row| row.get(0))?;
    Ok(watched.unwrap_or(i64::MAX))
}

/// Watched time and marks of before go.
pub(super) fn forget_before(connection: &Connection, oldest_ms: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM watched WHERE to_ms < ?1")?.execute([oldest_ms])?;
    connection.prepare_cached("DELETE FROM marks WHERE at_ms < ?1")?.execute([oldest_ms])?;
    Ok(())
}

pub(super) fn past(connection: &Connection, since_ms: i64) -> rusqlite::Result<Past> {
    // One transaction, so that watched time is not newer than the incidents in it.
    let transaction = connection.unchecked_transaction()?;
    let mut past = Past::default();
    incidents(&transaction, since_ms, &mut past)?;
    if schema::version(&transaction)? >= schema::WITH_TIMELINE {
        let complete: i64 = transaction.query_row("SELECT from_ms FROM complete", [], |row| row.get(0))?;
        past.complete_from_ms = past.complete_from_ms.max(complete);
        past.history.watched = watched(&transaction, since_ms.max(past.complete_from_ms))?;
        past.marks = marks(&transaction)?;
    }
    Ok(past)
}

fn watched(connection: &Connection, since_ms: i64) -> rusqlite::Result<Vec<Watched>> {
    let sql = "SELECT host, boot_id, booted_ms, from_ms, to_ms FROM watched WHERE to_ms > ?1 ORDER BY from_ms";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([since_ms], |row| {
        Ok(Watched {
            host: row.get(0)?,
            boot_id: row.get(1)?,
            booted_ms: row.get(2)?,
            from_ms: row.get::<_, i64>(3)?.max(since_ms),
            to_ms: row.get(4)?,
        })
    })?;
    rows.collect()
}

fn marks(connection: &Connection) -> rusqlite::Result<Vec<Mark>> {
    let mut statement = connection.prepare("SELECT number, at_ms, text FROM marks ORDER BY at_ms, number")?;
    let rows = statement.query_map([], |row| Ok(Mark { id: row.get(0)?, at_ms: row.get(1)?, text: row.get(2)? }))?;
    rows.collect()
}

/// The newest until then, oldest first; none where the store is of a version without them.
pub(super) fn newest_marks(connection: &Connection, until_ms: i64, most: u32) -> rusqlite::Result<Vec<Mark>> {
    if schema::version(connection)? < schema::WITH_TIMELINE {
        return Ok(Vec::new());
    }
    let sql = "SELECT number, at_ms, text FROM marks WHERE at_ms <= ?1 ORDER BY at_ms DESC, number DESC LIMIT ?2";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map(params![until_ms, most], |row| {
        Ok(Mark { id: row.get(0)?, at_ms: row.get(1)?, text: row.get(2)? })
    })?;
    let mut marks = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    marks.reverse();
    Ok(marks)
}

/// What a report needs of an incident's document.
#[derive(Deserialize)]
struct Gist {
    occurrences: u32,
    verdict: GistOfVerdict,
}

#[derive(Deserialize)]
struct GistOfVerdict {
    class: Class,
    subject: Subject,
}

/// Those that began since, or go on, the newest where there are too many.
fn incidents(connection: &Connection, since_ms: i64, past: &mut Past) -> rusqlite::Result<()> {
    let sql =
        "SELECT started_ms, CASE state WHEN 'closed' THEN coalesce(ended_ms, started_ms) END, document FROM incidents
               WHERE started_ms >= ?1 OR state <> 'closed' ORDER BY started_ms DESC, id DESC";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([since_ms])?;
    while let Some(row) = rows.next()? {
        if past.history.incidents.len() == MAX_INCIDENTS {
            past.complete_from_ms = row.get::<_, i64>(0)? + 1;
            break;
        }
        match occurrence(row)? {
            Some(one) => past.history.incidents.push(one),
            None => past.unreadable += 1,
        }
    }
    past.history.incidents.reverse();
    Ok(())
}

/// Absent where this version cannot read it. Which CPU it was, and how large a packet, makes no other series.
fn occurrence(row: &Row<'_>) -> rusqlite::Result<Option<Occurrence>> {
    let document: String = row.get(2)?;
    let Ok(Gist { occurrences, verdict }) = serde_json::from_str(&document) else {
        return Ok(None);
    };
    let subject = Subject { cpu: None, mtu: None, ..verdict.subject };
    Ok(Some(Occurrence {
        class: verdict.class,
        subject: words::subject(&subject),
        host: subject.host,
        peer: subject.peer,
        started_ms: row.get(0)?,
        ended_ms: row.get(1)?,
        times: occurrences.max(1),
    }))
}
