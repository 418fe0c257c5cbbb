//! What the incident of a gap cites.

use std::time::Duration;

use super::figures::LOSS_FLOOR;
use super::{Gap, hex};
use crate::evidence::{Evidence, Fact};
use crate::peer::Peer;
use crate::time::Nanos;

impl Gap {
    /// What the incident cites beyond what was collected on the way: the state of things at `now`.
    #[must_use]
    pub fn standing_evidence(&self, peer: &Peer, sent: u64, interval: Duration, now: Nanos) -> Vec<Evidence> {
        let until = self.back.unwrap_or(now);
        let during = |fact| Evidence::during(&self.peer, self.since, until, fact);
        let mut all = Vec::new();
        if self.silent {
            all.push(during(Fact::Silence { lost: None, unsent_ns: None }));
        }
        let (sent_now, answered_now) = self.echo_after.unwrap_or((peer.echo.sent, peer.echo.answered));
        let asked = sent_now.saturating_sub(self.before.echo.0);
        if asked > 0 {
            let answered = answered_now.saturating_sub(self.before.echo.1).min(asked);
            all.push(during(Fact::Echo { sent: asked, answered }));
        }
        if self.port_unreachable {
            let at = peer.unreachable.map_or(until, |(_, last)| last).min(until);
            all.push(Evidence::at(&self.peer, at, Fact::PortUnreachable));
        }
        if let Some(lost) = self.lost_to.filter(|lost| *lost >= LOSS_FLOOR) {
            all.push(during(Fact::Unheard { sent: sent.max(lost), heard: sent.saturating_sub(lost) }));
        } else if self.unheard {
            all.push(during(Fact::Unheard { sent, heard: 0 }));
        }
        all.extend(self.witnesses.iter().map(|witness| {
            let (hears, kernel_answers) = (witness.hears, witness.kernel_answers);
            during(Fact::View { witness: witness.name.clone(), hears, kernel_answers })
        }));
        all.extend(
            self.account.map(|told| Evidence::during(&self.peer, told.from, told.to, Fact::Account(told.report))),
        );
        // What is missing may have arrived and been refused.
        let refused = self.is_refused(interval, now) || self.is_refused_by_peer(interval, now);
        all.extend(self.direction().filter(|_| !refused).map(|direction| during(Fact::Lost { direction })));
        let dropped = self.peer_drops.clone().filter(|drops| drops.counts() != [0; 3]);
        all.extend(dropped.map(|drops| during(Fact::PeerDrops(drops))));
        all.extend(self.new_incarnation.then(|| Evidence::at(&self.peer, until, Fact::NewIncarnation)));
        if let (Some(before), Some(last)) = (self.new_boot, &peer.last) {
            let (before, now) = (hex(&before), hex(&last.boot_id));
            all.push(Evidence::at(&self.peer, until, Fact::NewBoot { before, now }));
        }
        all
    }
}
