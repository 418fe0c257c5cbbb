//! The flight recorder: the last minutes of all that the engine was told, on disk, so that a stall can be judged again later,
//! with other thresholds or by a newer agent.
//!
//! Signal: the lines that go to the engine. Ask: what was it told around an incident? The intuition: a ring of small files,
//! each of which can be read alone; those around an incident are kept longer than the others. The driver only adds to a block
//! in memory; a thread of its own writes blocks. One that the disk has no time for is lost and counted, and the next one
//! begins a file of its own, so that the hole shows.

mod export;
mod ring;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use std::{io, thread};

use lacuna_core::engine::Me;
use lacuna_core::evidence::Evidence;
use lacuna_core::incident::Incident;
use lacuna_core::recording::{BLOCK_BYTES, BlockWriter, Line, VERSION};
use lacuna_core::settings::Settings;
use lacuna_core::time::Nanos;

pub use self::export::{ExportError, Exported, Exporter, export};
pub use self::ring::{FOLDER, Ring};
use crate::clock;
use crate::shared::Shared;

/// A block is written after so long even where it is small: a crash loses no more.
const BLOCK_LASTS: Duration = Duration::from_secs(1);
/// A file lasts so long: less cannot be kept around an incident.
const PART_LASTS: Duration = Duration::from_secs(20);
/// What is kept before and after an incident.
const AROUND: Duration = Duration::from_secs(60);
/// An incident that lasts for longer does not keep all of it.
const MOST_AROUND: Duration = Duration::from_secs(600);
/// Jobs that may wait for the thread.
const QUEUE: usize = 64;
/// How long [`Recorder::finish`] waits for a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(2);
/// The part of `/healthz` that the recorder's troubles are shown under.
pub(crate) const PART: &str = "recorder";

/// What the thread does.
#[derive(Debug)]
pub(crate) enum Job {
    /// Writes a block to the newest file, or as the first of a new one. `at` is on the boot clock.
    Block { bytes: Vec<u8>, begins: bool, at: Nanos },
    /// Keeps the files that hold any of that time.
    Keep { from: Nanos, to: Nanos },
    /// Says where everything is, once all before is written.
    List(SyncSender<Vec<PathBuf>>),
    /// Ends the thread, once all before is done.
    End,
}

/// The driver's end.
pub struct Recorder {
    blocks: BlockWriter,
    /// What every part begins with, as it is now.
    settings: Settings,
    me: Me,
    /// When the part and the block began.
    began: (Nanos, Nanos),
    /// The next block is the first of a file.
    first: bool,
    /// Bytes of the part so far, and how many it may have.
    part: u64,
    most: u64,
    jobs: SyncSender<Job>,
    done: Receiver<()>,
    shared: Arc<Shared>,
}

impl Recorder {
    /// Starts the thread that writes to `ring`, for an engine that is made at `now` with those settings.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(mut ring: Ring, settings: Settings, me: Me, shared: Arc<Shared>, now: Nanos) -> io::Result<Self> {
        let (most, (jobs, incoming)) = (ring.most_of_a_part(), sync_channel(QUEUE));
        let (finished, done) = sync_channel(1);
        let thread_shared = Arc::clone(&shared);
        thread::Builder::new().name("lacuna-record".into()).spawn(move || {
            work(&mut ring, &incoming, &thread_shared);
            // Nobody waits where the agent did not say goodbye.
            let _ = finished.send(());
        })?;
        let (blocks, began) = (BlockWriter::default(), (now, now));
        let mut recorder = Self { blocks, settings, me, began, first: false, part: 0, most, jobs, done, shared };
        recorder.begin_part(now);
        Ok(recorder)
    }

    /// What asks for the files while this runs.
    #[must_use]
    pub fn exporter(&self) -> Exporter {
        Exporter::new(self.jobs.clone())
    }

    /// A turn of the driver begins: hands over what is due.
    pub fn turn(&mut self, now: Nanos) {
        let (part, block) = self.began;
        let part_ends = now.since(part) >= PART_LASTS || self.part >= self.most;
        if part_ends || now.since(block) >= BLOCK_LASTS || self.blocks.waiting() >= BLOCK_BYTES {
            self.write(now);
        }
        if part_ends {
            self.begin_part(now);
        }
    }

    /// Takes a piece of evidence that the engine is told.
    pub fn take_evidence(&mut self, evidence: &Evidence) {
        self.blocks.put_evidence(evidence);
    }

    /// Takes a line that the engine is told.
    pub fn take(&mut self, line: &Line) {
        if let Line::Configure(settings) = line {
            self.settings.clone_from(settings);
        }
        self.blocks.put(line);
    }

    fn begin_part(&mut self, now: Nanos) {
        self.blocks.begin_part();
        self.blocks.put(&Line::Begin {
            version: VERSION,
            settings: Box::new(self.settings.clone()),
            me: Box::new(self.me.clone()),
        });
        (self.began, self.first, self.part) = ((now, now), true, 0);
    }

    /// Hands the block over. Where there is no room for it, what follows begins a part of its own.
    fn write(&mut self, now: Nanos) {
        let begins = std::mem::take(&mut self.first);
        let bytes = self.blocks.take();
        self.part += bytes.len() as u64;
        let job = Job::Block { bytes, begins, at: now };
        if self.hand_over(job) {
            self.began.1 = now;
        } else {
            self.begin_part(now);
        }
    }

    fn hand_over(&self, job: Job) -> bool {
        let because = match self.jobs.try_send(job) {
            Ok(()) => return true,
            Err(TrySendError::Full(_)) => "the disk is too slow: the recorder's queue is full",
            Err(TrySendError::Disconnected(_)) => "the recorder's thread has ended",
        };
        self.shared.counters.write().recorder_refused += 1;
        self.shared.degrade(PART, because.to_owned());
        false
    }

    /// Keeps what is around an incident longer than the rest. `now` is when its document was written.
    pub fn keep_around(&self, incident: &Incident, now: Nanos) {
        let lasted = Duration::from_millis(incident.duration_ms).min(MOST_AROUND);
        self.hand_over(Job::Keep { from: now.minus(lasted + AROUND), to: now.plus(AROUND) });
    }

    /// Writes what is still in memory, and ends the thread; gives up after 2 s on a disk that hangs.
    pub fn finish(mut self, now: Nanos) {
        self.write(now);
        // Whoever exports keeps the queue open, so the thread is told.
        let end = clock::instant() + PATIENCE;
        while matches!(self.jobs.try_send(Job::End), Err(TrySendError::Full(_))) && clock::instant() < end {
            thread::sleep(PATIENCE / 100);
        }
        let _: Result<(), RecvTimeoutError> = self.done.recv_timeout(end.saturating_duration_since(clock::instant()));
    }
}

fn work(ring: &mut Ring, jobs: &Receiver<Job>, shared: &Shared) {
    for job in jobs {
        let done = match job {
            Job::Block { bytes, begins, at } => ring.write(&bytes, begins, at),
            Job::Keep { from, to } => ring.keep(from, to),
            Job::List(answer) => {
                let _ = answer.send(ring.files());
                Ok(())
            }
            Job::End => return,
        };
        match done {
            Ok(()) => shared.restore(PART),
            Err(error) => {
                shared.counters.write().recorder_refused += 1;
                shared.degrade(PART, format!("cannot write the recording: {error}"));
            }
        }
    }
}
