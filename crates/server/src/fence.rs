//! The fence (P2): cuts sessions off from a medium and waits until nothing of theirs can reach it.

use crate::answer;
use crate::catalog::Entry;
use crate::log::Level;
use crate::medium::Medium;
use crate::prepare::same_disk;
use crate::report::Report;
use crate::state::Shared;
use control::Line;
use control::view::Hanging as HangingRequest;
use session::Sitter;
use std::sync::{Arc, Mutex};
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

    /// What sessions that are well need to go, however little time is left: they are not to be told as hanging.
    const LEAST: Duration = Duration::from_millis(500);

    /// At a reload whose answer is waited for until then.
    #[must_use]
    pub fn until(deadline: Instant) -> Self {
        let rest = deadline.saturating_duration_since(Instant::now()).saturating_sub(ANSWER).max(Self::LEAST);
        let Self { grace, patience } = Self::RELOAD;
        Self { grace: grace.min(rest), patience: patience.min(rest) }
    }
}

/// What is left to say that the rest of the time was not enough.
const ANSWER: Duration = Duration::from_millis(50);

/// What the last sessions get to be logged, once nothing of them is left at any disk.
const LAST_LINES: Duration = Duration::from_millis(200);

/// Fenced media that have not closed, shared with the watch: their successors stay offline (P2).
pub type Hanging = Arc<Mutex<Vec<Arc<Medium>>>>;
/// Media of removed or replaced exports whose sessions go on (`on_change = keep`).
pub type Retired = Arc<Mutex<Vec<Arc<Medium>>>>;

/// A medium that must not be reached any more, and why.
pub struct Fenced {
    /// The medium.
    pub medium: Arc<Medium>,
    /// Sessions that were told to go.
    pub sessions: usize,
    /// What did not end in time: the medium's name is not free yet.
    pub hanging: Vec<HangingRequest>,
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
            Fenced { medium, sessions: sitters.len(), hanging: Vec::new() }
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

/// The plan back to the empty configuration: every session is ended and what it wrote is flushed.
pub fn stop(shared: &Shared) {
    shared.sessions.close_handshakes();
    let catalog = shared.catalog();
    let retired = shared.kept();
    let media = catalog.entries().iter().map(|entry| &entry.medium).chain(&retired);
    let old = media.map(|medium| (medium.clone(), "the server stops".to_owned())).collect();
    let report = Report::new(shared.log.clone());
    for one in fence(old, &report, Waits::STOP).iter().filter(|one| !one.hanging.is_empty()) {
        one.say_what_hangs(&report);
    }
    shared.sessions.wait_gone(Instant::now() + LAST_LINES);
}

impl Fenced {
    /// The line for a medium that is not free yet.
    pub fn say_what_hangs(&self, report: &Report) {
        let requests: Vec<String> = self.hanging.iter().map(words).collect();
        let line = Line::new("export unavailable")
            .with("export", &self.medium.name)
            .with("old", &self.medium.storage.path)
            .with("reason", format!("its old disk is still in use: {}", requests.join(", ")));
        report.say(Level::Error, line);
    }
}

/// By name and age: which sessions have a request that does not come back.
fn hanging(medium: &Medium) -> Vec<HangingRequest> {
    let request = |peer: Option<String>, age: Duration| HangingRequest {
        export: medium.name.to_string(),
        path: medium.storage.path.clone(),
        peer,
        age_ms: answer::ms(age),
    };
    let sessions = medium.sitters();
    if sessions.is_empty() {
        return vec![request(None, Duration::ZERO)];
    }
    let of = |sitter: &Arc<Sitter>| request(Some(sitter.peer.clone()), sitter.busy_for().unwrap_or_default());
    sessions.iter().map(of).collect()
}

/// The same of several media.
#[must_use]
pub fn all_hanging<'a>(media: impl IntoIterator<Item = &'a Arc<Medium>>) -> Vec<HangingRequest> {
    media.into_iter().flat_map(|medium| hanging(medium)).collect()
}

fn words(request: &HangingRequest) -> String {
    match &request.peer {
        Some(peer) => format!("a request of {peer} for {} ms", request.age_ms),
        None => "it is being opened, or looked at".into(),
    }
}

/// Takes those off the list that have closed meanwhile. Said once their successors are in, or who waits for the line would
/// come too early.
pub fn release(hanging: &mut Vec<Arc<Medium>>) -> Released {
    let (closed, still) =
        std::mem::take(hanging).into_iter().partition(|medium| medium.wait_closed(Instant::now()));
    *hanging = still;
    Released(closed)
}

/// Media that hung and have closed.
#[must_use]
pub struct Released(Vec<Arc<Medium>>);

impl Released {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A line for each.
    pub fn say(self, report: &Report) {
        for medium in self.0 {
            let line = Line::new("export released")
                .with("export", &medium.name)
                .with("old", &medium.storage.path)
                .with("reason", "the request that hung has ended");
            report.say(Level::Notice, line);
        }
    }
}

/// Brings every new medium online that no hanging one stands in the way of: same name, or same disk.
pub fn let_in<'a>(entries: impl Iterator<Item = &'a Arc<Entry>>, hanging: &[Arc<Medium>]) {
    for entry in entries {
        let blocker = hanging
            .iter()
            .find(|old| old.name == entry.medium.name || same_disk(old, &entry.medium))
            .filter(|old| !Arc::ptr_eq(old, &entry.medium));
        match blocker {
            None => entry.medium.bring_online(),
            Some(old) => entry.medium.keep_offline(must_wait(old)),
        }
    }
}

/// Why an export is not served as long as something of this medium hangs.
#[must_use]
pub fn must_wait(old: &Medium) -> String {
    format!("a request to {} hangs, and this export must wait for its end", old.storage.path)
}
