//! How much of the machine the control socket may take, over all its connections.
//!
//! Two buckets, and whoever comes waits for the fuller one:
//! - Requests: 1000 a second, 200 at once. A person's tools ask a few times a second, `nbdctl top` once a second, a
//!   program after each attach; 200 at once is a rack that comes back after a power cut. Nobody real meets this bucket.
//! - Processor: a tenth of one core, measured by the thread's own clock, since a list of 5000 exports costs a hundred
//!   times as much as the status. 1000 requests a second are about that tenth (100 µs each, with accept and parsing), so
//!   on a machine with two cores data sessions keep 95 of 100 whatever is asked, and the thread's priority (nice 10)
//!   decides who goes first. Events that are told and connections that are accepted count here too.
//!
//! Waiting in turn is invisible; from a second on it is a 429. That too comes after a second: a client that asks again
//! at once then costs one request a second, not a loop.

use rustix::time::{ClockId, clock_gettime};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// One request in this time, on average.
const REQUEST: Duration = Duration::from_millis(1);
/// What may be used at once after a pause: 200 requests, or 20 ms of the processor.
const BURST: Duration = Duration::from_millis(200);
/// The thread may use one part in this many of a core.
const SHARE: u32 = 10;
/// Whoever would wait longer is told to come again.
const PATIENCE: Duration = Duration::from_secs(1);
/// One costly answer keeps others away no longer than this.
const DEBT_MAX: Duration = Duration::from_secs(2);

/// Whose turn it is. Asked on the control thread only, whose clock it reads.
pub(crate) struct Pace(Mutex<Buckets>);

struct Buckets {
    /// When the next request is in time.
    requests: Instant,
    /// When the processor time that was used is worked off.
    processor: Instant,
    /// What the thread had used when it was looked at last.
    used: Duration,
}

/// There are too many; come again after so many seconds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany(pub(crate) u64);

impl Pace {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(Buckets { requests: now, processor: now, used: Duration::ZERO }))
    }

    /// Waits until a request is in turn.
    pub(crate) async fn turn(&self) -> Result<(), TooMany> {
        let turn = self.buckets(|buckets, now| buckets.turn(now));
        match turn {
            Ok(wait) => rest(wait).await,
            Err(_) => rest(PATIENCE).await,
        }
        turn.map(|_| ())
    }

    /// Waits until the processor time that was used is worked off, a second at most.
    pub(crate) async fn settled(&self) {
        rest(self.buckets(|buckets, now| buckets.processor.saturating_duration_since(now)).min(PATIENCE))
            .await;
    }

    fn buckets<T>(&self, act: impl FnOnce(&mut Buckets, Instant) -> T) -> T {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let used = clock_gettime(ClockId::ThreadCPUTime);
        buckets.spend(now, Duration::try_from(used).unwrap_or_default());
        act(&mut buckets, now)
    }
}

async fn rest(wait: Duration) {
    if !wait.is_zero() {
        sleep(wait).await;
    }
}

impl Buckets {
    /// Notes what the thread has used of the processor in its life.
    fn spend(&mut self, now: Instant, used: Duration) {
        let since = used.saturating_sub(self.used);
        self.used = used;
        self.processor = (refilled(self.processor, now) + since * SHARE).min(now + DEBT_MAX);
    }

    /// How long a request waits from now.
    fn turn(&mut self, now: Instant) -> Result<Duration, TooMany> {
        let from = refilled(self.requests, now);
        let wait = from.max(self.processor).saturating_duration_since(now);
        if wait > PATIENCE {
            // Rounded up: who comes then is in time.
            return Err(TooMany((wait - PATIENCE).as_millis().div_ceil(1000) as u64));
        }
        self.requests = from + REQUEST;
        Ok(wait)
    }
}

/// A bucket that nobody used for long is full, not more than full.
fn refilled(bucket: Instant, now: Instant) -> Instant {
    now.checked_sub(BURST).map_or(bucket, |full| bucket.max(full))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(now: Instant) -> Buckets {
        Buckets { requests: now - BURST, processor: now - BURST, used: Duration::ZERO }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn two_hundred_go_at_once_and_then_one_each_millisecond_until_a_second_is_full() {
        let now = Instant::now() + ms(10_000);
        let mut buckets = buckets(now);
        for request in 0..1201_u64 {
            assert_eq!(buckets.turn(now), Ok(ms(request.saturating_sub(200))), "request {request}");
        }
        assert_eq!(buckets.turn(now), Err(TooMany(1)));
        assert_eq!(buckets.turn(now + ms(1)), Ok(ms(1000)));
    }

    #[test]
    fn a_pause_earns_two_hundred_and_no_more() {
        let now = Instant::now() + ms(10_000);
        let mut buckets = buckets(now);
        let later = now + ms(60_000);
        let at_once = (0..1000).take_while(|_| buckets.turn(later) == Ok(Duration::ZERO)).count();
        assert_eq!(at_once, 201);
    }

    #[test]
    fn what_the_thread_used_is_waited_for_ten_times() {
        let now = Instant::now() + ms(10_000);
        let mut buckets = buckets(now);
        buckets.spend(now, ms(50));
        assert_eq!(buckets.turn(now), Ok(ms(300)), "500 ms less the burst");
        buckets.spend(now, ms(50));
        assert_eq!(buckets.turn(now), Ok(ms(300)), "nothing was used since");
    }

    #[test]
    fn one_answer_that_cost_a_minute_keeps_others_away_for_two_seconds() {
        let now = Instant::now() + ms(10_000);
        let mut buckets = buckets(now);
        buckets.spend(now, ms(60_000));
        assert_eq!(buckets.turn(now), Err(TooMany(1)));
        assert_eq!(buckets.turn(now + ms(2000)), Ok(Duration::ZERO));
    }
}
