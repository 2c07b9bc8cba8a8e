//! Options, from the client. Spec: "Option types".

use alloc::vec::Vec;

use crate::Malformed;
use crate::bytes::{Reader, Writer, exactly, length_u32};

numbers! {
    /// Which option. Shape: 4 bytes, big-endian. Spec: "Option types".
    OptionKind(u32) {
        /// Takes an export and ends the haggling, with no way to say no. Data: [`crate::decode_export_name`].
        EXPORT_NAME = 1, "NBD_OPT_EXPORT_NAME";
        /// The client leaves. Whatever data comes with it is ignored.
        ABORT = 2, "NBD_OPT_ABORT";
        /// Names of the exports. No data.
        LIST = 3, "NBD_OPT_LIST";
        /// Withdrawn.
        PEEK_EXPORT = 4, "NBD_OPT_PEEK_EXPORT";
        /// Goes on inside TLS. No data.
        STARTTLS = 5, "NBD_OPT_STARTTLS";
        /// Asks about an export. Data: [`crate::InfoRequest`].
        INFO = 6, "NBD_OPT_INFO";
        /// Asks about an export and takes it. Data: [`crate::InfoRequest`].
        GO = 7, "NBD_OPT_GO";
        /// Replies come in chunks from now on. No data.
        STRUCTURED_REPLY = 8, "NBD_OPT_STRUCTURED_REPLY";
        /// Asks which contexts there are. Data: [`crate::MetaQuery`].
        LIST_META_CONTEXT = 9, "NBD_OPT_LIST_META_CONTEXT";
        /// Chooses contexts, in place of all chosen before. Data: [`crate::MetaQuery`].
        SET_META_CONTEXT = 10, "NBD_OPT_SET_META_CONTEXT";
        /// Headers of 32 bytes from now on (extension `EXTENDED_HEADERS`). No data.
        EXTENDED_HEADERS = 11, "NBD_OPT_EXTENDED_HEADERS";
    }
}

/// What stands before the data of every option.
///
/// Shape: 16 bytes, big-endian: `IHAVEOPT` 8, option 4, length 4; then `length` bytes of data.
/// Spec: "Newstyle negotiation".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionHeader {
    /// A number, not an enum: what is unknown is answered, not undecodable.
    pub kind: OptionKind,
    /// Bytes of data that follow. Whether that is too much is the server's judgement.
    pub length: u32,
}

impl OptionHeader {
    /// Bytes on the wire.
    pub const SIZE: usize = 16;
    /// `IHAVEOPT`.
    pub const MAGIC: u64 = 0x4948_4156_454f_5054;

    /// # Errors
    /// [`Malformed::Magic`]: the stream is out of step and nothing after it can be trusted.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        from.long_magic(Self::MAGIC)?;
        Ok(Self { kind: OptionKind(from.u32()?), length: from.u32()? })
    }

    /// # Errors
    /// As [`OptionHeader::decode`]; [`Malformed::Short`] and [`Malformed::Leftover`] for another number of bytes.
    pub fn decode_slice(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode(exactly(bytes)?)
    }

    /// The bytes, as they go out.
    #[must_use]
    pub fn encode(self) -> [u8; Self::SIZE] {
        Writer::new().u64(Self::MAGIC).u32(self.kind.0).u32(self.length).end()
    }
}

/// Appends a whole option: header and data. Spec: "Newstyle negotiation".
///
/// # Panics
/// When the data is longer than 4 GiB.
pub fn append_option(out: &mut Vec<u8>, kind: OptionKind, data: &[u8]) {
    let header = OptionHeader { kind, length: length_u32(data.len()) };
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(data);
}
