//! Datagrams to the system's log. Waits for it only where that was asked for, and not for long.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a line that is worth it waits for a log that cannot keep up.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection to a log, made when it is needed and again when the log was restarted.
pub struct Datagram {
    path: PathBuf,
    socket: Mutex<Option<UnixDatagram>>,
    /// The log took a line since somebody waited in vain. One second lost is enough: a reload has many lines.
    alive: AtomicBool,
}

impl Datagram {
    /// To whoever listens at this path.
    #[must_use]
    pub fn to(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().into(), socket: Mutex::new(None), alive: AtomicBool::new(true) }
    }

    /// Sends one line. A log that cannot keep up loses it: the server does not wait. With `worth_waiting` it does, for a
    /// second: the closing line of a reload is an acknowledgement. `false`: nobody is there to take it.
    pub fn send(&self, message: &[u8], worth_waiting: bool) -> bool {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.try_send(message) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    self.alive.store(true, Ordering::Relaxed);
                    return result.is_ok();
                }
            }
            if !worth_waiting || !self.alive.load(Ordering::Relaxed) {
                return true;
            }
            if Instant::now() > until {
                self.alive.store(false, Ordering::Relaxed);
                return true;
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
        *socket = None;
        socket.insert(self.connect()?).send(message).map(drop)
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Log {
        socket: Option<UnixDatagram>,
        path: PathBuf,
    }

    impl Log {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("nbd-datagram-{name}-{}", std::process::id()));
            let mut log = Self { socket: None, path };
            log.come();
            log
        }

        fn come(&mut self) {
            self.go();
            let socket = UnixDatagram::bind(&self.path).expect("bound");
            socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
            self.socket = Some(socket);
        }

        fn go(&mut self) {
            self.socket = None;
            let _ = std::fs::remove_file(&self.path);
        }

        fn receive(&self) -> String {
            let mut line = [0; 4096];
            let len = self.socket.as_ref().expect("it is there").recv(&mut line).expect("a line");
            String::from_utf8_lossy(&line[..len]).into_owned()
        }
    }

    impl Drop for Log {
        fn drop(&mut self) {
            self.go();
        }
    }

    #[test]
    fn a_log_that_was_restarted_is_found_again_and_one_that_is_away_is_told() {
        let mut log = Log::new("restarted");
        let to = Datagram::to(&log.path);
        assert!(to.send(b"one", false));
        assert_eq!(log.receive(), "one");
        log.go();
        assert!(!to.send(b"lost", true) && !to.send(b"lost", false));
        log.come();
        assert!(to.send(b"two", false));
        assert_eq!(log.receive(), "two");
        // Another process at the same path, without a moment in which nobody is there.
        log.come();
        assert!(to.send(b"three", false));
        assert_eq!(log.receive(), "three");
    }

    /// A log that cannot keep up loses what does not matter, gets what does, and holds nobody up for more than a second.
    #[test]
    fn a_full_log_is_waited_for_once() {
        let log = Log::new("full");
        let to = Arc::new(Datagram::to(&log.path));
        (0..1000).for_each(|_| assert!(to.send(b"filler", false), "it is there"));
        let (sender, began) = (to.clone(), Instant::now());
        let waiting = std::thread::spawn(move || sender.send(b"closing", true));
        while log.receive() != "closing" {}
        assert!(waiting.join().expect("no panic"), "it was taken");
        (0..1000).for_each(|_| assert!(to.send(b"filler", false), "it is there"));
        (0..50).for_each(|_| assert!(to.send(b"nobody reads", true), "it is there"));
        assert!(began.elapsed() < PATIENCE * 10, "{:?}", began.elapsed());
    }
}
