//! Which trace an incident of this host belongs to.

use super::Engine;
use super::telling::say_if_new;
use crate::document::Identity;
use crate::incident::Incident;
use crate::stories::{Plot, Stories};
use crate::time::Nanos;

impl Engine {
    /// The identity of what happens to `subject` from `started` on, and is noticed at `detected`.
    pub(super) fn identity(&self, subject: &str, started: Nanos, detected: Nanos) -> Identity {
        Identity::new(self.settings.fleet, subject, started, detected, self.wall)
    }

    /// Finds the trace of a document of what lasted from then until then, and puts it out if it says anything else than the one
    /// before.
    pub(super) fn say_of_story(
        &mut self,
        said: &mut Option<Incident>,
        mut document: Incident,
        (from, until): (Nanos, Option<Nanos>),
    ) {
        let plot = Plot::of(&document, from, until);
        self.stories.place(&mut document, said.as_ref(), plot, self.now);
        say_if_new(said, document, &mut self.out);
    }

    /// When this host was there to see what began at `started`: what it slept through may have begun at any time of that.
    pub(super) fn awake_since(&self, started: Nanos) -> Nanos {
        let around = self.slept().filter(|(from, to)| *from <= started.plus(self.settings.interval) && started < *to);
        around.map(|(_, to)| to).max().unwrap_or(started)
    }

    /// What is known of stories.
    #[must_use]
    pub fn stories(&self) -> &Stories {
        &self.stories
    }
}
