use super::*;
use crate::lab::scenario::Scenario;

const HEAD: &str = "about = \"x\"\nlasts = \"9s\"\nhosts = [{ name = \"a\" }, { name = \"b\" }, { name = \"c\" }]\n";
const DROP: &str = "drop = { from = \"a\", to = \"b\", both-ways = true }";
const STOPPED: &str = "signal-all = { host = \"b\", signal = \"SIGSTOP\" }";
const OBSERVER: &str = "starve = { host = \"a\", lasts = \"5s\" }";

fn gone(by: &str, of: &str) -> Said {
    Said { by: by.into(), what: Conclusion::gone(of) }
}

fn late(by: &str, seconds: f64) -> Said {
    Said { by: by.into(), what: Conclusion::SelfLate(seconds) }
}

fn fault(name: &str, step: &str, said: Vec<Said>) -> Fault {
    let scenario = Scenario::parse("test", &format!("{HEAD}steps = [{{ at = \"1s\", {step} }}]\n")).unwrap();
    Fault { name: name.into(), truth: Truth::of(&scenario), said: [(Product::Bird, said)].into() }
}

/// The cell of the first fault.
fn first(faults: &[Fault]) -> Cell {
    cell(Product::Bird, faults.first().unwrap(), faults)
}

#[test]
fn the_same_words_for_a_cut_path_and_a_stopped_host_tell_neither() {
    let drop = fault("drop", DROP, vec![gone("a", "b"), gone("b", "a")]);
    let stopped = fault("stopped-peer", STOPPED, vec![gone("a", "b"), gone("c", "b")]);
    let told = first(&[drop.clone(), stopped.clone()]);
    assert_eq!((told.mark, told.told.as_str()), (Mark::CannotTell, "a: session to b expired; b: session to a expired"));
    assert_eq!(told.judged, "cannot tell: the same words as for a stopped peer");
    let told = first(&[stopped, drop]);
    assert_eq!((told.mark, told.told.as_str()), (Mark::CannotTell, "a, c: session to b expired"));
    assert_eq!(told.judged, "cannot tell: the same words as for a drop");
}

#[test]
fn who_misses_only_those_that_are_cut_off_and_never_a_stopped_host_is_right() {
    let drop = fault("drop", DROP, vec![gone("a", "b")]);
    let stopped = fault("stopped-peer", STOPPED, vec![late("b", 5.0)]);
    assert_eq!(first(&[drop.clone(), stopped.clone()]).mark, Mark::Right);
    assert_eq!(first(&[stopped, drop]).mark, Mark::Right);
}

#[test]
fn whoever_blames_a_host_that_was_well_is_wrong() {
    let drop = fault("drop", DROP, vec![gone("a", "b"), gone("a", "c")]);
    let told = first(&[drop]);
    assert_eq!((told.mark, told.judged.as_str()), (Mark::Wrong, "wrong: a blames c"));
    // What it says of itself does not make up for it.
    let observer = fault("starved-observer", OBSERVER, vec![gone("a", "b"), gone("a", "c"), late("a", 5.0)]);
    let told = first(&[observer]);
    assert_eq!((told.mark, told.judged.as_str()), (Mark::Wrong, "wrong: a blames b, c"));
    assert!(told.told.ends_with("; a of itself: timer late by 5.0 s"), "{}", told.told);
}

#[test]
fn an_account_of_itself_counts_where_it_really_stood_still() {
    let drop = fault("drop", DROP, vec![gone("a", "b")]);
    let stopped = |by| fault("stopped-peer", STOPPED, vec![gone("a", "b"), late(by, 4.8)]);
    let told = first(&[stopped("b"), drop.clone()]);
    assert_eq!(told.mark, Mark::OnlyItself);
    assert!(told.judged.ends_with("; only b itself knows, afterwards"), "{}", told.judged);
    assert_eq!(first(&[stopped("c"), drop]).mark, Mark::CannotTell);
}

#[test]
fn silence_and_short_pauses_are_no_verdict() {
    assert_eq!(first(&[fault("stopped-peer", STOPPED, vec![])]).mark, Mark::Nothing);
    assert_eq!(first(&[fault("stopped-peer", STOPPED, vec![late("b", 0.3)])]).mark, Mark::Nothing);
}

#[test]
fn flaps_are_counted() {
    let flaps = fault("stopped-peer", STOPPED, vec![gone("a", "b"), gone("a", "b"), gone("c", "b")]);
    assert_eq!(first(&[flaps]).told, "a, c: session to b expired (up to 2 times)");
}
