//! The brain of Lacuna: evidence in, incidents out.
//!
//! This crate has no senses: no clock, no socket, no thread, no async; its `Cargo.toml` is the proof. Live
//! operation, replay and the tests are drivers of the same [`engine::Engine`].

pub mod account;
pub mod clock_track;
pub mod completeness;
pub mod cpu;
pub mod document;
pub mod engine;
pub mod evidence;
pub mod flow;
pub mod gap;
pub mod guard;
pub mod hole;
pub mod incident;
pub mod io;
pub mod last_seen;
pub mod load;
pub mod loss;
pub mod own;
pub mod peer;
pub mod recording;
pub mod recurrence;
pub mod rules;
pub mod settings;
pub mod sizes;
pub mod stories;
pub mod time;
pub mod trace;
pub mod views;
pub mod vip;

mod received;
