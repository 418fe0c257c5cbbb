//! The engine: evidence and the passing of time go in, incidents are polled out.
//!
//! Order of calls, the same for live operation and replay:
//!
//! 1. [`Engine::handle`] for each piece of evidence: first the clock, then what this host noticed of itself (late
//!    agent, late timers, overflows), then what came in from others in the order of its `to`;
//! 2. [`Engine::handle_timeout`] with the present time, after *everything* that had arrived by then was handled;
//! 3. [`Engine::poll`] until it answers `None`;
//! 4. [`Engine::beats`] for what to send, and `handle` with the [`Fact::HeartbeatSent`] of what was sent;
//! 5. sleep until [`Engine::next_timeout`], or the next tick.
//!
//! The same evidence and times give the same incidents, byte for byte.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::document::{Draft, Identity, Wall, incident};
use crate::evidence::{Evidence, Fact, MAX_STALLS, Size, SizeProbe, StallReport, name_hash};
use crate::gap::Gap;
use crate::incident::{HostFacts, Incident};
use crate::io::IoTrack;
use crate::load::LoadTrack;
use crate::own::OwnStall;
use crate::peer::Peer;
use crate::rules::{Case, judge};
use crate::settings::Settings;
use crate::stories::Stories;
use crate::time::Nanos;
use cpus::TrackedCpu;
use holes::TrackedHole;
use losses::TrackedLoss;
use own::TrackedOwn;
use peers::Peers;
use vips::TrackedVip;

mod adopt;
mod beats;
mod cpus;
mod gaps;
mod groups;
mod heartbeats;
mod holes;
mod losses;
mod own;
mod peers;
mod recent;
mod stories;
mod telling;
#[cfg(test)]
mod tests;
mod unnamed;
mod vips;

pub use beats::Beats;

/// A stall of this host is closed when it did not come back for this long: an on and off of a second is one incident.
const SETTLE: Duration = Duration::from_secs(2);
/// What an agent does for the first time takes longer: what it is late by in this time after its start is of itself, and so
/// are the first heartbeats that it sends.
const FIRST_TURNS: Duration = Duration::from_secs(1);
/// Heartbeats of a peer's agent that are its first.
const FIRST_BEATS: u64 = 10;
/// Own stalls that are remembered to excuse others with.
const MAX_OWN: usize = 64;
/// Former peers whose numbers are remembered.
const MAX_FORMER: usize = 256;

/// Who the engine works for; does not change while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Me {
    /// This boot of this host.
    pub boot_id: [u8; 16],
    /// This start of this agent.
    pub incarnation: u64,
    /// What this host runs.
    pub facts: HostFacts,
}

/// An open gap and the incident that it became.
struct Tracked {
    gap: Gap,
    identity: Identity,
    /// What was last said of it: it is said again only when it changes.
    said: Option<Incident>,
    /// It was said with the incident of another host of the same hypervisor, which is closed.
    joined: bool,
}

/// See the module's documentation for the order of calls.
pub struct Engine {
    settings: Settings,
    me: Me,
    wall: Wall,
    peers: Peers,
    /// What the peers are called in views.
    hashes: BTreeMap<String, u64>,
    /// The last numbers that left for peers which are configured away.
    numbers: BTreeMap<String, u64>,
    gaps: BTreeMap<String, Tracked>,
    /// Gaps that are over, and whose peer may still find a name for what it did.
    unnamed: BTreeMap<String, Tracked>,
    losses: BTreeMap<String, TrackedLoss>,
    holes: BTreeMap<String, TrackedHole>,
    /// Which of its own stalls each peer has told that a case was made of: all that began until then, on its clock.
    told: BTreeMap<String, Nanos>,
    /// Incidents of an earlier run of the agent whose peer was not heard yet.
    adopted: BTreeMap<String, Incident>,
    /// When this host itself stood still.
    own_stalls: VecDeque<(Nanos, Nanos)>,
    /// The latest end of those.
    slept_until: Nanos,
    /// Own stalls that are not judged yet.
    pending: Vec<OwnStall>,
    /// Stalls of this host as a whole that are over, and may come back (the last of them) or be explained better.
    own: Vec<TrackedOwn>,
    /// CPUs of this host that stand still, or did not long ago.
    cpus: BTreeMap<u32, TrackedCpu>,
    /// Since when each CPU stood still whose end was told last: what tells it again is no new stall.
    ended_cpus: BTreeMap<u32, Nanos>,
    /// By how much each peer's clock seems to have gone on while this host's stood still, and since when.
    clock_step: Option<(Nanos, BTreeMap<String, Duration>)>,
    /// When the clock of this host stood still last, and for how long.
    clock_stood: Option<(Nanos, Duration)>,
    reports: VecDeque<StallReport>,
    stories: Stories,
    load: LoadTrack,
    load_identity: Option<Identity>,
    io: IoTrack,
    io_identity: Option<Identity>,
    /// The virtual addresses that are watched.
    vips: BTreeMap<IpAddr, TrackedVip>,
    recent: VecDeque<Evidence>,
    overflow: u64,
    /// When events of the probes were lost last, and how many then.
    events_lost: Option<(Nanos, u64)>,
    /// When it was first told the time.
    watched_since: Option<Nanos>,
    now: Nanos,
    out: VecDeque<Incident>,
}

impl Engine {
    /// An engine that has seen nothing yet.
    #[must_use]
    pub fn new(settings: Settings, me: Me) -> Self {
        let mut engine = Self {
            settings: Settings::default(),
            me,
            wall: Wall::default(),
            peers: Peers::default(),
            hashes: BTreeMap::new(),
            numbers: BTreeMap::new(),
            gaps: BTreeMap::new(),
            unnamed: BTreeMap::new(),
            losses: BTreeMap::new(),
            holes: BTreeMap::new(),
            told: BTreeMap::new(),
            adopted: BTreeMap::new(),
            own_stalls: VecDeque::new(),
            slept_until: Nanos(0),
            pending: Vec::new(),
            own: Vec::new(),
            cpus: BTreeMap::new(),
            ended_cpus: BTreeMap::new(),
            clock_step: None,
            clock_stood: None,
            reports: VecDeque::new(),
            stories: Stories::default(),
            load: LoadTrack::default(),
            load_identity: None,
            io: IoTrack::default(),
            io_identity: None,
            vips: BTreeMap::new(),
            recent: VecDeque::new(),
            overflow: 0,
            events_lost: None,
            watched_since: None,
            now: Nanos(0),
            out: VecDeque::new(),
        };
        engine.configure(settings);
        engine
    }

    /// Takes other settings while it runs. A peer that is gone from them is forgotten; its incident closes.
    pub fn configure(&mut self, settings: Settings) {
        let known: BTreeSet<String> = settings.peers.iter().chain(&settings.anchors).cloned().collect();
        let gone: Vec<String> = self.gaps.keys().filter(|name| !known.contains(*name)).cloned().collect();
        for name in gone {
            self.end_gap(&name, self.now);
            self.close_gap(&name, self.now);
        }
        for name in self.unnamed.keys().filter(|name| !known.contains(*name)).cloned().collect::<Vec<_>>() {
            self.close_unnamed(&name, self.now);
        }
        for name in self.peers.names().filter(|name| !known.contains(*name)).cloned().collect::<Vec<_>>() {
            if let Some((place, mut peer)) = self.peers.take(&name) {
                self.close_loss(&name, &mut peer, self.now);
                self.close_hole(&name, &mut peer, self.now);
                self.peers.put_back(place, peer);
            }
        }
        let adopted: Vec<String> = self.adopted.keys().filter(|name| !known.contains(*name)).cloned().collect();
        for name in adopted {
            self.release_adopted(&name, self.now);
        }
        self.forget_peers(&known);
        self.hashes = known.iter().map(|name| (name.clone(), name_hash(name))).collect();
        for name in known {
            let sent_seq = self.numbers.remove(&name).unwrap_or(0);
            self.peers.insert_where_absent(name, || Peer::going_on_after(sent_seq));
        }
        self.configure_vips(&settings.vips);
        self.settings = settings;
    }

    /// Forgets peers that are configured away, but not how far their numbers went: this agent's incarnation is the
    /// same if they come back, so the numbers must go on.
    fn forget_peers(&mut self, known: &BTreeSet<String>) {
        let numbers = self.peers.iter().filter(|(name, peer)| !known.contains(*name) && peer.sent_seq > 0);
        self.numbers.extend(numbers.map(|(name, peer)| (name.clone(), peer.sent_seq)));
        while self.numbers.len() > MAX_FORMER {
            self.numbers.pop_first();
        }
        self.peers.retain(known);
        self.told.retain(|name, _| known.contains(name));
        self.stories.retain(|name| known.contains(name));
    }

    /// Takes a piece of evidence. What is about a host that is not in the settings is ignored.
    pub fn handle(&mut self, evidence: Evidence) {
        self.now = self.now.max(evidence.to);
        let (from, to) = (evidence.from, evidence.to);
        match &evidence.fact {
            Fact::Clock { wall } => self.wall = Wall::new(to, *wall),
            Fact::Heartbeat(beat) => self.on_heartbeat(&evidence.host, beat, to),
            Fact::HeartbeatSent { seq, error } => self.on_sent(&evidence.host, *seq, error.as_deref(), to),
            Fact::LargeHeartbeat(large) => self.with(&evidence.host, |peer| peer.on_large(large, to)),
            Fact::Duplicates { size, count } => self.with(&evidence.host, |peer| peer.on_duplicates(*size, *count)),
            Fact::LargeSent { size, bytes, seq } => {
                self.with(&evidence.host, |peer| peer.sizes.on_sent(*size, *seq, *bytes, to));
            }
            Fact::SizeProbe(probe) => self.with(&evidence.host, |peer| peer.on_probe(*probe)),
            Fact::SizeProbeSent(probe) => self.with(&evidence.host, |peer| peer.sizes.on_probe_sent(*probe, to)),
            Fact::TooBig { mtu } => {
                self.with(&evidence.host, |peer| peer.sizes.on_path_mtu(*mtu, to));
                self.remember(evidence);
            }
            Fact::PathMtu { now, .. } => {
                // Only a router's word lowers it, also one about packets of others.
                if let Some(mtu) = now.and_then(|mtu| u16::try_from(mtu).ok()) {
                    self.with(&evidence.host, |peer| peer.sizes.on_path_mtu(mtu, to));
                }
                self.remember(evidence);
            }
            Fact::HeartbeatDropsCounted => self.with(&evidence.host, |peer| {
                peer.own_drops.get_or_insert_default();
            }),
            Fact::HeartbeatDrops { direction, reason, count } => {
                let (direction, reason, count) = (*direction, reason.clone(), *count);
                self.with(&evidence.host, |peer| {
                    peer.own_drops.get_or_insert_default().add(direction, &reason, count);
                });
                self.remember(evidence);
            }
            Fact::EchoSent => self.with(&evidence.host, |peer| peer.echo.on_sent(to)),
            Fact::EchoReply => self.with(&evidence.host, |peer| peer.on_echo_reply(from, to)),
            Fact::PortUnreachable => self.with(&evidence.host, |peer| peer.on_port_unreachable(to)),
            Fact::Refused { count, .. } => {
                let count = *count;
                self.with(&evidence.host, |peer| peer.refused = peer.refused.saturating_add(count));
                // A flood would leave no room for anything else that is remembered.
                self.cite(&evidence);
            }
            Fact::AgentLate(late) => self.on_agent_late(from, to, (**late).clone()),
            Fact::CpuStall(stall) => self.on_cpu_stall(from, to, (**stall).clone()),
            Fact::CpuLoad(load) => self.on_load(from, to, load),
            Fact::IoStuck(stuck) => self.on_io(from, to, stuck),
            Fact::ArpReply { .. } => {
                self.with(&evidence.host, |peer| peer.link.on_arp_reply(to));
                self.cite(&evidence);
            }
            Fact::NeighbourChanged { before, now, .. } => {
                self.with(&evidence.host, |peer| peer.link.on_change(before.as_deref(), now.as_deref()));
                self.remember(evidence);
            }
            Fact::VipAsked { vip } => self.on_vip_asked(*vip, to),
            Fact::VipClaim(claim) => self.on_vip_claim(claim, to),
            Fact::SocketOverflow { count } => {
                self.overflow += count;
                self.remember(evidence);
            }
            Fact::EventsLost { count } => {
                self.events_lost = Some((to, *count));
                self.remember(evidence);
            }
            _ => self.remember(evidence),
        }
    }

    /// Time has passed; everything that had arrived by `now` was handled.
    pub fn handle_timeout(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        self.watched_since.get_or_insert(now);
        self.check_clocks(now);
        self.judge_own(now);
        // Before a pause closes: they may have to make up for it.
        self.check_cpus(now);
        self.follow_own(now);
        self.check_gaps(now);
        self.check_unnamed(now);
        self.check_vips(now);
    }

    /// The next incident that is new or has changed.
    pub fn poll(&mut self) -> Option<Incident> {
        self.out.pop_front()
    }

    /// When [`Self::handle_timeout`] has to be called at the latest, even if nothing comes in.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Nanos> {
        let silence = self.peers.iter().filter(|(name, _)| !self.is_silent(name));
        let silence = silence.filter_map(|(name, peer)| self.deadline(name, peer));
        let settle = self.gaps.values().filter_map(|open| self.closes_at(&open.gap));
        silence.chain(settle).chain(self.unnamed_until()).min()
    }

    /// True while packets are missing, so that counters are worth reading more often.
    #[must_use]
    pub fn is_curious(&self) -> bool {
        !self.gaps.is_empty() || !self.losses.is_empty() || !self.holes.is_empty()
    }

    /// The large heartbeats that are due to `peer` at `now`, each with its number, and the size probe that is.
    #[must_use]
    pub fn large_due(&self, peer: &str, now: Nanos) -> (Vec<(Size, u64)>, Option<SizeProbe>) {
        let Some(to) = self.peers.get(peer) else { return (Vec::new(), None) };
        let number = |size: Size| (size, to.sizes.track(size).map_or(0, |track| track.sent) + 1);
        // A turn that begins a moment earlier in its tick than the one a second ago is no turn too early.
        let by = now.plus(self.settings.interval / 2);
        (to.sizes.due(by).map(number).collect(), to.sizes.probe(now, self.settings.interval))
    }

    /// Every peer and anchor with what is known of it.
    pub fn peers(&self) -> impl Iterator<Item = (&str, &Peer)> {
        self.peers.iter().map(|(name, peer)| (name.as_str(), peer))
    }

    /// What is known of that peer or anchor.
    #[must_use]
    pub fn peer(&self, name: &str) -> Option<&Peer> {
        self.peers.get(name)
    }

    /// True while nothing comes in from the peer and that is an incident.
    #[must_use]
    pub fn is_silent(&self, name: &str) -> bool {
        self.gaps.get(name).is_some_and(|open| open.gap.silent)
    }

    /// A heartbeat that this host's own kernel refused is lost all the same, and it is known where.
    fn on_sent(&mut self, name: &str, seq: u64, error: Option<&str>, at: Nanos) {
        self.with(name, |peer| peer.on_sent(seq, error.is_some(), at));
        if let Some(error) = error {
            self.remember(Evidence::at(name, at, Fact::SendRefused { error: error.to_owned(), count: 1 }));
        }
    }

    fn with(&mut self, name: &str, change: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.peers.get_mut(name) {
            change(peer);
        }
    }

    /// Judges `case` at the present time and writes its document.
    fn write(&self, case: Case<'_>, draft: Draft<'_>) -> Incident {
        incident(draft, judge(&self.context(), case), &self.settings.host, &self.me.facts)
    }

    /// Takes a stall of this host into what the peers are told; a newer version of a report takes its place.
    fn report(&mut self, report: StallReport) {
        self.reports.retain(|old| (old.from, old.cpu) != (report.from, report.cpu));
        if self.reports.len() == MAX_STALLS {
            let closed = self.reports.iter().position(|old| !old.open).unwrap_or(0);
            self.reports.remove(closed);
        }
        self.reports.push_back(report);
    }
}
