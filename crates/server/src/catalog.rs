//! All exports at one moment. A reload makes a new catalog and swaps it in; nobody changes one.

use crate::medium::Medium;
use session::ExportName;
use std::collections::HashMap;
use std::sync::Arc;

/// The exports of one generation, in the order of the configuration.
pub struct Catalog {
    /// Counts the reloads that were carried out; 1 after start.
    pub generation: u64,
    /// LIST is answered.
    pub allowlist: bool,
    entries: Vec<Arc<Entry>>,
    by_name: HashMap<ExportName, Arc<Entry>>,
}

/// One configured export.
pub struct Entry {
    /// As clients ask for it.
    pub name: ExportName,
    /// What the configuration says.
    pub settings: config::Export,
    /// What its path leads to.
    pub medium: Arc<Medium>,
    /// Configured but not served: another export claims its disk.
    pub blocked: Option<String>,
    /// It runs as it was, against what the files say, and why.
    pub kept_back: Option<String>,
    /// The reload after which it was what it is now.
    pub generation: u64,
}

impl Catalog {
    /// A catalog of these entries.
    #[must_use]
    pub fn new(generation: u64, allowlist: bool, entries: Vec<Arc<Entry>>) -> Self {
        let by_name = entries.iter().map(|entry| (entry.name.clone(), entry.clone())).collect();
        Self { generation, allowlist, entries, by_name }
    }

    /// Before the first configuration was read.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(0, false, Vec::new())
    }

    /// The export of that name, compared byte by byte.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&Arc<Entry>> {
        self.by_name.get(name)
    }

    /// All exports in order.
    #[must_use]
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }
}
