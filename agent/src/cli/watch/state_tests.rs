use super::super::samples::{asking, at, busy, ended, large, status};
use super::*;
use crate::samples;

fn press(state: &mut State, keys: &[Key]) {
    for key in keys {
        assert_eq!(state.key(*key), Flow::GoOn, "{key:?}");
    }
}

fn shown(state: &State) -> Option<&str> {
    match &state.page {
        Page::Incident(incident, _) => Some(&incident.id),
        _ => None,
    }
}

#[test]
fn losses_are_those_of_the_last_minute_and_not_of_all_time() {
    let state = busy();
    assert_eq!(state.loss("lb1"), (Some(0.02), Some(0.1)));
    assert_eq!(state.loss("lb2"), (None, None), "nothing was exchanged");
    assert_eq!(state.loss("gateway"), (None, None), "an anchor has no heartbeats");
    assert_eq!(state.loss("nobody"), (None, None));
}

#[test]
fn another_start_of_the_agent_counts_from_zero() {
    let mut state = busy();
    let mut restarted = status();
    restarted.agent.incarnation += 1;
    let beats = restarted.peers[0].heartbeats.as_mut().unwrap();
    (beats.sent, beats.received, beats.lost_from_peer) = (2000, 2000, 2000);
    state.take(Update::Status(restarted), at(61));
    assert_eq!(state.loss("lb1"), (None, None), "one sample is no rate");
}

#[test]
fn a_peer_that_is_gone_is_forgotten() {
    let mut state = busy();
    let mut without = status();
    without.peers.retain(|peer| peer.name != "lb1");
    state.take(Update::Status(without), at(61));
    assert_eq!(state.loss("lb1"), (None, None));
    assert_eq!(state.counts.len(), 1);
}

#[test]
fn steal_is_that_of_the_last_seconds() {
    let mut state = asking();
    for (second, total) in [(0, 100.0), (5, 100.0), (10, 102.5)] {
        let mut status = status();
        status.cpus[0].steal_seconds_total = Some(total);
        state.take(Update::Status(status), at(second));
    }
    assert_eq!(state.steal(0), Some(0.25));
    assert_eq!(state.steal(1), None, "its steal is not known");
}

#[test]
fn peers_with_trouble_come_first() {
    let state = busy();
    let names: Vec<_> = state.peers().iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!(names, ["lb2", "gateway", "lb1"], "never heard, never heard, up");
}

#[test]
fn keys_choose_an_incident_open_it_and_come_back() {
    let mut state = busy();
    press(&mut state, &[Key::Open]);
    assert_eq!(shown(&state), Some(samples::host_down().id.as_str()), "the open one comes first");
    press(&mut state, &[Key::Back, Key::Down, Key::Down, Key::Open]);
    assert_eq!(shown(&state), Some(samples::path_drop().id.as_str()), "the last one, however often");
    press(&mut state, &[Key::Back, Key::Up, Key::Open]);
    assert_eq!(shown(&state), Some(samples::host_down().id.as_str()));
    press(&mut state, &[Key::Help]);
    assert_eq!(state.page, Page::Help(0));
    press(&mut state, &[Key::Help]);
    assert_eq!(state.page, Page::Overview);
    assert_eq!(state.key(Key::Quit), Flow::Quit);
}

#[test]
fn the_choice_stays_with_the_incident_when_others_come() {
    let mut state = large(1, 1);
    press(&mut state, &[Key::Down]);
    assert_eq!(state.chosen_incident(), 1);
    state.take(Update::Changed(Box::new(samples::numbered(99))), at(2));
    assert_eq!(state.chosen_incident(), 2, "a newer one stands above");
}

#[test]
fn who_looks_at_an_incident_sees_it_end() {
    let mut state = busy();
    press(&mut state, &[Key::Open]);
    state.take(ended(), at(61));
    let Page::Incident(incident, _) = &state.page else { panic!("another page") };
    assert_eq!(incident.ended_at.as_deref(), Some("2026-11-23T08:01:00.000Z"));
    // An older answer that was under way does not open it again.
    state.take(Update::Status(status()), at(62));
    let Page::Incident(incident, _) = &state.page else { panic!("another page") };
    assert!(incident.ended_at.is_some());
}

#[test]
fn a_page_scrolls_no_further_than_its_text() {
    let mut state = busy();
    press(&mut state, &[Key::Open, Key::Last]);
    state.hold(7);
    press(&mut state, &[Key::Up]);
    assert!(matches!(state.page, Page::Incident(_, 6)), "{:?}", state.page);
    press(&mut state, &[Key::First, Key::Up]);
    assert!(matches!(state.page, Page::Incident(_, 0)));
}

#[test]
fn the_arrows_move_in_the_list_that_was_chosen() {
    let mut state = large(1, 30);
    press(&mut state, &[Key::Other, Key::PageDown, Key::PageDown, Key::PageDown, Key::Down]);
    assert_eq!((state.focus, state.chosen_peer, state.chosen_incident()), (Focus::Peers, 29, 0));
    let mut fewer = status();
    fewer.peers.truncate(2);
    state.take(Update::Status(fewer), at(2));
    assert_eq!(state.chosen_peer, 1);
    press(&mut state, &[Key::Other]);
    assert_eq!(state.focus, Focus::Incidents);
}

#[test]
fn nothing_to_choose_is_no_panic() {
    let mut state = asking();
    press(&mut state, &[Key::Up, Key::Down, Key::Last, Key::Open, Key::Other, Key::Last, Key::Open, Key::Back]);
    assert_eq!(state.page, Page::Overview);
}

#[test]
fn silence_keeps_what_was_known_and_says_how_old_it_is() {
    let mut state = busy();
    state.take(Update::NoStatus("no agent answers".into()), at(72));
    assert_eq!((state.age(), &state.contact), (Duration::from_secs(12), &Contact::Silent("no agent answers".into())));
    assert!(state.status.is_some());
    state.take(Update::Status(status()), at(73));
    assert_eq!((state.age(), &state.contact), (Duration::ZERO, &Contact::Answers));
}
