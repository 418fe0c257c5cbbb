//! Peers: those with trouble first.

use std::time::Duration;

use super::super::state::{Focus, State};
use super::columns::{Column, fit};
use super::spark::bars;
use super::{Row, place, shown, title};
use crate::export::json::Peer;
use crate::export::table::{Cell, Look, plain};
use crate::export::text::peer_state;
use crate::export::width::shorten;
use crate::export::words;
use crate::recent::SLOTS;

/// Least room for the bars before other columns give way.
const BARS: usize = 10;
/// Longest name that is shown whole.
const NAME: usize = 24;
/// From that many seconds on an offset is told in seconds.
const SECONDS: f64 = 10.0;

/// Title, headings and a row each.
pub(super) fn wants(state: &State) -> usize {
    2 + state.peers().len().max(1)
}

pub(super) fn rows(state: &State, width: usize, height: usize) -> Vec<Row> {
    let all = state.peers();
    if height == 0 {
        return Vec::new();
    }
    if all.is_empty() {
        let none = "  none configured: see `lacuna config check FILE`";
        return vec![title("Peers", "", width), Row::one(none, Look::Plain)];
    }
    let range = shown(all.len(), height.saturating_sub(2), state.chosen_peer);
    let seen = &all[range.clone()];
    let fitted = fit(columns(state, seen), width.saturating_sub(2), BARS);
    let mut rows = vec![title("Peers", &note(&all, place(&range, all.len()), &fitted.left_out), width)];
    let mut headings = vec![plain("  ")];
    headings.extend(fitted.headings);
    headings.push(("GAPS, 5 min".to_owned(), Look::Bold));
    rows.push(Row::of(headings));
    for ((number, peer), cells) in range.zip(seen).zip(fitted.rows) {
        let chosen = number == state.chosen_peer && state.focus == Focus::Peers;
        let mut row = vec![plain(if chosen { "> " } else { "  " })];
        row.extend(cells);
        let gaps: Vec<Duration> = peer.recent_gaps.longest().collect();
        row.push(plain(bars(&gaps, fitted.rest.min(SLOTS))));
        rows.push(Row { cells: row, chosen });
    }
    rows.truncate(height);
    rows
}

fn note(all: &[&Peer], place: Option<String>, left_out: &[&str]) -> String {
    let down = all.iter().filter(|peer| peer.up == Some(false) && !peer.left).count();
    let mut notes = vec![all.len().to_string()];
    if down > 0 {
        notes.push(format!("{down} silent"));
    }
    notes.extend(place);
    if !left_out.is_empty() {
        notes.push(format!("no room for {}", left_out.join(", ")));
    }
    notes.join(", ")
}

fn columns(state: &State, peers: &[&Peer]) -> Vec<Column> {
    let column = |name, rank, cell: &dyn Fn(&Peer) -> Cell| Column {
        name,
        cells: peers.iter().map(|peer| cell(peer)).collect(),
        rank,
    };
    vec![
        column("NAME", 0, &|peer| (shorten(&peer.name, NAME), Look::Bold)),
        column("STATE", 0, &peer_state),
        column("HEARD AGO", 1, &|peer| plain(heard(peer))),
        column("RTT", 4, &|peer| plain(rtt(peer))),
        column("LOSS IN", 2, &|peer| loss(state.loss(&peer.name).0)),
        column("LOSS OUT", 3, &|peer| loss(state.loss(&peer.name).1)),
        column("OFFSET", 5, &|peer| plain(offset(peer.clock.offset_seconds))),
    ]
}

/// An anchor has no heartbeats, and is heard by its echoes.
fn heard(peer: &Peer) -> String {
    if peer.role == "anchor" {
        return words::seconds(peer.last_echo_seconds);
    }
    words::seconds(peer.last_heard_seconds)
}

fn rtt(peer: &Peer) -> String {
    let median = peer.heartbeats.as_ref().and_then(|beats| beats.rtt_median_seconds);
    median.map_or_else(|| "-".to_owned(), |seconds| format!("{:.2} ms", seconds * 1e3))
}

fn offset(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds.abs() >= SECONDS => format!("{seconds:+.1} s"),
        Some(seconds) => format!("{:+.2} ms", seconds * 1e3),
    }
}

fn loss(part: Option<f64>) -> Cell {
    match part {
        None => plain("-"),
        Some(0.0) => plain("0 %"),
        Some(part) if part < 0.001 => ("<0.1 %".to_owned(), Look::Warning),
        Some(part) if part < 0.1 => (format!("{:.1} %", part * 100.0), Look::Warning),
        Some(part) => (format!("{:.0} %", part * 100.0), Look::Bad),
    }
}
