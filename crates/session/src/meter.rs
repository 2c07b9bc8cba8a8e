//! What a session did: requests, bytes, errors and how long they took, by kind.
//!
//! Each session has a meter of its own, so that counting is an addition to memory nobody else writes to: no lock, no line
//! of cache that travels between processors. Whoever wants sums adds them up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wire::Command;

/// What requests are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// NBD_CMD_READ.
    Read,
    /// NBD_CMD_WRITE.
    Write,
    /// NBD_CMD_WRITE_ZEROES.
    Zeroes,
    /// NBD_CMD_TRIM.
    Trim,
    /// NBD_CMD_FLUSH.
    Flush,
    /// All others.
    Other,
}

impl Class {
    /// Each of them, in the order of [`Readings::classes`].
    pub const ALL: [Self; 6] = [Self::Read, Self::Write, Self::Zeroes, Self::Trim, Self::Flush, Self::Other];

    pub(crate) fn of(command: Command) -> Self {
        match command {
            Command::READ => Self::Read,
            Command::WRITE => Self::Write,
            Command::WRITE_ZEROES => Self::Zeroes,
            Command::TRIM => Self::Trim,
            Command::FLUSH => Self::Flush,
            _ => Self::Other,
        }
    }
}

/// Upper bounds of the buckets of a histogram, in microseconds. From what a page cache takes to what a dying disk takes;
/// one more bucket has no bound.
pub const BOUNDS_US: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];
const BUCKETS: usize = BOUNDS_US.len() + 1;

/// The counters of one session.
#[derive(Debug, Default)]
pub struct Meter {
    classes: [Counters; Class::ALL.len()],
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
    took_us: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// What a meter said at one moment, or several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// By kind, in the order of [`Class::ALL`].
    pub classes: [Reading; Class::ALL.len()],
}

/// Of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Requests that came.
    pub requests: u64,
    /// Bytes of requests that were done: READ data, WRITE data, lengths of WRITE_ZEROES and TRIM.
    pub bytes: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// The time of all requests together, from their arrival until their reply begins to leave.
    pub took_us: u64,
    /// Requests by that time, one bucket for each of [`BOUNDS_US`] and one without bound. Not cumulative.
    pub buckets: [u64; BUCKETS],
}

impl Meter {
    /// Requests came.
    pub fn came(&self, class: Class, requests: u64) {
        add(&self.classes[class as usize].requests, requests);
    }

    /// Bytes of requests that were done.
    pub fn moved(&self, class: Class, bytes: u64) {
        add(&self.classes[class as usize].bytes, bytes);
    }

    /// Requests were answered with an error.
    pub fn failed(&self, class: Class, errors: u64) {
        add(&self.classes[class as usize].errors, errors);
    }

    /// Requests took so long, each of them.
    pub fn took(&self, class: Class, requests: u64, elapsed: Duration) {
        let of = &self.classes[class as usize];
        let us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        add(&of.buckets[BOUNDS_US.partition_point(|&bound| bound < us)], requests);
        add(&of.took_us, us.saturating_mul(requests));
    }

    /// What it says now. Requests that come meanwhile may be in one count and not yet in another.
    #[must_use]
    pub fn read(&self) -> Readings {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let classes = std::array::from_fn(|at| {
            let of = &self.classes[at];
            Reading {
                requests: read(&of.requests),
                bytes: read(&of.bytes),
                errors: read(&of.errors),
                took_us: read(&of.took_us),
                buckets: std::array::from_fn(|bucket| read(&of.buckets[bucket])),
            }
        });
        Readings { classes }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    if count > 0 {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

impl Readings {
    /// Of one kind.
    #[must_use]
    pub fn of(&self, class: Class) -> &Reading {
        &self.classes[class as usize]
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        for (all, more) in self.classes.iter_mut().zip(&other.classes) {
            all.requests += more.requests;
            all.bytes += more.bytes;
            all.errors += more.errors;
            all.took_us += more.took_us;
            for (all, more) in all.buckets.iter_mut().zip(more.buckets) {
                *all += more;
            }
        }
    }

    /// Requests of every kind.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.classes.iter().map(|reading| reading.requests).sum()
    }

    /// Errors of every kind.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.classes.iter().map(|reading| reading.errors).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_bucket_whose_bound_it_does_not_exceed() {
        let meter = Meter::default();
        for (us, times) in [(0, 1), (50, 2), (51, 3), (10_000_000, 4), (10_000_001, 5)] {
            meter.took(Class::Read, times, Duration::from_micros(us));
        }
        let reading = *meter.read().of(Class::Read);
        assert_eq!((reading.buckets[0], reading.buckets[1]), (3, 3));
        assert_eq!((reading.buckets[15], reading.buckets[16]), (4, 5));
        assert_eq!(reading.took_us, 2 * 50 + 3 * 51 + 4 * 10_000_000 + 5 * 10_000_001);
    }

    #[test]
    fn readings_add_up_kind_by_kind() {
        let (one, other) = (Meter::default(), Meter::default());
        one.came(Class::Write, 2);
        one.moved(Class::Write, 8192);
        other.came(Class::Write, 1);
        other.moved(Class::Write, 512);
        other.came(Class::Flush, 1);
        other.failed(Class::Flush, 1);
        let mut all = one.read();
        all.add(&other.read());
        assert_eq!((all.of(Class::Write).requests, all.of(Class::Write).bytes), (3, 8704));
        assert_eq!((all.requests(), all.errors()), (4, 1));
    }
}
