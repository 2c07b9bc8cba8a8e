//! TLS: what it is done with, kept in step with the configuration and with the files.
//!
//! Read before the server gives up its privileges; again at each reload, and at a STARTTLS that finds another file at a
//! path. What cannot be used changes nothing, and is said.

mod context;
mod identity;
mod material;
mod priority;
mod psk;
mod stream;

pub use identity::Identity;
pub use material::Problem;
pub use stream::{NotSecure, TlsStream};

use crate::log::{Level, Log};
use crate::sources::Files;
use config::Tls;
use material::{Material, Seen, is_young, look};
use openssl::ssl::SslContext;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long files that do not fit together, one of them new, may take to become whole.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often they are looked at meanwhile.
const STEP: Duration = Duration::from_millis(10);

/// The server's side of TLS.
pub struct Keeper {
    required: AtomicBool,
    state: Mutex<State>,
}

struct State {
    files: Files,
    /// What the configuration says.
    wanted: Tls,
    /// What handshakes are done with.
    running: Option<Loaded>,
    /// What the files were when they could not be used.
    refused: Option<Vec<Seen>>,
}

/// A context, and what it was made of.
pub struct Loaded {
    context: SslContext,
    wanted: Tls,
    seen: Vec<Seen>,
}

/// Reads everything.
///
/// # Errors
/// The first problem. `Ok(None)`: the configuration asks for no TLS.
pub fn load(files: &Files, wanted: &Tls) -> Result<Option<Loaded>, Problem> {
    if !is_on(wanted) {
        return Ok(None);
    }
    let until = Instant::now() + PATIENCE;
    loop {
        // Before reading: what changes meanwhile is noticed the next time.
        let seen = look(files, wanted);
        let context =
            Material::read(files, wanted).and_then(|found| context::build(found, wanted.tlsprio.as_ref()));
        match context {
            Ok(context) => return Ok(Some(Loaded { context, wanted: wanted.clone(), seen })),
            // A certificate was replaced, and its key will be in a moment.
            Err(_) if is_young(files, wanted) && Instant::now() < until => thread::sleep(STEP),
            Err(problem) => return Err(problem),
        }
    }
}

/// A key of some kind is configured.
fn is_on(wanted: &Tls) -> bool {
    wanted.keyfile.is_some() || wanted.pskfile.is_some()
}

/// Keys of the configuration that stand or fall together.
pub const KEYS: [&str; 5] = ["certfile", "keyfile", "cacertfile", "pskfile", "tlsprio"];

impl Default for Keeper {
    fn default() -> Self {
        let files = Files { base: PathBuf::from("/") };
        let state = State { files, wanted: Tls::default(), running: None, refused: None };
        Self { required: AtomicBool::new(false), state: Mutex::new(state) }
    }
}

impl Keeper {
    /// Begins with what was read at start. Where that failed, clients that need not have TLS are served.
    pub fn start(&self, files: Files, wanted: &Tls, first: Result<Option<Loaded>, Problem>, log: &Log) {
        self.required.store(wanted.force, Ordering::SeqCst);
        let mut state = self.lock();
        state.wanted = wanted.clone();
        state.refused = first.is_err().then(|| look(&files, wanted));
        state.files = files;
        match first {
            Ok(loaded) => state.running = loaded,
            Err(Problem { key, reason }) => {
                log.error(format!(
                    "TLS is not available, clients that ask for it are refused: {key}: {reason}"
                ));
            }
        }
    }

    /// Follows a reload. `Ok(true)`: other certificates and keys are in use from now on, or none.
    ///
    /// # Errors
    /// What cannot be used; what was used before stays in use.
    pub fn follow(&self, wanted: &Tls) -> Result<bool, Problem> {
        self.required.store(wanted.force, Ordering::SeqCst);
        let mut state = self.lock();
        state.wanted = wanted.clone();
        state.refused = None;
        let current = state.is_current();
        if !current {
            state.renew()?;
        }
        Ok(!current)
    }

    /// Whether [`Keeper::follow`] would succeed. Nothing is done.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn try_to_follow(&self, wanted: &Tls) -> Result<(), Problem> {
        let state = self.lock();
        if state.is_current_for(wanted) {
            return Ok(());
        }
        let files = state.files.clone();
        // Handshakes need not wait for this.
        drop(state);
        load(&files, wanted).map(drop)
    }

    /// Only STARTTLS is answered in the clear.
    pub fn required(&self) -> bool {
        self.required.load(Ordering::SeqCst)
    }

    /// What the next handshake is done with; `None` where there is no TLS. Files that were replaced since are read.
    pub fn context(&self, log: &Log) -> Option<SslContext> {
        let mut state = self.lock();
        if is_on(&state.wanted) && !state.is_current() && !state.is_refused() {
            match state.renew() {
                Ok(()) => log.info("certificates and keys were read again"),
                Err(Problem { key, reason }) => {
                    log.warning(format!("certificates and keys stay what they were: {key}: {reason}"));
                }
            }
        }
        let context = state.running.as_ref().map(|running| running.context.clone());
        if context.is_none() && is_on(&state.wanted) {
            log.quietly(
                Level::Error,
                "tls",
                "STARTTLS refused: the configured certificates and keys cannot be used",
            );
        }
        context
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Made of the files that are there now. Those in a directory that is closed to us by now are taken for the same.
    fn is_current(&self) -> bool {
        self.is_current_for(&self.wanted)
    }

    fn is_current_for(&self, wanted: &Tls) -> bool {
        let Some(running) = &self.running else { return !is_on(wanted) };
        let same = |(was, is): (&Seen, &Seen)| was == is || *is == Seen::Hidden;
        let text = |tls: &Tls| Tls { force: false, ..tls.clone() };
        text(&running.wanted) == text(wanted) && running.seen.iter().zip(&look(&self.files, wanted)).all(same)
    }

    /// They could not be used, and have not changed since.
    fn is_refused(&self) -> bool {
        self.refused.as_ref().is_some_and(|refused| *refused == look(&self.files, &self.wanted))
    }

    fn renew(&mut self) -> Result<(), Problem> {
        let seen = look(&self.files, &self.wanted);
        match load(&self.files, &self.wanted) {
            Ok(loaded) => {
                (self.running, self.refused) = (loaded, None);
                Ok(())
            }
            Err(problem) => {
                self.refused = Some(seen);
                Err(problem)
            }
        }
    }
}
