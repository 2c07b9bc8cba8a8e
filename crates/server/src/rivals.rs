//! `exclusive` between reloads: where a path leads to another disk than the last reload saw, or to its first one, whoever
//! comes there is judged as a reload would judge the export.

use crate::catalog::Entry;
use crate::medium::Medium;
use crate::state::Shared;
use crate::writers::{Writer, refusal};
use std::sync::{MutexGuard, PoisonError};
use store::Identity;

/// Those who write, or may write, to the disk that somebody comes to.
pub struct Rivals<'a> {
    shared: &'a Shared,
    entry: &'a Entry,
}

/// Nobody else comes to any disk as long as it is held: of two who come to one, the second sees the first.
pub struct Entrance<'a>(#[allow(dead_code, reason = "held, and not looked at")] MutexGuard<'a, ()>);

impl<'a> Rivals<'a> {
    /// Of this export.
    #[must_use]
    pub fn of(shared: &'a Shared, entry: &'a Entry) -> Self {
        Self { shared, entry }
    }

    /// Lets through to this disk whoever wants to write there. `judged`: the export may write to it, as far as the last
    /// reload could tell.
    ///
    /// # Errors
    /// The sentence of a reload that finds two writers, one of them exclusive.
    pub fn pass(&self, disk: &Identity, judged: bool) -> Result<Entrance<'a>, String> {
        let entrance = Entrance(self.shared.entrance.lock().unwrap_or_else(PoisonError::into_inner));
        let catalog = self.shared.catalog();
        let name = &self.entry.name;
        // A reload may have changed it since the client asked.
        let exclusive =
            catalog.find(name.as_bytes()).map_or(&self.entry.settings, |now| &now.settings).exclusive;
        let others = catalog.entries().iter().filter(|other| other.name != *name && other.blocked.is_none());
        let rival = |other: &&std::sync::Arc<Entry>| {
            (exclusive || other.settings.exclusive) && writes(&other.medium, disk, judged)
        };
        let holder = others.filter(rival).map(|other| Writer::export(&other.settings)).next();
        let kept = || {
            let kept = if exclusive && !judged { self.shared.kept() } else { Vec::new() };
            let stays = kept.iter().find(|medium| leads_to(&medium.written(), disk));
            stays.map(|medium| Writer::stayer(&medium.name))
        };
        match holder.or_else(kept) {
            None => Ok(entrance),
            Some(holder) => {
                let settings = &self.entry.settings;
                Err(refusal(&holder, &Writer::export(settings), &settings.storage.path))
            }
        }
    }
}

/// What is open for writing is in the way of everybody. What is only to be written by the next client is in the way where
/// no reload knew of the two together.
fn writes(medium: &Medium, disk: &Identity, judged: bool) -> bool {
    leads_to(&medium.open_for_writing(), disk) || !judged && leads_to(&medium.writable(), disk)
}

fn leads_to(disks: &[Identity], disk: &Identity) -> bool {
    disks.iter().any(|one| one.overlaps(disk))
}
