//! Tasks that wait for storage and do not go on. Who they are takes a look at every task of the host, which is done on a
//! thread of its own, and only where something has been blocked at every turn for a while.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use lacuna_core::evidence::{Evidence, Fact, IoStuck};
use lacuna_core::time::Nanos;

use crate::clock;
use crate::host::HostFiles;
use crate::host::blocked::BlockedTask;
use crate::host::pressure::IoPressure;

/// Something was blocked at every turn for so long: reason to look who.
const SUSPICION: Duration = Duration::from_millis(300);
/// Between two looks at all tasks.
const AGAIN: Duration = Duration::from_secs(1);
/// A task that has not run between two looks so far apart waits for one and the same thing.
const STUCK: Duration = Duration::from_millis(500);
/// While it lasts it is told so often.
const TELL: Duration = Duration::from_millis(500);

/// See the module's documentation.
#[derive(Debug)]
pub struct IoWatch {
    files: HostFiles,
    scan: Option<Scan>,
    /// Since when something was blocked at every turn, and what the kernel had counted by then.
    since: Option<(Nanos, Option<IoPressure>)>,
    asked: Nanos,
    /// Tasks that were blocked at the last look, and since when they may not have run.
    suspects: Option<Suspects>,
    told: Nanos,
}

#[derive(Debug)]
struct Suspects {
    since: Nanos,
    looked_at: Nanos,
    tasks: Vec<BlockedTask>,
    /// At least one of them was stuck.
    stuck: bool,
    pressure: Option<IoPressure>,
}

impl IoWatch {
    /// A watch that has seen nothing yet.
    #[must_use]
    pub fn new(files: HostFiles) -> Self {
        let scan = Scan::start(files.clone())
            .inspect_err(|error| tracing::warn!("tasks that wait for storage are not found: {error}"))
            .ok();
        Self { files, scan, since: None, asked: Nanos(0), suspects: None, told: Nanos(0) }
    }

    /// A turn of the loop: so many tasks are blocked on storage `now`.
    pub fn look(&mut self, host: &str, now: Nanos, blocked: Option<u32>) -> Option<Evidence> {
        let files = &self.files;
        match blocked.filter(|count| *count > 0) {
            Some(_) => _ = self.since.get_or_insert_with(|| (now, files.io_pressure())),
            None => self.since = None,
        }
        let told = self.follow(host, now, blocked);
        self.take_found();
        if self.suspects.is_none() {
            self.ask(now);
        }
        told
    }

    /// What became of the suspects: those that ran since are none.
    fn follow(&mut self, host: &str, now: Nanos, blocked: Option<u32>) -> Option<Evidence> {
        let mut suspects = self.suspects.take()?;
        let names = suspects.names();
        suspects.tasks.retain(|task| self.files.switches(task.tid) == Some(task.switches));
        let over = suspects.tasks.is_empty();
        if over && !suspects.stuck {
            return None;
        }
        suspects.stuck |= suspects.looked_at.plus(STUCK) <= now;
        let tell = over || suspects.stuck && self.told.plus(TELL) <= now;
        let evidence = tell.then(|| {
            self.told = now;
            let grown = |of: fn(&IoPressure) -> u64| {
                let (now, before) = (self.files.io_pressure()?, suspects.pressure?);
                Some(of(&now).checked_sub(of(&before))?.saturating_mul(1000))
            };
            let (some_ns, full_ns) = (grown(|io| io.some_us), grown(|io| io.full_us));
            let stuck = IoStuck { over, tasks: names, blocked, some_ns, full_ns };
            Evidence::during(host, suspects.since, now, Fact::IoStuck(stuck))
        });
        self.suspects = (!over).then_some(suspects);
        evidence
    }

    /// Looks who is blocked, where something has been for long enough.
    fn ask(&mut self, now: Nanos) {
        let (Some(scan), Some((since, _))) = (&self.scan, self.since) else { return };
        if since.plus(SUSPICION) <= now && self.asked.plus(AGAIN) <= now && scan.ask() {
            self.asked = now;
        }
    }

    fn take_found(&mut self) {
        let Some((at, tasks)) = self.scan.as_ref().and_then(Scan::found) else { return };
        let Some((since, pressure)) = self.since.filter(|_| !tasks.is_empty()) else { return };
        // A disk that is busy has something blocked at every turn: then who is blocked now is so since now.
        let since = if since.plus(SUSPICION * 2) >= at { since } else { at };
        self.suspects = Some(Suspects { since, looked_at: at, tasks, stuck: false, pressure });
    }
}

impl Suspects {
    fn names(&self) -> Vec<String> {
        let name = |task: &BlockedTask| match &task.waits_in {
            Some(function) => format!("{} in {function}", task.comm),
            None => task.comm.clone(),
        };
        self.tasks.iter().map(name).collect()
    }
}

/// The thread that looks at all tasks; it ends with this value.
#[derive(Debug)]
struct Scan {
    ask: SyncSender<()>,
    found: Receiver<(Nanos, Vec<BlockedTask>)>,
}

impl Scan {
    fn start(files: HostFiles) -> std::io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        let (tell, found) = sync_channel(1);
        thread::Builder::new().name("lacuna-blocked".into()).spawn(move || {
            for () in asked {
                let at = clock::boot();
                if tell.send((at, files.blocked_tasks())).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { ask, found })
    }

    /// Whether it could be asked: it is not where it still looks.
    fn ask(&self) -> bool {
        self.ask.try_send(()).is_ok()
    }

    fn found(&self) -> Option<(Nanos, Vec<BlockedTask>)> {
        self.found.try_iter().last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with one task, blocked (or not), that was switched away from that often.
    struct Host(std::path::PathBuf);

    impl Host {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("lacuna-io-{name}-{}", std::process::id()));
            std::fs::create_dir_all(root.join("proc/7/task/7")).unwrap();
            let stat = "7 (dd) D 1 7 7 0 -1 0 0 0 0 0 5 6 0 0 20 0 1 0 100 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0\n";
            std::fs::write(root.join("proc/7/stat"), stat).unwrap();
            std::fs::write(root.join("proc/7/wchan"), "submit_bio_wait").unwrap();
            Self(root)
        }

        fn switched(&self, count: u32) {
            let text = format!("voluntary_ctxt_switches:\t{count}\nnonvoluntary_ctxt_switches:\t0\n");
            std::fs::write(self.0.join("proc/7/status"), text).unwrap();
        }

        /// Turns of a tenth of a second, each with something blocked; what was told, as (length in ms, over).
        fn watch(&self, turns: u64, switches: impl Fn(u64) -> u32) -> Vec<(u64, bool)> {
            let mut watch = IoWatch::new(HostFiles::below(&self.0));
            let begin = clock::boot();
            let mut told = Vec::new();
            for turn in 0..turns {
                self.switched(switches(turn));
                let now = begin.plus(Duration::from_millis(100) * u32::try_from(turn).unwrap());
                told.extend(watch.look("a", now, Some(1)));
                // The other thread answers between two turns, and dates by the real clock.
                thread::sleep(Duration::from_millis(20));
            }
            let of = |evidence: Evidence| match evidence.fact {
                Fact::IoStuck(stuck) => (evidence.to.since(evidence.from).as_millis() as u64, stuck.over),
                other => panic!("{other:?}"),
            };
            told.into_iter().map(of).collect()
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_task_that_does_not_run_is_told_from_its_begin_to_its_end() {
        let host = Host::new("stuck");
        let told = host.watch(40, |turn| if turn < 35 { 5 } else { 6 });
        assert_eq!(told.last(), Some(&(3500, true)), "{told:?}");
        assert!(told.len() > 2 && told.iter().rev().skip(1).all(|(_, over)| !over), "{told:?}");
    }

    #[test]
    fn a_task_that_goes_on_in_between_is_not() {
        let host = Host::new("busy");
        assert_eq!(host.watch(40, |turn| u32::try_from(turn).unwrap()), []);
    }
}
