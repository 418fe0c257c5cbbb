//! No stream of events makes its reader panic, and no two incidents come from one line.
#![no_main]

use lacuna::cli::fuzzing::events;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    if let Ok((incidents, lost)) = events(stream) {
        let lines = stream.split(|byte| *byte == b'\n').count();
        assert!(incidents.len() + lost < lines, "{} incidents, {lost} losses, {lines} lines", incidents.len());
    }
});
