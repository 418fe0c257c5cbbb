//! No packets make the check of tags and numbers panic, and none counts twice.
//!
//! A packet of the input begins with a byte that says whether it gets the right tag.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use lacuna::heartbeat::keys::{KeyRing, Keys};
use lacuna::heartbeat::seal::Seal;
use lacuna_core::time::WallNanos;
use libfuzzer_sys::fuzz_target;

#[path = "../support/pieces.rs"]
mod pieces;

const KEYS: &[u8] = b"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\nCAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=\n";
const NOW: WallNanos = WallNanos(1_800_000_000_000_000_000);

fuzz_target!(|input: &[u8]| {
    let keys = Keys::parse(KEYS, Path::new("keys")).expect("two keys");
    let ring = Arc::new(KeyRing::new(Some(keys)));
    let (sender, mut receiver) = (Seal::new("a", 9, Arc::clone(&ring)), Seal::new("b", 7, ring));
    for piece in pieces::pieces(input) {
        let Some((tagged, body)) = piece.split_first() else { continue };
        let mut packet = body.to_vec();
        if tagged & 1 == 1 {
            sender.put("b", &mut packet);
        }
        let counts = receiver.open("a", &packet, NOW).is_ok();
        assert!(!counts || tagged & 1 == 1, "a packet without the key counts");
        assert!(receiver.open("a", &packet, NOW).is_err(), "a packet counts twice");
    }
});
