//! The log of one server: a socket that plays `/dev/log` inside its mount namespace.

use std::fs::{Permissions, set_permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::Log;

const PATIENCE: Duration = Duration::from_secs(20);
const END: &str = "mark: the end";

/// Receives what a server says.
pub struct Syslog {
    path: PathBuf,
    pub log: Log,
}

/// Datagrams as lines of a stream.
struct Lines(UnixDatagram);

impl Read for Lines {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut line = [0; 4096];
        let len = self.0.recv(&mut line)?;
        if &line[..len] == END.as_bytes() {
            return Ok(0);
        }
        // What a server says is shorter than the buffer of the reader above.
        let text = String::from_utf8_lossy(&line[..len]).replace('\n', "\\n") + "\n";
        let bytes = &text.as_bytes()[..text.len().min(buf.len())];
        buf[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Syslog {
    /// At a path that every user may write to.
    pub fn new(path: PathBuf) -> Self {
        let socket = UnixDatagram::bind(&path).expect("a socket in a new directory");
        set_permissions(&path, Permissions::from_mode(0o666)).expect("our own socket");
        let log = Log::new();
        log.follow(Lines(socket));
        Self { path, log }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn send(&self, text: &str) {
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.send_to(text.as_bytes(), &self.path).expect("the log is read");
    }

    /// How many lines had been said when this was called: none that was sent before comes after.
    pub fn mark(&self) -> usize {
        let mark = format!("mark: {}", self.log.mark());
        self.send(&mark);
        self.log.wait_for(|line| line == mark, PATIENCE).expect("the log is read");
        self.log.mark()
    }

    /// The lines between two marks, without those of the tests.
    pub fn between(&self, from: usize, to: usize) -> Vec<Line> {
        self.log.lines()[from..to].iter().filter_map(|line| Line::parse(line)).collect()
    }

    /// Waits for a text in a line after a mark.
    pub fn wait(&self, mark: usize, text: &str) -> bool {
        self.log.wait_from(mark, |line| line.contains(text), PATIENCE).is_some()
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to(END.as_bytes(), &self.path));
        drop(sent);
    }
}

/// One line, taken apart: facility daemon and the name `nbd_server` are facts like any other, and without a process
/// number it is no line (C-236).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Facility and level, such as `<30>`.
    pub priority: String,
    /// Who says it: `nbd_server`.
    pub ident: String,
    pub text: String,
}

impl Line {
    /// `<30>Nov 24 05:37:30 nbd_server[123]: text`, with or without the time.
    fn parse(line: &str) -> Option<Self> {
        let (priority, rest) = line.split_once('>')?;
        let (head, text) = rest.split_once("]: ")?;
        let who = head.rsplit(' ').next()?;
        let (ident, pid) = who.split_once('[')?;
        pid.parse::<u32>().ok()?;
        Some(Self { priority: format!("{priority}>"), ident: ident.into(), text: text.into() })
    }
}
