//! What a host sees of its peers, on the wire.

use std::time::Duration;

use bytes::{Buf, BufMut};
use lacuna_core::evidence::{OtherViews, PeerView};

use super::WireError;

pub(super) const NEVER: u32 = u32::MAX;
/// Bytes of a view.
pub(super) const BYTES: usize = 17;
/// Most bytes of what is said of the views that are not there.
pub(super) const OTHERS_BYTES: usize = 13;

pub(super) fn put(out: &mut Vec<u8>, view: &PeerView) {
    out.put_u64(view.peer);
    for time in [view.heard_age, view.heard_for] {
        let ms = time.map(|time| u32::try_from(time.as_millis()).unwrap_or(NEVER).min(NEVER - 1));
        out.put_u32(ms.unwrap_or(NEVER));
    }
    out.put_u8(view.kernel_answers.map_or(0, |answers| if answers { 1 } else { 2 }));
}

pub(super) fn get(from: &mut &[u8]) -> Result<PeerView, WireError> {
    let peer = from.try_get_u64()?;
    let mut time = || -> Result<Option<Duration>, WireError> {
        let ms = from.try_get_u32()?;
        Ok((ms != NEVER).then(|| Duration::from_millis(ms.into())))
    };
    let (heard_age, heard_for) = (time()?, time()?);
    let kernel_answers = match from.try_get_u8()? {
        0 => None,
        1 => Some(true),
        2 => Some(false),
        _ => return Err(WireError::Range),
    };
    Ok(PeerView { peer, heard_age, kernel_answers, heard_for })
}

pub(super) fn put_others(out: &mut Vec<u8>, others: Option<OtherViews>) {
    out.put_u8(u8::from(others.is_some()));
    if let Some(others) = others {
        out.put_u32(u32::try_from(others.heard_within.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX));
        out.put_u64(others.all);
    }
}

pub(super) fn get_others(from: &mut &[u8]) -> Result<Option<OtherViews>, WireError> {
    match from.try_get_u8()? {
        0 => Ok(None),
        1 => {
            let heard_within = Duration::from_millis(from.try_get_u32()?.into());
            Ok(Some(OtherViews { heard_within, all: from.try_get_u64()? }))
        }
        _ => Err(WireError::Range),
    }
}
