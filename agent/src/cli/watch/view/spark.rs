//! Bars of the last minutes.

use std::time::Duration;

use crate::recent::SLOTS;

/// From the lowest to the highest.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// What is shorter is the lowest bar; each further one is twice as long. With heartbeats each 100 ms one that is missed is the
/// second bar, and an incident (300 ms) the third.
pub(super) const LOWEST: Duration = Duration::from_millis(150);

/// A bar for each slot, the newest at the right; where there is room for fewer, several slots share one and the longest counts.
/// As wide as five minutes are, also where less is known.
pub(super) fn bars(slots: &[Duration], width: usize) -> String {
    let each = SLOTS.div_ceil(width.max(1)).max(1);
    let mut bars: Vec<char> = slots.rchunks(each).map(|slots| bar(slots.iter().max())).collect();
    bars.reverse();
    let unknown = SLOTS.div_ceil(each).saturating_sub(bars.len());
    std::iter::repeat_n(' ', unknown).chain(bars).collect()
}

fn bar(longest: Option<&Duration>) -> char {
    let longest = longest.copied().unwrap_or_default();
    let above = (0..).take(BARS.len() - 1).filter(|doubled| longest >= LOWEST * 2_u32.pow(*doubled)).count();
    BARS[above]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(ms: &[u64]) -> Vec<Duration> {
        ms.iter().map(|ms| Duration::from_millis(*ms)).collect()
    }

    #[test]
    fn each_bar_is_twice_the_one_before() {
        let lengths = slots(&[0, 149, 150, 299, 300, 600, 1200, 2400, 4800, 9600, 1_000_000]);
        assert_eq!(bars(&lengths, 60).trim_start(), "▁▁▂▂▃▄▅▆▇██");
    }

    #[test]
    fn the_newest_is_at_the_right_and_what_is_not_known_is_empty() {
        assert_eq!(bars(&slots(&[100, 10_000]), 60), format!("{}▁█", " ".repeat(58)));
        assert_eq!(bars(&[], 60), " ".repeat(60));
        assert_eq!(bars(&slots(&[100; 60]), 100), "▁".repeat(60), "no wider than it is long");
    }

    #[test]
    fn slots_that_share_a_bar_count_with_the_longest() {
        let mut minutes = slots(&[100; 60]);
        minutes[0] = Duration::from_secs(10);
        minutes[59] = Duration::from_millis(700);
        assert_eq!(bars(&minutes, 10), "█▁▁▁▁▁▁▁▁▄");
        assert_eq!(bars(&minutes, 7), "█▁▁▁▁▁▄", "60 slots, nine in each bar");
        assert_eq!(bars(&minutes, 0), "█");
    }
}
