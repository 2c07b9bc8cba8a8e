//! The server as a whole.

use super::event::Level;
use super::reload::Outcome;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The server as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it began to serve.
    #[schema(format = DateTime)]
    pub since: String,
    /// The main configuration file.
    pub configuration: String,
    /// Counts the reloads that were carried out; 1 after start.
    pub generation: u64,
    /// A reload is under way.
    pub reloading: bool,
    /// How the last one ended; none before the first.
    pub last_reload: Option<LastReload>,
    /// Where it listens: `127.0.0.1:10809`, `unix:/run/nbd.sock`.
    pub listening: Vec<String>,
    /// Configured exports.
    pub exports: u64,
    /// Those of them that are not `serving`, placeholders aside.
    pub exports_not_serving: u64,
    /// Sessions on exports.
    pub sessions: u64,
    /// Connections that have not chosen an export yet.
    pub handshakes: u64,
    /// Lines below this level are not logged.
    pub log_level: Level,
}

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastReload {
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// How.
    pub outcome: Outcome,
    /// Why it is not complete.
    pub reason: Option<String>,
    /// From the request to the end.
    pub took_ms: u64,
}

/// From which level on lines are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLevel {
    /// Lines below this level are not logged.
    pub level: Level,
}
