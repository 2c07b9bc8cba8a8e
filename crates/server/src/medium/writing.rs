//! Which disks are written through a medium, and by whom nobody else may come to them (P5).

use super::{Medium, Offline, Open, State};
use crate::assemble::Assembly;
use crate::rivals::{Entrance, Rivals};
use session::Sitter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;
use store::{Access, Identity, Probe};

impl Medium {
    /// The disks at its path that are open for writing, by sessions and by those who are just coming in.
    #[must_use]
    pub fn written(&self) -> Vec<Identity> {
        self.written_where(&self.lock(), |_| true)
    }

    /// Of these, those that [`Medium::split_off`] takes away.
    #[must_use]
    pub fn written_elsewhere(&self, found: &[(PathBuf, Option<Probe>)]) -> Vec<Identity> {
        let state = self.lock();
        let moved = state.moved(found);
        self.written_where(&state, |open| open.is_elsewhere(&moved))
    }

    fn written_where(&self, state: &State, wanted: impl Fn(&Open) -> bool) -> Vec<Identity> {
        if !self.storage.changes.reach_the_path() {
            return Vec::new();
        }
        // Who lost the right to write may have a write in the kernel that was let in before.
        let may_write = |open: &Open| {
            let is_busy = |sitter: &Arc<Sitter>| !sitter.turnstile.is_empty();
            !open.seats.read_only_now.load(Ordering::SeqCst) || open.seats.sitters().iter().any(is_busy)
        };
        let writes = |open: &&Open| {
            open.assembly.access == Access::ReadWrite
                && open.export.strong_count() > 0
                && may_write(open)
                && wanted(open)
        };
        state.open.iter().filter(writes).map(|open| open.identity.now()).collect()
    }

    /// The disk at its path that its next client may write to: the last reload has judged that, or its first client since.
    #[must_use]
    pub fn claimed(&self) -> Option<Identity> {
        let state = self.lock();
        if state.read_only || !state.judged || !self.storage.changes.reach_the_path() {
            return None;
        }
        state.seen.get(Path::new(&self.storage.path)).map(|seen| seen.identity.clone())
    }

    /// A reload found nothing at its path, or could not look: what comes there is not judged.
    pub fn remember_nothing(&self) {
        self.lock().judged = false;
    }

    /// A reload has judged what is at its path.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        self.lock().judged
    }

    /// Its export is gone, and its sessions stay.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.lock().retired
    }

    /// Nobody enters any more: whoever comes asks the catalog again.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Nobody enters before [`Medium::bring_online`]: another one has to leave its disk first.
    pub fn take_offline(&self) {
        self.lock().offline.get_or_insert((Offline::UnderWay, SystemTime::now()));
    }

    /// Whoever comes to write on a disk that others have for themselves is refused. As long as the answer is held, nobody
    /// else comes to any disk.
    pub(super) fn pass<'a>(
        &self,
        rivals: &Rivals<'a>,
        assembly: &Assembly,
        disk: &Identity,
    ) -> Result<Option<Entrance<'a>>, String> {
        let writes = assembly.access == Access::ReadWrite && self.storage.changes.reach_the_path();
        if !writes || disk.to_be_created() {
            return Ok(None);
        }
        // Where the path depends on the client no reload judges.
        let judged = || {
            let state = self.lock();
            let seen = state.seen.get(&assembly.path);
            state.judged && seen.is_some_and(|seen| seen.identity.same_disk(disk))
        };
        rivals.pass(disk, judged).map(Some)
    }

    /// Somebody came to what is at this path now, and `passed` to write there.
    pub(super) fn remember_first(&self, state: &mut State, path: &Path, probe: Probe, passed: bool) {
        let identity = probe.identity.clone();
        let seen = state.seen.entry(path.to_path_buf()).or_insert(probe);
        let is_it = seen.identity.same_disk(&identity);
        state.judged |= is_it && passed && self.storage.client.is_none();
    }
}
