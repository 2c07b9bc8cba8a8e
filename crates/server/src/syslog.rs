//! The system's log, over its local socket. Never waits for it.

use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, PoisonError};

/// Facility "daemon".
const DAEMON: u8 = 3;
const SOCKET: &str = "/dev/log";

/// A connection to the system's log, made when it is needed and again when the log was restarted.
pub struct Syslog {
    ident: &'static str,
    socket: Mutex<Option<UnixDatagram>>,
}

impl Syslog {
    /// Lines appear under this name, with the process's number.
    #[must_use]
    pub fn new(ident: &'static str) -> Self {
        Self { ident, socket: Mutex::new(None) }
    }

    /// Sends one line. A log that is not there or cannot keep up loses it: the server does not wait.
    ///
    /// Shape: `<PRIORITY>IDENT[PID]: TEXT`. The time is left out: the log's own is as good, and local time cannot be
    /// told here without help that is not safe to call beside other threads.
    pub fn send(&self, level: u8, text: &str) {
        let priority = DAEMON * 8 + level;
        let message = format!("<{priority}>{}[{}]: {text}", self.ident, std::process::id());
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if socket.as_ref().is_some_and(|socket| socket.send(message.as_bytes()).is_ok()) {
            return;
        }
        *socket = connect();
        if let Some(socket) = socket.as_ref() {
            let _ = socket.send(message.as_bytes());
        }
    }
}

fn connect() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect(SOCKET).ok()?;
    Some(socket)
}
