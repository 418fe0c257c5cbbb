//! The replay: the same engine is told what was recorded.

use std::time::Duration;

use super::{ClockNotes, Damage, Line, Piece, VERSION, pieces};
use crate::engine::Engine;
use crate::incident::Incident;
use crate::settings::Settings;

/// What is to be different from what was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Another `thresholds.gap`.
    pub gap: Option<Duration>,
    /// Another `thresholds.cpu_stall`.
    pub cpu_stall: Option<Duration>,
}

impl Options {
    fn apply(&self, settings: Settings) -> Settings {
        let gap = self.gap.unwrap_or(settings.gap);
        let cpu_stall = self.cpu_stall.unwrap_or(settings.cpu_stall);
        Settings { gap, cpu_stall, ..settings }
    }
}

/// What a replay says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replayed {
    /// The host that was told.
    pub host: String,
    /// Every version of every incident, in order.
    pub said: Vec<Incident>,
    /// How often lines are missing. What was open then is told no further.
    pub holes: u64,
    /// Where it cannot be read any further.
    pub damage: Option<Damage>,
    /// What the host saw of the others' clocks.
    pub clocks: ClockNotes,
}

impl Replayed {
    /// Every incident in its last version, in the order in which they were last told.
    #[must_use]
    pub fn last_versions(&self) -> Vec<&Incident> {
        let mut last: Vec<&Incident> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for incident in self.said.iter().rev() {
            if seen.insert(&incident.id) {
                last.push(incident);
            }
        }
        last.reverse();
        last
    }
}

/// Why a recording cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// It does not begin with [`Line::Begin`]; what stands there instead, where that cannot be read.
    NoBeginning(Option<Damage>),
    /// It is of a version that is not known.
    Version(u32),
}

impl std::error::Error for ReplayError {}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoBeginning(None) => write!(f, "no recording: it does not begin with `begin`, version and settings"),
            Self::NoBeginning(Some(damage)) => write!(f, "no recording: {damage}"),
            Self::Version(version) => {
                write!(f, "the recording has version {version}; this reads versions 1 to {VERSION}")
            }
        }
    }
}

/// Tells a new engine what was recorded.
///
/// # Errors
/// Not even the begin can be read. Damage further on is in the answer.
pub fn replay(bytes: &[u8], options: &Options) -> Result<Replayed, ReplayError> {
    let mut engine = None;
    let mut replayed = Replayed::default();
    for piece in pieces(bytes) {
        match (piece, &mut engine) {
            (Err(damage), None) if replayed.host.is_empty() => return Err(ReplayError::NoBeginning(Some(damage))),
            (Err(damage), _) => replayed.damage = Some(damage),
            (Ok(Piece::Hole), _) => {
                replayed.holes += 1;
                engine = None;
            }
            // A part that goes on after the one before, of the same start of the agent.
            (Ok(Piece::Line(Line::Begin { me, .. })), Some((_, incarnation))) if me.incarnation == *incarnation => {}
            (Ok(Piece::Line(Line::Begin { version: 1..=VERSION, settings, me })), _) => {
                replayed.host.clone_from(&settings.host);
                let incarnation = me.incarnation;
                engine = Some((Engine::new(options.apply(*settings), *me), incarnation));
            }
            (Ok(Piece::Line(Line::Begin { version, .. })), _) => return Err(ReplayError::Version(version)),
            (Ok(Piece::Line(_)), None) => return Err(ReplayError::NoBeginning(None)),
            (Ok(Piece::Line(line)), Some((engine, _))) => {
                if let Line::Evidence(evidence) = &line {
                    replayed.clocks.note(evidence);
                }
                tell(engine, with(line, options));
                replayed.said.extend(std::iter::from_fn(|| engine.poll()));
            }
        }
    }
    if replayed.host.is_empty() { Err(ReplayError::NoBeginning(None)) } else { Ok(replayed) }
}

fn with(line: Line, options: &Options) -> Line {
    match line {
        Line::Configure(settings) => Line::Configure(Box::new(options.apply(*settings))),
        line => line,
    }
}

/// Tells an engine that has begun what a line says. What follows from it is there to be polled.
pub fn tell(engine: &mut Engine, line: Line) {
    match line {
        Line::Begin { .. } => {}
        Line::Evidence(evidence) => engine.handle(evidence),
        Line::Timeout(now) => engine.handle_timeout(now),
        Line::Adopt(incident, now) => engine.adopt(*incident, now),
        Line::Configure(settings) => engine.configure(*settings),
    }
}
