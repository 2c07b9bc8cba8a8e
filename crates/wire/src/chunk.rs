//! Structured replies: chunks, from the server. Spec: "Structured reply chunk message", "Structured reply types".

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::bytes::{Append, Reader, Writer, exactly, length_u32};
use crate::{ChunkFlags, ContextId, Cookie, DescriptorExt, ErrorNumber, Malformed};

/// The bit that makes a chunk an error.
const ERROR: u16 = 1 << 15;

numbers! {
    /// What a chunk holds. Shape: 2 bytes, big-endian; errors have the highest bit. Spec: "Structured reply types".
    ChunkType(u16) {
        /// Nothing; only as the last chunk.
        NONE = 0, "NBD_REPLY_TYPE_NONE";
        /// Bytes of the export.
        OFFSET_DATA = 1, "NBD_REPLY_TYPE_OFFSET_DATA";
        /// A run of zeroes, not spelt out.
        OFFSET_HOLE = 2, "NBD_REPLY_TYPE_OFFSET_HOLE";
        /// Extents and their status in one context.
        BLOCK_STATUS = 5, "NBD_REPLY_TYPE_BLOCK_STATUS";
        /// The same in 64 bits (extension `EXTENDED_HEADERS`).
        BLOCK_STATUS_EXT = 6, "NBD_REPLY_TYPE_BLOCK_STATUS_EXT";
        /// The request failed.
        ERROR = ERROR + 1, "NBD_REPLY_TYPE_ERROR";
        /// The request failed at an offset.
        ERROR_OFFSET = ERROR + 2, "NBD_REPLY_TYPE_ERROR_OFFSET";
    }
}

impl ChunkType {
    /// Whether this says that the request failed, named or not.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 & ERROR != 0
    }
}

/// What stands before the payload of every chunk.
///
/// Shape: 20 bytes, big-endian: magic 4, flags 2, type 2, cookie 8, length 4; then `length` bytes of payload.
/// Spec: "Structured reply chunk message".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// A client ignores those it does not know.
    pub flags: ChunkFlags,
    /// How to read the payload: [`Chunk::decode`].
    pub kind: ChunkType,
    /// The request's.
    pub cookie: Cookie,
    /// Bytes of payload that follow.
    pub length: u32,
}

impl ChunkHeader {
    /// Bytes on the wire.
    pub const SIZE: usize = 20;
    /// Begins every chunk, and tells it from a simple reply.
    pub const MAGIC: u32 = 0x668e_33ef;

    /// # Errors
    /// [`Malformed::Magic`]: the stream is out of step and nothing after it can be trusted.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        from.magic(Self::MAGIC)?;
        Ok(Self {
            flags: ChunkFlags(from.u16()?),
            kind: ChunkType(from.u16()?),
            cookie: Cookie(from.u64()?),
            length: from.u32()?,
        })
    }

    /// # Errors
    /// As [`ChunkHeader::decode`]; [`Malformed::Short`] and [`Malformed::Leftover`] for another number of bytes.
    pub fn decode_slice(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode(exactly(bytes)?)
    }

    /// The bytes, as they go out.
    #[must_use]
    pub fn encode(self) -> [u8; Self::SIZE] {
        self.write(Writer::new()).end()
    }

    pub(crate) fn write<const N: usize>(self, to: Writer<N>) -> Writer<N> {
        to.u32(Self::MAGIC).u16(self.flags.0).u16(self.kind.0).u64(self.cookie.0).u32(self.length)
    }
}

/// A run of bytes with one status. Shape: 8 bytes, big-endian: length 4, status 4.
/// Spec: `NBD_REPLY_TYPE_BLOCK_STATUS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Bytes in the run, never zero. The first run begins at the request's offset, each other behind its predecessor.
    pub len: u32,
    /// What the context defines; for `base:allocation` it is [`crate::Allocation`].
    pub status: u32,
}

/// The payload of one chunk.
///
/// Shape: big-endian, as each variant says. Spec: "Structured reply types".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// No bytes.
    None,
    /// Offset 8, then the data: one byte at least.
    OffsetData {
        /// Bytes from the start of the export.
        offset: u64,
        /// What stands there.
        data: &'a [u8],
    },
    /// Offset 8, length 4.
    OffsetHole {
        /// Bytes from the start of the export.
        offset: u64,
        /// How many zeroes stand there; never zero.
        len: u32,
    },
    /// Context id 4, then 8 for each descriptor: one at least.
    BlockStatus {
        /// Which context this is about.
        context: ContextId,
        /// Consecutive runs from the request's offset on.
        descriptors: Cow<'a, [Descriptor]>,
    },
    /// Context id 4, number of descriptors 4, then 16 for each: one at least.
    BlockStatusExt {
        /// Which context this is about.
        context: ContextId,
        /// Consecutive runs from the request's offset on.
        descriptors: Cow<'a, [DescriptorExt]>,
    },
    /// Error 4, text length 2, text.
    Error {
        /// Never zero.
        error: ErrorNumber,
        /// A sentence for people, or no bytes.
        text: &'a [u8],
    },
    /// Error 4, text length 2, text, offset 8.
    ErrorOffset {
        /// Never zero.
        error: ErrorNumber,
        /// A sentence for people, or no bytes.
        text: &'a [u8],
        /// Where it failed, in bytes from the start of the export.
        offset: u64,
    },
    /// An error type without a name: error 4, text length 2, text, and whatever its author put behind it.
    UnknownError {
        /// The type, with the highest bit.
        kind: ChunkType,
        /// Never zero.
        error: ErrorNumber,
        /// A sentence for people, or no bytes.
        text: &'a [u8],
        /// Everything behind the text.
        rest: &'a [u8],
    },
    /// A type without a name, which ends the session of a client that did not negotiate it.
    Unknown {
        /// The type.
        kind: ChunkType,
        /// All of the payload.
        payload: &'a [u8],
    },
}

impl<'a> Chunk<'a> {
    /// Decodes a payload of the header's `length` bytes.
    ///
    /// # Errors
    /// [`Malformed::Short`], [`Malformed::Leftover`], [`Malformed::TooLong`] for a text, [`Malformed::Zero`] where
    /// the specification demands another number.
    pub fn decode(kind: ChunkType, payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(payload);
        let chunk = match kind {
            ChunkType::NONE => Self::None,
            ChunkType::OFFSET_DATA => return offset_data(from),
            ChunkType::OFFSET_HOLE => {
                Self::OffsetHole { offset: from.u64()?, len: nonzero("hole size", from.u32()?)? }
            }
            ChunkType::BLOCK_STATUS => return block_status(from),
            ChunkType::BLOCK_STATUS_EXT => return block_status_ext(from),
            ChunkType::ERROR => {
                let (error, text) = error_and_text(&mut from)?;
                Self::Error { error, text }
            }
            ChunkType::ERROR_OFFSET => {
                let (error, text) = error_and_text(&mut from)?;
                Self::ErrorOffset { error, text, offset: from.u64()? }
            }
            kind if kind.is_error() => {
                let (error, text) = error_and_text(&mut from)?;
                return Ok(Self::UnknownError { kind, error, text, rest: from.rest() });
            }
            kind => return Ok(Self::Unknown { kind, payload }),
        };
        from.end()?;
        Ok(chunk)
    }

    /// The number that says which variant this is.
    #[must_use]
    pub const fn kind(&self) -> ChunkType {
        match self {
            Self::None => ChunkType::NONE,
            Self::OffsetData { .. } => ChunkType::OFFSET_DATA,
            Self::OffsetHole { .. } => ChunkType::OFFSET_HOLE,
            Self::BlockStatus { .. } => ChunkType::BLOCK_STATUS,
            Self::BlockStatusExt { .. } => ChunkType::BLOCK_STATUS_EXT,
            Self::Error { .. } => ChunkType::ERROR,
            Self::ErrorOffset { .. } => ChunkType::ERROR_OFFSET,
            Self::UnknownError { kind, .. } | Self::Unknown { kind, .. } => *kind,
        }
    }

    /// Bytes that [`Chunk::append_payload`] will append.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::OffsetData { data, .. } => 8 + data.len(),
            Self::OffsetHole { .. } => 12,
            Self::BlockStatus { descriptors, .. } => 4 + 8 * descriptors.len(),
            Self::BlockStatusExt { descriptors, .. } => 8 + 16 * descriptors.len(),
            Self::Error { text, .. } => 6 + text.len(),
            Self::ErrorOffset { text, .. } => 14 + text.len(),
            Self::UnknownError { text, rest, .. } => 6 + text.len() + rest.len(),
            Self::Unknown { payload, .. } => payload.len(),
        }
    }

    /// Appends the payload alone, for a header of either size.
    ///
    /// # Panics
    /// When a text is longer than 65,535 bytes.
    pub fn append_payload(&self, out: &mut Vec<u8>) {
        match *self {
            Self::None => {}
            Self::OffsetData { offset, data } => {
                out.u64(offset);
                out.extend_from_slice(data);
            }
            Self::OffsetHole { offset, len } => {
                out.u64(offset);
                out.u32(len);
            }
            Self::BlockStatus { context, ref descriptors } => {
                out.u32(context.0);
                for descriptor in descriptors.iter() {
                    out.u32(descriptor.len);
                    out.u32(descriptor.status);
                }
            }
            Self::BlockStatusExt { context, ref descriptors } => {
                out.u32(context.0);
                out.u32(length_u32(descriptors.len()));
                for descriptor in descriptors.iter() {
                    out.u64(descriptor.len);
                    out.u64(descriptor.status);
                }
            }
            Self::Error { error, text } => put_error(out, error, text),
            Self::ErrorOffset { error, text, offset } => {
                put_error(out, error, text);
                out.u64(offset);
            }
            Self::UnknownError { error, text, rest, .. } => {
                put_error(out, error, text);
                out.extend_from_slice(rest);
            }
            Self::Unknown { payload, .. } => out.extend_from_slice(payload),
        }
    }
}

fn offset_data(mut from: Reader<'_>) -> Result<Chunk<'_>, Malformed> {
    let offset = from.u64()?;
    match from.rest() {
        [] => Err(Malformed::Short { wanted: 1, left: 0 }),
        data => Ok(Chunk::OffsetData { offset, data }),
    }
}

fn block_status(mut from: Reader<'_>) -> Result<Chunk<'_>, Malformed> {
    let context = ContextId(from.u32()?);
    let mut descriptors = Vec::with_capacity(from.left() / 8);
    loop {
        let len = nonzero("length of an extent", from.u32()?)?;
        descriptors.push(Descriptor { len, status: from.u32()? });
        if from.left() == 0 {
            return Ok(Chunk::BlockStatus { context, descriptors: descriptors.into() });
        }
    }
}

fn block_status_ext(mut from: Reader<'_>) -> Result<Chunk<'_>, Malformed> {
    let context = ContextId(from.u32()?);
    // An earlier draft let a server write 0 here and go by the length alone, and qemu does so to this day.
    let count = match from.u32()? {
        0 => nonzero("descriptor count", u32::try_from(from.left() / 16).unwrap_or(u32::MAX))?,
        count => count,
    };
    let mut list = from.part(16 * u64::from(count))?;
    from.end()?;
    let mut descriptors = Vec::with_capacity(list.left() / 16);
    while list.left() > 0 {
        let len = list.u64()?;
        if len == 0 {
            return Err(Malformed::Zero { field: "length of an extent" });
        }
        descriptors.push(DescriptorExt { len, status: list.u64()? });
    }
    Ok(Chunk::BlockStatusExt { context, descriptors: descriptors.into() })
}

fn error_and_text<'a>(from: &mut Reader<'a>) -> Result<(ErrorNumber, &'a [u8]), Malformed> {
    let error = ErrorNumber(nonzero("error", from.u32()?)?);
    let length = from.u16()?;
    Ok((error, from.string(length)?))
}

const fn nonzero(field: &'static str, value: u32) -> Result<u32, Malformed> {
    if value == 0 { Err(Malformed::Zero { field }) } else { Ok(value) }
}

fn put_error(out: &mut Vec<u8>, error: ErrorNumber, text: &[u8]) {
    out.u32(error.0);
    out.u16(u16::try_from(text.len()).expect("a text is cut to the limit of a string before it is encoded"));
    out.extend_from_slice(text);
}
