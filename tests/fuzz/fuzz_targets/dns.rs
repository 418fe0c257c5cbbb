//! No answer of a name server makes us panic, and the peers that it gives are not more than may be, each once.
#![no_main]

use std::collections::BTreeSet;

use lacuna::config::MAX_PEERS;
use lacuna::discovery::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| {
    let peers = fuzzing::answer(answer).unwrap_or_default();
    let names: BTreeSet<_> = peers.iter().map(|peer| &peer.name).collect();
    assert!(peers.len() <= MAX_PEERS && names.len() == peers.len());
});
