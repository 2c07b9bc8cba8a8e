//! What happens, as it happens.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use utoipa::ToSchema;

/// How much something matters, with the words of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something that should not happen.
    Error,
    /// Something to look at.
    Warning,
    /// What the server did of importance.
    Notice,
    /// What the server did.
    Info,
    /// For developers.
    Debug,
}

impl Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        })
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Counts up by one in the life of the process, so that a gap is seen.
    pub id: u64,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// How much it matters.
    pub level: Level,
    /// The words of the event: `export changed`, `session begun`, `device lost`.
    pub event: String,
    /// Its facts by key: `export`, `peer`, `old`, `new`, `reason`.
    pub facts: BTreeMap<String, String>,
}
