//! What is remembered of a failed sync.
//!
//! The kernel reports a lost page once and marks it clean: the next sync says "all is well" although the bytes are
//! gone. So one failure makes every later promise of durability a lie, until somebody who knows the loss says
//! otherwise.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The memory of one export's failed syncs. It outlives the store, so that opening again does not forget.
#[derive(Debug, Default)]
pub struct Poison {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    first: Option<String>,
    /// Never falls, so a clear in between does not hide a failure from a sync that is under way.
    failures: u64,
}

impl Poison {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a sync has failed since the last [`Poison::clear`].
    pub fn poisoned(&self) -> bool {
        self.state().first.is_some()
    }

    /// The first failure since the last [`Poison::clear`], in words.
    pub fn failure(&self) -> Option<String> {
        self.state().first.clone()
    }

    /// Remembers a failure. The first one's words are kept. True when this was the first, so that it is logged once.
    pub fn remember(&self, failure: impl Into<String>) -> bool {
        let mut state = self.state();
        state.failures += 1;
        let first = state.first.is_none();
        state.first.get_or_insert_with(|| failure.into());
        first
    }

    /// Forgets: an operator has accepted the loss.
    pub fn clear(&self) {
        self.state().first = None;
    }

    pub(crate) fn failures(&self) -> u64 {
        self.state().failures
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_kept_until_cleared() {
        let poison = Poison::new();
        assert!(!poison.poisoned());
        assert!(poison.remember("disk on fire"));
        assert!(!poison.remember("disk is ash"));
        assert_eq!(poison.failure().as_deref(), Some("disk on fire"));

        poison.clear();
        assert!(!poison.poisoned());
        assert_eq!(poison.failures(), 2, "a sync that is under way must still see that something failed");
        assert!(poison.remember("again"));
    }
}
