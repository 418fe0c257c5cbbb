//! A few engines on a network in memory: each turn is an interval long, and what is broken is said by name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::{Engine, Me};
use crate::evidence::{AgentLate, Evidence, Fact};
use crate::incident::Incident;
use crate::settings::Settings;
use crate::time::{Nanos, WallNanos};

const INTERVAL: Duration = Duration::from_millis(100);
/// How long a packet takes.
const ON_THE_WAY: Duration = Duration::from_micros(200);
const NAMES: [&str; 3] = ["a", "b", "c"];

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
    /// The whole machine stands still, and what is sent to it is lost.
    paused: bool,
    /// How far its boot clock is behind the fleet's.
    behind: Duration,
    /// What waits in the socket buffer of a stopped agent.
    queue: Vec<Evidence>,
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
}

fn engine(name: &str, boot_id: [u8; 16], incarnation: u64, hosts: usize) -> Engine {
    let peers = NAMES[..hosts].iter().filter(|peer| **peer != name).map(|peer| (*peer).to_owned()).collect();
    let settings = Settings { host: name.to_owned(), peers, ..Settings::default() };
    Engine::new(settings, Me { boot_id, incarnation, ..Me::default() })
}

impl Fleet {
    /// `hosts` hosts, two or three, that have run for two seconds.
    pub(super) fn new(hosts: usize) -> Self {
        let host = |name: &'static str| {
            let boot_id = [name.as_bytes()[0]; 16];
            let engine = engine(name, boot_id, 1, hosts);
            let (stopped, queue, seen) = (None, Vec::new(), Vec::new());
            let late = AgentLate { waited_ns: Some(0), timers_watched: true, ..AgentLate::default() };
            let (gone, ended, paused, behind, incarnation) = (false, false, false, Duration::ZERO, 1);
            let host = Host { engine, seen, stopped, gone, ended, paused, behind, queue, boot_id, incarnation, late };
            (name, host)
        };
        let now = Nanos(1_000_000_000_000);
        let hosts = NAMES[..hosts].iter().map(|name| host(name)).collect();
        let mut fleet = Self { now, hosts, cut: BTreeSet::new(), filtered: BTreeSet::new() };
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

    fn names(&self) -> Vec<&'static str> {
        self.hosts.keys().copied().collect()
    }

    pub(super) fn host(&mut self, name: &str) -> &mut Host {
        self.hosts.get_mut(name).expect("a host of the fleet")
    }

    pub(super) fn cut_both(&mut self, a: &'static str, b: &'static str) {
        self.cut.extend([(a, b), (b, a)]);
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
        self.filtered.clear();
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

    pub(super) fn goodbye(&mut self, name: &'static str) {
        let now = self.clock(name);
        for peer in self.names().into_iter().filter(|peer| *peer != name) {
            let at = self.clock(peer);
            let mut beat = self.host(name).engine.heartbeat(peer, now).expect("a peer");
            beat.goodbye = true;
            if !self.cut.contains(&(name, peer)) && !self.filtered.contains(&(name, peer)) {
                self.host(peer).receive(Evidence::at(name, at, Fact::Heartbeat(Box::new(beat))));
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
        host.engine.handle(Evidence::during(name, since, now, Fact::AgentLate(host.late.clone())));
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
        let passes = !self.cut.contains(&way);
        let answers = passes && !self.cut.contains(&back) && !self.host(to).gone && !self.host(to).paused;
        let arrived = now.plus(ON_THE_WAY);
        if passes && !self.filtered.contains(&way) {
            let at = self.clock(to).plus(ON_THE_WAY);
            let evidence = Evidence::at(from, at, Fact::Heartbeat(Box::new(beat)));
            self.host(to).receive(evidence);
        }
        let closed = self.host(to).ended;
        if answers {
            let sender = self.host(from);
            sender.engine.handle(Evidence::during(to, now, arrived, Fact::EchoReply));
            if closed {
                sender.engine.handle(Evidence::at(to, arrived, Fact::PortUnreachable));
            }
        }
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
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }

    /// Every class that was ever said.
    pub(super) fn classes(&self) -> BTreeSet<&'static str> {
        self.seen.iter().map(|incident| incident.verdict.class.name()).collect()
    }
}
