//! What a heartbeat that came in begins, goes on with or ends.

use std::time::Duration;

use super::Engine;
use super::own::TOGETHER;
use crate::account::Account;
use crate::evidence::{Heard, Heartbeat};
use crate::gap::{Slept, quiet};
use crate::incident::Direction;
use crate::peer::{Arrival, Baseline, Peer};
use crate::time::Nanos;

/// An account that is older is history, such as what a peer tells an agent that was just started.
const NEWS: Duration = Duration::from_secs(5);

impl Engine {
    pub(super) fn on_heartbeat(&mut self, name: &str, beat: &Heartbeat, at: Nanos) {
        if self.is_anchor_only(name) {
            return;
        }
        let Some((place, mut peer)) = self.peers.take(name) else { return };
        let before = peer.baseline();
        let arrival = peer.on_heartbeat(beat, at, self.me.incarnation);
        let first = peer.received_total == 1 || arrival.counts_anew();
        if first || !quiet(&arrival, self.settings.interval).is_zero() {
            peer.resumed = at;
        }
        // A peer that sent nothing was not lost.
        let lost = || {
            let slept = self.own_overlap(at.minus(arrival.silence), at);
            arrival.silence.saturating_sub(slept) >= self.patience(name, &peer, Direction::FromPeer, before.received)
        };
        if first || arrival.counts_anew() || arrival.missing > 0 && lost() {
            peer.heard_since = Some(at);
        }
        if !arrival.duplicate {
            self.stories.hear(name, &beat.stories, at);
            self.release_adopted(name, at);
            if arrival.new_boot.is_some() {
                self.told.remove(name);
            }
            self.follow_silence(name, before, &peer, &arrival, at);
            self.follow_loss(name, &mut peer, &arrival, at);
            self.follow_hole(name, &mut peer, &arrival, at);
            if !arrival.reordered {
                self.follow_unheard(name, before, &peer, beat, at);
                self.follow_account(name, before, &peer, at);
            }
            self.settle_or_resume(name);
        }
        self.peers.put_back(place, peer);
    }

    /// A heartbeat after a silence that nobody had noticed yet opens a gap as well: it is over already.
    fn follow_silence(&mut self, name: &str, before: Baseline, peer: &Peer, arrival: &Arrival, at: Nanos) {
        let since = at.minus(arrival.silence);
        let slept = self.own_overlap(since, at);
        // Neighbours that sleep together do not wake at the same moment.
        let together = || slept * 2 > arrival.silence && self.is_neighbour(peer);
        let least = || {
            let gap = self.patience(name, peer, Direction::FromPeer, before.received);
            if together() { gap + TOGETHER } else { gap }
        };
        let silence = arrival.silence.saturating_sub(slept);
        let long = silence >= self.settings.gap && silence >= least();
        let unexplained = arrival.new_boot.is_some() || long && !before.left;
        if unexplained && !arrival.reordered && !self.gaps.contains_key(name) {
            self.open_gap(name, before, since, at, |gap| gap.silent = true);
        }
        if !self.gaps.contains_key(name) {
            return;
        }
        let slept = Slept { seen: slept, besides: self.slept_besides(since, at) };
        let interval = self.settings.interval;
        if let Some(open) = self.gaps.get_mut(name) {
            open.gap.on_arrival(peer, arrival, at, slept, interval);
        }
    }

    /// For how long this host slept beside the time between two arrivals: where the first one had waited for this host to go on,
    /// others that came before may have found no room; and while its clock stood still.
    fn slept_besides(&self, since: Nanos, at: Nanos) -> Duration {
        let from = self.woke_at(since).map(|(from, _)| from).min().map_or(since, |from| from.min(since));
        let stood = self.clock_stood.filter(|(when, _)| *when >= since && *when <= at);
        self.own_overlap(from, since) + stood.map(|(_, length)| length).unwrap_or_default()
    }

    /// The peer says how old its news of us is. It counts only where we did send in that time, and the peer ran. One
    /// that leaves will never say that it hears us again: what it did not hear by then is lost.
    fn follow_unheard(&mut self, name: &str, before: Baseline, peer: &Peer, beat: &Heartbeat, at: Nanos) {
        let heard = match beat.heard {
            Some(heard) => heard,
            None if beat.goodbye => Heard::default(),
            None => return,
        };
        let known = heard.incarnation == self.me.incarnation;
        let (seq, since) = if known { (heard.seq, at.minus(heard.age)) } else { (0, Nanos(0)) };
        let since = since.max(peer.resumed);
        // What left within the last interval may still be on its way, or wait for the peer's next tick.
        let interval = self.settings.interval;
        let sent = || peer.sent_beyond(seq, since.plus(interval / 10), at.minus(interval));
        let overflow = peer.overflow.saturating_sub(before.overflow);
        let old = !beat.goodbye
            && at.since(since) >= self.settings.gap
            && at.since(since) >= self.patience(name, peer, Direction::ToPeer, peer.received)
            && sent().saturating_sub(overflow) >= 2;
        if old && !self.gaps.contains_key(name) {
            self.open_gap(name, before, since.max(peer.first_sent().unwrap_or(since)), at, |gap| gap.unheard = true);
        }
        if let Some(open) = self.gaps.get_mut(name) {
            if open.gap.unheard && beat.goodbye {
                open.gap.lost_to = open.gap.lost_to.max(Some(sent()));
            }
            if open.gap.unheard && !old {
                // It works since the peer heard us, not since it said so.
                let heard_at = if beat.goodbye { at } else { since.min(at) };
                open.gap.resumed = open.gap.resumed.max(heard_at);
            }
            open.gap.unheard = old;
        }
    }

    /// A host that goes on sending may tell of a stall of its kernel or hypervisor all the same. It opens a case of its
    /// own, once, unless this host stood still with it.
    fn follow_account(&mut self, name: &str, before: Baseline, peer: &Peer, at: Nanos) {
        if self.gaps.contains_key(name) {
            return;
        }
        let news = Account::all(peer).filter(|told| told.is_of_the_host() && self.is_news(name, told, at));
        let Some(told) = news.max_by_key(|told| told.to.since(told.from)) else { return };
        if self.may_have_stood_with(&told, at) {
            return;
        }
        if self.stood_still_with(&told) {
            self.told.insert(name.to_owned(), told.report.from);
            return;
        }
        let since = told.from.minus(self.settings.interval);
        self.open_gap(name, before, since, at, |gap| {
            gap.heard_again = true;
            gap.resumed = gap.since;
            gap.account = Some(told);
        });
    }

    /// Whether an account is of now, and not told before.
    fn is_news(&self, name: &str, told: &Account, at: Nanos) -> bool {
        let known = self.told.get(name).is_some_and(|until| told.report.from <= *until);
        told.to.plus(NEWS) > at && !known
    }
}
