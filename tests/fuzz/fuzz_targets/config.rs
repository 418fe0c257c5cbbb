//! No configuration makes its reader panic; what it accepts has only what is allowed, and what it refuses it says why.
#![no_main]

use std::time::Duration;

use lacuna::config::{Config, MAX_PEERS, MAX_VIPS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Config::parse(text, "lacuna.toml") {
        Ok(config) => {
            assert!(config.peers.len() <= MAX_PEERS && config.watch.vips.len() <= MAX_VIPS);
            assert!(config.heartbeat.interval >= Duration::from_millis(10));
            assert!(config.thresholds.gap >= config.heartbeat.interval * 2);
        }
        Err(error) => assert!(error.to_string().contains("lacuna.toml")),
    }
});
