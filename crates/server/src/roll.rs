//! Who is connected, and what was done under each export's name since the server started.
//!
//! Entered once a session and looked at by whoever asks; no request touches it.

use control::metrics::{Family, Kind};
use session::{ExportName, Readings, Seats, Sitter};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

/// One session on an export.
pub struct Present {
    /// Its counters, and the way to end it.
    pub sitter: Arc<Sitter>,
    /// Where it sits. Holds no disk open.
    pub seats: Arc<Seats>,
    /// The export.
    pub export: ExportName,
    /// The path that this client was given.
    pub path: String,
    /// Who TLS says it is.
    pub tls: Option<String>,
    /// Of the catalog in which it found the export.
    pub generation: u64,
    /// When it entered.
    pub since: SystemTime,
    /// It could not write from the beginning.
    pub read_only: bool,
}

impl Present {
    /// It can still reach its disk.
    #[must_use]
    pub fn is_seated(&self) -> bool {
        self.seats.has(self.sitter.id)
    }

    /// It may not write now.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only || self.seats.read_only_now.load(Ordering::Relaxed)
    }
}

/// Reasons for which options are refused.
const REFUSALS: [&str; 9] = [
    "unknown_export",
    "limit",
    "not_allowed",
    "unavailable",
    "tls_required",
    "invalid",
    "unsupported",
    "too_big",
    "shutting_down",
];
/// How connections end in each phase; others may come.
const ENDINGS: [(&str, &str); 18] = [
    ("handshake", "left"),
    ("handshake", "farewell"),
    ("handshake", "late"),
    ("handshake", "cut"),
    ("handshake", "malformed"),
    ("handshake", "unknown_flags"),
    ("handshake", "injected"),
    ("handshake", "no_tls"),
    ("handshake", "panicked"),
    ("transmission", "disconnected"),
    ("transmission", "hung_up"),
    ("transmission", "cut"),
    ("transmission", "malformed"),
    ("transmission", "idle"),
    ("transmission", "fenced"),
    ("transmission", "wrong_disk"),
    ("transmission", "read_failed"),
    ("transmission", "panicked"),
];

/// All of them.
#[derive(Default)]
pub struct Roll {
    state: Mutex<State>,
    left: Condvar,
}

struct State {
    present: BTreeMap<u64, Arc<Present>>,
    /// What sessions did that have left.
    past: BTreeMap<ExportName, Readings>,
    /// Exports of the configuration: of others nothing is kept.
    configured: BTreeSet<ExportName>,
    /// How connections ended that never became a session, and sessions.
    endings: BTreeMap<(&'static str, &'static str), u64>,
    /// Options that were refused, by reason.
    refusals: BTreeMap<&'static str, u64>,
}

/// All endings and reasons from the beginning: a counter that appears with its first count has not risen.
impl Default for State {
    fn default() -> Self {
        Self {
            present: BTreeMap::new(),
            past: BTreeMap::new(),
            configured: BTreeSet::new(),
            endings: ENDINGS.into_iter().map(|at| (at, 0)).collect(),
            refusals: REFUSALS.into_iter().map(|reason| (reason, 0)).collect(),
        }
    }
}

impl Roll {
    /// A session has entered its export.
    pub fn enter(&self, present: Present) {
        self.lock().present.insert(present.sitter.id, Arc::new(present));
    }

    /// It is over, and nothing of it is under way any more. Gives back what it was.
    pub fn leave(&self, id: u64) -> Option<Arc<Present>> {
        let mut state = self.lock();
        let present = state.present.remove(&id)?;
        if state.configured.contains(&present.export) {
            state.past.entry(present.export.clone()).or_default().add(&present.sitter.meter.read());
        }
        drop(state);
        self.left.notify_all();
        Some(present)
    }

    /// These are the exports from now on.
    pub fn follow(&self, names: impl Iterator<Item = ExportName>) {
        let mut state = self.lock();
        state.configured = names.collect();
        let State { past, configured, .. } = &mut *state;
        past.retain(|name, _| configured.contains(name));
    }

    /// Everybody, in the order in which they began. Who has left the seat is gone for everybody else, although its thread
    /// may have a line to write yet: a fence waits for the seats.
    #[must_use]
    pub fn present(&self) -> Vec<Arc<Present>> {
        self.lock().present.values().filter(|present| present.is_seated()).cloned().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().present.len()
    }

    /// One of them.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<Arc<Present>> {
        self.lock().present.get(&id).cloned()
    }

    /// Waits until a session is over; `false`: not in time.
    #[must_use]
    pub fn wait_gone(&self, id: u64, deadline: Instant) -> bool {
        let rest = deadline.saturating_duration_since(Instant::now());
        let waited = self.left.wait_timeout_while(self.lock(), rest, |state| state.present.contains_key(&id));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// What was done under each configured name, by those who left and those who are there. Never falls: under one lock
    /// with [`Roll::leave`].
    #[must_use]
    pub fn totals(&self) -> BTreeMap<ExportName, (Readings, u64)> {
        let state = self.lock();
        let mut totals: BTreeMap<ExportName, (Readings, u64)> = BTreeMap::new();
        for name in &state.configured {
            let past = state.past.get(name).copied().unwrap_or_default();
            totals.insert(name.clone(), (past, 0));
        }
        for present in state.present.values() {
            if let Some((readings, sessions)) = totals.get_mut(&present.export) {
                readings.add(&present.sitter.meter.read());
                *sessions += u64::from(present.is_seated());
            }
        }
        totals
    }

    /// A connection is over.
    pub fn ended(&self, phase: &'static str, ending: &'static str) {
        *self.lock().endings.entry((phase, ending)).or_default() += 1;
    }

    /// An option was refused.
    pub fn refused(&self, reason: &'static str) {
        *self.lock().refusals.entry(reason).or_default() += 1;
    }

    /// Refused options, as figures.
    #[must_use]
    pub fn refusals(&self) -> Family {
        let help = "Options of handshakes that were refused, by reason.";
        let family = Family::new("nbd_server_options_refused_total", Kind::Counter, help);
        let state = self.lock();
        let refusals = state.refusals.iter();
        refusals.fold(family, |family, (reason, count)| family.with(&[("reason", reason)], *count as f64))
    }

    /// How connections ended, as figures.
    #[must_use]
    pub fn endings(&self) -> Family {
        let help = "Connections that are over, by the phase they reached and how they ended.";
        let family = Family::new("nbd_server_connections_ended_total", Kind::Counter, help);
        let state = self.lock();
        state.endings.iter().fold(family, |family, ((phase, ending), count)| {
            family.with(&[("phase", phase), ("ending", ending)], *count as f64)
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Socket;
    use session::{Class, Seat};
    use std::os::unix::net::UnixStream;

    /// A session of this export that read so often, and its seat.
    fn present(export: &str, reads: u64) -> (Present, Option<Seat>) {
        let (socket, _) = UnixStream::pair().expect("a socket pair");
        let sitter = Sitter::new("peer".into(), Arc::new(Socket::new(socket.into())));
        sitter.meter.came(Class::Read, reads);
        let seats = Arc::<Seats>::default();
        let seat = seats.take(&sitter);
        let (path, tls, generation, since) = (String::new(), None, 1, SystemTime::now());
        let export = ExportName::from(export.as_bytes());
        (Present { sitter, seats, export, path, tls, generation, since, read_only: false }, seat)
    }

    fn follow(roll: &Roll, names: &[&str]) {
        roll.follow(names.iter().map(|name| ExportName::from(name.as_bytes())));
    }

    /// Reads and sessions of an export.
    fn told(roll: &Roll, export: &str) -> Option<(u64, u64)> {
        let totals = roll.totals();
        let (readings, sessions) = totals.get(export.as_bytes())?;
        Some((readings.of(Class::Read).requests, *sessions))
    }

    #[test]
    fn what_a_session_did_is_counted_once_while_it_is_there_and_when_it_has_left() {
        let roll = Roll::default();
        follow(&roll, &["a", "b"]);
        assert_eq!(told(&roll, "a"), Some((0, 0)), "from the beginning, so that the first count is a rise");
        let ((one, _one), (two, _two)) = (present("a", 3), present("a", 4));
        let (id, sitter) = (one.sitter.id, one.sitter.clone());
        roll.enter(one);
        roll.enter(two);
        assert_eq!((told(&roll, "a"), told(&roll, "b")), (Some((7, 2)), Some((0, 0))));
        sitter.meter.came(Class::Read, 1);
        assert_eq!(told(&roll, "a"), Some((8, 2)));
        assert!(roll.leave(id).is_some() && roll.leave(id).is_none(), "however often its thread says so");
        assert_eq!(told(&roll, "a"), Some((8, 1)));
    }

    #[test]
    fn totals_outlive_reloads_and_go_with_their_export() {
        let roll = Roll::default();
        follow(&roll, &["a", "b"]);
        let ((one, _one), (late, _late)) = (present("a", 3), present("a", 5));
        let ids = [one.sitter.id, late.sitter.id];
        roll.enter(one);
        roll.leave(ids[0]);
        follow(&roll, &["b", "a"]);
        assert_eq!(told(&roll, "a"), Some((3, 0)));
        roll.enter(late);
        follow(&roll, &["b"]);
        assert_eq!(told(&roll, "a"), None);
        roll.leave(ids[1]);
        follow(&roll, &["a", "b"]);
        assert_eq!(told(&roll, "a"), Some((0, 0)), "nothing is kept of one that is gone");
    }

    /// A fence is done when every seat is left.
    #[test]
    fn who_has_left_the_seat_is_not_told_of_and_still_counted() {
        let roll = Roll::default();
        follow(&roll, &["a"]);
        let (one, seat) = present("a", 3);
        let id = one.sitter.id;
        roll.enter(one);
        assert_eq!((roll.present().len(), told(&roll, "a")), (1, Some((3, 1))));
        drop(seat);
        assert_eq!((roll.present().len(), told(&roll, "a")), (0, Some((3, 0))));
        assert!(!roll.wait_gone(id, Instant::now()), "its thread is not through yet");
        roll.leave(id);
        assert!(roll.wait_gone(id, Instant::now()));
        assert_eq!(told(&roll, "a"), Some((3, 0)));
    }
}
