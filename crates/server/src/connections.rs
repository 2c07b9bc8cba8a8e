//! From an accepted socket to a session's thread, and how many of each there may be.
//!
//! Handshakes have their own, small number of places. When all are taken the oldest one gives way to the newcomer: a
//! real client is through in a few round trips, so whoever has been there longest is the least likely to be one, and
//! ten thousand silent connections keep nobody out (P7).

use crate::access::Peer;
use crate::guest::Guest;
use crate::log::{Level, Log};
use crate::roll::Present;
use crate::socket::Socket;
use crate::state::Shared;
use control::Line;
use rustix::fd::OwnedFd;
use session::{Channel, Class, Ending, Sitter};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Handshakes at a time. Enough for a burst of real clients, few enough in threads and memory.
const HANDSHAKES_MAX: usize = 1024;
/// Handshakes and sessions that there are places for in any case.
const PLACES_MIN: usize = 8;
/// Descriptors of a session: a socket, often a waker, and at worst an export of its own.
const EACH: usize = 3;
/// Descriptors that no client gets: what the process itself has open, and what a reload and the control socket need.
const RESERVE: usize = 64;
/// A handshake this young does not give way: a burst of real clients must not chase itself away.
const HANDSHAKE_GRACE: Duration = Duration::from_millis(250);
/// A session's thread needs little: its buffers are on the heap.
const STACK: usize = 256 << 10;

/// Who is connected.
pub struct Sessions {
    handshakes_max: usize,
    sessions_max: usize,
    handshakes: Mutex<BTreeMap<u64, Handshake>>,
    freed: Condvar,
    /// Sessions past the handshake.
    running: AtomicUsize,
    /// Handshakes that gave way so far.
    evicted: AtomicU64,
}

struct Handshake {
    began: Instant,
    socket: Arc<Socket>,
}

impl Sessions {
    /// Whether so many descriptors are enough for a server that listens.
    ///
    /// # Errors
    /// With fewer, clients could keep a reload from reading the configuration. The sentence says how many it takes.
    pub fn enough(descriptors_max: u64) -> Result<(), String> {
        let least = (RESERVE + PLACES_MIN * (1 + EACH)) as u64;
        if descriptors_max >= least {
            return Ok(());
        }
        Err(format!(
            "{descriptors_max} open files are too few for a server, which needs {least}: raise the limit \
             (LimitNOFILE= of its unit, ulimit -n)"
        ))
    }

    /// Places according to how many descriptors the process may have.
    #[must_use]
    pub fn within(descriptors_max: u64) -> Self {
        let descriptors = usize::try_from(descriptors_max).unwrap_or(usize::MAX);
        let for_clients = descriptors.saturating_sub(RESERVE);
        let handshakes_max = (descriptors / 4)
            .min(for_clients.saturating_sub(PLACES_MIN * EACH))
            .clamp(PLACES_MIN, HANDSHAKES_MAX);
        let sessions_max = for_clients.saturating_sub(handshakes_max) / EACH;
        Self {
            handshakes_max,
            sessions_max: sessions_max.clamp(PLACES_MIN, 1 << 16),
            handshakes: Mutex::default(),
            freed: Condvar::new(),
            running: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// Whether one more session may begin.
    ///
    /// # Errors
    /// The sentence for the client, naming the limit.
    pub fn admit(&self) -> Result<(), String> {
        if self.running.load(Ordering::Relaxed) < self.sessions_max {
            return Ok(());
        }
        Err(format!("Access denied by server configuration: all {} sessions are taken", self.sessions_max))
    }

    /// Waits until the last session has said its last line; not for long.
    pub fn wait_gone(&self, deadline: Instant) {
        while self.running.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Handshakes that gave way to others since the server started.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Connections that have not chosen an export yet.
    #[must_use]
    pub fn handshakes(&self) -> usize {
        self.lock().len()
    }

    /// Ends the oldest handshake. `false`: there is none.
    pub fn evict_oldest(&self) -> bool {
        let mut handshakes = self.lock();
        let Some((_, oldest)) = handshakes.pop_first() else { return false };
        oldest.socket.close();
        self.evicted.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Ends every handshake, because the server stops.
    pub fn close_handshakes(&self) {
        for handshake in self.lock().values() {
            handshake.socket.close();
        }
    }

    /// Takes a place for a handshake; if none is free, waits for the grace of the oldest and takes its place.
    fn begin(&self, id: u64, socket: &Arc<Socket>) -> bool {
        let mut handshakes = self.lock();
        let mut evicted = false;
        while handshakes.len() >= self.handshakes_max {
            let Some(age) = handshakes.first_key_value().map(|(_, oldest)| oldest.began.elapsed()) else {
                break;
            };
            if let Some(rest) = HANDSHAKE_GRACE.checked_sub(age).filter(|rest| !rest.is_zero()) {
                handshakes =
                    self.freed.wait_timeout(handshakes, rest).unwrap_or_else(PoisonError::into_inner).0;
            } else if let Some((_, oldest)) = handshakes.pop_first() {
                oldest.socket.close();
                self.evicted.fetch_add(1, Ordering::Relaxed);
                evicted = true;
            }
        }
        handshakes.insert(id, Handshake { began: Instant::now(), socket: socket.clone() });
        evicted
    }

    fn end(&self, id: u64) {
        self.lock().remove(&id);
        self.freed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Handshake>> {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives a connected socket its thread. Called by the accepting thread alone.
pub fn welcome(shared: &Arc<Shared>, socket: OwnedFd, peer: Peer) {
    let accepted = Instant::now();
    let socket = Arc::new(Socket::new(socket));
    let sitter = Sitter::new(peer.to_string(), socket.clone());
    let id = sitter.id;
    if shared.sessions.begin(id, &socket) {
        shared.log.quietly(
            Level::Warning,
            "handshakes",
            "too many handshakes at a time: the oldest gave way",
        );
    }
    let thread_shared = shared.clone();
    let started = thread::Builder::new()
        .name("session".into())
        .stack_size(STACK)
        .spawn(move || run(&thread_shared, socket, &sitter, peer, accepted));
    if let Err(error) = started {
        shared.log.quietly(Level::Error, "threads", &format!("no thread for a connection: {error}"));
        shared.sessions.end(id);
        shared.sessions.evict_oldest();
    }
}

fn run(shared: &Arc<Shared>, socket: Arc<Socket>, sitter: &Arc<Sitter>, peer: Peer, accepted: Instant) {
    let places = Places { shared, id: sitter.id, entered: std::cell::Cell::new(false) };
    let guest = Guest::new(shared.clone(), peer, socket);
    let ending = session::serve(&guest, sitter, accepted, || places.enter());
    if let Some(present) = shared.roll.leave(sitter.id) {
        tell_end(&shared.log, &present, &ending);
    }
    let phase = if places.entered.get() { "transmission" } else { "handshake" };
    shared.roll.ended(phase, ending.kind());
    // The client learns of the end only now, when nothing of its session is left at the export.
    sitter.channel.close();
    report(&shared.log, sitter, &ending, places.entered.get());
}

/// The place of one connection, given back however its thread ends.
struct Places<'a> {
    shared: &'a Shared,
    id: u64,
    entered: std::cell::Cell<bool>,
}

impl Places<'_> {
    fn enter(&self) {
        self.shared.sessions.end(self.id);
        self.shared.sessions.running.fetch_add(1, Ordering::Relaxed);
        self.entered.set(true);
    }
}

impl Drop for Places<'_> {
    fn drop(&mut self) {
        // After a panic too.
        let _ = self.shared.roll.leave(self.id);
        if self.entered.get() {
            self.shared.sessions.running.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.shared.sessions.end(self.id);
        }
    }
}

fn tell_end(log: &Log, present: &Present, ending: &Ending) {
    let did = present.sitter.meter.read();
    let line = Line::new("session ended")
        .with("id", present.sitter.id)
        .with("peer", &present.sitter.peer)
        .with("export", &present.export)
        .with("reason", ending)
        .with("requests", did.requests())
        .with("read", did.of(Class::Read).bytes)
        .with("written", did.of(Class::Write).bytes)
        .with("errors", did.errors());
    log.tell(Level::Info, &line);
}

/// One line for the end of each connection, at a level that fits. What strangers can cause is limited in rate.
fn report(log: &Log, sitter: &Sitter, ending: &Ending, entered: bool) {
    let peer = &sitter.peer;
    let did = sitter.meter.read();
    let level = match ending {
        Ending::Disconnected
        | Ending::Fenced
        | Ending::LeftHaggling
        | Ending::Farewell(_)
        | Ending::Idle(_) => Level::Info,
        Ending::HungUp | Ending::Late | Ending::Cut(_) | Ending::UnknownClientFlags(_) => Level::Warning,
        Ending::NoTls(_) | Ending::Injected => Level::Warning,
        Ending::Malformed(_) | Ending::WrongDisk(_) | Ending::BrokenPromise(_) | Ending::Panicked => {
            Level::Error
        }
    };
    if !entered {
        log.quietly(level, "handshake", &format!("Negotiation with {peer} failed: {ending}"));
        return;
    }
    let dropped = if matches!(ending, Ending::Cut(_) | Ending::HungUp) { "Connection dropped: " } else { "" };
    log.write(
        level,
        &format!(
            "{dropped}{ending} peer={peer} requests={} read={} written={} errors={}",
            did.requests(),
            did.of(Class::Read).bytes,
            did.of(Class::Write).bytes,
            did.errors()
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many clients come: what a reload needs is there.
    #[test]
    fn clients_never_get_the_descriptors_of_a_reload() {
        let least = (0..).find(|count| Sessions::enough(*count).is_ok()).expect("some are enough");
        for descriptors in (least..5000).chain([1 << 16, 1 << 20, 1 << 30]) {
            let Sessions { handshakes_max, sessions_max, .. } = Sessions::within(descriptors);
            assert!(handshakes_max >= PLACES_MIN && sessions_max >= PLACES_MIN, "{descriptors}");
            let taken = RESERVE + handshakes_max + sessions_max * EACH;
            assert!(taken as u64 <= descriptors, "{taken} of {descriptors}");
        }
        assert!(Sessions::enough(least - 1).expect_err("too few").contains(&format!("needs {least}:")));
    }
}
