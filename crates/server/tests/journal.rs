//! What a session tells its journal: every request as it came, every answer once, whichever way it took.
#![allow(missing_docs)]

#[path = "common/desk.rs"]
mod desk;

use desk::{Desk, PATIENCE, end_of, faulty};
use session::{Ending, Journal, Limits};
use std::sync::{Arc, Mutex};
use store::{Access, Cause, Layout, Spec, Store, Verb};
use testkit::spec::*;
use testkit::{Client, Fault, TempDir, request_header};

const SIZE: usize = 1 << 20;
/// Small, so that a test can send what is too large for one piece, and for one record.
const PIECE: usize = 64 << 10;
const LARGE: usize = 256 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Record {
    /// A header as it came, and the payload behind it.
    Asked(Vec<u8>, Vec<u8>),
    /// Cookie and error.
    Answered(u64, u32),
}

use Record::{Answered, Asked};

/// Keeps what it is told.
struct Notebook {
    payloads: bool,
    records: Mutex<Vec<Record>>,
}

impl Notebook {
    fn new(payloads: bool) -> Arc<Self> {
        Arc::new(Self { payloads, records: Mutex::default() })
    }

    fn take(&self) -> Vec<Record> {
        std::mem::take(&mut *self.records.lock().expect("no test panics in here"))
    }

    fn add(&self, record: Record) {
        self.records.lock().expect("no test panics in here").push(record);
    }
}

impl Journal for Notebook {
    fn wants_payloads(&self) -> bool {
        self.payloads
    }

    fn request(&self, header: &[u8; 28], payload: &[u8]) {
        self.add(Asked(header.to_vec(), payload.to_vec()));
    }

    fn reply(&self, reply: &[u8; 16]) {
        assert_eq!(reply[..4], SIMPLE_REPLY_MAGIC.to_be_bytes());
        let error = u32::from_be_bytes(reply[4..8].try_into().expect("four bytes"));
        self.add(Answered(u64::from_be_bytes(reply[8..].try_into().expect("eight bytes")), error));
    }
}

/// One request of a table.
#[derive(Clone, Debug)]
struct Wish {
    what: &'static str,
    flags: u16,
    command: u16,
    offset: u64,
    len: u32,
    error: u32,
}

fn wish(what: &'static str, command: u16, offset: u64, len: usize, error: u32) -> Wish {
    Wish { what, flags: 0, command, offset, len: len as u32, error }
}

/// Every command, served in every way there is: at hand, straight from the file, by a worker, in pieces; and refused.
fn wishes() -> Vec<Wish> {
    let end = SIZE as u64;
    let fua = |wish: Wish| Wish { flags: CMD_FLAG_FUA, ..wish };
    let bad = |wish: Wish| Wish { flags: 1 << 9, ..wish };
    vec![
        wish("a write at hand", CMD_WRITE, 0, 512, 0),
        wish("a write of nothing", CMD_WRITE, 0, 0, 0),
        wish("a write that arrives in parts", CMD_WRITE, 4096, PIECE, 0),
        fua(wish("a durable write", CMD_WRITE, 512, 512, 0)),
        wish("a write in pieces", CMD_WRITE, 0, 3 * PIECE + 5, 0),
        fua(wish("a durable write in pieces", CMD_WRITE, 0, 2 * PIECE, 0)),
        wish("a read at hand", CMD_READ, 0, 512, 0),
        wish("a read of nothing", CMD_READ, 0, 0, 0),
        wish("a read straight from the file", CMD_READ, 0, 2 * PIECE, 0),
        wish("a read in pieces", CMD_READ, 0, LARGE + 1, 0),
        wish("zeros", CMD_WRITE_ZEROES, 4096, 8192, 0),
        wish("a trim", CMD_TRIM, 4096, 4096, 0),
        wish("a flush", CMD_FLUSH, 0, 0, 0),
        wish("a cache", CMD_CACHE, 0, 4096, 0),
        wish("a read past the end", CMD_READ, end, 1, EINVAL),
        wish("a write past the end", CMD_WRITE, end - 1, 2, ENOSPC),
        wish("a large write past the end", CMD_WRITE, u64::MAX - 5, 2 * PIECE, ENOSPC),
        wish("zeros past the end", CMD_WRITE_ZEROES, end, 1, ENOSPC),
        bad(wish("a flag that is none", CMD_READ, 0, 1, EINVAL)),
        bad(wish("a write with a flag that is none", CMD_WRITE, 0, 700, EINVAL)),
        bad(wish("a goodbye with a flag", CMD_DISC, 0, 0, EINVAL)),
        wish("a command that is none", 99, 1, 2, EINVAL),
    ]
}

fn limits() -> Limits {
    Limits { piece_len: PIECE, payload_len_max: LARGE as u32, ..Limits::default() }
}

fn content(wish: &Wish) -> Vec<u8> {
    let len = if wish.command == CMD_WRITE { wish.len } else { 0 };
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// Asks one wish after the other and checks what was told: the header as sent, the payload where it is wanted, and
/// behind it the answer that the client got.
fn each_is_told(client: &mut Client, notebook: &Notebook, wishes: &[Wish]) {
    for (number, wish) in wishes.iter().enumerate() {
        let (cookie, payload) = (0x0102_0304_0506_0700 + number as u64, content(wish));
        let Wish { what, flags, command, offset, len, error } = wish.clone();
        client.send_request(flags, command, cookie, offset, len, &payload).expect("sent");
        let answer = client.wait_for(cookie).expect("an answer");
        assert_eq!(answer.error, error, "{what}");
        let header = request_header(flags, command, cookie, offset, len).to_vec();
        let wanted = if notebook.payloads { payload } else { vec![] };
        let told = notebook.take();
        assert_eq!(told.len(), 2, "{what}: one request, one answer: {told:.100?}");
        assert!(told[0] == Asked(header, wanted), "{what}: {:.200?}", told[0]);
        assert_eq!(told[1], Answered(cookie, error), "{what}");
    }
}

fn disk(dir: &TempDir) -> Arc<dyn Store> {
    let path = dir.sparse("disk.img", SIZE as u64);
    let spec = Spec { path, filesize: None, write: Access::ReadWrite, layout: Layout::One };
    store::open(&spec, Arc::default()).expect("it opens").store
}

/// C-199: requests as they came, replies as simple ones also where they went out as chunks, in the order of processing.
#[test]
fn every_request_has_its_record_and_exactly_one_answer() {
    for (structured, payloads) in [(false, false), (false, true), (true, false), (true, true)] {
        let dir = TempDir::new("journal");
        let notebook = Notebook::new(payloads);
        let desk = Desk::with(disk(&dir), limits(), false, None).journal(&notebook);
        let (mut client, ending) = desk.open(structured);
        let mut wishes = wishes();
        if structured {
            wishes.push(wish("a status", CMD_BLOCK_STATUS, 0, SIZE, 0));
        } else {
            wishes.push(wish("a status that was not agreed", CMD_BLOCK_STATUS, 0, SIZE, EINVAL));
        }
        each_is_told(&mut client, &notebook, &wishes);
        client.disc().expect("sent");
        assert!(matches!(end_of(&ending), Ending::Disconnected));
        let goodbye = request_header(0, CMD_DISC, 0, 0, 0).to_vec();
        assert_eq!(notebook.take(), [Asked(goodbye, vec![])], "a goodbye has no answer");
    }
}

/// C-199: the same where nothing is at hand, so that workers do it, and where nothing may be written.
#[test]
fn what_workers_do_and_what_is_read_only_is_told_as_well() {
    for (structured, in_turn) in [(false, true), (true, false)] {
        let notebook = Notebook::new(true);
        let (store, _) = faulty(SIZE);
        store.never_at_hand();
        let mut desk = Desk::with(store, limits(), false, None).journal(&notebook);
        if in_turn {
            desk.pool = server::Pool::new(1);
        }
        each_is_told(&mut desk.open(structured).0, &notebook, &wishes());

        let (store, _) = faulty(SIZE);
        let desk = Desk::with(store, limits(), true, None).journal(&notebook);
        let mut wishes = wishes();
        for wish in wishes.iter_mut().filter(|wish| wish.flags & !CMD_FLAG_FUA == 0) {
            if [CMD_WRITE, CMD_WRITE_ZEROES, CMD_TRIM].contains(&wish.command) {
                wish.error = EPERM;
            }
        }
        each_is_told(&mut desk.open(structured).0, &notebook, &wishes);
    }
}

/// A disk that fails: what the client was told is what stands in the record.
#[test]
fn a_failure_is_recorded_with_the_number_that_the_client_got() {
    let verbs = [
        (Verb::Read, CMD_READ, 512),
        (Verb::Read, CMD_READ, PIECE - 1),
        (Verb::Write, CMD_WRITE, 512),
        (Verb::Write, CMD_WRITE, 2 * PIECE),
        (Verb::Zero, CMD_WRITE_ZEROES, 512),
        (Verb::Trim, CMD_TRIM, 512),
        (Verb::Flush, CMD_FLUSH, 0),
        (Verb::Cache, CMD_CACHE, 512),
    ];
    let causes = [(Cause::Io(5), EIO), (Cause::NoSpace, ENOSPC), (Cause::Forbidden, EPERM)];
    for structured in [false, true] {
        let notebook = Notebook::new(true);
        let (store, _) = faulty(SIZE);
        let desk = Desk::with(store.clone(), limits(), false, None).journal(&notebook);
        let (mut client, _ending) = desk.open(structured);
        for (verb, command, len) in verbs {
            for (cause, error) in &causes {
                store.on_next(verb, Fault::Fail(cause.clone()));
                each_is_told(&mut client, &notebook, &[wish("fails", command, 0, len, *error)]);
            }
        }
    }
}

/// Larger than what is held at once, and failing in the middle: one answer, whether the client can be told or not.
#[test]
fn a_broken_promise_is_recorded_as_the_failure_that_it_is() {
    for structured in [true, false] {
        let notebook = Notebook::new(false);
        let (store, _) = faulty(SIZE);
        store.on(Verb::Read, 3, Fault::Fail(Cause::Io(5)));
        let desk = Desk::with(store, limits(), false, None).journal(&notebook);
        let (mut client, ending) = desk.open(structured);
        let answer = client.transact(0, CMD_READ, 0, LARGE as u32 + 1, &[]);
        assert_eq!(answer.is_ok(), structured);
        if !structured {
            assert!(matches!(end_of(&ending), Ending::BrokenPromise(_)));
        }
        assert_eq!(notebook.take()[1..], [Answered(1, EIO)]);
    }
}

/// A panic is an answer too.
#[test]
fn a_mistake_of_ours_is_recorded_as_an_error() {
    let notebook = Notebook::new(false);
    let desk = Desk::new(Arc::new(Panicking)).journal(&notebook);
    let (mut client, _ending) = desk.open(true);
    assert_eq!(client.flush(), Err(EIO));
    assert_eq!(notebook.take()[1..], [Answered(1, EIO)]);
}

/// What hangs is answered last, and stands there last.
#[test]
fn answers_stand_in_the_order_in_which_things_were_done() {
    let notebook = Notebook::new(false);
    let (store, _) = faulty(SIZE);
    let desk = Desk::new(store.clone()).journal(&notebook);
    let (mut client, _ending) = desk.open(false);
    store.on_next(Verb::Flush, Fault::Stick);
    client.send_request(0, CMD_FLUSH, 50, 0, 0, &[]).expect("sent");
    assert!(store.wait_until_stuck(1, PATIENCE));
    client.send_request(0, CMD_READ, 51, 0, 512, &[]).expect("sent");
    client.wait_for(51).expect("an answer");
    store.release();
    client.wait_for(50).expect("an answer");
    let flush = request_header(0, CMD_FLUSH, 50, 0, 0).to_vec();
    let read = request_header(0, CMD_READ, 51, 0, 512).to_vec();
    let expected = [Asked(flush, vec![]), Asked(read, vec![]), Answered(51, 0), Answered(50, 0)];
    assert_eq!(notebook.take(), expected);
}

/// P2, P4: what comes too late is recorded as asked and refused. Its payload too: a log in which it were missing could
/// not be read any further.
#[test]
fn what_is_fenced_is_recorded_as_refused() {
    for len in [512, 2 * PIECE] {
        let notebook = Notebook::new(true);
        let (store, memory) = faulty(SIZE);
        let desk = Desk::with(store, limits(), false, Some("another disk")).journal(&notebook);
        let (mut client, ending) = desk.open(false);
        let write = request_header(0, CMD_WRITE, 7, 0, len as u32);
        let read = request_header(0, CMD_READ, 8, 0, 512);
        client.send_bytes(&[&write[..], &vec![5; len], &read].concat()).expect("sent");
        assert!(matches!(end_of(&ending), Ending::WrongDisk(_)));
        let told = notebook.take();
        assert_eq!(told[1..], [Answered(7, ESHUTDOWN), Asked(read.to_vec(), vec![]), Answered(8, ESHUTDOWN)]);
        assert!(told[0] == Asked(write.to_vec(), vec![5; len]), "{:.200?}", told[0]);
        assert_eq!(memory.bytes()[..len], vec![0; len]);
    }
}

/// P2: an operation that waited for its turn while the fence came.
#[test]
fn what_a_worker_finds_fenced_is_recorded_as_refused() {
    let notebook = Notebook::new(false);
    let (store, _) = faulty(SIZE);
    let desk = Desk::new(store.clone()).journal(&notebook);
    let (mut client, ending) = desk.open(false);
    store.on_every(Verb::Flush, Fault::Stick);
    (1..=5).for_each(|cookie| client.send_request(0, CMD_FLUSH, cookie, 0, 0, &[]).expect("sent"));
    client.send_request(0, CMD_READ, 6, 0, 512, &[]).expect("sent");
    client.wait_for(6).expect("an answer, so those before it are with the workers");
    assert!(store.wait_until_stuck(4, PATIENCE), "as many as one export may have at a time");
    desk.export.seats.revoke();
    store.release();
    assert!(matches!(end_of(&ending), Ending::Fenced));
    let mut answers: Vec<Record> = notebook.take().split_off(7);
    answers.sort_by_key(|record| if let Answered(cookie, _) = record { *cookie } else { 0 });
    let expected = [Answered(1, 0), Answered(2, 0), Answered(3, 0), Answered(4, 0), Answered(5, ESHUTDOWN)];
    assert_eq!(answers, expected);
}

/// Longer than anything that was offered. It is not held in memory as a whole, and nobody waits until it has arrived:
/// so it has several records, each whole, and one answer.
#[test]
fn a_write_longer_than_was_offered_has_several_whole_records() {
    let notebook = Notebook::new(true);
    let (store, memory) = faulty(SIZE);
    let desk = Desk::with(store, limits(), false, None).journal(&notebook);
    let (mut client, _ending) = desk.open(false);
    let bytes: Vec<u8> = (0..2 * LARGE + 100).map(|at| (at % 249) as u8).collect();
    client.write(0, &bytes).expect("written");
    let header = |offset: usize, len| request_header(0, CMD_WRITE, 1, offset as u64, len as u32).to_vec();
    let part = |at: usize, len| Asked(header(at, len), bytes[at..at + len].to_vec());
    let expected = [part(0, LARGE), part(LARGE, LARGE), part(2 * LARGE, 100), Answered(1, 0)];
    assert!(notebook.take() == expected);
    assert!(memory.bytes()[..bytes.len()] == bytes);
}

/// A client that goes in the middle of a payload: the record has what came to the disk, and no more.
#[test]
fn a_write_that_is_cut_off_is_recorded_as_far_as_it_came() {
    let notebook = Notebook::new(true);
    let (store, memory) = faulty(SIZE);
    let desk = Desk::with(store, limits(), false, None).journal(&notebook);
    let (mut client, ending) = desk.open(false);
    client.send_request(0, CMD_WRITE, 9, 0, 3 * PIECE as u32, &vec![3; PIECE + 100]).expect("sent");
    drop(client);
    end_of(&ending);
    let written = memory.bytes().iter().take_while(|byte| **byte == 3).count();
    assert_eq!(written, PIECE);
    let header = request_header(0, CMD_WRITE, 9, 0, PIECE as u32).to_vec();
    assert!(notebook.take() == [Asked(header, vec![3; PIECE])]);
}

/// What the host keeps for the end of a session (a hook, say) is let go once, after the seat and the journal: however
/// the session ends, and also when it never came to transmission.
#[test]
fn what_the_host_keeps_goes_last_however_a_session_ends() {
    let ends: [fn(Client); 5] = [
        |mut client| client.disc().expect("sent"),
        drop,
        |mut client| client.send_bytes(&[0xee; 28]).expect("sent"),
        // A panic on the session's own thread.
        |mut client| drop(client.send_request(0, CMD_WRITE, 1, 0, 512, &[1; 512])),
        // A worker has the last word.
        |mut client| drop(client.send_request(0, CMD_FLUSH, 1, 0, 0, &[])),
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let (desk, seen) = holding(Desk::new(Arc::new(Panicking)));
        let (client, ending) = desk.open(false);
        end(client);
        end_of(&ending);
        assert_eq!(*seen.lock().expect("alive"), [(true, true)], "end {number}");
    }
    let (desk, seen) = holding(Desk::new(Arc::new(Panicking)));
    let (client, ending) = desk.open(false);
    drop(client);
    end_of(&ending);
    let (mut client, ending) = desk.connect();
    client.greet().expect("a greeting");
    client.send_option(OPT_GO, &[&[0, 0, 0, 4][..], b"disk", &[0, 0]].concat()).expect("sent");
    drop(client);
    end_of(&ending);
    assert!(seen.lock().expect("alive").iter().all(|seen| *seen == (true, true)));
    assert_eq!(seen.lock().expect("alive").len(), 2);
}

/// What a held thing saw when it was dropped: nobody in the seats, and nobody with the journal.
type Seen = Arc<Mutex<Vec<(bool, bool)>>>;

fn holding(mut desk: Desk) -> (Desk, Seen) {
    let seen = Seen::default();
    let (journals, there) = (Arc::<Mutex<Vec<std::sync::Weak<Notebook>>>>::default(), seen.clone());
    let kept = journals.clone();
    desk.journal = Arc::new(move |_| {
        let notebook = Notebook::new(true);
        kept.lock().expect("alive").push(Arc::downgrade(&notebook));
        Some(notebook)
    });
    desk.hold = Arc::new(move |export| {
        let (seats, journals, there) = (export.seats.clone(), journals.clone(), there.clone());
        Some(Box::new(Finally(Some(move || {
            let gone = journals.lock().expect("alive").iter().all(|journal| journal.strong_count() == 0);
            there.lock().expect("alive").push((seats.is_empty(), gone));
        }))))
    });
    (desk, seen)
}

struct Finally<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for Finally<F> {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|act| act());
    }
}

/// Panics at every change.
struct Panicking;

impl Store for Panicking {
    fn geometry(&self) -> store::Geometry {
        store::Geometry { size: SIZE as u64, block_min: 1, block_preferred: 4096 }
    }
    fn capabilities(&self) -> store::Capabilities {
        testkit::MemoryStore::new(0).capabilities()
    }
    fn read_at(&self, _: &mut [u8], _: u64) -> Result<(), store::StoreError> {
        Ok(())
    }
    fn try_read(&self, _: &mut [u8], _: u64) -> Result<bool, store::StoreError> {
        Ok(true)
    }
    fn write_at(&self, _: &[u8], _: u64, _: store::Durability) -> Result<(), store::StoreError> {
        panic!("as a test")
    }
    fn zero(&self, _: u64, _: u64, _: store::ZeroHow, _: store::Durability) -> Result<(), store::StoreError> {
        panic!("as a test")
    }
    fn trim(&self, _: u64, _: u64, _: store::Durability) -> Result<(), store::StoreError> {
        panic!("as a test")
    }
    fn flush(&self) -> Result<(), store::StoreError> {
        panic!("as a test")
    }
    fn cache(&self, _: u64, _: u64) -> Result<(), store::StoreError> {
        Ok(())
    }
    fn map(&self, _: u64, _: u64, _: usize) -> Result<Vec<store::Extent>, store::StoreError> {
        Ok(vec![])
    }
    fn verify(&self) -> Result<(), store::StoreError> {
        Ok(())
    }
}
