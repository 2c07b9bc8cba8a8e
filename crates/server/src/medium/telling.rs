//! What an operator is told of a medium: what was last found, and never a look at a disk.

use super::{Medium, Offline};
use crate::assemble::Assembly;
use std::sync::PoisonError;
use std::time::SystemTime;
use store::Probe;
use wire::TransmissionFlags;

/// What is known without looking.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// What was last found at the path.
    pub found: Option<Probe>,
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
        let offline = state.offline.as_ref().map(|(offline, since)| match offline {
            Offline::UnderWay => ("a reload is under way".to_owned(), *since),
            Offline::Hangs(why) => (why.clone(), *since),
        });
        let (found, flags, trouble) = (state.found.clone(), state.offered, state.trouble.clone());
        let open = state.open.iter().any(|open| !open.seats.is_empty());
        drop(state);
        Told { found, flags, open, offline, trouble, poison: self.poisoned() }
    }

    pub(super) fn poisoned(&self) -> Option<String> {
        let all = self.shared.poison.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().find_map(|poison| poison.failure())
    }

    /// Forgets failed syncs: an operator accepts the loss. Whether one had failed.
    #[must_use]
    pub fn clear_poison(&self) -> bool {
        let all = self.shared.poison.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().filter(|poison| poison.poisoned()).map(|poison| poison.clear()).count() > 0
    }

    /// What came of the last look or opening, or of what was open; nothing where it went well. Where the path depends on
    /// the client it is one client's trouble, and not the export's.
    pub fn remember_trouble(&self, trouble: Option<String>) {
        if self.storage.client.is_none() {
            self.lock().trouble = trouble;
        }
    }

    /// What is at the path of somebody who came in.
    pub(super) fn remember_found(&self, assembly: &Assembly, found: Probe) {
        if self.storage.client.is_none() && !assembly.is_nowhere() {
            self.lock().found = Some(found);
        }
    }

    /// All stores that are open now, as a medium of their own, to be fenced. Nobody enters before that is done.
    #[must_use]
    pub fn split_off_all(self: &std::sync::Arc<Self>) -> std::sync::Arc<Self> {
        let mut state = self.lock();
        let open = std::mem::take(&mut state.open);
        // One that hangs already says so itself.
        state.offline.get_or_insert_with(|| (Offline::UnderWay, SystemTime::now()));
        drop(state);
        self.beside(open)
    }
}
