//! `lacuna report` for people.

use std::fmt::Write as _;

use lacuna_core::recurrence::{
    Belief, Clock, MarkNote, QuietTime, Rate, Recurrence, Report, Series, UNLIKELY, hours_in_words, percent,
};

use super::table::{Look, Paint, Table, plain};
use super::text::{list, section, short_time};
use super::words;

/// The whole report.
#[must_use]
pub fn text(report: &Report, paint: Paint) -> String {
    let mut text = format!(
        "{} to {} (UTC): {} watched, {} not\n",
        short_time(&report.since),
        short_time(&report.until),
        hours_in_words(report.watched_hours),
        hours_in_words(report.unwatched_hours)
    );
    if report.series.is_empty() {
        text.push_str("no incidents\n");
    } else {
        section(&mut text, "Incidents", &incidents(report).render(paint, "  "), paint);
        section(&mut text, "By hour of the day (UTC)", &hours_of_day(report).render(paint, "  "), paint);
    }
    section(&mut text, "Changes", &changes(&report.marks).render(paint, "  "), paint);
    match &report.mark {
        Some(mark) => since(&mut text, report, mark, paint),
        None => text.push_str(
            "\nno change was noted; `lacuna mark \"text\"` notes one, and the next report tells before from after\n",
        ),
    }
    text
}

fn incidents(report: &Report) -> Table {
    let headings =
        ["CLASS", "SUBJECT", "INCIDENTS", "STALLS", "FIRST (UTC)", "LAST (UTC)", "GAP", "LONGEST", "BUSIEST HOUR"];
    let mut table = Table::new(&headings);
    for one in &report.series {
        let gap = |seconds: Option<f64>| plain(words::seconds(seconds));
        table.row([
            (one.class.name().into(), Look::Bold),
            plain(one.subject.clone()),
            plain(one.incidents.to_string()),
            plain(one.stalls.to_string()),
            plain(short_time(&one.first_at)),
            plain(short_time(&one.last_at)),
            gap(one.gaps.map(|gaps| gaps.median_seconds)),
            gap(one.gaps.map(|gaps| gaps.longest_seconds)),
            plain(format!("{} ({})", short_time(&one.busiest_hour.at), one.busiest_hour.incidents)),
        ]);
    }
    table
}

fn hours_of_day(report: &Report) -> Table {
    let hours: Vec<String> = (0..24).map(|hour| format!("{hour:02}")).collect();
    let headings: Vec<&str> = ["CLASS", "SUBJECT"].into_iter().chain(hours.iter().map(String::as_str)).collect();
    let mut table = Table::new(&headings);
    for one in &report.series {
        let mut cells: [(String, Look); 26] = std::array::from_fn(|_| plain(""));
        (cells[0], cells[1]) = ((one.class.name().into(), Look::Bold), plain(one.subject.clone()));
        for (cell, count) in cells.iter_mut().skip(2).zip(&one.by_hour_of_day) {
            *cell = if *count == 0 { (".".into(), Look::Dim) } else { plain(count.to_string()) };
        }
        table.row(cells);
    }
    table
}

fn changes(marks: &[MarkNote]) -> Table {
    let mut table = Table::bare();
    for mark in marks {
        table.row([plain(mark.id.to_string()), (short_time(&mark.at), Look::Dim), plain(mark.text.clone())]);
    }
    table
}

fn since(text: &mut String, report: &Report, mark: &MarkNote, paint: Paint) {
    let heading = format!("Before and after \"{}\" ({})", mark.text, short_time(&mark.at));
    let mut table = Table::new(&["CLASS", "SUBJECT", "", "QUIET", "CHANCE", "STILL NEEDED", "BEFORE", "AFTER"]);
    let compared = || report.series.iter().filter_map(|one| Some((one, one.recurrence.as_ref()?)));
    for (one, told) in compared() {
        table.row(row(one, told));
    }
    section(text, &heading, &table.render(paint, "  "), paint);
    for (one, told) in compared() {
        let heading = format!("{}, {}: {}", one.class.name(), one.subject, meaning(told));
        section(text, &heading, &list(because(told).into_iter(), paint), paint);
    }
}

/// What is believed and why, a sentence each.
pub(super) fn because(told: &Recurrence) -> Vec<String> {
    let from = told.counts_from.as_deref().map(short_time);
    let restart =
        from.map(|from| format!("it recurred until the restart after the mark; the change counts from that, {from}"));
    restart.into_iter().chain(told.because.iter().cloned()).collect()
}

fn row(one: &Series, told: &Recurrence) -> [(String, Look); 8] {
    let quiet = told.quiet.as_ref();
    [
        (one.class.name().into(), Look::Bold),
        plain(one.subject.clone()),
        (told.belief.name().into(), look(told.belief)),
        plain(quiet.map_or("-".into(), |quiet| hours_in_words(quiet.hours))),
        plain(quiet.map_or("-".into(), chance)),
        plain(needed(told)),
        plain(rate(&told.before)),
        plain(rate(&told.after)),
    ]
}

/// How much more quiet it takes to be sure.
pub(super) fn needed(told: &Recurrence) -> String {
    match &told.quiet {
        None => "-".to_owned(),
        Some(quiet) if told.belief == Belief::Gone => quiet.hours_needed.map_or("-".into(), |_| "none".into()),
        Some(quiet) if quiet.clock == Clock::SinceBoot && quiet.hours_needed.is_none() => "more restarts".into(),
        Some(quiet) => quiet.hours_needed.map_or("-".into(), hours_in_words),
    }
}

/// The probability had nothing changed, and the most that it can be without a model, where that is another figure.
pub(super) fn chance(quiet: &QuietTime) -> String {
    let Some(chance) = quiet.chance.map(percent) else { return "-".into() };
    match quiet.chance_at_most.map(percent) {
        Some(most) if most != chance => format!("{chance} (at most {most})"),
        _ => chance,
    }
}

fn look(belief: Belief) -> Look {
    match belief {
        Belief::Recurred => Look::Bad,
        Belief::TooEarly => Look::Warning,
        Belief::Gone => Look::Good,
        Belief::NothingBefore | Belief::NotWatched => Look::Dim,
    }
}

/// The belief in words.
pub(super) fn meaning(told: &Recurrence) -> &'static str {
    let at_most = told.quiet.as_ref().and_then(|quiet| quiet.chance_at_most);
    match told.belief {
        Belief::Gone if at_most.is_some_and(|chance| chance >= UNLIKELY) => {
            "gone, with 95 % confidence where the model below holds"
        }
        Belief::Recurred => "it came back",
        Belief::TooEarly => "too early to tell",
        Belief::Gone => "gone, with 95 % confidence or more",
        Belief::NothingBefore => "nothing to compare with",
        Belief::NotWatched => "not watched",
    }
}

/// "144 in 97.1 h: 1.48/h [1.25 1.75]", with the 95 % interval.
pub(super) fn rate(rate: &Rate) -> String {
    let mut text = format!("{} in {}", rate.incidents, hours_in_words(rate.watched_hours));
    if let (Some(mean), Some(low), Some(high)) = (rate.per_hour, rate.per_hour_low, rate.per_hour_high) {
        let figure = |value: f64| format!("{value:.*}", if high < 0.1 { 4 } else { 2 });
        // Writing to a `String` cannot fail.
        let _ = write!(text, ": {}/h [{} {}]", figure(mean), figure(low), figure(high));
    }
    text
}

#[cfg(test)]
mod tests {
    use lacuna_core::incident::Class;
    use lacuna_core::recurrence::Occurrence;

    use super::*;
    use crate::samples;

    /// A lock-up twice in each of the first five hours, a change after six; an address with an escape in its name.
    fn told(mark: bool) -> Report {
        let lockups = (0..5).map(|hour| samples::occurrence(Class::TimerLockup, "db1", hour));
        let drop = samples::occurrence(Class::PathDrop, "db1 - \u{1b}[2J", 7);
        let incidents = lockups.chain([drop]).map(|one| Occurrence { times: 2, ..one }).collect();
        samples::recurred(incidents, mark.then_some("noapictimer"))
    }

    #[test]
    fn a_report_tells_before_from_after() {
        let text = text(&told(true), Paint::PLAIN);
        assert!(!text.contains('\u{1b}'), "nothing steers the terminal");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_report_without_a_change_says_how_to_note_one() {
        let text = text(&told(false), Paint::PLAIN);
        assert!(text.contains("`lacuna mark"), "{text}");
        let document = serde_json::to_string(&told(true)).unwrap();
        let back: Report = serde_json::from_str(&document).unwrap();
        assert_eq!((back.mark, back.series.len()), (told(true).mark, 2));
    }
}
