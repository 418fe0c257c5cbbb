//! The document that a report is.

use serde::{Deserialize, Serialize};

use super::poisson::{Change, Rate};
use crate::incident::Class;

/// `lacuna report --json`. Times are RFC 3339, UTC. A figure that is not known is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Begin of what it is about.
    pub since: String,
    /// End: when it was made.
    pub until: String,
    /// How much of that an agent watched, in hours.
    pub watched_hours: f64,
    /// The rest: agent down, or from before it kept account of it.
    pub unwatched_hours: f64,
    /// The change that before and after are told apart by; absent where none was noted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mark: Option<MarkNote>,
    /// Every change noted in that time, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub marks: Vec<MarkNote>,
    /// Incidents by class and subject, the most frequent first.
    pub series: Vec<Series>,
}

/// A change that somebody noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkNote {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: String,
    /// What was changed.
    pub text: String,
}

/// The incidents of one class with one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Their class.
    pub class: Class,
    /// Whom they are about.
    pub subject: String,
    /// How many began.
    pub incidents: u32,
    /// How many stalls those were: an incident that came back before it could close counts each time.
    pub stalls: u32,
    /// Begin of the first one.
    pub first_at: String,
    /// Begin of the last one.
    pub last_at: String,
    /// How many began in each hour of the day, UTC.
    pub by_hour_of_day: Vec<u32>,
    /// The hour in which most began.
    pub busiest_hour: BusiestHour,
    /// Between the begins of successive ones; absent where there was one only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gaps: Option<Gaps>,
    /// Before and after the mark; absent without one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recurrence: Option<Recurrence>,
}

/// An hour of the clock and what began in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusiestHour {
    /// Its begin.
    pub at: String,
    /// How many incidents.
    pub incidents: u32,
}

/// Gaps between recurrences.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gaps {
    /// The shortest.
    pub shortest_seconds: f64,
    /// The middle one.
    pub median_seconds: f64,
    /// The longest, watched or not.
    pub longest_seconds: f64,
}

/// What runs until a recurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// Watched time: incidents come at a constant rate.
    ConstantRate,
    /// Time since boot: a restart makes it go away for a while.
    SinceBoot,
    /// Time since the last incident: they come in bursts.
    SinceIncident,
}

impl Clock {
    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ConstantRate => "constant-rate",
            Self::SinceBoot => "since-boot",
            Self::SinceIncident => "since-incident",
        }
    }
}

/// What may be believed of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Belief {
    /// It came back after the mark, or still goes on.
    Recurred,
    /// Nothing happened before the mark.
    NothingBefore,
    /// No quiet time after the mark was watched.
    NotWatched,
    /// Quiet, and that may be chance.
    TooEarly,
    /// Quiet, and so long that chance is unlikely: 95 % sure.
    Gone,
}

impl Belief {
    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Recurred => "recurred",
            Self::NothingBefore => "nothing-before",
            Self::NotWatched => "not-watched",
            Self::TooEarly => "too-early",
            Self::Gone => "gone",
        }
    }
}

/// A series before and after a mark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recurrence {
    /// The restart from which on the change counts, where it recurred between the mark and a restart within an hour of it;
    /// before and after are then told apart by that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub counts_from: Option<String>,
    /// Before the mark.
    pub before: Rate,
    /// After it.
    pub after: Rate,
    /// What may be believed.
    pub belief: Belief,
    /// With `recurred`: how the rate changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub change: Option<Change>,
    /// With quiet after the mark: what that says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub quiet: Option<QuietTime>,
    /// The same in sentences, with what is assumed.
    pub because: Vec<String>,
}

/// What quiet says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuietTime {
    /// Watched hours without an incident since the mark.
    pub hours: f64,
    /// The clock that the figures are on.
    pub clock: Clock,
    /// The probability of so long a quiet, had nothing changed; absent where nothing can be said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub chance: Option<f64>,
    /// The most that this can be without a model of the waits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub chance_at_most: Option<f64>,
    /// Further quiet hours until `chance` is below 5 %; absent where no length is enough.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hours_needed: Option<f64>,
    /// Further restarts until `chance_at_most` is below 5 %, where the present boot and each of theirs is quiet for longer
    /// than every boot before the mark.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub restarts_needed: Option<u32>,
    /// From boot to the first incident, before the mark.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hours_from_boot: Vec<f64>,
    /// Hours that other boots before the mark were quiet until they ended.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub quiet_boot_hours: Vec<f64>,
    /// Hours since boot that each boot since the mark has been quiet for, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub quiet_boot_hours_after: Vec<f64>,
    /// On the clock of bursts: the pauses before the mark that the quiet is compared with, the shortest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub pause_hours: Vec<f64>,
    /// The chance of such waits or gaps at a constant rate.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub constant_rate_chance: Option<f64>,
    /// What a constant rate would give.
    pub at_constant_rate: AtConstantRate,
}

/// The gamma-Poisson figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtConstantRate {
    /// The probability of no incident in the quiet time since the mark.
    pub chance: f64,
    /// Further quiet hours until it is below 5 %.
    pub hours_needed: f64,
}
