//! What `doctor` found, line by line.

use serde::Serialize;

use crate::export::table::{Look, Paint, Table, plain};

/// All that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    /// Whether the agent could do its main job.
    pub(super) works: bool,
    /// A line each.
    pub(super) checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) topic: &'static str,
    pub(super) state: State,
    /// What was found.
    pub(super) found: String,
    /// What to do next; absent where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    Ok,
    Degraded,
    Failed,
}

impl Check {
    pub(super) fn ok(topic: &'static str, found: impl Into<String>) -> Self {
        Self { topic, state: State::Ok, found: found.into(), next: None }
    }

    pub(super) fn degraded(topic: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { topic, state: State::Degraded, found: found.into(), next: Some(next.into()) }
    }

    pub(super) fn failed(topic: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self { topic, state: State::Failed, found: found.into(), next: Some(next.into()) }
    }
}

impl Report {
    pub(super) fn text(&self, paint: Paint) -> String {
        let mut table = Table::bare();
        for check in &self.checks {
            let state = match check.state {
                State::Ok => ("ok", Look::Good),
                State::Degraded => ("degraded", Look::Warning),
                State::Failed => ("failed", Look::Bad),
            };
            let next = check.next.as_ref().map_or(String::new(), |next| format!("; {next}"));
            table.row([
                (state.0.into(), state.1),
                (check.topic.into(), Look::Bold),
                plain(format!("{}{next}", check.found)),
            ]);
        }
        let end = if self.works {
            "The agent can do its main job here.\n"
        } else {
            "The agent could not do its main job here: see the lines above.\n"
        };
        format!("{}{end}", table.render(paint, ""))
    }
}
