//! A store that fails on request: the n-th call of a verb errs, stops short, sticks or dawdles.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use store::{Capabilities, Cause, Durability, Extent, Geometry, Store, StoreError, Verb, ZeroHow};

/// What happens instead of, or before, the real call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done and this is said.
    Fail(Cause),
    /// This many bytes are really read or written, then [`Cause::Lost`] is said.
    Short(usize),
    /// The call hangs until [`FaultStore::release`], then is carried out.
    Stick,
    /// The call is carried out late.
    Delay(Duration),
}

/// Wraps a store and follows a script.
pub struct FaultStore {
    below: Arc<dyn Store>,
    script: Mutex<Script>,
    changed: Condvar,
}

#[derive(Default)]
struct Script {
    calls: HashMap<Key, u64>,
    once: HashMap<(Key, u64), Fault>,
    always: HashMap<Key, Fault>,
    stuck: usize,
    releases: u64,
    never_at_hand: bool,
}

/// A verb as a key ([`Verb`] has no hash).
type Key = &'static str;

impl FaultStore {
    /// Does what `below` does until told otherwise.
    pub fn over(below: Arc<dyn Store>) -> Self {
        Self { below, script: Mutex::default(), changed: Condvar::new() }
    }

    /// Has the `n`-th call of a verb (from 1, counted since this store was made) meet a fault.
    pub fn on(&self, verb: Verb, n: u64, fault: Fault) {
        self.script().once.insert((key(verb), n), fault);
    }

    /// Has the next call of a verb meet a fault.
    pub fn on_next(&self, verb: Verb, fault: Fault) {
        let mut script = self.script();
        let n = script.calls.get(key(verb)).copied().unwrap_or(0) + 1;
        script.once.insert((key(verb), n), fault);
    }

    /// Has every call of a verb meet a fault from now on.
    pub fn on_every(&self, verb: Verb, fault: Fault) {
        self.script().always.insert(key(verb), fault);
    }

    /// Forgets all faults that have not happened yet; calls that are stuck stay so.
    pub fn heal(&self) {
        let mut script = self.script();
        script.once.clear();
        script.always.clear();
    }

    /// Lets every call go that is stuck now.
    pub fn release(&self) {
        self.script().releases += 1;
        self.changed.notify_all();
    }

    /// Has `try_read` always answer "not at hand", so that every read takes the slow path.
    pub fn never_at_hand(&self) {
        self.script().never_at_hand = true;
    }

    /// Waits until `n` calls are stuck; false where that did not happen in time.
    pub fn wait_until_stuck(&self, n: usize, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut script = self.script();
        while script.stuck < n {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return false };
            script = self.changed.wait_timeout(script, left).expect("the script is whole").0;
        }
        true
    }

    /// How often a verb was called.
    pub fn calls(&self, verb: Verb) -> u64 {
        self.script().calls.get(key(verb)).copied().unwrap_or(0)
    }

    /// Counts the call and plays its fault; `Some(n)`: do `n` bytes and fail.
    fn meet(&self, verb: Verb, offset: u64, len: u64) -> Result<Option<usize>, StoreError> {
        let fault = self.script().next(key(verb));
        match fault {
            None => Ok(None),
            Some(Fault::Fail(cause)) => Err(StoreError { verb, offset, len, cause }),
            Some(Fault::Short(bytes)) => Ok(Some(bytes.min(len as usize))),
            Some(Fault::Delay(time)) => {
                std::thread::sleep(time);
                Ok(None)
            }
            Some(Fault::Stick) => {
                self.stick();
                Ok(None)
            }
        }
    }

    fn stick(&self) {
        let mut script = self.script();
        let releases = script.releases;
        script.stuck += 1;
        self.changed.notify_all();
        while script.releases == releases {
            script = self.changed.wait(script).expect("the script is whole");
        }
        script.stuck -= 1;
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no call panics with the script in hand")
    }
}

impl Script {
    fn next(&mut self, key: Key) -> Option<Fault> {
        let calls = self.calls.entry(key).or_default();
        *calls += 1;
        let n = *calls;
        self.once.remove(&(key, n)).or_else(|| self.always.get(key).cloned())
    }

    /// The fault that the next call would meet.
    fn peek(&self, key: Key) -> Option<&Fault> {
        let n = self.calls.get(key).copied().unwrap_or(0) + 1;
        self.once.get(&(key, n)).or_else(|| self.always.get(key))
    }
}

impl Store for FaultStore {
    fn geometry(&self) -> Geometry {
        self.below.geometry()
    }

    fn capabilities(&self) -> Capabilities {
        self.below.capabilities()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let len = buf.len() as u64;
        match self.meet(Verb::Read, offset, len)? {
            None => self.below.read_at(buf, offset),
            Some(short) => {
                self.below.read_at(&mut buf[..short], offset)?;
                Err(cut(Verb::Read, offset, len, short))
            }
        }
    }

    /// Never waits, whatever the script says: a read that would stick or dawdle is not at hand, and the fault is left
    /// for `read_at`.
    fn try_read(&self, buf: &mut [u8], offset: u64) -> Result<bool, StoreError> {
        let script = self.script();
        let waits = matches!(script.peek(key(Verb::Read)), Some(Fault::Stick | Fault::Delay(_)));
        if script.never_at_hand || waits {
            return Ok(false);
        }
        drop(script);
        match self.meet(Verb::Read, offset, buf.len() as u64)? {
            None => self.below.try_read(buf, offset),
            Some(short) => Err(cut(Verb::Read, offset, buf.len() as u64, short)),
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64, durability: Durability) -> Result<(), StoreError> {
        let len = buf.len() as u64;
        match self.meet(Verb::Write, offset, len)? {
            None => self.below.write_at(buf, offset, durability),
            Some(short) => {
                self.below.write_at(&buf[..short], offset, durability)?;
                Err(cut(Verb::Write, offset, len, short))
            }
        }
    }

    fn zero(&self, offset: u64, len: u64, how: ZeroHow, durability: Durability) -> Result<(), StoreError> {
        match self.meet(Verb::Zero, offset, len)? {
            None => self.below.zero(offset, len, how, durability),
            Some(short) => {
                self.below.zero(offset, short as u64, how, durability)?;
                Err(cut(Verb::Zero, offset, len, short))
            }
        }
    }

    fn trim(&self, offset: u64, len: u64, durability: Durability) -> Result<(), StoreError> {
        match self.meet(Verb::Trim, offset, len)? {
            None => self.below.trim(offset, len, durability),
            Some(short) => Err(cut(Verb::Trim, offset, len, short)),
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        match self.meet(Verb::Flush, 0, 0)? {
            None => self.below.flush(),
            Some(short) => Err(cut(Verb::Flush, 0, 0, short)),
        }
    }

    fn cache(&self, offset: u64, len: u64) -> Result<(), StoreError> {
        match self.meet(Verb::Cache, offset, len)? {
            None => self.below.cache(offset, len),
            Some(short) => Err(cut(Verb::Cache, offset, len, short)),
        }
    }

    fn map(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<Extent>, StoreError> {
        match self.meet(Verb::Map, offset, len)? {
            None => self.below.map(offset, len, extents_max),
            Some(short) => self.below.map(offset, short.max(1) as u64, extents_max),
        }
    }

    fn verify(&self) -> Result<(), StoreError> {
        match self.meet(Verb::Verify, 0, 0)? {
            None => self.below.verify(),
            Some(short) => Err(cut(Verb::Verify, 0, 0, short)),
        }
    }

    /// None: pages sent past the script would escape it.
    fn raw_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn key(verb: Verb) -> Key {
    match verb {
        Verb::Open => "open",
        Verb::Read => "read",
        Verb::Write => "write",
        Verb::Zero => "zero",
        Verb::Trim => "trim",
        Verb::Flush => "flush",
        Verb::Cache => "cache",
        Verb::Map => "map",
        Verb::Verify => "verify",
    }
}

fn cut(verb: Verb, offset: u64, len: u64, short: usize) -> StoreError {
    StoreError { verb, offset, len, cause: Cause::Lost(format!("only {short} of {len} bytes")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    fn kit() -> (Arc<MemoryStore>, Arc<FaultStore>) {
        let memory = Arc::new(MemoryStore::new(8192));
        let below: Arc<dyn Store> = memory.clone();
        (memory, Arc::new(FaultStore::over(below)))
    }

    #[test]
    fn only_the_call_that_was_named_fails() {
        let (memory, store) = kit();
        store.on(Verb::Write, 2, Fault::Fail(Cause::Io(5)));
        let results: Vec<bool> =
            (0..3).map(|at| store.write_at(&[1], at, Durability::Cached).is_ok()).collect();
        assert_eq!(results, [true, false, true]);
        assert_eq!(memory.bytes()[..3], [1, 0, 1]);
        assert_eq!(store.calls(Verb::Write), 3);
    }

    #[test]
    fn a_short_write_leaves_its_beginning() {
        let (memory, store) = kit();
        store.on_next(Verb::Write, Fault::Short(2));
        assert!(matches!(store.write_at(&[7; 4], 0, Durability::Cached).unwrap_err().cause, Cause::Lost(_)));
        assert_eq!(memory.bytes()[..4], [7, 7, 0, 0]);
    }

    #[test]
    fn a_call_sticks_until_it_is_released() {
        let (_, store) = kit();
        store.on_next(Verb::Flush, Fault::Stick);
        let stuck = std::thread::spawn({
            let store = Arc::clone(&store);
            move || store.flush()
        });
        assert!(store.wait_until_stuck(1, Duration::from_secs(10)));
        assert!(!stuck.is_finished());
        store.flush().unwrap();
        store.release();
        stuck.join().unwrap().unwrap();
    }

    #[test]
    fn try_read_never_waits_and_leaves_the_fault_to_read_at() {
        let (_, store) = kit();
        store.on_next(Verb::Read, Fault::Delay(Duration::from_millis(1)));
        assert_eq!(store.try_read(&mut [0; 4], 0), Ok(false));
        assert_eq!(store.calls(Verb::Read), 0);
        store.read_at(&mut [0; 4], 0).unwrap();
        assert_eq!(store.try_read(&mut [0; 4], 0), Ok(true));
    }
}
