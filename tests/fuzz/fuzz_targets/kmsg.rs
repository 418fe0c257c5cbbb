//! No record of the kernel's log makes the reader panic, and what it keeps is short.
#![no_main]

use lacuna::host::kmsg::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &str| {
    if let Some(message) = parse(record) {
        assert!(message.text.chars().count() <= 200);
    }
});
