//! What a session's meter says, against stores that fail, clients that are slow and workers that are quick.
#![allow(missing_docs)]

use server::{Pool, Socket};
use session::{
    Class, Entered, Export, ExportName, Guard, Host, Limits, Note, Offer, OptionRefusal, Permits, Readings,
    Sitter, Workers,
};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use store::{Cause, Store, StoreError, Verb};
use testkit::spec::*;
use testkit::{Client, Fault, FaultStore, MemoryStore, TempDir};

const SIZE: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

/// One export over any store, served over a socket pair.
struct Desk {
    export: Arc<Export>,
    workers: Arc<dyn Workers>,
    limits: Limits,
}

struct Deaf;

impl Guard for Deaf {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn wrong_disk(&self, _: &str, _: &[Arc<Sitter>]) {}

    fn store_failed(&self, _: &StoreError) {}
}

impl Desk {
    fn new(store: Arc<dyn Store>) -> Self {
        let limits = Limits::default();
        let permits =
            Permits { read_only: false, flush: true, fua: true, trim: true, rotational: false, sync: false };
        let offer = Offer::new(store.geometry(), store.capabilities(), permits, &limits);
        let export = Export::new("disk".into(), offer, store, Arc::new(Deaf));
        Self { export, workers: Arc::new(Pool::new(4)), limits }
    }

    /// A client in transmission, and the session that it has.
    fn open(self, structured: bool) -> (Client, Arc<Sitter>) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let sitter = Sitter::new("test".into(), Arc::new(Socket::new(theirs.into())));
        let session = sitter.clone();
        thread::spawn(move || {
            session::serve(&self, &session, Instant::now(), || ());
            session.channel.close();
        });
        let mut client = Client::from_unix(ours).expect("a client");
        client.greet().expect("a greeting");
        if structured {
            client.structured().expect("granted");
        }
        client.go("disk").expect("granted");
        (client, sitter)
    }
}

impl Host for Desk {
    fn list(&self) -> Result<Vec<ExportName>, OptionRefusal> {
        Ok(Vec::new())
    }

    fn look(&self, _: &[u8]) -> Result<Offer, OptionRefusal> {
        Ok(self.export.offer)
    }

    fn enter(&self, _: &[u8], sitter: &Arc<Sitter>) -> Result<Entered, OptionRefusal> {
        let seat = self.export.seats.take(sitter).ok_or(OptionRefusal::ShuttingDown)?;
        Ok(Entered::new(self.export.clone(), seat))
    }

    fn workers(&self) -> Arc<dyn Workers> {
        self.workers.clone()
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn note(&self, _: Note<'_>) {}
}

/// Requests, bytes, errors and timed requests of one kind.
fn said(readings: &Readings, class: Class) -> (u64, u64, u64, u64) {
    let of = readings.of(class);
    (of.requests, of.bytes, of.errors, of.buckets.iter().sum())
}

/// Bytes of a failed request went nowhere, whoever did it.
#[test]
fn a_request_that_fails_is_an_error_and_moves_no_bytes() {
    let verbs: [(Verb, u16, Class, &[u8]); 6] = [
        (Verb::Read, CMD_READ, Class::Read, &[]),
        (Verb::Write, CMD_WRITE, Class::Write, &[7; 512]),
        (Verb::Zero, CMD_WRITE_ZEROES, Class::Zeroes, &[]),
        (Verb::Trim, CMD_TRIM, Class::Trim, &[]),
        (Verb::Flush, CMD_FLUSH, Class::Flush, &[]),
        (Verb::Cache, CMD_CACHE, Class::Other, &[]),
    ];
    for never_at_hand in [false, true] {
        let store = Arc::new(FaultStore::over(Arc::new(MemoryStore::new(SIZE))));
        if never_at_hand {
            store.never_at_hand();
        }
        let (mut client, sitter) = Desk::new(store.clone()).open(true);
        for (verb, command, class, data) in verbs {
            let len = if command == CMD_FLUSH { 0 } else { 512 };
            let moved = if matches!(class, Class::Flush | Class::Other) { 0 } else { 512 };
            store.on_next(verb, Fault::Fail(Cause::Io(5)));
            assert_eq!(client.transact(0, command, 0, len, data).expect("an answer").error, EIO);
            assert_eq!(said(&sitter.meter.read(), class), (1, 0, 1, 1), "{verb}");
            assert_eq!(client.transact(0, command, 0, len, data).expect("an answer").error, 0);
            assert_eq!(said(&sitter.meter.read(), class), (2, moved, 1, 2), "{verb}");
        }
    }
}

/// Served piece by piece, and counted like any other.
#[test]
fn a_request_in_pieces_is_one_request_with_all_its_bytes() {
    for structured in [false, true] {
        let mut desk = Desk::new(Arc::new(MemoryStore::new(SIZE)));
        (desk.limits.payload_len_max, desk.limits.piece_len) = (64 << 10, 16 << 10);
        let (mut client, sitter) = desk.open(structured);
        let len = 160 << 10;
        assert_eq!(client.read(0, len).expect("read").len(), len as usize);
        assert_eq!(said(&sitter.meter.read(), Class::Read), (1, len.into(), 0, 1));
        client.write(0, &vec![1; len as usize]).expect("written");
        assert_eq!(said(&sitter.meter.read(), Class::Write), (1, len.into(), 0, 1));
    }
}

#[test]
fn a_huge_read_that_fails_in_the_middle_is_one_error() {
    let store = Arc::new(FaultStore::over(Arc::new(MemoryStore::new(SIZE))));
    let mut desk = Desk::new(store.clone());
    (desk.limits.payload_len_max, desk.limits.piece_len) = (64 << 10, 16 << 10);
    let (mut client, sitter) = desk.open(true);
    store.on(Verb::Read, 3, Fault::Fail(Cause::Io(5)));
    assert_eq!(client.transact(0, CMD_READ, 0, 160 << 10, &[]).expect("an answer").error, EIO);
    assert_eq!(said(&sitter.meter.read(), Class::Read), (1, 32 << 10, 1, 1), "two pieces went out");
}

/// Whoever has a reply in hand finds its request counted: a job is done before the session's thread goes on.
#[test]
fn a_request_is_counted_before_its_reply_leaves() {
    #[derive(Default)]
    struct AtOnce {
        sitter: Mutex<Option<Arc<Sitter>>>,
        seen: Mutex<Vec<(u64, u64)>>,
    }

    impl Workers for AtOnce {
        fn submit(&self, _: usize, job: Box<dyn FnOnce() + Send>) {
            job();
            let sitter = self.sitter.lock().expect("alive").clone().expect("a session");
            let (requests, _, _, timed) = said(&sitter.meter.read(), Class::Zeroes);
            self.seen.lock().expect("alive").push((requests, timed));
        }

        fn in_order(&self) -> bool {
            false
        }
    }

    let workers = Arc::new(AtOnce::default());
    let desk = Desk { workers: workers.clone(), ..Desk::new(Arc::new(MemoryStore::new(SIZE))) };
    let (mut client, sitter) = desk.open(false);
    *workers.sitter.lock().expect("alive") = Some(sitter);
    client.zero(0, 0, 512).expect("zeroed");
    client.zero(0, 0, 512).expect("zeroed");
    client.read(0, 1).expect("the thread has gone on");
    assert_eq!(workers.seen.lock().expect("alive")[..], [(1, 1), (2, 2)]);
}

/// The batch is settled while the payload is on its way, and the request is at hand before and after that.
#[test]
fn a_payload_that_comes_apart_from_its_header_is_one_request() {
    for flags in [0, CMD_FLAG_FUA] {
        let store = Arc::new(FaultStore::over(Arc::new(MemoryStore::new(SIZE))));
        let (mut client, sitter) = Desk::new(store).open(false);
        for round in 1..=3 {
            let at = round * 10;
            client.send_request(0, CMD_READ, at, 0, 512, &[]).expect("sent");
            client.send_request(0, CMD_WRITE, at + 1, 0, 512, &[1; 512]).expect("sent");
            client.send_request(flags, CMD_WRITE, at + 2, 0, SIZE as u32, &[]).expect("a header alone");
            // Those before it are answered: its thread waits for the payload now.
            assert_eq!(client.wait_for(at).expect("an answer").error, 0);
            assert_eq!(client.wait_for(at + 1).expect("an answer").error, 0);
            let payload = vec![round as u8; SIZE];
            client.send_bytes(&payload[..SIZE / 2]).expect("sent");
            client.send_bytes(&payload[SIZE / 2..]).expect("sent");
            assert_eq!(client.wait_for(at + 2).expect("an answer").error, 0);
            let bytes = round * (512 + SIZE as u64);
            assert_eq!(said(&sitter.meter.read(), Class::Write), (2 * round, bytes, 0, 2 * round));
            assert_eq!(said(&sitter.meter.read(), Class::Read), (round, round * 512, 0, round));
        }
    }
}

/// A client that does not take its reply is not what a slow disk looks like: the time ends where the reply begins to
/// leave.
#[test]
fn a_slow_client_is_no_slow_disk() {
    let dir = TempDir::new("counting");
    let disk = dir.sparse("disk", 8 << 20);
    std::fs::write(&disk, vec![1; 8 << 20]).expect("in the page cache");
    let (filesize, layout) = (None, store::Layout::One);
    let spec = store::Spec { path: disk, filesize, write: store::Access::ReadOnly, layout };
    let store = store::open(&spec, Arc::default()).expect("opened").store;
    let (mut client, sitter) = Desk::new(store).open(false);
    // More than any socket takes.
    client.send_request(0, CMD_READ, 1, 0, 8 << 20, &[]).expect("sent");
    let until = Instant::now() + PATIENCE;
    while said(&sitter.meter.read(), Class::Read) != (1, 8 << 20, 0, 1) {
        assert!(Instant::now() < until, "{:?}", said(&sitter.meter.read(), Class::Read));
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.wait_for(1).expect("an answer").data.len(), 8 << 20);
}

/// What waits for a worker may be refused there: that is an error like any other.
#[test]
fn a_request_that_is_refused_by_a_worker_is_an_error() {
    #[derive(Default)]
    struct Later(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

    impl Workers for Later {
        fn submit(&self, _: usize, job: Box<dyn FnOnce() + Send>) {
            self.0.lock().expect("alive").push(job);
        }

        fn in_order(&self) -> bool {
            false
        }
    }

    let workers = Arc::new(Later::default());
    let desk = Desk { workers: workers.clone(), ..Desk::new(Arc::new(MemoryStore::new(SIZE))) };
    let export = desk.export.clone();
    let (mut client, sitter) = desk.open(false);
    client.send_request(0, CMD_WRITE_ZEROES, 1, 0, 512, &[]).expect("sent");
    let until = Instant::now() + PATIENCE;
    let job = loop {
        if let Some(job) = workers.0.lock().expect("alive").pop() {
            break job;
        }
        assert!(Instant::now() < until, "nothing is handed over");
        thread::sleep(Duration::from_millis(1));
    };
    export.seats.read_only_now.store(true, Ordering::SeqCst);
    job();
    assert_eq!(client.wait_for(1).expect("an answer").error, EPERM);
    assert_eq!(said(&sitter.meter.read(), Class::Zeroes), (1, 0, 1, 1));
}
