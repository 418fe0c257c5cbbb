//! What a report is made from. Times are milliseconds of the wall clock since 1970, UTC, as the store has them.

use crate::incident::Class;

/// A time during which the agent watched without a break, within one boot of its host; or heard a peer, within one boot of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The agent's host, or the peer.
    pub host: String,
    /// The boot, as the kernel names it.
    pub boot_id: String,
    /// When that boot began.
    pub booted_ms: i64,
    /// Begin.
    pub from_ms: i64,
    /// The last moment at which the agent is known to have watched.
    pub to_ms: i64,
}

/// An incident, as far as recurrence is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Its class.
    pub class: Class,
    /// Whom it is about, in words: incidents of one class with the same words are one series.
    pub subject: String,
    /// The host whose restarts may matter; absent where it is about several.
    pub host: Option<String>,
    /// The other end, where it is about a path.
    pub peer: Option<String>,
    /// Begin.
    pub started_ms: i64,
    /// End; absent while it goes on.
    pub ended_ms: Option<i64>,
    /// How often the stall came back before the incident could close, at least 1.
    pub times: u32,
}

/// A change that somebody noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its number in the store.
    pub id: i64,
    /// When it was noted.
    pub at_ms: i64,
    /// What was changed.
    pub text: String,
}

/// What is known of the past, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// When the agent watched, and when it heard each peer; all other time is unwatched.
    pub watched: Vec<Watched>,
    /// What it saw.
    pub incidents: Vec<Occurrence>,
}

/// The time that a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Begin.
    pub since_ms: i64,
    /// End: now.
    pub until_ms: i64,
}
