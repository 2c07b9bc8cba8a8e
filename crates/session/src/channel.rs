//! What a session needs from its connection. Server has one over sockets; tests have theirs.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// A two-way stream of bytes that several threads may use at once: the session's own thread receives and waits, and any
/// thread that finished an operation sends.
pub trait Channel: Send + Sync {
    /// Waits for at least one byte. `Ok(0)`: the peer (or [`Channel::close_input`]) ended the stream.
    fn receive(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Sends some of the bytes, waiting for room. Never `Ok(0)` for a non-empty slice.
    fn send(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Sends some of the bytes if there is room now.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is none. Then the same bytes must be offered next: inside TLS some of
    /// them may be on their way already.
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Whether [`Channel::send_file`] saves a copy. Inside TLS it does not: every byte has to be looked at.
    fn sends_files(&self) -> bool {
        true
    }

    /// Sends `head`, and behind it bytes of a file without copying them, waiting for room. How many bytes of the file
    /// have left: fewer than `len` where the file ends, or cannot be sent from; the caller then sends the rest.
    ///
    /// # Errors
    /// Nothing more can be sent, and nobody knows how much of it has left.
    fn send_file(&self, head: &[u8], file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<usize>;

    /// Waits until there is something to receive, room to send (when asked for), a [`Channel::wake`], or the deadline.
    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<Ready>;

    /// Ends a `wait` of the session's thread, the present one or the next.
    fn wake(&self);

    /// No more requests: `receive` gives what has arrived already and then `Ok(0)`, at once also for a thread that
    /// waits in it. Replies can still be sent.
    fn close_input(&self);

    /// Ends both directions; every waiting call returns.
    fn close(&self);
}

/// What a `wait` is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Bytes to receive, or the end of the stream.
    pub receive: bool,
    /// Room to send.
    pub send: bool,
}

/// Why a `wait` ended; nothing set means the deadline passed or somebody woke the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// `receive` will not block.
    pub receive: bool,
    /// `try_send` will send something (or tell the error).
    pub send: bool,
    /// The deadline has passed.
    pub late: bool,
}
