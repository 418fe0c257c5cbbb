//! Virtual addresses that more than one host claims: opening, following, closing.

use std::net::IpAddr;
use std::time::Duration;

use super::Engine;
use crate::document::{Draft, Identity};
use crate::evidence::VipClaim;
use crate::incident::Incident;
use crate::rules::Case;
use crate::time::Nanos;
use crate::vip::{VipCase, VipTrack};

/// An address that was not asked for by then is not watched any more: its interface is gone, or cannot send.
const UNWATCHED: Duration = Duration::from_secs(30);

/// A virtual address and the incident that it became.
#[derive(Default)]
pub(super) struct TrackedVip {
    track: VipTrack,
    identity: Option<Identity>,
    said: Option<Incident>,
}

#[cfg(test)]
impl TrackedVip {
    pub(super) fn is_open(&self) -> bool {
        self.identity.is_some()
    }
}

impl Engine {
    /// Takes other addresses to watch. What is open about one that is gone closes.
    pub(super) fn configure_vips(&mut self, vips: &[IpAddr]) {
        let gone: Vec<IpAddr> = self.vips.keys().filter(|vip| !vips.contains(vip)).copied().collect();
        for vip in gone {
            self.end_vip(vip);
            self.vips.remove(&vip);
        }
        for vip in vips {
            self.vips.entry(*vip).or_default();
        }
    }

    pub(super) fn on_vip_asked(&mut self, vip: IpAddr, at: Nanos) {
        let Some(tracked) = self.vips.get_mut(&vip) else { return };
        let case = tracked.track.on_asked(vip, at);
        self.say_vip(case.as_ref());
    }

    pub(super) fn on_vip_claim(&mut self, claim: &VipClaim, at: Nanos) {
        let Some(tracked) = self.vips.get_mut(&claim.vip) else { return };
        let case = tracked.track.on_claim(at, claim);
        self.say_vip(case.as_ref());
    }

    pub(super) fn check_vips(&mut self, now: Nanos) {
        // Time that this host slept through is no time in which it could have asked.
        let unwatched = |tracked: &TrackedVip| {
            let asked = tracked.track.asked();
            asked.is_some_and(|at| now.since(at).saturating_sub(self.own_overlap(at, now)) > UNWATCHED)
        };
        let ended: Vec<IpAddr> =
            self.vips.iter().filter(|(_, tracked)| unwatched(tracked)).map(|(vip, _)| *vip).collect();
        ended.into_iter().for_each(|vip| self.end_vip(vip));
    }

    fn end_vip(&mut self, vip: IpAddr) {
        let Some(tracked) = self.vips.get_mut(&vip) else { return };
        let case = tracked.track.end(vip);
        self.say_vip(case.as_ref());
    }

    /// Judges the case and puts the document out, if it says anything else than before.
    fn say_vip(&mut self, case: Option<&VipCase>) {
        let Some(case) = case else { return };
        let Some(mut tracked) = self.vips.remove(&case.vip) else { return };
        let now = self.now;
        let fresh = || self.identity(&case.vip.to_string(), case.since, now);
        let identity = tracked.identity.take().unwrap_or_else(fresh);
        let evidence = case.evidence(&self.settings.host);
        let ended = case.over.then_some(case.last);
        let draft = Draft { identity: &identity, ended, closed: case.over, now, occurrences: 1, evidence, dropped: 0 };
        let document = self.write(Case::Vip(case), draft);
        self.say_of_story(&mut tracked.said, document, (case.since, ended));
        if case.over {
            tracked.said = None;
        } else {
            tracked.identity = Some(identity);
        }
        self.vips.insert(case.vip, tracked);
    }
}
