//! What is shown: rows with rates, in which order, from which one on.

use super::feed::{Look, Seen};
use super::keys::Wish;
use super::rates::Rates;
use control::view::{Export, Session};
use std::cmp::Ordering;
use std::time::{Duration, Instant};

/// An answer that takes longer is late.
const SLOW: Duration = Duration::from_secs(2);

/// One export or session.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<T> {
    /// What is known of it.
    pub what: T,
    /// Between the last two looks; none where it was not there before.
    pub rates: Option<Rates>,
    /// Requests under way.
    pub in_flight: u64,
    /// The age of the oldest of them, those that hang included.
    pub oldest_ms: Option<u64>,
}

/// What was seen last.
#[derive(Clone, Debug)]
pub struct Picture {
    look: Look,
    /// Exports in order.
    pub exports: Vec<Row<Export>>,
    /// Sessions in order.
    pub sessions: Vec<Row<Session>>,
}

/// What the rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// One for each export.
    Exports,
    /// One for each session.
    Sessions,
}

/// Which row comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Where most goes on.
    Busy,
    /// By export.
    Name,
}

/// All of it.
#[derive(Debug)]
pub struct State {
    picture: Option<Picture>,
    /// Since when nobody has answered, and why.
    silence: Option<(Instant, String)>,
    /// How old a look may be before that is said.
    fresh: Duration,
    shown: Shown,
    order: Order,
    first: usize,
    page: usize,
}

impl State {
    /// Nothing is seen yet.
    pub fn new(sessions: bool, interval: Duration) -> Self {
        let shown = if sessions { Shown::Sessions } else { Shown::Exports };
        let fresh = interval + SLOW;
        Self { picture: None, silence: None, fresh, shown, order: Order::Busy, first: 0, page: 1 }
    }

    /// Takes what was seen.
    pub fn see(&mut self, seen: Seen) {
        match seen {
            Seen::Look(look) => {
                // Over a silence there is no rate: what was done is not spread over it evenly.
                let before = self.picture.take().filter(|_| self.silence.is_none());
                self.silence = None;
                self.picture = Some(Picture::between(before.as_ref().map(|before| &before.look), *look));
                self.sort();
            }
            Seen::Nothing(since, why) => {
                let since = self.silence.take().map_or(since, |(since, _)| since);
                self.silence = Some((since, why));
                if let Some(picture) = &mut self.picture {
                    picture.forget_rates();
                }
            }
        }
    }

    /// Does what a key asked for.
    pub fn follow(&mut self, wish: Wish) {
        match wish {
            Wish::Quit => {}
            Wish::Exports => (self.shown, self.first) = (Shown::Exports, 0),
            Wish::Sessions => (self.shown, self.first) = (Shown::Sessions, 0),
            Wish::Reorder => {
                self.order = if self.order == Order::Busy { Order::Name } else { Order::Busy };
                self.sort();
            }
            Wish::Rows(rows) => self.first = self.first.saturating_add_signed(rows),
            Wish::Pages(pages) => {
                let rows = pages.saturating_mul(self.page.try_into().unwrap_or(isize::MAX));
                self.first = self.first.saturating_add_signed(rows);
            }
            Wish::First => self.first = 0,
            Wish::Last => self.first = usize::MAX,
        }
        self.hold();
    }

    /// Says how many rows there is room for; returns the first that is shown.
    pub fn fit(&mut self, page: usize) -> usize {
        self.page = page.max(1);
        self.hold();
        self.first
    }

    /// The last page is a full one.
    fn hold(&mut self) {
        let rows = self.picture.as_ref().map_or(0, |picture| match self.shown {
            Shown::Exports => picture.exports.len(),
            Shown::Sessions => picture.sessions.len(),
        });
        self.first = self.first.min(rows.saturating_sub(self.page));
    }

    fn sort(&mut self) {
        let order = self.order;
        if let Some(picture) = &mut self.picture {
            picture
                .exports
                .sort_by(|a, b| busiest(order, a.rates, b.rates).then_with(|| a.what.name.cmp(&b.what.name)));
            picture.sessions.sort_by(|a, b| {
                let names = || a.what.export.cmp(&b.what.export);
                busiest(order, a.rates, b.rates).then_with(names).then(a.what.id.cmp(&b.what.id))
            });
        }
    }

    /// What was seen last.
    pub fn picture(&self) -> Option<&Picture> {
        self.picture.as_ref()
    }

    /// For how long nobody has answered, and why.
    pub fn silence(&self, now: Instant) -> Option<(Duration, &str)> {
        let for_how_long = |since: &Instant| now.saturating_duration_since(*since);
        match (&self.silence, &self.picture) {
            (Some((since, why)), _) => Some((for_how_long(since), why)),
            // It was asked, and has neither answered nor failed to.
            (None, Some(picture)) => {
                Some((for_how_long(&picture.look.at), "no answer")).filter(|(time, _)| *time > self.fresh)
            }
            (None, None) => None,
        }
    }

    /// What the rows are.
    pub fn shown(&self) -> Shown {
        self.shown
    }

    /// In which order they are.
    pub fn order(&self) -> Order {
        self.order
    }
}

fn busiest(order: Order, one: Option<Rates>, other: Option<Rates>) -> Ordering {
    if order == Order::Name {
        return Ordering::Equal;
    }
    let busy = |rates: Option<Rates>| rates.unwrap_or_default().busy();
    let ((bytes, requests), (other_bytes, other_requests)) = (busy(one), busy(other));
    other_bytes.total_cmp(&bytes).then(other_requests.total_cmp(&requests))
}

impl Picture {
    fn between(before: Option<&Look>, look: Look) -> Self {
        // Another process counts from the beginning.
        let same =
            |other: &&Look| (other.status.pid, &other.status.since) == (look.status.pid, &look.status.since);
        let before = before.filter(same);
        let took = before.map_or(Duration::ZERO, |before| look.at.saturating_duration_since(before.at));
        let exports = look.exports.iter().map(|export| {
            let known = before.and_then(|look| look.exports.iter().find(|known| known.name == export.name));
            let rates = known.and_then(|known| Rates::between(&known.operations, &export.operations, took));
            let own = || look.sessions.iter().filter(|session| session.export == export.name);
            let hanging = export.hanging.iter().map(|hanging| hanging.age_ms);
            Row {
                what: export.clone(),
                rates,
                in_flight: own().map(|session| session.in_flight).sum(),
                oldest_ms: own().filter_map(|session| session.oldest_ms).chain(hanging).max(),
            }
        });
        let exports = exports.collect();
        let sessions = look.sessions.iter().map(|session| {
            let known = before.and_then(|look| look.sessions.iter().find(|known| known.id == session.id));
            let rates = known.and_then(|known| Rates::between(&known.operations, &session.operations, took));
            let (in_flight, oldest_ms) = (session.in_flight, session.oldest_ms);
            Row { what: session.clone(), rates, in_flight, oldest_ms }
        });
        let sessions = sessions.collect();
        Self { look, exports, sessions }
    }

    fn forget_rates(&mut self) {
        self.exports.iter_mut().for_each(|row| row.rates = None);
        self.sessions.iter_mut().for_each(|row| row.rates = None);
    }

    /// The server as a whole.
    pub fn status(&self) -> &control::view::Status {
        &self.look.status
    }

    /// All exports together; none before the second look.
    pub fn total(&self) -> Option<Rates> {
        self.exports.iter().filter_map(|row| row.rates).reduce(Rates::plus)
    }

    /// Exports that are not well.
    pub fn not_serving(&self) -> usize {
        self.exports.iter().filter(|row| !row.what.state.is_well()).count()
    }
}

#[cfg(test)]
mod tests;
