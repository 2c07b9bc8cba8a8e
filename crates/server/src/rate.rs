//! How often something is said that others can cause at any rate.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time for which a number is allowed.
const WINDOW: Duration = Duration::from_secs(1);
/// Keys kept before those are forgotten that have nothing to tell any more.
const KEYS_MAX: usize = 1024;

/// Allows each key so often in a second, and counts the rest.
pub struct Rate {
    max: u32,
    keys: Mutex<HashMap<String, Window>>,
}

struct Window {
    began: Instant,
    said: u32,
    unsaid: u64,
}

impl Rate {
    /// So often in a second; at least once.
    #[must_use]
    pub fn new(max: u32) -> Self {
        Self { max, keys: Mutex::default() }
    }

    /// `Some`: it may be said, and how often it was not since it was said last.
    #[must_use]
    pub fn admit(&self, key: &str, now: Instant) -> Option<u64> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = keys.get_mut(key) {
            return window.admit(self.max, now);
        }
        if keys.len() >= KEYS_MAX {
            keys.retain(|_, window| window.unsaid > 0 || !window.is_over(now));
        }
        keys.insert(key.to_owned(), Window { began: now, said: 1, unsaid: 0 });
        Some(0)
    }
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= WINDOW
    }

    fn admit(&mut self, max: u32, now: Instant) -> Option<u64> {
        if self.is_over(now) {
            (self.began, self.said) = (now, 0);
        }
        if self.said >= max {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_allowed_in_a_second_and_the_rest_is_counted() {
        let (rate, start) = (Rate::new(3), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        let said: Vec<Option<u64>> = (0..5).map(|ms| rate.admit("a", at(ms))).collect();
        assert_eq!(said, [Some(0), Some(0), Some(0), None, None]);
        assert_eq!(rate.admit("b", at(5)), Some(0), "each key for itself");
        assert_eq!(rate.admit("a", at(999)), None);
        assert_eq!((rate.admit("a", at(1000)), rate.admit("a", at(1001))), (Some(3), Some(0)));
    }

    #[test]
    fn keys_that_have_nothing_to_tell_are_forgotten() {
        let (rate, start) = (Rate::new(1), Instant::now());
        assert_eq!((rate.admit("noisy", start), rate.admit("noisy", start)), (Some(0), None));
        for number in 1..2 * KEYS_MAX {
            let _ = rate.admit(&number.to_string(), start + Duration::from_secs(number as u64));
        }
        assert!(rate.keys.lock().expect("alive").len() <= KEYS_MAX);
        assert_eq!(rate.admit("noisy", start + WINDOW), Some(1), "what is untold is kept");
    }
}
