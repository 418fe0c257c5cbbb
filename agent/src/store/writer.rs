//! The store's own thread: the driver never waits for a disk.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use lacuna_core::incident::Incident;
use lacuna_core::recurrence::{Mark, Watched};
use tokio::sync::oneshot;

use super::watch::{HeardPeer, PeerWatch, Watch};
use super::{Store, StoreError, StoreSettings};
use crate::clock::{self, Reading};
use crate::shared::Shared;

/// Versions of incidents, and other orders, that may wait for the thread.
pub const QUEUE: usize = 1024;
/// Signs of life of those; each names the peers that were heard, a thousand at most. With more the disk hangs for ten minutes.
const WATCHED: usize = 64;
/// Incidents whose newest version is kept while the store cannot be written.
const PENDING: usize = 1024;
/// Watched periods that wait while the store cannot be written; the oldest go first, and count as unwatched.
const PENDING_PERIODS: usize = 4096;
/// The first wait after a failure; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How often incidents beyond the retention are removed.
const EXPIRE_EVERY: Duration = Duration::from_secs(3600);
/// How long [`Writer::finish`] waits for a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// The part of `/healthz` that the store's troubles are shown under.
const PART: &str = "store";

/// What the thread is asked to do.
#[derive(Debug)]
enum Order {
    Incident(Arc<Incident>),
    /// The driver watches at that moment, and hears those peers; counted while it waits.
    Watched(Reading, Vec<HeardPeer>, Arc<()>),
    Mark(String, oneshot::Sender<Result<Mark, String>>),
}

/// The driver's end of the store.
#[derive(Debug)]
pub struct Writer {
    queue: SyncSender<Order>,
    done: Receiver<()>,
    refused: Refused,
    /// One for each sign of life that waits, and this one.
    watched: Arc<()>,
}

/// Counts what the store did not take.
#[derive(Clone)]
struct Refused(Arc<Shared>);

impl std::fmt::Debug for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Refused")
    }
}

impl Refused {
    fn add(&self, incidents: u64) {
        self.0.counters.write().store_refused += incidents;
    }
}

/// Starts the thread. With an `opened` that failed it says so in `/healthz` and tries again, as it does after
/// any later failure.
///
/// # Errors
/// The system cannot start a thread.
pub fn spawn_writer(
    settings: StoreSettings,
    opened: Result<Store, StoreError>,
    shared: Arc<Shared>,
) -> io::Result<Writer> {
    let (queue, incoming) = sync_channel(QUEUE);
    let (finished, done) = sync_channel(1);
    let refused = Refused(Arc::clone(&shared));
    let mut work = Work::new(settings, opened, shared);
    thread::Builder::new().name("lacuna-store".into()).spawn(move || {
        work.run(&incoming);
        // Nobody waits where the agent did not say goodbye.
        let _ = finished.send(());
    })?;
    Ok(Writer { queue, done, refused, watched: Arc::new(()) })
}

impl Writer {
    /// Hands over a version of an incident; never blocks. What does not fit is counted and shown as degraded.
    pub fn put(&self, incident: Arc<Incident>) {
        let because = match self.queue.try_send(Order::Incident(incident)) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => "the disk is too slow: the store's queue is full",
            Err(TrySendError::Disconnected(_)) => "the store's thread has ended",
        };
        self.refused.add(1);
        self.refused.0.degrade(PART, because.to_owned());
    }

    /// The driver watches now, and hears those peers; never blocks. One that finds no room is followed by the next.
    pub fn watched(&self, now: Reading, heard: Vec<HeardPeer>) {
        if Arc::strong_count(&self.watched) <= WATCHED {
            let _ = self.queue.try_send(Order::Watched(now, heard, Arc::clone(&self.watched)));
        }
    }

    /// An end for those who note changes.
    #[must_use]
    pub fn marker(&self) -> Marker {
        Marker { queue: self.queue.clone() }
    }

    /// Writes what is still waiting and ends the thread; gives up after 5 s on a disk that hangs. True where all
    /// of it was tried.
    #[must_use]
    pub fn finish(self) -> bool {
        drop(self.queue);
        !matches!(self.done.recv_timeout(PATIENCE), Err(RecvTimeoutError::Timeout))
    }
}

/// Notes changes. As long as there is one, the thread does not end.
#[derive(Clone, Debug)]
pub struct Marker {
    queue: SyncSender<Order>,
}

impl Marker {
    /// Notes a change at this moment, and answers once that is safe.
    ///
    /// # Errors
    /// Why it was not noted.
    pub async fn mark(&self, text: String) -> Result<Mark, String> {
        let (answer, answered) = oneshot::channel();
        let sent = self.queue.try_send(Order::Mark(text, answer));
        sent.map_err(|_| "the disk is too slow: the store's queue is full".to_owned())?;
        answered.await.map_err(|_| "the store's thread has ended".to_owned())?
    }
}

/// What the thread has in hand.
struct Work {
    settings: StoreSettings,
    store: Option<Store>,
    shared: Arc<Shared>,
    /// The newest version of each incident that is not written yet.
    pending: BTreeMap<String, Arc<Incident>>,
    /// The time that the agent watches, and times before a break in it that are not written yet.
    watch: Watch,
    peers: PeerWatch,
    /// By begin and host, the oldest first.
    periods: BTreeMap<(i64, String), Watched>,
    /// After a failure: the wait, and when it is over.
    retry: Option<(Duration, Instant)>,
    expire_at: Instant,
}

impl Work {
    fn new(settings: StoreSettings, opened: Result<Store, StoreError>, shared: Arc<Shared>) -> Self {
        let watch = Watch::new(shared.identity.host.clone(), shared.identity.boot_id.clone());
        let mut work = Self {
            settings,
            store: None,
            shared,
            pending: BTreeMap::new(),
            watch,
            peers: PeerWatch::default(),
            periods: BTreeMap::new(),
            retry: None,
            expire_at: clock::instant(),
        };
        match opened {
            Ok(store) => {
                work.shared.counters.write().newest_mark_ms = store.newest_mark_ms().ok().flatten();
                work.store = Some(store);
            }
            Err(error) => work.failed(&error),
        }
        work
    }

    fn run(&mut self, incoming: &Receiver<Order>) {
        loop {
            let next = self.retry.map_or(self.expire_at, |(_, at)| at);
            let wait = next.saturating_duration_since(clock::instant());
            let last = match incoming.recv_timeout(wait) {
                Ok(order) => {
                    self.take(order);
                    incoming.try_iter().take(QUEUE).for_each(|more| self.take(more));
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            if last {
                let periods = self.peers.periods().collect();
                self.note_periods(periods);
            }
            if last || self.retry.is_none_or(|(_, at)| at <= clock::instant()) {
                self.turn();
            }
            if last {
                return;
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Incident(incident) => self.keep(incident),
            Order::Watched(now, heard, waits) => {
                drop(waits);
                let mut periods = self.peers.beat(now.wall, &heard);
                periods.extend(self.watch.beat(now));
                self.note_periods(periods);
            }
            Order::Mark(text, answer) => {
                let marked = self.mark(&text);
                if let Err(error) = &marked {
                    tracing::error!("a mark was not kept: {error}");
                }
                // Who asked may have gone meanwhile.
                let _ = answer.send(marked.map_err(|error| error.to_string()));
            }
        }
    }

    /// To be written; what is known of the same period is replaced.
    fn note_periods(&mut self, periods: Vec<Watched>) {
        for period in periods {
            self.periods.insert((period.from_ms, period.host.clone()), period);
            if self.periods.len() > PENDING_PERIODS {
                self.periods.pop_first();
            }
        }
    }

    /// Somebody waits for the answer, so it is tried at once.
    fn mark(&mut self, text: &str) -> Result<Mark, StoreError> {
        let store = match &mut self.store {
            Some(store) => store,
            none => none.insert(Store::open(&self.settings)?),
        };
        store.check_in_place()?;
        let mark = store.mark(text, clock::wall())?;
        self.shared.counters.write().newest_mark_ms = Some(mark.at_ms);
        Ok(mark)
    }

    fn keep(&mut self, incident: Arc<Incident>) {
        if self.pending.len() < PENDING || self.pending.contains_key(&incident.id) {
            self.pending.insert(incident.id.clone(), incident);
        } else {
            Refused(Arc::clone(&self.shared)).add(1);
        }
    }

    /// One attempt at all there is to do.
    fn turn(&mut self) {
        match self.flush() {
            Ok(()) => {
                self.retry = None;
                self.shared.restore(PART);
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &StoreError) {
        let wait = self.retry.map_or(FIRST_WAIT, |(wait, _)| (wait * 2).min(LONGEST_WAIT));
        if self.retry.is_none() {
            tracing::error!("incidents are not kept: {error}");
        }
        self.retry = Some((wait, clock::instant() + wait));
        self.shared.degrade(PART, error.to_string());
        // A file that was replaced or a disk that was mounted anew needs a new connection.
        self.store = None;
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let store = match &mut self.store {
            Some(store) => store,
            none => none.insert(Store::open(&self.settings)?),
        };
        store.check_in_place()?;
        while let Some(next) = self.pending.first_entry() {
            match store.put(next.get()) {
                Ok(evicted) => note_evicted(&self.shared, evicted),
                Err(error @ StoreError::Document { .. }) => {
                    tracing::error!("{error}");
                    Refused(Arc::clone(&self.shared)).add(1);
                }
                Err(error) => return Err(error),
            }
            next.remove();
        }
        store.watched(self.periods.values().chain(self.watch.period()))?;
        self.periods.clear();
        if self.expire_at <= clock::instant() {
            store.expire(clock::wall())?;
            self.expire_at = clock::instant() + EXPIRE_EVERY;
        }
        Ok(())
    }
}

fn note_evicted(shared: &Shared, evicted: u64) {
    if evicted > 0 {
        shared.counters.write().store_evicted += evicted;
        tracing::warn!("the store reached store.max_size: {evicted} of the oldest closed incidents went");
    }
}

#[cfg(test)]
mod tests {
    use lacuna_core::time::{Nanos, WallNanos};

    use super::*;

    #[test]
    fn a_disk_that_hangs_keeps_a_few_signs_of_life_waiting() {
        let ((queue, incoming), (_, done)) = (sync_channel(QUEUE), sync_channel(1));
        let refused = Refused(crate::samples::shared());
        let writer = Writer { queue, done, refused, watched: Arc::new(()) };
        let now = Reading { boot: Nanos(1), wall: WallNanos(1) };
        (0..2 * WATCHED).for_each(|_| writer.watched(now, Vec::new()));
        drop(incoming.recv());
        (0..2).for_each(|_| writer.watched(now, Vec::new()));
        assert_eq!(incoming.try_iter().count(), WATCHED);
    }
}
