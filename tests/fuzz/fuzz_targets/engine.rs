//! No heartbeats of a peer, at no times, make the engine panic or open a gap that it cannot close.
//!
//! A packet of the input begins with how long after the one before it came, in milliseconds (two bytes).
#![no_main]

use std::time::Duration;

use lacuna::heartbeat::wire::{Message, decode};
use lacuna_core::engine::{Engine, Me};
use lacuna_core::evidence::{Evidence, Fact, LargeHeartbeat, SizeProbe};
use lacuna_core::settings::Settings;
use lacuna_core::time::Nanos;
use libfuzzer_sys::fuzz_target;

#[path = "../support/pieces.rs"]
mod pieces;

/// An hour after the boot of this host.
const BEGIN: Nanos = Nanos(3_600_000_000_000);

fuzz_target!(|input: &[u8]| {
    let peers = vec!["a".to_owned(), "c".to_owned()];
    let mut engine = Engine::new(Settings { host: "b".into(), peers, ..Settings::default() }, Me::default());
    let mut now = BEGIN;
    for (piece, _) in pieces::pieces(input).zip(0..200) {
        let Some((later, packet)) = piece.split_first_chunk() else { continue };
        now = now.plus(Duration::from_millis(u16::from_be_bytes(*later).into()));
        if let Some(fact) = fact(packet) {
            engine.handle(Evidence::at("a", now, fact));
        }
        engine.handle_timeout(now);
        while engine.poll().is_some() {}
        for peer in ["a", "c"] {
            let beat = engine.heartbeat(peer, now);
            assert!(beat.is_some_and(|beat| beat.sent_at == now), "the engine has something to say to {peer}");
        }
    }
});

fn fact(packet: &[u8]) -> Option<Fact> {
    let bytes = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    Some(match decode(packet).ok()?.1 {
        Message::Heartbeat(beat) => Fact::Heartbeat(beat),
        Message::Large(large, _) => Fact::LargeHeartbeat(LargeHeartbeat { bytes, ..large }),
        Message::Probe { id, .. } => Fact::SizeProbe(SizeProbe { id, bytes }),
    })
}
