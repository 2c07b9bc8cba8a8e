//! What one configured path leads to: the disk that was last seen there, and the stores that are open on it.
//!
//! A medium lives as long as the export's storage stays the same, through any number of reloads that change other
//! settings. Stores are opened when the first session comes and closed when the last one leaves, so that a disk nobody
//! uses can be detached at any time.

mod arriving;
mod entering;
mod guard;
mod telling;
mod writing;

pub use entering::{Closed, Visit};
pub use telling::Told;

use crate::assemble::Assembly;
use crate::log::Log;
use session::{Export, ExportName, Seats, Sitter};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};
use store::{Access, Identity, Poison, Probe, WaitingStore};
use wire::TransmissionFlags;

/// See the module.
pub struct Medium {
    /// As it is configured.
    pub name: ExportName,
    /// Where the bytes are, and which disk it must be.
    pub storage: config::Storage,
    shared: Shared,
    log: Log,
    state: Mutex<State>,
    changed: Condvar,
    /// The medium that this one was split off from: whoever opens or looks counts there.
    parent: Option<Arc<Medium>>,
    /// A check of the open stores is under way, and may take long on a disk that does not answer.
    checking: AtomicBool,
}

/// What a medium has in common with its successor, as long as sessions came along.
#[derive(Clone, Default)]
struct Shared {
    /// Another disk under the path is served without a reload.
    follow: Arc<AtomicBool>,
    /// Failed syncs are remembered here (P6), path by path where it depends on the client.
    poison: Arc<Mutex<BTreeMap<PathBuf, Arc<Poison>>>>,
}

impl Shared {
    fn poison(&self, path: &Path) -> Arc<Poison> {
        let mut all = self.poison.lock().unwrap_or_else(PoisonError::into_inner);
        // Of paths that nobody uses only bad news is worth remembering.
        all.retain(|known, poison| known == path || Arc::strong_count(poison) > 1 || poison.poisoned());
        all.entry(path.into()).or_default().clone()
    }

    /// Another disk is at the path: what is known of the old one goes with those who are on it.
    fn forget_poison(&self, path: &Path) {
        self.poison.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }
}

#[derive(Default)]
struct State {
    /// What start, the last reload or the first appearance found at the path; at each path, where it depends on the
    /// client.
    seen: BTreeMap<PathBuf, Probe>,
    /// What is seen at the path that all clients have in common was compared with who else writes there.
    judged: bool,
    open: Vec<Open>,
    /// Sessions that have been let in and have no seat yet: their `prerun` may take long.
    coming: usize,
    /// Paths at which what was waited for has come (`waitfile`).
    arrived: BTreeSet<PathBuf>,
    /// Why nobody may enter for now, and since when.
    offline: Option<(Offline, SystemTime)>,
    /// Nobody enters any more: the export was removed or has another medium.
    closed: bool,
    /// Closed, but its sessions stay (`on_change = keep`), wherever its path leads now.
    retired: bool,
    /// Threads that may hold a store without a seat: they open one, or look whether it is still the right one.
    holding: usize,
    /// Since when somebody has been opening a store, so that sessions that come together share one.
    turn: Option<Instant>,
    /// The export is read-only since the last reload, whatever a session that came before it was told.
    read_only: bool,
    /// What sessions were offered last.
    offered: Option<TransmissionFlags>,
    /// What the last look or opening found at the path that all clients have in common. To be told, and not to be decided
    /// by: that is `seen`.
    found: Option<Probe>,
    /// Why its disk could not be served when it was last tried.
    trouble: Option<String>,
}

/// Why a medium cannot be entered for now.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Offline {
    /// The reload that made it is not through with its fence. That takes a moment, and whoever comes now waits for it.
    UnderWay,
    /// What must end first hangs, says the sentence. Nobody waits for that.
    Hangs(String),
}

/// One opened store and those who use it.
struct Open {
    export: Weak<Export>,
    seats: Arc<Seats>,
    assembly: Assembly,
    identity: Known,
    /// It waits for its file.
    waiting: Option<Weak<WaitingStore>>,
}

impl State {
    /// Of these paths of single clients, those that lead to another disk than was seen there.
    fn moved<'a>(&self, found: &'a [(PathBuf, Option<Probe>)]) -> Vec<(&'a PathBuf, &'a Probe)> {
        let there = found.iter().filter_map(|(path, now)| Some((path, now.as_ref()?)));
        let other = |seen: &Probe, now: &Probe| !seen.identity.same_disk(&now.identity);
        there.filter(|(path, now)| self.seen.get(*path).is_some_and(|seen| other(seen, now))).collect()
    }

    fn take_those_on(&mut self, disk: &Identity) -> Vec<Open> {
        let all = std::mem::take(&mut self.open);
        let (on_it, elsewhere) = all.into_iter().partition(|open| open.identity.now().same_disk(disk));
        self.open = elsewhere;
        on_it
    }
}

impl Open {
    /// Its path is one of those, and it is not on the disk there. Files follow their path, so some may be on the new one
    /// already.
    fn is_elsewhere(&self, moved: &[(&PathBuf, &Probe)]) -> bool {
        let here = moved.iter().find(|(path, _)| **path == self.assembly.path);
        here.is_some_and(|(_, now)| !self.identity.now().same_disk(&now.identity))
    }
}

/// Which disk a store is on. Its guard and its medium look at the same one: a store that waited finds its disk later.
#[derive(Clone)]
struct Known(Arc<Mutex<Identity>>);

impl Known {
    fn new(identity: Identity) -> Self {
        Self(Arc::new(Mutex::new(identity)))
    }

    fn now(&self) -> Identity {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn becomes(&self, identity: Identity) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }
}

impl Medium {
    /// A medium that has not been looked at. Nobody may enter before [`Medium::bring_online`].
    #[must_use]
    pub fn new(settings: &config::Export, log: Log) -> Arc<Self> {
        Self::with(settings, Vec::new(), Shared::default(), log)
    }

    fn with(settings: &config::Export, open: Vec<Open>, shared: Shared, log: Log) -> Arc<Self> {
        let (offline, read_only) = (Some((Offline::UnderWay, SystemTime::now())), settings.readonly);
        let medium = Arc::new(Self {
            name: ExportName::from(settings.name.as_bytes()),
            storage: settings.storage.clone(),
            shared,
            log,
            state: Mutex::new(State { open, offline, read_only, ..State::default() }),
            changed: Condvar::new(),
            parent: None,
            checking: AtomicBool::new(false),
        });
        medium.set_follow(settings);
        medium
    }

    /// The same medium once more, with some of its stores.
    fn beside(self: &Arc<Self>, open: Vec<Open>) -> Arc<Self> {
        Arc::new(Self {
            name: self.name.clone(),
            storage: self.storage.clone(),
            shared: self.shared.clone(),
            log: self.log.clone(),
            state: Mutex::new(State { open, ..State::default() }),
            changed: Condvar::new(),
            parent: Some(self.clone()),
            checking: AtomicBool::new(false),
        })
    }

    /// Whether another disk under the path is served without a reload (`device_changes`).
    pub fn set_follow(&self, settings: &config::Export) {
        self.shared.follow.store(settings.device_changes == config::DeviceChanges::Follow, Ordering::Relaxed);
    }

    fn follows(&self) -> bool {
        self.shared.follow.load(Ordering::Relaxed)
    }

    /// What was last seen at the path that all clients have in common.
    #[must_use]
    pub fn seen(&self) -> Option<Probe> {
        self.lock().seen.get(Path::new(&self.storage.path)).cloned()
    }

    /// Remembers what a reload found at that path. A file that is yet to be made is nothing.
    pub fn remember(&self, probe: &Probe) {
        let mut state = self.lock();
        if self.storage.client.is_some() {
            return;
        }
        state.seen.clear();
        state.judged = !probe.to_be_created();
        state.found = (!probe.to_be_created()).then(|| probe.clone());
        if let Some(found) = state.found.clone() {
            state.seen.insert(self.storage.path.clone().into(), found);
        }
    }

    /// Every path at which something was seen, where it depends on the client.
    #[must_use]
    pub fn scattered(&self) -> Vec<PathBuf> {
        if self.storage.client.is_none() {
            return Vec::new();
        }
        self.lock().seen.keys().cloned().collect()
    }

    /// What a reload found at the paths of single clients. Sessions at paths that lead to another disk now are split off
    /// into a medium of their own, to be fenced; the next client gets what is there.
    #[must_use]
    pub fn split_off(self: &Arc<Self>, found: &[(PathBuf, Option<Probe>)]) -> Option<Arc<Self>> {
        let mut state = self.lock();
        let moved = state.moved(found);
        for (path, now) in &moved {
            state.seen.insert((*path).clone(), (*now).clone());
            self.shared.forget_poison(path);
        }
        let (elsewhere, stay): (Vec<Open>, _) =
            std::mem::take(&mut state.open).into_iter().partition(|open| open.is_elsewhere(&moved));
        state.open = stay;
        drop(state);
        (!elsewhere.is_empty()).then(|| self.beside(elsewhere))
    }

    /// Whether [`Medium::split_off`] would split off somebody.
    #[must_use]
    pub fn would_split_off(&self, found: &[(PathBuf, Option<Probe>)]) -> bool {
        let state = self.lock();
        let moved = state.moved(found);
        state.open.iter().any(|open| open.is_elsewhere(&moved))
    }

    /// Lets sessions in.
    pub fn bring_online(&self) {
        self.lock().offline = None;
        self.changed.notify_all();
    }

    /// Whether it waits for something that hangs, and not for the reload that made it.
    #[must_use]
    pub fn waits_for_hanging(&self) -> bool {
        matches!(self.lock().offline, Some((Offline::Hangs(_), _)))
    }

    /// Keeps sessions out, and says why.
    pub fn keep_offline(&self, why: String) {
        let mut state = self.lock();
        let since = state.offline.as_ref().map_or_else(SystemTime::now, |(_, since)| *since);
        state.offline = Some((Offline::Hangs(why), since));
        drop(state);
        self.changed.notify_all();
    }

    /// Refuses every later request at this medium and ends its sessions. With `for_good`, nobody enters again.
    pub fn revoke(&self, for_good: bool) -> Vec<Arc<Sitter>> {
        let mut state = self.lock();
        state.closed |= for_good;
        self.changed.notify_all();
        state.open.iter().flat_map(|open| open.seats.revoke()).collect()
    }

    /// The medium that takes this one's place, where `probe` found another disk at the same path. Files follow their path, so
    /// some sessions may be on the new file already; they and their store move over and are not disturbed (P4), and with
    /// them what is known of failed syncs (P6).
    #[must_use]
    pub fn successor(&self, settings: &config::Export, probe: &Probe) -> Arc<Self> {
        let mut state = self.lock();
        let on_it = state.take_those_on(&probe.identity);
        let arrived = state.arrived.clone();
        drop(state);
        let shared = if on_it.is_empty() { Shared::default() } else { self.shared.clone() };
        let successor = Self::with(settings, on_it, shared, self.log.clone());
        // What was waited for has come, though it is another one now.
        successor.lock().arrived = arrived;
        successor
    }

    /// Those who are on this disk already, as a medium of their own, to be fenced.
    #[must_use]
    pub fn split_off_disk(self: &Arc<Self>, disk: &Identity) -> Arc<Self> {
        let on_it = self.lock().take_those_on(disk);
        self.beside(on_it)
    }

    /// Detaches the medium from the catalog and leaves its sessions alone (`on_change = keep`).
    pub fn retire(&self) {
        let mut state = self.lock();
        (state.closed, state.retired) = (true, true);
        drop(state);
        self.changed.notify_all();
    }

    /// What a reload says of it. Open sessions lose their right to write at once, and so do those that are just coming in
    /// under what was said before; it does not come back to them. Whether somebody lost it.
    #[must_use]
    pub fn set_read_only(&self, read_only: bool) -> bool {
        let mut state = self.lock();
        state.read_only = read_only;
        let writable =
            state.open.iter().filter(|open| read_only && open.assembly.access == Access::ReadWrite);
        let open: Vec<Arc<Export>> = writable.filter_map(|open| open.export.upgrade()).collect();
        drop(state);
        open.iter().filter(|export| !export.seats.read_only_now.swap(true, Ordering::SeqCst)).count() > 0
    }

    /// Waits until each session was seen with no request inside, so that whatever was admitted before has been done.
    /// `false`: not in time.
    #[must_use]
    pub fn wait_settled(&self, deadline: Instant) -> bool {
        self.sitters().iter().all(|sitter| {
            while !sitter.turnstile.is_empty() {
                if Instant::now() >= deadline {
                    return false;
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            true
        })
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
        if self.parent.as_ref().is_some_and(|parent| !parent.wait_let_go(deadline)) {
            return false;
        }
        self.wait_let_go(deadline)
    }

    /// Waits until no thread holds a store without a seat.
    fn wait_let_go(&self, deadline: Instant) -> bool {
        let rest = deadline.saturating_duration_since(Instant::now());
        let waited = self.changed.wait_timeout_while(self.lock(), rest, |state| state.holding > 0);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
