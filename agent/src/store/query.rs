//! Reading the store: by id, time, class and state, oldest first, the newest where there are too many.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lacuna_core::incident::{Cited, Class, Incident, State};
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use super::{StoreError, millis, schema};

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
    /// At most so many, the newest ones; never more than [`MAX_LIMIT`].
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self { id_prefix: None, since: None, class: None, state: None, limit: DEFAULT_LIMIT }
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
        match assemble(&transaction, number, version, &document)? {
            Some(incident) => found.incidents.push(incident),
            None => found.unreadable += 1,
        }
    }
    found.incidents.reverse();
    Ok(found)
}

fn select(query: &Query) -> (String, Vec<Value>) {
    let conditions: [Option<(&str, Value)>; 4] = [
        query.id_prefix.as_ref().map(|prefix| ("substr(id, 1, length(?1)) = ?1", prefix.clone().into())),
        query.since.map(|since| ("coalesce(ended_ms >= ?1, 1)", millis(since).into())),
        query.class.map(|class| ("class = ?1", class.name().to_owned().into())),
        query.state.map(|state| ("state = ?1", state_name(state).to_owned().into())),
    ];
    let mut sql = "SELECT number, version, document FROM incidents WHERE 1".to_owned();
    let mut values = Vec::new();
    for (condition, value) in conditions.into_iter().flatten() {
        values.push(value);
        sql.push_str(" AND ");
        sql.push_str(&condition.replace("?1", &format!("?{}", values.len())));
    }
    sql.push_str(" ORDER BY started_ms DESC, id DESC");
    (sql, values)
}

/// The whole document; absent where this version cannot read it.
fn assemble(connection: &Connection, number: i64, version: i64, document: &str) -> rusqlite::Result<Option<Incident>> {
    let sql = "SELECT cited FROM evidence WHERE incident = ?1 AND last_version = ?2 ORDER BY position";
    let Ok(mut incident) = serde_json::from_str::<Incident>(document) else {
        return Ok(None);
    };
    incident.evidence = cited(connection, sql, params![number, version])?;
    Ok(Some(incident))
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
