//! The system's log, over its local socket. Waits for it only where that was asked for, and not for long.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Facility "daemon".
const DAEMON: u8 = 3;
/// How long a line that is worth it waits for a log that cannot keep up.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection to the system's log, made when it is needed and again when the log was restarted.
pub struct Syslog {
    ident: &'static str,
    path: PathBuf,
    socket: Mutex<Option<UnixDatagram>>,
    /// The log took a line since somebody waited in vain. One second lost is enough: a reload has many lines.
    alive: AtomicBool,
}

impl Syslog {
    /// Lines appear under this name, with the process's number.
    #[must_use]
    pub fn new(ident: &'static str) -> Self {
        Self::at(ident, "/dev/log".into())
    }

    fn at(ident: &'static str, path: PathBuf) -> Self {
        Self { ident, path, socket: Mutex::new(None), alive: AtomicBool::new(true) }
    }

    /// Sends one line. A log that is not there or cannot keep up loses it: the server does not wait. With `worth_waiting`
    /// it does, for a second: the closing line of a reload is an acknowledgement.
    ///
    /// Shape: `<PRIORITY>IDENT[PID]: TEXT`. The time is left out: the log's own is as good, and local time cannot be
    /// told here without help that is not safe to call beside other threads.
    pub fn send(&self, level: u8, text: &str, worth_waiting: bool) {
        let priority = DAEMON * 8 + level;
        let message = format!("<{priority}>{}[{}]: {text}", self.ident, std::process::id());
        let until = Instant::now() + PATIENCE;
        loop {
            match self.try_send(message.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return self.alive.store(true, Ordering::Relaxed),
            }
            if !worth_waiting || !self.alive.load(Ordering::Relaxed) {
                return;
            }
            if Instant::now() > until {
                return self.alive.store(false, Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(5));
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
        *socket = self.connect();
        match socket.as_ref() {
            Some(socket) => socket.send(message).map(drop),
            None => Ok(()),
        }
    }

    fn connect(&self) -> Option<UnixDatagram> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        socket.connect(&self.path).ok()?;
        Some(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn log(name: &str) -> (UnixDatagram, Syslog) {
        let path = std::env::temp_dir().join(format!("nbd-syslog-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let log = UnixDatagram::bind(&path).expect("bound");
        log.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        (log, Syslog::at("nbd_server", path))
    }

    fn receive(log: &UnixDatagram) -> String {
        let mut line = [0; 4096];
        let len = log.recv(&mut line).expect("a line");
        String::from_utf8_lossy(&line[..len]).into_owned()
    }

    #[test]
    fn a_line_has_priority_name_and_number() {
        let (log, syslog) = log("shape");
        syslog.send(5, "text", false);
        assert_eq!(receive(&log), format!("<29>nbd_server[{}]: text", std::process::id()));
        // A log that was restarted is found again.
        let path = syslog.path.clone();
        drop(log);
        std::fs::remove_file(&path).expect("there");
        syslog.send(5, "lost", true);
        let log = UnixDatagram::bind(&path).expect("bound");
        syslog.send(5, "again", false);
        assert!(receive(&log).ends_with("again"));
        std::fs::remove_file(&path).expect("there");
    }

    /// A log that cannot keep up loses what does not matter, gets what does, and holds nobody up for more than a second.
    #[test]
    fn a_full_log_is_waited_for_once() {
        let (log, syslog) = log("full");
        let syslog = Arc::new(syslog);
        (0..1000).for_each(|_| syslog.send(6, "filler", false));
        let (sender, began) = (syslog.clone(), Instant::now());
        let waiting = std::thread::spawn(move || sender.send(5, "closing", true));
        while !receive(&log).ends_with("closing") {}
        waiting.join().expect("it was taken");
        (0..1000).for_each(|_| syslog.send(6, "filler", false));
        (0..50).for_each(|_| syslog.send(5, "nobody reads", true));
        assert!(began.elapsed() < PATIENCE * 10, "{:?}", began.elapsed());
        std::fs::remove_file(&syslog.path).expect("there");
    }
}
