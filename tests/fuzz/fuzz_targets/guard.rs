//! No claims make the guard against replays panic, and none counts twice.
#![no_main]

use lacuna_core::guard::{Claim, Guard, KINDS};
use lacuna_core::time::WallNanos;
use libfuzzer_sys::fuzz_target;

/// Bytes of a claim: boot, start, kind, number, what it has, wall clock, echo, and this host's clock.
const BYTES: usize = 1 + 8 + 1 + 8 + 1 + 8 + 8 + 8;

fuzz_target!(|input: &[u8]| {
    let mut guard = Guard::default();
    for (bytes, _) in input.chunks_exact(BYTES).zip(0..1000) {
        let number = |at: usize| u64::from_be_bytes(*bytes[at..].first_chunk().expect("a whole claim"));
        let has = bytes[18];
        let claim = Claim {
            start: ([bytes[0] & 3; 16], number(1)),
            kind: usize::from(bytes[9]) % (KINDS + 1),
            seq: number(10),
            wall: (has & 1 == 1).then_some(WallNanos(number(19))),
            echo: (has & 2 == 2).then_some(number(27)),
        };
        let now = WallNanos(number(35));
        if guard.take(&claim, now).is_ok() {
            assert!(guard.take(&claim, now).is_err(), "{claim:?} counts twice");
        }
    }
});
