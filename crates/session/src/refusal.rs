//! A wish that cannot be granted: the one place where reasons become NBD numbers.

use std::fmt;
use store::{Cause, StoreError};
use wire::{ErrorNumber, OptionReplyKind};

/// Why an option is refused. Haggling goes on, except after EXPORT_NAME, which has no error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionRefusal {
    /// No export of that name.
    UnknownExport,
    /// Access, limits, an unavailable disk: the sentence says which.
    Policy(String),
    /// The option's own bytes are wrong.
    Invalid(&'static str),
    /// An option this server does not have.
    Unsupported(&'static str),
    /// More than a limit allows; the sentence names it.
    TooBig(&'static str),
    /// First STARTTLS, then this; the sentence says for what.
    TlsRequired(&'static str),
    /// The server is going away.
    ShuttingDown,
}

impl OptionRefusal {
    /// Spec: "Option reply types".
    #[must_use]
    pub fn kind(&self) -> OptionReplyKind {
        match self {
            Self::UnknownExport => OptionReplyKind::ERR_UNKNOWN,
            Self::Policy(_) => OptionReplyKind::ERR_POLICY,
            Self::Invalid(_) => OptionReplyKind::ERR_INVALID,
            Self::Unsupported(_) => OptionReplyKind::ERR_UNSUP,
            Self::TooBig(_) => OptionReplyKind::ERR_TOO_BIG,
            Self::TlsRequired(_) => OptionReplyKind::ERR_TLS_REQD,
            Self::ShuttingDown => OptionReplyKind::ERR_SHUTDOWN,
        }
    }
}

impl fmt::Display for OptionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownExport => f.write_str("Export unknown"),
            Self::Policy(why) => f.write_str(why),
            Self::Invalid(why) | Self::Unsupported(why) | Self::TooBig(why) | Self::TlsRequired(why) => {
                f.write_str(why)
            }
            Self::ShuttingDown => f.write_str("The server is shutting down"),
        }
    }
}

/// Why a request is refused before it reaches the store, or what the store answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Outside the export: EINVAL for reads and hints.
    OutOfRange,
    /// A write or zeroing outside the export: ENOSPC, as a full disk would say.
    PastEnd,
    /// A change on a read-only export.
    ReadOnly,
    /// A command this server does not have, or did not negotiate.
    UnknownCommand,
    /// A flag that is unknown, or does not belong to the command.
    BadFlags,
    /// A READ that must come in one chunk, and is larger than one can be here (DF).
    TooLargeForOneChunk,
    /// BLOCK_STATUS without a negotiated context, or of length 0.
    NoContext,
    /// The export was removed or repointed (P2), or its disk is another one (P4).
    Fenced,
    /// What the medium said.
    Store(StoreError),
    /// A mistake of ours: the operation panicked. Nothing is known about what it did.
    Internal,
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Refusal {
    /// Spec: "Error values". Only mistakes of the client are EINVAL; whatever is unknown about the medium is EIO.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            Self::OutOfRange | Self::UnknownCommand | Self::BadFlags | Self::NoContext => ErrorNumber::EINVAL,
            Self::PastEnd => ErrorNumber::ENOSPC,
            Self::TooLargeForOneChunk => ErrorNumber::EOVERFLOW,
            Self::ReadOnly => ErrorNumber::EPERM,
            Self::Fenced => ErrorNumber::ESHUTDOWN,
            Self::Internal => ErrorNumber::EIO,
            Self::Store(error) => Self::number_of(&error.cause),
        }
    }

    /// The same for what the medium said.
    pub(crate) fn number_of(cause: &Cause) -> ErrorNumber {
        match cause {
            Cause::Forbidden => ErrorNumber::EPERM,
            Cause::NoSpace => ErrorNumber::ENOSPC,
            Cause::NoMemory => ErrorNumber::ENOMEM,
            Cause::Unsupported(_) => ErrorNumber::ENOTSUP,
            Cause::Poisoned | Cause::Lost(_) | Cause::Moved(_) | Cause::Io(_) | Cause::Other(_) => {
                ErrorNumber::EIO
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange => f.write_str("the range is outside the export"),
            Self::PastEnd => f.write_str("the range ends past the end of the export"),
            Self::ReadOnly => f.write_str("the export is read-only"),
            Self::UnknownCommand => f.write_str("unknown command"),
            Self::BadFlags => f.write_str("a flag is unknown or does not belong to the command"),
            Self::TooLargeForOneChunk => f.write_str("too large for one chunk; ask without NBD_CMD_FLAG_DF"),
            Self::NoContext => f.write_str("no metadata context was negotiated, or the length is 0"),
            Self::Fenced => f.write_str("the export was removed or moved to another disk"),
            Self::Store(error) => error.fmt(f),
            Self::Internal => f.write_str("internal error of the server; its log says more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Verb;

    fn from_store(cause: Cause) -> u32 {
        Refusal::from(StoreError { verb: Verb::Write, offset: 0, len: 1, cause }).number().0
    }

    /// `reliability`: what the system says is never passed on as the client's own mistake (22).
    #[test]
    fn nothing_a_store_says_becomes_einval() {
        assert_eq!(from_store(Cause::Forbidden), 1);
        assert_eq!(from_store(Cause::NoSpace), 28);
        assert_eq!(from_store(Cause::NoMemory), 12);
        assert_eq!(from_store(Cause::Unsupported(String::new())), 95);
        assert_eq!(from_store(Cause::Poisoned), 5);
        assert_eq!(from_store(Cause::Lost(String::new())), 5);
        assert_eq!(from_store(Cause::Moved(String::new())), 5);
        assert_eq!(from_store(Cause::Other(String::new())), 5);
        for errno in 0..200 {
            assert_eq!(from_store(Cause::Io(errno)), 5, "errno {errno}");
        }
    }

    #[test]
    fn a_clients_mistakes_have_the_numbers_of_the_original() {
        let numbers = [
            (Refusal::OutOfRange, 22),
            (Refusal::PastEnd, 28),
            (Refusal::ReadOnly, 1),
            (Refusal::UnknownCommand, 22),
            (Refusal::BadFlags, 22),
            (Refusal::TooLargeForOneChunk, 75),
            (Refusal::NoContext, 22),
            (Refusal::Fenced, 108),
            (Refusal::Internal, 5),
        ];
        for (refusal, number) in numbers {
            assert_eq!(refusal.number().0, number, "{refusal}");
        }
    }
}
