//! What is known, and what somebody looks at. Time, answers and keys come in as values; the view is made of it.

use std::collections::HashMap;
use std::time::Duration;

use lacuna_core::incident::Incident;
use lacuna_core::time::Nanos;

use super::feed::Update;
use super::incidents::Book;
use super::keys::Key;
use super::window::Window;
use crate::export::json::{Peer, Status};

/// Losses are those of so long a time.
pub(super) const LOSS_SPAN: Duration = Duration::from_secs(60);
/// Steal is that of so long a time.
const STEAL_SPAN: Duration = Duration::from_secs(10);
/// Lines that PgUp and PgDn move.
const PAGE: usize = 10;

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    GoOn,
    Quit,
}

/// Whether the agent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Contact {
    /// It was not asked yet, or has not answered yet.
    Asking,
    Answers,
    /// It does not, and why.
    Silent(String),
}

/// What fills the screen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Page {
    Overview,
    /// One incident, in the last version that is known, from this line on.
    Incident(Box<Incident>, usize),
    /// The keys, from this line on.
    Help(usize),
}

/// Which list the arrows move in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Focus {
    #[default]
    Incidents,
    Peers,
}

/// Heartbeats with a peer, as counters.
#[derive(Clone, Copy, Debug)]
struct Counts {
    sent: u64,
    received: u64,
    lost_from: u64,
    /// By the peer's own account; absent where it gave none.
    lost_to: Option<u64>,
}

/// The whole of it.
#[derive(Debug)]
pub(super) struct State {
    /// The URL that is asked.
    pub(super) agent: String,
    pub(super) colour: bool,
    pub(super) contact: Contact,
    /// Why changes of incidents do not come as they happen.
    pub(super) follows_not: Option<String>,
    /// The last answer.
    pub(super) status: Option<Box<Status>>,
    pub(super) book: Book,
    /// Whether the list of incidents has come.
    pub(super) listed: bool,
    pub(super) page: Page,
    pub(super) focus: Focus,
    /// The chosen incident; the first one where none was chosen yet.
    chosen: Option<String>,
    /// The chosen peer's place.
    pub(super) chosen_peer: usize,
    now: Nanos,
    answered_at: Nanos,
    counts: HashMap<String, Window<Counts>>,
    steal: HashMap<u32, Window<f64>>,
}

impl State {
    pub(super) fn new(agent: String, colour: bool) -> Self {
        Self {
            agent,
            colour,
            contact: Contact::Asking,
            follows_not: None,
            status: None,
            book: Book::default(),
            listed: false,
            page: Page::Overview,
            focus: Focus::default(),
            chosen: None,
            chosen_peer: 0,
            now: Nanos(0),
            answered_at: Nanos(0),
            counts: HashMap::new(),
            steal: HashMap::new(),
        }
    }

    /// It is that late now.
    pub(super) fn at(&mut self, now: Nanos) {
        self.now = now;
    }

    /// How old the last status is.
    pub(super) fn age(&self) -> Duration {
        self.now.since(self.answered_at)
    }

    /// Takes what came.
    pub(super) fn take(&mut self, update: Update, now: Nanos) {
        self.now = now;
        match update {
            Update::Status(status) => self.take_status(status),
            Update::NoStatus(why) => self.contact = Contact::Silent(why),
            Update::List(incidents) => {
                self.listed = true;
                incidents.into_iter().for_each(|incident| self.put(incident));
            }
            Update::Changed(incident) => self.put(*incident),
            Update::Follows => self.follows_not = None,
            Update::DoesNotFollow(why) => self.follows_not = Some(why),
        }
    }

    fn take_status(&mut self, status: Box<Status>) {
        self.contact = Contact::Answers;
        self.answered_at = self.now;
        // Another start counts from zero, and another host is another one.
        let same = self.status.as_ref().is_some_and(|old| old.agent.incarnation == status.agent.incarnation);
        if !same {
            self.counts.values_mut().for_each(Window::clear);
            self.steal.values_mut().for_each(Window::clear);
        }
        self.count(&status);
        status.open_incidents.iter().for_each(|incident| self.put(incident.clone()));
        self.chosen_peer = self.chosen_peer.min(status.peers.len().saturating_sub(1));
        self.status = Some(status);
    }

    fn count(&mut self, status: &Status) {
        self.counts.retain(|name, _| status.peers.iter().any(|peer| peer.name == *name));
        for (peer, beats) in status.peers.iter().filter_map(|peer| Some((peer, peer.heartbeats.as_ref()?))) {
            let counts = Counts {
                sent: beats.sent,
                received: beats.received,
                lost_from: beats.lost_from_peer,
                lost_to: beats.lost_to_peer,
            };
            let window = self.counts.entry(peer.name.clone()).or_insert_with(|| Window::new(LOSS_SPAN));
            // A peer that left and came back counts from zero.
            if window.newest().is_some_and(|old| old.sent > counts.sent || old.received > counts.received) {
                window.clear();
            }
            window.add(self.now, counts);
        }
        self.steal.retain(|number, _| status.cpus.iter().any(|cpu| cpu.cpu == *number));
        for (number, total) in status.cpus.iter().filter_map(|cpu| Some((cpu.cpu, cpu.steal_seconds_total?))) {
            self.steal.entry(number).or_insert_with(|| Window::new(STEAL_SPAN)).add(self.now, total);
        }
    }

    fn put(&mut self, incident: Incident) {
        let id = incident.id.clone();
        self.book.put(incident);
        // Who looks at one sees it change.
        if let (Page::Incident(shown, _), Some(newer)) = (&mut self.page, self.book.get(&id))
            && shown.id == id
        {
            **shown = newer.clone();
        }
    }

    /// The part of the heartbeats from and to the peer that were lost in the last minute, from 0 to 1; absent where none were
    /// exchanged, or the peer gave no account.
    pub(super) fn loss(&self, peer: &str) -> (Option<f64>, Option<f64>) {
        let Some((old, new, _)) = self.counts.get(peer).and_then(Window::ends) else { return (None, None) };
        let grew = |from: u64, to: u64| to.saturating_sub(from);
        let lost = grew(old.lost_from, new.lost_from);
        let from = part(lost, lost + grew(old.received, new.received));
        let lost_to = old.lost_to.zip(new.lost_to).map(|(old, new)| grew(old, new));
        let to = lost_to.and_then(|lost| part(lost, grew(old.sent, new.sent)));
        (from, to)
    }

    /// The part of the last seconds that the hypervisor took from that CPU, from 0 to 1; absent where it is not known.
    pub(super) fn steal(&self, cpu: u32) -> Option<f64> {
        let (old, new, took) = self.steal.get(&cpu).and_then(Window::ends)?;
        Some(((new - old) / took.as_secs_f64()).clamp(0.0, 1.0))
    }

    /// The peers of the last answer, those with trouble first.
    pub(super) fn peers(&self) -> Vec<&Peer> {
        let mut peers: Vec<_> = self.status.iter().flat_map(|status| &status.peers).collect();
        peers.sort_by_key(|peer| match (peer.left, peer.up) {
            (false, Some(false)) => 0,
            (false, None) => 1,
            (true, _) => 2,
            (false, Some(true)) => 3,
        });
        peers
    }

    /// The place of the chosen incident among [`Book::all`].
    pub(super) fn chosen_incident(&self) -> usize {
        let all = self.book.all();
        let place = self.chosen.as_ref().and_then(|id| all.iter().position(|one| one.id == *id));
        place.unwrap_or(0)
    }

    /// Does what the key means.
    pub(super) fn key(&mut self, key: Key) -> Flow {
        match (key, &mut self.page) {
            (Key::Quit, _) => return Flow::Quit,
            (Key::Help, Page::Help(_)) | (Key::Back, Page::Help(_) | Page::Incident(..)) => self.page = Page::Overview,
            (Key::Help, _) => self.page = Page::Help(0),
            (_, Page::Incident(_, top) | Page::Help(top)) => *top = moved(*top, key, usize::MAX),
            (Key::Other, Page::Overview) => {
                self.focus = if self.focus == Focus::Incidents { Focus::Peers } else { Focus::Incidents };
            }
            (Key::Open, Page::Overview) => self.open(),
            (Key::Back, Page::Overview) => (),
            (_, Page::Overview) => self.choose(key),
        }
        Flow::GoOn
    }

    fn open(&mut self) {
        if let Some(incident) = self.book.all().get(self.chosen_incident()) {
            self.page = Page::Incident(Box::new((*incident).clone()), 0);
        }
    }

    fn choose(&mut self, key: Key) {
        if self.focus == Focus::Peers {
            let last = self.peers().len().saturating_sub(1);
            self.chosen_peer = moved(self.chosen_peer, key, last);
            return;
        }
        let all = self.book.all();
        let place = moved(self.chosen_incident(), key, all.len().saturating_sub(1));
        self.chosen = all.get(place).map(|one| one.id.clone());
    }

    /// Keeps the page within its text, of which so many lines lie beyond the screen.
    pub(super) fn hold(&mut self, beyond: usize) {
        if let Page::Incident(_, top) | Page::Help(top) = &mut self.page {
            *top = (*top).min(beyond);
        }
    }
}

/// A place after that key, `last` at most.
fn moved(place: usize, key: Key, last: usize) -> usize {
    let moved = match key {
        Key::Up => place.saturating_sub(1),
        Key::Down => place.saturating_add(1),
        Key::PageUp => place.saturating_sub(PAGE),
        Key::PageDown => place.saturating_add(PAGE),
        Key::First => 0,
        Key::Last => last,
        _ => place,
    };
    moved.min(last)
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of heartbeats of one minute")]
fn part(of: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| of as f64 / all as f64)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
