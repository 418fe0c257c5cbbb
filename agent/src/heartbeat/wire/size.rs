//! What hosts tell each other of the sizes of their packets, on the wire.

use std::time::Duration;

use bytes::{Buf, BufMut};
use lacuna_core::evidence::{FlowReport, HoleReason, HoleReport, LargeHeard, Size, SizeProbe};
use lacuna_core::time::nanos;

use super::{HEARTBEAT, LARGE_FRAGMENTED, LARGE_MTU, WireError};

pub(super) const NOT_KNOWN: u64 = u64::MAX;

pub(super) fn put_large(out: &mut Vec<u8>, large: &LargeHeard) {
    out.put_u8(if large.size == Size::Mtu { LARGE_MTU } else { LARGE_FRAGMENTED });
    out.put_u64(large.seq);
    out.put_u64(large.count);
}

pub(super) fn get_large(from: &mut &[u8]) -> Result<LargeHeard, WireError> {
    let size = match from.try_get_u8()? {
        LARGE_MTU => Size::Mtu,
        LARGE_FRAGMENTED => Size::Fragmented,
        _ => return Err(WireError::Range),
    };
    Ok(LargeHeard { size, seq: from.try_get_u64()?, count: from.try_get_u64()? })
}

pub(super) fn put_flow(out: &mut Vec<u8>, flow: &FlowReport) {
    out.put_u8(match flow.size {
        Size::Small => HEARTBEAT,
        Size::Mtu => LARGE_MTU,
        Size::Fragmented => LARGE_FRAGMENTED,
    });
    out.put_u64(flow.duplicates);
    out.put_u64(flow.reordered);
    out.put_u64(flow.variation.map_or(NOT_KNOWN, |variation| nanos(variation).min(NOT_KNOWN - 1)));
}

pub(super) fn get_flow(from: &mut &[u8]) -> Result<FlowReport, WireError> {
    let size = match from.try_get_u8()? {
        HEARTBEAT => Size::Small,
        LARGE_MTU => Size::Mtu,
        LARGE_FRAGMENTED => Size::Fragmented,
        _ => return Err(WireError::Range),
    };
    let (duplicates, reordered) = (from.try_get_u64()?, from.try_get_u64()?);
    let variation = Some(from.try_get_u64()?).filter(|ns| *ns != NOT_KNOWN).map(Duration::from_nanos);
    Ok(FlowReport { size, duplicates, reordered, variation })
}

pub(super) fn put_probe(out: &mut Vec<u8>, probe: SizeProbe) {
    out.put_u32(probe.id);
    out.put_u16(probe.bytes);
}

pub(super) fn get_probe(from: &mut &[u8]) -> Result<SizeProbe, WireError> {
    Ok(SizeProbe { id: from.try_get_u32()?, bytes: from.try_get_u16()? })
}

pub(super) fn put_hole(out: &mut Vec<u8>, hole: HoleReport) {
    out.put_u8(reason_code(hole.reason));
    out.put_u16(hole.passes.unwrap_or(0));
}

pub(super) fn get_hole(from: &mut &[u8]) -> Result<HoleReport, WireError> {
    let reason = reason_of(from.try_get_u8()?)?;
    let passes = Some(from.try_get_u16()?).filter(|passes| *passes > 0);
    Ok(HoleReport { reason, passes })
}

fn reason_code(reason: HoleReason) -> u8 {
    match reason {
        HoleReason::DfDropped => 1,
        HoleReason::FragmentsLost => 2,
        HoleReason::FragNeededLost => 3,
    }
}

fn reason_of(code: u8) -> Result<HoleReason, WireError> {
    match code {
        1 => Ok(HoleReason::DfDropped),
        2 => Ok(HoleReason::FragmentsLost),
        3 => Ok(HoleReason::FragNeededLost),
        _ => Err(WireError::Range),
    }
}
