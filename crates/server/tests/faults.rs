//! A store that fails, stops short, hangs or panics under a real session: the right word to the client, no crash, no
//! hang, and nothing lost that was acknowledged.
#![allow(missing_docs)]

use server::{Pool, Socket};
use session::{
    Channel, Ending, Entered, Export, ExportName, Guard, Host, Interest, Limits, Note, Offer, OptionRefusal,
    Permits, Ready, Seats, Sitter, Workers,
};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use store::{Capabilities, Cause, Durability, Extent, Geometry, Store, StoreError, Verb, ZeroHow};
use testkit::spec::*;
use testkit::{CLOSED, Client, Fault, FaultStore, MemoryStore, TempDir, pattern};

const SIZE: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

/// One export over any store, served over socket pairs.
#[derive(Clone)]
struct Desk {
    export: Arc<Export>,
    pool: Pool,
    limits: Limits,
    failures: Arc<Mutex<Vec<String>>>,
}

struct Witness(Arc<Mutex<Vec<String>>>);

impl Guard for Witness {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn wrong_disk(&self, _: &str, _: &[Arc<Sitter>]) {}

    fn store_failed(&self, error: &StoreError) {
        self.0.lock().expect("no test panics in here").push(error.to_string());
    }
}

impl Desk {
    fn new(store: Arc<dyn Store>) -> Self {
        let limits = Limits::default();
        let permits =
            Permits { read_only: false, flush: true, fua: true, trim: true, rotational: false, sync: false };
        let offer = Offer::new(store.geometry(), store.capabilities(), permits, &limits);
        let failures = Arc::<Mutex<Vec<String>>>::default();
        let export = Export::new("disk".into(), offer, store, Arc::new(Witness(failures.clone())));
        Self { export, pool: Pool::new(4), limits, failures }
    }

    /// A client in transmission, and how its session will end.
    fn open(&self, structured: bool) -> (Client, Receiver<Ending>) {
        self.open_over(structured, |socket| Arc::new(socket))
    }

    fn open_over(
        &self,
        structured: bool,
        channel_over: fn(Socket) -> Arc<dyn Channel>,
    ) -> (Client, Receiver<Ending>) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let (desk, (ended, ending)) = (self.clone(), channel());
        thread::spawn(move || {
            let sitter = Sitter::new("test".into(), channel_over(Socket::new(theirs.into())));
            let end = session::serve(&desk, &sitter, Instant::now(), || ());
            sitter.channel.close();
            let _ = ended.send(end);
        });
        let mut client = Client::from_unix(ours).expect("a client");
        client.greet().expect("a greeting");
        if structured {
            client.structured().expect("granted");
            client.set_meta("disk", &["base:allocation"]).expect("granted");
        }
        client.go("disk").expect("granted");
        (client, ending)
    }

    fn failures(&self) -> Vec<String> {
        self.failures.lock().expect("alive").clone()
    }
}

impl Host for Desk {
    fn list(&self) -> Result<Vec<ExportName>, OptionRefusal> {
        Ok(vec![self.export.name.clone()])
    }

    fn look(&self, _: &[u8]) -> Result<Offer, OptionRefusal> {
        Ok(self.export.offer)
    }

    fn enter(&self, _: &[u8], sitter: &Arc<Sitter>) -> Result<Entered, OptionRefusal> {
        let seat = self.export.seats.take(sitter).ok_or(OptionRefusal::ShuttingDown)?;
        Ok(Entered::new(self.export.clone(), seat))
    }

    fn tls_offered(&self) -> bool {
        false
    }

    fn tls_required(&self) -> bool {
        false
    }

    fn secure(&self, _: &Arc<Sitter>, _: Instant) -> Result<(), String> {
        Err("there is no TLS here".into())
    }

    fn workers(&self) -> Arc<dyn Workers> {
        Arc::new(self.pool.clone())
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn note(&self, _: Note<'_>) {}
}

fn faulty() -> (Arc<FaultStore>, Arc<MemoryStore>, Desk) {
    let memory = Arc::new(MemoryStore::new(SIZE));
    let store = Arc::new(FaultStore::over(memory.clone()));
    let desk = Desk::new(store.clone());
    (store, memory, desk)
}

fn lost() -> Cause {
    Cause::Lost("the disk has left".into())
}

/// `reliability`: what a medium says is never the client's fault, and never silence.
#[test]
fn each_fault_has_its_error_and_the_session_goes_on() {
    let verbs: [(Verb, u16, &[u8]); 6] = [
        (Verb::Read, CMD_READ, &[]),
        (Verb::Write, CMD_WRITE, &[7; 512]),
        (Verb::Zero, CMD_WRITE_ZEROES, &[]),
        (Verb::Trim, CMD_TRIM, &[]),
        (Verb::Flush, CMD_FLUSH, &[]),
        (Verb::Cache, CMD_CACHE, &[]),
    ];
    let causes = [
        (Cause::Io(5), EIO),
        (Cause::Io(121), EIO),
        (Cause::NoSpace, ENOSPC),
        (Cause::NoMemory, ENOMEM),
        (Cause::Forbidden, EPERM),
        (Cause::Poisoned, EIO),
        (lost(), EIO),
        (Cause::Other("?".into()), EIO),
    ];
    for structured in [false, true] {
        let (store, _, desk) = faulty();
        let (mut client, _ending) = desk.open(structured);
        for (verb, command, data) in verbs {
            for (cause, number) in &causes {
                store.on_next(verb, Fault::Fail(cause.clone()));
                let len = if command == CMD_FLUSH { 0 } else { 512 };
                let answer = client.transact(0, command, 0, len, data).expect("an answer");
                assert_eq!(answer.error, *number, "{verb} {cause:?}");
                assert_eq!(answer.message.is_empty(), !structured, "a sentence where there is room for one");
                assert_eq!(client.read(0, 16), Ok(vec![0; 16]), "in step after {verb} {cause:?}");
            }
        }
        let expected = verbs.len() * causes.len();
        assert_eq!(desk.failures().len(), expected, "the operator hears of each");
    }
}

/// A disk that gives fewer bytes than it has is a lost disk: never zeros, never fewer bytes.
#[test]
fn a_short_read_or_write_is_an_error() {
    let (store, memory, desk) = faulty();
    let (mut client, _ending) = desk.open(false);
    client.write(0, &[1; 4096]).expect("written");
    store.on_next(Verb::Read, Fault::Short(100));
    assert_eq!(client.read(0, 4096), Err(EIO));
    store.on_next(Verb::Write, Fault::Short(100));
    assert_eq!(client.write(8192, &[2; 4096]), Err(EIO));
    assert_eq!(client.read(0, 4096), Ok(vec![1; 4096]));
    assert_eq!(memory.bytes()[8192..8292], [2; 100]);
}

/// A request that hangs takes neither its connection nor its neighbours with it, and is answered when it comes back.
#[test]
fn what_hangs_holds_up_nobody_else() {
    let (store, _, desk) = faulty();
    let (mut client, _one) = desk.open(true);
    let (mut neighbour, _two) = desk.open(false);
    store.on_next(Verb::Read, Fault::Stick);
    let stuck = client.send_request(0, CMD_READ, 100, 0, 4096, &[]);
    stuck.expect("sent");
    assert!(store.wait_until_stuck(1, PATIENCE));
    for round in 0..50 {
        assert_eq!(client.read(4096, 512), Ok(vec![0; 512]), "round {round}: the same connection");
        neighbour.write(8192, &[round; 512]).expect("another one");
        neighbour.flush().expect("another one");
    }
    store.release();
    assert_eq!(client.wait_for(100).expect("an answer").data, vec![0; 4096]);
}

/// Larger than what is held at once, and failing in the middle. Chunks can say so; a simple reply has promised its data
/// already, so the connection ends: the client must not take the rest for data.
#[test]
fn a_huge_read_that_fails_in_the_middle_is_told_or_broken_off() {
    let len = 40 << 20;
    for structured in [true, false] {
        let store = Arc::new(FaultStore::over(Arc::new(MemoryStore::new(len))));
        let desk = Desk::new(store.clone());
        let (mut client, ending) = desk.open(structured);
        store.on(Verb::Read, 17, Fault::Fail(lost()));
        let answer = client.transact(0, CMD_READ, 0, len as u32, &[]);
        if structured {
            let answer = answer.expect("an answer");
            assert_eq!((answer.error, answer.message.contains("has left")), (EIO, true));
            assert_eq!(client.read(0, 512), Ok(vec![0; 512]), "in step");
        } else {
            assert!(answer.is_err());
            assert!(matches!(ending.recv_timeout(PATIENCE), Ok(Ending::BrokenPromise(_))));
        }
    }
}

#[test]
fn a_huge_write_that_fails_in_the_middle_stays_in_step() {
    let len = 3 << 20;
    let memory = Arc::new(MemoryStore::new(len));
    let store = Arc::new(FaultStore::over(memory.clone()));
    let desk = Desk::new(store.clone());
    let (mut client, _ending) = desk.open(false);
    store.on(Verb::Write, 2, Fault::Fail(Cause::NoSpace));
    assert_eq!(client.write(0, &vec![5; len]), Err(ENOSPC));
    assert_eq!(client.read(0, 2), Ok(vec![5, 5]));
    assert_eq!(store.calls(Verb::Write), 2, "after a failure nothing more is written");
    client.write(0, &vec![6; len]).expect("the next one is written");
    assert!(memory.bytes().iter().all(|&byte| byte == 6));
}

/// P2 at the level of one export: after `revoke` and empty seats, the store is reached no more. A request that hangs
/// keeps its seat, and is named with its age.
#[test]
fn a_fence_waits_for_what_is_in_the_store_and_lets_nothing_after_it() {
    let (store, memory, desk) = faulty();
    let (mut client, ending) = desk.open(false);
    let seats: Arc<Seats> = desk.export.seats.clone();
    client.write(0, &[1; 512]).expect("before");
    store.on_next(Verb::Flush, Fault::Stick);
    client.send_request(0, CMD_FLUSH, 50, 0, 0, &[]).expect("sent");
    assert!(store.wait_until_stuck(1, PATIENCE));
    let sitters = seats.revoke();
    let _ = client.send_request(0, CMD_WRITE, 51, 512, 512, &[2; 512]);
    assert!(!seats.wait_empty(Instant::now() + Duration::from_millis(50)), "it hangs");
    assert!(sitters[0].busy_for().is_some(), "and is named by its age");
    store.release();
    assert!(seats.wait_empty(Instant::now() + PATIENCE));
    assert_eq!(client.wait_for(50).expect("what was taken is answered").error, 0);
    assert_eq!(memory.bytes()[512..1024], [0; 512], "nothing after the fence");
    assert!(client.is_closed());
    assert!(matches!(ending.recv_timeout(PATIENCE), Ok(Ending::Fenced)));
}

/// The appliance's client never sends FLUSH (P6).
#[test]
fn what_a_session_wrote_is_flushed_when_it_ends() {
    for (flush_first, goodbye) in [(false, true), (false, false), (true, true)] {
        let (_, memory, desk) = faulty();
        let (mut client, ending) = desk.open(false);
        client.write(0, &[9; 512]).expect("written");
        assert_eq!(memory.durable()[0], 0);
        if flush_first {
            client.flush().expect("flushed");
        }
        if goodbye {
            client.disc().expect("sent");
        }
        drop(client);
        ending.recv_timeout(PATIENCE).expect("it ends");
        assert_eq!((memory.durable()[0], memory.flushes()), (9, 1));
    }
    let (store, _, desk) = faulty();
    let (mut client, ending) = desk.open(false);
    client.write(0, &[9; 512]).expect("written");
    store.on_next(Verb::Flush, Fault::Fail(Cause::Io(5)));
    drop(client);
    ending.recv_timeout(PATIENCE).expect("it ends");
    assert_eq!(desk.failures().len(), 1, "a failure is said");
}

/// FUA and FLUSH: in the moment of the reply the bytes survive a power cut.
#[test]
fn what_is_acknowledged_as_durable_is_durable() {
    let (_, memory, desk) = faulty();
    let (mut client, _ending) = desk.open(true);
    client.write(0, &[1; 512]).expect("written");
    client.flush().expect("flushed");
    assert_eq!(memory.durable()[..512], [1; 512]);
    for (flags, command, data, byte) in
        [(CMD_FLAG_FUA, CMD_WRITE, &[2_u8; 512][..], 2), (CMD_FLAG_FUA, CMD_WRITE_ZEROES, &[], 0)]
    {
        let answer = client.transact(flags, command, 0, 512, data).expect("an answer");
        assert_eq!((answer.error, memory.durable()[0]), (0, byte), "command {command}");
    }
}

/// A client that asked for much and has gone: what it asked for is not read for nobody.
#[test]
fn nobody_works_for_a_client_that_has_gone() {
    let (store, _, desk) = faulty();
    let (mut client, ending) = desk.open(false);
    let many = testkit::request_header(0, CMD_READ, 1, 0, SIZE as u32).repeat(1000);
    client.send_bytes(&many).expect("sent");
    drop(client);
    ending.recv_timeout(PATIENCE).expect("it ends");
    assert!(store.calls(Verb::Read) < 100, "{} reads", store.calls(Verb::Read));
}

/// A mistake of ours in one operation costs that operation, or at worst that session; never the count that a fence
/// waits for.
#[test]
fn a_panic_in_the_store_is_an_error_and_leaves_the_seats_right() {
    let desk = Desk::new(Arc::new(Panicking(MemoryStore::new(SIZE))));
    let (mut client, _one) = desk.open(true);
    let answer = client.transact(0, CMD_FLUSH, 0, 0, &[]).expect("an answer");
    assert_eq!((answer.error, answer.message.contains("internal error")), (EIO, true));
    assert_eq!(client.read(0, 4), Ok(vec![0; 4]), "the session goes on");
    // On the session's own thread.
    let (mut other, ending) = desk.open(false);
    assert_eq!(other.write(0, &[1; 512]), Err(CLOSED));
    assert!(matches!(ending.recv_timeout(PATIENCE), Ok(Ending::Panicked)));
    assert_eq!(client.read(0, 4), Ok(vec![0; 4]), "and so do the others");
    drop(client);
    assert!(desk.export.seats.wait_empty(Instant::now() + PATIENCE));
}

/// A file system that stops sending from a file in the middle of it: the rest is copied.
#[test]
fn what_cannot_be_sent_from_the_file_is_copied() {
    let dir = TempDir::new("faults");
    let path = dir.join("disk.img");
    let bytes: Vec<u8> = (0..1_u64 << 18).flat_map(|word| pattern::mix(word).to_le_bytes()).collect();
    std::fs::write(&path, &bytes).expect("a disk");
    let (write, layout) = (store::Access::ReadOnly, store::Layout::One);
    let spec = store::Spec { path, filesize: None, write, layout };
    let desk = Desk::new(store::open(&spec, Arc::default()).expect("it opens").store);
    let (mut client, _ending) = desk.open_over(true, |socket| Arc::new(HalfWay(socket)));
    for (offset, len) in [(0, 1 << 20), (12_345, 1 << 20), (1, 40_000)] {
        assert!(client.read(offset, len).expect("read") == bytes[offset as usize..][..len as usize]);
    }
}

/// Sends half of what it shall send from a file.
struct HalfWay(Socket);

impl Channel for HalfWay {
    fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        self.0.receive(into)
    }
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_send(bytes)
    }
    fn sends_files(&self) -> bool {
        self.0.sends_files()
    }
    fn send_file(&self, head: &[u8], file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<usize> {
        self.0.send_file(head, file, offset, len / 2)
    }
    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<Ready> {
        self.0.wait(interest, deadline)
    }
    fn wake(&self) {
        self.0.wake();
    }
    fn close_input(&self) {
        self.0.close_input();
    }
    fn close(&self) {
        self.0.close();
    }
}

struct Panicking(MemoryStore);

impl Store for Panicking {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        self.0.read_at(buf, offset)
    }
    fn try_read(&self, buf: &mut [u8], offset: u64) -> Result<bool, StoreError> {
        self.0.try_read(buf, offset)
    }
    fn write_at(&self, _: &[u8], _: u64, _: Durability) -> Result<(), StoreError> {
        panic!("as a test")
    }
    fn zero(&self, offset: u64, len: u64, how: ZeroHow, durability: Durability) -> Result<(), StoreError> {
        self.0.zero(offset, len, how, durability)
    }
    fn trim(&self, offset: u64, len: u64, durability: Durability) -> Result<(), StoreError> {
        self.0.trim(offset, len, durability)
    }
    fn flush(&self) -> Result<(), StoreError> {
        panic!("as a test")
    }
    fn cache(&self, offset: u64, len: u64) -> Result<(), StoreError> {
        self.0.cache(offset, len)
    }
    fn map(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<Extent>, StoreError> {
        self.0.map(offset, len, extents_max)
    }
    fn verify(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
