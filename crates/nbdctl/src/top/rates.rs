//! How much in a second: the difference of two looks.

use control::view::Operations;
use std::time::Duration;

/// Something in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Requests.
    pub operations: f64,
    /// Bytes sent.
    pub read: f64,
    /// Bytes taken.
    pub written: f64,
    /// Requests answered with an error.
    pub errors: f64,
}

impl Rates {
    /// Between two looks; none where counting began anew in between, or no time went by.
    pub fn between(before: &Operations, after: &Operations, took: Duration) -> Option<Self> {
        let each = |before: u64, after: u64| after.checked_sub(before).map(|more| more as f64);
        let seconds = took.as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        Some(Self {
            operations: requests(before)
                .zip(requests(after))
                .and_then(|(before, after)| each(before, after))?
                / seconds,
            read: each(before.bytes_read, after.bytes_read)? / seconds,
            written: each(before.bytes_written, after.bytes_written)? / seconds,
            errors: each(before.errors, after.errors)? / seconds,
        })
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            operations: self.operations + other.operations,
            read: self.read + other.read,
            written: self.written + other.written,
            errors: self.errors + other.errors,
        }
    }

    /// By which rows are put in order: bytes first, requests where there are none.
    pub fn busy(self) -> (f64, f64) {
        (self.read + self.written, self.operations)
    }
}

/// Requests of any kind.
fn requests(done: &Operations) -> Option<u64> {
    [done.reads, done.writes, done.zeroes, done.trims, done.flushes, done.others]
        .iter()
        .try_fold(0_u64, |sum, count| sum.checked_add(*count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(reads: u64, flushes: u64, bytes_read: u64, bytes_written: u64, errors: u64) -> Operations {
        Operations { reads, flushes, bytes_read, bytes_written, errors, ..Operations::default() }
    }

    #[test]
    fn a_rate_is_what_came_between_two_looks_by_the_time_between_them() {
        let (before, after) = (done(10, 1, 1000, 50, 2), done(18, 3, 5000, 50, 3));
        let rates = Rates::between(&before, &after, Duration::from_secs(2));
        assert_eq!(rates, Some(Rates { operations: 5.0, read: 2000.0, written: 0.0, errors: 0.5 }));
    }

    #[test]
    fn counts_that_began_anew_have_no_rate() {
        let (before, after) = (done(10, 1, 1000, 50, 2), done(11, 1, 900, 50, 2));
        assert_eq!(Rates::between(&before, &after, Duration::from_secs(1)), None);
        assert_eq!(Rates::between(&before, &before, Duration::ZERO), None);
        assert_eq!(Rates::between(&before, &before, Duration::from_secs(1)), Some(Rates::default()));
    }
}
