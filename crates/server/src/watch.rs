//! Once a second: is every disk in use still the one that was meant (P4), and has what hung come back (P2)?

use crate::fence::{let_in, release};
use crate::report::Report;
use crate::state::Shared;
use session::Workers;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);

/// Looks for ever, on a thread of its own.
pub fn run(shared: &Shared) {
    let report = Report::new(shared.log.clone());
    loop {
        std::thread::sleep(EVERY);
        end_sessions_on_other_disks(shared);
        let_successors_in(shared, &report);
    }
}

/// Each disk is looked at by a worker: one that does not answer holds up nobody but its own next look.
fn end_sessions_on_other_disks(shared: &Shared) {
    let catalog = shared.catalog();
    // Also those whose export is gone and whose sessions stay: their path may lead elsewhere, their disk may not.
    let retired = shared.kept();
    for medium in catalog.entries().iter().map(|entry| &entry.medium).chain(&retired) {
        let Some(check) = medium.begin_check() else { continue };
        let share = Arc::as_ptr(medium).addr();
        let look = move || check.end_sessions_elsewhere();
        shared.pool.submit(share, Box::new(look));
    }
}

fn let_successors_in(shared: &Shared, report: &Report) {
    let mut hanging = shared.hanging.lock().unwrap_or_else(PoisonError::into_inner);
    let released = release(&mut hanging);
    if !released.is_empty() {
        // Not those of a reload that is not through with its own fence.
        let catalog = shared.catalog();
        let waiting = catalog.entries().iter().filter(|entry| entry.medium.waits_for_hanging());
        let_in(waiting, &hanging);
    }
    released.say(report);
}
