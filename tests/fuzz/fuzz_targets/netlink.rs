//! No datagram of netlink makes us panic, and what is said of others is said of peers.
#![no_main]

use lacuna::link_state::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let (facts, _) = fuzzing::datagram(datagram).expect("netlink");
    assert!(facts.iter().all(|(host, _)| host == "me" || host == "lb1"));
});
