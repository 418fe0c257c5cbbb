//! The compact form of lines. What comes ten times a second and peer is told by how it differs from the one before; whatever
//! is rare is its JSON, as a line of text.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fields::{self, Unreadable, difference, sum};
use super::news::{self, News, Sightings};
use super::{Line, beat};
use crate::evidence::{Evidence, Fact, Heartbeat, LargeHeartbeat, Size};
use crate::time::Nanos;

/// Most hosts whose evidence has the compact form; that of others is told in full.
const MAX_HOSTS: usize = 4096;

/// A line as it is written. Numbers called `*_step` are differences to the line of the same host and kind before, modulo 2^64.
/// Who reads it takes a heartbeat by itself: [`Later`].
#[derive(Serialize, Deserialize)]
enum Frame<N = News> {
    /// A line in full.
    Full(String),
    /// A host gets the next number.
    Host(String),
    Timeout {
        at_step: i64,
    },
    Sent {
        host: u32,
        at_step: i64,
        seq_step: i64,
    },
    /// Up to version 3.
    Beat {
        host: u32,
        from_step: i64,
        to_step: i64,
        beat: Later,
    },
    EchoSent {
        host: u32,
        at_step: i64,
    },
    EchoReply {
        host: u32,
        from_step: i64,
        to_step: i64,
    },
    LargeSent {
        host: u32,
        at_step: i64,
        size: Size,
        bytes: u16,
        seq_step: i64,
    },
    Large {
        host: u32,
        from_step: i64,
        to_step: i64,
        size: Size,
        bytes: u16,
        seq_step: i64,
        sent_step: i64,
    },
    /// In version 3: a heartbeat that tells of incidents.
    Telling {
        host: u32,
        from_step: i64,
        to_step: i64,
        beat: Later,
        stories: Later,
    },
    /// Since version 4: a heartbeat.
    News {
        host: u32,
        from_step: i64,
        to_step: i64,
        news: N,
    },
}

/// What is in the bytes that come next: nothing separates the fields of a frame.
#[derive(Serialize, Deserialize)]
struct Later;

/// A [`Line`] of evidence that belongs to somebody else, with the same JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum AsLine<'a> {
    Evidence(&'a Evidence),
}

/// What a line is told against: the same on both sides.
#[derive(Default)]
struct State {
    at: Nanos,
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
    hosts: Vec<Known>,
}

#[derive(Default)]
struct Known {
    sent_seq: u64,
    large_sent: [u64; 3],
    large_seq: [u64; 3],
    large_at: u64,
    /// Who sends the large ones: boot id and incarnation.
    sender: Option<([u8; 16], u64)>,
    /// Told to the engine and changed in its place as soon as nobody holds it any more.
    beat: Option<Arc<Heartbeat>>,
    sightings: Sightings,
}

impl State {
    fn host(&mut self, name: &str) {
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        self.hosts.push(Known::default());
    }

    /// The difference to the newest time, which is then this one.
    fn step_to(&mut self, at: Nanos) -> i64 {
        let step = difference(at.0, self.at.0);
        self.at = at;
        step
    }

    fn step_by(&mut self, step: i64) -> Nanos {
        self.at = Nanos(sum(self.at.0, step));
        self.at
    }

    /// Keeps what later lines are told against, of one that was told in full.
    fn keep(&mut self, Evidence { host, fact, .. }: &Evidence) {
        let Some(known) = self.numbers.get(host).and_then(|number| self.hosts.get_mut(*number as usize)) else {
            return;
        };
        match fact {
            Fact::Heartbeat(beat) => known.beat = Some(beat.clone()),
            Fact::LargeHeartbeat(large) => {
                known.sender = Some((large.boot_id, large.incarnation));
                known.large_seq[large.size.place()] = large.seq;
                known.large_at = large.sent_at.0;
            }
            _ => {}
        }
    }
}

/// Writes lines one after the other; only a [`Reader`] that has read all before understands the next.
#[derive(Default)]
pub(super) struct Writer {
    state: State,
}

impl Writer {
    /// Appends a line to `out`.
    pub(super) fn put(&mut self, line: &Line, out: &mut Vec<u8>) {
        match line {
            Line::Evidence(evidence) => self.put_evidence(evidence, out),
            Line::Timeout(at) => append(&Frame::Timeout { at_step: self.state.step_to(*at) }, out),
            _ => append(&Frame::Full(serde_json::to_string(line).unwrap_or_default()), out),
        }
    }

    /// Appends the line of a piece of evidence.
    pub(super) fn put_evidence(&mut self, evidence: &Evidence, out: &mut Vec<u8>) {
        let known = self.state.numbers.get(&evidence.host).copied();
        if known.is_none() && self.state.names.len() < MAX_HOSTS {
            append(&Frame::Host(evidence.host.to_string()), out);
            self.state.host(&evidence.host);
        }
        match known.and_then(|host| self.compact(host, evidence)) {
            Some(frame) => append(&frame, out),
            None => {
                let text = serde_json::to_string(&AsLine::Evidence(evidence)).unwrap_or_default();
                append(&Frame::Full(text), out);
                self.state.keep(evidence);
            }
        }
    }

    fn compact(&mut self, host: u32, evidence: &Evidence) -> Option<Frame> {
        let state = &mut self.state;
        let (from, to) = (evidence.from, evidence.to);
        let known = state.hosts.get_mut(host as usize)?;
        match &evidence.fact {
            Fact::HeartbeatSent { seq, error: None } if from == to => {
                let seq_step = difference(*seq, known.sent_seq);
                known.sent_seq = *seq;
                Some(Frame::Sent { host, at_step: state.step_to(to), seq_step })
            }
            Fact::Heartbeat(now) => {
                let before = known.beat.as_mut().filter(|before| news::suffice(before, now))?;
                let news = News::of(before, now, &mut known.sightings);
                news::adopt(Arc::make_mut(before), now);
                let (from_step, to_step) = (state.step_to(from), state.step_to(to));
                Some(Frame::News { host, from_step, to_step, news })
            }
            Fact::EchoSent if from == to => Some(Frame::EchoSent { host, at_step: state.step_to(to) }),
            Fact::EchoReply => {
                Some(Frame::EchoReply { host, from_step: state.step_to(from), to_step: state.step_to(to) })
            }
            Fact::LargeSent { size, bytes, seq } if from == to => {
                let before = &mut known.large_sent[size.place()];
                let seq_step = difference(*seq, *before);
                *before = *seq;
                Some(Frame::LargeSent { host, at_step: state.step_to(to), size: *size, bytes: *bytes, seq_step })
            }
            Fact::LargeHeartbeat(large) if known.sender == Some((large.boot_id, large.incarnation)) => {
                let LargeHeartbeat { size, bytes, seq, sent_at, .. } = *large;
                let seq_step = difference(seq, known.large_seq[size.place()]);
                let sent_step = difference(sent_at.0, known.large_at);
                known.large_seq[size.place()] = seq;
                known.large_at = sent_at.0;
                let (from_step, to_step) = (state.step_to(from), state.step_to(to));
                Some(Frame::Large { host, from_step, to_step, size, bytes, seq_step, sent_step })
            }
            _ => None,
        }
    }
}

fn append(frame: &Frame, out: &mut Vec<u8>) {
    // Writing to memory cannot fail, and every type here can be written.
    if let Ok(bytes) = postcard::to_extend(frame, std::mem::take(out)) {
        *out = bytes;
    }
}

/// Reads what a [`Writer`] wrote, from its first line on.
#[derive(Default)]
pub(super) struct Reader {
    state: State,
}

impl Reader {
    /// Takes the next line from the beginning of `bytes`; absent at their end.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Line>, Unreadable> {
        while !bytes.is_empty() {
            match fields::take(bytes)? {
                Frame::Host(name) if self.state.names.len() < MAX_HOSTS => self.state.host(&name),
                Frame::Host(_) => return Err(Unreadable("too many hosts".into())),
                Frame::Full(text) => {
                    let line = serde_json::from_str(&text).map_err(|error| Unreadable(error.to_string()))?;
                    if let Line::Evidence(evidence) = &line {
                        self.state.keep(evidence);
                    }
                    return Ok(Some(line));
                }
                Frame::Timeout { at_step } => return Ok(Some(Line::Timeout(self.state.step_by(at_step)))),
                frame => return self.evidence(&frame, bytes).map(|evidence| Some(Line::Evidence(evidence))),
            }
        }
        Ok(None)
    }

    fn evidence(&mut self, frame: &Frame<Later>, bytes: &mut &[u8]) -> Result<Evidence, Unreadable> {
        let state = &mut self.state;
        let unknown = || Unreadable("a host, or what its line is told against, is not known".into());
        let (host, from, to) = match frame {
            Frame::Sent { host, at_step, .. }
            | Frame::EchoSent { host, at_step }
            | Frame::LargeSent { host, at_step, .. } => {
                let at = state.step_by(*at_step);
                (*host, at, at)
            }
            Frame::News { host, from_step, to_step, .. }
            | Frame::Beat { host, from_step, to_step, .. }
            | Frame::Telling { host, from_step, to_step, .. }
            | Frame::EchoReply { host, from_step, to_step }
            | Frame::Large { host, from_step, to_step, .. } => {
                (*host, state.step_by(*from_step), state.step_by(*to_step))
            }
            Frame::Full(_) | Frame::Host(_) | Frame::Timeout { .. } => return Err(unknown()),
        };
        let name = state.names.get(host as usize).ok_or_else(unknown)?;
        let known = state.hosts.get_mut(host as usize).ok_or_else(unknown)?;
        let fact = match *frame {
            Frame::Sent { seq_step, .. } => {
                known.sent_seq = sum(known.sent_seq, seq_step);
                Fact::HeartbeatSent { seq: known.sent_seq, error: None }
            }
            Frame::News { .. } | Frame::Beat { .. } | Frame::Telling { .. } => {
                let shared = known.beat.as_mut().ok_or_else(unknown)?;
                let beat = Arc::make_mut(shared);
                match frame {
                    Frame::News { .. } => news::restore(beat, &mut known.sightings, bytes)?,
                    _ => beat::restore(beat, matches!(frame, Frame::Telling { .. }), bytes)?,
                }
                Fact::Heartbeat(Arc::clone(shared))
            }
            Frame::LargeSent { size, bytes, seq_step, .. } => {
                let seq = sum(known.large_sent[size.place()], seq_step);
                known.large_sent[size.place()] = seq;
                Fact::LargeSent { size, bytes, seq }
            }
            Frame::Large { size, bytes, seq_step, sent_step, .. } => {
                let (boot_id, incarnation) = known.sender.ok_or_else(unknown)?;
                let seq = sum(known.large_seq[size.place()], seq_step);
                known.large_seq[size.place()] = seq;
                known.large_at = sum(known.large_at, sent_step);
                let sent_at = Nanos(known.large_at);
                Fact::LargeHeartbeat(LargeHeartbeat { size, bytes, seq, sent_at, boot_id, incarnation })
            }
            Frame::EchoReply { .. } => Fact::EchoReply,
            _ => Fact::EchoSent,
        };
        Ok(Evidence { host: Arc::clone(name), from, to, fact })
    }
}
