//! The fence (P2): cuts sessions off from a medium and waits until nothing of theirs can reach it.

use crate::medium::Medium;
use crate::report::Report;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a fence waits.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// What a session gets to finish its requests and to take its last replies.
    pub grace: Duration,
    /// What the kernel gets to finish requests in flight, before they are reported as hanging.
    pub patience: Duration,
}

impl Waits {
    /// At a reload.
    pub const RELOAD: Self = Self { grace: Duration::from_secs(1), patience: Duration::from_secs(10) };
    /// At the end of the server, which must be over within five seconds.
    pub const STOP: Self = Self { grace: Duration::from_millis(700), patience: Duration::from_secs(4) };
}

/// A medium that must not be reached any more, and why.
pub struct Fenced {
    /// The medium.
    pub medium: Arc<Medium>,
    /// For the log.
    pub reason: String,
    /// Sessions that were told to go.
    pub sessions: usize,
    /// What did not end in time: the medium's name is not free yet.
    pub hanging: Vec<String>,
}

/// Cuts all of them off together, so that one that hangs costs its time once. Returns when all are closed or the
/// patience is over.
#[must_use]
pub fn fence(media: Vec<(Arc<Medium>, String)>, report: &Report, waits: Waits) -> Vec<Fenced> {
    let began = Instant::now();
    let mut fenced: Vec<Fenced> = media
        .into_iter()
        .map(|(medium, reason)| {
            let sitters = medium.revoke(true);
            for sitter in &sitters {
                report.session_fenced(&sitter.peer, &medium.name, &reason);
            }
            Fenced { medium, reason, sessions: sitters.len(), hanging: Vec::new() }
        })
        .collect();
    for one in &mut fenced {
        if one.medium.wait_closed(began + waits.grace) {
            continue;
        }
        // Whoever does not take its replies goes without them.
        for sitter in one.medium.sitters() {
            sitter.channel.close();
        }
    }
    for one in &mut fenced {
        if !one.medium.wait_closed(began + waits.patience) {
            one.hanging = hanging(&one.medium);
        }
    }
    fenced
}

/// By name and age: which sessions have a request that does not come back.
fn hanging(medium: &Medium) -> Vec<String> {
    let sessions = medium.sitters();
    if sessions.is_empty() {
        return vec!["opening the store".into()];
    }
    sessions
        .iter()
        .map(|sitter| {
            let age = sitter.busy_for().unwrap_or_default().as_millis();
            format!("a request of {} for {age} ms", sitter.peer)
        })
        .collect()
}
