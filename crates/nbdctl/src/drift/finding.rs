//! One disagreement: who, about which export, in a sentence and as data.

use crate::text::{name, shown};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// The database, by the query.
    Database,
    /// The configuration files.
    Files,
    /// The running server.
    Memory,
    /// What is at the path.
    Devices,
}

/// A disagreement of two of them, or of a database with itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The exports that are meant; none where it is about all of them.
    pub exports: Vec<String>,
    /// Who disagrees with whom.
    pub between: [Party; 2],
    /// The path that each of them names, where it is about paths.
    pub paths: BTreeMap<Party, String>,
    /// What it is.
    pub what: String,
}

impl Finding {
    /// About one export.
    pub fn of(export: &str, between: [Party; 2], what: impl Into<String>) -> Self {
        Self::about(vec![export.into()], between, what)
    }

    /// About several, or about none.
    pub fn about(exports: Vec<String>, between: [Party; 2], what: impl Into<String>) -> Self {
        Self { exports, between, paths: BTreeMap::new(), what: what.into() }
    }

    /// The database is one of them.
    pub fn is_of_database(&self) -> bool {
        self.between.contains(&Party::Database)
    }

    /// It names this export.
    pub fn is_about(&self, export: &str) -> bool {
        self.exports.iter().any(|one| one == export)
    }

    /// With what one of them names.
    pub fn with(mut self, party: Party, path: &str) -> Self {
        self.paths.insert(party, path.into());
        self
    }
}

/// `vol-3: the database says /dev/vdc, the files say /dev/vdb`
impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.exports.iter().map(|export| name(export)).collect();
        if !names.is_empty() {
            write!(f, "{}: ", names.join(", "))?;
        }
        f.write_str(&shown(&self.what))
    }
}
