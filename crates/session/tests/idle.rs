//! A session with a timeout, over a channel that follows a script: no test waits for real time.
#![cfg(not(loom))]
#![allow(missing_docs)]

use session::{
    Channel, Ending, Entered, Export, ExportName, Guard, Host, Interest, Limits, Note, Offer, OptionRefusal,
    Permits, Ready, Sitter, Workers,
};
use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use store::{Store, StoreError};
use testkit::spec::*;
use testkit::{MemoryStore, request_header};

const TIMEOUT: Duration = Duration::from_secs(3600);

/// What happens next on the stream.
#[derive(Clone, Debug)]
enum Act {
    /// These bytes come, in one receive.
    Bytes(Vec<u8>),
    /// Whoever waits with a deadline has waited for so long.
    Silence,
    /// A wait ends for no reason.
    Wake,
    /// The client takes no replies from here on, until somebody waits for that.
    Full,
}

use Act::{Bytes, Full, Silence, Wake};

/// Plays the client. Behind the script the stream ends.
struct Script {
    acts: Mutex<VecDeque<Act>>,
    /// For each wait for the client: how far its deadline was.
    waits: Mutex<Vec<Option<Duration>>>,
    /// What workers have. Done in a wait, as if it took until then.
    jobs: Arc<Mutex<Vec<Job>>>,
    full: Mutex<bool>,
}

impl Script {
    fn new(acts: Vec<Act>) -> Arc<Self> {
        let acts = std::iter::once(Bytes(go())).chain(acts).collect();
        let (waits, jobs, full) = (Mutex::default(), Arc::default(), Mutex::default());
        Arc::new(Self { acts: Mutex::new(acts), waits, jobs, full })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no test panics in here")
}

impl Channel for Script {
    fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut acts = lock(&self.acts);
        if matches!(acts.front(), Some(Full)) {
            acts.pop_front();
            *lock(&self.full) = true;
        }
        let Some(act) = acts.pop_front() else { return Ok(0) };
        let Bytes(mut bytes) = act else { panic!("a session without a timeout waits for ever here") };
        let rest = bytes.split_off(bytes.len().min(into.len()));
        if !rest.is_empty() {
            acts.push_front(Bytes(rest));
        }
        into[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        if *lock(&self.full) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(bytes.len()) }
    }

    fn send_file(&self, head: &[u8], _: BorrowedFd<'_>, _: u64, _: usize) -> io::Result<usize> {
        self.send(head).map(|_| 0)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<Ready> {
        if interest.receive {
            lock(&self.waits).push(deadline.map(|at| at.saturating_duration_since(Instant::now())));
        }
        let jobs = std::mem::take(&mut *lock(&self.jobs));
        if !jobs.is_empty() || interest.send || !interest.receive {
            jobs.into_iter().for_each(|job| job());
            let was_full = interest.send && std::mem::take(&mut *lock(&self.full));
            return Ok(Ready { send: was_full, ..Ready::default() });
        }
        let mut acts = lock(&self.acts);
        match acts.front() {
            Some(Silence) => {
                acts.pop_front();
                Ok(Ready { late: deadline.is_some(), ..Ready::default() })
            }
            Some(Wake) => {
                acts.pop_front();
                Ok(Ready::default())
            }
            Some(Bytes(_) | Full) | None => Ok(Ready { receive: true, ..Ready::default() }),
        }
    }

    fn wake(&self) {}

    fn close_input(&self) {}

    fn close(&self) {}
}

/// Client flags, and GO of an export without a name.
fn go() -> Vec<u8> {
    let mut bytes = (FLAG_C_FIXED_NEWSTYLE | FLAG_C_NO_ZEROES).to_be_bytes().to_vec();
    bytes.extend(OPTION_MAGIC.to_be_bytes());
    bytes.extend(OPT_GO.to_be_bytes());
    bytes.extend([0, 0, 0, 6, 0, 0, 0, 0, 0, 0]);
    bytes
}

struct Desk {
    export: Arc<Export>,
    limits: Limits,
    idle_timeout: Option<Duration>,
    jobs: Mutex<Arc<Mutex<Vec<Job>>>>,
}

impl Desk {
    fn new(store: Arc<MemoryStore>, idle_timeout: Option<Duration>) -> Self {
        let limits = Limits::default();
        let permits =
            Permits { read_only: false, flush: true, fua: true, trim: true, rotational: false, sync: false };
        let offer = Offer::new(store.geometry(), store.capabilities(), permits, &limits);
        let export = Export::new("".into(), offer, store, Arc::new(Trusting));
        Self { export, limits, idle_timeout, jobs: Mutex::default() }
    }
}

impl Host for Desk {
    fn list(&self) -> Result<Vec<ExportName>, OptionRefusal> {
        Ok(vec![])
    }

    fn look(&self, _: &[u8]) -> Result<Offer, OptionRefusal> {
        Ok(self.export.offer)
    }

    fn enter(&self, _: &[u8], sitter: &Arc<Sitter>) -> Result<Entered, OptionRefusal> {
        let seat = self.export.seats.take(sitter).ok_or(OptionRefusal::ShuttingDown)?;
        Ok(Entered { idle_timeout: self.idle_timeout, ..Entered::new(self.export.clone(), seat) })
    }

    fn workers(&self) -> Arc<dyn Workers> {
        Arc::new(Later(lock(&self.jobs).clone()))
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn note(&self, _: Note<'_>) {}
}

type Job = Box<dyn FnOnce() + Send>;

/// Leaves the work to the script.
struct Later(Arc<Mutex<Vec<Job>>>);

impl Workers for Later {
    fn submit(&self, _: usize, job: Job) {
        lock(&self.0).push(job);
    }

    fn in_order(&self) -> bool {
        false
    }
}

struct Trusting;

impl Guard for Trusting {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn wrong_disk(&self, _: &str, _: &[Arc<Sitter>]) {}

    fn store_failed(&self, _: &StoreError) {}
}

/// Plays a script; how the session ended, and how far the deadlines of its waits were. Those of the handshake are left
/// out.
fn play(desk: &Desk, acts: Vec<Act>) -> (Ending, Vec<Option<Duration>>) {
    let script = Script::new(acts);
    *lock(&desk.jobs) = script.jobs.clone();
    let sitter = Sitter::new("test".into(), script.clone());
    let mut entered_at = 0;
    let ending = session::serve(desk, &sitter, Instant::now(), || entered_at = lock(&script.waits).len());
    let waits = lock(&script.waits).split_off(entered_at);
    (ending, waits)
}

fn read() -> Vec<u8> {
    request_header(0, CMD_READ, 1, 0, 512).to_vec()
}

fn is_idle(ending: &Ending) -> bool {
    matches!(ending, Ending::Idle(timeout) if *timeout == TIMEOUT)
}

/// The time is the whole of it, anew from each byte: within it a client may do what it wants.
#[test]
fn a_client_that_says_nothing_for_so_long_is_told_to_go() {
    let desk = Desk::new(Arc::new(MemoryStore::new(4096)), Some(TIMEOUT));
    let write = [&request_header(0, CMD_WRITE, 1, 0, 512)[..], &[7; 512]].concat();
    let stories: [(&str, Vec<Act>); 6] = [
        ("at once", vec![]),
        ("after a request", vec![Bytes(read())]),
        ("after several", vec![Bytes(read()), Bytes(read()), Bytes(read())]),
        ("in the middle of a header", vec![Bytes(read()), Bytes(read()[..10].to_vec())]),
        ("in the middle of a payload", vec![Bytes(write[..100].to_vec())]),
        ("and is woken meanwhile", vec![Wake, Wake]),
    ];
    for (what, mut acts) in stories {
        acts.push(Silence);
        let count = acts.len();
        let (ending, waits) = play(&desk, acts);
        assert!(is_idle(&ending), "{what}: {ending:?}");
        assert_eq!(waits.len(), count, "{what}: one wait for each time that the client is waited for");
        for wait in waits {
            let wait = wait.expect("a deadline");
            assert!(wait > TIMEOUT - Duration::from_secs(60) && wait <= TIMEOUT, "{what}: {wait:?}");
        }
        assert!(desk.export.seats.is_empty());
    }
    assert_eq!(Ending::Idle(Duration::from_millis(1500)).to_string(), "no request for 1.5 s, the timeout");
}

/// What the server has not done yet, or the client has not taken yet, is nobody's idleness by this key.
#[test]
fn time_does_not_run_while_anything_is_under_way() {
    let desk = Desk::new(Arc::new(MemoryStore::new(4096)), Some(TIMEOUT));
    let flush = request_header(0, CMD_FLUSH, 1, 0, 0).to_vec();
    let stories = [vec![Bytes(flush.clone()), Silence], vec![Full, Bytes(flush), Silence]];
    for (story, busy_waits) in stories.into_iter().zip([1, 2]) {
        let (ending, waits) = play(&desk, story);
        assert!(is_idle(&ending), "{ending:?}");
        let hurried: Vec<bool> = waits.iter().map(Option::is_some).collect();
        let (busy, idle) = hurried.split_at(hurried.len() - 1);
        assert_eq!((busy[0], idle[0]), (true, true), "before the request, and behind its answer");
        assert_eq!(busy[1..], vec![false; busy_waits]);
    }
}

/// P6: what it wrote survives, as at any other end.
#[test]
fn what_an_idle_client_wrote_is_flushed() {
    let memory = Arc::new(MemoryStore::new(4096));
    let desk = Desk::new(memory.clone(), Some(TIMEOUT));
    let write = [&request_header(0, CMD_WRITE, 1, 0, 512)[..], &[7; 512]].concat();
    let (ending, _) = play(&desk, vec![Bytes(write), Silence]);
    assert!(is_idle(&ending));
    assert_eq!(memory.durable()[..512], [7; 512]);
}

/// C-143: without a timeout a session lives for ever, and its thread sleeps in `receive` as it always did: not one wait
/// more.
#[test]
fn without_a_timeout_nobody_is_hurried_and_nothing_costs_more() {
    let desk = Desk::new(Arc::new(MemoryStore::new(4096)), None);
    let goodbye = request_header(0, CMD_DISC, 0, 0, 0).to_vec();
    let (ending, waits) = play(&desk, vec![Bytes(read()), Bytes(read()), Bytes(goodbye)]);
    assert!(matches!(ending, Ending::Disconnected), "{ending:?}");
    assert_eq!(waits, [], "no wait, so no deadline");
}

/// More than a clock can count is no timeout.
#[test]
fn a_timeout_beyond_all_time_is_none() {
    let desk = Desk::new(Arc::new(MemoryStore::new(4096)), Some(Duration::MAX));
    let (ending, waits) = play(&desk, vec![Bytes(read())]);
    assert!(matches!(ending, Ending::HungUp), "{ending:?}");
    assert_eq!(waits, [None, None]);
}
