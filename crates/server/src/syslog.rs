//! The system's log, over its local socket. Waits for it only where that was asked for, and not for long.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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

    /// Sends one line. A log that is not there or cannot keep up loses it: the server does not wait. With `worth_waiting`
    /// it does, for a second: the closing line of a reload is an acknowledgement.
    ///
    /// Shape: `<PRIORITY>IDENT[PID]: TEXT`. The time is left out: the log's own is as good, and local time cannot be
    /// told here without help that is not safe to call beside other threads.
    pub fn send(&self, level: u8, text: &str, worth_waiting: bool) {
        let priority = DAEMON * 8 + level;
        let message = format!("<{priority}>{}[{}]: {text}", self.ident, std::process::id());
        let tries = if worth_waiting { 100 } else { 1 };
        for _ in 0..tries {
            match self.try_send(message.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                _ => return,
            }
        }
    }

    fn try_send(&self, message: &[u8]) -> io::Result<()> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = socket.as_ref() {
            match socket.send(message) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                // Restarted, perhaps.
                Err(_) => {}
            }
        }
        *socket = connect();
        match socket.as_ref() {
            Some(socket) => socket.send(message).map(drop),
            None => Ok(()),
        }
    }
}

fn connect() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect(SOCKET).ok()?;
    Some(socket)
}
