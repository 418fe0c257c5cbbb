use std::fs;
use std::path::Path;

use lacuna_core::evidence::{Evidence, Fact};
use lacuna_core::recording::{Piece, pieces, replay};

use super::export::join;
use super::*;
use crate::samples::shared;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Nanos {
    Nanos::default().plus(SECOND * u32::try_from(seconds).unwrap())
}

fn ring(folder: &Path, most: u64) -> Ring {
    Ring::open(folder, most, 7).unwrap()
}

/// Files of ten seconds and a thousand bytes each.
fn fill(ring: &mut Ring, files: std::ops::Range<u64>) {
    for file in files {
        for block in 0..10 {
            ring.write(&[0; 100], block == 0, at(file * 10 + block + 1)).unwrap();
        }
    }
}

fn bytes_in(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn names(ring: &Ring) -> Vec<String> {
    ring.files().iter().map(|path| path.file_name().unwrap().to_string_lossy()[21..].to_owned()).collect()
}

#[test]
fn the_oldest_files_go_and_the_limit_holds() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = ring(folder.path(), 5000);
    for file in 0..20 {
        fill(&mut ring, file..file + 1);
        assert!(bytes_in(folder.path()) <= 5000);
        assert_eq!(bytes_in(folder.path()), ring.used);
    }
    assert_eq!(names(&ring), ["00000016.lacuna", "00000017.lacuna", "00000018.lacuna", "00000019.lacuna"]);
}

#[test]
fn what_is_around_an_incident_goes_last_and_has_a_limit_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = ring(folder.path(), 5000);
    fill(&mut ring, 0..2);
    // Within the second file and the third.
    ring.keep(at(12), at(25)).unwrap();
    fill(&mut ring, 2..6);
    assert!(names(&ring).contains(&"00000001.kept.lacuna".to_owned()), "{:?}", names(&ring));
    fill(&mut ring, 6..20);
    assert_eq!(names(&ring)[..2], ["00000001.kept.lacuna", "00000002.kept.lacuna"]);
    ring.keep(at(150), at(400)).unwrap();
    fill(&mut ring, 20..40);
    assert_eq!(names(&ring)[0], "00000036.kept.lacuna", "those that are kept have no more room than all");
    assert!(bytes_in(folder.path()) <= 5000);
}

#[test]
fn a_folder_whose_name_looks_like_a_file_stays_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("db1.lacuna");
    let mut ring = ring(&inside, 5000);
    fill(&mut ring, 0..2);
    ring.keep(at(1), at(20)).unwrap();
    assert!(ring.files().iter().all(|path| path.exists()), "{:?}", ring.files());
}

#[test]
fn what_an_agent_before_has_left_counts_and_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    fill(&mut Ring::open(folder.path(), 5000, 6).unwrap(), 0..4);
    let mut ring = ring(folder.path(), 5000);
    assert_eq!(ring.used, bytes_in(folder.path()));
    fill(&mut ring, 0..3);
    assert_eq!(names(&ring), ["00000003.lacuna", "00000000.lacuna", "00000001.lacuna", "00000002.lacuna"]);
    assert_eq!(Ring::open(folder.path(), 2100, 8).unwrap().files().len(), 2, "a smaller ring makes room at once");
}

#[test]
fn a_wall_clock_that_was_set_back_makes_nothing_older() {
    let folder = tempfile::tempdir().unwrap();
    fill(&mut Ring::open(folder.path(), 5000, 9).unwrap(), 0..2);
    let mut ring = ring(folder.path(), 5000);
    fill(&mut ring, 0..1);
    let files = Ring::open(folder.path(), 5000, 8).unwrap().files();
    assert_eq!(files, ring.files(), "the newest start is the newest for the next one as well");
}

#[test]
fn a_file_that_is_kept_while_it_is_exported_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), 30);
    let listed = ring::files_in(folder.path()).unwrap();
    let before = join(&listed).unwrap();
    fs::rename(&listed[0], listed[0].with_extension(ring::KEPT)).unwrap();
    assert_eq!(join(&listed).unwrap(), before);
    fs::remove_file(listed[0].with_extension(ring::KEPT)).unwrap();
    assert!(join(&listed).unwrap().bytes.len() < before.bytes.len(), "the oldest may be gone");
}

#[test]
fn an_agent_that_starts_again_leaves_no_hole() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), 30);
    record_as(folder.path(), 30, 8);
    let exported = export(folder.path()).unwrap();
    let replayed = replay(&exported.bytes, &lacuna_core::recording::Options::default()).unwrap();
    assert_eq!((replayed.holes, replayed.damage), (0, None));
}

#[test]
fn a_block_that_cannot_be_written_takes_those_after_it_along() {
    let folder = tempfile::tempdir().unwrap();
    let mut ring = ring(folder.path(), 5000);
    ring.write(&[0; 100], true, at(1)).unwrap();
    assert!(ring.write(&[0; 6000], false, at(2)).is_err(), "larger than all room");
    assert!(ring.write(&[0; 100], false, at(3)).is_err(), "it could not be read without the one before");
    ring.write(&[0; 100], true, at(4)).unwrap();
}

/// What a recorder in that folder is told for so many seconds, ten lines each.
fn record(folder: &Path, seconds: u64) -> Vec<Line> {
    record_as(folder, seconds, 7)
}

/// The same by another start of the agent.
fn record_as(folder: &Path, seconds: u64, incarnation: u64) -> Vec<Line> {
    let settings = Settings { host: "a".into(), ..Settings::default() };
    let (ring, me) = (Ring::open(folder, 1 << 20, incarnation).unwrap(), Me { incarnation, ..Me::default() });
    let mut recorder = Recorder::start(ring, settings, me, shared(), at(0)).unwrap();
    let mut told = Vec::new();
    for turn in 0..seconds * 10 {
        let now = Nanos(turn * 100_000_000);
        recorder.turn(now);
        let line = Line::Evidence(Evidence::at("b", now, Fact::HeartbeatSent { seq: turn + 1, error: None }));
        recorder.take(&line);
        told.push(line);
        if turn % 100 == 0 {
            // Until the thread has written all before: no disk is given a minute at once.
            recorder.exporter().export().unwrap();
        }
    }
    recorder.finish(at(seconds));
    told
}

fn lines(bytes: &[u8]) -> Vec<Line> {
    let lines = pieces(bytes).map(|piece| match piece.unwrap() {
        Piece::Line(line) => line,
        Piece::Hole => panic!("nothing is missing"),
    });
    lines.filter(|line| !matches!(line, Line::Begin { .. })).collect()
}

#[test]
fn all_that_was_told_is_exported_over_all_files() {
    let folder = tempfile::tempdir().unwrap();
    let told = record(folder.path(), 70);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "twenty seconds each");
    let exported = export(folder.path()).unwrap();
    assert_eq!(exported.damaged, []);
    assert_eq!(lines(&exported.bytes), told);
    let replayed = replay(&exported.bytes, &lacuna_core::recording::Options::default()).unwrap();
    assert_eq!((replayed.host.as_str(), replayed.holes, replayed.damage), ("a", 0, None));
}

#[test]
fn a_torn_file_costs_its_end_and_shows() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path(), 70);
    let torn = ring::files_in(folder.path()).unwrap()[1].clone();
    let length = fs::metadata(&torn).unwrap().len();
    fs::File::options().write(true).open(&torn).unwrap().set_len(length / 2).unwrap();
    let exported = export(folder.path()).unwrap();
    assert_eq!(exported.damaged.len(), 1);
    assert_eq!(exported.damaged[0].0, torn);
    let replayed = replay(&exported.bytes, &lacuna_core::recording::Options::default()).unwrap();
    assert_eq!((replayed.holes, replayed.damage), (1, None));
}

#[test]
fn a_running_recorder_gives_what_is_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder =
        Recorder::start(ring(folder.path(), 1 << 20), Settings::default(), Me::default(), shared(), at(0)).unwrap();
    let exporter = recorder.exporter();
    for second in 0..5 {
        recorder.turn(at(second));
        recorder.take(&Line::Timeout(at(second)));
    }
    assert_eq!(lines(&exporter.export().unwrap().bytes).len(), 4, "the last second is still in memory");
    recorder.finish(at(5));
    assert!(matches!(exporter.export(), Err(ExportError::Silent)));
}

#[test]
fn without_a_disk_it_counts_and_says_so() {
    let (folder, shared) = (tempfile::tempdir().unwrap(), shared());
    let start = || {
        Recorder::start(ring(folder.path(), 1 << 20), Settings::default(), Me::default(), Arc::clone(&shared), at(0))
    };
    let mut recorder = start().unwrap();
    fs::remove_dir_all(folder.path()).unwrap();
    recorder.turn(at(2));
    recorder.finish(at(3));
    assert!(shared.counters.read().recorder_refused >= 1);
    assert!(shared.degraded.read().contains_key(PART));
}
