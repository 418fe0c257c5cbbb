//! A thread that does something beside the steps and ends by itself.

use std::thread::JoinHandle;

use anyhow::{Context as _, Result, anyhow};

use super::clock::Stamp;
use crate::stop::Stop;

/// The thread; it is told to end, and waited for, with this value.
pub(crate) struct Helper {
    name: String,
    stop: Stop,
    thread: Option<JoinHandle<Result<Stamp>>>,
}

impl Helper {
    /// Begins with `work`; `outer` ends it as well.
    pub(crate) fn spawn(
        name: &str,
        outer: &Stop,
        work: impl FnOnce(&Stop) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let stop = outer.child();
        let inner = stop.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            work(&inner)?;
            Stamp::now()
        })?;
        Ok(Self { name: name.to_owned(), stop, thread: Some(thread) })
    }

    /// Waits for its end: when it was.
    pub(crate) fn join(mut self) -> Result<Stamp> {
        let thread = self.thread.take().context("joined twice")?;
        let done = thread.join();
        done.map_err(|_| anyhow!("{} panicked", self.name))?.with_context(|| self.name.clone())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.stop.raise();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
