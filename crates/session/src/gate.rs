//! The fence's gate (P2): one `revoked` flag for each opened export, one counter of requests inside for each session.
//!
//! A request enters before it touches the store and leaves afterwards. Both sides write first and look second: the
//! request counts itself in and then looks at the flag, the fence raises the flag and then looks at the counters. In
//! every interleaving at least one of them sees the other, so after `revoke` and an empty turnstile nothing of that
//! session can reach the store any more. The fences between write and look say so to the compiler and the processor;
//! `tests/gate_loom.rs` walks through all interleavings.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

/// Whether an opened export may still be used. Raised once, never lowered: what comes later is another gate.
#[derive(Debug)]
pub struct Gate {
    revoked: AtomicBool,
}

/// How many requests of one session are between `enter` and `leave`.
#[derive(Debug)]
pub struct Turnstile {
    inside: AtomicUsize,
}

impl Gate {
    /// An open gate.
    #[must_use]
    pub fn new() -> Self {
        Self { revoked: AtomicBool::new(false) }
    }

    /// Refuses everyone from now on. Those inside stay inside until they leave.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Whether `revoke` was called.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::SeqCst)
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Turnstile {
    /// Nobody inside.
    #[must_use]
    pub fn new() -> Self {
        Self { inside: AtomicUsize::new(0) }
    }

    /// Counts in, unless the gate is revoked. `true`: the caller is inside and must [`leave`](Self::leave).
    #[must_use]
    pub fn enter(&self, gate: &Gate) -> bool {
        self.inside.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if gate.is_revoked() {
            self.leave();
            return false;
        }
        true
    }

    /// Counts out.
    pub fn leave(&self) {
        let before = self.inside.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "left more often than entered");
    }

    /// How many are inside, for an operator. A session's own thread is one, however many requests it does in one go.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.inside.load(Ordering::Relaxed)
    }

    /// Whether nobody is inside. Final once the gate is revoked and this was seen `true`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inside.load(Ordering::SeqCst) == 0
    }
}

impl Default for Turnstile {
    fn default() -> Self {
        Self::new()
    }
}
