//! What every page has around its content: style, script, and the policy that lets nothing else in.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Seconds after which a page that changes loads itself again where there are no scripts.
const REFRESH: u32 = 5;

/// Where a page is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a browser, from the running agent: it links to the other pages, and follows what happens.
    Served,
    /// From a file, wherever that is by then: it has no links to anything.
    Saved,
}

/// What makes a served page change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow<'a> {
    /// Nothing.
    None,
    /// Each change of any incident, and time.
    All,
    /// Each change of this incident, and time.
    One(&'a str),
}

/// The Content-Security-Policy of every page: its own style and script, known by their hashes, questions to the agent that it
/// came from, and nothing else.
#[must_use]
pub fn policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let from = "connect-src 'self'; frame-ancestors 'none'";
        format!("{}; {from}", own_parts())
    });
    &POLICY
}

/// The same for a file, which asks nobody; a `meta` cannot forbid frames.
fn own_parts() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// A whole page.
pub(super) fn page(title: &str, place: Place, follow: Follow<'_>, body: &Markup) -> String {
    let follow = if place == Place::Saved { Follow::None } else { follow };
    let followed = match follow {
        Follow::None => None,
        Follow::All => Some("*"),
        Follow::One(id) => Some(id),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                @if place == Place::Saved { meta http-equiv="Content-Security-Policy" content=(own_parts()); }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                @if followed.is_some() { noscript { meta http-equiv="refresh" content=(REFRESH); } }
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body data-follow=[followed] {
                (body)
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_what_stands_in_the_page() {
        let page = page("x", Place::Served, Follow::All, &html! { p { "y" } });
        for (begin, end, directive) in [("<style>", "</style>", "style-src"), ("<script>", "</script>", "script-src")] {
            let (_, rest) = page.split_once(begin).unwrap();
            let (text, _) = rest.split_once(end).unwrap();
            let hash = STANDARD.encode(Sha256::digest(text.as_bytes()));
            assert!(policy().contains(&format!("{directive} 'sha256-{hash}'")), "{directive}");
        }
        assert!(!policy().contains("unsafe"), "{}", policy());
        assert!(policy().is_ascii());
    }

    #[test]
    fn a_page_that_changes_does_so_without_scripts_as_well() {
        let refresh = "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>";
        let made = |place, follow| page("x", place, follow, &html! { p { "y" } });
        assert!(made(Place::Served, Follow::All).contains(refresh));
        assert!(made(Place::Served, Follow::One("01J")).contains("<body data-follow=\"01J\">"));
        for still in [made(Place::Served, Follow::None), made(Place::Saved, Follow::All)] {
            assert!(!still.contains("refresh\"") && !still.contains("data-follow=\""), "{still}");
        }
    }

    #[test]
    fn nothing_in_style_or_script_ends_its_element_or_names_another_host() {
        for text in [STYLE, SCRIPT] {
            assert!(!text.contains("</") && !text.contains("://") && !text.contains("url("));
        }
    }

    #[test]
    fn a_file_says_itself_that_it_asks_nobody() {
        let saved = page("x", Place::Saved, Follow::None, &html! { p { "y" } });
        assert!(
            saved.contains("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-")
        );
        assert!(!saved.contains("connect-src"));
    }
}
