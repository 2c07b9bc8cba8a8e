//! The MIGRATEKIT lines (P9): what a reload did, for a person to read and a program to split.
//!
//! Each begins `MIGRATEKIT: `, then the words of the event, then `key=value` pairs. A value with blanks, quotes or
//! control characters is written `"in quotes"`, with `\"` and `\\` inside. Only the closing line of a reload begins
//! `MIGRATEKIT: reload complete|incomplete|refused`, and it is written after the fence.

use crate::log::{Level, Log};
use std::fmt::{Display, Write as _};
use std::time::Duration;

/// Writes the lines.
#[derive(Clone)]
pub struct Report {
    log: Log,
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The running set is the configured set.
    Complete,
    /// Something was kept back or hangs.
    Incomplete,
    /// Nothing was applied.
    Refused,
}

/// The facts of the closing line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// How it ended.
    pub outcome: Outcome,
    /// Of the catalog in force now.
    pub generation: u64,
    /// Exports that are new.
    pub added: usize,
    /// Exports whose storage or settings are others than before.
    pub changed: usize,
    /// Exports that are gone.
    pub removed: usize,
    /// Exports kept back: they stay as they were, against what the files say.
    pub kept: usize,
    /// Sessions that were ended.
    pub fenced: usize,
    /// From the request to this line.
    pub took: Duration,
}

/// A line being put together.
pub struct Line {
    text: String,
}

impl Line {
    /// Begins with the words of the event.
    #[must_use]
    pub fn new(event: &str) -> Self {
        Self { text: format!("MIGRATEKIT: {event}") }
    }

    /// Appends a pair.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        let value = value.to_string();
        let plain =
            !value.is_empty() && value.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '"');
        if plain {
            let _ = write!(self.text, " {key}={value}");
            return self;
        }
        let _ = write!(self.text, " {key}=\"");
        for c in value.chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                c if c.is_control() => self.text.push(' '),
                c => self.text.push(c),
            }
        }
        self.text.push('"');
        self
    }

    /// Appends a pair if there is a value.
    #[must_use]
    pub fn maybe(self, key: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }
}

impl Report {
    /// Into this log.
    #[must_use]
    pub fn new(log: Log) -> Self {
        Self { log }
    }

    /// Writes a line.
    pub fn say(&self, level: Level, line: Line) {
        self.log.write(level, &line.text);
    }

    /// A session was cut off.
    pub fn session_fenced(&self, peer: &str, export: impl Display, reason: &str) {
        let line =
            Line::new("session fenced").with("peer", peer).with("export", export).with("reason", reason);
        self.say(Level::Notice, line);
    }

    /// The closing line.
    pub fn close(&self, closing: &Closing, reason: Option<&str>) {
        let (event, level) = match closing.outcome {
            Outcome::Complete => ("reload complete", Level::Notice),
            Outcome::Incomplete => ("reload incomplete", Level::Warning),
            Outcome::Refused => ("reload refused", Level::Error),
        };
        let line = Line::new(event)
            .with("generation", closing.generation)
            .with("added", closing.added)
            .with("changed", closing.changed)
            .with("removed", closing.removed)
            .with("kept", closing.kept)
            .with("fenced", closing.fenced)
            .with("ms", closing.took.as_millis())
            .maybe("reason", reason);
        self.say(level, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_would_not_split_is_quoted() {
        let line = Line::new("export kept")
            .with("export", "vol-1")
            .with("reason", "say \"no\"\nnow \\")
            .with("old", "")
            .maybe("line", Some(7))
            .maybe("file", None::<&str>);
        assert_eq!(
            line.text,
            r#"MIGRATEKIT: export kept export=vol-1 reason="say \"no\" now \\" old="" line=7"#
        );
    }
}
