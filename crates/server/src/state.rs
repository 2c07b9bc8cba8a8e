//! What all threads of the server share.

use crate::catalog::Catalog;
use crate::connections::Sessions;
use crate::log::Log;
use crate::pool::Pool;
use crate::tls::Keeper;
use session::{Export, Limits};
use std::sync::{Arc, PoisonError, RwLock};

/// See the module.
pub struct Shared {
    /// Where to say things.
    pub log: Log,
    /// For every client alike.
    pub limits: Limits,
    /// Does what would block.
    pub pool: Pool,
    /// Who is connected.
    pub sessions: Sessions,
    /// Certificates and keys.
    pub tls: Keeper,
    catalog: RwLock<Arc<Catalog>>,
}

impl Shared {
    /// A server without exports.
    #[must_use]
    pub fn new(log: Log, limits: Limits, sessions: Sessions) -> Arc<Self> {
        let catalog = RwLock::new(Arc::new(Catalog::empty()));
        Arc::new(Self { log, limits, pool: Pool::new(1), sessions, tls: Keeper::default(), catalog })
    }

    /// The exports of this moment.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these are the exports.
    pub fn swap_catalog(&self, catalog: Catalog) {
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
    }

    /// The configured path of an open export, for the log.
    #[must_use]
    pub fn path_of(&self, export: &Export) -> String {
        let catalog = self.catalog();
        catalog
            .find(export.name.as_bytes())
            .map(|entry| entry.medium.storage.path.clone())
            .unwrap_or_default()
    }
}
