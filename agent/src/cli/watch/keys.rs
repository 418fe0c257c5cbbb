//! What keys mean.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    /// Show what is chosen.
    Open,
    /// Back to where one came from.
    Back,
    /// The other list.
    Other,
    Help,
    Quit,
}

/// What a pressed key means; nothing for most.
pub(super) fn meaning(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        return match event.code {
            KeyCode::Char('c' | 'd') => Some(Key::Quit),
            KeyCode::Char('b') => Some(Key::PageUp),
            KeyCode::Char('f') => Some(Key::PageDown),
            _ => None,
        };
    }
    Some(match event.code {
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown | KeyCode::Char(' ') => Key::PageDown,
        KeyCode::Home | KeyCode::Char('g') => Key::First,
        KeyCode::End | KeyCode::Char('G') => Key::Last,
        KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => Key::Open,
        KeyCode::Esc | KeyCode::Backspace | KeyCode::Left | KeyCode::Char('h') => Key::Back,
        KeyCode::Tab | KeyCode::BackTab => Key::Other,
        KeyCode::Char('?') => Key::Help,
        KeyCode::Char('q') => Key::Quit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_they_mean_elsewhere() {
        let plain = |code| meaning(KeyEvent::new(code, KeyModifiers::NONE));
        for (code, key) in [
            (KeyCode::Char('q'), Some(Key::Quit)),
            (KeyCode::Char('j'), Some(Key::Down)),
            (KeyCode::Up, Some(Key::Up)),
            (KeyCode::Enter, Some(Key::Open)),
            (KeyCode::Esc, Some(Key::Back)),
            (KeyCode::Char('?'), Some(Key::Help)),
            (KeyCode::Char('x'), None),
        ] {
            assert_eq!(plain(code), key, "{code:?}");
        }
        assert_eq!(meaning(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Key::Quit));
        assert_eq!(plain(KeyCode::Char('c')), None, "only with Ctrl");
        let shifted = KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT);
        assert_eq!(meaning(shifted), Some(Key::Last));
    }
}
