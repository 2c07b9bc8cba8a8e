//! One export over any store, served over socket pairs, with what a session alone can have: a journal, a timeout, and
//! something of the host's.
#![allow(dead_code, reason = "each story uses its part")]

use server::{Pool, Socket};
use session::{
    Ending, Entered, Export, ExportName, Guard, Host, Journal, Limits, Note, Offer, OptionRefusal, Permits,
    Sitter, Workers,
};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use store::{Store, StoreError};
use testkit::{Client, FaultStore, MemoryStore};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// What each session gets of its own.
type Each<T> = Arc<dyn Fn(&Arc<Export>) -> T + Send + Sync>;

#[derive(Clone)]
pub struct Desk {
    pub export: Arc<Export>,
    pub pool: Pool,
    pub limits: Limits,
    pub idle_timeout: Option<Duration>,
    pub journal: Each<Option<Arc<dyn Journal>>>,
    pub hold: Each<Option<Box<dyn Send>>>,
}

/// Says what it was told to say.
struct Opinion(Mutex<Option<String>>);

impl Guard for Opinion {
    fn check(&self) -> Result<(), String> {
        self.0.lock().expect("no test panics in here").clone().map_or(Ok(()), Err)
    }

    fn wrong_disk(&self, _: &str, _: &[Arc<Sitter>]) {}

    fn store_failed(&self, _: &StoreError) {}
}

impl Desk {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self::with(store, Limits::default(), false, None)
    }

    /// With these limits; read-only or not; with a guard that finds the wrong disk or none.
    pub fn with(store: Arc<dyn Store>, limits: Limits, read_only: bool, wrong: Option<&str>) -> Self {
        let permits =
            Permits { read_only, flush: true, fua: true, trim: true, rotational: false, sync: false };
        let offer = Offer::new(store.geometry(), store.capabilities(), permits, &limits);
        let guard = Opinion(Mutex::new(wrong.map(str::to_owned)));
        let export = Export::new("disk".into(), offer, store, Arc::new(guard));
        let (journal, hold) = (Arc::new(|_: &_| None), Arc::new(|_: &_| None));
        Self { export, pool: Pool::new(4), limits, idle_timeout: None, journal, hold }
    }

    /// All sessions tell the same journal.
    pub fn journal(mut self, journal: &Arc<impl Journal + 'static>) -> Self {
        let journal = journal.clone();
        self.journal = Arc::new(move |_| Some(journal.clone()));
        self
    }

    /// A client in transmission, and how its session will end.
    pub fn open(&self, structured: bool) -> (Client, Receiver<Ending>) {
        let (mut client, ending) = self.connect();
        client.greet().expect("a greeting");
        if structured {
            client.structured().expect("granted");
            client.set_meta("disk", &["base:allocation"]).expect("granted");
        }
        client.go("disk").expect("granted");
        (client, ending)
    }

    /// A client that has not said anything yet.
    pub fn connect(&self) -> (Client, Receiver<Ending>) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let (desk, (ended, ending)) = (self.clone(), channel());
        thread::spawn(move || {
            let sitter = Sitter::new("test".into(), Arc::new(Socket::new(theirs.into())));
            let end = session::serve(&desk, &sitter, Instant::now(), || ());
            sitter.channel.close();
            let _ = ended.send(end);
        });
        (Client::from_unix(ours).expect("a client"), ending)
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
        Ok(Entered {
            journal: (self.journal)(&self.export),
            idle_timeout: self.idle_timeout,
            hold: (self.hold)(&self.export),
            ..Entered::new(self.export.clone(), seat)
        })
    }

    fn workers(&self) -> Arc<dyn Workers> {
        Arc::new(self.pool.clone())
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn note(&self, _: Note<'_>) {}
}

/// A store that fails on request, over memory.
pub fn faulty(size: usize) -> (Arc<FaultStore>, Arc<MemoryStore>) {
    let memory = Arc::new(MemoryStore::new(size));
    (Arc::new(FaultStore::over(memory.clone())), memory)
}

/// How a session ended.
#[track_caller]
pub fn end_of(ending: &Receiver<Ending>) -> Ending {
    ending.recv_timeout(PATIENCE).expect("the session ends")
}
