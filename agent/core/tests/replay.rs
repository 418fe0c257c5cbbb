//! Recordings and what they must say: `tests/recordings/NAME.lacuna` (or `.jsonl`, version 1) is what a host was told, `NAME.json` every
//! incident that follows from it, in its last version. A new pair of files is a new test. With
//! `LACUNA_BLESS=1` the expected files are written anew; read the difference before you commit it.

#![expect(clippy::expect_used, reason = "a test that cannot read its files has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use lacuna_core::recording::{Options, Replayed, replay};

fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings");
    let mut all: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("tests/recordings is there")
        .map(|entry| entry.expect("a folder that can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl" || extension == "lacuna"))
        .collect();
    all.sort();
    assert!(!all.is_empty(), "no recording in {}", folder.display());
    all
}

fn replayed(path: &Path) -> Replayed {
    let recording = fs::read(path).expect("a recording");
    replay(&recording, &Options::default()).expect("a recording that can be replayed")
}

#[test]
fn every_recording_says_what_it_must() {
    for path in recordings() {
        let replayed = replayed(&path);
        assert_eq!((&replayed.damage, replayed.holes), (&None, 0), "{}", path.display());
        let document = serde_json::to_string_pretty(&replayed.last_versions()).expect("JSON") + "\n";
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
        let all = || serde_json::to_string(&replayed(&path).said).expect("JSON");
        assert_eq!(all(), all(), "{}", path.display());
    }
}
