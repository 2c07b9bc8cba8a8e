//! Requests, from the client. Spec: "Request message" and "Request types".

use crate::bytes::{Reader, Writer, exactly};
use crate::{CommandFlags, Malformed};

/// The client's mark on a request, returned with every reply to it; it means nothing to the server.
/// Shape: 8 bytes. Spec: "Transmission".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie(pub u64);

numbers! {
    /// What is to be done. Shape: 2 bytes, big-endian. Spec: "Request types".
    Command(u16) {
        /// Sends `length` bytes from `offset`.
        READ = 0, "NBD_CMD_READ";
        /// Stores the payload at `offset`.
        WRITE = 1, "NBD_CMD_WRITE";
        /// The client leaves; there is no reply.
        DISC = 2, "NBD_CMD_DISC";
        /// All writes that were answered before survive a power cut.
        FLUSH = 3, "NBD_CMD_FLUSH";
        /// The client no longer cares for these bytes.
        TRIM = 4, "NBD_CMD_TRIM";
        /// These bytes will be read soon.
        CACHE = 5, "NBD_CMD_CACHE";
        /// These bytes become zero.
        WRITE_ZEROES = 6, "NBD_CMD_WRITE_ZEROES";
        /// Asks for the status of these bytes in every chosen context.
        BLOCK_STATUS = 7, "NBD_CMD_BLOCK_STATUS";
        /// The export gets the size that stands in `offset` (extension `RESIZE`).
        RESIZE = 8, "NBD_CMD_RESIZE";
    }
}

/// One request header. For WRITE the payload follows on the stream and is read by the session.
///
/// Shape: 28 bytes, big-endian: magic 4, flags 2, command 2, cookie 8, offset 8, length 4.
/// Spec: "Request message".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which of them go with which command is the server's judgement.
    pub flags: CommandFlags,
    /// A number, not an enum: an unknown command is refused, it is not undecodable.
    pub command: Command,
    /// Returned with every reply.
    pub cookie: Cookie,
    /// Bytes from the start of the export.
    pub offset: u64,
    /// Bytes wanted (READ), following (WRITE) or concerned (all others).
    pub length: u32,
}

impl Request {
    /// Bytes on the wire.
    pub const SIZE: usize = 28;
    /// Begins every request.
    pub const MAGIC: u32 = 0x2560_9513;

    /// # Errors
    /// [`Malformed::Magic`]: the stream is out of step and nothing after it can be trusted.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        from.magic(Self::MAGIC)?;
        Ok(Self {
            flags: CommandFlags(from.u16()?),
            command: Command(from.u16()?),
            cookie: Cookie(from.u64()?),
            offset: from.u64()?,
            length: from.u32()?,
        })
    }

    /// # Errors
    /// As [`Request::decode`]; [`Malformed::Short`] and [`Malformed::Leftover`] for another number of bytes.
    pub fn decode_slice(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode(exactly(bytes)?)
    }

    /// The bytes, as they go out.
    #[must_use]
    pub fn encode(self) -> [u8; Self::SIZE] {
        Writer::new()
            .u32(Self::MAGIC)
            .u16(self.flags.0)
            .u16(self.command.0)
            .u64(self.cookie.0)
            .u64(self.offset)
            .u32(self.length)
            .end()
    }
}
