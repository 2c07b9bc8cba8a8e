//! What is served, from which disk, and how it is.

use super::session::Operations;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use utoipa::ToSchema;

/// How an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Clients can come in.
    Serving,
    /// Configured, and its disk is not there, or not the one that is meant.
    Unavailable,
    /// It runs as it was, against what the files say.
    KeptBack,
    /// Old sessions are being cut off, or one of them hangs: nobody comes in before that has ended.
    Fencing,
    /// A sync failed: flushes and FUA writes fail until it is cleared.
    Poisoned,
    /// It leads to `/dev/null` and has no size: it is there because the original does not start without an export, and
    /// nobody is to come in.
    Placeholder,
}

impl State {
    /// Nobody has to look at it.
    #[must_use]
    pub fn is_well(self) -> bool {
        matches!(self, Self::Serving | Self::Placeholder)
    }
}

impl Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "serving",
            Self::Unavailable => "unavailable",
            Self::KeptBack => "kept back",
            Self::Fencing => "fencing",
            Self::Poisoned => "poisoned",
            Self::Placeholder => "placeholder",
        })
    }
}

/// One export, configured or still in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Export {
    /// As clients ask for it.
    pub name: String,
    /// How it is.
    pub state: State,
    /// Why, where the state is not `serving`.
    pub reason: Option<String>,
    /// Since when it has been fencing.
    #[schema(format = DateTime)]
    pub since: Option<String>,
    /// The files say so; `false` for one that is gone and whose last request hangs.
    pub configured: bool,
    /// The file that describes it; none for the export of the command line.
    pub file: Option<String>,
    /// The line there, from 1.
    pub line: Option<u32>,
    /// The path as it is configured.
    pub path: String,
    /// Where the path led when it was last looked at, by a reload or for a client: the device or file behind links. None
    /// where nothing was ever there.
    pub device: Option<String>,
    /// Which disk was found then.
    pub identity: Option<String>,
    /// Its bytes.
    pub size: Option<u64>,
    /// Clients may not write.
    pub read_only: bool,
    /// Transmission flags as they are offered, with the specification's names; empty while the disk was never opened.
    pub flags: Vec<String>,
    /// The disk is open: somebody is connected.
    pub open: bool,
    /// Sessions now.
    pub sessions: u64,
    /// The reload after which it was what it is now.
    pub generation: u64,
    /// What was done on it since the server started.
    pub operations: Operations,
    /// Requests that do not come back.
    pub hanging: Vec<Hanging>,
    /// Settings that are not the default, as the files write them.
    pub settings: BTreeMap<String, String>,
}

/// A request that does not come back, and what it keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hanging {
    /// The export.
    pub export: String,
    /// The path whose disk is still in use.
    pub path: String,
    /// Whose request it is; none while the disk is being opened or looked at.
    pub peer: Option<String>,
    /// For how long.
    pub age_ms: u64,
}

/// The keys of an export as they stand in a file, and their values: `{"exportname": "/dev/vdc", "readonly": "true"}`.
pub type ExportSettings = BTreeMap<String, String>;

/// What became of a failed sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cleared {
    /// One had failed, and is forgotten.
    pub cleared: bool,
}
