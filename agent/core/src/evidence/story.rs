//! What a host tells of its own incidents, so that all who witness one put it into one trace.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::trace::TraceId;

/// Most stories that a heartbeat carries.
pub const MAX_STORIES: usize = 2;

/// An incident of the sender, as far as others need it to see that theirs is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// The trace that it goes under.
    pub trace: TraceId,
    /// How long ago it began.
    pub age: Duration,
    /// How long ago it ended; absent while it goes on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub over: Option<Duration>,
    /// The sender, or somebody who told it, has closed it under that trace: it cannot take another.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub settled: bool,
    /// What befell those that it concerns.
    pub kind: StoryKind,
    /// How far it reaches.
    pub scope: Scope,
    /// [`name_hash`](super::name_hash) of whom it concerns.
    pub host: u64,
    /// The same of another one, such as the other end of a path; with [`Scope::PathOrHost`] of the host that it may be of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer: Option<u64>,
}

impl Story {
    /// Whether it is the same incident in the words of `later`, but for times and for whether it is closed.
    #[must_use]
    pub(crate) fn is_told_again_by(&self, later: &Self) -> bool {
        let words = |story: &Self| (story.trace, story.kind, story.scope, story.host, story.peer);
        words(self) == words(later)
    }
}

/// What befell somebody, by what may befall him at the same time without being the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoryKind {
    /// He stood still, was not heard, or nobody knows.
    Stall,
    /// A part of his packets is lost all the time.
    Loss,
    /// His large packets are.
    Hole,
    /// He has more work than CPUs.
    Load,
    /// His storage does not answer.
    Storage,
    /// Others claim the address.
    Address,
}

/// How far an incident reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// It is of a host.
    Host,
    /// Of the path between two.
    Path,
    /// Of the path or of the peer, and it is not known which.
    PathOrHost,
    /// Of all hosts, which fell apart.
    All,
}
