//! A heartbeat as it was told up to version 3: by how it differs from the one before in what always does.

use super::fields::{self, Unreadable, sum};
use super::tale;
use crate::evidence::{FlowReport, Heard, Heartbeat, LargeHeard, OtherViews, PeerView};
use crate::time::{Nanos, WallNanos};

/// Makes `before` the heartbeat that these bytes tell, in its place; `telling` where stories come after it.
pub(super) fn restore(before: &mut Heartbeat, telling: bool, bytes: &mut &[u8]) -> Result<(), Unreadable> {
    before.seq = sum(before.seq, fields::step(bytes)?);
    before.sent_at = Nanos(sum(before.sent_at.0, fields::step(bytes)?));
    before.sent_wall = WallNanos(sum(before.sent_wall.0, fields::step(bytes)?));
    let heard = before.heard.unwrap_or_default();
    before.heard = fields::optional(bytes, |bytes| {
        Ok(Heard {
            incarnation: sum(heard.incarnation, fields::step(bytes)?),
            seq: sum(heard.seq, fields::step(bytes)?),
            count: sum(heard.count, fields::step(bytes)?),
            age: fields::duration(bytes)?,
        })
    })?;
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
