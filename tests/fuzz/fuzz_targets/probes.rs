//! Nothing that the kernel's maps and ring buffers hold makes the decoder panic.
#![no_main]

use lacuna::probes::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((ahead, bytes)) = input.split_first_chunk() else { return };
    let ahead = u64::from_ne_bytes(*ahead);
    let _ = fuzzing::event(bytes, ahead);
    let _ = fuzzing::retransmit_key(bytes);
    let number = bytes.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    assert!(!fuzzing::reason(number).is_empty());
});
