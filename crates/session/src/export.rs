//! An opened export: a store under a name with its offer, its gate and the sessions that sit at it.

use crate::channel::Channel;
use crate::gate::{Gate, Turnstile};
use crate::meter::Meter;
use crate::name::ExportName;
use crate::offer::Offer;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use store::{Store, StoreError};

/// The host's eye on one opened export.
pub trait Guard: Send + Sync {
    /// Asked before the first write of each connection: is the disk still the one that was meant (P4)?
    ///
    /// # Errors
    /// A sentence that says what is there instead. The session answers ESHUTDOWN and ends.
    fn check(&self) -> Result<(), String>;

    /// Told that a session was stopped before its first write, why, and who had to go with it.
    fn wrong_disk(&self, why: &str, gone: &[Arc<Sitter>]);

    /// Told of everything that the medium fails to do.
    fn store_failed(&self, error: &StoreError);
}

/// One opened store under one name. Sessions share it, and with it one descriptor.
pub struct Export {
    /// As the client asked for it.
    pub name: ExportName,
    /// What is advertised and admitted.
    pub offer: Offer,
    /// The bytes.
    pub store: Arc<dyn Store>,
    /// Who sits here. Outlives the export, so that the fence can wait for the store to be closed.
    pub seats: Arc<Seats>,
    /// Asked before the first write of a connection.
    pub guard: Arc<dyn Guard>,
    /// The last buffered write took long, so the next ones go to the workers until one is quick again.
    slow_writes: AtomicBool,
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("name", &self.name).field("offer", &self.offer).finish_non_exhaustive()
    }
}

/// A buffered write that takes longer than this, and a nanosecond for each byte, is slow. A page cache takes a few
/// microseconds for 4 KiB; 200 µs mean that the kernel made the writer wait for the medium.
const SLOW_WRITE: Duration = Duration::from_micros(200);

impl Export {
    /// An opened export at which nobody sits yet.
    #[must_use]
    pub fn new(name: ExportName, offer: Offer, store: Arc<dyn Store>, guard: Arc<dyn Guard>) -> Arc<Self> {
        Arc::new(Self {
            name,
            offer,
            store,
            seats: Arc::default(),
            guard,
            slow_writes: AtomicBool::new(false),
        })
    }

    /// Remembers whether a buffered write of `len` bytes that took `elapsed` was quick.
    pub(crate) fn note_pace(&self, elapsed: Duration, len: usize) {
        let slow = elapsed > SLOW_WRITE + Duration::from_nanos(len as u64);
        if slow != self.slow_writes.load(Ordering::Relaxed) {
            self.slow_writes.store(slow, Ordering::Relaxed);
        }
    }

    /// Whether a buffered write may be done on the session's own thread.
    pub(crate) fn writes_are_quick(&self) -> bool {
        !self.slow_writes.load(Ordering::Relaxed)
    }

    /// Whether changes are refused, by the offer or since a reload.
    #[must_use]
    pub fn read_only(&self) -> bool {
        self.offer.read_only() || self.seats.read_only_now.load(Ordering::Relaxed)
    }
}

/// The gate of one opened export and the sessions that hold its store. A seat is left only after the session's last
/// reference to the store is gone, so `revoke` and then an empty list mean: every descriptor is closed (P2).
#[derive(Debug, Default)]
pub struct Seats {
    /// Looked at by each request.
    pub gate: Gate,
    /// Raised by a reload that makes the export read-only while sessions are open: their later writes are refused.
    pub read_only_now: AtomicBool,
    taken: Mutex<BTreeMap<u64, Arc<Sitter>>>,
    left: Condvar,
}

/// What is known about one session at an export, for the fence and for the operator.
pub struct Sitter {
    /// Unique in this process.
    pub id: u64,
    /// Address of the client, as it is logged.
    pub peer: String,
    /// To end the session.
    pub channel: Arc<dyn Channel>,
    /// Requests between admission and outcome.
    pub turnstile: Turnstile,
    /// When the oldest of the requests inside began, for a fence that must name what hangs: milliseconds of
    /// [`uptime_ms`], 0 when nothing is inside.
    pub busy_since_ms: AtomicU64,
    /// What it did so far.
    pub meter: Meter,
    /// When its last request came, in milliseconds of [`uptime_ms`]; 0 when none has come.
    pub active_ms: AtomicU64,
}

impl fmt::Debug for Sitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sitter").field("id", &self.id).field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Sitter {
    /// A session that has not begun. `peer` is the client's address as it is logged.
    #[must_use]
    pub fn new(peer: String, channel: Arc<dyn Channel>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            peer,
            channel,
            turnstile: Turnstile::new(),
            busy_since_ms: AtomicU64::new(0),
            meter: Meter::default(),
            active_ms: AtomicU64::new(0),
        })
    }

    /// For how long the oldest request inside has been going on.
    #[must_use]
    pub fn busy_for(&self) -> Option<Duration> {
        match self.busy_since_ms.load(Ordering::Relaxed) {
            0 => None,
            since => Some(Duration::from_millis(uptime_ms().saturating_sub(since))),
        }
    }
}

/// Milliseconds since the first call in this process, at least 1.
#[must_use]
pub fn uptime_ms() -> u64 {
    uptime_ms_at(Instant::now())
}

/// The same for a moment that was looked up already.
pub(crate) fn uptime_ms_at(now: Instant) -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let elapsed = now.saturating_duration_since(*START.get_or_init(|| now)).as_millis();
    u64::try_from(elapsed).unwrap_or(u64::MAX - 1) + 1
}

/// A place at an export, left when dropped. Declare it *before* what holds the store, so that it is dropped after it.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    id: u64,
}

impl Seats {
    /// Takes a place; `None` when the export is revoked.
    #[must_use]
    pub fn take(self: &Arc<Self>, sitter: &Arc<Sitter>) -> Option<Seat> {
        let mut taken = self.lock();
        if self.gate.is_revoked() {
            return None;
        }
        taken.insert(sitter.id, sitter.clone());
        Some(Seat { seats: self.clone(), id: sitter.id })
    }

    /// Refuses all later requests and ends the sessions: each answers what it has received and closes. Returns who sat
    /// here.
    pub fn revoke(&self) -> Vec<Arc<Sitter>> {
        let taken = self.lock();
        self.gate.revoke();
        for sitter in taken.values() {
            sitter.channel.close_input();
        }
        taken.values().cloned().collect()
    }

    /// Who sits here now.
    #[must_use]
    pub fn sitters(&self) -> Vec<Arc<Sitter>> {
        self.lock().values().cloned().collect()
    }

    /// Whether the session of that number sits here.
    #[must_use]
    pub fn has(&self, id: u64) -> bool {
        self.lock().contains_key(&id)
    }

    /// Whether nobody sits here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Waits until nobody sits here; `false` when the deadline passed first.
    #[must_use]
    pub fn wait_empty(&self, deadline: Instant) -> bool {
        let mut taken = self.lock();
        while !taken.is_empty() {
            let Some(rest) = deadline.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
            else {
                return false;
            };
            taken = self.left.wait_timeout(taken, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Sitter>>> {
        // A panic elsewhere must not keep the fence from working, and the map is consistent between statements.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().remove(&self.id);
        self.seats.left.notify_all();
    }
}
