//! No recording makes the replay panic, and the same one always says the same.
#![no_main]

use lacuna_core::recording::replay;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let said = replay(text);
    assert_eq!(said, replay(text));
});
