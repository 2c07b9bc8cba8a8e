//! Accepting connections. Here a request's path begins.

use crate::access::Peer;
use crate::bind::{self, Bound};
use crate::connections::welcome;
use crate::log::Level;
use crate::state::Shared;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// After a failed accept that evicting a handshake does not cure, wait: the reason will not go away at once.
const BREATHER: Duration = Duration::from_millis(20);

/// Whether the accepting thread still goes round: it is asked, and answers between two connections.
pub struct Pulse {
    ask: OwnedFd,
    rounds: Mutex<u64>,
    answered: Condvar,
}

impl Pulse {
    fn new() -> io::Result<Self> {
        let ask = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { ask, rounds: Mutex::default(), answered: Condvar::new() })
    }

    /// Asks, and waits for the answer.
    #[must_use]
    pub fn answers(&self, within: Duration) -> bool {
        let rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *rounds;
        let _ = rustix::io::write(&self.ask, &1_u64.to_ne_bytes());
        let waited = self.answered.wait_timeout_while(rounds, within, |rounds| *rounds == before);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn answer(&self) {
        let _ = rustix::io::read(&self.ask, &mut [0_u8; 8]);
        *self.rounds.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.answered.notify_all();
    }
}

/// The accepting thread.
pub struct Acceptor {
    stop: Arc<OwnedFd>,
    pulse: Arc<Pulse>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Acceptor {
    /// Accepts from all of `bound` until [`Acceptor::stop`].
    ///
    /// # Errors
    /// When the system gives no descriptor or no thread.
    pub fn start(shared: Arc<Shared>, bound: Bound) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let pulse = Arc::new(Pulse::new()?);
        let (stopped, asked) = (stop.clone(), pulse.clone());
        for listener in &bound.tcp {
            listener.set_nonblocking(true)?;
        }
        for unix in &bound.unix {
            unix.listener.set_nonblocking(true)?;
        }
        let run = move || accept_until(&shared, &bound, &asked, &stopped);
        let thread = thread::Builder::new().name("accept".into()).spawn(run)?;
        Ok(Self { stop, pulse, thread: Mutex::new(Some(thread)) })
    }

    /// To ask whether it still accepts.
    #[must_use]
    pub fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }

    /// Closes the listening sockets and removes the Unix one.
    pub fn stop(&self) {
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn accept_until(shared: &Arc<Shared>, bound: &Bound, pulse: &Pulse, stop: &OwnedFd) {
    let sockets =
        bound.tcp.iter().map(AsFd::as_fd).chain(bound.unix.iter().map(|unix| unix.listener.as_fd()));
    let own = [PollFd::new(stop, PollFlags::IN), PollFd::new(&pulse.ask, PollFlags::IN)];
    let sockets = sockets.map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN));
    let mut fds: Vec<PollFd<'_>> = own.into_iter().chain(sockets).collect();
    loop {
        if poll(&mut fds, None).is_err() {
            continue;
        }
        if !fds[0].revents().is_empty() {
            break;
        }
        if !fds[1].revents().is_empty() {
            pulse.answer();
        }
        for (number, fd) in fds[2..].iter().enumerate() {
            if !fd.revents().is_empty()
                && let Err(error) = accept_one(shared, bound, number)
            {
                failed(shared, &error);
            }
        }
    }
    bound.remove();
}

fn accept_one(shared: &Arc<Shared>, bound: &Bound, number: usize) -> io::Result<()> {
    match bound.tcp.get(number) {
        Some(listener) => {
            let (stream, address) = listener.accept()?;
            stream.set_nonblocking(false)?;
            bind::tune(&stream);
            welcome(shared, stream.into(), Peer::Ip(address.ip()));
        }
        None => {
            let Some(unix) = bound.unix.get(number - bound.tcp.len()) else { return Ok(()) };
            let (stream, _) = unix.listener.accept()?;
            stream.set_nonblocking(false)?;
            welcome(shared, stream.into(), Peer::Unix);
        }
    }
    Ok(())
}

/// Out of descriptors: the oldest handshake gives its one back. Anything else concerns that connection alone.
fn failed(shared: &Shared, error: &io::Error) {
    let exhausted = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE, rustix::io::Errno::NOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) {
        return;
    }
    shared.log.quietly(Level::Error, "accept", &format!("accept failed: {error}"));
    if exhausted {
        shared.sessions.evict_oldest();
        thread::sleep(BREATHER);
    }
}
