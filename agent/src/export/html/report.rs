//! `lacuna report --html`: what comes back, and what quiet after a change is worth, as one file.

use lacuna_core::recurrence::{Belief, MarkNote, Recurrence, Report, Series, hours_in_words};
use maud::{Markup, html};

use super::Place;
use super::frame::{self, Follow};
use super::parts::{changes, list, moment, part};
use crate::export::report::{because, chance, meaning, needed, rate};
use crate::export::words;

/// The whole page.
#[must_use]
pub fn report(report: &Report) -> String {
    let body = html! {
        main {
            h1 { "What comes back" }
            p {
                (moment(&report.since)) " to " (moment(&report.until)) " (UTC): "
                (hours_in_words(report.watched_hours)) " watched, " (hours_in_words(report.unwatched_hours)) " not"
            }
            @match &report.mark {
                Some(mark) => { (since(report, mark)) },
                None => {
                    p { "No change was noted; " code { "lacuna mark \"text\"" } " notes one, and the next report tells before from after." }
                },
            }
            (part("incidents", "Incidents", &incidents(report)))
            @if !report.series.is_empty() { (part("hours", "By hour of the day (UTC)", &hours(&report.series))) }
            (part("changes", "Changes", &changes(&report.marks)))
        }
    };
    let title = format!("Lacuna: what came back until {}", report.until);
    frame::page(&title, Place::Saved, Follow::None, &body)
}

fn incidents(report: &Report) -> Markup {
    html! {
        @if report.series.is_empty() { p class="dim" { "no incidents" } } @else {
            div class="wide" { table {
                thead { tr {
                    th { "Class" } th { "Subject" } th { "Incidents" } th { "Stalls" } th { "First (UTC)" } th { "Last (UTC)" }
                    th { "Median gap" } th { "Longest gap" } th { "Busiest hour" }
                } }
                tbody { @for one in &report.series { (series_row(one)) } }
            } }
        }
    }
}

fn series_row(one: &Series) -> Markup {
    html! {
        tr {
            td { b { (one.class.name()) } }
            td { (one.subject) }
            td class="n" { (one.incidents) }
            td class="n" { (one.stalls) }
            td { (moment(&one.first_at)) }
            td { (moment(&one.last_at)) }
            td { (words::seconds(one.gaps.map(|gaps| gaps.median_seconds))) }
            td { (words::seconds(one.gaps.map(|gaps| gaps.longest_seconds))) }
            td { (moment(&one.busiest_hour.at)) " (" (one.busiest_hour.incidents) ")" }
        }
    }
}

fn hours(series: &[Series]) -> Markup {
    html! {
        div class="wide" { table class="hours" {
            thead { tr { th { "Class" } th { "Subject" } @for hour in 0..24_u32 { th { (format!("{hour:02}")) } } } }
            tbody { @for one in series {
                tr {
                    th scope="row" { (one.class.name()) }
                    td { (one.subject) }
                    @for count in &one.by_hour_of_day {
                        @if *count == 0 { td class="dim" { "·" } } @else { td { b { (count) } } }
                    }
                }
            } }
        } }
    }
}

/// Before and after a change.
fn since(report: &Report, mark: &MarkNote) -> Markup {
    let compared: Vec<_> = report.series.iter().filter_map(|one| Some((one, one.recurrence.as_ref()?))).collect();
    let heading = format!("Before and after \"{}\"", mark.text);
    let body = html! {
        p { "Noted " (moment(&mark.at)) " UTC." }
        @if compared.is_empty() { p class="dim" { "no incidents to compare" } } @else {
            div class="wide" { table {
                thead { tr {
                    th { "Class" } th { "Subject" } th { "" } th { "Quiet" } th { "Chance" } th { "Still needed" } th { "Before" }
                    th { "After" }
                } }
                tbody { @for (one, told) in &compared { (compared_row(one, told)) } }
            } }
            @for (one, told) in &compared {
                h3 { (one.class.name()) ", " (one.subject) ": " (meaning(told)) }
                (list(because(told)))
            }
        }
    };
    part("since", &heading, &body)
}

fn compared_row(one: &Series, told: &Recurrence) -> Markup {
    let quiet = told.quiet.as_ref();
    html! {
        tr {
            td { b { (one.class.name()) } }
            td { (one.subject) }
            td class=(style(told.belief)) { (told.belief.name()) }
            td { (quiet.map_or_else(|| "-".to_owned(), |quiet| hours_in_words(quiet.hours))) }
            td { (quiet.map_or_else(|| "-".to_owned(), chance)) }
            td { (needed(told)) }
            td { (rate(&told.before)) }
            td { (rate(&told.after)) }
        }
    }
}

fn style(belief: Belief) -> &'static str {
    match belief {
        Belief::Recurred => "bad",
        Belief::TooEarly => "warn",
        Belief::Gone => "good",
        Belief::NothingBefore | Belief::NotWatched => "dim",
    }
}

#[cfg(test)]
mod tests {
    use lacuna_core::incident::Class;

    use super::*;
    use crate::export::table::Paint;
    use crate::samples;

    /// A lock-up in each of the first five hours, a change after six.
    fn told(mark: bool) -> Report {
        let incidents = (0..5).map(|hour| samples::occurrence(Class::TimerLockup, "<b>db1", hour)).collect();
        samples::recurred(incidents, mark.then_some("<img src=x>"))
    }

    #[test]
    fn it_has_what_the_text_has_and_nothing_of_it_is_markup() {
        let told = told(true);
        let page = report(&told);
        assert!(!page.contains("<img") && !page.contains("<b>db1"), "{page}");
        let series = &told.series[0];
        let recurrence = series.recurrence.as_ref().unwrap();
        let text = crate::export::report::text(&told, Paint::PLAIN);
        let quiet = recurrence.quiet.as_ref().unwrap();
        let said = [meaning(recurrence).to_owned(), needed(recurrence), rate(&recurrence.before), chance(quiet)];
        for word in said.iter().chain(&recurrence.because) {
            assert!(text.contains(word.as_str()), "{word} not in {text}");
            let escaped = html! { (word) }.into_string();
            assert!(page.contains(&escaped), "{escaped} not in {page}");
        }
    }

    #[test]
    fn without_a_change_it_says_how_to_note_one_and_asks_nobody() {
        let page = report(&told(false));
        assert!(page.contains("lacuna mark &quot;text&quot;"), "{page}");
        assert!(!page.contains("<a ") && !page.contains("://"), "{page}");
    }
}
