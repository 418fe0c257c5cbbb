//! Recordings and what they must say: `tests/recordings/NAME.jsonl` is what a host was told, `NAME.json` every
//! incident that follows from it, in its last version. A new pair of files is a new test. With
//! `LACUNA_BLESS=1` the expected files are written anew; read the difference before you commit it.

#![expect(clippy::expect_used, reason = "a test that cannot read its files has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use lacuna_core::incident::Incident;
use lacuna_core::recording::{ReplayError, replay};

fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings");
    let mut all: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("tests/recordings is there")
        .map(|entry| entry.expect("a folder that can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    all.sort();
    assert!(!all.is_empty(), "no recording in {}", folder.display());
    all
}

fn last_versions(said: Vec<Incident>) -> Vec<Incident> {
    let mut last: Vec<Incident> = Vec::new();
    for incident in said {
        last.retain(|known| known.id != incident.id);
        last.push(incident);
    }
    last
}

fn document(recording: &str) -> String {
    let incidents = last_versions(replay(recording).expect("a recording that can be replayed"));
    serde_json::to_string_pretty(&incidents).expect("JSON") + "\n"
}

#[test]
fn every_recording_says_what_it_must() {
    for path in recordings() {
        let document = document(&fs::read_to_string(&path).expect("a recording"));
        let expected = path.with_extension("json");
        if std::env::var_os("LACUNA_BLESS").is_some() {
            fs::write(&expected, &document).expect("a file that can be written");
        }
        let expected = fs::read_to_string(&expected).expect("a recording has its expected incidents beside it");
        assert!(document == expected, "{}: the replay says\n{document}", path.display());
    }
}

#[test]
fn a_replay_is_the_same_to_the_byte_every_time() {
    for path in recordings() {
        let text = fs::read_to_string(&path).expect("a recording");
        let all = |text: &str| serde_json::to_string(&replay(text).expect("a recording")).expect("JSON");
        assert_eq!(all(&text), all(&text), "{}", path.display());
    }
}

#[test]
fn what_is_no_recording_is_refused_with_its_line() {
    assert_eq!(replay("{\"timeout\":5}\n"), Err(ReplayError::NoBeginning));
    let error = replay("rubbish\n").expect_err("rubbish is refused").to_string();
    assert!(error.starts_with("line 1 of the recording"), "{error}");
}
