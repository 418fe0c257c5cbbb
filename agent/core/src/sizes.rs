//! Large heartbeats to a peer: which sizes pass, and the largest that does.
//!
//! Signal: numbers of large heartbeats that left, and what the peer says that it heard of them, in small ones. Ask: do large
//! ones vanish while small ones pass? The intuition: the peer's word that it heard us lately, but not of the large ones that
//! left before, is a loss by size. While small ones do not pass either, nothing is asked of sizes.

use std::collections::VecDeque;
use std::time::Duration;

use crate::evidence::{HoleReason, HoleReport, LargeHeard, Size, SizeProbe};
use crate::time::Nanos;

/// Large heartbeats leave this often while all is well.
pub(crate) const CALM: Duration = Duration::from_secs(1);
/// And this often where the last one was not heard of.
const DOUBTFUL: Duration = Duration::from_millis(300);
/// Large heartbeats that are not heard of yet and are remembered.
const UNHEARD: usize = 64;
/// So many in a row must be missing, where nothing is lost otherwise.
const FEWEST_MISSES: u32 = 3;
/// So many must be missing that left after one of the other size that passed.
const FEWEST_LATER: usize = 2;
/// A probe is sent so many times before its size counts as one that does not pass.
const ATTEMPTS: u32 = 3;
/// What a router said of its MTU holds for this long (`net.ipv4.route.mtu_expires`, 600 s by default).
const PATH_MTU_HOLDS: Duration = Duration::from_secs(600);
/// So long a router's word may take to be known: it sends one a second to each host at most (`net.ipv4.icmp_ratelimit`, 1 s by
/// default), which may be about packets of others, and what the kernel learned from those is looked at once a second.
const ROUTERS_WORD: Duration = Duration::from_millis(2500);
/// No small heartbeat is shorter than this as an IP packet, and small ones pass.
const FLOOR: u16 = 192;

/// Large heartbeats of one size to a peer.
#[derive(Clone, Debug, Default)]
pub struct LargeTrack {
    /// Sent in all.
    pub sent: u64,
    /// Heard by the peer in all, by its account.
    pub heard: u64,
    /// Those that did not arrive, by the peer's account.
    pub lost: u64,
    /// The length of the newest, as an IP packet.
    pub bytes: u16,
    /// Number and time of those that may still be heard of.
    unheard: VecDeque<(u64, Nanos)>,
    last_sent: Option<Nanos>,
    /// When the newest one left that the peer heard.
    last_passed: Option<Nanos>,
    before: Option<(u64, u64)>,
}

impl LargeTrack {
    fn on_sent(&mut self, seq: u64, bytes: u16, at: Nanos) {
        self.sent = seq;
        self.bytes = bytes;
        self.last_sent = Some(at);
        if self.unheard.len() == UNHEARD {
            self.unheard.pop_front();
        }
        self.unheard.push_back((seq, at));
    }

    fn on_heard(&mut self, heard: &LargeHeard) {
        // Small heartbeats tell it again and again, until the next large one came in.
        let told_before = self.before == Some((heard.seq, heard.count));
        if told_before && self.unheard.iter().all(|(seq, _)| *seq > heard.seq) {
            return;
        }
        let passed = self.unheard.iter().rev().find(|(seq, _)| *seq <= heard.seq).map(|(_, at)| *at);
        self.last_passed = self.last_passed.max(passed);
        self.unheard.retain(|(seq, _)| *seq > heard.seq);
        if let Some((seq, count)) = self.before {
            let (numbers, arrived) = (heard.seq.saturating_sub(seq), heard.count.saturating_sub(count));
            self.lost += numbers.saturating_sub(arrived);
        }
        self.before = Some((heard.seq, heard.count));
        self.heard = heard.count;
    }

    /// How many in a row are missing that left before `until`.
    fn missing(&self, until: Nanos) -> u32 {
        u32::try_from(self.unheard.iter().filter(|(_, at)| *at < until).count()).unwrap_or(u32::MAX)
    }

    /// How many are missing that left from `from` on, before `until`.
    fn missing_from(&self, from: Nanos, until: Nanos) -> usize {
        self.unheard.iter().filter(|(_, at)| (from..until).contains(at)).count()
    }

    /// When the first of those left that are missing.
    fn missing_since(&self) -> Option<Nanos> {
        self.unheard.front().map(|(_, at)| *at)
    }

    /// What is missing may have been lost with everything else.
    fn forgive(&mut self) {
        self.unheard.clear();
    }

    fn is_due(&self, now: Nanos) -> bool {
        let period = if self.unheard.is_empty() { CALM } else { DOUBTFUL };
        self.last_sent.is_none_or(|at| at.plus(period) <= now)
    }
}

/// The search for the largest size that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Search {
    /// Passes.
    low: u16,
    /// Does not.
    high: u16,
    /// The question that is asked, with how often it left and when last.
    id: u32,
    attempts: u32,
    last_sent: Option<Nanos>,
}

impl Search {
    fn bytes(&self) -> u16 {
        self.low + (self.high - self.low) / 2
    }

    fn found(&self) -> Option<u16> {
        (self.high - self.low <= 1).then_some(self.low)
    }

    fn ask_next(&mut self) {
        (self.id, self.attempts, self.last_sent) = (self.id.wrapping_add(1), 0, None);
    }
}

/// What the large heartbeats to a peer show at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holes {
    /// Since when packets vanish: when the first of them left.
    pub since: Nanos,
    /// Why.
    pub reason: HoleReason,
}

/// The sizes of the way to a peer.
#[derive(Clone, Debug, Default)]
pub struct Sizes {
    /// Packets of the MTU that must not be fragmented.
    pub mtu: LargeTrack,
    /// Packets that are fragmented.
    pub fragmented: LargeTrack,
    /// What a router said of its MTU, and when.
    path_mtu: Option<(u16, Nanos)>,
    search: Option<Search>,
    next_id: u32,
}

impl Sizes {
    /// The track of a large size; none for small ones.
    #[must_use]
    pub fn track(&self, size: Size) -> Option<&LargeTrack> {
        match size {
            Size::Small => None,
            Size::Mtu => Some(&self.mtu),
            Size::Fragmented => Some(&self.fragmented),
        }
    }

    fn track_mut(&mut self, size: Size) -> Option<&mut LargeTrack> {
        match size {
            Size::Small => None,
            Size::Mtu => Some(&mut self.mtu),
            Size::Fragmented => Some(&mut self.fragmented),
        }
    }

    /// A large heartbeat left.
    pub fn on_sent(&mut self, size: Size, seq: u64, bytes: u16, at: Nanos) {
        if let Some(track) = self.track_mut(size) {
            track.on_sent(seq, bytes, at);
        }
    }

    /// The peer says what it heard.
    pub fn on_heard(&mut self, heard: &[LargeHeard], probe: Option<SizeProbe>) {
        for heard in heard {
            if let Some(track) = self.track_mut(heard.size) {
                track.on_heard(heard);
            }
        }
        let asked = |search: &Search| Some(SizeProbe { id: search.id, bytes: search.bytes() });
        if let Some(search) = self.search.as_mut().filter(|search| probe.is_some() && asked(search) == probe) {
            search.low = search.bytes();
            search.ask_next();
        }
    }

    /// A router (or this host's own kernel) said at `at` that no more than `mtu` bytes pass.
    pub fn on_path_mtu(&mut self, mtu: u16, at: Nanos) {
        self.path_mtu = Some((mtu, at));
        // What was lost is explained, and the next one is smaller.
        self.mtu.forgive();
    }

    /// What a router on the way said of its MTU, while that holds.
    #[must_use]
    pub fn path_mtu(&self, now: Nanos) -> Option<u16> {
        self.path_mtu.filter(|(_, at)| at.plus(PATH_MTU_HOLDS) > now).map(|(mtu, _)| mtu)
    }

    /// The peer counts anew.
    pub fn begin_anew(&mut self) {
        self.forgive();
        (self.mtu.before, self.fragmented.before) = (None, None);
        self.end_search();
    }

    /// Small ones were lost as well: large ones that are missing now are no loss by size.
    pub fn forgive(&mut self) {
        self.mtu.forgive();
        self.fragmented.forgive();
    }

    /// The sizes whose turn it is at `now`.
    pub fn due(&self, now: Nanos) -> impl Iterator<Item = Size> {
        let due = move |size: &Size| self.track(*size).is_some_and(|track| track.is_due(now));
        [Size::Mtu, Size::Fragmented].into_iter().filter(due)
    }

    /// Whether the newest of that size is not heard of yet: then the next one does not wait for its turn.
    #[must_use]
    pub fn is_doubtful(&self, size: Size) -> bool {
        self.track(size).is_some_and(|track| !track.unheard.is_empty())
    }

    /// What is missing of what left before `until`, where both sizes are decided: by `misses` in a row, which follow what is
    /// lost of small ones, or by one that passed since, and no later than two of the other size that are missing: where a hole
    /// heals, one of them passes first, and one that follows it may be late.
    #[must_use]
    pub fn holes(&self, until: Nanos, misses: u32) -> Option<Holes> {
        let mtu = self.mtu.missing(until) >= misses.max(FEWEST_MISSES);
        // Two fragments are lost about twice as often as one packet.
        let fragmented = self.fragmented.missing(until) >= misses.max(FEWEST_MISSES) * 2;
        let since = |lost: bool, track: &LargeTrack| track.missing_since().filter(|_| lost);
        let since = [since(mtu, &self.mtu), since(fragmented, &self.fragmented)].into_iter().flatten().min()?;
        let passes = |track: &LargeTrack, other: &LargeTrack| {
            track.last_passed.is_some_and(|at| at > since && other.missing_from(at, until) >= FEWEST_LATER)
        };
        if !(mtu || passes(&self.mtu, &self.fragmented)) || !(fragmented || passes(&self.fragmented, &self.mtu)) {
            return None;
        }
        let reason = match (mtu, fragmented) {
            (true, true) => HoleReason::DfDropped,
            (true, false) => HoleReason::FragNeededLost,
            (false, _) => HoleReason::FragmentsLost,
        };
        let word_may_come = reason == HoleReason::FragNeededLost && since.plus(ROUTERS_WORD) > until;
        (!word_may_come).then_some(Holes { since, reason })
    }

    /// When the newest large heartbeat left of those sizes that `reason` says vanish, where one of each passed since `since`, and
    /// none is missing of what left before `until`: of what left later the peer cannot have told yet.
    #[must_use]
    pub fn passed_since(&self, reason: HoleReason, since: Nanos, until: Nanos) -> Option<Nanos> {
        let passed = |track: &LargeTrack| track.last_passed.filter(|at| *at > since && track.missing(until) == 0);
        match reason {
            HoleReason::DfDropped => Some(passed(&self.mtu)?.max(passed(&self.fragmented)?)),
            HoleReason::FragNeededLost => passed(&self.mtu),
            HoleReason::FragmentsLost => passed(&self.fragmented),
        }
    }

    /// Begins to look for the largest size that passes; where whole packets of the MTU do, there is nothing to look for.
    pub fn search(&mut self) {
        if self.search.is_none() && self.mtu.bytes > FLOOR {
            self.next_id = self.next_id.wrapping_add(1);
            let (low, high) = (FLOOR, self.mtu.bytes);
            self.search = Some(Search { low, high, id: self.next_id, attempts: 0, last_sent: None });
        }
    }

    /// The search is over, or of no use any more.
    pub fn end_search(&mut self) {
        if let Some(search) = self.search.take() {
            self.next_id = search.id;
        }
    }

    /// The largest that passes, once it is known.
    #[must_use]
    pub fn passes(&self) -> Option<u16> {
        self.search.and_then(|search| search.found())
    }

    /// The probe to send at `now`, if one is due; probes are `interval` apart, since the answer comes with a heartbeat.
    #[must_use]
    pub fn probe(&self, now: Nanos, interval: Duration) -> Option<SizeProbe> {
        let search = self.search.filter(|search| search.found().is_none() && search.attempts < ATTEMPTS)?;
        let due = search.last_sent.is_none_or(|at| at.plus(interval / 2) <= now);
        due.then(|| SizeProbe { id: search.id, bytes: search.bytes() })
    }

    /// A probe left.
    pub fn on_probe_sent(&mut self, probe: SizeProbe, at: Nanos) {
        if let Some(search) = self.search.as_mut().filter(|search| search.id == probe.id) {
            search.attempts += 1;
            search.last_sent = Some(at);
        }
    }

    /// The peer heard small heartbeats that left up to `until`: a question that left before, as often as it is asked, has its
    /// answer.
    pub fn conclude(&mut self, until: Nanos) {
        let Some(search) = &mut self.search else { return };
        let all_left = search.attempts >= ATTEMPTS && search.last_sent.is_some_and(|at| at < until);
        if all_left && search.found().is_none() {
            search.high = search.bytes();
            search.ask_next();
        }
    }

    /// What the peer is told of the way to it.
    #[must_use]
    pub fn report(&self, reason: HoleReason) -> HoleReport {
        let passes = if reason == HoleReason::FragmentsLost { Some(self.mtu.bytes) } else { self.passes() };
        HoleReport { reason, passes }
    }
}

#[cfg(test)]
mod tests;
