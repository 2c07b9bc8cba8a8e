//! What a key means.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The end.
    Quit,
    /// Exports.
    Exports,
    /// Sessions.
    Sessions,
    /// The other order.
    Reorder,
    /// So many rows down, or up where it is negative.
    Rows(isize),
    /// So many pages.
    Pages(isize),
    /// The first row.
    First,
    /// The last one.
    Last,
}

/// The line that tells of them.
pub const LEGEND: &str = "q quit   e exports   s sessions   o order   ↑↓ PgUp PgDn scroll";

/// What a key means, if anything.
pub fn wish(key: KeyEvent) -> Option<Wish> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        // The terminal makes no signal of it while it is ours.
        return (key.code == KeyCode::Char('c')).then_some(Wish::Quit);
    }
    Some(match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Wish::Quit,
        KeyCode::Char('e') => Wish::Exports,
        KeyCode::Char('s') => Wish::Sessions,
        KeyCode::Char('o') => Wish::Reorder,
        KeyCode::Down | KeyCode::Char('j') => Wish::Rows(1),
        KeyCode::Up | KeyCode::Char('k') => Wish::Rows(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => Wish::Pages(1),
        KeyCode::PageUp => Wish::Pages(-1),
        KeyCode::Home | KeyCode::Char('g') => Wish::First,
        KeyCode::End | KeyCode::Char('G') => Wish::Last,
        _ => return None,
    })
}
