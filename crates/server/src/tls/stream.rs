//! TLS over a connected socket that one thread receives from while others send.
//!
//! OpenSSL reads from and writes to memory; the system is called without it in hand. So nobody waits for a client while
//! others wait for him, a call brings as many records as have arrived, and many records leave in one.

use super::identity::{Identity, claim};
use super::material::words;
use openssl::ssl::{ErrorCode, ShutdownState, Ssl, SslContext, SslRef, SslStream};
use openssl::x509::X509VerifyResult;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One call to the system brings at most this much: four records.
const RECEIVE: usize = 66 << 10;
/// Bytes that are encrypted before they are sent in one call: a batch of replies with their headers.
const BATCH: usize = 257 << 10;

/// A connection inside TLS.
pub struct TlsStream {
    ssl: Mutex<SslStream<Memory>>,
    sending: Mutex<Sending>,
    /// What the next call fills. Then it changes places with what OpenSSL has read.
    spare: Mutex<Vec<u8>>,
    peer: Identity,
}

/// Why there is no TLS.
#[derive(Debug)]
pub enum NotSecure {
    /// The client's certificate, or that it has none.
    Certificate(String),
    /// There is no pre-shared key of the name that the client gave.
    UnknownKey(String),
    /// Its pre-shared key is not the one of that name.
    WrongKey(String),
    /// Anything else.
    Other(String),
}

/// What stands between OpenSSL and the socket.
#[derive(Default)]
struct Memory {
    received: Vec<u8>,
    at: usize,
    len: usize,
    made: Vec<u8>,
}

/// Records that have not all left, and of how many bytes they were made: those have not been answered for yet.
#[derive(Default)]
struct Sending {
    records: Vec<u8>,
    at: usize,
    plain: usize,
}

impl Read for Memory {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let ready = &self.received[self.at..self.len];
        if ready.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = ready.len().min(into.len());
        into[..count].copy_from_slice(&ready[..count]);
        self.at += count;
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, records: &[u8]) -> io::Result<usize> {
        self.made.extend_from_slice(records);
        Ok(records.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Memory {
    /// Takes `len` bytes over; what OpenSSL has read already is the next spare.
    fn feed(&mut self, fresh: &mut Vec<u8>, len: usize) {
        if self.at < self.len {
            self.received.truncate(self.len);
            self.received.extend_from_slice(&fresh[..len]);
            self.len += len;
            return;
        }
        std::mem::swap(&mut self.received, fresh);
        (self.at, self.len) = (0, len);
    }
}

impl TlsStream {
    /// The server's part of the handshake.
    ///
    /// # Errors
    /// Why it failed; the client was told in the words of TLS.
    pub fn accept(fd: BorrowedFd<'_>, context: &SslContext, deadline: Instant) -> Result<Self, NotSecure> {
        let internal = |error| NotSecure::Other(words(&error));
        let ssl = Ssl::new(context).map_err(internal)?;
        let mut stream = SslStream::new(ssl, Memory::default()).map_err(internal)?;
        let mut fresh = Vec::new();
        loop {
            let result = stream.accept();
            let made = std::mem::take(&mut stream.get_mut().made);
            match result {
                Ok(()) => {
                    send_until(fd, &made, deadline)?;
                    let peer = Identity::of(stream.ssl());
                    let (sending, spare) = (Mutex::default(), Mutex::new(fresh));
                    return Ok(Self { ssl: Mutex::new(stream), sending, spare, peer });
                }
                Err(error) if error.code() == ErrorCode::WANT_READ => {
                    send_until(fd, &made, deadline)?;
                    let count = receive_until(fd, &mut fresh, deadline)?;
                    stream.get_mut().feed(&mut fresh, count);
                }
                Err(error) => {
                    let _ = send(fd, &made, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
                    return Err(refusal(stream.ssl(), &error));
                }
            }
        }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Identity {
        &self.peer
    }

    /// As [`session::Channel::receive`].
    pub fn receive(&self, fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(count) = decrypt(&mut self.lock(), into)? {
                return Ok(count);
            }
            if self.fetch(fd, RecvFlags::empty())? == 0 {
                // Also where the client said no farewell: every message of NBD says how long it is.
                return Ok(0);
            }
        }
    }

    /// Whether `receive` would return at once with what has been received already.
    pub fn has_input(&self) -> bool {
        match self.lock().ssl_peek(&mut [0]) {
            Ok(_) => true,
            Err(error) => error.code() != ErrorCode::WANT_READ,
        }
    }

    /// Takes in what the socket has. Whether `receive` would return at once then: part of a record does not help.
    pub fn pull(&self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        match self.fetch(fd, RecvFlags::DONTWAIT) {
            Ok(0) => Ok(true),
            Ok(_) => Ok(self.has_input()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// As [`session::Channel::send`], or with `DONTWAIT` as `try_send`. When there is no room, the bytes are on their way
    /// and not answered for: they must be offered again.
    pub fn send(&self, fd: BorrowedFd<'_>, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if sending.plain == 0 {
            self.encrypt(&mut sending, &bytes[..bytes.len().min(BATCH)])?;
        }
        debug_assert!(sending.plain <= bytes.len(), "other bytes than those that are on their way");
        sending.flush(fd, flags)?;
        Ok(std::mem::take(&mut sending.plain))
    }

    /// Says that nothing more comes, if that can be said without waiting.
    pub fn say_farewell(&self, fd: BorrowedFd<'_>) {
        let (Ok(mut sending), Ok(mut ssl)) = (self.sending.try_lock(), self.ssl.try_lock()) else { return };
        let said = ssl.get_shutdown().contains(ShutdownState::SENT);
        if said || sending.flush(fd, SendFlags::DONTWAIT).is_err() {
            return;
        }
        let _ = ssl.shutdown();
        let _ = send(fd, &ssl.get_ref().made, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }

    fn encrypt(&self, sending: &mut Sending, bytes: &[u8]) -> io::Result<()> {
        let mut ssl = self.lock();
        sending.plain = ssl.ssl_write(bytes).map_err(broken)?;
        sending.records.clear();
        sending.at = 0;
        // Also what OpenSSL had to say while it read, in the order in which it was made.
        std::mem::swap(&mut sending.records, &mut ssl.get_mut().made);
        Ok(())
    }

    fn fetch(&self, fd: BorrowedFd<'_>, flags: RecvFlags) -> io::Result<usize> {
        let mut fresh = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let count = receive(fd, &mut fresh, flags)?;
        if count > 0 {
            self.lock().get_mut().feed(&mut fresh, count);
        }
        Ok(count)
    }

    fn lock(&self) -> MutexGuard<'_, SslStream<Memory>> {
        self.ssl.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sending {
    fn flush(&mut self, fd: BorrowedFd<'_>, flags: SendFlags) -> io::Result<()> {
        while self.at < self.records.len() {
            match send(fd, &self.records[self.at..], SendFlags::NOSIGNAL | flags) {
                Ok(count) => self.at += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// As many records as are complete and fit. `None`: none is. `Some(0)`: the client said that nothing more comes.
fn decrypt(ssl: &mut SslStream<Memory>, into: &mut [u8]) -> io::Result<Option<usize>> {
    let mut at = 0;
    while at < into.len() {
        match ssl.ssl_read(&mut into[at..]) {
            Ok(count) => at += count,
            Err(error) if error.code() == ErrorCode::ZERO_RETURN => return Ok(Some(at)),
            Err(_) if at > 0 => break,
            Err(error) if error.code() == ErrorCode::WANT_READ => return Ok(None),
            Err(error) => return Err(broken(error)),
        }
    }
    Ok(Some(at))
}

fn receive(fd: BorrowedFd<'_>, into: &mut Vec<u8>, flags: RecvFlags) -> io::Result<usize> {
    into.resize(RECEIVE, 0);
    loop {
        match recv(fd, &mut into[..], flags) {
            Ok((count, _)) => return Ok(count),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn broken(error: openssl::ssl::Error) -> io::Error {
    io::Error::other(format!("TLS: {}", reason(&error)))
}

fn reason(error: &openssl::ssl::Error) -> String {
    error.ssl_error().map_or_else(|| error.to_string(), words)
}

fn refusal(ssl: &SslRef, error: &openssl::ssl::Error) -> NotSecure {
    const NONE_SENT: &str = "peer did not return a certificate";
    let why = reason(error);
    let verified = ssl.verify_result();
    if verified != X509VerifyResult::OK {
        return NotSecure::Certificate(verified.error_string().to_owned());
    }
    if why.contains(NONE_SENT) {
        return NotSecure::Certificate("the client has none".into());
    }
    let Some(claim) = claim(ssl) else { return NotSecure::Other(why) };
    let name = String::from_utf8_lossy(&claim.name);
    if claim.known {
        NotSecure::WrongKey(format!("not with the key of {name}: {why}"))
    } else {
        NotSecure::UnknownKey(format!("there is no key of the name {name}"))
    }
}

impl From<io::Error> for NotSecure {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

fn send_until(fd: BorrowedFd<'_>, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        wait_until(fd, PollFlags::OUT, deadline)?;
        match send(fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn receive_until(fd: BorrowedFd<'_>, into: &mut Vec<u8>, deadline: Instant) -> io::Result<usize> {
    loop {
        wait_until(fd, PollFlags::IN, deadline)?;
        match receive(fd, into, RecvFlags::DONTWAIT) {
            Ok(0) => return Err(io::Error::other("the client left during the handshake")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

fn wait_until(fd: BorrowedFd<'_>, events: PollFlags, deadline: Instant) -> io::Result<()> {
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        let rest = Timespec::try_from(rest).map_err(io::Error::other)?;
        match poll(&mut [PollFd::from_borrowed_fd(fd, events)], Some(&rest)) {
            Ok(0) => return Err(io::Error::other("the handshake did not end in time")),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
