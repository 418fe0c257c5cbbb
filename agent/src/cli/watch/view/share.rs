//! Who gets how many rows.

/// The least rows of each list: its title, its headings and one entry.
const LEAST: [usize; 3] = [3, 3, 2];

/// Shares `room` rows among incidents, peers and this host, of which each wants so many: whoever wants most gives way, and where
/// there is not room for the least of all, the last ones get none.
pub(super) fn share(room: usize, wants: [usize; 3]) -> [usize; 3] {
    let mut got = wants;
    for last in (1..got.len()).rev() {
        if least(&got) > room {
            got[last] = 0;
        }
    }
    while got.iter().sum::<usize>() > room {
        let above = (0..got.len()).filter(|place| got[*place] > LEAST[*place]);
        match above.max_by_key(|place| got[*place]) {
            Some(place) => got[place] -= 1,
            // Not even the first one has its least.
            None => return [room.min(got[0]), 0, 0],
        }
    }
    got
}

fn least(got: &[usize; 3]) -> usize {
    got.iter().zip(LEAST).map(|(got, least)| (*got).min(least)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_wants_most_gives_way() {
        for (room, wants, expected) in [
            (30, [4, 5, 3], [4, 5, 3]),
            (20, [200, 5, 3], [12, 5, 3]),
            (20, [4, 60, 3], [4, 13, 3]),
            (20, [200, 60, 20], [7, 7, 6]),
            (8, [200, 60, 20], [3, 3, 2]),
            (7, [200, 60, 20], [4, 3, 0]),
            (5, [200, 60, 20], [5, 0, 0]),
            (2, [200, 60, 20], [2, 0, 0]),
        ] {
            assert_eq!(share(room, wants), expected, "{room} {wants:?}");
        }
    }

    #[test]
    fn never_more_than_there_is() {
        for room in 0..40 {
            for wants in [[3, 3, 2], [200, 3, 2], [3, 1000, 2], [3, 3, 64], [100, 100, 100]] {
                assert!(share(room, wants).iter().sum::<usize>() <= room, "{room} {wants:?}");
            }
        }
    }
}
