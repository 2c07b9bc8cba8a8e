//! MIGRATEKIT lines into the log, each at its level (P9). The closing line is written after the fence.

use crate::log::{Level, Log};
use control::{Closing, Line, Outcome};
use std::fmt::Display;

/// Writes the lines.
#[derive(Clone)]
pub struct Report {
    log: Log,
}

impl Report {
    /// Into this log.
    #[must_use]
    pub fn new(log: Log) -> Self {
        Self { log }
    }

    /// For what is not a MIGRATEKIT line.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Writes a line.
    pub fn say(&self, level: Level, line: Line) {
        self.log.event(level, &line);
    }

    /// A session was cut off.
    pub fn session_fenced(&self, peer: &str, export: impl Display, reason: &str) {
        let line =
            Line::new("session fenced").with("peer", peer).with("export", export).with("reason", reason);
        self.say(Level::Notice, line);
    }

    /// The closing line.
    pub fn close(&self, closing: &Closing, reason: Option<&str>) {
        let level = match closing.outcome {
            Outcome::Complete => Level::Notice,
            Outcome::Incomplete => Level::Warning,
            Outcome::Refused => Level::Error,
        };
        self.say(level, closing.line(reason));
    }
}
