//! A few engines on a network in memory: each turn is an interval long, and what is broken is said by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Engine, Me};
use crate::evidence::{AgentLate, Evidence, Fact, LargeHeartbeat, Size, Way};
use crate::incident::Incident;
use crate::settings::Settings;
use crate::time::{Nanos, WallNanos};

const INTERVAL: Duration = Duration::from_millis(100);
/// How long a packet takes.
const ON_THE_WAY: Duration = Duration::from_micros(200);
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// One host of the fleet.
pub(super) struct Host {
    pub(super) engine: Engine,
    pub(super) seen: Vec<Incident>,
    /// The agent does not run; since when.
    stopped: Option<Nanos>,
    /// Neither the agent nor the kernel runs.
    gone: bool,
    /// The agent's process has ended: its port is closed.
    ended: bool,
    /// Its kernel answers echo requests.
    pub(super) answers_echoes: bool,
    /// The whole machine stands still, and what is sent to it is lost.
    paused: bool,
    /// How far its boot clock is behind the fleet's.
    pub(super) behind: Duration,
    /// What waits in the socket buffer of a stopped agent.
    pub(super) queue: Vec<Evidence>,
    boot_id: [u8; 16],
    incarnation: u64,
    /// What the host reads about its own lateness.
    pub(super) late: AgentLate,
}

/// See the module's documentation.
pub(super) struct Fleet {
    pub(super) now: Nanos,
    hosts: BTreeMap<&'static str, Host>,
    /// (from, to) pairs whose packets vanish, heartbeats and echoes alike.
    pub(super) cut: BTreeSet<(&'static str, &'static str)>,
    /// (from, to) pairs whose heartbeats vanish, while echoes pass.
    pub(super) filtered: BTreeSet<(&'static str, &'static str)>,
    /// (from, to) pairs whose heartbeats arrive and are refused, as without the same key.
    pub(super) refused: BTreeSet<(&'static str, &'static str)>,
    /// (from, to) pairs whose packets vanish in the kernel of one of them, which says so and why.
    pub(super) dropped: BTreeMap<(&'static str, &'static str), (&'static str, &'static str)>,
    /// (from, to) pairs that lose a part of everything.
    pub(super) lossy: BTreeMap<(&'static str, &'static str), f64>,
    /// (from, to) pairs with the largest packet that passes whole, and whether fragments do.
    pub(super) narrow: BTreeMap<(&'static str, &'static str), (u16, bool)>,
    /// The state of a linear congruential generator (Knuth, MMIX): the same losses every time.
    chance: u64,
    /// Whether the gateway answers the hosts that have one.
    pub(super) gateway_answers: bool,
    gateway_of: BTreeSet<&'static str>,
}

const GATEWAY: &str = "gateway";

/// The MTU of every interface, and the length of what is fragmented.
const MTU: u16 = 1500;
const FRAGMENTED: u16 = 2000;

fn engine(name: &str, boot_id: [u8; 16], incarnation: u64, hosts: usize) -> Engine {
    let peers = NAMES[..hosts].iter().filter(|peer| **peer != name).map(|peer| (*peer).to_owned()).collect();
    let settings = Settings { host: name.to_owned(), peers, ..Settings::default() };
    Engine::new(settings, Me { boot_id, incarnation, ..Me::default() })
}

impl Fleet {
    /// `hosts` hosts, two to five, that have run for two seconds.
    pub(super) fn new(hosts: usize) -> Self {
        let host = |name: &'static str| {
            let boot_id = [name.as_bytes()[0]; 16];
            let engine = engine(name, boot_id, 1, hosts);
            let (stopped, queue, seen) = (None, Vec::new(), Vec::new());
            let late = AgentLate { waited_ns: Some(0), timers_watched: true, ..AgentLate::default() };
            let (gone, ended, paused, behind, incarnation) = (false, false, false, Duration::ZERO, 1);
            let answers_echoes = true;
            let host = Host {
                engine,
                seen,
                stopped,
                gone,
                ended,
                answers_echoes,
                paused,
                behind,
                queue,
                boot_id,
                incarnation,
                late,
            };
            (name, host)
        };
        let now = Nanos(1_000_000_000_000);
        let hosts = NAMES[..hosts].iter().map(|name| host(name)).collect();
        let (cut, filtered, refused) = Default::default();
        let (dropped, lossy, narrow) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut fleet = Self {
            now,
            hosts,
            cut,
            filtered,
            refused,
            dropped,
            lossy,
            narrow,
            chance: 1,
            gateway_answers: true,
            gateway_of: BTreeSet::new(),
        };
        for name in fleet.names() {
            let wall = WallNanos(1_800_000_000_000_000_000);
            fleet.host(name).engine.handle(Evidence::at(name, now, Fact::Clock { wall }));
        }
        fleet.run(2.0);
        fleet
    }

    /// The same, where these hosts run on one hypervisor.
    pub(super) fn with_hypervisor(hosts: usize, guests: &[&str], label: &str) -> Self {
        let mut fleet = Self::new(hosts);
        for name in guests {
            let peers = NAMES[..hosts].iter().filter(|peer| *peer != name).map(|peer| (*peer).to_owned()).collect();
            let labels = [("hypervisor".to_owned(), label.to_owned())].into();
            let settings = Settings { host: (*name).to_owned(), peers, labels, ..Settings::default() };
            fleet.host(name).engine.configure(settings);
        }
        fleet.run(1.0);
        fleet
    }

    /// That host watches these only.
    pub(super) fn watch(&mut self, name: &str, peers: &[&str]) {
        let settings = self.host(name).engine.settings.clone();
        let peers = peers.iter().map(|peer| (*peer).to_owned()).collect();
        self.host(name).engine.configure(Settings { peers, ..settings });
    }

    /// Five hosts that watch these only.
    pub(super) fn watching(peers: [(&str, &[&str]); 5]) -> Self {
        let mut fleet = Self::new(peers.len());
        for (name, peers) in peers {
            fleet.watch(name, peers);
        }
        fleet.run(5.0);
        fleet
    }

    /// Five hosts of which each watches the one before and the one after it only, from `a` to `e` and round.
    pub(super) fn in_a_ring() -> Self {
        let mut fleet = Self::new(NAMES.len());
        for (place, name) in NAMES.into_iter().enumerate() {
            fleet.watch(name, &[1, NAMES.len() - 1].map(|step| NAMES[(place + step) % NAMES.len()]));
        }
        fleet.run(2.0);
        fleet
    }

    /// That host has a gateway that answers.
    pub(super) fn with_gateway(&mut self, name: &'static str) {
        let peers = self.names().into_iter().filter(|peer| *peer != name).map(str::to_owned).collect();
        let anchors = vec![GATEWAY.to_owned()];
        self.host(name).engine.configure(Settings { host: name.to_owned(), peers, anchors, ..Settings::default() });
        self.gateway_of.insert(name);
    }

    fn names(&self) -> Vec<&'static str> {
        self.hosts.keys().copied().collect()
    }

    pub(super) fn host(&mut self, name: &str) -> &mut Host {
        self.hosts.get_mut(name).expect("a host of the fleet")
    }

    pub(super) fn cut_both(&mut self, a: &'static str, b: &'static str) {
        self.cut.extend([(a, b), (b, a)]);
    }

    /// Cuts a host off from these others, both ways.
    pub(super) fn isolate(&mut self, name: &'static str, others: &[&'static str]) {
        others.iter().for_each(|other| self.cut_both(name, other));
    }

    /// The kernel of this host counts what it drops.
    pub(super) fn count_drops(&mut self, name: &'static str) {
        let now = self.now;
        for peer in self.names().into_iter().filter(|peer| *peer != name) {
            self.host(name).engine.handle(Evidence::at(peer, now, Fact::HeartbeatDropsCounted));
        }
        self.run(0.5);
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
        self.filtered.clear();
        self.refused.clear();
        self.dropped.clear();
        self.lossy.clear();
        self.narrow.clear();
    }

    pub(super) fn stop(&mut self, name: &str) {
        let now = self.now;
        self.host(name).stopped = Some(now.plus(INTERVAL));
    }

    /// The machine stands still as a whole: its kernel neither answers nor receives.
    pub(super) fn pause(&mut self, name: &str) {
        self.stop(name);
        self.host(name).paused = true;
    }

    /// The machine goes on as if no time had passed: its clock stood still with it.
    pub(super) fn resume_where_the_clock_stopped(&mut self, name: &str) {
        let now = self.now;
        let host = self.host(name);
        let since = host.stopped.take().expect("it was stopped");
        host.paused = false;
        host.behind += now.since(since) + INTERVAL;
    }

    /// What the boot clock of the host shows.
    pub(super) fn clock(&self, name: &str) -> Nanos {
        self.now.minus(self.hosts[name].behind)
    }

    pub(super) fn kill(&mut self, name: &str) {
        self.host(name).ended = true;
    }

    pub(super) fn gone(&mut self, name: &str) {
        self.host(name).gone = true;
    }

    /// Its kernel is up again, its agent not yet.
    pub(super) fn boot_the_kernel(&mut self, name: &str) {
        let host = self.host(name);
        (host.gone, host.ended) = (false, true);
    }

    pub(super) fn goodbye(&mut self, name: &'static str) {
        let now = self.clock(name);
        for peer in self.names().into_iter().filter(|peer| *peer != name) {
            let at = self.clock(peer);
            let mut beat = self.host(name).engine.heartbeat(peer, now).expect("a peer");
            beat.goodbye = true;
            if !self.cut.contains(&(name, peer)) && !self.filtered.contains(&(name, peer)) {
                self.host(peer).receive(Evidence::at(name, at, Fact::Heartbeat(Arc::new(beat))));
            }
        }
        self.kill(name);
    }

    /// The agent goes on where it was stopped: first it notices that, then it reads what waits.
    pub(super) fn resume(&mut self, name: &'static str) {
        let now = self.clock(name);
        let host = self.host(name);
        let since = host.stopped.take().expect("it was stopped").minus(host.behind);
        host.paused = false;
        host.engine.handle(Evidence::during(name, since, now, Fact::AgentLate(Box::new(host.late.clone()))));
        for evidence in std::mem::take(&mut host.queue) {
            host.engine.handle(evidence);
        }
    }

    /// The socket buffer of a stopped agent had no room for the newest `count` datagrams.
    pub(super) fn overflow(&mut self, name: &'static str, count: usize) {
        let now = self.now;
        let host = self.host(name);
        host.queue.truncate(host.queue.len() - count);
        host.engine.handle(Evidence::at(name, now, Fact::SocketOverflow { count: count as u64 }));
    }

    /// A new agent, on the same boot or on another.
    pub(super) fn start_anew(&mut self, name: &'static str, new_boot: bool) {
        let next = self.host(name).incarnation + 1;
        self.start_as(name, new_boot, next);
    }

    /// The machine was booted anew so long ago, and its agent starts now.
    pub(super) fn boot_anew(&mut self, name: &'static str, ago: Duration) {
        self.start_anew(name, true);
        let behind = self.now.minus(ago).since(Nanos(0));
        self.host(name).behind = behind;
    }

    /// A new agent with that incarnation.
    pub(super) fn start_as(&mut self, name: &'static str, new_boot: bool, incarnation: u64) {
        let hosts = self.hosts.len();
        let host = self.host(name);
        host.incarnation = incarnation;
        host.boot_id[0] ^= u8::from(new_boot);
        host.engine = engine(name, host.boot_id, host.incarnation, hosts);
        (host.gone, host.ended, host.stopped) = (false, false, None);
    }

    /// A snapshot of the running machine, taken `age` ago, is restored: its clock and its numbers go back.
    pub(super) fn restore(&mut self, name: &'static str, age: Duration) {
        let incarnation = self.host(name).incarnation;
        self.start_as(name, false, incarnation);
        self.host(name).behind += age;
    }

    pub(super) fn run(&mut self, seconds: f64) {
        for _ in 0..(seconds * 10.0).round() as u32 {
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.now = self.now.plus(INTERVAL);
        for from in self.names() {
            for to in self.names().into_iter().filter(|to| *to != from) {
                self.exchange(from, to);
            }
        }
        for name in self.gateway_of.clone() {
            let (now, answers) = (self.clock(name), self.gateway_answers);
            let engine = &mut self.host(name).engine;
            engine.handle(Evidence::at(GATEWAY, now, Fact::EchoSent));
            if answers {
                engine.handle(Evidence::during(GATEWAY, now, now.plus(ON_THE_WAY), Fact::EchoReply));
            }
        }
        let now = self.now;
        for host in self.hosts.values_mut().filter(|host| host.runs()) {
            let now = now.minus(host.behind);
            host.engine.handle_timeout(now);
            assert!(host.engine.next_timeout().is_none_or(|at| at > now), "the loop would spin");
            host.seen.extend(std::iter::from_fn(|| host.engine.poll()));
        }
    }

    fn exchange(&mut self, from: &'static str, to: &'static str) {
        let now = self.clock(from);
        if !self.host(from).runs() {
            return;
        }
        let sender = self.host(from);
        let Some(beat) = sender.engine.heartbeat(to, now) else { return };
        let seq = beat.seq;
        sender.engine.handle(Evidence::at(to, now, Fact::HeartbeatSent { seq, error: None }));
        sender.engine.handle(Evidence::at(to, now, Fact::EchoSent));
        let (way, back) = ((from, to), (to, from));
        self.exchange_large(from, to, now);
        let dropped = self.dropped.get(&way).copied();
        if let Some((by, reason)) = dropped {
            self.drop_heartbeat(way, by, reason);
        }
        let passes = !self.cut.contains(&way) && dropped.is_none() && !self.is_lost(way);
        let answers = passes && !self.cut.contains(&back) && !self.host(to).gone && !self.host(to).paused;
        let arrived = now.plus(ON_THE_WAY);
        if passes && self.refused.contains(&way) {
            self.deliver(from, to, Fact::Refused { reason: "tag".into(), count: 1 });
        } else if passes && !self.filtered.contains(&way) {
            self.deliver(from, to, Fact::Heartbeat(Arc::new(beat)));
        }
        let (closed, answers_echoes) = (self.host(to).ended, self.host(to).answers_echoes);
        if answers {
            let sender = self.host(from);
            if answers_echoes {
                sender.engine.handle(Evidence::during(to, now, arrived, Fact::EchoReply));
            }
            if closed {
                sender.engine.handle(Evidence::at(to, arrived, Fact::PortUnreachable));
            }
        }
    }
}

impl Fleet {
    /// Another seed of what is lost by chance.
    pub(super) fn seed(&mut self, seed: u64) {
        self.chance = seed;
    }

    fn is_lost(&mut self, way: (&'static str, &'static str)) -> bool {
        let Some(rate) = self.lossy.get(&way) else { return false };
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.chance >> 11) as f64 / (1_u64 << 53) as f64) < *rate
    }

    /// One kernel dropped it: it counts that in time for the host's next word.
    fn drop_heartbeat(&mut self, (from, to): (&'static str, &'static str), by: &'static str, reason: &str) {
        let (peer, direction) = if by == to { (from, Way::In) } else { (to, Way::Out) };
        let at = self.clock(by);
        let fact = Fact::HeartbeatDrops { direction, reason: reason.to_owned(), count: 1 };
        self.host(by).engine.handle(Evidence::at(peer, at, fact));
    }

    fn exchange_large(&mut self, from: &'static str, to: &'static str, now: Nanos) {
        let (large, probe) = self.host(from).engine.large_due(to, now);
        let (largest, fragments_pass) = self.narrow.get(&(from, to)).copied().unwrap_or((MTU, true));
        let way = (from, to);
        let cut = self.cut.contains(&way) || self.refused.contains(&way) || self.dropped.contains_key(&way);
        let (boot_id, incarnation) = (self.host(from).boot_id, self.host(from).incarnation);
        for (size, seq) in large {
            let told = self.host(from).engine.peer(to).and_then(|peer| peer.sizes.path_mtu(now));
            let bytes = if size == Size::Mtu { told.unwrap_or(MTU) } else { FRAGMENTED };
            let passes = if size == Size::Mtu { bytes <= largest } else { fragments_pass };
            self.host(from).engine.handle(Evidence::at(to, now, Fact::LargeSent { size, bytes, seq }));
            // Two fragments must both get through.
            let lost = self.is_lost((from, to)) || size == Size::Fragmented && self.is_lost((from, to));
            if passes && !cut && !lost {
                let large = LargeHeartbeat { size, bytes, seq, sent_at: now, boot_id, incarnation };
                self.deliver(from, to, Fact::LargeHeartbeat(large));
            }
        }
        if let Some(probe) = probe {
            self.host(from).engine.handle(Evidence::at(to, now, Fact::SizeProbeSent(probe)));
            if probe.bytes <= largest && !cut && !self.is_lost((from, to)) {
                self.deliver(from, to, Fact::SizeProbe(probe));
            }
        }
    }

    fn deliver(&mut self, from: &'static str, to: &'static str, fact: Fact) {
        let at = self.clock(to).plus(ON_THE_WAY);
        self.host(to).receive(Evidence::at(from, at, fact));
    }
}

impl Host {
    fn runs(&self) -> bool {
        self.stopped.is_none() && !self.gone && !self.ended
    }

    fn receive(&mut self, evidence: Evidence) {
        if self.paused {
            return;
        }
        if self.stopped.is_some() {
            self.queue.push(evidence);
        } else if self.runs() {
            self.engine.handle(evidence);
        }
    }

    /// The last version of each incident, in order.
    pub(super) fn incidents(&self) -> Vec<Incident> {
        let mut last: Vec<Incident> = Vec::new();
        for incident in &self.seen {
            last.retain(|known| known.id != incident.id);
            last.push(incident.clone());
        }
        last
    }

    /// The one incident there is.
    pub(super) fn incident(&self) -> Incident {
        let mut all = self.incidents();
        assert_eq!(all.len(), 1, "{}", self.history());
        all.remove(0)
    }

    /// Everything that was said, a line each, for messages of tests.
    pub(super) fn history(&self) -> String {
        let line = |said: &Incident| {
            format!(
                "{} {:?} {} {:?} {}: {} | missing {:?}\n",
                &said.id[..14],
                said.state,
                said.verdict.class.name(),
                said.verdict.subject,
                said.duration_ms,
                said.verdict.summary,
                said.missing
            )
        };
        self.seen.iter().map(line).collect()
    }

    /// Every class that was ever said.
    pub(super) fn classes(&self) -> BTreeSet<&'static str> {
        self.seen.iter().map(|incident| incident.verdict.class.name()).collect()
    }
}
