//! Where the server says things: standard error in the foreground, syslog in the background, and in both cases the journal
//! itself where that is what reads them.

use crate::journald::{self, Journald};
use crate::rate::Rate;
use crate::stderr::Stderr;
use crate::syslog::Syslog;
use control::{Events, Line};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

/// How much a line matters, with the numbers of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something that should not happen.
    Error = 3,
    /// Something to look at.
    Warning = 4,
    /// What the server did of importance.
    Notice = 5,
    /// What the server did.
    Info = 6,
    /// For developers; dropped unless asked for.
    Debug = 7,
}

impl Level {
    const ALL: [Self; 5] = [Self::Error, Self::Warning, Self::Notice, Self::Info, Self::Debug];
}

impl From<Level> for control::view::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warning => Self::Warning,
            Level::Notice => Self::Notice,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
        }
    }
}

impl From<control::view::Level> for Level {
    fn from(level: control::view::Level) -> Self {
        match level {
            control::view::Level::Error => Self::Error,
            control::view::Level::Warning => Self::Warning,
            control::view::Level::Notice => Self::Notice,
            control::view::Level::Info => Self::Info,
            control::view::Level::Debug => Self::Debug,
        }
    }
}

/// Takes lines. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    sink: Sink,
    lines: Rate,
    noisy: Rate,
    /// Lines below this level are dropped.
    level: AtomicU8,
    events: Arc<Events>,
}

enum Sink {
    /// `prefixed`: with `<N>` in front, which systemd takes for the level.
    Stderr {
        prefixed: bool,
        to: Arc<Stderr>,
    },
    Syslog(Syslog),
    /// With the facts of events as fields; where it is away, in words by the other way.
    Journald(Journald, Box<Sink>),
    #[cfg(test)]
    Function(Box<Function>),
}

#[cfg(test)]
type Function = dyn Fn(Level, &str) + Send + Sync;

/// A noisy line is written so often in a second.
const LINES: u32 = 1;
/// Noisy events of one sort are told so often in a second. More than lines, because programs look for their own among
/// them; not so many that those who listen lose what matters.
const EVENTS: u32 = 10;

impl Log {
    /// Lines on standard error.
    #[must_use]
    pub fn stderr() -> Self {
        let prefixed = stderr_is_the_journal();
        let native = prefixed && journald::is_there();
        Self::new(Sink::Stderr { prefixed, to: Stderr::of_this_process() }.after(native, "nbd-server"))
    }

    /// Syslog, as the original: `nbd_server`, facility daemon, with the process's number.
    #[must_use]
    pub fn syslog() -> Self {
        Self::new(Sink::Syslog(Syslog::new("nbd_server")).after(journald::reads_syslog(), "nbd_server"))
    }

    /// Into a function.
    #[cfg(test)]
    pub fn to(function: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        Self::new(Sink::Function(Box::new(function)))
    }

    fn new(sink: Sink) -> Self {
        let debug = std::env::var_os("NBD_SERVER_DEBUG").is_some();
        let level = if debug { Level::Debug } else { Level::Info };
        let inner = Inner {
            sink,
            lines: Rate::new(LINES),
            noisy: Rate::new(EVENTS),
            level: AtomicU8::new(level as u8),
            events: Arc::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// From which level on lines are written.
    #[must_use]
    pub fn level(&self) -> Level {
        let level = self.inner.level.load(Ordering::Relaxed);
        *Level::ALL.iter().find(|one| **one as u8 == level).unwrap_or(&Level::Info)
    }

    /// From now on lines are written from this level on.
    pub fn set_level(&self, level: Level) {
        self.inner.level.store(level as u8, Ordering::Relaxed);
    }

    /// What happens, for whoever listens.
    #[must_use]
    pub fn events(&self) -> Arc<Events> {
        self.inner.events.clone()
    }

    /// Writes a line of a reload, and tells whoever listens.
    pub fn event(&self, level: Level, line: &Line) {
        self.tell(level, line);
        self.put(level, &line.to_string(), Some(line));
    }

    /// Tells whoever listens. The log has words of its own for it.
    pub fn tell(&self, level: Level, line: &Line) {
        self.inner.events.publish(level.into(), line);
    }

    /// The same for what others can cause at any rate: some of each `key` in a second, and then how many were not told.
    pub fn tell_some(&self, level: Level, key: &str, line: &Line) {
        match self.inner.noisy.admit(key, Instant::now()) {
            None => {}
            Some(0) => self.tell(level, line),
            Some(untold) => self.tell(level, &line.clone().with("untold", untold)),
        }
    }

    /// Writes one line. What a client chose (a name) may stand in it: control characters become escapes, so that it
    /// stays one line.
    pub fn write(&self, level: Level, text: &str) {
        self.put(level, text, None);
    }

    fn put(&self, level: Level, text: &str, line: Option<&Line>) {
        // Programs wait for the lines of a reload, whoever is tired of the others.
        if level as u8 > self.inner.level.load(Ordering::Relaxed) && !matters(text) {
            return;
        }
        self.inner.sink.take(level, &one_line(text), line);
    }

    /// Writes at most one line a second for each `key`: for what strangers can cause at any rate.
    pub fn quietly(&self, level: Level, key: &str, text: &str) {
        match self.inner.lines.admit(key, Instant::now()) {
            None => {}
            Some(0) => self.write(level, text),
            Some(more) => self.write(level, &format!("{text} ({more} more like this since the last line)")),
        }
    }

    /// Something that should not happen.
    pub fn error(&self, text: impl AsRef<str>) {
        self.write(Level::Error, text.as_ref());
    }

    /// Something to look at.
    pub fn warning(&self, text: impl AsRef<str>) {
        self.write(Level::Warning, text.as_ref());
    }

    /// What the server did.
    pub fn info(&self, text: impl AsRef<str>) {
        self.write(Level::Info, text.as_ref());
    }
}

impl Sink {
    /// Where there is a journal, it comes first.
    fn after(self, journal: bool, ident: &'static str) -> Self {
        if journal { Self::Journald(Journald::new(ident), Box::new(self)) } else { self }
    }

    fn take(&self, level: Level, text: &str, line: Option<&Line>) {
        match self {
            Self::Stderr { prefixed, to } => {
                let line = if *prefixed { format!("<{}>{text}\n", level as u8) } else { format!("{text}\n") };
                to.say(line, matters(text));
            }
            Self::Syslog(syslog) => syslog.send(level as u8, text, matters(text)),
            Self::Journald(journald, otherwise) => {
                if !journald.send(level as u8, text, line, matters(text)) {
                    otherwise.take(level, text, line);
                }
            }
            #[cfg(test)]
            Self::Function(function) => function(level, text),
        }
    }
}

/// Lines of a reload are waited for by programs.
fn matters(text: &str) -> bool {
    text.starts_with("MIGRATEKIT: ")
}

/// Control characters as escapes.
#[must_use]
pub fn one_line(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len() + 16), |mut line, c| {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        line
    })
}

/// systemd says in `JOURNAL_STREAM` which stream it connected: `DEVICE:INODE`.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let metadata =
        std::io::stderr().as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
    metadata.is_ok_and(|metadata| stream == format!("{}:{}", metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn collecting() -> (Log, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let log = Log::to(move |_, line| sink.lock().expect("no test panics in here").push(line.to_owned()));
        (log, lines)
    }

    /// A client that asks for an export with a newline in its name must not write a line of its own into the log.
    #[test]
    fn a_line_stays_one_line() {
        let (log, lines) = collecting();
        log.info("export a\nMIGRATEKIT: reload complete\u{7f}");
        assert_eq!(lines.lock().expect("alive")[..], ["export a\\nMIGRATEKIT: reload complete\\u{7f}"]);
    }

    #[test]
    fn a_noisy_event_is_said_once_a_second() {
        let (log, lines) = collecting();
        for _ in 0..1000 {
            log.quietly(Level::Info, "key", "noise");
        }
        log.quietly(Level::Info, "other", "other");
        assert_eq!(lines.lock().expect("alive")[..], ["noise", "other"]);
    }
}
