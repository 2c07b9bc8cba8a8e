//! The system's log, over its local socket.

use crate::datagram::Datagram;
use std::path::Path;

/// Where it is.
pub const PATH: &str = "/dev/log";
/// Facility "daemon".
pub const DAEMON: u8 = 3;

/// Lines under one name, with the process's number.
pub struct Syslog {
    ident: &'static str,
    to: Datagram,
}

impl Syslog {
    /// Lines appear under this name.
    #[must_use]
    pub fn new(ident: &'static str) -> Self {
        Self::at(ident, PATH.as_ref())
    }

    fn at(ident: &'static str, path: &Path) -> Self {
        Self { ident, to: Datagram::to(path) }
    }

    /// Sends one line. Where nobody takes it, it is lost.
    ///
    /// Shape: `<PRIORITY>IDENT[PID]: TEXT`. The time is left out: the log's own is as good, and local time cannot be
    /// told here without help that is not safe to call beside other threads.
    pub fn send(&self, level: u8, text: &str, worth_waiting: bool) {
        let priority = DAEMON * 8 + level;
        let message = format!("<{priority}>{}[{}]: {text}", self.ident, std::process::id());
        self.to.send(message.as_bytes(), worth_waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_line_has_priority_name_and_number() {
        let path = std::env::temp_dir().join(format!("nbd-syslog-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let log = UnixDatagram::bind(&path).expect("bound");
        Syslog::at("nbd_server", &path).send(5, "text", false);
        let mut line = [0; 100];
        let len = log.recv(&mut line).expect("a line");
        let wanted = format!("<29>nbd_server[{}]: text", std::process::id());
        assert_eq!(String::from_utf8_lossy(&line[..len]), wanted);
        std::fs::remove_file(&path).expect("there");
    }
}
