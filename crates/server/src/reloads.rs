//! How reloads went, for whoever asks later.

use crate::answer;
use control::metrics::{Family, Kind};
use control::view::{LastReload, Outcome, Reload};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const OUTCOMES: [(Outcome, &str); 3] =
    [(Outcome::Complete, "complete"), (Outcome::Incomplete, "incomplete"), (Outcome::Refused, "refused")];
/// Bounds of the histogram of fences, in milliseconds: what sessions that are quick to go take, and those that hang.
const BOUNDS_MS: [u64; 8] = [1, 5, 25, 100, 500, 1_000, 5_000, 10_000];

/// See the module.
#[derive(Default)]
pub struct Reloads {
    state: Mutex<State>,
}

/// What is known of them.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// One is being carried out.
    pub under_way: bool,
    /// How the last one ended.
    pub last: Option<LastReload>,
    outcomes: [u64; 3],
    fences: [u64; BOUNDS_MS.len() + 1],
    fenced_ms: u64,
}

impl Reloads {
    /// What is known now.
    #[must_use]
    pub fn now(&self) -> State {
        self.lock().clone()
    }

    /// One begins.
    pub fn begin(&self) {
        self.lock().under_way = true;
    }

    /// It will not end: a mistake of ours.
    pub fn break_off(&self) {
        self.lock().under_way = false;
    }

    /// It has ended.
    pub fn end(&self, reload: &Reload) {
        let mut state = self.lock();
        state.under_way = false;
        if let Some(at) = OUTCOMES.iter().position(|(outcome, _)| *outcome == reload.outcome) {
            state.outcomes[at] += 1;
        }
        state.last = Some(LastReload {
            at: control::now(),
            outcome: reload.outcome,
            reason: reload.reason.clone(),
            took_ms: reload.took_ms,
        });
    }

    /// A fence that had somebody to cut off, or something to wait for, is over.
    pub fn fenced(&self, took: Duration) {
        let ms = answer::ms(took);
        let mut state = self.lock();
        state.fences[BOUNDS_MS.partition_point(|&bound| bound < ms)] += 1;
        state.fenced_ms = state.fenced_ms.saturating_add(ms);
    }

    /// As figures.
    #[must_use]
    pub fn figures(&self) -> Vec<Family> {
        let state = self.now();
        let help = "Reloads by how they ended.";
        let mut reloads = Family::new("nbd_server_reloads_total", Kind::Counter, help);
        for ((_, word), count) in OUTCOMES.iter().zip(state.outcomes) {
            reloads.push("", &[("outcome", word)], count as f64);
        }
        let help = "How long fences took.";
        let mut fences = Family::new("nbd_server_fence_duration_seconds", Kind::Histogram, help);
        let bounds = BOUNDS_MS.iter().map(|ms| *ms as f64 / 1e3);
        fences.push_histogram(&[], bounds, &state.fences, state.fenced_ms as f64 / 1e3);
        vec![reloads, fences]
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
