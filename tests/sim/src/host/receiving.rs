//! What comes in at a host.

use std::sync::Arc;

use lacuna_core::evidence::{ClaimKind, Evidence, Fact, LinkAddress, Size, VipClaim};
use lacuna_core::guard::{Claim, Refusal};
use lacuna_core::time::Nanos;

use super::{Host, Packet};
use crate::clock::Time;

impl Host {
    /// What has arrived by now, in its order.
    pub(super) fn take_in(&mut self, at: Time) {
        if self.machine.is_deaf() {
            return;
        }
        self.inbox.sort_by_key(|(arrival, ..)| *arrival);
        let arrived = self.inbox.partition_point(|(arrival, ..)| *arrival <= at);
        let peers = Arc::clone(&self.peers);
        let taken: Vec<_> = self.inbox.drain(..arrived).collect();
        for (arrival, from, packet) in taken {
            let to = self.clock.boot(arrival);
            if let Packet::Claim(how) = packet {
                self.tell_claim(from, how, to);
                continue;
            }
            let Some((_, name)) = peers.iter().find(|(place, _)| *place == from) else { continue };
            let evidence = match self.admit(from, &packet, to) {
                Ok(()) => self.evidence(name, to, packet),
                Err((Refusal::Duplicate, size)) => Evidence::at(name, to, Fact::Duplicates { size, count: 1 }),
                Err((why, _)) => Evidence::at(name, to, Fact::Refused { reason: why.reason().into(), count: 1 }),
            };
            self.tell(evidence);
        }
    }

    /// Whether that packet counts, which came in then; why not, and which size it is.
    fn admit(&mut self, from: usize, packet: &Packet, now: Nanos) -> Result<(), (Refusal, Size)> {
        let (claim, size) = match packet {
            Packet::Beat(beat) => (Claim::of_heartbeat(beat, self.incarnation), Size::Small),
            Packet::Large(large, heard) => {
                let echo = heard.filter(|(incarnation, _)| *incarnation == self.incarnation).map(|(_, seq)| seq);
                (Claim::of_large(large, echo), large.size)
            }
            _ => return Ok(()),
        };
        let now = self.clock.wall(now);
        self.guards.entry(from).or_default().take(&claim, now).map_err(|why| (why, size))
    }

    fn evidence(&self, name: &str, to: Nanos, packet: Packet) -> Evidence {
        match packet {
            Packet::Beat(beat) => Evidence::at(name, to, Fact::Heartbeat(beat)),
            Packet::Large(large, _) => Evidence::at(name, to, Fact::LargeHeartbeat(large)),
            Packet::Probe(probe) => Evidence::at(name, to, Fact::SizeProbe(probe)),
            Packet::Answer(left) => Evidence::during(name, self.clock.boot(left), to, Fact::EchoReply),
            Packet::Unreachable | Packet::Claim(_) => Evidence::at(name, to, Fact::PortUnreachable),
        }
    }

    /// The host at that place claims the virtual address; who that is shows the link-layer address of a peer only.
    pub(super) fn tell_claim(&mut self, from: usize, how: ClaimKind, at: Nanos) {
        let Some(vip) = self.settings.vips.first().copied() else { return };
        let peer = self.peers.iter().find(|(place, _)| *place == from).map(|(_, name)| name.clone());
        let owner = if from == self.place { Some(self.name.clone()) } else { peer };
        let [.., high, low] = from.to_be_bytes();
        let claim = VipClaim { vip, link: LinkAddress([2, 0, 0, 0, high, low]), owner, how, count: 1 };
        self.tell(Evidence::at(&self.name.clone(), at, Fact::VipClaim(claim)));
    }
}
