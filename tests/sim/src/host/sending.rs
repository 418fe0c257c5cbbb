//! What a host sends: heartbeats of all sizes, echo requests, requests for the virtual address, and a goodbye.

use std::sync::Arc;
use std::time::Duration;

use lacuna_core::evidence::{ClaimKind, Evidence, Fact, LargeHeartbeat, Size};
use lacuna_core::guard::Guard;
use lacuna_core::time::Nanos;

use super::{Host, INTERVAL, Leaving, Packet, TICKS};
use crate::network::{FRAGMENTED, Load, MTU};

/// A peer that is silent for longer is asked by echo once a second only.
const ASK_OFTEN_FOR: Duration = Duration::from_secs(10);
/// A goodbye that is lost would look like a stall, so it is said more than once.
const GOODBYES: usize = 3;

impl Host {
    pub(super) fn send(&mut self, now: Nanos) -> Vec<Leaving> {
        let peers = Arc::clone(&self.peers);
        let mut leaving = Vec::with_capacity(peers.len());
        let beats = self.engine.beats(now);
        let small: Vec<_> = peers.iter().map(|(_, name)| beats.to(name, now).map(Arc::new)).collect();
        for ((to, name), beat) in peers.iter().zip(small) {
            let Some(beat) = beat else { continue };
            let seq = beat.seq;
            leaving.push(Leaving { to: *to, load: Load::Small, packet: Some(Packet::Beat(beat)) });
            self.tell(Evidence::at(name, now, Fact::HeartbeatSent { seq, error: None }));
        }
        for (place, (to, name)) in (0_u64..).zip(peers.iter()) {
            self.send_large(place, *to, name, now, &mut leaving);
            let turn = (self.ticks + place).is_multiple_of(TICKS);
            if turn || self.is_overdue(name, now) {
                leaving.push(Leaving { to: *to, load: Load::Echo, packet: None });
                self.tell(Evidence::at(name, now, Fact::EchoSent));
            }
        }
        leaving
    }

    fn send_large(&mut self, place: u64, to: usize, name: &str, now: Nanos, leaving: &mut Vec<Leaving>) {
        let (due, probe) = self.engine.large_due(name, now);
        let Some(peer) = self.engine.peer(name) else { return };
        let last = peer.last.as_ref().map(|last| (last.incarnation, last.seq));
        let (sizes, heard) = (&peer.sizes, self.guards.get(&to).and_then(Guard::unproven).or(last));
        let path_mtu = sizes.path_mtu(now).unwrap_or(MTU);
        let turn = |size: Size| (self.ticks + place + 5 * u64::from(size == Size::Fragmented)).is_multiple_of(TICKS);
        let due: Vec<_> = due.into_iter().filter(|(size, _)| sizes.is_doubtful(*size) || turn(*size)).collect();
        for (size, seq) in due {
            let (bytes, load) =
                if size == Size::Mtu { (path_mtu, Load::Whole(path_mtu)) } else { (FRAGMENTED, Load::Fragments) };
            let (boot_id, incarnation) = (self.boot_id, self.incarnation);
            let large = LargeHeartbeat { size, bytes, seq, sent_at: now, boot_id, incarnation };
            leaving.push(Leaving { to, load, packet: Some(Packet::Large(large, heard)) });
            self.tell(Evidence::at(name, now, Fact::LargeSent { size, bytes, seq }));
        }
        if let Some(probe) = probe {
            leaving.push(Leaving { to, load: Load::Whole(probe.bytes), packet: Some(Packet::Probe(probe)) });
            self.tell(Evidence::at(name, now, Fact::SizeProbeSent(probe)));
        }
    }

    fn is_overdue(&self, name: &str, now: Nanos) -> bool {
        let Some(peer) = self.engine.peer(name).filter(|peer| !peer.left) else { return false };
        let silence = peer.last.as_ref().map(|last| now.since(last.at));
        silence.is_some_and(|silence| silence > INTERVAL * 3 / 2 && silence < ASK_OFTEN_FOR)
    }

    /// Tells every peer that this agent sends it nothing more, on purpose.
    pub(super) fn say_goodbye(&mut self, now: Nanos) -> Vec<Leaving> {
        let (mut leaving, peers) = (Vec::new(), Arc::clone(&self.peers));
        for _ in 0..GOODBYES {
            for (to, name) in peers.iter() {
                let Some(mut beat) = self.engine.heartbeat(name, now) else { continue };
                beat.goodbye = true;
                let seq = beat.seq;
                let packet = Some(Packet::Beat(Arc::new(beat)));
                leaving.push(Leaving { to: *to, load: Load::Small, packet });
                self.tell(Evidence::at(name, now, Fact::HeartbeatSent { seq, error: None }));
            }
        }
        leaving
    }

    /// Asks once a second who has the virtual address, where one is watched.
    pub(super) fn ask_for_vip(&mut self, now: Nanos) {
        let Some(vip) = self.settings.vips.first().copied().filter(|_| self.ticks % TICKS == 3) else { return };
        let name = self.name.clone();
        self.tell(Evidence::at(&name, now, Fact::VipAsked { vip }));
        self.asks = true;
        if self.holds_vip {
            self.tell_claim(self.place, ClaimKind::Held, now);
        }
    }
}
