//! A session's channel over a TCP or Unix socket.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use session::{Channel, Interest, Ready};
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A connected socket, in blocking mode; what must not block says so in each call.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    /// Ends a `wait`. Made when the first operation goes to a worker: most connections read what is at hand and never
    /// need it.
    waker: OnceLock<OwnedFd>,
}

impl Socket {
    /// Takes over a connected stream socket.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd, waker: OnceLock::new() }
    }

    fn waker(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(waker) = self.waker.get() {
            return Ok(waker.as_fd());
        }
        let fresh = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(self.waker.get_or_init(|| fresh).as_fd())
    }
}

/// How often a session that cannot be woken looks.
const WITHOUT_WAKER: Duration = Duration::from_millis(5);

impl Channel for Socket {
    fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match recv(&self.fd, &mut *into, RecvFlags::empty()) {
                Ok((count, _)) => return Ok(count),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.fd, bytes, SendFlags::NOSIGNAL)?)
    }

    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
    }

    fn send_file(&self, head: &[u8], file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<usize> {
        let mut at = 0;
        while at < head.len() {
            match send(&self.fd, &head[at..], SendFlags::NOSIGNAL | SendFlags::MORE) {
                Ok(count) => at += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let (mut from, mut left) = (offset, len);
        while left > 0 {
            match sendfile(&self.fd, file, Some(&mut from), left) {
                Ok(0) | Err(Errno::INVAL | Errno::NOSYS | Errno::IO) => break,
                Ok(count) => left -= count,
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(len - left)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<Ready> {
        // Without a descriptor to spare there is none to be woken by: then it looks now and then, and nobody is cut off.
        let waker = self.waker().ok();
        let soon = waker.is_none().then(|| Instant::now() + WITHOUT_WAKER);
        let until = deadline.into_iter().chain(soon).min();
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, interest.receive);
        events.set(PollFlags::OUT, interest.send);
        // Without interest the socket is left out: its hang-up would be reported at every call, and never go away.
        let used = usize::from(waker.is_none())..if events.is_empty() { 1 } else { 2 };
        let first = waker.unwrap_or(self.fd.as_fd());
        let mut fds = [PollFd::from_borrowed_fd(first, PollFlags::IN), PollFd::new(&self.fd, events)];
        match poll(&mut fds[used], until.map(timespec_until).as_ref()) {
            Ok(0) => {
                return Ok(Ready {
                    late: deadline.is_some_and(|at| at <= Instant::now()),
                    ..Ready::default()
                });
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if let (Some(waker), false) = (waker, fds[0].revents().is_empty()) {
            // Whatever woke us is looked at afterwards; only the count must go.
            let _ = rustix::io::read(waker, &mut [0_u8; 8]);
        }
        let seen = fds[1].revents();
        let ended = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        Ok(Ready {
            receive: interest.receive && seen.intersects(PollFlags::IN | ended),
            send: interest.send && seen.intersects(PollFlags::OUT | ended),
            late: false,
        })
    }

    fn wake(&self) {
        // Full (it never is) or failing to be made: the session's thread then learns of it at its next event.
        if let Ok(waker) = self.waker() {
            let _ = rustix::io::write(waker, &1_u64.to_ne_bytes());
        }
    }

    fn close_input(&self) {
        let _ = shutdown(&self.fd, Shutdown::Read);
    }

    fn close(&self) {
        let _ = shutdown(&self.fd, Shutdown::Both);
    }
}

fn timespec_until(deadline: Instant) -> Timespec {
    let rest = deadline.saturating_duration_since(Instant::now());
    Timespec {
        tv_sec: i64::try_from(rest.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: rest.subsec_nanos().into(),
    }
}
