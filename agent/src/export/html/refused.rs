//! What is answered where a page cannot be shown.

use maud::html;

use super::Place;
use super::frame::{self, Follow};

/// A page that says what was wrong with what was asked, and leads back.
#[must_use]
pub fn refused(error: &str) -> String {
    let body = html! {
        nav aria-label="Pages" { a href="/" { "All incidents" } }
        main {
            h1 { "This cannot be shown" }
            p { (error) }
        }
    };
    frame::page("This cannot be shown", Place::Served, Follow::None, &body)
}
