//! A session's channel over a TCP or Unix socket, inside TLS once that was agreed on.

use crate::tls::{Identity, NotSecure, TlsStream};
use openssl::ssl::SslContext;
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
pub struct Socket {
    fd: OwnedFd,
    /// Set at the end of the handshake. From then on every byte goes through it.
    tls: OnceLock<TlsStream>,
    /// Ends a `wait`. Made when the first operation goes to a worker: most connections read what is at hand and never
    /// need it.
    waker: OnceLock<OwnedFd>,
}

impl Socket {
    /// Takes over a connected stream socket.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd, tls: OnceLock::new(), waker: OnceLock::new() }
    }

    /// Does the TLS handshake. Called by the session's thread, while nobody else uses the socket but to close it.
    ///
    /// # Errors
    /// Why there is none; the connection is of no use any more.
    pub(crate) fn secure(&self, context: &SslContext, deadline: Instant) -> Result<&Identity, NotSecure> {
        let stream = TlsStream::accept(self.fd.as_fd(), context, deadline)?;
        Ok(self.tls.get_or_init(|| stream).peer())
    }

    /// Who is at the other end; `None` outside TLS.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.tls.get().map(TlsStream::peer)
    }

    fn waker(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(waker) = self.waker.get() {
            return Ok(waker.as_fd());
        }
        let fresh = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(self.waker.get_or_init(|| fresh).as_fd())
    }

    fn send_some(&self, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
        match self.tls.get() {
            Some(tls) => tls.send(self.fd.as_fd(), bytes, flags),
            None => Ok(send(&self.fd, bytes, SendFlags::NOSIGNAL | flags)?),
        }
    }

    /// What poll says, and whether something else ended it: a wake, a signal, or the time.
    fn poll_once(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<(Ready, bool)> {
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
                let late = deadline.is_some_and(|at| at <= Instant::now());
                return Ok((Ready { late, ..Ready::default() }, true));
            }
            Ok(_) => {}
            Err(Errno::INTR) => return Ok((Ready::default(), true)),
            Err(error) => return Err(error.into()),
        }
        let woken = waker.is_some() && !fds[0].revents().is_empty();
        if let (Some(waker), true) = (waker, woken) {
            // Whatever woke us is looked at afterwards; only the count must go.
            let _ = rustix::io::read(waker, &mut [0_u8; 8]);
        }
        let seen = fds[1].revents();
        let ended = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        let ready = Ready {
            receive: interest.receive && seen.intersects(PollFlags::IN | ended),
            send: interest.send && seen.intersects(PollFlags::OUT | ended),
            late: false,
        };
        Ok((ready, woken))
    }
}

/// How often a session that cannot be woken looks.
const WITHOUT_WAKER: Duration = Duration::from_millis(5);

impl Channel for Socket {
    fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        if let Some(tls) = self.tls.get() {
            return tls.receive(self.fd.as_fd(), into);
        }
        loop {
            match recv(&self.fd, &mut *into, RecvFlags::empty()) {
                Ok((count, _)) => return Ok(count),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.send_some(bytes, SendFlags::empty())
    }

    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.send_some(bytes, SendFlags::DONTWAIT)
    }

    fn sends_files(&self) -> bool {
        self.tls.get().is_none()
    }

    fn send_file(&self, head: &[u8], file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<usize> {
        let mut at = 0;
        if self.tls.get().is_some() {
            while at < head.len() {
                at += self.send(&head[at..])?;
            }
            return Ok(0);
        }
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
        let Some(tls) = self.tls.get().filter(|_| interest.receive) else {
            return self.poll_once(interest, deadline).map(|(ready, _)| ready);
        };
        loop {
            // What is decrypted, or could be, is no longer to be seen at the socket.
            if tls.has_input() {
                let (ready, _) = self.poll_once(interest, Some(Instant::now()))?;
                return Ok(Ready { receive: true, send: ready.send, late: false });
            }
            let (mut ready, woken) = self.poll_once(interest, deadline)?;
            ready.receive = ready.receive && tls.pull(self.fd.as_fd())?;
            if woken || ready != Ready::default() {
                return Ok(ready);
            }
        }
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
        if let Some(tls) = self.tls.get() {
            tls.say_farewell(self.fd.as_fd());
        }
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
