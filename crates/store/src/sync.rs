//! Syncs on one descriptor, none of which may miss a failure.
//!
//! The kernel tells a write-back error once per open file: when two syncs overlap, one is told and the other hears
//! "success" although its own bytes may be the lost ones. So a sync counts as done only after every sync that
//! overlapped it has been heard too, and only if none of them failed.

use crate::Poison;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The syncs of one descriptor.
#[derive(Debug, Default)]
pub(crate) struct Syncs {
    turns: Mutex<Turns>,
    ended: Condvar,
    /// Answers given in place of the system's, oldest first.
    #[cfg(test)]
    pub(crate) inject: Mutex<std::collections::VecDeque<Errno>>,
}

#[derive(Debug, Default)]
struct Turns {
    next: u64,
    running: BTreeSet<u64>,
}

/// Why bytes cannot be called durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsynced {
    /// This sync failed; the export is poisoned now.
    Failed(Errno),
    /// Another one failed, earlier or meanwhile.
    Poisoned,
}

impl Syncs {
    /// Runs `sync` unless something failed before. Any error of it is remembered in `poison`.
    pub fn run(
        &self,
        poison: &Poison,
        what: &str,
        sync: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<(), Unsynced> {
        let failures = poison.failures();
        if poison.poisoned() {
            return Err(Unsynced::Poisoned);
        }
        let turn = self.begin();
        let answer = self.answer(sync);
        if let Err(errno) = answer {
            poison.remember(format!("{what} failed: {}", std::io::Error::from(errno)));
        }
        turn.end();
        answer.map_err(Unsynced::Failed)?;
        if poison.failures() == failures { Ok(()) } else { Err(Unsynced::Poisoned) }
    }

    fn begin(&self) -> Turn<'_> {
        let mut turns = self.turns();
        let number = turns.next;
        turns.next += 1;
        turns.running.insert(number);
        Turn { syncs: self, number }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, sync: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        #[cfg(test)]
        if let Some(errno) = self.inject.lock().unwrap().pop_front() {
            return Err(errno);
        }
        sync()
    }
}

/// One sync under way. Dropped in a panic, it leaves the others free.
struct Turn<'a> {
    syncs: &'a Syncs,
    number: u64,
}

impl Turn<'_> {
    /// Ends this one and waits for those that began before it ended.
    fn end(self) {
        let syncs = self.syncs;
        let horizon = syncs.turns().next;
        drop(self);
        let mut turns = syncs.turns();
        while turns.running.first().is_some_and(|oldest| *oldest < horizon) {
            turns = syncs.ended.wait(turns).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.syncs.turns().running.remove(&self.number);
        self.syncs.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn a_failure_is_sticky_and_the_system_is_not_asked_again() {
        let (syncs, poison) = (Syncs::default(), Poison::new());
        assert_eq!(syncs.run(&poison, "fdatasync", || Err(Errno::IO)), Err(Unsynced::Failed(Errno::IO)));
        assert_eq!(syncs.run(&poison, "fdatasync", || panic!("must not be asked")), Err(Unsynced::Poisoned));
        poison.clear();
        assert_eq!(syncs.run(&poison, "fdatasync", || Ok(())), Ok(()));
    }

    /// A and B overlap; B is told of the lost page, A hears success. A's bytes may be the lost ones.
    #[test]
    fn a_sync_that_succeeded_beside_one_that_failed_is_not_believed() {
        let (syncs, poison) = (Syncs::default(), Poison::new());
        let (a_inside, a_is_inside) = mpsc::channel();
        let (a_may_end, end_a) = mpsc::channel::<()>();
        let (b_may_end, end_b) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let a = scope.spawn(|| {
                syncs.run(&poison, "a", move || {
                    a_inside.send(()).unwrap();
                    end_a.recv().unwrap();
                    Ok(())
                })
            });
            a_is_inside.recv().unwrap();
            let (b_inside, b_is_inside) = mpsc::channel();
            let (syncs, poison) = (&syncs, &poison);
            let b = scope.spawn(move || {
                syncs.run(poison, "b", move || {
                    b_inside.send(()).unwrap();
                    end_b.recv().unwrap();
                    Err(Errno::IO)
                })
            });
            b_is_inside.recv().unwrap();
            a_may_end.send(()).unwrap();
            // A has ended for the kernel and waits for B; only then does B bring its error home.
            while syncs.turns().running.contains(&0) {
                thread::yield_now();
            }
            b_may_end.send(()).unwrap();
            assert_eq!(b.join().unwrap(), Err(Unsynced::Failed(Errno::IO)));
            assert_eq!(a.join().unwrap(), Err(Unsynced::Poisoned));
        });
    }

    #[test]
    fn a_later_sync_does_not_hold_up_an_earlier_one() {
        let (syncs, poison) = (Syncs::default(), Poison::new());
        for _ in 0..3 {
            assert_eq!(syncs.run(&poison, "x", || Ok(())), Ok(()));
        }
        assert!(syncs.turns().running.is_empty());
    }
}
