use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::super::feed::Update;
use super::super::keys::Key;
use super::super::samples::{asking, at, busy, large, quiet};
use super::*;

fn drawn(state: &State, width: u16, height: u16) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    terminal.backend().clone()
}

#[test]
fn a_busy_host() {
    insta::assert_snapshot!(drawn(&busy(), 120, 24));
}

#[test]
fn a_busy_host_on_the_smallest_usual_terminal() {
    insta::assert_snapshot!(drawn(&busy(), 80, 24));
}

#[test]
fn a_narrow_and_low_terminal_says_what_does_not_fit() {
    insta::assert_snapshot!(drawn(&busy(), 44, 11));
}

#[test]
fn a_terminal_that_is_too_small_says_what_it_takes() {
    insta::assert_snapshot!(drawn(&busy(), 30, 8));
}

#[test]
fn a_large_host() {
    insta::assert_snapshot!(drawn(&large(64, 50), 100, 30));
}

#[test]
fn the_chosen_row_is_always_among_those_that_are_shown() {
    let mut state = large(2, 2);
    state.key(Key::Last);
    let text = drawn(&state, 100, 20).to_string();
    assert!(text.contains("> ended"), "{text}");
    assert!(text.contains("of 40"), "{text}");
}

#[test]
fn a_quiet_host_without_peers() {
    insta::assert_snapshot!(drawn(&quiet(), 80, 16));
}

#[test]
fn an_agent_that_never_answered() {
    let mut state = asking();
    let why = "no agent answers at http://127.0.0.1:9480 (io: Connection refused); start one with `lacuna agent --config FILE`, \
               or give --agent URL";
    state.take(Update::NoStatus(why.into()), at(1));
    insta::assert_snapshot!(drawn(&state, 80, 12));
}

#[test]
fn an_agent_that_answers_no_more() {
    let mut state = busy();
    state.take(Update::NoStatus("no agent answers at http://127.0.0.1:9480 (timeout: global)".into()), at(72));
    insta::assert_snapshot!(drawn(&state, 100, 20));
}

#[test]
fn an_agent_that_takes_long_and_whose_changes_do_not_come() {
    let mut state = busy();
    state.take(Update::DoesNotFollow("the agent ended the stream".into()), at(65));
    let text = drawn(&state, 120, 20).to_string();
    assert!(text.contains("takes long to answer: what is below is 5.0 s old"), "{text}");
    assert!(text.contains("not live: the agent ended the stream"), "{text}");
}

#[test]
fn an_incident_is_explained() {
    let mut state = busy();
    state.key(Key::Down);
    state.key(Key::Open);
    insta::assert_snapshot!(drawn(&state, 80, 40));
}

#[test]
fn an_incident_is_scrolled_to_its_end() {
    let mut state = busy();
    state.key(Key::Open);
    state.key(Key::Last);
    state.hold(beyond(&state, 60, 12));
    let text = drawn(&state, 60, 12).to_string();
    let lines = pages::incident(&crate::samples::host_down(), 60).len();
    assert!(text.contains(&format!("–{lines} of {lines}")), "{text}");
}

#[test]
fn help() {
    let mut state = asking();
    state.key(Key::Help);
    insta::assert_snapshot!(drawn(&state, 80, 34));
}

#[test]
fn colours_only_where_they_are_welcome() {
    let colours = |state: &State| {
        let backend = drawn(state, 100, 24);
        backend.buffer().content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    let mut state = busy();
    assert!(!colours(&state));
    state.colour = true;
    assert!(colours(&state));
}

#[test]
fn nothing_from_outside_steers_the_terminal() {
    let mut state = busy();
    let mut incident = crate::samples::host_down();
    incident.verdict.summary = "\u{1b}[2Jgone\u{7}".into();
    state.take(Update::Changed(Box::new(incident)), at(61));
    let status = state.status.as_mut().unwrap();
    status.agent.host = "\u{1b}]0;x\u{7}".into();
    status.peers[0].name = "\u{202e}1bl".into();
    for key in [Key::Back, Key::Open] {
        state.key(key);
        let text = drawn(&state, 120, 30).to_string();
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text}");
    }
}

#[test]
fn no_size_is_a_panic() {
    for mut state in [asking(), quiet(), busy(), large(64, 50)] {
        for key in [Key::Back, Key::Other, Key::Open, Key::Help] {
            state.key(key);
            for (width, height) in
                [(1, 1), (2, 30), (39, 10), (40, 9), (40, 10), (41, 11), (60, 14), (300, 5), (300, 100)]
            {
                drawn(&state, width, height);
            }
        }
    }
}
