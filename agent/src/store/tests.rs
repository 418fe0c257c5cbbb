use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use lacuna_core::incident::{Class, State};

use super::*;
use crate::samples;

const CHILD_DIR: &str = "LACUNA_TEST_STORE";

pub(super) fn settings(path: &Path) -> StoreSettings {
    StoreSettings { path: path.to_owned(), ..StoreSettings::default() }
}

fn ids(found: &Found) -> Vec<&str> {
    found.incidents.iter().map(|one| one.id.as_str()).collect()
}

pub(super) fn find(path: &Path, query: &Query) -> Found {
    StoreReader::new(path).find(query).unwrap()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_was_put_comes_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(&dir.path().join("a/b"))).unwrap();
    let (closed, open) = (samples::path_drop(), samples::host_down());
    store.put(&open).unwrap();
    store.put(&closed).unwrap();
    let found = find(&dir.path().join("a/b"), &Query::default());
    assert_eq!(found.incidents, [closed, open.clone()]);
    assert_eq!(store.open_incidents().unwrap().incidents, [open]);
}

#[test]
fn a_question_is_answered_by_id_time_class_and_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(dir.path())).unwrap();
    for i in 0..4 {
        store.put(&samples::numbered(i)).unwrap();
    }
    store.put(&samples::host_down()).unwrap();
    let all = Query::default;
    let ended = humantime::parse_rfc3339_weak(samples::numbered(2).ended_at.as_ref().unwrap());
    let cases = [
        (Query { id_prefix: Some("id-000001".into()), ..all() }, vec!["id-000001"]),
        (Query { id_prefix: Some("id_".into()), ..all() }, vec![]),
        (Query { class: Some(Class::HostDown), ..all() }, vec!["01JD6RBBBB0000000000000002"]),
        (Query { state: Some(State::Open), ..all() }, vec!["01JD6RBBBB0000000000000002"]),
        (Query { since: Some(ended.unwrap()), state: Some(State::Closed), ..all() }, vec!["id-000002", "id-000003"]),
    ];
    for (query, expected) in cases {
        let found = find(dir.path(), &query);
        assert_eq!(ids(&found), expected, "{query:?}");
        let everything = find(dir.path(), &all()).incidents;
        let wanted: Vec<_> = everything.iter().filter(|one| query.wants(one)).collect();
        assert_eq!(wanted.len(), expected.len(), "memory and store agree on {query:?}");
    }
    let newest = find(dir.path(), &Query { limit: 2, class: Some(Class::PathDrop), ..all() });
    assert_eq!(ids(&newest), ["id-000002", "id-000003"]);
    assert!(newest.truncated);
}

#[test]
fn evidence_of_earlier_versions_is_kept_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(dir.path())).unwrap();
    let first = samples::path_drop();
    let mut later = first.clone();
    later.evidence.truncate(2);
    store.put(&first).unwrap();
    store.put(&later).unwrap();
    let reader = StoreReader::new(dir.path());
    assert_eq!(find(dir.path(), &Query::default()).incidents, [later.clone()]);
    assert_eq!(reader.earlier_evidence(&first.id).unwrap(), first.evidence[2..]);
    for i in 0..EARLIER_EVIDENCE + 5 {
        later.evidence[0].from = format!("moment {i}");
        store.put(&later).unwrap();
    }
    let earlier = reader.earlier_evidence(&first.id).unwrap();
    assert_eq!(earlier.len(), EARLIER_EVIDENCE as usize);
    assert!(!earlier.contains(&first.evidence[3]), "the oldest went first");
}

#[test]
fn a_full_store_lets_the_oldest_closed_incidents_go() {
    let dir = tempfile::tempdir().unwrap();
    let small = StoreSettings { max_size: 0, ..settings(dir.path()) };
    let mut store = Store::open(&small).unwrap();
    let open = samples::host_down();
    store.put(&open).unwrap();
    let evicted: u64 = (0..60).map(|i| store.put(&samples::numbered(i)).unwrap()).sum();
    let found = find(dir.path(), &Query::default());
    assert!(evicted > 0);
    assert_eq!(found.incidents.len() as u64 + evicted, 61);
    assert!(found.incidents.contains(&open), "an open incident stays");
    assert!(found.incidents.contains(&samples::numbered(59)));
    assert!(!found.incidents.contains(&samples::numbered(0)));
}

#[test]
fn a_store_full_of_open_incidents_says_so_and_stays_whole() {
    let dir = tempfile::tempdir().unwrap();
    let small = StoreSettings { max_size: 0, ..settings(dir.path()) };
    let mut store = Store::open(&small).unwrap();
    let open = |i| Incident { state: State::Open, ended_at: None, ..samples::numbered(i) };
    let (mut kept, mut refusal) = (0, None);
    for i in 0..200 {
        match store.put(&open(i)) {
            Ok(_) => kept += 1,
            Err(error) => refusal = Some(error),
        }
    }
    assert!(matches!(refusal, Some(StoreError::Full { .. })));
    assert_eq!(find(dir.path(), &Query::default()).incidents.len(), kept);
}

#[test]
fn what_is_older_than_the_retention_goes_but_not_what_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(dir.path())).unwrap();
    store.put(&samples::path_drop()).unwrap();
    store.put(&samples::host_down()).unwrap();
    let ended = humantime::parse_rfc3339_weak("2026-11-22T21:36:19.960Z").unwrap();
    let retention = StoreSettings::default().retention;
    assert_eq!(store.expire(ended + retention).unwrap(), 0);
    let later = ended + retention * 2;
    assert_eq!(store.expire(later).unwrap(), 1);
    assert_eq!(find(dir.path(), &Query::default()).incidents, [samples::host_down()]);
}

#[test]
fn a_newer_version_a_foreign_file_and_a_missing_one_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = schema::file(dir.path());
    let read = || StoreReader::new(dir.path()).find(&Query::default()).unwrap_err();
    assert!(matches!(read(), StoreError::Missing { .. }));
    drop(Store::open(&settings(dir.path())).unwrap());
    let database = Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", 9).unwrap();
    let newer = Store::open(&settings(dir.path())).unwrap_err();
    assert!(newer.to_string().contains("schema version 9, this lacuna knows up to 3"), "{newer}");
    assert!(matches!(read(), StoreError::Newer { .. }));
    database.pragma_update(None, "application_id", 1).unwrap();
    drop(database);
    assert!(matches!(read(), StoreError::Foreign { .. }));
    std::fs::write(&path, "this is no database, whatever its name says").unwrap();
    let error = Store::open(&settings(dir.path())).unwrap_err();
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
    assert!(matches!(read(), StoreError::NotADatabase { .. }));
}

#[test]
fn a_store_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(&settings(dir.path())).unwrap();
    let error = Store::open(&settings(dir.path())).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(find(dir.path(), &Query::default()).incidents.is_empty(), "anybody may read");
    drop(first);
    Store::open(&settings(dir.path())).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let error = Store::open(&settings(Path::new("/proc/lacuna"))).unwrap_err();
    assert!(error.to_string().starts_with("/proc/lacuna: cannot make the store's directory"), "{error}");
}

/// Runs one of the `child_` tests below in a process of its own, in front of which `before` stands.
fn child(test: &str, directory: &Path, before: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut words = before.to_vec();
    words.push(program.to_str().unwrap());
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["--exact", test, "--nocapture"]).env(CHILD_DIR, directory).stdout(Stdio::piped());
    command
}

#[test]
fn child_that_writes() {
    let Some(directory) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let mut store = Store::open(&settings(Path::new(&directory))).unwrap();
    for i in 0..100_000 {
        store.put(&samples::numbered(i)).unwrap();
        println!("\nput {i}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = child("store::tests::child_that_writes", dir.path(), &[]).spawn().unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut acknowledged = 0;
    for line in lines {
        acknowledged += u32::from(line.unwrap().starts_with("put "));
        if acknowledged == 50 {
            writer.kill().unwrap();
        }
    }
    writer.wait().unwrap();
    let found = find(dir.path(), &Query::default());
    assert!((50..100_000).contains(&acknowledged));
    assert!(found.incidents.len() >= acknowledged as usize);
    for (i, incident) in (0..).zip(&found.incidents) {
        assert_eq!(*incident, samples::numbered(i));
    }
    let again = Store::open(&settings(dir.path())).unwrap();
    drop(again);
    assert_eq!(find(dir.path(), &Query::default()), found, "and a new start");
}

#[test]
fn child_in_a_read_only_place() {
    let Some(directory) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let error = Store::open(&settings(Path::new(&directory))).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    let found = find(Path::new(&directory), &Query::default());
    assert_eq!(found.incidents, [samples::path_drop(), samples::host_down()]);
    let open = StoreReader::new(Path::new(&directory)).open_incidents().unwrap();
    assert_eq!(open.incidents, [samples::host_down()], "what a restarted agent goes on with");
    println!("\nread {}", found.incidents.len());
}

#[test]
fn a_read_only_store_says_so_and_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(dir.path())).unwrap();
    store.put(&samples::path_drop()).unwrap();
    store.put(&samples::host_down()).unwrap();
    drop(store);
    let path = dir.path().to_str().unwrap();
    let mount = format!("mount --bind {path} {path} && mount -o remount,bind,ro {path} && exec \"$@\"");
    let before = ["unshare", "--mount", "sh", "-ec", &mount, "sh"];
    let test = "store::tests::child_in_a_read_only_place";
    let output = child(test, dir.path(), &before).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("\nread 2"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_writer_keeps_what_it_is_given_and_ends_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let shared = samples::shared();
    let opened = Store::open(&settings(dir.path()));
    let writer = spawn_writer(settings(dir.path()), opened, Arc::clone(&shared)).unwrap();
    for i in 0..100 {
        writer.put(Arc::new(samples::numbered(i)));
    }
    assert!(writer.finish());
    assert_eq!(find(dir.path(), &Query::default()).incidents.len(), 100);
    assert_eq!(shared.counters.read().store_refused, 0);
    assert!(shared.degraded.read().is_empty());
}

#[test]
fn the_writer_says_what_is_wrong_and_takes_it_back_once_it_works_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    std::fs::write(&place, "a file where the directory should be").unwrap();
    let shared = samples::shared();
    let opened = Store::open(&settings(&place));
    let writer = spawn_writer(settings(&place), opened, Arc::clone(&shared)).unwrap();
    let said = shared.degraded.read()["store"].clone();
    assert!(said.contains("cannot make the store's directory"), "{said}");
    writer.put(Arc::new(samples::host_down()));
    let newer = Incident { duration_ms: 9000, ..samples::host_down() };
    writer.put(Arc::new(newer.clone()));
    std::fs::remove_file(&place).unwrap();
    wait_until("degraded again empty", || shared.degraded.read().is_empty());
    assert_eq!(find(&place, &Query::default()).incidents, [newer], "the newest version");
    assert!(writer.finish());
}

#[test]
fn a_database_that_was_deleted_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let shared = samples::shared();
    let opened = Store::open(&settings(&place));
    let writer = spawn_writer(settings(&place), opened, Arc::clone(&shared)).unwrap();
    writer.put(Arc::new(samples::numbered(0)));
    wait_until("the first is written", || find(&place, &Query::default()).incidents.len() == 1);
    std::fs::remove_dir_all(&place).unwrap();
    writer.put(Arc::new(samples::numbered(1)));
    wait_until("said", || shared.degraded.read().get("store").is_some_and(|said| said.contains("deleted or moved")));
    wait_until("the second is written", || {
        StoreReader::new(&place).find(&Query::default()).is_ok_and(|found| ids(&found) == ["id-000001"])
    });
    wait_until("degraded again empty", || shared.degraded.read().is_empty());
    assert!(writer.finish());
}

#[test]
fn a_writer_that_cannot_write_is_bounded_and_counts() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    std::fs::write(&place, "").unwrap();
    let shared = samples::shared();
    let opened = Store::open(&settings(&place));
    let writer = spawn_writer(settings(&place), opened, Arc::clone(&shared)).unwrap();
    let given = 3 * QUEUE as u64;
    for i in 0..3 * QUEUE {
        writer.put(Arc::new(samples::numbered(i as u32)));
    }
    wait_until("refused", || shared.counters.read().store_refused > 0);
    std::fs::remove_file(&place).unwrap();
    // On a slow disk it gives up the wait; the thread goes on all the same.
    let _ = writer.finish();
    wait_until("each is kept or counted", || {
        let kept = find(&place, &Query { limit: MAX_LIMIT, ..Query::default() }).incidents.len();
        kept as u64 + shared.counters.read().store_refused == given
    });
}

#[test]
fn an_incident_without_a_time_is_refused_and_the_next_one_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let shared = samples::shared();
    let opened = Store::open(&settings(dir.path()));
    let writer = spawn_writer(settings(dir.path()), opened, Arc::clone(&shared)).unwrap();
    let timeless = Incident { started_at: "yesterday".into(), ..samples::path_drop() };
    writer.put(Arc::new(timeless));
    writer.put(Arc::new(samples::host_down()));
    assert!(writer.finish());
    assert_eq!(shared.counters.read().store_refused, 1);
    assert_eq!(find(dir.path(), &Query::default()).incidents, [samples::host_down()]);
}
