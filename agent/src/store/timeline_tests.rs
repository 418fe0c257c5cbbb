//! Watched time and marks, and stores of before there were any.

use std::sync::Arc;

use lacuna_core::recurrence::Watched;

use super::tests::{find, settings};
use super::*;
use crate::samples;

/// The tables as version 1 made them, with an incident in them.
const VERSION_1: &str = r#"
CREATE TABLE incidents (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, class TEXT NOT NULL,
    state TEXT NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER, document TEXT NOT NULL
) STRICT;
CREATE INDEX incidents_by_start ON incidents (started_ms, id);
CREATE INDEX incidents_by_state ON incidents (state, started_ms);
CREATE TABLE evidence (
    incident INTEGER NOT NULL REFERENCES incidents (number) ON DELETE CASCADE, cited TEXT NOT NULL,
    first_version INTEGER NOT NULL, last_version INTEGER NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (incident, cited)
) STRICT, WITHOUT ROWID;
PRAGMA application_id = 0x4c41434e;
PRAGMA user_version = 1;
"#;

#[test]
fn a_store_of_version_1_is_read_as_it_is_and_gets_a_timeline_from_its_next_writer() {
    let dir = tempfile::tempdir().unwrap();
    let old = Connection::open(schema::file(dir.path())).unwrap();
    old.execute_batch(VERSION_1).unwrap();
    let incident = Incident { evidence: Vec::new(), ..samples::path_drop() };
    let row = Row::of(&incident).unwrap();
    let sql = "INSERT INTO incidents VALUES (1, ?1, 1, ?2, ?3, ?4, ?5, ?6)";
    let values = params![row.id, row.class, row.state, row.started_ms, row.ended_ms, row.document];
    old.execute(sql, values).unwrap();
    drop(old);
    let reader = StoreReader::new(dir.path());
    assert_eq!(find(dir.path(), &Query::default()).incidents, std::slice::from_ref(&incident));
    let past = reader.past(UNIX_EPOCH).unwrap();
    assert_eq!((past.history.incidents.len(), past.history.watched.len(), past.marks.len()), (1, 0, 0));
    let mut store = Store::open(&settings(dir.path())).unwrap();
    store.mark("upgraded", UNIX_EPOCH + Duration::from_secs(1_795_000_000)).unwrap();
    assert_eq!(schema::version(&store.connection).unwrap(), schema::VERSION);
    drop(store);
    drop(Store::open(&settings(dir.path())).unwrap());
    assert_eq!(find(dir.path(), &Query::default()).incidents, [incident]);
    assert_eq!(reader.past(UNIX_EPOCH).unwrap().marks[0].text, "upgraded");
}

#[test]
fn hosts_of_one_boot_id_each_have_their_watched_time_also_where_version_2_had_one_row_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let old = Connection::open(schema::file(dir.path())).unwrap();
    old.execute_batch(VERSION_1).unwrap();
    old.execute_batch(schema::TIMELINE).unwrap();
    old.execute_batch("INSERT INTO watched VALUES ('db1', '7c', 0, 1000, 2000); PRAGMA user_version = 2;").unwrap();
    drop(old);
    let mut store = Store::open(&settings(dir.path())).unwrap();
    let other = Watched { host: "db2".into(), ..watched(1000, 3000) };
    store.watched([watched(1000, 4000), other.clone()].iter()).unwrap();
    let past = StoreReader::new(dir.path()).past(UNIX_EPOCH).unwrap();
    assert_eq!(past.history.watched, [watched(1000, 4000), other]);
}

fn watched(from_ms: i64, to_ms: i64) -> Watched {
    Watched { host: "db1".into(), boot_id: "7c".into(), booted_ms: 0, from_ms, to_ms }
}

#[test]
fn watched_time_grows_and_what_is_past_is_as_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(dir.path())).unwrap();
    for to in [1000, 11_000, 21_000] {
        store.watched([watched(1000, to)].iter()).unwrap();
    }
    store.watched([watched(90_000, 95_000)].iter()).unwrap();
    store.put(&samples::path_drop()).unwrap();
    store.put(&samples::host_down()).unwrap();
    let reader = StoreReader::new(dir.path());
    let past = reader.past(UNIX_EPOCH).unwrap();
    assert_eq!(past.history.watched, [watched(1000, 21_000), watched(90_000, 95_000)]);
    let [drop, down] = past.history.incidents.as_slice() else { panic!("{past:?}") };
    assert_eq!((drop.subject.as_str(), drop.host.as_deref(), drop.times), ("db1 - lb1", Some("db1"), 1));
    assert!(drop.ended_ms.is_some() && down.ended_ms.is_none());
    assert_eq!((past.complete_from_ms, past.unreadable), (0, 0));
    let later = reader.past(UNIX_EPOCH + Duration::from_secs(20)).unwrap();
    assert_eq!(later.history.watched, [watched(20_000, 21_000), watched(90_000, 95_000)]);
}

#[test]
fn marks_are_bounded_and_go_with_the_retention() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(dir.path())).unwrap();
    let at = UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    for number in 1..=i64::from(MAX_MARKS) {
        assert_eq!(store.mark("change", at).unwrap().id, number);
    }
    let refused = store.mark("one too many", at).unwrap_err();
    assert!(matches!(refused, StoreError::TooManyMarks { .. }), "{refused}");
    let now = at + StoreSettings::default().retention + Duration::from_secs(1);
    let lately = watched(millis(now) - 3_600_000, millis(now));
    store.watched([watched(0, 1000), lately.clone()].iter()).unwrap();
    store.expire(now).unwrap();
    let past = StoreReader::new(dir.path()).past(UNIX_EPOCH).unwrap();
    assert!(past.marks.is_empty() && past.history.watched == [lately]);
    assert_eq!(past.complete_from_ms, 0, "no incident is gone");
    store.mark("room again", now).unwrap();
}

#[test]
fn a_clock_that_was_ahead_for_a_while_leaves_time_to_report_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(dir.path())).unwrap();
    let incident = samples::numbered(1);
    store.put(&incident).unwrap();
    let started_ms = Row::of(&incident).unwrap().started_ms;
    let ahead =
        UNIX_EPOCH + Duration::from_millis(u64::try_from(started_ms).unwrap()) + Duration::from_secs(60 * 86_400);
    assert_eq!(store.expire(ahead).unwrap(), 1);
    let past = StoreReader::new(dir.path()).past(UNIX_EPOCH).unwrap();
    assert_eq!(past.complete_from_ms, started_ms + 1, "not a month from now");
}

#[test]
fn a_clock_that_is_ahead_at_boot_removes_nothing_before_the_agent_has_watched_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(dir.path())).unwrap();
    let incident = samples::numbered(1);
    store.put(&incident).unwrap();
    let started_ms = Row::of(&incident).unwrap().started_ms;
    store.watched([watched(started_ms - 3_600_000, started_ms + 60_000)].iter()).unwrap();
    let year = i64::try_from(Duration::from_secs(365 * 86_400).as_millis()).unwrap();
    let ahead = UNIX_EPOCH + Duration::from_millis(u64::try_from(started_ms + year).unwrap());
    assert_eq!(store.expire(ahead).unwrap(), 0);
    // Until it is set, which takes a minute at each boot.
    store.watched([watched(started_ms + year, started_ms + year + 60_000)].iter()).unwrap();
    assert_eq!(store.expire(ahead).unwrap(), 0);
    store.watched([watched(started_ms + year, started_ms + year + 3_600_000)].iter()).unwrap();
    assert_eq!(store.expire(ahead).unwrap(), 1, "by now it is believed");
}

#[test]
fn what_still_goes_on_is_of_the_past_whenever_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(dir.path())).unwrap();
    store.put(&samples::path_drop()).unwrap();
    store.put(&samples::host_down()).unwrap();
    let later = UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let [down] = StoreReader::new(dir.path()).past(later).unwrap().history.incidents.try_into().unwrap();
    assert!(down.ended_ms.is_none(), "the other one is over: {down:?}");
}

#[test]
fn time_whose_incidents_were_evicted_does_not_look_quiet() {
    let dir = tempfile::tempdir().unwrap();
    let small = StoreSettings { max_size: 0, ..settings(dir.path()) };
    let mut store = Store::open(&small).unwrap();
    let start = |i: u32| 1_795_000_000_000 + i64::from(i) * 60_000;
    store.watched([watched(start(0), start(400))].iter()).unwrap();
    let evicted: u64 = (0..400).map(|i| store.put(&samples::numbered(i)).unwrap()).sum();
    assert!(evicted > 0);
    let past = StoreReader::new(dir.path()).past(UNIX_EPOCH).unwrap();
    let first = past.history.incidents[0].started_ms;
    assert!((first - 60_000..=first).contains(&past.complete_from_ms), "{} {first}", past.complete_from_ms);
    assert_eq!(past.history.watched[0].from_ms, past.complete_from_ms);
}

#[test]
fn the_writer_notes_what_the_driver_watched_and_marks() {
    let dir = tempfile::tempdir().unwrap();
    let shared = samples::shared();
    let opened = Store::open(&settings(dir.path()));
    let writer = spawn_writer(settings(dir.path()), opened, Arc::clone(&shared)).unwrap();
    let reading = |second: u64| crate::clock::Reading {
        boot: lacuna_core::time::Nanos(second * 1_000_000_000),
        wall: lacuna_core::time::WallNanos((1_795_000_000 + second) * 1_000_000_000),
    };
    [100, 110, 120, 500, 510].into_iter().for_each(|second| writer.watched(reading(second), Vec::new()));
    let marker = writer.marker();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(shared.counters.read().newest_mark_ms, None);
    let mark = runtime.block_on(marker.mark("patched".into())).unwrap();
    assert_eq!(shared.counters.read().newest_mark_ms, Some(mark.at_ms));
    drop(marker);
    assert!(writer.finish());
    let past = StoreReader::new(dir.path()).past(UNIX_EPOCH).unwrap();
    assert_eq!(past.marks, [mark]);
    let lengths: Vec<_> = past.history.watched.iter().map(|one| one.to_ms - one.from_ms).collect();
    assert_eq!(lengths, [20_000, 10_000]);
    assert_eq!(past.history.watched[0].booted_ms, 1_795_000_000_000);
    assert_eq!(past.history.watched[0].host, "db1");
}

#[test]
fn the_newest_mark_is_known_to_the_next_agent() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(dir.path())).unwrap();
    assert_eq!(store.newest_mark_ms().unwrap(), None);
    let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(1_795_000_000 + seconds);
    for seconds in [0, 60, 30] {
        store.mark("patched", at(seconds)).unwrap();
    }
    let shared = samples::shared();
    let writer = spawn_writer(settings(dir.path()), Ok(store), Arc::clone(&shared)).unwrap();
    assert_eq!(shared.counters.read().newest_mark_ms, Some(millis(at(60))));
    assert!(writer.finish());
}

#[test]
fn a_mark_that_cannot_be_kept_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    std::fs::write(&place, "a file where the directory should be").unwrap();
    let shared = samples::shared();
    let writer = spawn_writer(settings(&place), Store::open(&settings(&place)), shared).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(writer.marker().mark("patched".into())).unwrap_err();
    assert!(error.contains("cannot make the store's directory"), "{error}");
    let _ = writer.finish();
}

#[test]
fn the_newest_changes_until_then_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(dir.path())).unwrap();
    let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
    for seconds in [30, 10, 20, 40] {
        store.mark(&format!("change {seconds}"), at(seconds)).unwrap();
    }
    let reader = StoreReader::new(dir.path());
    let texts = |until: u64, most: u32| -> Vec<String> {
        reader.marks(at(until), most).unwrap().into_iter().map(|mark| mark.text).collect()
    };
    assert_eq!(texts(30, 2), ["change 20", "change 30"], "oldest first, the newest of them");
    assert_eq!(texts(39, 100), ["change 10", "change 20", "change 30"]);
    assert_eq!(texts(9, 100), [""; 0]);
}
