//! Order statistics.

/// The middle of the values; absent where there are none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        return sorted.get(middle).copied();
    }
    let (low, high) = (sorted.get(middle.checked_sub(1)?)?, sorted.get(middle)?);
    Some(f64::midpoint(*low, *high))
}

/// The least and the greatest of the values; absent where there are none.
pub(crate) fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let sorted = sorted(values);
    Some((*sorted.first()?, *sorted.last()?))
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<_> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ranges() {
        let check = |values: &[f64], middle, ends| {
            assert_eq!(median(values.iter().copied()), middle);
            assert_eq!(range(values.iter().copied()), ends);
        };
        check(&[], None, None);
        check(&[3.0, 1.0, 2.0], Some(2.0), Some((1.0, 3.0)));
        check(&[4.0, 1.0, 2.0, 3.0], Some(2.5), Some((1.0, 4.0)));
    }
}
