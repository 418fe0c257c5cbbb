//! No line on the control socket makes its reader panic; what it accepts it can say again, and a mark can be shown.
#![no_main]

use lacuna::control::{LONGEST_MARK, Request, mark_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    match Request::parse(line) {
        Ok(request) => {
            let mut again = serde_json::to_vec(&request).unwrap();
            again.push(b'\n');
            assert_eq!(Request::parse(&again), Ok(request.clone()));
            if let Request::Mark { text } = request
                && let Ok(shown) = mark_text(&text)
            {
                assert!((1..=LONGEST_MARK).contains(&shown.chars().count()) && !shown.chars().any(char::is_control));
            }
        }
        Err(error) => assert!(!error.is_empty()),
    }
});
