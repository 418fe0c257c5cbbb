//! No packet makes the decoder panic, and what it accepts is written again as it was read.
#![no_main]

use lacuna::heartbeat::wire::{Message, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| {
    let Ok((name, Message::Heartbeat(beat))) = decode(packet) else { return };
    let mut again = Vec::new();
    encode(&name, &beat, &mut again).expect("what was read can be written");
    assert_eq!(decode(&again), Ok((name, Message::Heartbeat(beat))));
});
