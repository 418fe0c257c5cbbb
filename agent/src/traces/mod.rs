//! Sends incidents to a collector as traces.
//!
//! Signal: every version of every incident. Ask: what of it has ended and is not sent yet? The driver only hands over; a thread of
//! its own makes spans (`export::otlp`), writes them to the spool, and sends from there. So what the collector cannot take now is
//! sent later, also by the agent's next run, and whatever is sent twice is the same both times.

mod send;
mod spool;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;
use std::{io, thread};

use lacuna_core::incident::Incident;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use self::send::{Collector, SendError};
pub use self::spool::{Batch, FOLDER, Lost, Spool};
use crate::config::Otlp;
use crate::export::otlp::{Spans, request};
use crate::shared::{OtlpFigures, Shared};

/// Versions of incidents that may wait for the thread.
const QUEUE: usize = 1024;
/// Bytes of one request, as far as whole records allow: collectors take 4 MiB as a rule.
const MOST_AT_ONCE: usize = 1 << 20;
/// The first wait after a failure; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// At the end what waits may take so long to be written, and then to be sent.
const WRITE_AT_END: Duration = Duration::from_secs(1);
const SEND_AT_END: Duration = Duration::from_secs(1);
/// How long `doctor` waits for an answer.
const TRY: Duration = Duration::from_secs(2);
/// Longer than any agent runs.
const FOR_GOOD: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// The part of `/healthz` that its troubles are shown under.
const PART: &str = "otlp";

/// The driver's end.
pub struct Traces {
    queue: mpsc::Sender<Arc<Incident>>,
    done: Receiver<()>,
    shared: Arc<Shared>,
}

impl Traces {
    /// Starts the thread that sends what `spool` has and gets.
    ///
    /// # Errors
    /// The system cannot start it, or the endpoint is no address.
    pub fn start(otlp: &Otlp, spool: Spool, shared: Arc<Shared>) -> io::Result<Self> {
        let (queue, incoming) = mpsc::channel(QUEUE);
        let (finished, done) = sync_channel(1);
        let runtime = runtime()?;
        let collector = {
            let _inside = runtime.enter();
            Collector::new(otlp).map_err(io::Error::other)?
        };
        shared.counters.write().otlp = Some(OtlpFigures::default());
        let mut work = Work::new(spool, collector, Arc::clone(&shared));
        thread::Builder::new().name("lacuna-traces".into()).spawn(move || {
            runtime.block_on(work.run(incoming));
            // Nobody waits where the agent did not say goodbye.
            let _ = finished.send(());
        })?;
        Ok(Self { queue, done, shared })
    }

    /// Hands over a version of an incident; never blocks. What finds no room is counted.
    pub fn put(&self, incident: Arc<Incident>) {
        if self.queue.try_send(incident).is_err()
            && let Some(figures) = &mut self.shared.counters.write().otlp
        {
            figures.refused += 1;
        }
    }

    /// Writes what is still waiting, tries once more to send it, and ends the thread.
    pub fn finish(self) {
        drop(self.queue);
        if let Err(RecvTimeoutError::Timeout) = self.done.recv_timeout(WRITE_AT_END + SEND_AT_END) {
            tracing::warn!("traces that wait could not be written in time");
        }
    }
}

/// Whether the collector takes a request, which has no spans.
///
/// # Errors
/// Why not.
pub fn try_out(otlp: &Otlp) -> Result<(), SendError> {
    let away = |error: io::Error| SendError::Away(error.to_string());
    runtime().map_err(away)?.block_on(async {
        let sent = tokio::time::timeout(TRY, Collector::new(otlp)?.send(Vec::new())).await;
        sent.map_err(|_| SendError::Away(format!("no answer within {} s", TRY.as_secs())))?.map(|_| ())
    })
}

/// On the thread that asks. Names of hosts are looked up on another one, which stays: one that ends gives memory back, and that waits
/// for every CPU.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .thread_keep_alive(FOR_GOOD)
        .build()
}

type Sending = Pin<Box<dyn Future<Output = Result<u64, SendError>> + Send>>;

/// What the thread does.
struct Work {
    spans: Spans,
    spool: Spool,
    collector: Collector,
    shared: Arc<Shared>,
    /// What is on its way.
    sending: Option<(Batch, Sending)>,
    /// No sooner than then.
    not_before: Instant,
    wait: Duration,
}

impl Work {
    fn new(spool: Spool, collector: Collector, shared: Arc<Shared>) -> Self {
        let (spans, not_before) = (Spans::default(), Instant::now());
        Self { spans, spool, collector, shared, sending: None, not_before, wait: FIRST_WAIT }
    }

    async fn run(&mut self, mut incoming: mpsc::Receiver<Arc<Incident>>) {
        loop {
            self.publish();
            self.send_next();
            let idle = self.sending.is_none() && self.spool.waiting_spans() == 0;
            tokio::select! {
                biased;
                incident = incoming.recv() => match incident {
                    Some(incident) => self.take(&incident),
                    None => break,
                },
                sent = on_its_way(&mut self.sending) => self.conclude(sent),
                () = tokio::time::sleep_until(self.not_before), if !idle && self.sending.is_none() => {}
            }
        }
        self.not_before = Instant::now();
        let _ = tokio::time::timeout(SEND_AT_END, self.send_all()).await;
        self.publish();
    }

    /// Until nothing waits, or it fails.
    async fn send_all(&mut self) {
        while self.not_before <= Instant::now() {
            self.send_next();
            if self.sending.is_none() {
                break;
            }
            let sent = on_its_way(&mut self.sending).await;
            self.conclude(sent);
        }
    }

    /// Makes spans of it and keeps them, which is as good as sent.
    fn take(&mut self, incident: &Incident) {
        let spans = self.spans.of(incident);
        if spans.is_empty() {
            return;
        }
        let count = u32::try_from(spans.len()).unwrap_or(u32::MAX);
        match self.spool.put(&request(&self.shared.identity.host, spans), count) {
            Ok(()) => self.shared.restore(PART),
            Err(error) => self.trouble(format!("traces are lost: {error}")),
        }
    }

    fn send_next(&mut self) {
        if self.sending.is_some() || self.not_before > Instant::now() {
            return;
        }
        match self.spool.next(MOST_AT_ONCE) {
            Ok(None) => {}
            Ok(Some(batch)) => {
                let sending = Box::pin(self.collector.clone().send(batch.request.clone()));
                self.sending = Some((batch, sending));
            }
            Err(error) => {
                self.trouble(format!("traces that wait cannot be read: {error}"));
                self.hold_back();
            }
        }
    }

    fn conclude(&mut self, sent: Result<u64, SendError>) {
        let Some((batch, _)) = self.sending.take() else { return };
        self.note(&batch, &sent);
        let kept = match &sent {
            Ok(_) => {
                self.wait = FIRST_WAIT;
                self.spool.done(&batch)
            }
            Err(SendError::Refused(because)) => {
                tracing::warn!("the collector refuses {} spans: {because}", batch.spans);
                self.spool.done(&batch)
            }
            Err(SendError::Away(because)) => {
                // Said once: it may be away for long.
                if self.wait == FIRST_WAIT {
                    tracing::warn!("the collector does not answer, traces wait: {because}");
                }
                self.hold_back();
                Ok(())
            }
        };
        if let Err(error) = kept {
            self.trouble(format!("traces may be sent twice: {error}"));
        }
    }

    fn hold_back(&mut self) {
        self.not_before = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }

    fn note(&self, batch: &Batch, sent: &Result<u64, SendError>) {
        if let Some(figures) = &mut self.shared.counters.write().otlp {
            figures.up = Some(!matches!(sent, Err(SendError::Away(_))));
            match sent {
                Ok(rejected) => {
                    let rejected = (*rejected).min(batch.spans);
                    figures.rejected += rejected;
                    figures.sent += batch.spans - rejected;
                }
                Err(SendError::Refused(_)) => figures.rejected += batch.spans,
                Err(SendError::Away(_)) => figures.failures += 1,
            }
        }
    }

    fn trouble(&self, because: String) {
        tracing::warn!("{because}");
        self.shared.degrade(PART, because);
    }

    fn publish(&self) {
        let lost = |why: Lost| self.spool.lost().get(&why).copied().unwrap_or(0);
        if let Some(figures) = &mut self.shared.counters.write().otlp {
            (figures.waiting_spans, figures.waiting_bytes) = (self.spool.waiting_spans(), self.spool.waiting_bytes());
            (figures.full, figures.disk, figures.damaged) = (lost(Lost::Full), lost(Lost::Disk), lost(Lost::Damaged));
        }
    }
}

/// Never where nothing is on its way.
async fn on_its_way(sending: &mut Option<(Batch, Sending)>) -> Result<u64, SendError> {
    match sending {
        Some((_, sending)) => sending.await,
        None => std::future::pending().await,
    }
}
