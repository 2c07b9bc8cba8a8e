//! Tells the service manager how it goes (sd_notify): that it serves, that it reloads, that it stops, that it is alive.
//!
//! One thread says all of it, in the order in which it happened, and nobody waits for the manager. Where there is none, or
//! it did not ask (`NOTIFY_SOCKET`), there is no thread.

use crate::listen::Pulse;
use crate::log::{Level, one_line};
use crate::state::Shared;
use control::Outcome;
use sd_notify::NotifyState::{self, MonotonicUsec, Ready, Reloading, Status, Stopping, Watchdog as Alive};
use std::env;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Variables of the protocol: what is started by this server does not speak for it.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", WATCHDOG_PID];
/// Of which process the manager wants to hear that it is alive.
pub const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// How often is looked whether the words for people are still true.
const STATUS_EVERY: Duration = Duration::from_secs(2);
/// What the manager gets at the end to take the last word.
const FAREWELL: Duration = Duration::from_millis(200);

/// The way to the thread.
pub struct Notify {
    to: Option<Sender<News>>,
    from: Mutex<Option<Receiver<News>>>,
}

enum News {
    Serving,
    /// When it began, by the clock that the manager compares with its own.
    Reloading(i128),
    Reloaded,
    Stopping(Sender<()>),
}

impl Notify {
    /// To the manager that has started us, if it wants to hear.
    #[must_use]
    pub fn from_env() -> Self {
        if env::var_os("NOTIFY_SOCKET").is_none() {
            return Self { to: None, from: Mutex::new(None) };
        }
        let (to, from) = channel();
        Self { to: Some(to), from: Mutex::new(Some(from)) }
    }

    /// The server serves. Starts the thread: what was said until now is not told.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn serving(&self, shared: &Arc<Shared>, pulse: Arc<Pulse>) -> io::Result<()> {
        let Some(from) = self.from.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        self.tell(News::Serving);
        let shared = shared.clone();
        let run = move || Teller { shared, pulse, status: String::new(), failed: false }.run(&from);
        thread::Builder::new().name("notify".into()).spawn(run).map(drop)
    }

    /// A reload begins.
    pub fn reloading(&self) {
        if let Ok(MonotonicUsec(now)) = NotifyState::monotonic_usec_now() {
            self.tell(News::Reloading(now));
        }
    }

    /// A reload has ended, in one way or the other.
    pub fn reloaded(&self) {
        self.tell(News::Reloaded);
    }

    /// The server stops. Waits until the manager knows; not for long.
    pub fn stopping(&self) {
        let (done, said) = channel();
        self.tell(News::Stopping(done));
        let _ = said.recv_timeout(FAREWELL);
    }

    fn tell(&self, news: News) {
        if let Some(to) = &self.to {
            let _ = to.send(news);
        }
    }
}

/// The thread.
struct Teller {
    shared: Arc<Shared>,
    pulse: Arc<Pulse>,
    /// What the manager shows to people.
    status: String,
    /// It was said that the manager cannot be told.
    failed: bool,
}

impl Teller {
    fn run(mut self, from: &Receiver<News>) {
        // Half of the time after which the manager would end us.
        let every = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        let mut serving = false;
        let mut due = Instant::now();
        loop {
            let rest = every.map(|_| due.saturating_duration_since(Instant::now()));
            match from.recv_timeout(rest.unwrap_or(STATUS_EVERY).min(STATUS_EVERY)) {
                Ok(News::Serving) => {
                    serving = true;
                    self.say_with_status(&[Ready], None);
                }
                Ok(News::Stopping(_done)) => {
                    return self.say_with_status(&[Stopping], Some("stopping"));
                }
                // The manager takes the first READY=1 for the start.
                Ok(_) if !serving => {}
                Ok(News::Reloading(at)) => {
                    self.say_with_status(&[Reloading, MonotonicUsec(at)], Some("reloading"));
                }
                Ok(News::Reloaded) => self.say_with_status(&[Ready], None),
                Err(RecvTimeoutError::Timeout) => self.refresh(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Some(every) = every.filter(|_| serving && due <= Instant::now()) {
                due = Instant::now() + every;
                self.say_that_we_live(every);
            }
        }
    }

    /// What makes us a server: somebody accepts, and there is a catalog to be had. Neither waits for a disk or for a fence,
    /// so neither costs us the manager's trust. If the catalog cannot be had, this thread never comes back.
    fn say_that_we_live(&mut self, every: Duration) {
        drop(self.shared.catalog());
        if self.pulse.answers(every / 2) {
            return self.say(&[Alive]);
        }
        let text = "the accepting thread does not answer: the service manager is not told that all is well";
        self.shared.log.quietly(Level::Error, "watchdog", text);
    }

    /// The words for people, if they are others by now.
    fn refresh(&mut self) {
        let status = status(&self.shared);
        if status != self.status && self.status != "reloading" {
            self.say_with_status(&[], Some(&status));
        }
    }

    fn say_with_status(&mut self, states: &[NotifyState<'_>], status: Option<&str>) {
        self.status = status.map_or_else(|| self::status(&self.shared), Into::into);
        let status = self.status.clone();
        let states: Vec<NotifyState<'_>> = states.iter().cloned().chain([Status(&status)]).collect();
        self.say(&states);
    }

    fn say(&mut self, states: &[NotifyState<'_>]) {
        match sd_notify::notify(states) {
            Ok(()) => self.failed = false,
            Err(error) if !self.failed => {
                self.failed = true;
                self.shared
                    .log
                    .warning(format!("the service manager cannot be told (NOTIFY_SOCKET): {error}"));
            }
            Err(_) => {}
        }
    }
}

/// One line: `serving 12 exports to 3 sessions, generation 4; the last reload was complete`.
fn status(shared: &Shared) -> String {
    let catalog = shared.catalog();
    let number = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let exports = number(catalog.entries().len(), "export");
    let sessions = number(shared.roll.len(), "session");
    let mut text = format!("serving {exports} to {sessions}, generation {}", catalog.generation);
    if let Some(last) = shared.reloads.now().last {
        text += match last.outcome {
            Outcome::Complete => "; the last reload was complete",
            Outcome::Incomplete => "; the last reload was incomplete",
            Outcome::Refused => "; the last reload was refused",
        };
        text.extend(last.reason.iter().flat_map(|reason| [": ", reason.as_str()]));
    }
    // A line more would be one of the protocol.
    one_line(&text)
}
