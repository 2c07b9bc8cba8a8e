//! Once a second: is every disk in use still the one that was meant (P4), and has what hung come back (P2)?

use crate::fence::{Hanging, let_in};
use crate::log::Level;
use crate::report::Report;
use crate::state::Shared;
use control::Line;
use session::Workers;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(1);

/// Looks for ever, on a thread of its own.
pub fn run(shared: &Arc<Shared>, hanging: &Hanging) {
    let report = Report::new(shared.log.clone());
    loop {
        std::thread::sleep(EVERY);
        end_sessions_on_other_disks(shared, &report);
        let_successors_in(shared, hanging, &report);
    }
}

/// Each disk is looked at by a worker: one that does not answer holds up nobody but its own next look.
fn end_sessions_on_other_disks(shared: &Shared, report: &Report) {
    for entry in shared.catalog().entries() {
        let Some(check) = entry.medium.begin_check() else { continue };
        let (medium, report) = (entry.medium.clone(), report.clone());
        let look = move || {
            if let Some(why) = check.mismatch() {
                for sitter in medium.revoke(false) {
                    report.session_fenced(&sitter.peer, &medium.name, &why);
                }
            }
        };
        shared.pool.submit(Arc::as_ptr(&entry.medium).addr(), Box::new(look));
    }
}

fn let_successors_in(shared: &Shared, hanging: &Hanging, report: &Report) {
    let mut hanging = hanging.lock().unwrap_or_else(PoisonError::into_inner);
    let before = hanging.len();
    hanging.retain(|medium| {
        let closed = medium.wait_closed(Instant::now());
        if closed {
            let line = Line::new("export released")
                .with("export", &medium.name)
                .with("old", &medium.storage.path)
                .with("reason", "the request that hung has ended");
            report.say(Level::Notice, line);
        }
        !closed
    });
    if hanging.len() < before {
        // Not those of a reload that is not through with its own fence.
        let catalog = shared.catalog();
        let waiting = catalog.entries().iter().filter(|entry| entry.medium.waits_for_hanging());
        let_in(waiting, &hanging);
    }
}
