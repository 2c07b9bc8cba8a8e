//! Sessions as they are told, and ending one.

use crate::answer::{count, ms};
use crate::fence::Waits;
use crate::roll::{Present, Roll};
use control::view::{Cut, Hanging, Operations, Session};
use session::{Class, Readings, uptime_ms};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often is looked whether a session that is told to go has left its seat.
const LOOK: Duration = Duration::from_millis(10);

/// One session.
pub fn session(present: &Present) -> Session {
    let sitter = &present.sitter;
    let active = sitter.active_ms.load(Ordering::Relaxed);
    Session {
        id: sitter.id,
        peer: sitter.peer.clone(),
        tls: present.tls.clone(),
        export: present.export.to_string(),
        path: present.path.clone(),
        generation: present.generation,
        since: control::time(present.since),
        read_only: present.is_read_only(),
        operations: operations(&sitter.meter.read()),
        in_flight: count(sitter.turnstile.inside()),
        oldest_ms: sitter.busy_for().map(ms),
        idle_ms: (active > 0).then(|| uptime_ms().saturating_sub(active)),
    }
}

/// Readings as they are told.
pub fn operations(readings: &Readings) -> Operations {
    let requests = |class| readings.of(class).requests;
    Operations {
        reads: requests(Class::Read),
        writes: requests(Class::Write),
        zeroes: requests(Class::Zeroes),
        trims: requests(Class::Trim),
        flushes: requests(Class::Flush),
        others: requests(Class::Other),
        bytes_read: readings.of(Class::Read).bytes,
        bytes_written: readings.of(Class::Write).bytes,
        errors: readings.errors(),
    }
}

/// Lets a session answer what it has received, and cuts it off. What it wrote is flushed before it is gone.
pub fn end(roll: &Roll, present: &Present, waits: Waits) -> Cut {
    let began = Instant::now();
    present.sitter.channel.close_input();
    if !wait_gone(roll, present, began + waits.grace) {
        // It does not take its replies.
        present.sitter.channel.close();
    }
    let gone = wait_gone(roll, present, began + waits.patience);
    let hanging = (!gone).then(|| Hanging {
        export: present.export.to_string(),
        path: present.path.clone(),
        peer: Some(present.sitter.peer.clone()),
        age_ms: present.sitter.busy_for().map(ms).unwrap_or_default(),
    });
    Cut { sessions: 1, hanging: hanging.into_iter().collect(), took_ms: ms(began.elapsed()) }
}

/// Nothing of it is at the disk any more. What its host does behind it (`postrun`) is not waited for.
fn wait_gone(roll: &Roll, present: &Present, deadline: Instant) -> bool {
    loop {
        let look = deadline.min(Instant::now() + LOOK);
        if roll.wait_gone(present.sitter.id, look) || !present.is_seated() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
    }
}
