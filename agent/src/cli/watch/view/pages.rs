//! Pages of text: one incident, and the keys.

use lacuna_core::incident::Incident;

use super::super::state::LOSS_SPAN;
use super::spark::LOWEST;
use super::{Row, place};
use crate::export::table::{Look, Paint};
use crate::export::text;
use crate::export::width::break_lines;
use crate::export::words::span;
use crate::recent::SLOT;

/// The lines from `top` on, as far as there is text, above a line that says how to go on.
pub(super) fn from(lines: Vec<Row>, top: usize, height: usize) -> Vec<Row> {
    let room = height.saturating_sub(1);
    let top = top.min(lines.len().saturating_sub(room));
    let range = top..lines.len().min(top + room);
    let seen = place(&range, lines.len()).map(|place| format!("  {place}")).unwrap_or_default();
    let mut rows = lines[range].to_vec();
    rows.resize(room, Row::default());
    rows.push(Row::one(format!("Esc back  ↑↓ scroll  q quit{seen}"), Look::Dim));
    rows
}

/// What `lacuna explain` says.
pub(super) fn incident(incident: &Incident, width: usize) -> Vec<Row> {
    let text = text::explain(incident, &[], Paint { colour: false, width: Some(width) });
    let mut after_empty = true;
    let mut rows = Vec::new();
    for line in text.lines() {
        // Headings stand alone after an empty line; lines of figures have columns.
        let heading = after_empty && !line.contains("  ");
        after_empty = line.is_empty();
        let look = if heading { Look::Bold } else { Look::Plain };
        rows.extend(break_lines(line, width).into_iter().map(|line| Row::one(line, look)));
    }
    rows
}

pub(super) fn help(width: usize) -> Vec<Row> {
    let keys = [
        ("↑ ↓, k j", "choose, or scroll"),
        ("PgUp PgDn, Home End", "further, to the begin or the end"),
        ("Enter", "explain the chosen incident: evidence, and what it rules out"),
        ("Esc", "back"),
        ("Tab", "from incidents to peers, and back"),
        ("?", "this page"),
        ("q, Ctrl-C", "quit"),
    ];
    let mut rows = vec![Row::one("Keys", Look::Bold)];
    rows.extend(keys.iter().flat_map(|(key, what)| hanging(&format!("  {key:<21}"), what, width)));
    rows.push(Row::default());
    rows.push(Row::one("What is shown", Look::Bold));
    rows.extend(shown().iter().flat_map(|(name, what)| hanging(&format!("  {name:<21}"), what, width)));
    rows
}

fn shown() -> [(&'static str, String); 8] {
    let gaps = format!(
        "the longest time between two heartbeats of a peer in each {}, newest at the right; one that goes on grows",
        span(SLOT)
    );
    let bars = format!("shorter than {}, and from there on each bar twice as long: █ is 9.6 s and more", span(LOWEST));
    let loss = format!(
        "small heartbeats from and to the peer that were lost in the last {}; what is silent counts once it is back",
        span(LOSS_SPAN)
    );
    [
        ("class?", "the verdict is provisional: it may still change while the stall lasts".into()),
        ("GAPS", gaps),
        ("▁ ▂ ▃ ▄ ▅ ▆ ▇ █", bars),
        ("LOSS IN, LOSS OUT", loss),
        ("OFFSET", "the peer's wall clock minus this host's".into()),
        ("HEARD AGO", "since its last heartbeat; of the gateway, which has none, since its last echo reply".into()),
        ("steal", "the part of the last 10 s that the hypervisor gave to others".into()),
        ("agent late", "how late the agent itself woke: what is as late as a gap says nothing of a peer".into()),
    ]
}

fn hanging(first: &str, text: &str, width: usize) -> Vec<Row> {
    let text = Paint { colour: false, width: Some(width) }.paragraph(first, text, Look::Plain);
    text.lines().flat_map(|line| break_lines(line, width)).map(|line| Row::one(line, Look::Plain)).collect()
}
