//! The agent: senses, one driver loop around the engine, and what comes out.

pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod cpus;
pub mod discovery;
pub mod driver;
pub mod export;
pub mod heartbeat;
pub mod host;
pub mod link;
pub mod link_state;
mod memory;
pub mod probes;
pub mod recent;
mod reception;
pub mod recorder;
#[cfg(test)]
pub(crate) mod samples;
pub mod shared;
pub mod sights;
pub mod store;
pub mod traces;
pub mod web;
