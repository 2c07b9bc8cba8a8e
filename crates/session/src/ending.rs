//! How a session ended. Logged once, at a level that fits its kind.

use crate::haggling::Farewell;
use std::fmt;
use std::io;
use std::time::Duration;
use wire::Malformed;

/// Why a connection is over.
#[derive(Debug)]
pub enum Ending {
    /// DISC, every request answered.
    Disconnected,
    /// The client closed between requests, without DISC.
    HungUp,
    /// The stream ended inside a message, or broke.
    Cut(io::Error),
    /// The client's bytes are not NBD.
    Malformed(Malformed),
    /// Haggling ended without transmission.
    Farewell(Farewell),
    /// The client closed, or broke off, before it chose an export.
    LeftHaggling,
    /// No export was chosen within the limit.
    Late,
    /// Nothing was under way, and the client sent nothing for as long as its export allows.
    Idle(Duration),
    /// Bytes stood behind STARTTLS before it was answered: somebody in between wants them taken for the client's own.
    Injected,
    /// The TLS handshake failed, and why.
    NoTls(String),
    /// Client flags that we did not offer. Spec: "Newstyle negotiation".
    UnknownClientFlags(u32),
    /// The export was removed or repointed by a reload, or the server stops.
    Fenced,
    /// The disk under the export is not the one that was meant.
    WrongDisk(String),
    /// A read that was already promised failed; there is no way to say so in a simple reply. Spec: "Simple replies".
    BrokenPromise(store::StoreError),
    /// A mistake of ours.
    Panicked,
}

impl Ending {
    /// One word, for figures.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::HungUp => "hung_up",
            Self::Cut(_) => "cut",
            Self::Malformed(_) => "malformed",
            Self::Farewell(_) => "farewell",
            Self::LeftHaggling => "left",
            Self::Late => "late",
            Self::Idle(_) => "idle",
            Self::Injected => "injected",
            Self::NoTls(_) => "no_tls",
            Self::UnknownClientFlags(_) => "unknown_flags",
            Self::Fenced => "fenced",
            Self::WrongDisk(_) => "wrong_disk",
            Self::BrokenPromise(_) => "read_failed",
            Self::Panicked => "panicked",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("disconnected"),
            Self::HungUp => f.write_str("client hung up without NBD_CMD_DISC"),
            Self::Cut(error) => write!(f, "connection broke: {error}"),
            Self::Malformed(malformed) => write!(f, "Protocol error: not enough magic. ({malformed})"),
            Self::Farewell(Farewell::Aborted) => f.write_str("Session terminated by client"),
            Self::Farewell(Farewell::Refused(refusal)) => {
                write!(f, "NBD_OPT_EXPORT_NAME cannot be granted: {refusal}")
            }
            Self::Farewell(Farewell::TooManyOptions) => f.write_str("too many options in one handshake"),
            Self::Farewell(Farewell::EndlessOption(length)) => write!(f, "an option of {length} bytes"),
            Self::LeftHaggling => f.write_str("client left before it chose an export"),
            Self::Late => f.write_str("no export was chosen within the time allowed for negotiation"),
            Self::Idle(timeout) => write!(f, "no request for {} s, the timeout", timeout.as_secs_f64()),
            Self::Injected => f.write_str("bytes in the clear behind NBD_OPT_STARTTLS"),
            Self::NoTls(why) => write!(f, "TLS handshake failed: {why}"),
            Self::UnknownClientFlags(flags) => write!(f, "unknown client flags {flags:#x}"),
            Self::Fenced => f.write_str("fenced"),
            Self::WrongDisk(why) => f.write_str(why),
            Self::Panicked => f.write_str("internal error"),
            Self::BrokenPromise(error) => write!(f, "a read already begun failed: {error}"),
        }
    }
}
