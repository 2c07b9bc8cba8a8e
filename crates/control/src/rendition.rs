//! Figures as text, made once for all who ask at the same time.
//!
//! With thousands of exports they are megabytes. They come from an address that more than the operator may reach, so how often
//! they are made, and how many of them are held for readers that do not read, is bounded.

use crate::answer::{Answer, Failure};
use axum::body::Bytes;
use axum::http::StatusCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What takes no longer is made anew for everybody.
const QUICK: Duration = Duration::from_millis(20);
/// What took longer is good for so many times as long, so that it takes a fifth of a processor at most.
const GOOD_FOR: u32 = 4;
/// Different texts that are held at a time.
const HELD_MAX: usize = 4;

/// See the module.
#[derive(Default)]
pub(crate) struct Renditions {
    last: Mutex<Option<(Instant, Bytes)>>,
    held: Arc<AtomicUsize>,
}

/// One text, as long as somebody holds it.
struct Held {
    text: String,
    all: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Renditions {
    /// The text of this moment, or of one that is not long ago.
    pub(crate) fn get(&self, make: impl FnOnce() -> String) -> Answer<Bytes> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((_, text)) = last.as_ref().filter(|(until, _)| now < *until) {
            return Ok(text.clone());
        }
        *last = None;
        if self.held.load(Ordering::SeqCst) >= HELD_MAX {
            let why = format!("{HELD_MAX} readers of figures do not read");
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, why).again_after(1));
        }
        let text = make();
        let took = now.elapsed();
        self.held.fetch_add(1, Ordering::SeqCst);
        let text = Bytes::from_owner(Held { text, all: Arc::clone(&self.held) });
        if took > QUICK {
            *last = Some((Instant::now() + took * GOOD_FOR, text.clone()));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_quickly_is_made_for_each_and_what_takes_long_for_all() {
        let renditions = Renditions::default();
        let quick = |text: &str| renditions.get(|| text.to_owned()).expect("a text");
        assert_eq!((quick("a"), quick("b")), (Bytes::from("a"), Bytes::from("b")));
        let slow = renditions.get(|| {
            std::thread::sleep(QUICK * 10);
            "c".into()
        });
        assert_eq!(slow.expect("a text"), quick("d"), "still good");
    }

    #[test]
    fn only_so_many_are_held_and_each_that_is_let_go_makes_room() {
        let renditions = Renditions::default();
        let get = || renditions.get(|| "text".into());
        let mut held: Vec<Bytes> = (0..HELD_MAX).map(|_| get().expect("a text")).collect();
        assert!(get().is_err());
        held.pop();
        assert!(get().is_ok());
    }
}
