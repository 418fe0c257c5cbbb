use std::process::Command;

use super::*;

#[path = "../../../tests/support/pty.rs"]
mod pty;

/// Says to the test below that it is the one that runs on the terminal.
const INSIDE: &str = "LACUNA_TEST_INSIDE_A_TERMINAL";

/// Nothing by itself: it is run again on a terminal, by the next test.
#[test]
fn panics_inside_a_terminal() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let mut screen = Screen::open().unwrap();
    screen.draw(|frame| frame.render_widget("the view", frame.area())).unwrap();
    panic!("on purpose");
}

#[test]
fn a_panic_gives_the_terminal_back_and_is_told_there() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = "cli::watch::screen::tests::panics_inside_a_terminal";
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    let session = pty::Session::start(&command, 24, 80);
    session.wait_for("on purpose");
    let ended = session.end();
    assert!(!ended.status.success(), "it panicked");
    assert_eq!(ended.after, ended.before);
    assert!(ended.said.contains("view"), "it was drawn: {}", ended.said);
    let (_, after) = ended.said.rsplit_once(pty::LEAVES).expect("the view is left");
    assert!(after.contains("on purpose"), "and then the panic is told: {after}");
    assert_eq!(ended.said.matches(pty::LEAVES).count(), 1);
    assert!(ended.cursor_is_visible);
}
