//! What an agent says in the course of a scenario: every version of every incident, polled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use lacuna_core::incident::{Class, State};
use serde_json::Value;

use super::api::{Client, Incident, Peer};
use super::clock::Stamp;
use super::netns;
use crate::stop::Stop;

/// How often an agent is asked.
const EVERY: Duration = Duration::from_millis(100);
/// An agent that answers later does not answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Versions that are kept of an incident, and incidents of a host; more are counted.
const MAX_KEPT: usize = 1000;

/// The thread that asks one agent; it ends with this value.
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

/// Everything that one agent said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Status of the last answer of `/healthz`; absent where it did not answer.
    pub(crate) health: Option<(u16, String)>,
    /// The last answer of `/api/v1/peers`.
    pub(crate) peers: Vec<Peer>,
    /// By id.
    pub(crate) incidents: BTreeMap<String, History>,
    /// Answers that broke the contract, and how often.
    pub(crate) broken: BTreeMap<String, u32>,
    /// Versions and incidents beyond what is kept.
    pub(crate) refused: u64,
}

/// The versions of an incident.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// Each change of its verdict or state.
    pub(crate) versions: Vec<Version>,
    /// As it was last seen.
    pub(crate) last: Incident,
    /// The whole document.
    pub(crate) document: Value,
    /// Whether the last answer had it.
    pub(crate) listed: bool,
}

/// A verdict at a time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Version {
    /// When it was first seen.
    pub(crate) at: Stamp,
    /// Which class.
    pub(crate) class: Class,
    /// Whom it was about.
    pub(crate) subject: BTreeMap<String, Value>,
    /// Whether it might still change.
    pub(crate) provisional: bool,
    /// Open or closed.
    pub(crate) state: State,
}

impl Watch {
    /// Begins to ask the agent at that address, from the namespace of that name.
    pub(crate) fn start(namespace: &str, url: &str) -> Result<Self> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Stop::default();
        let (name, into, until) = (namespace.to_owned(), Arc::clone(&seen), stop.clone());
        let client = Client::new(url, TIMEOUT);
        let thread = std::thread::Builder::new().name(format!("watch-{name}")).spawn(move || {
            if let Err(error) = netns::join(&name) {
                lock(&into).broken.insert(format!("{error:#}"), 1);
                return;
            }
            poll(&client, &into, &until);
        })?;
        Ok(Self { seen, stop, thread: Some(thread) })
    }

    /// What was seen until now.
    pub(crate) fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Whether the agent is healthy and hears all of its peers.
    pub(crate) fn ready(&self, peers: usize) -> bool {
        let seen = lock(&self.seen);
        let healthy = matches!(seen.health, Some((200, _)));
        let up = seen.peers.iter().filter(|peer| peer.role == "peer");
        healthy && up.filter(|peer| peer.up == Some(true)).count() >= peers
    }

    /// The last of what was seen.
    pub(crate) fn end(mut self) -> Result<Seen> {
        self.stop.raise();
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| anyhow!("the watching thread panicked"))?;
        }
        Ok(lock(&self.seen).clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.raise();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn poll(client: &Client, seen: &Mutex<Seen>, stop: &Stop) {
    let mut next = Instant::now();
    while !stop.raised() {
        let health = client.health();
        let alive = health.is_ok();
        lock(seen).health = health.ok();
        if alive {
            ask(seen, client);
        }
        next = (next + EVERY).max(Instant::now());
        let _ = stop.sleep_until(next);
    }
}

/// Asks for peers and incidents; an agent that ends meanwhile has not broken the contract.
fn ask(seen: &Mutex<Seen>, client: &Client) {
    let (peers, incidents) = (client.peers(), client.incidents());
    let mut seen = lock(seen);
    match peers {
        Ok(peers) => seen.peers = peers,
        Err(error) => seen.complain(&error),
    }
    match incidents {
        Ok(incidents) => seen.take_all(incidents),
        Err(error) => seen.complain(&error),
    }
}

impl Seen {
    /// Takes the whole answer of `/api/v1/incidents`.
    pub(crate) fn take_all(&mut self, documents: Vec<Value>) {
        for history in self.incidents.values_mut() {
            history.listed = false;
        }
        for document in documents {
            if let Err(error) = self.take(document) {
                self.complain(&error);
            }
        }
    }

    fn take(&mut self, document: Value) -> Result<()> {
        let last: Incident = serde_json::from_value(document.clone())
            .map_err(|error| anyhow!("an incident breaks the contract: {error}: {document}"))?;
        let version = Version {
            at: Stamp::now()?,
            class: last.verdict.class,
            subject: last.verdict.subject.clone(),
            provisional: last.provisional,
            state: last.state,
        };
        let full = self.incidents.len() >= MAX_KEPT;
        match self.incidents.get_mut(&last.id) {
            Some(history) => {
                self.refused += history.add(version);
                (history.last, history.document, history.listed) = (last, document, true);
            }
            None if full => self.refused += 1,
            None => {
                let history = History { versions: vec![version], last: last.clone(), document, listed: true };
                self.incidents.insert(last.id, history);
            }
        }
        Ok(())
    }

    /// Only answers that came and were wrong are complaints; a connection that broke is not.
    fn complain(&mut self, error: &anyhow::Error) {
        let io = |cause: &(dyn std::error::Error + 'static)| cause.is::<ureq::Error>();
        if !error.chain().any(io) && self.broken.len() < MAX_KEPT {
            *self.broken.entry(format!("{error:#}")).or_default() += 1;
        }
    }
}

impl History {
    /// Keeps the version where it is new; says how many were not kept.
    fn add(&mut self, version: Version) -> u64 {
        let same = self.versions.last().is_some_and(|last| *last == Version { at: last.at, ..version.clone() });
        match (same, self.versions.len() < MAX_KEPT) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => {
                self.versions.push(version);
                0
            }
        }
    }
}
