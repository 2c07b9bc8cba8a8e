//! Who is connected, and what was done under each export's name since the server started.
//!
//! Entered once a session and looked at by whoever asks; no request touches it.

use control::metrics::{Family, Kind};
use session::{ExportName, OptionRefusal, Readings, Seats, Sitter};
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
    /// It may not write now.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only || self.seats.read_only_now.load(Ordering::Relaxed)
    }
}

/// All of them.
#[derive(Default)]
pub struct Roll {
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Default)]
struct State {
    present: BTreeMap<u64, Arc<Present>>,
    /// What sessions did that have left.
    past: BTreeMap<ExportName, Readings>,
    /// Exports of the configuration: of others nothing is kept.
    configured: BTreeSet<ExportName>,
    /// How connections ended that never became a session, and sessions.
    endings: BTreeMap<(&'static str, &'static str), u64>,
    /// Options that were refused, by the specification's name of the error.
    refusals: BTreeMap<&'static str, u64>,
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

    /// Everybody, in the order in which they began.
    #[must_use]
    pub fn present(&self) -> Vec<Arc<Present>> {
        self.lock().present.values().cloned().collect()
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
                *sessions += 1;
            }
        }
        totals
    }

    /// A connection is over.
    pub fn ended(&self, phase: &'static str, ending: &'static str) {
        *self.lock().endings.entry((phase, ending)).or_default() += 1;
    }

    /// An option was refused, with this error.
    pub fn refused(&self, refusal: &OptionRefusal) {
        let reason = match refusal {
            OptionRefusal::UnknownExport => "unknown_export",
            OptionRefusal::Policy(_) => "policy",
            OptionRefusal::Invalid(_) => "invalid",
            OptionRefusal::Unsupported(_) => "unsupported",
            OptionRefusal::TooBig(_) => "too_big",
            OptionRefusal::TlsRequired(_) => "tls_required",
            OptionRefusal::ShuttingDown => "shutting_down",
        };
        *self.lock().refusals.entry(reason).or_default() += 1;
    }

    /// Refused options, as figures.
    #[must_use]
    pub fn refusals(&self) -> Family {
        let help = "Options of handshakes that were refused, by reason.";
        let family = Family::new("nbd_server_options_refused_total", Kind::Counter, help);
        let state = self.lock();
        state
            .refusals
            .iter()
            .fold(family, |family, (reason, count)| family.with(&[("reason", reason)], *count as f64))
    }

    /// How connections ended, as figures.
    #[must_use]
    pub fn endings(&self) -> Family {
        let help = "Connections that are over, by the phase they reached and how they ended.";
        let family = Family::new("nbd_server_connections_ended_total", Kind::Counter, help);
        self.lock().endings.iter().fold(family, |family, ((phase, ending), count)| {
            family.with(&[("phase", phase), ("ending", ending)], *count as f64)
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
