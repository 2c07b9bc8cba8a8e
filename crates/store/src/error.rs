//! What a store says when it cannot.

use rustix::io::Errno;
use std::fmt;

/// A verb that failed, where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    /// What was tried.
    pub verb: Verb,
    /// Bytes from the start of the store.
    pub offset: u64,
    /// Bytes concerned.
    pub len: u64,
    /// Why it failed.
    pub cause: Cause,
}

/// The verbs of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Opening, or looking at what is at a path.
    Open,
    /// `read_at`, `try_read`
    Read,
    /// `write_at`
    Write,
    /// `zero`
    Zero,
    /// `trim`
    Trim,
    /// `flush`, or the sync of a durable write
    Flush,
    /// `cache`
    Cache,
    /// `map`
    Map,
    /// `verify`
    Verify,
}

/// Why, sorted by what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The medium is read-only or access is denied (EPERM, EACCES, EROFS).
    Forbidden,
    /// The medium is full: a regular file's file system, or truly past the end of an unchanged device.
    NoSpace,
    /// The system has no memory.
    NoMemory,
    /// Cannot be done in the way asked for (a fast zero, a file kind that cannot be served).
    Unsupported(String),
    /// A sync failed earlier; what was written since then may be gone.
    Poisoned,
    /// The disk is gone: size 0, short read inside the size, "no space" on a device.
    Lost(String),
    /// Another disk is where this one was.
    Moved(String),
    /// Anything else the system said. Its number, for the log; never shown as the client's fault.
    Io(i32),
    /// Anything else, in words (fault stores, remote stores).
    Other(String),
}

impl StoreError {
    /// Whether a path leads nowhere: there is nothing.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.cause == Cause::Io(Errno::NOENT.raw_os_error())
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Zero => "zero",
            Self::Trim => "trim",
            Self::Flush => "flush",
            Self::Cache => "cache",
            Self::Map => "map",
            Self::Verify => "verify",
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden => f.write_str("not permitted, or read-only"),
            Self::NoSpace => f.write_str("no space left"),
            Self::NoMemory => f.write_str("out of memory"),
            Self::Unsupported(why) | Self::Lost(why) | Self::Moved(why) | Self::Other(why) => {
                f.write_str(why)
            }
            Self::Poisoned => f.write_str("an earlier sync failed, so durability can no longer be promised"),
            Self::Io(errno) => f.write_str(&words(Errno::from_raw_os_error(*errno))),
        }
    }
}

/// An error of the system in its own words, without the number.
pub(crate) fn words(errno: Errno) -> String {
    let words = std::io::Error::from(errno).to_string();
    words.split(" (os error").next().unwrap_or_default().to_owned()
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verb {
            Verb::Open | Verb::Flush | Verb::Verify => write!(f, "{}: {}", self.verb, self.cause),
            verb => write!(f, "{verb} of {} bytes at {}: {}", self.len, self.offset, self.cause),
        }
    }
}

impl std::error::Error for StoreError {}
