//! No frame makes the readers of ARP and neighbour advertisements panic, and what they accept has one sender.
#![no_main]

use lacuna::link::{arp, ndp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    for seen in [arp::seen(frame, Default::default()), ndp::seen(frame, Default::default())].into_iter().flatten() {
        assert!(seen.link.is_of_one() && !seen.address.is_multicast());
    }
});
