//! What the engine was told, a JSON value a line, and the replay of it: evidence is recorded, never incidents.

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Me};
use crate::evidence::Evidence;
use crate::incident::Incident;
use crate::settings::Settings;
use crate::time::Nanos;

/// The version of recordings that this crate writes and reads.
pub const VERSION: u32 = 1;

/// A line of a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// The first one, and the first one of each further start of the agent: who was told.
    Begin {
        /// [`VERSION`] at the time of writing.
        version: u32,
        /// The engine's settings.
        settings: Settings,
        /// Who the engine worked for.
        me: Me,
    },
    /// The engine was given a piece of evidence.
    Evidence(Evidence),
    /// The engine was told the time.
    Timeout(Nanos),
    /// The engine took over an incident of an earlier run.
    Adopt(Box<Incident>, Nanos),
    /// The engine was given other settings.
    Configure(Settings),
}

/// Why a recording cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// A line does not parse.
    Line {
        /// Its number, from 1.
        number: usize,
        /// What the parser says.
        why: String,
    },
    /// It does not begin with [`Line::Begin`].
    NoBeginning,
    /// It is of another version.
    Version(u32),
}

impl std::error::Error for ReplayError {}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line { number, why } => write!(f, "line {number} of the recording: {why}"),
            Self::NoBeginning => write!(f, "line 1 of the recording must be `begin`, with version and settings"),
            Self::Version(version) => write!(f, "the recording has version {version}; this is for version {VERSION}"),
        }
    }
}

/// Tells a new engine what was recorded; every version of every incident, in order.
///
/// # Errors
/// The text is no recording of this version.
pub fn replay(text: &str) -> Result<Vec<Incident>, ReplayError> {
    let mut engine = None;
    let mut said = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = serde_json::from_str(line).map_err(|why| ReplayError::Line { number, why: why.to_string() })?;
        match (line, &mut engine) {
            // Another one further on is another start of the agent.
            (Line::Begin { version: VERSION, settings, me }, _) => engine = Some(Engine::new(settings, me)),
            (Line::Begin { version, .. }, _) => return Err(ReplayError::Version(version)),
            (_, None) => return Err(ReplayError::NoBeginning),
            (line, Some(engine)) => {
                tell(engine, line);
                said.extend(std::iter::from_fn(|| engine.poll()));
            }
        }
    }
    Ok(said)
}

fn tell(engine: &mut Engine, line: Line) {
    match line {
        Line::Begin { .. } => {}
        Line::Evidence(evidence) => engine.handle(evidence),
        Line::Timeout(now) => engine.handle_timeout(now),
        Line::Adopt(incident, now) => engine.adopt(*incident, now),
        Line::Configure(settings) => engine.configure(settings),
    }
}
