//! No document that answers for an agent makes a command panic, or steers the terminal of whoever runs it.
#![no_main]

use lacuna::export::json::{Incidents, Status};
use lacuna::export::table::Paint;
use lacuna::export::{html, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|document: &[u8]| {
    if let Ok(found) = serde_json::from_slice::<Incidents>(document) {
        check(&text::incidents(&found, Paint::PLAIN));
        for incident in &found.incidents {
            check(&text::explain(incident, &[], Paint::PLAIN));
            let page = html::incident(incident, html::Beside::default(), html::Place::Served);
            assert_eq!(page.matches("<script").count(), 1, "its own one, and none of the document's");
        }
    }
    if let Ok(status) = serde_json::from_slice::<Status>(document) {
        check(&text::status(&status, Paint::PLAIN));
    }
});

fn check(text: &str) {
    assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()), "{text:?}");
}
