//! How much room a text takes on a terminal, and how it is made to fit: Chinese letters are two columns wide, combining ones none.

use std::borrow::Cow;

use textwrap::{Options, WordSplitter};
use unicode_width::UnicodeWidthStr;

/// The columns that `text` takes.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.width()
}

/// `text` in lines of at most `room` columns, broken between words. A word that is longer than that, such as an id, stays whole, so
/// that it can be copied: a terminal breaks it by itself.
#[must_use]
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    lines(text, options(room).break_words(false))
}

/// The same with words broken that are longer than a line, for where what is beyond is not seen.
#[must_use]
pub fn break_lines(text: &str, room: usize) -> Vec<String> {
    lines(text, options(room).break_words(true))
}

/// Names such as `host-down` stay whole.
fn options(room: usize) -> Options<'static> {
    Options::new(room.max(1)).word_splitter(WordSplitter::NoHyphenation)
}

fn lines(text: &str, options: Options) -> Vec<String> {
    textwrap::wrap(text, options).into_iter().map(Cow::into_owned).collect()
}

/// `text` in at most `room` columns, with `…` where something was left out.
#[must_use]
pub fn shorten(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    for letter in text.chars() {
        let longer = format!("{short}{letter}");
        if columns(&longer) + 1 > room {
            break;
        }
        short = longer;
    }
    if room > 0 {
        short.push('…');
    }
    short
}

/// `text` with as many spaces behind it as it lacks to `room` columns.
#[must_use]
pub fn pad(text: &str, room: usize) -> String {
    format!("{text}{}", " ".repeat(room.saturating_sub(columns(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_counts_and_not_the_letters() {
        for (text, seen) in [("", 0), ("lb1", 3), ("größer", 6), ("数据库", 6), ("e\u{301}", 1), ("…", 1)] {
            assert_eq!(columns(text), seen, "{text}");
        }
    }

    #[test]
    fn a_text_is_shortened_to_the_column() {
        for (text, room, short) in [
            ("host-down", 9, "host-down"),
            ("host-down", 8, "host-do…"),
            ("数据库", 5, "数据…"),
            ("数据库", 4, "数…"),
            ("ab", 1, "…"),
            ("ab", 0, ""),
        ] {
            assert_eq!(shorten(text, room), short);
            assert!(columns(&shorten(text, room)) <= room);
        }
    }

    #[test]
    fn lines_break_between_words_and_never_within_a_class() {
        assert_eq!(wrap("a host-down of lb2", 10), ["a", "host-down", "of lb2"]);
        assert_eq!(wrap("of 01JD6RBBBB", 4), ["of", "01JD6RBBBB"]);
        assert_eq!(break_lines("of 01JD6RBBBB", 4), ["of", "01JD", "6RBB", "BB"]);
        assert_eq!(wrap("数据库 stands", 6), ["数据库", "stands"]);
        assert_eq!(break_lines("ab", 0), ["a", "b"]);
    }
}
