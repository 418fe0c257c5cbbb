//! A store with as many incidents as are wanted, at once: copies of the one that is in it, each a minute before the last.

use std::path::Path;

use rusqlite::Connection;

/// Makes `count` of the one incident that is in the database.
pub(crate) fn multiply(database: &Path, count: u32) -> rusqlite::Result<()> {
    let more = count.saturating_sub(1);
    let time = |column: &str| format!("strftime('%Y-%m-%dT%H:%M:%fZ', ({column} - i * 60000) / 1000.0, 'unixepoch')");
    let (started, ended) = (time("started_ms"), time("ended_ms"));
    Connection::open(database)?.execute_batch(&format!(
        "BEGIN;
         WITH RECURSIVE copies (i) AS (SELECT 1 WHERE {more} > 0 UNION ALL SELECT i + 1 FROM copies WHERE i < {more})
         INSERT INTO incidents (id, version, class, state, started_ms, ended_ms, document)
             SELECT printf('copy-%06d', i), version, class, state, started_ms - i * 60000, ended_ms - i * 60000,
                 json_set(document, '$.id', printf('copy-%06d', i), '$.started_at', {started}, '$.ended_at', {ended})
             FROM incidents, copies WHERE number = 1;
         INSERT INTO evidence (incident, cited, first_version, last_version, position)
             SELECT incidents.number, cited, first_version, last_version, position
             FROM evidence JOIN incidents ON incidents.number > 1 WHERE evidence.incident = 1;
         COMMIT;"
    ))
}
