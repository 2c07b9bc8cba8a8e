//! How much of the machine the control socket may take, over all its connections.
//!
//! Two buckets, and whoever comes waits for both:
//! - Requests: 1000 a second, 200 at once. A person's tools ask a few times a second, `nbdctl top` once a second, a
//!   program after each attach; 200 at once is a rack that comes back after a power cut. Nobody real meets this bucket.
//! - Processor: a fifth of one core, measured by the thread's own clock, since what is asked for differs: a status costs
//!   50 µs with its connection, so that 1000 a second are a twentieth of a core; a list of 5000 exports costs 6 ms. This
//!   bucket is met by those who ask for much, and 200 ms of it are free at once, which is thirty such lists. On a machine
//!   with two cores data sessions keep nine parts of ten whatever is asked, and the thread's priority (nice 10) says who
//!   goes first. Events that are told and connections that are accepted count here too.
//!
//! Waiting in turn is invisible; from a second on it is a 429. That too comes after a second: a client that asks again
//! at once then costs one request a second, not a loop.

use rustix::time::{ClockId, clock_gettime};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// One request in this time, on average.
const REQUEST: Duration = Duration::from_millis(1);
/// As many at once after a pause as come in this time.
const REQUESTS_AT_ONCE: Duration = Duration::from_millis(200);
/// The thread may use one part in this many of a core.
const SHARE: u32 = 5;
/// As much at once after a pause as is its share of this time: 200 ms.
const PROCESSOR_AT_ONCE: Duration = Duration::from_secs(1);
/// One costly answer keeps others away no longer than this.
const DEBT_MAX: Duration = Duration::from_secs(2);
/// Whoever would wait longer is told to come again.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whose turn it is. Asked on the control thread only, whose clock it reads.
pub(crate) struct Pace(Mutex<Buckets>);

struct Buckets {
    /// When the next request is in time.
    requests: Instant,
    /// When the processor time that was used is worked off.
    processor: Instant,
    /// What the thread had used when it was looked at last; none before the first look.
    used: Option<Duration>,
}

/// There are too many; come again after so many seconds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany(pub(crate) u64);

impl Pace {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(Buckets { requests: now, processor: now, used: None }))
    }

    /// Waits until a request is in turn.
    pub(crate) async fn turn(&self) -> Result<(), TooMany> {
        let until = Instant::now() + PATIENCE;
        let mut wait = self.buckets(|buckets, now| buckets.take(now));
        loop {
            if wait.is_zero() {
                return Ok(());
            }
            let now = Instant::now();
            if now + wait > until {
                sleep(until.saturating_duration_since(now)).await;
                let more = (now + wait).saturating_duration_since(until);
                // Rounded up: who comes then is in time.
                return Err(TooMany(more.as_millis().div_ceil(1000).max(1) as u64));
            }
            sleep(wait).await;
            // Whoever waited beside this one may have been costly.
            wait = self.buckets(|buckets, now| buckets.debt(now));
        }
    }

    /// Waits until the processor time that was used is worked off, a second at most.
    pub(crate) async fn settled(&self) {
        let wait = self.buckets(|buckets, now| buckets.debt(now)).min(PATIENCE);
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    /// Does something that has a limit of its own: what it takes of the processor is not waited for here.
    pub(crate) fn apart<T>(&self, act: impl FnOnce() -> T) -> T {
        // What was used until now is.
        self.buckets(|_, _| ());
        let done = act();
        let used = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).used = Some(used);
        done
    }

    fn buckets<T>(&self, act: impl FnOnce(&mut Buckets, Instant) -> T) -> T {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let used = clock_gettime(ClockId::ThreadCPUTime);
        buckets.spend(now, Duration::try_from(used).unwrap_or_default());
        act(&mut buckets, now)
    }
}

impl Buckets {
    /// Notes what the thread has used of the processor in its life.
    fn spend(&mut self, now: Instant, used: Duration) {
        let since = used.saturating_sub(self.used.replace(used).unwrap_or(used));
        let full = now.checked_sub(PROCESSOR_AT_ONCE).map_or(self.processor, |full| self.processor.max(full));
        self.processor = (full + since * SHARE).min(now + DEBT_MAX);
    }

    /// How long it takes until the processor time that was used is worked off.
    fn debt(&self, now: Instant) -> Duration {
        self.processor.saturating_duration_since(now)
    }

    /// How long a request waits from now. One that waits too long takes nothing.
    fn take(&mut self, now: Instant) -> Duration {
        let full = now.checked_sub(REQUESTS_AT_ONCE).map_or(self.requests, |full| self.requests.max(full));
        let wait = full.saturating_duration_since(now).max(self.debt(now));
        if wait <= PATIENCE {
            self.requests = full + REQUEST;
        }
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// After a long pause, and long enough after the machine's start to have one.
    fn rested() -> (Buckets, Instant) {
        let now = Instant::now() + ms(10_000);
        (Buckets { requests: now - ms(9_000), processor: now - ms(9_000), used: Some(ms(0)) }, now)
    }

    #[test]
    fn two_hundred_go_at_once_and_then_one_each_millisecond_until_a_second_is_full() {
        let (mut buckets, now) = rested();
        for request in 0..=1200_u64 {
            assert_eq!(buckets.take(now), ms(request.saturating_sub(200)), "request {request}");
        }
        assert_eq!(
            (buckets.take(now), buckets.take(now)),
            (ms(1001), ms(1001)),
            "who is refused takes nothing"
        );
        assert_eq!(buckets.take(now + ms(1)), ms(1000));
    }

    #[test]
    fn what_the_thread_used_is_waited_for_five_times_less_what_is_free_at_once() {
        let (mut buckets, now) = rested();
        buckets.spend(now, ms(200));
        assert_eq!(buckets.take(now), ms(0), "a fifth of a second is free");
        buckets.spend(now, ms(260));
        assert_eq!(buckets.take(now), ms(300));
        buckets.spend(now, ms(260));
        assert_eq!(buckets.take(now), ms(300), "nothing was used since");
        assert_eq!(buckets.take(now + ms(300)), ms(0));
    }

    #[test]
    fn one_answer_that_cost_a_minute_keeps_others_away_for_two_seconds() {
        let (mut buckets, now) = rested();
        buckets.spend(now, ms(60_000));
        assert_eq!(buckets.take(now), ms(2000));
        assert_eq!(buckets.take(now + ms(2000)), ms(0));
    }

    /// As if the thread had used so much of the processor since it was looked at last.
    fn use_processor(pace: &Pace, time: Duration) {
        pace.buckets(|buckets, now| {
            buckets.used = Some(ms(0));
            buckets.spend(now, time);
        });
    }

    fn on_a_clock_of_its_own(story: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(story);
    }

    #[test]
    fn whoever_waited_looks_again_at_what_others_have_used() {
        on_a_clock_of_its_own(async {
            let (pace, began) = (std::sync::Arc::new(Pace::new()), Instant::now());
            use_processor(&pace, ms(60));
            let costly = |pace: std::sync::Arc<Pace>| async move {
                let turn = pace.turn().await;
                use_processor(&pace, ms(100));
                // The clock of the runtime rounds up to a millisecond.
                (turn, began.elapsed().as_millis() / 10)
            };
            let both = [tokio::spawn(costly(pace.clone())), tokio::spawn(costly(pace))];
            let mut turns = Vec::new();
            for turn in both {
                turns.push(turn.await.expect("no panic"));
            }
            turns.sort_by_key(|(_, at)| *at);
            assert_eq!(turns, [(Ok(()), 30), (Ok(()), 80)]);
        });
    }

    #[test]
    fn whoever_would_wait_for_more_than_a_second_is_told_after_a_second() {
        on_a_clock_of_its_own(async {
            let (pace, began) = (Pace::new(), Instant::now());
            use_processor(&pace, ms(60_000));
            assert_eq!(pace.turn().await, Err(TooMany(1)));
            assert_eq!(began.elapsed(), ms(1000));
        });
    }
}
