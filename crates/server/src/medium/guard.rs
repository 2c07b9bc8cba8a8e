//! Whether what is open is still the disk that was meant (P4): asked before the first write of each connection, and by the
//! watch once a second.

use super::Medium;
use crate::assemble;
use crate::report::Report;
use session::{Export, Guard, Sitter};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use store::{Access, Cause, Identity, Store, StoreError};

/// One check of a medium; over when it is dropped.
pub struct Check(Arc<Medium>);

impl Check {
    /// What is at the path instead of the disk that was meant.
    #[must_use]
    pub fn mismatch(&self) -> Option<String> {
        self.0.mismatch()
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        self.0.checking.store(false, Ordering::SeqCst);
    }
}

impl Medium {
    /// A check of the open stores, if there are any and no other check is under way.
    #[must_use]
    pub fn begin_check(self: &Arc<Self>) -> Option<Check> {
        let in_use = self.lock().open.iter().any(|open| open.export.strong_count() > 0);
        (in_use && !self.checking.swap(true, Ordering::SeqCst)).then(|| Check(self.clone()))
    }

    /// Looks whether each open store is still the disk that was meant (P4), and says what is there instead.
    fn mismatch(&self) -> Option<String> {
        // The fence waits for this look as it does for an opening: it may hold the last reference to a store.
        let _held = self.hold()?;
        let open: Vec<Arc<Export>> =
            self.lock().open.iter().filter_map(|open| open.export.upgrade()).collect();
        open.iter()
            .filter(|export| !export.seats.gate.is_revoked())
            .find_map(|export| export.guard.check().err())
    }

    /// What the path leads to now, against the disk that `store` was opened on.
    fn check(&self, store: &dyn Store, identity: &Identity) -> Result<(), String> {
        match store.verify() {
            // Following is for disks that nobody named.
            Err(StoreError { cause: Cause::Moved(_), .. })
                if self.follows() && self.storage.identity.is_none() => {}
            Err(error) => return Err(error.cause.to_string()),
            Ok(()) => {}
        }
        if self.lock().retired {
            return Ok(());
        }
        let spec = assemble::spec(&self.storage, Access::ReadOnly);
        match store::probe(&spec) {
            Ok(probe) if self.is_other_disk(identity, &probe.identity) => {
                Err(self.other_disk(identity, &probe.identity))
            }
            // A link that is gone for a moment is no other disk; whether the disk itself is gone, `verify` has told.
            _ => Ok(()),
        }
    }
}

/// The eye of the server on one opened store.
pub struct DiskGuard {
    /// What it is a store of.
    pub medium: Arc<Medium>,
    /// What is looked through.
    pub store: Arc<dyn Store>,
    /// Which disk it was opened on.
    pub identity: Identity,
}

impl Guard for DiskGuard {
    fn check(&self) -> Result<(), String> {
        self.medium.check(&*self.store, &self.identity)
    }

    fn wrong_disk(&self, why: &str, gone: &[Arc<Sitter>]) {
        let report = Report::new(self.medium.log.clone());
        for sitter in gone {
            report.session_fenced(&sitter.peer, &self.medium.name, why);
        }
    }

    fn store_failed(&self, error: &StoreError) {
        self.medium.log.error(format!("export {}: {}: {error}", self.medium.name, self.medium.storage.path));
    }
}
