//! All sources of a configuration, each looked at by a task of its own, and what they gave last.

use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::file::{self, FileWatch};
use super::{Family, Found, Outcome, Source, dns};
use crate::config::Config;

/// Outcomes that may wait for whoever merges them; a source waits while there are more.
const OUTCOMES: usize = 64;

/// One source and what is known of it.
pub(super) struct Slot {
    pub(super) source: Source,
    /// The last list that it gave; absent where it gave none yet.
    pub(super) found: Option<Found>,
    /// What is wrong with it now.
    pub(super) trouble: Option<String>,
    /// It was looked at.
    answered: bool,
}

/// See the module's documentation.
pub(super) struct Sources {
    pub(super) slots: Vec<Slot>,
    family: Family,
    outcomes: Receiver<(usize, Outcome)>,
    /// Kept, so that the channel stays open where there is no source.
    _open: Sender<(usize, Outcome)>,
    /// They end when this is dropped.
    _tasks: JoinSet<()>,
}

impl Sources {
    /// Begins to look at all of them; those that `before` had as well go on with what they gave.
    pub(super) fn start(config: &Config, before: Option<Self>) -> Self {
        let family = Family::of(config.heartbeat.listen);
        let (told, outcomes) = channel(OUTCOMES);
        let mut known = before.filter(|before| before.family == family).map_or_else(Vec::new, |before| before.slots);
        let (mut tasks, mut slots) = (JoinSet::new(), Vec::new());
        for (place, source) in Source::all(config).enumerate() {
            tasks.spawn(follow(place, source.clone(), family, told.clone()));
            let same = known.iter().position(|slot| slot.source == source);
            slots.push(match same {
                Some(place) => known.swap_remove(place),
                None => Slot { source, found: None, trouble: None, answered: false },
            });
        }
        Self { slots, family, outcomes, _open: told, _tasks: tasks }
    }

    /// The next outcome, with the place of its source. May be dropped at any time without losing one.
    pub(super) async fn next(&mut self) -> (usize, Outcome) {
        match self.outcomes.recv().await {
            Some(outcome) => outcome,
            None => std::future::pending().await,
        }
    }

    /// Takes over what a source gave, unless it gave nothing.
    pub(super) fn take(&mut self, place: usize, outcome: Outcome) {
        let Some(slot) = self.slots.get_mut(place) else { return };
        slot.answered = true;
        slot.trouble = outcome.trouble;
        if outcome.found.is_some() {
            slot.found = outcome.found;
        }
    }

    /// Waits until each source was looked at once, but not longer than `most`; hands every outcome to `each`.
    pub(super) async fn first_round(&mut self, most: Duration, mut each: impl FnMut(&mut Self, usize, Outcome)) {
        let all = async {
            while self.slots.iter().any(|slot| !slot.answered) {
                let (place, outcome) = self.next().await;
                each(self, place, outcome);
            }
        };
        // Who is slow comes later.
        let _ = timeout(most, all).await;
    }

    /// Every list there is, with the kind of its source.
    pub(super) fn lists(&self) -> impl Iterator<Item = (&'static str, &Found)> {
        self.slots.iter().filter_map(|slot| Some((slot.source.kind(), slot.found.as_ref()?)))
    }
}

/// Looks at one source until nobody wants to know any more.
async fn follow(place: usize, source: Source, family: Family, told: Sender<(usize, Outcome)>) {
    match source {
        Source::File(file) => {
            let mut watch = FileWatch::new(&file, family);
            loop {
                if let Some(outcome) = watch.look().await
                    && told.send((place, outcome)).await.is_err()
                {
                    return;
                }
                sleep(file::LOOK).await;
            }
        }
        Source::Name(name) => loop {
            let (outcome, wait) = dns::ask(&name, family).await;
            if told.send((place, outcome)).await.is_err() {
                return;
            }
            sleep(wait).await;
        },
    }
}
