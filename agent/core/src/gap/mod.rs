//! A gap between this host and one peer, from the first missed heartbeat to the confirmed end.
//!
//! Two things make a gap: this host's kernel receives nothing from the peer (*silence*), or the peer goes on
//! saying old news of us (*unheard*). Both belong to one gap when they overlap, as they do when a link is cut
//! both ways. The gap only collects; the rules judge.

mod cited;
mod figures;
mod spans;

use std::time::Duration;

use crate::account::Account;
use crate::document::Citations;
use crate::evidence::{Evidence, Fact, KernelDrops, MAX_STALLS, StallReport};
use crate::incident::Class;
use crate::loss::CUT;
use crate::peer::{Arrival, Baseline, Kernel, Peer, lost_between};
use crate::time::{Nanos, nanos};

pub use spans::Slept;
use spans::{beyond_due, clock_stood, held_up};
pub(crate) use spans::{quiet, times};

/// A machine that was moved while it stood still is found by the network within this time after it goes on: it is announced, so
/// that switches learn its place anew, which QEMU does five times in 1.3 s (`net/announce.c`).
pub(crate) const FOUND_ANEW: Duration = Duration::from_secs(2);

/// Whoever stands still for so long may not find what came meanwhile: a card has room for some hundred packets, 256 with virtio
/// in QEMU, and there are other packets than heartbeats.
pub(crate) const NO_ROOM: Duration = Duration::from_secs(1);

/// Hosts that lost a peer together hear it again within this time.
const HEARD_FOR_LONG: Duration = Duration::from_millis(500);

/// An answer to an ARP request so soon after the last heartbeat may have left before its host fell silent.
const ARP_AFTER: Duration = Duration::from_secs(1);
/// Peers are asked once a second: one that has not answered for so long does not answer any more.
const ARP_LAPSE: Duration = Duration::from_secs(5);
/// No machine is down and answers again sooner.
const BOOTS_AFTER: Duration = Duration::from_secs(1);

/// What another host says of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Who says so.
    pub name: String,
    /// Whether it heard the peer after the silence began, and still did when it last said so.
    pub hears: bool,
    /// Whether the peer's kernel answers it.
    pub kernel_answers: Option<bool>,
}

/// How far a gap reaches: a path, a host, or more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Other peers that fell silent together with this one, and are not told of on their own.
    pub together: Vec<String>,
    /// All other peers that fell silent at the same moment and still are, whether told of or not.
    pub fell_together: Vec<String>,
    /// All peers of this host, two at least, are silent.
    pub hears_none: bool,
    /// All peers of this host, two at least, say that they do not hear it.
    pub heard_by_none: bool,
    /// The peer says of all others that it does not hear them.
    pub hears_nobody: bool,
    /// The gateway answered before, and does not since the silence began.
    pub gateway_gone: bool,
    /// It has not answered from that very moment on.
    pub gateway_fell_together: bool,
    /// The groups of hosts that heard each other throughout, that of this host first; absent until all have said so.
    pub groups: Option<Vec<Vec<String>>>,
    /// Others can say whom they heard, and have not told all of it.
    pub unclear: bool,
    /// There are others that can say whom they heard.
    pub others_may_tell: bool,
    /// Of half of the other peers or more, heartbeats are missing of the time of the gap.
    pub others_missed: bool,
    /// The same from the moment on at which it fell silent: what it said last may be among them.
    pub others_missed_first: bool,
}

/// The facts of one gap, as the rules see them.
#[derive(Clone, Debug)]
pub struct Gap {
    /// The other end.
    pub peer: String,
    /// The last sign of life before it.
    pub since: Nanos,
    /// When it began: the first heartbeat that was due and missed.
    pub started: Nanos,
    /// When both directions worked again; absent while one does not.
    pub back: Option<Nanos>,
    /// Nothing comes in from the peer at the moment.
    pub silent: bool,
    /// The last sign of life before the present silence, or the last one.
    pub silent_since: Nanos,
    /// The peer does not hear us at the moment.
    pub unheard: bool,
    /// How often it came back before it could close; 1 for a single gap.
    pub occurrences: u32,
    /// The peer was heard again since it fell silent.
    pub heard_again: bool,
    /// Heartbeats of the peer that left it and did not arrive, though this host ran.
    pub lost_from: u64,
    /// Heartbeats of the peer that did not arrive while this host itself stood still.
    pub missed: u64,
    /// The most that were missing in a row, either way.
    pub longest_run: u64,
    /// Heartbeats to the peer that did not arrive, by its account; absent while it has given none.
    pub lost_to: Option<u64>,
    /// For how long the peer sent nothing, beyond its interval.
    pub unsent: Duration,
    /// For how long nothing came in of the peer although nothing is missing, by this host's clock: the peer stood
    /// still, perhaps with its clock, or all of it was late.
    pub quiet: Duration,
    /// Whether the peer's kernel answers.
    pub kernel: Kernel,
    /// It did not for a while of the present silence: packets were lost, or it did not run.
    pub kernel_was_silent: bool,
    /// For how long of its silence the peer's kernel has answered promptly.
    pub kernel_answers_for: Duration,
    /// The peer's kernel said that nobody listens on the heartbeat port.
    pub port_unreachable: bool,
    /// It said so some time after the last heartbeat only: it may be that of a machine that boots, whose agent comes later, or of
    /// another system that writes down why the first one crashed.
    pub may_have_booted: bool,
    /// It, or somebody for it, answers ARP requests in the present silence.
    pub answers_arp: bool,
    /// Another link-layer address than the peer's has its address by now: what answers there says nothing of the peer.
    pub taken_over: bool,
    /// Packets from the peer's address that this host refused, whoever sent them.
    pub refused: u64,
    /// Packets from this host's address that the peer had and did not take, by its own word.
    pub not_taken: u64,
    /// What others say.
    pub witnesses: Vec<Witness>,
    /// What the peer says of its own stall in this gap.
    pub account: Option<Account>,
    /// Its stalls in this gap that may have made it deaf, by its word: not always the one that tells most.
    deaf: Vec<Account>,
    /// By how much the peer's clock has fallen behind this host's since; packets that are all late look the same. Absent
    /// where that cannot be told yet.
    pub peer_behind: Option<Duration>,
    /// Other hosts of the peer's hypervisor that stood still at the same time, by their own accounts.
    pub neighbours: Vec<String>,
    /// When silence and deafness of this gap last ended.
    pub resumed: Nanos,
    /// The peer came back with another boot: its boot id before.
    pub new_boot: Option<[u8; 16]>,
    /// The peer came back with another agent on the same boot, without a goodbye.
    pub new_incarnation: bool,
    /// The peer came back with numbers that went back.
    pub rewound: bool,
    /// How far it reaches.
    pub scope: Scope,
    /// How many heartbeats of the peer this host's kernel has dropped since the present silence was noticed.
    pub dropped_in_silence: u64,
    /// This host's kernel counts what it drops of the heartbeats with the peer.
    pub drops_counted: bool,
    /// What the peer's kernel dropped of the heartbeats between it and this host, by its account; absent where it gave none.
    pub peer_drops: Option<KernelDrops>,
    /// Since when another host has said that it hears the peer, while this one does not.
    others_hear: Option<Nanos>,
    /// Another host heard the peer for long, while this one did not: it is not the peer alone.
    pub heard_by_others: bool,
    /// Single heartbeats were lost before or after it: a short one may be a part of a steady loss.
    pub suspicious: bool,
    /// Time in the gap that this host itself slept through.
    pub own_stall: Duration,
    /// The clock of this host stood still meanwhile: what others say of that time does not fit to it.
    pub own_clock_stood: bool,
    /// This host, or a CPU of it that made it deaf, went on just before, after [`NO_ROOM`] or longer.
    pub woke_before: bool,
    /// What the incident cites.
    pub citations: Citations,
    /// The peer's counts before the gap.
    before: Baseline,
    /// What was lost to the peer before the gap, and was told in it first; absent until it told anything.
    lost_before: Option<u64>,
    /// How many heartbeats of the peer this host's kernel had dropped when the present silence was noticed.
    dropped_before_silence: Option<u64>,
    newest: Option<Newest>,
    /// So many misses in a row are a cut, whatever is lost steadily.
    cut: u64,
    /// The echo counts when the peer was heard again: what is asked later says nothing about the silence.
    echo_after: Option<(u64, u64)>,
    /// The hole in the peer's send times, on its own clock, to match its account with.
    send_hole: Option<(Nanos, Nanos)>,
}

impl Gap {
    /// A gap with the peer `name`, whose counts were `before`, that began an interval after `since` and is noticed
    /// at `detected`.
    #[must_use]
    pub fn new(name: &str, before: Baseline, since: Nanos, detected: Nanos, interval: Duration) -> Self {
        Self {
            peer: name.to_owned(),
            since,
            started: since.plus(interval).min(detected),
            back: None,
            silent: false,
            silent_since: since,
            unheard: false,
            occurrences: 1,
            heard_again: false,
            lost_from: 0,
            missed: 0,
            longest_run: 0,
            lost_to: None,
            unsent: Duration::ZERO,
            quiet: Duration::ZERO,
            kernel: Kernel::Unknown,
            kernel_was_silent: false,
            kernel_answers_for: Duration::ZERO,
            port_unreachable: false,
            may_have_booted: false,
            answers_arp: false,
            taken_over: false,
            refused: 0,
            not_taken: 0,
            witnesses: Vec::new(),
            account: None,
            deaf: Vec::new(),
            peer_behind: None,
            neighbours: Vec::new(),
            resumed: since,
            new_boot: None,
            new_incarnation: false,
            rewound: false,
            scope: Scope::default(),
            dropped_in_silence: 0,
            drops_counted: false,
            peer_drops: None,
            others_hear: None,
            heard_by_others: false,
            suspicious: false,
            own_stall: Duration::ZERO,
            own_clock_stood: false,
            woke_before: false,
            citations: Citations::default(),
            before,
            lost_before: None,
            dropped_before_silence: None,
            newest: None,
            cut: CUT,
            echo_after: None,
            send_hole: None,
        }
    }

    /// Nothing comes in any more after `since`. What an earlier silence showed tells nothing of this one.
    pub fn fall_silent(&mut self, since: Nanos) {
        self.silent = true;
        self.silent_since = since;
        self.heard_again = false;
        (self.dropped_in_silence, self.dropped_before_silence) = (0, None);
        self.echo_after = None;
        (self.kernel, self.kernel_was_silent) = (Kernel::Unknown, false);
        (self.port_unreachable, self.may_have_booted) = (false, false);
        (self.answers_arp, self.taken_over) = (false, false);
        self.witnesses.clear();
        self.others_hear = None;
        self.heard_by_others = false;
        self.scope = Scope::default();
    }

    /// A heartbeat of the peer came in during the gap. What is missing from the time that this host itself slept is nobody
    /// else's loss.
    pub fn on_arrival(&mut self, peer: &Peer, arrival: &Arrival, at: Nanos, slept: Slept, interval: Duration) {
        if arrival.reordered {
            self.lost_from = self.lost_from.saturating_sub(1);
            return;
        }
        self.heard_again = true;
        let slept = Slept { besides: slept.besides + clock_stood(arrival, interval), ..slept };
        let missed = slept.missed(arrival.missing, arrival.silence, interval);
        if arrival.missing > missed {
            self.newest = Some(Newest { at, lost: arrival.missing - missed, silence: arrival.silence });
        }
        self.missed = self.missed.saturating_add(missed);
        self.lost_from = self.lost_from.saturating_add(arrival.missing - missed);
        let lost_to = arrival.heard_step.map_or(0, |(missing, _)| missing);
        self.longest_run = self.longest_run.max(arrival.missing - missed).max(lost_to);
        self.new_boot = self.new_boot.or(arrival.new_boot);
        self.new_incarnation |= arrival.new_incarnation;
        self.rewound |= arrival.rewound;
        if arrival.counts_anew() {
            (self.before.heard, self.before.drops) = (None, None);
        }
        self.quiet += quiet(arrival, interval).saturating_sub(held_up(arrival, slept.seen));
        self.note_send_hole(arrival, interval);
        self.note_account(peer, at);
        self.note_heard(peer, interval);
        let dropped = peer.drops.as_ref().zip(self.before.drops);
        self.peer_drops = dropped.and_then(|(drops, before)| drops.since(before));
        self.peer_behind = peer.clock.peer_behind();
        if self.silent {
            self.resumed = at;
            self.cite_silence(arrival, at);
            self.echo_after = Some((peer.echo.sent, peer.echo.answered));
        }
        self.silent = false;
    }

    /// This host slept for so long at that time, which no clock of it showed: what is missing since, of what came in by then, is
    /// nobody else's loss.
    pub fn excuse(&mut self, at: Nanos, length: Duration, interval: Duration) {
        let Some(newest) = self.newest.as_mut().filter(|newest| newest.at >= at) else { return };
        let slept = Slept { besides: length, ..Slept::default() };
        let missed = slept.missed(newest.lost, newest.silence, interval).min(self.lost_from);
        newest.lost -= missed;
        self.missed = self.missed.saturating_add(missed);
        self.lost_from -= missed;
        self.longest_run = self.longest_run.min(self.lost_from.max(self.lost_to.unwrap_or_default()));
    }

    /// The numbers say what was sent: what the hole in the send times has beyond that was not sent.
    fn note_send_hole(&mut self, arrival: &Arrival, interval: Duration) {
        let Some((before, after)) = arrival.send_hole else { return };
        let unsent = beyond_due(after.since(before), arrival.missing, interval);
        if unsent > interval {
            self.unsent += unsent;
            let hole = self.send_hole.get_or_insert((before, after));
            hole.1 = after;
        }
    }

    /// The peer's own account counts where it explains the gap: it covers at least half of it, and half of what was not sent,
    /// both on its clock; or where it is of that host's kernel or hypervisor, at the time of the gap. What it cannot name of
    /// one CPU for a while says less than what explains the gap. What it tells after a boot is not of the time before.
    fn note_account(&mut self, peer: &Peer, at: Nanos) {
        if self.new_boot.is_some() {
            return;
        }
        let until = self.back.unwrap_or(at);
        let length = |account: &Account| account.to.since(account.from);
        let explains =
            |account: &Account| self.covers_the_hole(&account.report) && length(account) * 2 >= until.since(self.since);
        let counts = Account::all(peer)
            .filter(|account| account.is_of_the_host() && account.touches(self.since, until) || explains(account));
        let weight = |account: &Account| {
            let named = account.is_of_the_host() && account.report.class != Class::Unknown;
            (named, explains(account), account.is_of_the_host(), length(account))
        };
        let best = counts.max_by_key(weight);
        let ended = |account: Account| Account { report: StallReport { open: false, ..account.report }, ..account };
        self.account = best.or(self.account.map(ended));
        self.note_deaf(peer, until);
    }

    /// The newest version of each stall, as many as a peer tells of at once.
    fn note_deaf(&mut self, peer: &Peer, until: Nanos) {
        for told in Account::all(peer).filter(|told| told.report.deaf && told.touches(self.since, until)) {
            self.deaf.retain(|known| (known.report.from, known.report.cpu) != (told.report.from, told.report.cpu));
            if self.deaf.len() == MAX_STALLS {
                self.deaf.remove(0);
            }
            self.deaf.push(told);
        }
    }

    /// Takes what the peer has found out about its stall, after the gap.
    pub fn note_name(&mut self, peer: &Peer) {
        self.note_account(peer, self.back.unwrap_or(self.since));
    }

    fn covers_the_hole(&self, report: &StallReport) -> bool {
        let Some((from, to)) = self.send_hole else { return false };
        report.to.min(to).since(report.from.max(from)) * 2 >= self.unsent
    }

    /// What the peer's own buffer had no room for was not lost on the way. Its first word that is news also tells what had
    /// left long before and was lost then: it learns of that by a later number only.
    fn note_heard(&mut self, peer: &Peer, interval: Duration) {
        let (Some(before), Some(now)) = (&self.before.heard, &peer.heard) else { return };
        let overflow = peer.overflow.saturating_sub(self.before.overflow);
        let lost = lost_between(before, now).map(|lost| lost.saturating_sub(overflow));
        if now.seq > before.seq && self.lost_before.is_none() {
            let left = peer.numbers_since(self.since.minus(interval * 2), now.seq);
            self.lost_before = lost.zip(left).map(|(lost, left)| lost.saturating_sub(left)).or(Some(0));
        }
        self.lost_to = lost.map(|lost| lost.saturating_sub(self.lost_before.unwrap_or_default()));
    }

    fn cite_silence(&mut self, arrival: &Arrival, at: Nanos) {
        let known = arrival.send_hole.is_some();
        // What arrived and was refused was not lost.
        let lost = known.then(|| arrival.missing.saturating_sub(self.refused));
        let unsent_ns = known.then(|| nanos(self.unsent));
        let from = Nanos(at.0.saturating_sub(nanos(arrival.silence)));
        self.citations.add(Evidence::during(&self.peer, from, at, Fact::Silence { lost, unsent_ns }));
    }

    /// Takes how far it reaches by now. That nobody heard this host stays as long as the peer does not; what others missed as
    /// well stays, though they may miss more later.
    pub fn set_scope(&mut self, scope: Scope) {
        let heard_by_none = scope.heard_by_none || self.scope.heard_by_none && self.unheard;
        let others_missed = scope.others_missed || self.scope.others_missed;
        let others_missed_first = scope.others_missed_first || self.scope.others_missed_first;
        self.scope = Scope { heard_by_none, others_missed, others_missed_first, ..scope };
    }

    /// The clock of this host stood still in it.
    pub fn note_own_clock(&mut self) {
        self.own_clock_stood = true;
        self.scope.groups = None;
    }

    /// Looks again at what changes without the peer's doing: echoes, and the word of others.
    pub fn refresh(&mut self, peer: &Peer, witnesses: Vec<Witness>, now: Nanos, interval: Duration) {
        if self.silent {
            self.look_at_kernel(peer, now, interval);
            let dropped = peer.own_drops.as_ref().map_or(0, |drops| drops.received);
            let before = *self.dropped_before_silence.get_or_insert(dropped);
            self.dropped_in_silence = dropped.saturating_sub(before);
        }
        self.refused = peer.refused.saturating_sub(self.before.refused);
        self.not_taken = peer.overflow.saturating_sub(self.before.overflow);
        self.note_hearers(&witnesses, now);
        self.drops_counted = peer.own_drops.is_some();
        self.suspicious = peer.loss_from.is_suspicious() || peer.loss_to.is_suspicious();
        let by_chance = peer.loss_from.misses_of_a_gap().max(peer.loss_to.misses_of_a_gap());
        self.cut = self.cut.max(u64::from(by_chance));
        for witness in witnesses {
            match self.witnesses.iter_mut().find(|known| known.name == witness.name) {
                Some(known) => {
                    known.hears = witness.hears;
                    known.kernel_answers = witness.kernel_answers.or(known.kernel_answers);
                }
                None => self.witnesses.push(witness),
            }
        }
    }

    /// What answers with the peer's address: its kernel, unless another host has that address by now.
    fn look_at_kernel(&mut self, peer: &Peer, now: Nanos, interval: Duration) {
        self.taken_over = peer.link.is_taken_over();
        let answers = |at: Nanos| at > self.silent_since.plus(ARP_AFTER) && at.plus(ARP_LAPSE) > now;
        self.answers_arp = peer.link.answered_at().is_some_and(answers);
        if self.taken_over {
            (self.kernel, self.kernel_answers_for, self.port_unreachable) = (Kernel::Unknown, Duration::ZERO, false);
            return;
        }
        self.kernel = peer.echo.kernel(self.silent_since, now);
        self.kernel_was_silent |= self.kernel == Kernel::Silent;
        self.kernel_answers_for = peer.echo.answers_for(self.silent_since, now);
        if let Some((first, last)) = peer.unreachable
            && last > self.silent_since
        {
            // A heartbeat leaves every interval: the kernel of a host whose agent ends says so at once.
            self.may_have_booted = first.since(self.silent_since) >= BOOTS_AFTER.max(interval * 2);
            self.port_unreachable = true;
        }
    }

    /// Where everybody lost the peer, one hears it again a moment before the others.
    fn note_hearers(&mut self, witnesses: &[Witness], now: Nanos) {
        let hear = self.silent && witnesses.iter().any(|witness| witness.hears);
        self.others_hear = self.others_hear.filter(|_| hear).or(hear.then_some(now));
        self.heard_by_others |= self.others_hear.is_some_and(|since| now.since(since) >= HEARD_FOR_LONG);
    }
}

/// The newest heartbeat that came in during a gap behind some that count as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Newest {
    at: Nanos,
    /// How many those are.
    lost: u64,
    /// The time since the one before it.
    silence: Duration,
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
