//! Which disks are written through a medium, and by whom nobody else may come to them (P5).

use super::{Medium, Offline, Open};
use crate::assemble::Assembly;
use crate::rivals::{Entrance, Rivals};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::SystemTime;
use store::{Access, Identity, Probe};

impl Medium {
    /// The disks at its path that are open for writing, by sessions and by those who are just coming in.
    #[must_use]
    pub fn written(&self) -> Vec<Identity> {
        self.written_where(|_| true)
    }

    /// Of these, those that [`Medium::split_off`] takes away.
    #[must_use]
    pub fn written_elsewhere(&self, found: &[(PathBuf, Option<Probe>)]) -> Vec<Identity> {
        let state = self.lock();
        let moved: Vec<(PathBuf, Identity)> =
            state.moved(found).into_iter().map(|(path, now)| (path.clone(), now.identity.clone())).collect();
        drop(state);
        self.written_where(|open| {
            let here = moved.iter().find(|(path, _)| *path == open.assembly.path);
            here.is_some_and(|(_, now)| !open.identity.now().same_disk(now))
        })
    }

    fn written_where(&self, wanted: impl Fn(&Open) -> bool) -> Vec<Identity> {
        if !self.storage.changes.reach_the_path() {
            return Vec::new();
        }
        let writes = |open: &&Open| {
            open.assembly.access == Access::ReadWrite
                && open.export.strong_count() > 0
                && !open.seats.read_only_now.load(Ordering::SeqCst)
                && wanted(open)
        };
        self.lock().open.iter().filter(writes).map(|open| open.identity.now()).collect()
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
        let state = self.lock();
        // Where the path depends on the client no reload judges.
        let judged =
            state.judged && state.seen.get(&assembly.path).is_some_and(|seen| seen.identity.same_disk(disk));
        drop(state);
        rivals.pass(disk, judged).map(Some)
    }
}
