//! How fast requests are answered, all clients together: who hammers waits in turn and does not take the machine.

use crate::answer::Failure;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Requests a second. One costs about a tenth of a millisecond on both sides together, so that this is a twentieth of one
/// processor; and no operator, daemon and collector together ask so often.
const RATE: u32 = 500;
/// Requests that are answered at once after a quiet time: a table of everything, a daemon that looks at each volume.
const BURST: u32 = 200;
/// Who would have to wait longer is told 429.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// When the next request is due.
pub struct Pace {
    due: Mutex<Option<Instant>>,
}

impl Pace {
    pub fn new() -> Self {
        Self { due: Mutex::new(None) }
    }

    /// How long this request has to wait; none when that is too long.
    fn take(&self, now: Instant) -> Option<Duration> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let each = Duration::from_secs(1) / RATE;
        let earliest = now.checked_sub(each * BURST).unwrap_or(now);
        let at = due.map_or(earliest, |due| due.max(earliest));
        let wait = at.saturating_duration_since(now);
        if wait > WAIT_MAX {
            return None;
        }
        *due = Some(at + each);
        Some(wait)
    }
}

/// Lets a request wait for its turn.
pub async fn keep<S: AsRef<Pace> + Send + Sync>(
    State(state): State<Arc<S>>,
    request: Request,
    next: Next,
) -> Response {
    let pace: &Pace = (*state).as_ref();
    match pace.take(Instant::now()) {
        Some(wait) if wait.is_zero() => {}
        Some(wait) => tokio::time::sleep(wait).await,
        None => {
            let detail = format!("more than {RATE} requests a second");
            return Failure::new(StatusCode::TOO_MANY_REQUESTS, detail).into_response();
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_then_each_waits_its_turn_and_in_the_end_is_told() {
        let (pace, now) = (Pace::new(), Instant::now());
        assert!((0..BURST).all(|_| pace.take(now) == Some(Duration::ZERO)));
        let waits: Vec<Duration> = std::iter::from_fn(|| pace.take(now)).take(2000).collect();
        assert!(waits.is_sorted() && waits.len() == 1001, "{}", waits.len());
        assert_eq!(pace.take(now), None);
        assert_eq!(pace.take(now + Duration::from_secs(60)), Some(Duration::ZERO));
    }
}
