//! How a session comes to a store: it waits for a fence that is under way, looks what disk is there, and shares what is
//! open or opens it.

use super::guard::DiskGuard;
use super::{Known, Medium, Offline, Open, State};
use crate::assemble::{self, Assembled, Assembly};
use crate::rivals::Rivals;
use session::{Entered, Export, Limits, Offer, Sitter};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use store::{Access, Cause, Identity, Probe, StoreError};

/// How long a session that chose an export during a reload waits for the fence to finish.
const ONLINE_WAIT: Duration = Duration::from_secs(5);
/// How long sessions wait for another one that is opening the same disk.
const TURN_MAX: Duration = Duration::from_secs(2);

/// Why a session cannot enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The reason, for the client and the log.
    Because(String),
    /// As many are there as may be, for the client and the log.
    Full(String),
    /// The medium was replaced meanwhile: ask the catalog again.
    Replaced,
}

/// What a session was told of its export, and what of it is settled already.
pub struct Visit<'a> {
    /// The settings of the catalog that was asked.
    pub settings: &'a config::Export,
    /// What this client's store is made from.
    pub assembly: &'a Assembly,
    /// For everybody alike.
    pub limits: &'a Limits,
    /// Who else may be on its disk.
    pub rivals: &'a Rivals<'a>,
}

impl Medium {
    /// Lets one more session come, before anything is done for it. It counts from here on.
    ///
    /// # Errors
    /// The limit, and how many there are.
    pub fn let_come(self: &Arc<Self>, settings: &config::Export) -> Result<Room, Closed> {
        let mut state = self.lock();
        let sessions: usize = state.open.iter().map(|open| open.seats.sitters().len()).sum();
        let sessions = sessions + state.coming;
        if !settings.maxconnections.admits(sessions) {
            let max = settings.maxconnections.0.max(0);
            let why =
                format!("Connection not allowed (too many clients): {sessions} of {max} connections in use");
            return Err(Closed::Full(why));
        }
        state.coming += 1;
        Ok(Room { medium: self.clone(), counted: true })
    }

    /// Enters a session: shares an open store or opens one.
    pub fn enter(
        self: &Arc<Self>,
        visit: &Visit<'_>,
        sitter: &Arc<Sitter>,
        mut room: Room,
    ) -> Result<Entered, Closed> {
        // Declared first, dropped last: a store that is not wanted after all is closed before the count says so.
        let _counted = self.count_opening()?;
        let export = self.export(visit)?;
        // To be counted as coming and to have a seat is never seen at once.
        let mut state = self.lock();
        let seat = if state.closed { None } else { export.seats.take(sitter) };
        if seat.is_some() {
            state.coming -= 1;
            room.counted = false;
        }
        drop(state);
        seat.map(|seat| Entered::new(export, seat)).ok_or(Closed::Replaced)
    }

    /// What a session under these settings would be offered.
    pub fn offer(self: &Arc<Self>, visit: &Visit<'_>) -> Result<Offer, Closed> {
        let _counted = self.count_opening()?;
        Ok(self.export(visit)?.offer)
    }

    /// An open export with these settings: one that is open already, or a new one. How it went is remembered.
    fn export(self: &Arc<Self>, visit: &Visit<'_>) -> Result<Arc<Export>, Closed> {
        let opened = self.find_or_open(visit);
        match &opened {
            Ok(export) => {
                let mut state = self.lock();
                (state.trouble, state.offered) = (None, Some(export.offer.transmission_flags(true)));
            }
            Err(Closed::Because(why)) => self.remember_trouble(Some(why.clone())),
            Err(Closed::Full(_) | Closed::Replaced) => {}
        }
        opened
    }

    fn find_or_open(self: &Arc<Self>, visit: &Visit<'_>) -> Result<Arc<Export>, Closed> {
        let _turn = self.take_turn(&visit.assembly.path)?;
        let waits = !self.lock().arrived.contains(&visit.assembly.path);
        let assembly = visit.assembly.clone().waiting(waits);
        let probe = self.look(&assembly)?;
        if let Some(export) = self.open_already(&probe, &assembly, visit) {
            self.remember_found(&assembly, probe);
            return Ok(export);
        }
        let assembled = self.open_store(&probe, &assembly)?;
        let private = assembly.is_private();
        let offer = assemble::offer(&*assembled.store, visit.settings, private, visit.limits);
        let known = Known::new(assembled.identity);
        let guard = DiskGuard {
            medium: self.clone(),
            store: assembled.store.clone(),
            assembly: assembly.clone(),
            identity: known.clone(),
        };
        let export = Export::new(self.name.clone(), offer, assembled.store, Arc::new(guard));
        let open = Open {
            export: Arc::downgrade(&export),
            seats: export.seats.clone(),
            assembly,
            identity: known,
            waiting: assembled.waiting.as_ref().map(Arc::downgrade),
        };
        self.publish(&export, open, probe, visit.rivals)?;
        Ok(export)
    }

    /// From here on the fence, the watch and other sessions know of it.
    fn publish(
        &self,
        export: &Arc<Export>,
        open: Open,
        probe: Probe,
        rivals: &Rivals<'_>,
    ) -> Result<(), Closed> {
        let passed = self.pass(rivals, &open.assembly, &open.identity.now());
        let mut state = self.lock();
        // Also where a fence has begun since it was let in: it waits with those who come now.
        if state.closed || state.offline.is_some() {
            return Err(Closed::Replaced);
        }
        let entrance = passed.map_err(Closed::Because)?;
        if state.read_only && open.assembly.access == Access::ReadWrite {
            export.seats.read_only_now.store(true, Ordering::SeqCst);
        }
        let identity = open.identity.now();
        // A reload may have found another disk there since this one was looked at.
        let seen = state.seen.get(&open.assembly.path);
        if seen.is_some_and(|seen| !identity.to_be_created() && self.is_other_disk(&seen.identity, &identity))
        {
            return Err(Closed::Replaced);
        }
        if !identity.to_be_created() {
            let opened = Probe { identity, ..probe };
            if self.storage.client.is_none() {
                state.found = Some(opened.clone());
            }
            self.remember_first(&mut state, &open.assembly.path, opened, entrance.is_some());
        }
        state.open.retain(|open| open.export.strong_count() > 0 || !open.seats.is_empty());
        state.open.push(open);
        self.forget_files(&mut state);
        Ok(())
    }

    /// Files follow their path, so one of a client that has gone is of no use to remember; there may be many.
    fn forget_files(&self, state: &mut State) {
        if self.storage.client.is_none() {
            return;
        }
        let open = std::mem::take(&mut state.open);
        state.seen.retain(|path, seen| {
            let used = open.iter().any(|open| open.assembly.path == *path);
            used || !matches!(seen.identity, Identity::File { .. })
        });
        state.open = open;
    }

    /// One session opens at a time. One that has not come back for long is on a disk that does not answer: nobody queues
    /// behind it.
    fn take_turn(&self, path: &Path) -> Result<Turn<'_>, Closed> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(Closed::Replaced);
            }
            let Some(since) = state.turn else {
                state.turn = Some(Instant::now());
                return Ok(Turn { medium: self });
            };
            let Some(rest) = TURN_MAX.checked_sub(since.elapsed()).filter(|rest| !rest.is_zero()) else {
                let age = since.elapsed().as_secs();
                let why = format!("{} has not answered to being opened for {age} s", path.display());
                return Err(Closed::Because(why));
            };
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait_online(&self) -> Result<(), Closed> {
        let deadline = Instant::now() + ONLINE_WAIT;
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(Closed::Replaced);
            }
            match state.offline.as_ref().map(|(offline, _)| offline) {
                None => return Ok(()),
                Some(Offline::Hangs(why)) => return Err(Closed::Because(why.clone())),
                Some(Offline::UnderWay) => {}
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err(Closed::Because("a reload is under way, and takes long".into()));
            }
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What is at the path now, if it may be served (P4).
    fn look(&self, assembly: &Assembly) -> Result<Probe, Closed> {
        let probe = assembly.probe().map_err(|error| unavailable(&assembly.path, &error))?;
        assembly.is_wanted(&probe.identity).map_err(Closed::Because)?;
        // Where nothing is looked at, nothing is another disk.
        if assembly.is_nowhere() {
            return Ok(probe);
        }
        let state = self.lock();
        let seen = state.seen.get(&assembly.path).map(|seen| &seen.identity);
        let other = seen.filter(|seen| self.is_other_disk(seen, &probe.identity));
        let Some(why) = other.map(|seen| other_disk(&assembly.path, seen, &probe.identity)) else {
            return Ok(probe);
        };
        drop(state);
        self.remember_found(assembly, probe);
        Err(Closed::Because(why))
    }

    /// Files follow their path; devices do not, unless they are told to. Where there is nothing yet there is no disk.
    pub(super) fn is_other_disk(&self, seen: &Identity, now: &Identity) -> bool {
        let of_files = seen.follows_its_path() && now.follows_its_path();
        !(of_files || self.follows() || seen.same_disk(now))
    }

    /// An open export on the same disk, of the same size, with the same offer. With another offer the disk is opened once
    /// more; what is known of failed syncs is shared all the same (P6).
    fn open_already(&self, probe: &Probe, assembly: &Assembly, visit: &Visit<'_>) -> Option<Arc<Export>> {
        if assembly.is_private() {
            return None;
        }
        // Let go only after the lock: the last reference closes a disk, and that can take long.
        let open: Vec<Arc<Export>> = self
            .lock()
            .open
            .iter()
            .filter(|open| open.assembly.path == assembly.path && open.assembly.access == assembly.access)
            .filter(|open| open.identity.now().same_disk(&probe.identity) && open.waiting.is_none())
            .filter_map(|open| open.export.upgrade())
            .collect();
        let fits = |export: &&Arc<Export>| {
            // Raised for its sessions only: a later reload may have made the export writable again.
            !export.seats.read_only_now.load(Ordering::SeqCst)
                && !export.seats.gate.is_revoked()
                && export.store.geometry().size == probe.size
                && export.offer == assemble::offer(&*export.store, visit.settings, false, visit.limits)
        };
        open.iter().find(fits).cloned()
    }

    /// Opens, and looks again: between the probe and the opening another disk may have taken the path.
    fn open_store(&self, probe: &Probe, assembly: &Assembly) -> Result<Assembled, Closed> {
        let poison = self.shared.poison(&assembly.path);
        let assembled = assembly.open(&poison).map_err(|error| unavailable(&assembly.path, &error))?;
        assembly.is_wanted(&assembled.identity).map_err(Closed::Because)?;
        if self.is_other_disk(&probe.identity, &assembled.identity) {
            let why = other_disk(&assembly.path, &probe.identity, &assembled.identity);
            return Err(Closed::Because(why));
        }
        Ok(assembled)
    }

    /// Counts a thread that may hold a store without a seat; the fence waits for it.
    fn count_opening(&self) -> Result<Held<'_>, Closed> {
        self.wait_online()?;
        let held = self.hold().ok_or(Closed::Replaced)?;
        if self.lock().closed { Err(Closed::Replaced) } else { Ok(held) }
    }

    /// The same for whoever does not enter. `None`: fenced for good.
    pub(super) fn hold(&self) -> Option<Held<'_>> {
        let mut state = self.lock();
        (!state.closed || state.retired).then(|| {
            state.holding += 1;
            Held { medium: self }
        })
    }
}

/// One session on its way in.
pub struct Room {
    medium: Arc<Medium>,
    counted: bool,
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.counted {
            self.medium.lock().coming -= 1;
        }
    }
}

pub(super) fn other_disk(path: &Path, seen: &Identity, now: &Identity) -> String {
    format!("another disk is at {} since the last reload: it was {seen}, it is {now}", path.display())
}

fn unavailable(path: &Path, error: &StoreError) -> Closed {
    let path = path.display();
    Closed::Because(match &error.cause {
        // The words of the original, which people search their logs for.
        Cause::Io(_) | Cause::Forbidden => format!("Could not open exported file {path}: {}", error.cause),
        cause => format!("{path}: {cause}"),
    })
}

/// See [`Medium::hold`].
pub(super) struct Held<'a> {
    medium: &'a Medium,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.medium.lock().holding -= 1;
        self.medium.changed.notify_all();
    }
}

/// See [`Medium::take_turn`].
struct Turn<'a> {
    medium: &'a Medium,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.medium.lock().turn = None;
        self.medium.changed.notify_all();
    }
}
