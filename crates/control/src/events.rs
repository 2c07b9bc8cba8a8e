//! What happens, for whoever listens. Nobody waits for a listener: who is too slow misses some, and is told.

use crate::line::Line;
use crate::view::{Event, Level};
use std::sync::{Mutex, PoisonError};
use tokio::sync::broadcast;

/// Events that a listener may be behind.
const BEHIND_MAX: usize = 4096;

/// The one place where events are published. Cheap while nobody listens.
pub struct Events {
    next: Mutex<u64>,
    to: broadcast::Sender<Event>,
}

impl Default for Events {
    fn default() -> Self {
        Self { next: Mutex::new(1), to: broadcast::Sender::new(BEHIND_MAX) }
    }
}

impl Events {
    /// Tells everybody who listens.
    pub fn publish(&self, level: Level, line: &Line) {
        // Numbered and sent in one step, so that numbers go up for every listener.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let id = *next;
        *next += 1;
        if self.to.receiver_count() == 0 {
            return;
        }
        let facts = line.facts().iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let event = Event { id, at: now(), level, event: line.event().to_owned(), facts };
        // Nobody listens any more: then it is not missed.
        let _ = self.to.send(event);
    }

    /// Everything from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.to.subscribe()
    }
}

/// This moment, as it is told.
#[must_use]
pub fn now() -> String {
    time(std::time::SystemTime::now())
}

/// A moment, as it is told: RFC 3339 in UTC, to the millisecond.
#[must_use]
pub fn time(at: std::time::SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}
