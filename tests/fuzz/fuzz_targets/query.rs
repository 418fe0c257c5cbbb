//! No question for incidents makes its reader panic; what it accepts is bounded, and what it refuses it says in one plain line.
#![no_main]

use std::time::{Duration, SystemTime};

use lacuna::store::MAX_LIMIT;
use lacuna::web::fuzzing::query;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000);
    match query(text, now) {
        Ok(query) => {
            assert!((1..=MAX_LIMIT).contains(&query.limit), "{}", query.limit);
            assert!(query.since.is_none_or(|since| since >= SystemTime::UNIX_EPOCH), "{:?}", query.since);
        }
        Err(why) => assert!(!why.is_empty() && !why.chars().any(char::is_control), "{why:?}"),
    }
});
