//! Landings as the kernel lays them out, whole and torn.

use lacuna_abi::{INTERRUPT_DEVICE, INTERRUPT_TIMER};

use super::*;

/// The words of `lacuna_abi::Landing`, written out by hand, with two frames.
fn bytes(finished: u64, started: u64, silence: u64, interrupt: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [finished, 5_000, silence] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(interrupt.to_ne_bytes());
    bytes.extend(41_u32.to_ne_bytes());
    bytes.extend(0xffff_ffff_8100_0010_u64.to_ne_bytes());
    bytes.extend(0xffff_ffff_8100_0020_u64.to_ne_bytes());
    bytes.resize(bytes.len() + (LANDING_FRAMES - 2) * size_of::<u64>(), 0);
    bytes.extend([1; CODE_BYTES]);
    bytes.extend([2; CODE_BYTES]);
    bytes.resize(bytes.len() + (LANDING_CODE - 2) * CODE_BYTES, 0);
    bytes.extend(started.to_ne_bytes());
    bytes
}

#[test]
fn a_landing_has_its_frames_and_their_code() {
    let expected = RawLanding {
        at: Nanos(6_000),
        silence: Duration::from_nanos(400),
        kind: LandingKind::Ended(Interrupt::Device(41)),
        frames: vec![0xffff_ffff_8100_0010, 0xffff_ffff_8100_0020],
        code: vec![[1; CODE_BYTES], [2; CODE_BYTES]],
    };
    assert_eq!(RawLanding::decode(&bytes(3, 3, 400, INTERRUPT_DEVICE), 1_000), Some(expected));
}

#[test]
fn without_a_silence_it_was_asked_for() {
    let landing = RawLanding::decode(&bytes(1, 1, 0, INTERRUPT_TIMER), 0).unwrap();
    assert_eq!((landing.kind, landing.silence), (LandingKind::Sample, Duration::ZERO));
}

#[test]
fn what_is_not_written_to_its_end_is_none() {
    assert_eq!(RawLanding::decode(&bytes(0, 0, 0, 0), 0), None, "never");
    assert_eq!(RawLanding::decode(&bytes(3, 4, 400, INTERRUPT_TIMER), 0), None, "right now");
    assert_eq!(RawLanding::decode(&bytes(3, 3, 400, 99), 0), None, "an unknown interrupt");
    let whole = bytes(3, 3, 400, INTERRUPT_TIMER);
    for length in 0..whole.len() {
        assert_eq!(RawLanding::decode(&whole[..length], 0), None, "{length} bytes");
    }
}
