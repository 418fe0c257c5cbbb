//! Reading the store: by id, time, class and state, oldest first, the newest where there are too many.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use lacuna_core::incident::{Cited, Class, Incident, State};
use lacuna_core::recurrence::Mark;
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::{Past, StoreError, millis, schema, timeline};

/// Incidents in an answer where nobody asked for another number.
pub const DEFAULT_LIMIT: usize = 1000;
/// Most incidents in one answer.
pub const MAX_LIMIT: usize = 10_000;

/// Which incidents; the default is the newest [`DEFAULT_LIMIT`].
#[derive(Clone, Debug)]
pub struct Query {
    /// Those whose id begins so.
    pub id_prefix: Option<String>,
    /// Those that went on at this time or after it.
    pub since: Option<SystemTime>,
    /// Those of this class.
    pub class: Option<Class>,
    /// Those in this state.
    pub state: Option<State>,
    /// Those that come before this one.
    pub before: Option<Cursor>,
    /// Without their evidence, as lists show them.
    pub bare: bool,
    /// At most so many, the newest ones; never more than [`MAX_LIMIT`].
    pub limit: usize,
}

/// The place of an incident among all, by its begin: where a page of a list ends. The text form is `MILLISECONDS-ID`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    started_ms: i64,
    id: String,
}

/// A text that is no [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a place in a list; allowed: what the link to older incidents has")]
pub struct NoCursor;

impl Cursor {
    /// That of an incident; absent where its begin cannot be read.
    #[must_use]
    pub fn of(incident: &Incident) -> Option<Self> {
        let started = humantime::parse_rfc3339_weak(&incident.started_at).ok()?;
        Some(Self { started_ms: millis(started), id: incident.id.clone() })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.started_ms, self.id)
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let (started_ms, id) = text.split_once('-').ok_or(NoCursor)?;
        Ok(Self { started_ms: started_ms.parse().map_err(|_| NoCursor)?, id: id.to_owned() })
    }
}

impl Default for Query {
    fn default() -> Self {
        Self { id_prefix: None, since: None, class: None, state: None, before: None, bare: false, limit: DEFAULT_LIMIT }
    }
}

impl Query {
    /// All that were open when they were last written.
    pub(super) fn open() -> Self {
        Self { state: Some(State::Open), limit: MAX_LIMIT, ..Self::default() }
    }

    /// Whether the incident is one of those asked for, as the store would say.
    #[must_use]
    pub fn wants(&self, incident: &Incident) -> bool {
        let id = self.id_prefix.as_ref();
        id.is_none_or(|prefix| incident.id.starts_with(prefix.as_str()))
            && self.since.is_none_or(|since| goes_on_after(incident, since))
            && self.class.is_none_or(|class| class == incident.verdict.class)
            && self.state.is_none_or(|state| state == incident.state)
            && self.before.as_ref().is_none_or(|before| Cursor::of(incident).is_some_and(|place| place < *before))
    }
}

fn goes_on_after(incident: &Incident, since: SystemTime) -> bool {
    let ended = incident.ended_at.as_deref();
    ended.is_none_or(|ended| humantime::parse_rfc3339_weak(ended).is_ok_and(|ended| millis(ended) >= millis(since)))
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The incidents, oldest first.
    pub incidents: Vec<Incident>,
    /// True where there are older ones beyond the limit.
    pub truncated: bool,
    /// Rows that this version cannot read, such as those with a kind of evidence that it does not know.
    pub unreadable: u64,
}

/// Reads a store beside its writer, or while no agent runs. Each call opens and closes the database.
#[derive(Clone, Debug)]
pub struct StoreReader {
    directory: PathBuf,
}

impl StoreReader {
    /// Of the store in that directory; nothing is opened yet.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The incidents that `query` asks for.
    ///
    /// # Errors
    /// There is no store, it cannot be read or is of a newer version.
    pub fn find(&self, query: &Query) -> Result<Found, StoreError> {
        let connection = schema::open_to_read(&self.directory)?;
        find(&connection, query).map_err(|error| self.of(error))
    }

    /// As [`super::Store::open_incidents`], of a store that cannot be written.
    ///
    /// # Errors
    /// As [`StoreReader::find`].
    pub fn open_incidents(&self) -> Result<Found, StoreError> {
        self.find(&Query::open())
    }

    /// Evidence that earlier versions of an incident cited and its last one does not any more.
    ///
    /// # Errors
    /// As [`StoreReader::find`].
    pub fn earlier_evidence(&self, id: &str) -> Result<Vec<Cited>, StoreError> {
        let connection = schema::open_to_read(&self.directory)?;
        let sql = "SELECT cited FROM evidence JOIN incidents ON incident = number
                   WHERE id = ?1 AND last_version < version ORDER BY first_version, position";
        cited(&connection, sql, params![id]).map_err(|error| self.of(error))
    }

    /// The newest changes that were noted until then, oldest first, at most `most`.
    ///
    /// # Errors
    /// As [`StoreReader::find`].
    pub fn marks(&self, until: SystemTime, most: u32) -> Result<Vec<Mark>, StoreError> {
        let connection = schema::open_to_read(&self.directory)?;
        timeline::newest_marks(&connection, millis(until), most).map_err(|error| self.of(error))
    }

    /// What a report is made from: all that is known of the time since `since`.
    ///
    /// # Errors
    /// As [`StoreReader::find`].
    pub fn past(&self, since: SystemTime) -> Result<Past, StoreError> {
        let connection = schema::open_to_read(&self.directory)?;
        timeline::past(&connection, millis(since)).map_err(|error| self.of(error))
    }

    fn of(&self, error: rusqlite::Error) -> StoreError {
        StoreError::of(&schema::file(&self.directory), error)
    }
}

/// The public name of a state.
#[must_use]
pub fn state_name(state: State) -> &'static str {
    match state {
        State::Open => "open",
        State::Closed => "closed",
    }
}

pub(super) fn find(connection: &Connection, query: &Query) -> rusqlite::Result<Found> {
    // One transaction, so that an incident and its evidence are of the same version.
    let transaction = connection.unchecked_transaction()?;
    let (sql, values) = select(query);
    let mut statement = transaction.prepare(&sql)?;
    let rows = statement
        .query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
    let mut found = Found::default();
    for row in rows {
        let (number, version, document) = row?;
        if found.incidents.len() == query.limit.min(MAX_LIMIT) {
            found.truncated = true;
            break;
        }
        let Ok(mut incident) = serde_json::from_str::<Incident>(&document) else {
            found.unreadable += 1;
            continue;
        };
        if !query.bare {
            incident.evidence = evidence(&transaction, number, version)?;
        }
        found.incidents.push(incident);
    }
    found.incidents.reverse();
    Ok(found)
}

/// Rows are read one by one in the order of an index and no further than the limit, so that a full store answers as fast as one
/// that has just begun.
fn select(query: &Query) -> (String, Vec<Value>) {
    let text = |text: &str| Value::from(text.to_owned());
    let conditions: [Option<(&str, Vec<Value>)>; 5] = [
        // What begins so lies between it and it with the last character of all.
        query.id_prefix.as_ref().map(|id| ("id >= ? AND id <= ? || char(1114111)", vec![text(id), text(id)])),
        query.since.map(|since| ("coalesce(ended_ms >= ?, 1)", vec![millis(since).into()])),
        query.class.map(|class| ("class = ?", vec![text(class.name())])),
        query.state.map(|state| ("state = ?", vec![text(state_name(state))])),
        query
            .before
            .as_ref()
            .map(|before| ("(started_ms, id) < (?, ?)", vec![before.started_ms.into(), text(&before.id)])),
    ];
    let mut sql = "SELECT number, version, document FROM incidents WHERE 1".to_owned();
    let mut values = Vec::new();
    for (condition, mut of_condition) in conditions.into_iter().flatten() {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.append(&mut of_condition);
    }
    sql.push_str(" ORDER BY started_ms DESC, id DESC");
    (sql, values)
}

fn evidence(connection: &Connection, number: i64, version: i64) -> rusqlite::Result<Vec<Cited>> {
    let sql = "SELECT cited FROM evidence WHERE incident = ?1 AND last_version = ?2 ORDER BY position";
    cited(connection, sql, params![number, version])
}

fn cited(connection: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<Vec<Cited>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(values, |row| row.get::<_, String>(0))?;
    let mut cited = Vec::new();
    for text in rows {
        cited.extend(serde_json::from_str(&text?));
    }
    Ok(cited)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use crate::store::{Store, StoreSettings};

    fn plan(connection: &Connection, query: &Query) -> String {
        let (sql, values) = select(query);
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    /// A scan of the table, or a sort of all that matches, would take longer the fuller the store is.
    #[test]
    fn what_the_pages_ask_for_is_found_by_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let settings = StoreSettings { path: dir.path().to_owned(), ..StoreSettings::default() };
        drop(Store::open(&settings).unwrap());
        let connection = schema::open_to_read(dir.path()).unwrap();
        let closed = || Query { state: Some(State::Closed), ..Query::default() };
        let before = Cursor::of(&samples::path_drop());
        for query in [closed(), Query { before: before.clone(), ..closed() }, Query { before, ..Query::default() }] {
            let plan = plan(&connection, &query);
            assert!(plan.contains("USING INDEX") && !plan.contains("FOR ORDER BY"), "{query:?}: {plan}");
        }
        let one = plan(&connection, &Query { id_prefix: Some("01JD".into()), ..Query::default() });
        assert!(one.contains("(id>? AND id<?)"), "{one}");
    }

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let cursor = Cursor::of(&samples::path_drop()).unwrap();
        assert_eq!(cursor.to_string(), "1795383364120-01JD6QAAAA0000000000000001");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "1795383364120", "x-01JD", "-"] {
            assert_eq!(text.parse::<Cursor>(), Err(NoCursor), "{text}");
        }
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let dir = tempfile::tempdir().unwrap();
        let settings = StoreSettings { path: dir.path().to_owned(), ..StoreSettings::default() };
        let mut store = Store::open(&settings).unwrap();
        for number in 0..7 {
            // Two began in the same millisecond.
            let started_at = samples::numbered(number - number % 2).started_at;
            store.put(&Incident { started_at, ..samples::numbered(number) }).unwrap();
        }
        let reader = StoreReader::new(dir.path());
        let (mut before, mut seen) = (None, Vec::new());
        loop {
            let query = Query { before, bare: true, limit: 3, ..Query::default() };
            let found = reader.find(&query).unwrap();
            assert!(found.incidents.iter().all(|one| one.evidence.is_empty() && query.wants(one)));
            seen.extend(found.incidents.iter().rev().map(|one| one.id.clone()));
            before = found.incidents.first().and_then(Cursor::of);
            if !found.truncated {
                break;
            }
        }
        let expected: Vec<_> = (0..7).rev().map(|number| format!("id-{number:06}")).collect();
        assert_eq!(seen, expected);
    }
}
