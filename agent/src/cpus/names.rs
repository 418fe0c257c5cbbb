//! Names for addresses, on a thread of its own: the kernel's list of symbols takes tens of milliseconds to read, and much
//! longer on a slow machine, in which the driver would be late itself.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use lacuna_core::evidence::Landed;
use lacuna_core::time::Nanos;

use crate::host::HostFiles;
use crate::probes::{ProbeMetrics, RawLanding};

/// Landings that may wait for their names; further ones stay without.
const WAITING: usize = 64;

/// A stall of a CPU: which one, and since when.
pub(super) type Stall = (u32, Nanos);

/// What is looked for: the functions of a sample, or of what the interrupt landed in that ended the stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    Sample(Stall),
    End(Stall),
}

/// See the module's documentation. The thread ends with this value.
#[derive(Debug)]
pub(super) struct Names {
    requests: SyncSender<(Of, RawLanding)>,
    answers: Receiver<(Of, Landed)>,
}

impl Names {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub(super) fn start(files: HostFiles, metrics: Option<Arc<dyn ProbeMetrics>>) -> std::io::Result<Self> {
        let (requests, asked) = sync_channel::<(Of, RawLanding)>(WAITING);
        let (told, answers) = sync_channel(WAITING);
        thread::Builder::new().name("lacuna-names".into()).spawn(move || {
            let landmarks = files.landmarks();
            let passed = |address| metrics.as_ref().and_then(|metrics| metrics.passed(address));
            for (of, landing) in asked {
                let landed = landmarks.landed(&landing).unwrap_or_else(|| files.landed(&landing, passed));
                if told.send((of, landed)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { requests, answers })
    }

    /// Asks for the names of a landing; whether they will come: it stays without where too many wait.
    pub(super) fn ask(&self, of: Of, landing: RawLanding) -> bool {
        self.requests.try_send((of, landing)).is_ok()
    }

    /// What was found since the last call.
    pub(super) fn answers(&self) -> Vec<(Of, Landed)> {
        self.answers.try_iter().take(WAITING).collect()
    }
}
