//! No recording makes the replay panic, and the same one always says the same.
#![no_main]

use lacuna_core::recording::{Options, replay};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let said = replay(bytes, &Options::default());
    assert_eq!(said, replay(bytes, &Options::default()));
});
