//! What a report says in sentences: what quiet is worth, on which clock, and what is assumed.

use super::evenness::REFUTED;
use super::poisson::{Change, Rate, UNLIKELY};
use super::report::{Clock, QuietTime};

/// Waits that are named one by one; of more only the ends are.
const NAMED: usize = 6;

/// A probability as a percentage, with two figures and never 0.
#[must_use]
pub fn percent(part: f64) -> String {
    let percent = part * 100.0;
    match percent {
        _ if percent < 0.01 => "less than 0.01 %".to_owned(),
        _ if percent < 1.0 => format!("{percent:.2} %"),
        _ if percent < 10.0 => format!("{percent:.1} %"),
        _ if percent < 99.0 || part >= 1.0 => format!("{percent:.0} %"),
        _ if percent < 99.99 => format!("{percent:.2} %"),
        _ => "more than 99.99 %".to_owned(),
    }
}

/// A number of hours with three figures or so.
#[must_use]
pub fn hours(hours: f64) -> String {
    match hours {
        _ if hours < 1.0 => format!("{:.0} min", hours * 60.0),
        _ if hours < 1000.0 => format!("{hours:.1} h"),
        _ => format!("{:.0} d", hours / 24.0),
    }
}

fn incidents(count: u32) -> String {
    if count == 1 { "1 incident".to_owned() } else { format!("{count} incidents") }
}

pub(super) fn nothing_before(after: &Rate) -> Vec<String> {
    vec![match after.incidents {
        0 => "nothing happened before the mark in the time of this report: there is nothing that could have gone"
            .to_owned(),
        count => format!("{} after the mark, none before it in the time of this report", incidents(count)),
    }]
}

pub(super) fn not_watched(before: &Rate) -> Vec<String> {
    vec![if before.incidents == 0 {
        "what happened before the mark was in time in which no agent watched: nothing can be said".to_owned()
    } else {
        "no time after the mark was watched: nothing can be said (time in which no agent runs is not quiet time)"
            .to_owned()
    }]
}

pub(super) fn recurred(after: &Rate, change: Option<&Change>, bursts: Option<f64>) -> Vec<String> {
    if after.incidents == 0 {
        return vec![
            "it is not gone: an incident goes on, or one began after the mark in time that was not watched".to_owned(),
        ];
    }
    let mut said = vec![format!("it is not gone: {} after the mark", incidents(after.incidents))];
    if let Some(change) = change {
        said.push(format!(
            "were the rate the same, rates so different would have a chance of {}; after the mark it is {:.2} of what it was, \
             between {:.2} and {:.2} with 95 % confidence",
            percent(change.chance),
            change.ratio,
            change.ratio_low,
            change.ratio_high
        ));
    }
    if bursts.is_some_and(|chance| chance < REFUTED) {
        said.push(
            "incidents come in bursts, so that the interval is narrower and the chance smaller than they should be"
                .to_owned(),
        );
    }
    said
}

pub(super) fn quiet(before: &Rate, quiet: &QuietTime) -> Vec<String> {
    let mut said = match quiet.clock {
        Clock::ConstantRate => constant_rate(before, quiet),
        Clock::SinceBoot => since_boot(quiet),
        Clock::SinceIncident => since_incident(quiet),
    };
    if quiet.clock != Clock::ConstantRate {
        said.push(format!(
            "whoever took the rate for constant would believe in a chance of {}, wrongly",
            percent(quiet.at_constant_rate.chance)
        ));
    }
    said
}

fn constant_rate(before: &Rate, quiet: &QuietTime) -> Vec<String> {
    let (count, watched) = (incidents(before.incidents), hours(before.watched_hours));
    let tested = match quiet.constant_rate_chance {
        Some(chance) => {
            format!("which the waits do not refute (chance {}, threshold {})", percent(chance), percent(REFUTED))
        }
        None => "which too few waits are known to test".to_owned(),
    };
    let mut said = vec![
        format!("quiet for {} watched after the mark, {count} in {watched} watched before it", hours(quiet.hours)),
        had_nothing_changed(quiet),
        format!("assumed: incidents came at a constant rate before the mark, {tested}"),
    ];
    said.extend(still_needed(quiet, ""));
    said
}

fn since_boot(quiet: &QuietTime) -> Vec<String> {
    let mut said = vec![format!(
        "recurrence follows restarts, so the clock is the time since boot: at a constant rate such waits from boot to the first \
         incident would have a chance of {} (threshold {})",
        percent(quiet.constant_rate_chance.unwrap_or(0.0)),
        percent(REFUTED)
    )];
    let mut waits = format!("before the mark the first incident came {} after boot", listed(&quiet.hours_from_boot));
    if !quiet.quiet_boot_hours.is_empty() {
        waits.push_str(&format!("; other boots ended after {} without one", listed(&quiet.quiet_boot_hours)));
    }
    said.push(waits);
    if quiet.chance.is_none() {
        said.push("of the boot since the mark too little was watched to say anything".to_owned());
        return said;
    }
    let boots = if quiet.quiet_boot_hours_after.len() == 1 { "the boot" } else { "the boots" };
    said.push(format!("{boots} since the mark: quiet until {} after boot", listed(&quiet.quiet_boot_hours_after)));
    said.push(had_nothing_changed(quiet));
    said.push(assumed_of_boots(quiet));
    said.extend(still_needed(quiet, " in this boot"));
    said.extend(restarts(quiet));
    said
}

fn assumed_of_boots(quiet: &QuietTime) -> String {
    let at_most = percent(quiet.chance_at_most.unwrap_or(1.0));
    if quiet.hours_from_boot.len() < 2 {
        return format!(
            "assumed: boots are alike; one wait does not tell how much they differ, so however long the quiet, {at_most} it \
             stays until another boot is quiet as long"
        );
    }
    format!(
        "assumed: each boot is safe for the same, unknown time and then meets incidents at a constant rate; assuming only that \
         boots are alike, the chance is at most {at_most}"
    )
}

fn restarts(quiet: &QuietTime) -> Option<String> {
    let longest = quiet.hours_from_boot.iter().copied().fold(0.0, f64::max);
    let needed = quiet.restarts_needed?;
    if quiet.chance_at_most? < UNLIKELY {
        return None;
    }
    Some(match needed {
        0 => format!("without that model: 95 % once this boot is quiet for longer than {}", hours(longest)),
        1 => format!(
            "without that model: 95 % after one more restart, if both boots are quiet for longer than {}",
            hours(longest)
        ),
        more => format!(
            "without that model: 95 % after {more} more restarts, if all {} boots are quiet for longer than {}",
            more + 1,
            hours(longest)
        ),
    })
}

fn since_incident(quiet: &QuietTime) -> Vec<String> {
    let mut said = vec![format!(
        "incidents come in bursts, so the clock is the time since the last one: at a constant rate such gaps would have a \
             chance of {} (threshold {})",
        percent(quiet.constant_rate_chance.unwrap_or(0.0)),
        percent(REFUTED)
    )];
    if !quiet.pause_hours.is_empty() {
        said.push(format!("before the mark they paused for {}", listed(&quiet.pause_hours)));
    }
    said.push(format!("quiet for {} watched after the mark", hours(quiet.hours)));
    said.push(had_nothing_changed(quiet));
    said.push(assumed_of_pauses(quiet));
    said.extend(still_needed(quiet, ""));
    said
}

fn assumed_of_pauses(quiet: &QuietTime) -> String {
    let at_most = percent(quiet.chance_at_most.unwrap_or(1.0));
    let known = match quiet.pause_hours.len() {
        0 => "none is known",
        1 => "one does not tell how much they differ",
        _ => "",
    };
    if !known.is_empty() {
        return format!("assumed: pauses are alike; {known}, so however long the quiet, {at_most} it stays");
    }
    format!(
        "assumed: each pause is safe for the same, unknown time and then meets incidents at a constant rate, and no restart makes \
         it longer; assuming only that pauses are alike, the chance is at most {at_most}"
    )
}

fn had_nothing_changed(quiet: &QuietTime) -> String {
    let chance = quiet.chance.unwrap_or(1.0);
    let sure = if chance < UNLIKELY {
        format!("something changed, with {} confidence", percent(1.0 - chance))
    } else {
        "that proves nothing yet".to_owned()
    };
    format!("had nothing changed, so long a quiet would have a chance of {}: {sure}", percent(chance))
}

fn still_needed(quiet: &QuietTime, place: &str) -> Option<String> {
    if quiet.chance? < UNLIKELY {
        return None;
    }
    match quiet.hours_needed {
        Some(more) => Some(format!("for 95 % it must be quiet for {} more{place}", hours(more))),
        None if quiet.hours_from_boot.len() == 1 || quiet.pause_hours.len() == 1 => None,
        None => Some(format!("for 95 % no length of quiet{place} is enough")),
    }
}

/// "38.0, 41.2 and 43.5 h".
fn listed(waits: &[f64]) -> String {
    let mut sorted = waits.to_vec();
    sorted.sort_by(f64::total_cmp);
    let named: Vec<String> = sorted.iter().map(|wait| hours(*wait)).collect();
    match named.as_slice() {
        [] => "never".to_owned(),
        [one] => one.clone(),
        [most @ .., last] if named.len() <= NAMED => format!("{} and {last}", most.join(", ")),
        [first, .., last] => format!("{first} to {last} ({} times)", named.len()),
    }
}
