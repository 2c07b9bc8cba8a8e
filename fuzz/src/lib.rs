//! A whole session without a socket: it hears the given bytes and then the end of the stream.

use session::{
    Channel, Entered, Export, ExportName, Guard, Host, Interest, Limits, Note, Offer, OptionRefusal, Permits,
    Ready, Seat, Seats, Sitter, Workers,
};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};
use store::{Store, StoreError};
use testkit::MemoryStore;
use wire::{
    Chunk, ChunkHeader, ClientFlags, Greeting, InfoRequest, MetaQuery, OptionKind, OptionReplyHeader,
    OptionReplyKind,
};

/// The export's name.
pub const NAME: &str = "disk";
/// The export's size; small, so that a session of many reads does not fill the memory.
pub const SIZE: usize = 64 << 10;

/// Serves one client that sends `heard` and hangs up; gives what the session said.
pub fn session(heard: Vec<u8>) -> Vec<u8> {
    let tape = Arc::new(Tape::new(heard));
    let channel: Arc<dyn Channel> = tape.clone();
    let sitter = Sitter::new("fuzz".to_owned(), channel);
    let host = OneDisk::new();
    drop(session::serve(&host, &sitter, Instant::now(), || ()));
    std::mem::take(&mut tape.lock().said)
}

/// What a client sends to reach transmission with chunks and `base:allocation`.
pub fn opening() -> Vec<u8> {
    let mut out = ClientFlags::encode(ClientFlags::FIXED_NEWSTYLE | ClientFlags::NO_ZEROES).to_vec();
    wire::append_option(&mut out, OptionKind::STRUCTURED_REPLY, &[]);
    let query = MetaQuery { name: NAME.as_bytes(), queries: vec![wire::BASE_ALLOCATION.as_bytes()] };
    wire::append_option(&mut out, OptionKind::SET_META_CONTEXT, &query.encode());
    let wish = InfoRequest { name: NAME.as_bytes(), wanted: vec![] };
    wire::append_option(&mut out, OptionKind::GO, &wish.encode());
    out
}

/// Reads greeting and option replies; gives what follows a successful GO. `None`: haggling went to the end, or was left
/// by EXPORT_NAME, whose answer has no header.
pub fn check_haggling(said: &[u8]) -> Option<&[u8]> {
    let (greeting, mut rest) = said.split_first_chunk().expect("a greeting");
    Greeting::decode(greeting).expect("a greeting");
    while let Some((header, after)) = rest.split_first_chunk() {
        let header = OptionReplyHeader::decode(header).ok()?;
        let (_, after) = after.split_at_checked(header.length as usize).expect("a whole option reply");
        if header.option == OptionKind::GO && header.reply == OptionReplyKind::ACK {
            return Some(after);
        }
        rest = after;
    }
    None
}

/// Reads replies in chunks to the end, each with a payload of its type's shape.
pub fn check_chunks(mut rest: &[u8]) {
    while let Some(magic) = rest.first_chunk::<4>() {
        if *magic == wire::SimpleReply::MAGIC.to_be_bytes() {
            // With structured replies a simple one is still allowed for all but READ; none has a payload then.
            rest = rest.get(wire::SimpleReply::SIZE..).expect("a whole simple reply");
            continue;
        }
        let (header, after) = rest.split_first_chunk().expect("a whole chunk header");
        let header = ChunkHeader::decode(header).expect("a chunk header");
        let (payload, after) = after.split_at_checked(header.length as usize).expect("a whole chunk");
        Chunk::decode(header.kind, payload).expect("a payload of its type's shape");
        rest = after;
    }
    assert!(rest.is_empty(), "half a reply: {rest:02x?}");
}

/// A connection whose client has sent everything already and takes whatever comes.
struct Tape {
    state: Mutex<State>,
    woken: Condvar,
}

struct State {
    heard: Vec<u8>,
    at: usize,
    said: Vec<u8>,
    wake: bool,
    closed: bool,
}

impl Tape {
    fn new(heard: Vec<u8>) -> Self {
        let state = State { heard, at: 0, said: Vec::new(), wake: false, closed: false };
        Self { state: Mutex::new(state), woken: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the tape in hand")
    }
}

impl Channel for Tape {
    fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.lock();
        let len = into.len().min(state.heard.len() - state.at);
        into[..len].copy_from_slice(&state.heard[state.at..][..len]);
        state.at += len;
        Ok(len)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.said.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes)
    }

    fn sends_files(&self) -> bool {
        true
    }

    fn send_file(&self, head: &[u8], _: BorrowedFd<'_>, _: u64, _: usize) -> io::Result<usize> {
        // Nothing of the file: the session sends the rest itself.
        self.send(head).map(|_| 0)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<Ready> {
        let mut state = self.lock();
        loop {
            let wake = std::mem::take(&mut state.wake);
            let late = deadline.is_some_and(|deadline| deadline <= Instant::now());
            if wake || late || interest.receive || interest.send || state.closed {
                return Ok(Ready { receive: interest.receive, send: interest.send, late });
            }
            state = self.woken.wait_timeout(state, Duration::from_millis(10)).expect("the tape is whole").0;
        }
    }

    fn wake(&self) {
        self.lock().wake = true;
        self.woken.notify_all();
    }

    fn close_input(&self) {
        let mut state = self.lock();
        state.at = state.heard.len();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.close_input();
        self.wake();
    }
}

/// A host with one export in memory.
struct OneDisk {
    export: Arc<Export>,
    limits: Limits,
}

impl OneDisk {
    fn new() -> Self {
        let limits = Limits::default();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(SIZE));
        let permits =
            Permits { read_only: false, flush: true, fua: true, trim: true, rotational: false, sync: false };
        let offer = Offer::new(store.geometry(), store.capabilities(), permits, &limits);
        let export = Export::new(ExportName::from(NAME), offer, store, Arc::new(Trusting));
        Self { export, limits }
    }

    fn known(&self, name: &[u8]) -> Result<(), OptionRefusal> {
        if name == NAME.as_bytes() { Ok(()) } else { Err(OptionRefusal::UnknownExport) }
    }
}

impl Host for OneDisk {
    fn list(&self) -> Result<Vec<ExportName>, OptionRefusal> {
        Ok(vec![ExportName::from(NAME)])
    }

    fn look(&self, name: &[u8]) -> Result<Offer, OptionRefusal> {
        self.known(name).map(|()| self.export.offer)
    }

    fn enter(&self, name: &[u8], sitter: &Arc<Sitter>) -> Result<Entered, OptionRefusal> {
        self.known(name)?;
        let seats: &Arc<Seats> = &self.export.seats;
        let seat: Seat = seats.take(sitter).ok_or(OptionRefusal::ShuttingDown)?;
        Ok(Entered::new(Arc::clone(&self.export), seat))
    }

    fn tls_offered(&self) -> bool {
        true
    }

    fn tls_required(&self) -> bool {
        false
    }

    /// The tape goes on as if it had been decrypted.
    fn secure(&self, _: &Arc<Sitter>, _: Instant) -> Result<(), String> {
        Ok(())
    }

    fn workers(&self) -> Arc<dyn Workers> {
        Arc::new(OneWorker)
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn note(&self, note: Note<'_>) {
        // Words are made from untrusted bytes too.
        let _ = format!("{note:?}");
    }
}

struct Trusting;

impl Guard for Trusting {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn wrong_disk(&self, why: &str, _: &[Arc<Sitter>]) {
        panic!("memory is always the right disk: {why}");
    }

    fn store_failed(&self, error: &StoreError) {
        panic!("memory does not fail: {error}");
    }
}

/// One thread for all sessions of this process. A job that panics ends the process, so that it is found.
struct OneWorker;

type Job = Box<dyn FnOnce() + Send>;

impl Workers for OneWorker {
    fn submit(&self, _share: usize, job: Job) {
        static QUEUE: OnceLock<Sender<Job>> = OnceLock::new();
        let queue = QUEUE.get_or_init(|| {
            let (send, receive) = channel::<Job>();
            std::thread::spawn(move || {
                receive.into_iter().for_each(|job| job());
            });
            send
        });
        queue.send(job).expect("the worker lives as long as the process");
    }

    fn in_order(&self) -> bool {
        false
    }
}
