//! `exclusive` between reloads (P5): where a path leads to a disk that the last reload did not judge, whoever comes there to
//! write is judged as a reload would judge the export.

use crate::assemble::Assembly;
use crate::catalog::{Catalog, Entry};
use crate::fence::must_wait;
use crate::look::look;
use crate::medium::Medium;
use crate::state::Shared;
use crate::writers::{Writer, refusal};
use session::ExportName;
use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use store::Identity;

/// Those who write, or may write, to the disk that somebody comes to.
pub struct Rivals<'a> {
    shared: &'a Shared,
    entry: &'a Entry,
}

/// Nobody else comes to any disk as long as it is held: of two who come to one, the second sees the first.
pub struct Entrance<'a>(#[allow(dead_code, reason = "held, and not looked at")] MutexGuard<'a, ()>);

/// Who is in the way.
enum Rival {
    /// Somebody who is there.
    Writes(Writer),
    /// The next client of this export would write there, unless its path has come to lead elsewhere.
    Claims(Arc<Entry>),
}

impl<'a> Rivals<'a> {
    /// Of this export.
    #[must_use]
    pub fn of(shared: &'a Shared, entry: &'a Entry) -> Self {
        Self { shared, entry }
    }

    /// Lets through to this disk whoever wants to write there. `judged`: a reload, or a client before this one, has found
    /// that the export may. It is asked when no reload can change that.
    ///
    /// # Errors
    /// The sentence of a reload that finds two writers, one of them exclusive; a request to that disk hangs.
    pub fn pass(&self, disk: &Identity, judged: impl Fn() -> bool) -> Result<Entrance<'a>, String> {
        let (mut elsewhere, mut of) = (BTreeSet::new(), 0);
        loop {
            let entrance = Entrance(self.shared.entrance());
            self.waits_for_nobody(disk)?;
            let catalog = self.shared.catalog();
            if catalog.generation != of {
                (elsewhere, of) = (BTreeSet::new(), catalog.generation);
            }
            let holder = match self.rival(&catalog, disk, judged(), &elsewhere) {
                None => return Ok(entrance),
                Some(Rival::Writes(holder)) => holder,
                Some(Rival::Claims(other)) => {
                    // A path that does not answer must hold up nobody else.
                    drop(entrance);
                    if !leads_there(&other, disk) {
                        elsewhere.insert(other.name.clone());
                        continue;
                    }
                    Writer::export(&other.settings)
                }
            };
            let settings = &self.entry.settings;
            return Err(refusal(&holder, &Writer::export(settings), &settings.storage.path));
        }
    }

    /// What hangs may still arrive at its disk (P2).
    fn waits_for_nobody(&self, disk: &Identity) -> Result<(), String> {
        let hanging = self.shared.hanging.lock().unwrap_or_else(PoisonError::into_inner);
        let old = hanging.iter().find(|medium| writes(medium, disk));
        old.map_or(Ok(()), |old| Err(must_wait(old)))
    }

    /// Who is there is in everybody's way; who would be, and who was kept, in that of those whom nobody has judged yet.
    fn rival(
        &self,
        catalog: &Catalog,
        disk: &Identity,
        judged: bool,
        elsewhere: &BTreeSet<ExportName>,
    ) -> Option<Rival> {
        let exclusive = self.is_exclusive(catalog);
        let rivals = catalog.entries().iter().filter(|other| {
            let counts = exclusive || other.settings.exclusive;
            counts && other.name != self.entry.name && other.blocked.is_none()
        });
        for other in rivals {
            if writes(&other.medium, disk) {
                return Some(Rival::Writes(Writer::export(&other.settings)));
            }
            let claims = || other.medium.claimed().is_some_and(|claimed| claimed.overlaps(disk));
            if !judged && !elsewhere.contains(&other.name) && claims() {
                return Some(Rival::Claims(other.clone()));
            }
        }
        let gone = if exclusive || !judged { self.shared.kept() } else { Vec::new() };
        let on_it = gone.iter().filter(|medium| writes(medium, disk));
        let mut in_the_way = on_it.filter_map(|medium| match medium.is_retired() {
            true => (exclusive && !judged).then(|| Writer::stayer(&medium.name)),
            // It may have had the disk for itself.
            false => Some(Writer::leaver(&medium.name)),
        });
        in_the_way.next().map(Rival::Writes)
    }

    /// A reload may have changed it since the client asked.
    fn is_exclusive(&self, catalog: &Catalog) -> bool {
        let now = catalog.find(self.entry.name.as_bytes());
        now.map_or(&self.entry.settings, |now| &now.settings).exclusive
    }
}

fn writes(medium: &Medium, disk: &Identity) -> bool {
    medium.written().iter().any(|one| one.overlaps(disk))
}

/// Whether the path of this export leads to this disk now; it does where that cannot be told.
fn leads_there(entry: &Entry, disk: &Identity) -> bool {
    let common = Assembly::for_all(&entry.settings);
    look(common.into_iter().collect()).iter().any(|found| match found {
        Ok(probe) => probe.identity.overlaps(disk),
        Err(error) => !error.is_missing(),
    })
}
