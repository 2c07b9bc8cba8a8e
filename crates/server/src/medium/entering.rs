//! How a session comes to a store: it waits for a fence that is under way, looks what disk is there, and shares what is
//! open or opens it.

use super::guard::DiskGuard;
use super::{Medium, Offline, Open};
use crate::assemble::{self, Assembly};
use session::{Entered, Export, Limits, Offer, Sitter};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use store::{Access, Cause, Identity, Opened, Probe, StoreError};

/// How long a session that chose an export during a reload waits for the fence to finish.
const ONLINE_WAIT: Duration = Duration::from_secs(5);
/// How long sessions wait for another one that is opening the same disk.
const TURN_MAX: Duration = Duration::from_secs(2);

/// Why a session cannot enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The reason, for the client and the log.
    Because(String),
    /// The medium was replaced meanwhile: ask the catalog again.
    Replaced,
}

impl Medium {
    /// Enters a session: shares an open store or opens one.
    pub fn enter(
        self: &Arc<Self>,
        settings: &config::Export,
        limits: &Limits,
        sitter: &Arc<Sitter>,
    ) -> Result<Entered, Closed> {
        // Declared first, dropped last: a store that is not wanted after all is closed before the count says so.
        let _counted = self.count_opening()?;
        let export = self.export(settings, limits)?;
        let state = self.lock();
        if state.closed {
            return Err(Closed::Replaced);
        }
        let sessions: usize = state.open.iter().map(|open| open.seats.sitters().len()).sum();
        if !settings.maxconnections.admits(sessions) {
            return Err(Closed::Because("Connection not allowed (too many clients)".into()));
        }
        match export.seats.take(sitter) {
            Some(seat) => Ok(Entered { export, seat }),
            None => Err(Closed::Replaced),
        }
    }

    /// What a session under these settings would be offered.
    pub fn offer(self: &Arc<Self>, settings: &config::Export, limits: &Limits) -> Result<Offer, Closed> {
        let _counted = self.count_opening()?;
        Ok(self.export(settings, limits)?.offer)
    }

    /// An open export with these settings: one that is open already, or a new one.
    fn export(self: &Arc<Self>, settings: &config::Export, limits: &Limits) -> Result<Arc<Export>, Closed> {
        let _turn = self.take_turn()?;
        let assembly = Assembly::new(settings);
        let probe = self.look(&assembly)?;
        if let Some(export) = self.open_already(&probe, &assembly, limits) {
            return Ok(export);
        }
        let Opened { store, identity } = self.open_store(&probe, &assembly)?;
        let offer = assemble::offer(&*store, settings, limits);
        let guard = DiskGuard { medium: self.clone(), store: store.clone(), identity: identity.clone() };
        let export = Export::new(self.name.clone(), offer, store, Arc::new(guard));
        self.publish(&export, Probe { identity, ..probe }, assembly.spec.write)?;
        Ok(export)
    }

    /// From here on the fence, the watch and other sessions know of it.
    fn publish(&self, export: &Arc<Export>, opened: Probe, access: Access) -> Result<(), Closed> {
        let mut state = self.lock();
        if state.closed {
            return Err(Closed::Replaced);
        }
        if state.read_only && access == Access::ReadWrite {
            export.read_only_now.store(true, Ordering::SeqCst);
        }
        let identity = opened.identity.clone();
        state.seen.get_or_insert(opened);
        state.open.retain(|open| open.export.strong_count() > 0 || !open.seats.is_empty());
        state.open.push(Open {
            export: Arc::downgrade(export),
            seats: export.seats.clone(),
            identity,
            access,
        });
        Ok(())
    }

    /// One session opens at a time. One that has not come back for long is on a disk that does not answer: nobody queues
    /// behind it.
    fn take_turn(&self) -> Result<Turn<'_>, Closed> {
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
                let why = format!("{} has not answered to being opened for {age} s", self.storage.path);
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
            match &state.offline {
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
        let probe =
            store::probe(&assembly.spec).map_err(|error| Closed::Because(self.unavailable(&error)))?;
        assembly.is_wanted(&probe.identity).map_err(Closed::Because)?;
        match &self.lock().seen {
            Some(seen) if self.is_other_disk(&seen.identity, &probe.identity) => {
                Err(Closed::Because(self.other_disk(&seen.identity, &probe.identity)))
            }
            _ => Ok(probe),
        }
    }

    /// Files follow their path; devices do not, unless they are told to.
    pub(super) fn is_other_disk(&self, seen: &Identity, now: &Identity) -> bool {
        let files = seen.follows_its_path() && now.follows_its_path();
        !self.follows() && !files && !seen.same_disk(now)
    }

    pub(super) fn other_disk(&self, seen: &Identity, now: &Identity) -> String {
        format!("another disk is at {} since the last reload: it was {seen}, it is {now}", self.storage.path)
    }

    fn unavailable(&self, error: &StoreError) -> String {
        match &error.cause {
            // The words of the original, which people search their logs for.
            Cause::Io(_) | Cause::Forbidden => {
                format!("Could not open exported file {}: {}", self.storage.path, error.cause)
            }
            cause => format!("{}: {cause}", self.storage.path),
        }
    }

    /// An open export on the same disk, of the same size, with the same offer. With another offer the disk is opened once
    /// more; what is known of failed syncs is shared all the same (P6).
    fn open_already(&self, probe: &Probe, assembly: &Assembly, limits: &Limits) -> Option<Arc<Export>> {
        // Let go only after the lock: the last reference closes a disk, and that can take long.
        let open: Vec<Arc<Export>> = self
            .lock()
            .open
            .iter()
            .filter(|open| open.identity.same_disk(&probe.identity) && open.access == assembly.spec.write)
            .filter_map(|open| open.export.upgrade())
            .collect();
        let fits = |export: &&Arc<Export>| {
            // Raised for its sessions only: a later reload may have made the export writable again.
            !export.read_only_now.load(Ordering::SeqCst)
                && !export.seats.gate.is_revoked()
                && export.store.geometry().size == probe.size
                && export.offer == assemble::offer(&*export.store, assembly.settings, limits)
        };
        open.iter().find(fits).cloned()
    }

    /// Opens, and looks again: between the probe and the opening another disk may have taken the path.
    fn open_store(&self, probe: &Probe, assembly: &Assembly) -> Result<Opened, Closed> {
        let opened = store::open(&assembly.spec, self.shared.poison.clone())
            .map_err(|error| Closed::Because(self.unavailable(&error)))?;
        assembly.is_wanted(&opened.identity).map_err(Closed::Because)?;
        if self.is_other_disk(&probe.identity, &opened.identity) {
            return Err(Closed::Because(self.other_disk(&probe.identity, &opened.identity)));
        }
        Ok(opened)
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
