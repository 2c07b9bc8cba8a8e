//! What one configured path leads to: the disk that was last seen there, and the stores that are open on it.
//!
//! A medium lives as long as the export's storage stays the same, through any number of reloads that change other
//! settings. Stores are opened when the first session comes and closed when the last one leaves, so that a disk nobody
//! uses can be detached at any time.

mod guard;

use crate::assemble::{self, Assembly};
use crate::log::Log;
use guard::DiskGuard;
use session::{Entered, Export, ExportName, Limits, Offer, Seats, Sitter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use store::{Access, Cause, FileStore, Identity, Poison, Probe, StoreError};

/// How long a session that chose an export during a reload waits for the fence to finish.
const ONLINE_WAIT: Duration = Duration::from_secs(5);

/// See the module.
pub struct Medium {
    /// As it is configured.
    pub name: ExportName,
    /// Where the bytes are, and which disk it must be.
    pub storage: config::Storage,
    /// Whether another disk under the path is served without a reload.
    follow: AtomicBool,
    /// A failed sync is remembered here for as long as the medium lives (P6).
    poison: Arc<Poison>,
    log: Log,
    state: Mutex<State>,
    changed: Condvar,
    /// A check of the open stores is under way, and may take long on a disk that does not answer.
    checking: AtomicBool,
    /// Held while a store is being opened, so that sessions that come together share one.
    opening: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// What start, the last reload or the first appearance found at the path.
    seen: Option<Probe>,
    open: Vec<Open>,
    /// Why nobody may enter for now.
    offline: Option<Offline>,
    /// Fenced for good: the export was removed or has another medium.
    closed: bool,
    /// Threads between deciding to open and having published (or dropped) the store.
    opening: usize,
}

/// Why a medium cannot be entered for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offline {
    /// The reload that made it is not through with its fence. That takes a moment, and whoever comes now waits for it.
    UnderWay,
    /// What must end first hangs, says the sentence. Nobody waits for that.
    Hangs(String),
}

/// One opened store and those who use it.
struct Open {
    export: Weak<Export>,
    seats: Arc<Seats>,
    identity: Identity,
    access: Access,
}

/// Why a session cannot enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The reason, for the client and the log.
    Because(String),
    /// The medium was replaced meanwhile: ask the catalog again.
    Replaced,
}

impl Medium {
    /// A medium that has not been looked at. With `offline`, nobody may enter before [`Medium::bring_online`].
    #[must_use]
    pub fn new(settings: &config::Export, offline: Option<Offline>, log: Log) -> Arc<Self> {
        Arc::new(Self {
            name: ExportName::from(settings.name.as_bytes()),
            storage: settings.storage.clone(),
            follow: AtomicBool::new(settings.device_changes == config::DeviceChanges::Follow),
            poison: Arc::new(Poison::new()),
            log,
            state: Mutex::new(State { offline, ..State::default() }),
            changed: Condvar::new(),
            checking: AtomicBool::new(false),
            opening: Mutex::new(()),
        })
    }

    /// Whether another disk under the path is served without a reload (`device_changes`).
    pub fn set_follow(&self, settings: &config::Export) {
        self.follow.store(settings.device_changes == config::DeviceChanges::Follow, Ordering::Relaxed);
    }

    fn follows(&self) -> bool {
        self.follow.load(Ordering::Relaxed)
    }

    /// What was last seen at the path.
    #[must_use]
    pub fn seen(&self) -> Option<Probe> {
        self.lock().seen.clone()
    }

    /// Remembers what a reload found.
    pub fn remember(&self, probe: &Probe) {
        self.lock().seen = Some(probe.clone());
    }

    /// Lets sessions in.
    pub fn bring_online(&self) {
        self.lock().offline = None;
        self.changed.notify_all();
    }

    /// Keeps sessions out, and says why.
    pub fn keep_offline(&self, why: String) {
        self.lock().offline = Some(Offline::Hangs(why));
        self.changed.notify_all();
    }

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
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let assembly = Assembly::new(settings);
        let probe = self.look(&assembly)?;
        if let Some(export) = self.shared(&probe, &assembly, limits) {
            return Ok(export);
        }
        let store = self.open_store(&probe, &assembly)?;
        let offer = assemble::offer(&*store, settings, limits);
        let guard = DiskGuard { medium: self.clone(), store: store.clone(), log: self.log.clone() };
        let identity = store.identity().clone();
        let export = Export::new(self.name.clone(), offer, store, Arc::new(guard));
        let mut state = self.lock();
        if state.closed {
            return Err(Closed::Replaced);
        }
        if let Some(Probe { identity: Identity::File { ino: 0, .. }, .. }) = state.seen {
            // It was to be created, and has been: from now on it is this file.
            state.seen = Some(Probe { identity: identity.clone(), ..probe });
        }
        state.open.retain(|open| open.export.strong_count() > 0 || !open.seats.is_empty());
        state.open.push(Open {
            export: Arc::downgrade(&export),
            seats: export.seats.clone(),
            identity,
            access: assembly.spec.write,
        });
        Ok(export)
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
        let mut state = self.lock();
        match &state.seen {
            Some(seen) if self.is_other_disk(&seen.identity, &probe.identity) => {
                Err(Closed::Because(self.other_disk(&seen.identity, &probe.identity)))
            }
            Some(_) => Ok(probe),
            None => {
                state.seen = Some(probe.clone());
                Ok(probe)
            }
        }
    }

    /// Files follow their path; devices do not, unless they are told to.
    fn is_other_disk(&self, seen: &Identity, now: &Identity) -> bool {
        let files = matches!((seen, now), (Identity::File { .. }, Identity::File { .. }));
        !self.follows() && !files && !seen.same_disk(now)
    }

    fn other_disk(&self, seen: &Identity, now: &Identity) -> String {
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

    /// An open export on the same disk, of the same size, with the same offer. With another offer its store is shared
    /// all the same, so that one descriptor serves everybody (P6).
    fn shared(&self, probe: &Probe, assembly: &Assembly, limits: &Limits) -> Option<Arc<Export>> {
        let state = self.lock();
        state.open.iter().find_map(|open| {
            let export = open.export.upgrade()?;
            let same = open.identity.same_disk(&probe.identity)
                && open.access == assembly.spec.write
                // Raised for its sessions only: a later reload may have made the export writable again.
                && !export.read_only_now.load(Ordering::Relaxed)
                && !open.seats.gate.is_revoked()
                && export.store.geometry().size == probe.size
                && export.offer == assemble::offer(&*export.store, assembly.settings, limits);
            same.then_some(export)
        })
    }

    /// Opens, and looks again: between the probe and the opening another disk may have taken the path.
    fn open_store(&self, probe: &Probe, assembly: &Assembly) -> Result<Arc<FileStore>, Closed> {
        let store = store::open(&assembly.spec, self.poison.clone())
            .map_err(|error| Closed::Because(self.unavailable(&error)))?;
        assembly.is_wanted(store.identity()).map_err(Closed::Because)?;
        if self.is_other_disk(&probe.identity, store.identity()) {
            return Err(Closed::Because(self.other_disk(&probe.identity, store.identity())));
        }
        Ok(Arc::new(store))
    }

    /// Counts a thread that may hold a store without a seat; the fence waits for it.
    fn count_opening(&self) -> Result<Opening<'_>, Closed> {
        self.wait_online()?;
        let mut state = self.lock();
        if state.closed {
            return Err(Closed::Replaced);
        }
        state.opening += 1;
        Ok(Opening { medium: self })
    }

    /// Refuses every later request at this medium and ends its sessions. With `for_good`, nobody enters again.
    pub fn revoke(&self, for_good: bool) -> Vec<Arc<Sitter>> {
        let mut state = self.lock();
        state.closed |= for_good;
        self.changed.notify_all();
        state.open.iter().flat_map(|open| open.seats.revoke()).collect()
    }

    /// Moves what is open on the disk that `probe` found over to the medium that takes this one's place: files follow
    /// their path, so some sessions may be on the new file already, and those are not to be disturbed (P4).
    pub fn hand_on(&self, successor: &Self, probe: &Probe) {
        let open = std::mem::take(&mut self.lock().open);
        let (on_it, elsewhere) = open.into_iter().partition(|open| open.identity.same_disk(&probe.identity));
        self.lock().open = elsewhere;
        successor.lock().open = on_it;
    }

    /// Detaches the medium from the catalog and leaves its sessions alone (`on_change = keep`).
    pub fn retire(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// A reload made the export read-only: open sessions may not write any more.
    pub fn make_read_only(&self) {
        for open in &self.lock().open {
            if let Some(export) = open.export.upgrade() {
                export.read_only_now.store(true, Ordering::Relaxed);
            }
        }
    }

    /// The sessions at this medium.
    #[must_use]
    pub fn sitters(&self) -> Vec<Arc<Sitter>> {
        self.lock().open.iter().flat_map(|open| open.seats.sitters()).collect()
    }

    /// Waits until every session has left and every store is closed; `false` when the deadline passed first.
    #[must_use]
    pub fn wait_closed(&self, deadline: Instant) -> bool {
        let seats: Vec<Arc<Seats>> = self.lock().open.iter().map(|open| open.seats.clone()).collect();
        if !seats.iter().all(|seats| seats.wait_empty(deadline)) {
            return false;
        }
        let mut state = self.lock();
        while state.opening > 0 {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Opening<'a> {
    medium: &'a Medium,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.medium.lock().opening -= 1;
        self.medium.changed.notify_all();
    }
}
