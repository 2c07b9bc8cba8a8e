//! What all threads of the server share.

use crate::catalog::Catalog;
use crate::connections::Sessions;
use crate::fence::{Hanging, Retired};
use crate::hooks::Pending;
use crate::log::Log;
use crate::medium::Medium;
use crate::notify::Notify;
use crate::pool::Pool;
use crate::reloads::Reloads;
use crate::roll::Roll;
use crate::tls::Keeper;
use control::Events;
use session::Limits;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

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
    /// Commands around sessions that run, or are owed.
    pub hooks: Arc<Pending>,
    /// Sessions on exports, and what was done.
    pub roll: Roll,
    /// How reloads went.
    pub reloads: Reloads,
    /// The service manager, where it wants to know.
    pub notify: Notify,
    /// What happens, for whoever listens.
    pub events: Arc<Events>,
    /// Media of removed or replaced exports whose sessions go on (`on_change = keep`), and those that are being fenced.
    pub retired: Retired,
    /// Fenced media that have not closed: their successors stay offline (P2).
    pub hanging: Hanging,
    /// Held while a store is made known, so that of two who come to one disk the second sees the first; and by a reload from
    /// its judgement to its catalog.
    entrance: Mutex<()>,
    catalog: RwLock<Arc<Catalog>>,
}

impl Shared {
    /// A server without exports.
    #[must_use]
    pub fn new(log: Log, limits: Limits, sessions: Sessions) -> Arc<Self> {
        let catalog = RwLock::new(Arc::new(Catalog::empty()));
        let (pool, tls, hooks) = (Pool::new(1), Keeper::default(), Arc::default());
        let (roll, reloads, events) = (Roll::default(), Reloads::default(), log.events());
        let notify = Notify::from_env();
        let (retired, hanging, entrance) = Default::default();
        Arc::new(Self {
            log,
            limits,
            pool,
            sessions,
            tls,
            hooks,
            roll,
            reloads,
            notify,
            events,
            retired,
            hanging,
            entrance,
            catalog,
        })
    }

    /// The exports of this moment.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Media whose sessions outlive their export.
    #[must_use]
    pub fn kept(&self) -> Vec<Arc<Medium>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nobody else comes to any disk, and no reload judges, as long as it is held.
    pub fn entrance(&self) -> MutexGuard<'_, ()> {
        self.entrance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on these are the exports.
    pub fn swap_catalog(&self, catalog: Catalog) {
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(catalog);
    }
}
