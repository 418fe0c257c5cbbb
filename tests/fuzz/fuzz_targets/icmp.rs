//! No packet makes the reader of echo replies panic, and only those with our identifier are ours.
#![no_main]

use lacuna::heartbeat::icmp::{parse_reply, parse_reply_v6};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| {
    let ours = parse_reply(packet, 0x4c43);
    assert!(ours.is_none() || parse_reply(packet, 0x4c44).is_none());
    let ours = parse_reply_v6(packet, 0x4c43);
    assert!(ours.is_none() || parse_reply_v6(packet, 0x4c44).is_none());
});
