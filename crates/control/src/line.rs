//! The MIGRATEKIT lines of a reload (P9): an event in words, and its facts as pairs.
//!
//! Each line begins `MIGRATEKIT: `, then the words of the event, then `key=value` pairs. A value with blanks, quotes or
//! control characters is written `"in quotes"`, with `\"` and `\\` inside. Only the closing line of a reload begins
//! `MIGRATEKIT: reload complete|incomplete|refused`.

use crate::view::Outcome;
use std::fmt::{self, Display, Write as _};
use std::time::Duration;

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
    event: String,
    facts: Vec<(&'static str, String)>,
}

impl Line {
    /// Begins with the words of the event.
    #[must_use]
    pub fn new(event: &str) -> Self {
        Self { event: event.into(), facts: Vec::new() }
    }

    /// Appends a pair.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Display) -> Self {
        self.facts.push((key, value.to_string()));
        self
    }

    /// Appends a pair if there is a value.
    #[must_use]
    pub fn maybe(self, key: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// The words of the event.
    #[must_use]
    pub fn event(&self) -> &str {
        &self.event
    }

    /// The pairs, in order.
    #[must_use]
    pub fn facts(&self) -> &[(&'static str, String)] {
        &self.facts
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
        write!(f, "MIGRATEKIT: {}", self.event)?;
        self.facts.iter().try_for_each(|(key, value)| write!(f, " {key}={}", Quoted(value)))
    }
}

/// A value that would not split is quoted.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain =
            !self.0.is_empty() && self.0.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '"');
        if plain {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => f.write_char(' ')?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
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
