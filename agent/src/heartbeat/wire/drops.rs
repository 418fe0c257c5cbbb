//! What a host's kernel drops of heartbeats, on the wire.

use bytes::{Buf, BufMut};
use lacuna_core::evidence::{KernelDrops, MAX_REASON, Way, named};

use super::WireError;

pub(super) fn put(out: &mut Vec<u8>, drops: &KernelDrops) {
    drops.counts().into_iter().for_each(|count| out.put_u64(count));
    for way in [Way::In, Way::Out] {
        let reason = drops.reason(way).and_then(named).unwrap_or_default();
        out.put_u8(u8::try_from(reason.len()).unwrap_or_default());
        out.put_slice(reason.as_bytes());
    }
}

pub(super) fn get(from: &mut &[u8]) -> Result<KernelDrops, WireError> {
    let (received, sent, refused) = (from.try_get_u64()?, from.try_get_u64()?, from.try_get_u64()?);
    let (received_for, sent_for) = (get_reason(from)?, get_reason(from)?);
    Ok(KernelDrops { received, received_for, sent, sent_for, refused })
}

fn get_reason(from: &mut &[u8]) -> Result<Option<String>, WireError> {
    let length = usize::from(from.try_get_u8()?);
    if length == 0 {
        return Ok(None);
    }
    let mut bytes = [0; MAX_REASON];
    let name = bytes.get_mut(..length).ok_or(WireError::Range)?;
    from.try_copy_to_slice(name)?;
    let reason = std::str::from_utf8(name).ok().and_then(named).ok_or(WireError::Range)?;
    Ok(Some(reason.to_owned()))
}
