//! Headers of 32 bytes with lengths of 64 bits. Spec: extension `EXTENDED_HEADERS` (branch `extension-ext-header`).

use alloc::vec::Vec;

use crate::bytes::{Append, Reader, Writer, exactly};
use crate::{Chunk, ChunkFlags, ChunkType, Command, CommandFlags, ContextId, Cookie, Malformed};

/// One extended request header. With the flag PAYLOAD_LEN a payload of `length` bytes follows.
///
/// Shape: 32 bytes, big-endian: magic 4, flags 2, command 2, cookie 8, offset 8, length 8.
/// Spec: extension `EXTENDED_HEADERS`, "Request message".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedRequest {
    /// Which of them go with which command is the server's judgement.
    pub flags: CommandFlags,
    /// A number, not an enum: an unknown command is refused, it is not undecodable.
    pub command: Command,
    /// Returned with every reply.
    pub cookie: Cookie,
    /// Bytes from the start of the export.
    pub offset: u64,
    /// Bytes following (with PAYLOAD_LEN) or concerned (without).
    pub length: u64,
}

impl ExtendedRequest {
    /// Bytes on the wire.
    pub const SIZE: usize = 32;
    /// Begins every extended request.
    pub const MAGIC: u32 = 0x21e4_1c71;

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
            length: from.u64()?,
        })
    }

    /// # Errors
    /// As [`ExtendedRequest::decode`]; [`Malformed::Short`] and [`Malformed::Leftover`] for another number of
    /// bytes.
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
            .u64(self.length)
            .end()
    }
}

/// What stands before the payload of every chunk once extended headers are agreed; there are no simple replies then.
///
/// Shape: 32 bytes, big-endian: magic 4, flags 2, type 2, cookie 8, offset 8, length 8.
/// Spec: extension `EXTENDED_HEADERS`, "Extended reply chunk message".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedChunkHeader {
    /// A client ignores those it does not know.
    pub flags: ChunkFlags,
    /// How to read the payload: [`Chunk::decode`].
    pub kind: ChunkType,
    /// The request's.
    pub cookie: Cookie,
    /// The request's, whatever offset the payload itself names.
    pub offset: u64,
    /// Bytes of payload that follow.
    pub length: u64,
}

impl ExtendedChunkHeader {
    /// Bytes on the wire.
    pub const SIZE: usize = 32;
    /// Begins every extended chunk.
    pub const MAGIC: u32 = 0x6e8a_278c;

    /// # Errors
    /// [`Malformed::Magic`]: the stream is out of step and nothing after it can be trusted.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        from.magic(Self::MAGIC)?;
        Ok(Self {
            flags: ChunkFlags(from.u16()?),
            kind: ChunkType(from.u16()?),
            cookie: Cookie(from.u64()?),
            offset: from.u64()?,
            length: from.u64()?,
        })
    }

    /// # Errors
    /// As [`ExtendedChunkHeader::decode`]; [`Malformed::Short`] and [`Malformed::Leftover`] for another number of
    /// bytes.
    pub fn decode_slice(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode(exactly(bytes)?)
    }

    /// The bytes, as they go out.
    #[must_use]
    pub fn encode(self) -> [u8; Self::SIZE] {
        Writer::new()
            .u32(Self::MAGIC)
            .u16(self.flags.0)
            .u16(self.kind.0)
            .u64(self.cookie.0)
            .u64(self.offset)
            .u64(self.length)
            .end()
    }
}

/// A run of bytes with one status. Shape: 16 bytes, big-endian: length 8, status 8.
/// Spec: extension `EXTENDED_HEADERS`, `NBD_REPLY_TYPE_BLOCK_STATUS_EXT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorExt {
    /// Bytes in the run, never zero. The first run begins at the request's offset, each other behind its predecessor.
    pub len: u64,
    /// What the context defines; for `base:allocation` the low half is [`crate::Allocation`], the high half zero.
    pub status: u64,
}

/// The payload of a BLOCK_STATUS request that names the contexts it asks about.
///
/// Shape: big-endian: effect length 8, then context ids of 4 to the end.
/// Spec: extension `EXTENDED_HEADERS`, `NBD_CMD_BLOCK_STATUS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockStatusPayload {
    /// Bytes concerned, since the header's length counts this payload.
    pub length: u64,
    /// In the order sent. Repeated and unknown ones are refused by the server, not undecodable.
    pub contexts: Vec<ContextId>,
}

impl BlockStatusPayload {
    /// # Errors
    /// [`Malformed::Short`] when the bytes end within a number.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(payload);
        let length = from.u64()?;
        let mut contexts = Vec::with_capacity(from.left() / 4);
        while from.left() > 0 {
            contexts.push(ContextId(from.u32()?));
        }
        Ok(Self { length, contexts })
    }

    /// The payload, without the request's header.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + 4 * self.contexts.len());
        out.u64(self.length);
        for context in &self.contexts {
            out.u32(context.0);
        }
        out
    }
}

/// Appends a whole chunk with an extended header. `offset` is the request's.
/// Spec: extension `EXTENDED_HEADERS`, "Extended reply chunk message".
///
/// # Panics
/// When a text is longer than 65,535 bytes.
pub fn append_extended_chunk(out: &mut Vec<u8>, cookie: Cookie, done: bool, offset: u64, chunk: &Chunk<'_>) {
    let length = chunk.payload_len() as u64;
    let header =
        ExtendedChunkHeader { flags: ChunkFlags::done(done), kind: chunk.kind(), cookie, offset, length };
    out.extend_from_slice(&header.encode());
    chunk.append_payload(out);
}
