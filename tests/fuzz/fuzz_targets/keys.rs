//! No text makes the reader of key files panic, and the keys that it accepts verify what they sign.
#![no_main]

use std::path::Path;

use lacuna::heartbeat::keys::Keys;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    match Keys::parse(text, Path::new("keys")) {
        Ok(keys) => {
            let tag = keys.sign("b", text);
            assert!(keys.verify("b", text, &tag) && !keys.verify("c", text, &tag));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
