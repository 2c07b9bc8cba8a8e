//! What a reload would do, and what one did.

use super::export::{ExportSettings, Hanging};
use super::problem::Problem;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};
use utoipa::ToSchema;

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The running set is the configured set.
    Complete,
    /// Something was kept back or hangs.
    Incomplete,
    /// Nothing was applied.
    Refused,
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Refused => "refused",
        })
    }
}

/// What a step does to its export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is new.
    Add,
    /// Same disk, other settings or another size; sessions go on.
    Retune,
    /// It leads to another disk or store; sessions on the old one are fenced.
    Replace,
    /// Some of its clients' own paths lead to another disk; they are fenced, the others go on.
    ReplaceForSome,
    /// Another export has its disk for itself; it is not served any more.
    Block,
    /// It is gone; its sessions are fenced.
    Remove,
}

/// What is done to one export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// To which export.
    pub export: String,
    /// The path before; none where it is new.
    pub old: Option<String>,
    /// The path from now on; none where it is removed.
    pub new: Option<String>,
    /// Bytes from now on, where the disk can be seen.
    pub size: Option<u64>,
    /// Settings that differ; `disk` for another one at the same path, `size` for another size.
    pub changes: Vec<Change>,
    /// Why, where no text changed.
    pub reason: Option<String>,
    /// `on_change = keep`: sessions are left on the old disk.
    pub keeps_sessions: bool,
    /// The file that describes it from now on; none where it is removed, and for the export of the command line.
    #[serde(default)]
    pub file: Option<String>,
    /// Its settings from now on that are not the default, as the files write them; empty where it is removed.
    #[serde(default)]
    pub settings: ExportSettings,
}

/// A value that is another one now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// The key.
    pub key: String,
    /// Before.
    pub old: String,
    /// From now on.
    pub new: String,
}

/// A setting of `[generic]` that is another one now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// Before.
    pub old: String,
    /// In the file.
    pub new: String,
    /// Why it does not apply; none where it does.
    pub not_applied: Option<String>,
}

/// What the files say and is not followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptBack {
    /// Exports that stay as they are (or stay out).
    pub exports: Vec<String>,
    /// What is wrong.
    pub problem: Problem,
}

/// An export whose disk cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unavailable {
    /// The export.
    pub export: String,
    /// Its path.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// What a reload would do at this moment. Nothing is done by asking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// What is done to exports; empty when the running set is the configured set.
    pub steps: Vec<Step>,
    /// Settings of `[generic]` that differ.
    pub settings: Vec<Setting>,
    /// What is not followed.
    pub kept_back: Vec<KeptBack>,
    /// Exports that will be configured and not served.
    pub unavailable: Vec<Unavailable>,
    /// Why nothing at all would be applied; empty where something would.
    pub refused: Vec<Problem>,
    /// Worth a word.
    pub warnings: Vec<String>,
}

/// What a reload did. Once it is answered the fence is done, or what hangs is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reload {
    /// How it ended.
    pub outcome: Outcome,
    /// Why it is not complete.
    pub reason: Option<String>,
    /// Of the exports in force now.
    pub generation: u64,
    /// The plan as it was carried out.
    pub plan: Plan,
    /// Exports that are new.
    pub added: u64,
    /// Exports that are others than before.
    pub changed: u64,
    /// Exports that are gone.
    pub removed: u64,
    /// Exports that stay as they were, against what the files say.
    pub kept: u64,
    /// Sessions that were ended.
    pub fenced: u64,
    /// Requests that do not come back: these disks are not free.
    pub hanging: Vec<Hanging>,
    /// From the request to the end.
    pub took_ms: u64,
}

/// What a configuration amounts to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// A start with it would succeed and serve all that it describes.
    pub ok: bool,
    /// Names of the exports that would be served, and their paths.
    pub exports: std::collections::BTreeMap<String, String>,
    /// Why nothing could be served; the main file's problems.
    pub refused: Vec<Problem>,
    /// Files or exports that would be left out.
    pub kept_back: Vec<KeptBack>,
    /// Worth a word.
    pub warnings: Vec<Problem>,
}

/// Sessions that were cut off on demand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cut {
    /// How many were told to go.
    pub sessions: u64,
    /// Requests that do not come back: the disk is not free.
    pub hanging: Vec<Hanging>,
    /// How long it took.
    pub took_ms: u64,
}
