//! What an operator is told of a medium: what was last found, and never a look at a disk.

use super::{Medium, Offline};
use std::sync::PoisonError;
use std::time::SystemTime;
use store::Probe;
use wire::TransmissionFlags;

/// What is known without looking.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// What was last seen at the path.
    pub seen: Option<Probe>,
    /// What sessions were offered last.
    pub flags: Option<TransmissionFlags>,
    /// Somebody is on it.
    pub open: bool,
    /// Nobody may enter, and why; since when.
    pub offline: Option<(String, SystemTime)>,
    /// Why its disk could not be served when it was last tried.
    pub trouble: Option<String>,
    /// The first failed sync.
    pub poison: Option<String>,
}

impl Medium {
    /// See the module.
    #[must_use]
    pub fn told(&self) -> Told {
        let state = self.lock();
        let offline = state.offline.as_ref().map(|offline| match offline {
            Offline::UnderWay => "a reload is under way".to_owned(),
            Offline::Hangs(why) => why.clone(),
        });
        let seen = state.seen.get(std::path::Path::new(&self.storage.path)).cloned();
        let (flags, trouble) = (state.offered, state.trouble.clone());
        let open = state.open.iter().any(|open| !open.seats.is_empty());
        let offline = offline.zip(state.offline_since);
        drop(state);
        Told { seen, flags, open, offline, trouble, poison: self.poisoned() }
    }

    fn poisoned(&self) -> Option<String> {
        let all = self.shared.poison.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().find_map(|poison| poison.failure())
    }

    /// Forgets failed syncs: an operator accepts the loss. Whether one had failed.
    #[must_use]
    pub fn clear_poison(&self) -> bool {
        let all = self.shared.poison.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().filter(|poison| poison.poisoned()).map(|poison| poison.clear()).count() > 0
    }

    /// What came of the last look or opening; nothing where it went well.
    pub fn remember_trouble(&self, trouble: Option<String>) {
        self.lock().trouble = trouble;
    }

    /// All stores that are open now, as a medium of their own, to be fenced; the next client opens anew.
    #[must_use]
    pub fn split_off_all(self: &std::sync::Arc<Self>) -> std::sync::Arc<Self> {
        let open = std::mem::take(&mut self.lock().open);
        self.beside(open)
    }
}
