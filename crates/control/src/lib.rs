//! What an operator is told, as plain values: the MIGRATEKIT lines of a reload (P9).
//!
//! Server fills them in; how they reach somebody (a log today) is not known in here.
//!
//! Each line begins `MIGRATEKIT: `, then the words of the event, then `key=value` pairs. A value with blanks, quotes or
//! control characters is written `"in quotes"`, with `\"` and `\\` inside. Only the closing line of a reload begins
//! `MIGRATEKIT: reload complete|incomplete|refused`.
#![forbid(unsafe_code)]

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

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
#[derive(Clone, Debug, PartialEq, Eq)]
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

impl Closing {
    /// The line that acknowledges the reload. `reason` says why it is not complete.
    #[must_use]
    pub fn line(&self, reason: Option<&str>) -> Line {
        let event = match self.outcome {
            Outcome::Complete => "reload complete",
            Outcome::Incomplete => "reload incomplete",
            Outcome::Refused => "reload refused",
        };
        Line::new(event)
            .with("generation", self.generation)
            .with("added", self.added)
            .with("changed", self.changed)
            .with("removed", self.removed)
            .with("kept", self.kept)
            .with("fenced", self.fenced)
            .with("ms", self.took.as_millis())
            .maybe("reason", reason)
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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
            line.to_string(),
            r#"MIGRATEKIT: export kept export=vol-1 reason="say \"no\" now \\" old="" line=7"#
        );
    }

    #[test]
    fn a_closing_line_has_all_its_counts() {
        let closing = Closing {
            outcome: Outcome::Incomplete,
            generation: 7,
            added: 1,
            changed: 2,
            removed: 3,
            kept: 4,
            fenced: 5,
            took: Duration::from_millis(60),
        };
        assert_eq!(
            closing.line(Some("it hangs")).to_string(),
            "MIGRATEKIT: reload incomplete generation=7 added=1 changed=2 removed=3 kept=4 fenced=5 ms=60 \
             reason=\"it hangs\""
        );
    }
}
