//! The guest's second serial port: requests to the first process in it, answers, and what it tells by itself.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::lab::clock::Stamp;

/// Answers and ends that are kept; a run has a few dozen.
const MAX_KEPT: usize = 10_000;

/// What a guest says in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// It is up, with this boot id.
    Hello(String),
    /// The answer to a request: its text, or what went wrong.
    Answer(u64, Result<String, String>),
    /// What a request began has ended.
    Done(u64, String),
}

/// Everything that it said.
#[derive(Debug, Default)]
struct Heard {
    boots: Vec<String>,
    answers: BTreeMap<u64, Result<String, String>>,
    ended: BTreeMap<u64, (Stamp, String)>,
    closed: bool,
}

/// The port. Any thread may ask; the thread that listens ends with the emulator.
#[derive(Debug)]
pub(crate) struct Channel {
    out: Mutex<(UnixStream, u64)>,
    heard: Arc<(Mutex<Heard>, Condvar)>,
}

impl Channel {
    /// Over a connection to the port.
    pub(crate) fn over(socket: UnixStream) -> Result<Self> {
        let heard = Arc::new((Mutex::new(Heard::default()), Condvar::new()));
        let (lines, into) = (BufReader::new(socket.try_clone()?), Arc::clone(&heard));
        std::thread::Builder::new().name("guest".into()).spawn(move || listen(lines, &into))?;
        Ok(Self { out: Mutex::new((socket, 0)), heard })
    }

    /// Sends a request that is to be served on `cpu`; its number.
    pub(crate) fn send(&self, cpu: u32, request: &str) -> Result<u64> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.1 += 1;
        let number = out.1;
        writeln!(out.0, "{number} {cpu} {request}").context("the guest's serial port")?;
        Ok(number)
    }

    /// The answer to the request of that number.
    pub(crate) fn answer(&self, number: u64, patience: Duration) -> Result<String> {
        let answer = self.wait(patience, |heard| heard.answers.remove(&number))?;
        answer.map_err(|error| anyhow!("the guest: {error}"))
    }

    /// When the job that a request began was told to have ended, and how it ended.
    pub(crate) fn end(&self, number: u64, patience: Duration) -> Result<(Stamp, String)> {
        self.wait(patience, |heard| heard.ended.remove(&number))
    }

    /// How that job has ended, where it has; the end is kept.
    pub(crate) fn how_ended(&self, number: u64) -> Option<String> {
        lock(&self.heard.0).ended.get(&number).map(|(_, how)| how.clone())
    }

    /// How often the guest has come up.
    pub(crate) fn boots(&self) -> usize {
        lock(&self.heard.0).boots.len()
    }

    fn wait<T>(&self, patience: Duration, mut look: impl FnMut(&mut Heard) -> Option<T>) -> Result<T> {
        let (heard, changed) = &*self.heard;
        let end = Instant::now() + patience;
        let mut heard = lock(heard);
        loop {
            if let Some(found) = look(&mut heard) {
                return Ok(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || heard.closed {
                bail!(
                    "the guest said nothing of it in {patience:?}{}",
                    if heard.closed { ", and has ended" } else { "" }
                );
            }
            heard = changed.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes line after line; firmware and half lines of a guest that was reset are no words of ours.
fn listen(mut lines: BufReader<UnixStream>, into: &(Mutex<Heard>, Condvar)) {
    let mut line = Vec::new();
    while let Ok(1..) = lines.read_until(b'\n', &mut line) {
        if let (Some(said), Ok(at)) = (parse(&String::from_utf8_lossy(&line)), Stamp::now()) {
            lock(&into.0).take(said, at);
            into.1.notify_all();
        }
        line.clear();
    }
    lock(&into.0).closed = true;
    into.1.notify_all();
}

impl Heard {
    fn take(&mut self, said: Said, at: Stamp) {
        if self.boots.len() + self.answers.len() + self.ended.len() >= MAX_KEPT {
            return;
        }
        match said {
            Said::Hello(boot) => self.boots.push(boot),
            Said::Answer(number, answer) => drop(self.answers.insert(number, answer)),
            Said::Done(number, how) => drop(self.ended.insert(number, (at, how))),
        }
    }
}

fn parse(line: &str) -> Option<Said> {
    let line = line.trim();
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    if first.ends_with("hello") {
        return Some(Said::Hello(rest.to_owned()));
    }
    let (second, text) = rest.split_once(' ').unwrap_or((rest, ""));
    if first == "done" {
        return Some(Said::Done(second.parse().ok()?, text.to_owned()));
    }
    let number = first.parse().ok()?;
    match second {
        "ok" => Some(Said::Answer(number, Ok(text.to_owned()))),
        "error" => Some(Said::Answer(number, Err(text.to_owned()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_guest_is_understood() {
        let cases = [
            ("hello 1-2\n", Some(Said::Hello("1-2".into()))),
            ("7 ok\n", Some(Said::Answer(7, Ok(String::new())))),
            ("7 ok a b\n", Some(Said::Answer(7, Ok("a b".into())))),
            ("8 error no such CPU\n", Some(Said::Answer(8, Err("no such CPU".into())))),
            ("done 9 exit 0\n", Some(Said::Done(9, "exit 0".into()))),
            ("SeaBIOS (version 1.16)\n", None),
        ];
        for (line, said) in cases {
            assert_eq!(parse(line), said, "{line}");
        }
    }

    #[test]
    fn answers_find_their_questions_and_an_end_is_noticed() {
        let (mine, mut guest) = UnixStream::pair().unwrap();
        let channel = Channel::over(mine).unwrap();
        let (one, two) = (channel.send(0, "ping").unwrap(), channel.send(1, "ping").unwrap());
        writeln!(guest, "{two} ok second\n{one} error first").unwrap();
        let patience = Duration::from_secs(5);
        assert!(channel.answer(one, patience).unwrap_err().to_string().contains("first"));
        assert_eq!(channel.answer(two, patience).unwrap(), "second");
        drop(guest);
        assert!(channel.answer(3, Duration::from_secs(60)).unwrap_err().to_string().contains("has ended"));
    }
}
