//! Commands that print, on a terminal: colours, and lines that are no wider than it is.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

#[path = "support/agent.rs"]
mod agent;
#[path = "support/pty.rs"]
mod pty;

use lacuna::export::width::columns;
use lacuna::store::{Store, StoreSettings};
use pty::Session;

/// A directory with a store of two incidents, one of a host with a wide name.
fn store() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings { path: dir.path().to_owned(), ..StoreSettings::default() };
    let mut store = Store::open(&settings).unwrap();
    for document in [include_str!("data/host-down.json"), include_str!("data/path-drop.json")] {
        let document = document.replace("lb2 is gone", "数据库 is gone");
        store.put(&serde_json::from_str(&document).unwrap()).unwrap();
    }
    dir
}

/// What the command writes to a terminal so wide, without the carriage returns of the terminal.
fn on_a_terminal(words: &[&str], width: u16, no_color: Option<&str>) -> String {
    let mut command = agent::command(words);
    if let Some(value) = no_color {
        command.env("NO_COLOR", value);
    }
    let ended = Session::start(&command, 24, width).end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    ended.said.replace('\r', "")
}

#[test]
fn texts_are_wrapped_and_ids_never_cut() {
    let dir = store();
    let path = dir.path().to_str().unwrap();
    for words in [vec!["incidents", "--store", path], vec!["explain", "01JD6Q", "--store", path]] {
        for width in [40_u16, 60, 80, 100, 132] {
            let text = on_a_terminal(&words, width, Some("1"));
            assert!(text.contains("01JD6QAAAA0000000000000001"), "{width}: {text}");
            for line in text.lines() {
                assert!(columns(line) <= usize::from(width), "{width}: {line}");
            }
        }
    }
}

#[test]
fn colours_are_for_terminals_whose_user_wants_them() {
    let dir = store();
    let words = ["incidents", "--store", dir.path().to_str().unwrap()];
    let escape = '\u{1b}';
    assert!(on_a_terminal(&words, 200, None).contains(escape));
    assert!(on_a_terminal(&words, 200, Some("")).contains(escape), "empty means not set, see no-color.org");
    assert!(!on_a_terminal(&words, 200, Some("1")).contains(escape));
    assert!(!agent::out(&agent::lacuna(&words)).contains(escape), "and no terminal, no colours");
}

#[test]
fn a_pipe_has_a_line_for_each_incident() {
    let dir = store();
    let text = agent::out(&agent::lacuna(&["incidents", "--store", dir.path().to_str().unwrap()]));
    assert_eq!(text.lines().count(), 3, "{text}");
}
