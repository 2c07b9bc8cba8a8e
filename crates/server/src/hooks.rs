//! Commands around a session: `prerun` before its disk is opened, `postrun` after it has been let go.
//!
//! They run as the server's user, through `/bin/sh -c`, in `/`, without any descriptor of ours and with nothing on their
//! standard ones: at inetd's the client itself is on standard error. Who waits for them is their own session alone.
//!
//! `%s` stands for the file. Its name never becomes part of the command's text, because whatever is in it would then be
//! read as commands: the text has a variable in its place, which the shell does not read again, and the quotes around it
//! that make it one word where it stands. Should the quotes be wrong, in a command that is stranger than what is
//! understood here, the name is split at its blanks, and still nothing in it is carried out.

use crate::access::Peer;
use crate::bind::LISTEN_VARIABLES;
use crate::daemon;
use crate::log::{Level, Log};
use crate::notify;
use std::io;
use std::iter::Peekable;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::str::Chars;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Where a command finds the file's name.
const FILE: &str = "NBD_EXPORT_FILE";

/// Hooks that run, and farewells that are still owed: the end of the server waits for them.
#[derive(Default)]
pub struct Pending {
    count: Mutex<usize>,
    fewer: Condvar,
}

impl Pending {
    /// Waits until nothing runs and nothing is owed. `false`: the deadline came first; what runs then goes on by itself.
    pub fn wait_idle(&self, deadline: Instant) -> bool {
        let mut count = self.lock();
        while *count > 0 {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return false;
            }
            count = self.fewer.wait_timeout(count, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those that are counted.
struct Counted(Arc<Pending>);

impl Counted {
    fn new(pending: &Arc<Pending>) -> Self {
        *pending.lock() += 1;
        Self(pending.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.fewer.notify_all();
    }
}

/// The commands of one export for one session.
pub struct Hooks {
    prerun: Option<String>,
    postrun: Option<String>,
    file: String,
    pending: Arc<Pending>,
    log: Log,
}

impl Hooks {
    /// `file` is the path that this client's session is about, with the client's word filled in. Empty commands are none.
    #[must_use]
    pub fn new(
        prerun: Option<String>,
        postrun: Option<String>,
        file: String,
        pending: &Arc<Pending>,
        log: &Log,
    ) -> Self {
        let given = |command: Option<String>| command.filter(|command| !command.is_empty());
        Self {
            prerun: given(prerun),
            postrun: given(postrun),
            file,
            pending: pending.clone(),
            log: log.clone(),
        }
    }

    /// Runs `prerun` to its end. From then on `postrun` is owed, whatever becomes of the session.
    ///
    /// # Errors
    /// Why the session may not begin: it ended with another status than 0, or by a signal, or could not be started.
    pub fn begin(self) -> Result<Farewell, String> {
        let counted = Counted::new(&self.pending);
        if let Some(prerun) = &self.prerun {
            match run(prerun, &self.file) {
                Ok(status) if status.success() => {}
                Ok(status) => return Err(format!("prerun ended with {}", shown(status))),
                Err(error) => return Err(format!("prerun cannot be run: {error}")),
            }
        }
        let owed =
            self.postrun.map(|command| Owed { command, file: self.file, log: self.log, _counted: counted });
        Ok(Farewell { _owed: owed })
    }
}

/// What is logged of a client that `prerun` has refused.
#[must_use]
pub fn refused(peer: &Peer, why: &str) -> String {
    format!("Client '{peer}' not allowed access by prerun script: {why}")
}

/// Runs `postrun` when it is dropped, exactly once. To be dropped last, when the disk is closed: the command may be about
/// to take it away.
pub struct Farewell {
    _owed: Option<Owed>,
}

struct Owed {
    command: String,
    file: String,
    log: Log,
    /// After the command.
    _counted: Counted,
}

impl Drop for Owed {
    fn drop(&mut self) {
        match run(&self.command, &self.file) {
            // Nothing follows from it, as in the original.
            Ok(status) => {
                self.log
                    .write(Level::Debug, &format!("postrun for {} ended with {}", self.file, shown(status)));
            }
            Err(error) => self.log.error(format!("postrun for {} cannot be run: {error}", self.file)),
        }
    }
}

fn run(command: &str, file: &str) -> io::Result<ExitStatus> {
    shell(command, file).status()
}

/// A process group of its own: what a terminal sends to ours (Ctrl-C ends the server, which then owes its farewells) is
/// not for the command. Handlers of signals become defaults by themselves, and SIGPIPE by the standard library's doing.
fn shell(command: &str, file: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    // It is neither the service nor what was given to it.
    for variable in LISTEN_VARIABLES.iter().chain(&notify::VARIABLES) {
        shell.env_remove(variable);
    }
    shell
        .arg0("sh")
        .args(["-c", &script(command)])
        .env(FILE, file)
        // A server that the command starts is none of the background yet.
        .env_remove(daemon::MARK)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    shell
}

fn shown(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Where in a command something stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// Where blanks separate words: the command itself, `(…)` and `$(…)`.
    Words,
    /// `` `…` ``
    Backquotes,
    /// `${…}`
    Braces,
    /// `"…"`
    Double,
    /// `'…'`
    Single,
    /// `# …`
    Comment,
}

/// The command for the shell: `%s` as the file's name, `%%` as a percent sign, and everything else as it is. It is no
/// format string: `%d` has no meaning, and a second `%s` is the name again.
fn script(command: &str) -> String {
    let mut reader = Reader {
        rest: command.chars().peekable(),
        within: Vec::new(),
        text: String::with_capacity(command.len() + 64),
        begins: true,
    };
    while let Some(c) = reader.rest.next() {
        reader.take(c);
    }
    reader.text
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    within: Vec<Within>,
    text: String,
    /// The next character begins a word, so `#` begins a comment.
    begins: bool,
}

impl Reader<'_> {
    fn take(&mut self, c: char) {
        let within = self.within.last().copied().unwrap_or(Within::Words);
        let begins = std::mem::replace(&mut self.begins, "\n\t ;&|()".contains(c));
        match (within, c) {
            (_, '%') => self.percent(),
            (Within::Single, '\'') | (Within::Double, '"') | (Within::Braces, '}') => self.leave(c),
            (Within::Single, _) => self.text.push(c),
            (Within::Comment, '\n') => self.leave(c),
            (Within::Comment, _) => self.text.push(c),
            (_, '\\') => self.backslash(within),
            (Within::Backquotes, '`') | (Within::Words, ')') => self.leave(c),
            (_, '`') => self.enter(Within::Backquotes, c),
            (_, '"') => self.enter(Within::Double, c),
            (_, '$') => self.dollar(),
            (Within::Words | Within::Backquotes, '#') if begins => self.enter(Within::Comment, c),
            (Within::Words | Within::Backquotes, '(') => self.enter(Within::Words, c),
            (Within::Words | Within::Backquotes, '\'') => self.enter(Within::Single, c),
            (Within::Braces, '\'') if !self.in_double() => self.enter(Within::Single, c),
            _ => self.text.push(c),
        }
    }

    fn enter(&mut self, within: Within, c: char) {
        self.within.push(within);
        self.text.push(c);
    }

    fn leave(&mut self, c: char) {
        self.within.pop();
        self.text.push(c);
    }

    /// Whether what stands here is kept together by quotes already. Commands in quotes begin anew.
    fn in_double(&self) -> bool {
        let innermost = self.within.iter().rev().find(|within| **within != Within::Braces);
        innermost == Some(&Within::Double)
    }

    fn percent(&mut self) {
        match self.rest.peek() {
            Some('s') => {
                self.rest.next();
                self.name();
            }
            Some('%') => {
                self.rest.next();
                self.text.push('%');
            }
            _ => self.text.push('%'),
        }
    }

    fn name(&mut self) {
        let variable = match self.within.last() {
            Some(Within::Single) => format!("'\"${{{FILE}}}\"'"),
            _ if self.in_double() => format!("${{{FILE}}}"),
            _ => format!("\"${{{FILE}}}\""),
        };
        self.text += &variable;
    }

    /// It takes the meaning of one character away. The name has none to lose: in quotes the backslash then stands for
    /// itself, as before any character without a meaning, and elsewhere it goes.
    fn backslash(&mut self, within: Within) {
        match self.rest.next() {
            Some('%') if self.rest.peek() == Some(&'s') => {
                if within == Within::Double {
                    // Backquotes take one of each two away before what is in them is read.
                    let depth = self.within.iter().filter(|within| **within == Within::Backquotes).count();
                    self.text += &"\\\\".repeat(1 << depth.min(4));
                }
                self.percent();
            }
            Some('%') => {
                self.text.push('\\');
                self.percent();
            }
            Some(c) => self.text.extend(['\\', c]),
            None => self.text.push('\\'),
        }
    }

    fn dollar(&mut self) {
        self.text.push('$');
        match self.rest.peek() {
            Some('(') => {
                self.rest.next();
                self.enter(Within::Words, '(');
                self.begins = true;
            }
            Some('{') => {
                self.rest.next();
                self.enter(Within::Braces, '{');
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
