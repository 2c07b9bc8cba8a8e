//! The first bytes on a connection, from the server. Spec: "Newstyle negotiation".

use crate::bytes::{Reader, Writer, exactly};
use crate::{HandshakeFlags, Malformed};

/// What the server says first; the client answers with [`crate::ClientFlags`].
///
/// Shape: 18 bytes, big-endian: `NBDMAGIC` 8, `IHAVEOPT` 8, handshake flags 2.
/// Spec: "Newstyle negotiation".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// A client ignores those it does not know.
    pub flags: HandshakeFlags,
}

impl Greeting {
    /// Bytes on the wire.
    pub const SIZE: usize = 18;
    /// `NBDMAGIC`, with which every server begins, old or new.
    pub const MAGIC: u64 = 0x4e42_444d_4147_4943;
    /// `IHAVEOPT`: newstyle, and the magic of every option too.
    pub const OPTION_MAGIC: u64 = crate::OptionHeader::MAGIC;
    /// Stands in the place of `IHAVEOPT` in an oldstyle greeting, which nobody should speak any more: the
    /// [`Malformed::Magic`] of a greeting that found this number can be explained. Spec: "Oldstyle negotiation".
    pub const OLDSTYLE_MAGIC: u64 = 0x0000_4202_8186_1253;

    /// # Errors
    /// [`Malformed::Magic`] when the peer is no NBD server, or an oldstyle one.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        from.long_magic(Self::MAGIC)?;
        from.long_magic(Self::OPTION_MAGIC)?;
        Ok(Self { flags: HandshakeFlags(from.u16()?) })
    }

    /// # Errors
    /// As [`Greeting::decode`]; [`Malformed::Short`] and [`Malformed::Leftover`] for another number of bytes.
    pub fn decode_slice(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode(exactly(bytes)?)
    }

    /// The bytes, as they go out.
    #[must_use]
    pub fn encode(self) -> [u8; Self::SIZE] {
        Writer::new().u64(Self::MAGIC).u64(Self::OPTION_MAGIC).u16(self.flags.0).end()
    }
}
