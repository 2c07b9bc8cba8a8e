//! Why the process stops, and with which status. The manual lists them.

use std::fmt;

/// A reason to stop before or instead of serving. Every one is status 1, as in the original.
#[derive(Debug)]
pub enum Exit {
    /// The configuration cannot be used; what is wrong has been said, line by line.
    Configuration(String),
    /// Addresses or sockets cannot be had.
    Bind(String),
    /// The user or group cannot be taken on.
    Identity(String),
    /// The daemon could not be started.
    Launch(String),
    /// The one session of inetd mode did not end with DISC.
    Inetd(String),
    /// An overlay could not be committed or dropped.
    Overlay(String),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(why)
            | Self::Identity(why)
            | Self::Launch(why)
            | Self::Inetd(why)
            | Self::Overlay(why) => f.write_str(why),
            // The words of the original, which people search their logs for.
            Self::Bind(why) => write!(f, "failed to setup servers: {why}"),
        }
    }
}
