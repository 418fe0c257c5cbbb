use super::*;

const INTERVAL: Duration = Duration::from_millis(100);
/// How long a peer's word takes.
const WORD: Duration = Duration::from_millis(300);

/// A path to a peer: which packets pass.
struct Path {
    sizes: Sizes,
    heard: [(u64, u64); 2],
    probe: Option<SizeProbe>,
    now: Nanos,
    largest: u16,
    fragments_pass: bool,
}

impl Path {
    fn new(largest: u16, fragments_pass: bool) -> Self {
        let mut path = Self {
            sizes: Sizes::default(),
            heard: [(0, 0); 2],
            probe: None,
            now: Nanos(1_000_000_000),
            largest: u16::MAX,
            fragments_pass: true,
        };
        path.run(3);
        (path.largest, path.fragments_pass) = (largest, fragments_pass);
        path
    }

    /// So many seconds, tick by tick.
    fn run(&mut self, seconds: u32) {
        for _ in 0..seconds * 10 {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.now = self.now.plus(INTERVAL);
        self.sizes.conclude(self.now.minus(WORD));
        for size in self.sizes.due(self.now).collect::<Vec<_>>() {
            let (place, bytes, passes) = match size {
                Size::Fragmented => (1, 2000, self.fragments_pass),
                _ => (0, 1500, self.largest >= 1500),
            };
            let seq = self.sizes.track(size).map_or(0, |track| track.sent) + 1;
            self.sizes.on_sent(size, seq, bytes, self.now);
            if passes {
                self.heard[place] = (seq, self.heard[place].1 + 1);
            }
        }
        if let Some(probe) = self.sizes.probe(self.now, INTERVAL) {
            self.sizes.on_probe_sent(probe, self.now);
            if probe.bytes <= self.largest {
                self.probe = Some(probe);
            }
        }
        let word = |size, (seq, count)| LargeHeard { size, seq, count };
        let heard = [word(Size::Mtu, self.heard[0]), word(Size::Fragmented, self.heard[1])];
        self.sizes.on_heard(&heard, self.probe);
    }

    fn reason(&self) -> Option<HoleReason> {
        self.sizes.holes(self.now.minus(WORD), 0).map(|holes| holes.reason)
    }
}

#[test]
fn a_sound_path_has_no_hole() {
    let mut path = Path::new(u16::MAX, true);
    path.run(30);
    assert_eq!(path.reason(), None);
    assert_eq!((path.sizes.mtu.sent, path.sizes.mtu.lost), (33, 0), "one a second");
}

#[test]
fn which_sizes_vanish_tells_why() {
    for (largest, fragments_pass, reason) in [
        (1400, false, HoleReason::DfDropped),
        (1400, true, HoleReason::FragNeededLost),
        (1500, false, HoleReason::FragmentsLost),
    ] {
        let mut path = Path::new(largest, fragments_pass);
        path.run(5);
        assert_eq!(path.reason(), Some(reason));
    }
}

#[test]
fn the_largest_that_passes_is_found_to_the_byte() {
    for largest in [FLOOR, 576, 1280, 1400, 1472, 1498, 1499] {
        let mut path = Path::new(largest, false);
        path.run(3);
        path.sizes.search();
        path.run(10);
        assert_eq!(path.sizes.passes(), Some(largest));
    }
}

#[test]
fn a_word_of_a_router_explains_what_is_lost() {
    let mut path = Path::new(1400, true);
    path.run(1);
    path.sizes.on_path_mtu(1400, path.now);
    assert_eq!(path.sizes.path_mtu(path.now), Some(1400));
    assert_eq!(path.sizes.path_mtu(path.now.plus(PATH_MTU_HOLDS)), None);
    assert_eq!(path.reason(), None);
}

#[test]
fn a_routers_word_may_take_its_time() {
    let mut path = Path::new(1400, true);
    path.run(2);
    assert!(path.sizes.is_doubtful(Size::Mtu));
    assert_eq!(path.reason(), None, "it may have told others first");
    path.run(3);
    assert_eq!(path.reason(), Some(HoleReason::FragNeededLost));
}

#[test]
fn what_was_lost_with_everything_else_is_no_hole() {
    let mut path = Path::new(100, false);
    path.run(2);
    path.sizes.forgive();
    assert_eq!(path.reason(), None);
}

#[test]
fn a_hole_that_heals_is_seen() {
    let mut path = Path::new(1400, false);
    path.run(3);
    let holes = path.sizes.holes(path.now.minus(WORD), 0).expect("a hole");
    assert_eq!(path.sizes.passed_since(holes.reason, holes.since, path.now), None);
    (path.largest, path.fragments_pass) = (u16::MAX, true);
    path.run(1);
    assert!(path.sizes.passed_since(holes.reason, holes.since, path.now).is_some());
    assert_eq!(path.reason(), None);
    path.sizes.on_sent(Size::Mtu, 99, 1500, path.now);
    let told = path.sizes.passed_since(holes.reason, holes.since, path.now.minus(INTERVAL));
    assert!(told.is_some(), "the peer cannot have told of one that left just now");
}

#[test]
fn a_size_that_passes_first_when_a_hole_heals_gives_it_no_other_reason() {
    for (first, ahead) in [(Size::Mtu, 100), (Size::Mtu, 200), (Size::Fragmented, 100), (Size::Fragmented, 200)] {
        let mut path = Path::new(1400, false);
        path.run(3);
        assert_eq!(path.reason(), Some(HoleReason::DfDropped));
        // The other one has just been sent.
        let waits = if first == Size::Mtu { &mut path.sizes.fragmented } else { &mut path.sizes.mtu };
        waits.last_sent = Some(path.now.minus(DOUBTFUL).plus(Duration::from_millis(ahead + 100)));
        let goes = if first == Size::Mtu { &mut path.sizes.mtu } else { &mut path.sizes.fragmented };
        goes.last_sent = Some(path.now.minus(DOUBTFUL));
        (path.largest, path.fragments_pass) = (u16::MAX, true);
        for _ in 0..10 {
            path.tick();
            let reason = path.reason();
            assert!(matches!(reason, None | Some(HoleReason::DfDropped)), "{first:?} {ahead}: {reason:?}");
        }
        assert_eq!(path.reason(), None);
    }
}

#[test]
fn one_that_is_late_when_a_hole_heals_gives_it_no_other_reason() {
    for first in [Size::Mtu, Size::Fragmented] {
        let mut path = Path::new(1400, false);
        path.run(3);
        // One passes, and the next of the other size follows it.
        let (goes, follows) = (Some(path.now.minus(DOUBTFUL)), Some(path.now.minus(DOUBTFUL).plus(INTERVAL)));
        let mtu_first = first == Size::Mtu;
        (path.sizes.mtu.last_sent, path.sizes.fragmented.last_sent) =
            if mtu_first { (goes, follows) } else { (follows, goes) };
        (path.largest, path.fragments_pass) = if mtu_first { (u16::MAX, false) } else { (1400, true) };
        for tick in 0..10 {
            if tick == 3 {
                (path.largest, path.fragments_pass) = (u16::MAX, true);
            }
            path.tick();
            let holes = path.sizes.holes(path.now.minus(INTERVAL), 0).map(|holes| holes.reason);
            assert!(matches!(holes, None | Some(HoleReason::DfDropped)), "{first:?} {tick}: {holes:?}");
        }
    }
}
