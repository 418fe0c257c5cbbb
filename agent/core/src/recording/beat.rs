//! A heartbeat as it was told up to version 3: by how it differs from the one before in what always does.

use std::time::Duration;

use super::fields::{self, Unreadable, sum};
use super::tale;
use crate::evidence::{FlowReport, Heard, Heartbeat, LargeHeard, OtherViews, PeerView};
use crate::time::{Nanos, WallNanos};

/// Makes `before` the heartbeat that these bytes tell, in its place; `telling` where stories come after it.
pub(super) fn restore(before: &mut Heartbeat, telling: bool, bytes: &mut &[u8]) -> Result<(), Unreadable> {
    before.seq = sum(before.seq, fields::step(bytes)?);
    before.sent_at = Nanos(sum(before.sent_at.0, fields::step(bytes)?));
    before.sent_wall = WallNanos(sum(before.sent_wall.0, fields::step(bytes)?));
    before.heard = heard(before.heard, fields::duration, bytes)?;
    before.views.clear();
    for _ in 0..fields::number(bytes)? {
        before.views.push(PeerView {
            peer: fields::number(bytes)?,
            heard_age: fields::optional(bytes, fields::duration)?,
            kernel_answers: fields::optional(bytes, fields::flag)?,
            heard_for: fields::optional(bytes, fields::duration)?,
        });
    }
    let all = before.others.unwrap_or_default().all;
    before.others = fields::optional(bytes, |bytes| {
        Ok(OtherViews { heard_within: fields::duration(bytes)?, all: sum(all, fields::step(bytes)?) })
    })?;
    for place in 0..fields::number(bytes)? {
        let (size, seq, count) = (fields::take(bytes)?, fields::step(bytes)?, fields::step(bytes)?);
        if let Some(large) = usize::try_from(place).ok().and_then(|place| before.large.get_mut(place)) {
            *large = LargeHeard { size, seq: sum(large.seq, seq), count: sum(large.count, count) };
        }
    }
    before.flows.clear();
    for _ in 0..fields::number(bytes)? {
        before.flows.push(FlowReport {
            size: fields::take(bytes)?,
            duplicates: fields::number(bytes)?,
            reordered: fields::number(bytes)?,
            variation: fields::optional(bytes, fields::duration)?,
        });
    }
    before.stories.clear();
    if telling {
        tale::read(bytes, &mut before.stories)?;
    }
    Ok(())
}

/// What a sender heard, by what it had heard `before`; each version has its own form of a time.
pub(super) fn heard(
    before: Option<Heard>,
    time: fn(&mut &[u8]) -> Result<Duration, Unreadable>,
    bytes: &mut &[u8],
) -> Result<Option<Heard>, Unreadable> {
    let before = before.unwrap_or_default();
    fields::optional(bytes, |bytes| {
        Ok(Heard {
            incarnation: sum(before.incarnation, fields::step(bytes)?),
            seq: sum(before.seq, fields::step(bytes)?),
            count: sum(before.count, fields::step(bytes)?),
            age: time(bytes)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evidence::{Scope, Size, StoryKind};
    use crate::recording::tale::Tale;

    type Heard = Option<(i64, i64, i64, Duration)>;
    type View = (u64, Option<Duration>, Option<bool>, Option<Duration>);
    type Flow = (Size, u64, u64, Option<Duration>);

    /// What version 3 wrote, field by field.
    type Written =
        (i64, i64, i64, Heard, Vec<View>, Option<(Duration, i64)>, Vec<(Size, i64, i64)>, Vec<Flow>, Vec<Tale>);

    proptest! {
        #[test]
        fn what_version_3_wrote_is_read(long: u64, step in -300..300_i64, on: Option<bool>, count in 0..3_usize) {
            let time = Duration::from_nanos(long);
            let size = if on.is_some() { Size::Mtu } else { Size::Fragmented };
            let tale = (7, time, on.map(|_| time), on == Some(true), StoryKind::Loss, Scope::Path, long, on.map(|_| 5));
            let written: Written = (
                step,
                step,
                i64::MIN,
                on.map(|_| (step, 1, -1, time)),
                vec![(long, on.map(|_| time), on, Some(time)); count],
                on.map(|_| (time, step)),
                vec![(size, step, 2); count],
                vec![(size, long, 3, on.map(|_| time)); count],
                vec![tale; count],
            );
            let mut bytes = postcard::to_stdvec(&written).unwrap();
            bytes.push(9);
            let large = LargeHeard { size, seq: 1000, count: 1000 };
            let mut beat = Heartbeat { seq: 1000, large: vec![large; count], ..Heartbeat::default() };
            let mut rest = &bytes[..];
            restore(&mut beat, true, &mut rest).unwrap();
            prop_assert_eq!(rest, [9]);
            prop_assert_eq!((beat.seq, beat.sent_at.0), (sum(1000, step), sum(0, step)));
            prop_assert_eq!(beat.heard.map(|heard| (heard.seq, heard.count, heard.age)), on.map(|_| (1, u64::MAX, time)));
            let view = PeerView { peer: long, heard_age: on.map(|_| time), kernel_answers: on, heard_for: Some(time) };
            prop_assert_eq!(beat.views, vec![view; count]);
            prop_assert_eq!(beat.others.map(|others| others.heard_within), on.map(|_| time));
            prop_assert_eq!(beat.large, vec![LargeHeard { seq: sum(1000, step), count: 1002, ..large }; count]);
            let flow = FlowReport { size, duplicates: long, reordered: 3, variation: on.map(|_| time) };
            prop_assert_eq!(beat.flows, vec![flow; count]);
            prop_assert_eq!(beat.stories.iter().map(|story| (story.host, story.age)).collect::<Vec<_>>(), vec![(long, time); count]);
        }
    }
}
