//! Whether the kernel of a peer answers echo requests.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Nanos;

/// Whether a peer's kernel answers echo requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// It answered one that was sent after the silence began, not long ago.
    Answers,
    /// It answered before, and does not now.
    Silent,
    /// It never answered, or was not asked often enough: its silence means nothing.
    Unknown,
}

/// Echo requests and answers, as far as they tell whether a kernel answers.
#[derive(Clone, Debug, Default)]
pub struct EchoTrack {
    /// Requests sent in all.
    pub sent: u64,
    /// Requests answered in all.
    pub answered: u64,
    /// When the last answer came in.
    pub last_reply: Option<Nanos>,
    /// When the newest answered request had left.
    last_answered_request: Option<Nanos>,
    /// When the first request left that is newer than every answered one.
    unanswered_since: Option<Nanos>,
    /// When the requests left that were not answered yet, oldest first; at most a few are of interest.
    unanswered: VecDeque<Nanos>,
    /// Since when answers have come promptly, one after another, and when the last of these came.
    prompt: Option<(Nanos, Nanos)>,
}

/// Unanswered requests that are remembered.
const ECHO_WINDOW: usize = 16;
/// An answer makes later silence meaningful for this long (ten of the once-a-second requests).
const ECHO_MEMORY: Duration = Duration::from_secs(10);
/// How long an answer may take before its lack counts. Private networks answer within a few milliseconds.
const ECHO_PATIENCE: Duration = Duration::from_millis(80);

/// An answer that took longer had waited, for the kernel or on the way.
const ECHO_PROMPT: Duration = Duration::from_millis(500);

/// A kernel that answered during a silence answers no more when it has not for this long.
const ECHO_LAPSE: Duration = Duration::from_secs(2);

impl EchoTrack {
    /// A request left.
    pub fn on_sent(&mut self, at: Nanos) {
        self.sent += 1;
        self.unanswered_since = self.unanswered_since.or(Some(at));
        if self.unanswered.len() == ECHO_WINDOW {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back(at);
    }

    /// The answer to the request of `sent_at` came in.
    pub fn on_reply(&mut self, sent_at: Nanos, at: Nanos) {
        self.answered += 1;
        self.last_reply = self.last_reply.max(Some(at));
        self.last_answered_request = self.last_answered_request.max(Some(sent_at));
        self.unanswered.retain(|unanswered| *unanswered > sent_at);
        self.unanswered_since = self.unanswered.front().copied();
        let goes_on = self.prompt.filter(|(_, last)| last.plus(ECHO_LAPSE) >= at);
        let prompt = at.since(sent_at) < ECHO_PROMPT;
        self.prompt = prompt.then(|| (goes_on.map_or(at, |(since, _)| since), at));
    }

    /// For how long after `since` the kernel has answered promptly, at `now`. What waited and is answered in a burst, once
    /// the host goes on, was not answered before.
    #[must_use]
    pub fn answers_for(&self, since: Nanos, now: Nanos) -> Duration {
        let prompt = self.prompt.filter(|(_, last)| last.plus(ECHO_LAPSE) >= now);
        prompt.map_or(Duration::ZERO, |(first, _)| now.since(first.max(since)))
    }

    /// Whether the kernel answers requests that left after `since`, judged at `now`.
    #[must_use]
    pub fn kernel(&self, since: Nanos, now: Nanos) -> Kernel {
        let due = self.unanswered.iter().filter(|sent| **sent > since && sent.plus(ECHO_PATIENCE) < now).count();
        if self.last_answered_request.is_some_and(|request| request > since) {
            let lapsed = due >= 2 && self.unanswered_since.is_some_and(|first| first.plus(ECHO_LAPSE) < now);
            return if lapsed { Kernel::Silent } else { Kernel::Answers };
        }
        let answered_before = self.last_reply.is_some_and(|reply| reply.plus(ECHO_MEMORY) > since);
        if answered_before && due >= 2 { Kernel::Silent } else { Kernel::Unknown }
    }

    /// Whether the kernel answered lately, for the views that are sent to others.
    #[must_use]
    pub fn lately(&self, now: Nanos) -> Option<bool> {
        let last = self.last_reply?;
        if last.plus(Duration::from_millis(1500)) > now {
            return Some(true);
        }
        (self.kernel(last, now) == Kernel::Silent).then_some(false)
    }
}
