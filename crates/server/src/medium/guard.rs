//! Whether what is open is still the disk that was meant (P4): asked before the first write of each connection, and by the
//! watch once a second.

use super::entering::other_disk;
use super::{Known, Medium};
use crate::assemble::Assembly;
use crate::log::Level;
use crate::report::Report;
use control::Line;
use session::{Export, Guard, Sitter};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use store::{Cause, Identity, Probe, Store, StoreError, Verb};

/// One check of a medium; over when it is dropped.
pub struct Check(Arc<Medium>);

impl Check {
    /// Ends the sessions on every store that is not the disk that was meant any more, and no others.
    pub fn end_sessions_elsewhere(&self) {
        self.0.end_sessions_elsewhere();
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

    /// Looks whether each open store is still the disk that was meant (P4). Where the path depends on the client, another
    /// client's disk is no concern of those whose own is there.
    fn end_sessions_elsewhere(&self) {
        // The fence waits for this look as it does for an opening: it may hold the last reference to a store.
        let Some(_held) = self.hold() else { return };
        for export in self.in_use().iter().filter(|export| !export.seats.gate.is_revoked()) {
            if let Err(why) = export.guard.check() {
                let gone = export.seats.revoke();
                export.guard.wrong_disk(&why, &gone);
            }
        }
    }

    /// Nothing, where the file that sessions have was deleted: what they write goes with them. For a path that leads
    /// nowhere.
    #[must_use]
    pub fn deleted(&self) -> Option<Probe> {
        let seen = self.seen()?;
        let Identity::File { dev, .. } = seen.identity else { return None };
        let nothing = Probe { identity: Identity::File { dev, ino: 0 }, size: 0, ..seen };
        self.in_use().iter().any(|export| export.store.is_nameless()).then_some(nothing)
    }

    /// Held outside the lock: the last reference closes a disk, and that can take long.
    fn in_use(&self) -> Vec<Arc<Export>> {
        self.lock().open.iter().filter_map(|open| open.export.upgrade()).collect()
    }

    /// What the path leads to now, against the disk that was opened.
    fn check(&self, eye: &DiskGuard) -> Result<(), String> {
        match eye.store.verify() {
            // Following is for disks that nobody named.
            Err(StoreError { cause: Cause::Moved(_), .. })
                if self.follows() && self.storage.identity.is_none() => {}
            Err(error) => return Err(error.cause.to_string()),
            Ok(()) => {}
        }
        // Of what is a session's own no path tells anything.
        let identity = eye.identity.now();
        if self.lock().retired || identity.to_be_created() {
            return Ok(());
        }
        let path = &eye.assembly.path;
        let there = eye.assembly.probe_again();
        let deleted = match &there {
            Ok(probe) => probe.to_be_created() || identity.lost_pieces(&probe.identity),
            Err(error) => error.is_missing(),
        };
        if deleted && eye.store.is_nameless() {
            // What is written to it goes with its last user, flushed or not.
            return Err(format!("the file at {} was deleted while it was in use", path.display()));
        }
        match there {
            Ok(probe) if self.is_other_disk(&identity, &probe.identity) => {
                Err(other_disk(path, &identity, &probe.identity))
            }
            // A link that is gone for a moment is no other disk; whether the disk itself is gone, `verify` has told. And a
            // file that another one was renamed over goes on for those who have it (P4).
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
    /// What it was made from.
    pub assembly: Assembly,
    /// The disk that was opened.
    pub(super) identity: Known,
}

impl Guard for DiskGuard {
    fn check(&self) -> Result<(), String> {
        self.medium.check(self)
    }

    fn wrong_disk(&self, why: &str, gone: &[Arc<Sitter>]) {
        // Whoever hears of it finds it so.
        self.medium.remember_trouble(Some(why.to_owned()));
        let report = Report::new(self.medium.log.clone());
        let line = Line::new("device lost")
            .with("export", &self.medium.name)
            .with("path", self.assembly.path.display())
            .with("reason", why);
        self.medium.log.tell_some(Level::Error, &format!("device lost {}", self.medium.name), &line);
        for sitter in gone {
            report.session_fenced(&sitter.peer, &self.medium.name, why);
        }
    }

    fn store_failed(&self, error: &StoreError) {
        let (name, path) = (&self.medium.name, self.assembly.path.display());
        self.medium.log.error(format!("export {name}: {path}: {error}"));
        let event = match &error.cause {
            // What follows from an earlier failure, which was told.
            Cause::Poisoned => return,
            Cause::Lost(why) | Cause::Moved(why) => {
                self.medium.remember_trouble(Some(why.clone()));
                "device lost"
            }
            _ if error.verb == Verb::Flush && self.medium.poisoned().is_some() => "export poisoned",
            _ => "device failed",
        };
        let line = Line::new(event).with("export", name).with("path", path).with("reason", error);
        self.medium.log.tell_some(Level::Error, &format!("{event} {name}"), &line);
    }
}
