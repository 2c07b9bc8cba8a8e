//! The simple reply, from the server. Spec: "Simple reply message".

use crate::bytes::{Reader, Writer, exactly};
use crate::{Cookie, ErrorNumber, Malformed};

/// One reply in one piece. After a READ without an error the data follows, as long as was asked for.
///
/// Shape: 16 bytes, big-endian: magic 4, error 4, cookie 8. Spec: "Simple reply message".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimpleReply {
    /// [`ErrorNumber::OK`], or what went wrong.
    pub error: ErrorNumber,
    /// The request's.
    pub cookie: Cookie,
}

impl SimpleReply {
    /// Bytes on the wire.
    pub const SIZE: usize = 16;
    /// Begins every simple reply, and tells it from a chunk.
    pub const MAGIC: u32 = 0x6744_6698;

    /// # Errors
    /// [`Malformed::Magic`]: the stream is out of step and nothing after it can be trusted.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        from.magic(Self::MAGIC)?;
        Ok(Self { error: ErrorNumber(from.u32()?), cookie: Cookie(from.u64()?) })
    }

    /// # Errors
    /// As [`SimpleReply::decode`]; [`Malformed::Short`] and [`Malformed::Leftover`] for another number of bytes.
    pub fn decode_slice(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode(exactly(bytes)?)
    }

    /// The bytes, as they go out.
    #[must_use]
    pub fn encode(self) -> [u8; Self::SIZE] {
        Writer::new().u32(Self::MAGIC).u32(self.error.0).u64(self.cookie.0).end()
    }
}
