//! Answers to options, from the server. Spec: "Fixed newstyle negotiation" and "Option reply types".

use alloc::vec::Vec;

use crate::bytes::{Append, Reader, Writer, exactly, length_u32, sendable};
use crate::{ContextId, Info, Malformed, MetaContext, OptionKind};

/// The bit that makes a reply an error.
const ERROR: u32 = 1 << 31;

numbers! {
    /// Which answer. Shape: 4 bytes, big-endian; errors have the highest bit. Spec: "Option reply types".
    OptionReplyKind(u32) {
        /// Done, nothing more to come.
        ACK = 1, "NBD_REP_ACK";
        /// One export of the list. Payload: [`ServerReply`].
        SERVER = 2, "NBD_REP_SERVER";
        /// One thing about an export. Payload: [`Info`].
        INFO = 3, "NBD_REP_INFO";
        /// One context. Payload: [`MetaContext`].
        META_CONTEXT = 4, "NBD_REP_META_CONTEXT";
        /// The server does not know this option.
        ERR_UNSUP = ERROR + 1, "NBD_REP_ERR_UNSUP";
        /// The server knows it and does not want it.
        ERR_POLICY = ERROR + 2, "NBD_REP_ERR_POLICY";
        /// The option is wrong, in shape or in its place.
        ERR_INVALID = ERROR + 3, "NBD_REP_ERR_INVALID";
        /// The server was built or runs without what it takes.
        ERR_PLATFORM = ERROR + 4, "NBD_REP_ERR_PLATFORM";
        /// First TLS, then this.
        ERR_TLS_REQD = ERROR + 5, "NBD_REP_ERR_TLS_REQD";
        /// No such export.
        ERR_UNKNOWN = ERROR + 6, "NBD_REP_ERR_UNKNOWN";
        /// The server is stopping.
        ERR_SHUTDOWN = ERROR + 7, "NBD_REP_ERR_SHUTDOWN";
        /// The client has to ask for BLOCK_SIZE, and so promise to keep to it.
        ERR_BLOCK_SIZE_REQD = ERROR + 8, "NBD_REP_ERR_BLOCK_SIZE_REQD";
        /// Option or answer are too large.
        ERR_TOO_BIG = ERROR + 9, "NBD_REP_ERR_TOO_BIG";
        /// First extended headers, then this (extension `EXTENDED_HEADERS`).
        ERR_EXT_HEADER_REQD = ERROR + 10, "NBD_REP_ERR_EXT_HEADER_REQD";
    }
}

impl OptionReplyKind {
    /// Whether this is a refusal, named or not. Its payload is a text for people.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 & ERROR != 0
    }
}

/// What stands before the payload of every answer to an option.
///
/// Shape: 20 bytes, big-endian: magic 8, option 4, reply 4, length 4; then `length` bytes of payload.
/// Spec: "Fixed newstyle negotiation".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionReplyHeader {
    /// The option this answers, as the client sent it.
    pub option: OptionKind,
    /// A number, not an enum: an error without a name is still an error.
    pub reply: OptionReplyKind,
    /// Bytes of payload that follow.
    pub length: u32,
}

impl OptionReplyHeader {
    /// Bytes on the wire.
    pub const SIZE: usize = 20;
    /// Begins every answer.
    pub const MAGIC: u64 = 0x0003_e889_0455_65a9;

    /// # Errors
    /// [`Malformed::Magic`]: the stream is out of step and nothing after it can be trusted.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        from.long_magic(Self::MAGIC)?;
        Ok(Self { option: OptionKind(from.u32()?), reply: OptionReplyKind(from.u32()?), length: from.u32()? })
    }

    /// # Errors
    /// As [`OptionReplyHeader::decode`]; [`Malformed::Short`] and [`Malformed::Leftover`] for another number of
    /// bytes.
    pub fn decode_slice(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode(exactly(bytes)?)
    }

    /// The bytes, as they go out.
    #[must_use]
    pub fn encode(self) -> [u8; Self::SIZE] {
        Writer::new().u64(Self::MAGIC).u32(self.option.0).u32(self.reply.0).u32(self.length).end()
    }
}

/// The payload of one SERVER reply: an export of the list.
///
/// Shape: big-endian: name length 4, name; all the rest is a description. Spec: `NBD_REP_SERVER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerReply<'a> {
    /// The name by which the export can be taken.
    pub name: &'a [u8],
    /// A text for people, or no bytes.
    pub description: &'a [u8],
}

impl<'a> ServerReply<'a> {
    /// # Errors
    /// [`Malformed::Short`], or [`Malformed::TooLong`] for the name or the description.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(payload);
        let length = from.u32()?;
        Ok(Self { name: from.string(length)?, description: from.string_to_end()? })
    }

    /// The payload, without the reply's header.
    ///
    /// # Panics
    /// When the name is longer than 4 GiB.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + self.name.len() + self.description.len());
        out.u32(length_u32(self.name.len()));
        out.extend_from_slice(self.name);
        out.extend_from_slice(self.description);
        out
    }
}

/// Appends a whole answer: header and payload. Spec: "Fixed newstyle negotiation".
///
/// # Panics
/// When the payload is longer than 4 GiB.
pub fn append_option_reply(out: &mut Vec<u8>, option: OptionKind, reply: OptionReplyKind, payload: &[u8]) {
    let header = OptionReplyHeader { option, reply, length: length_u32(payload.len()) };
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(payload);
}

/// Appends a whole refusal with a sentence for people, cut to a valid string. Spec: "Option reply types".
pub fn append_option_error(out: &mut Vec<u8>, option: OptionKind, reply: OptionReplyKind, text: &str) {
    debug_assert!(reply.is_error(), "{reply} is no refusal");
    append_option_reply(out, option, reply, sendable(text).as_bytes());
}

/// Appends one export of the answer to LIST: header, name, description. Spec: `NBD_REP_SERVER`.
pub fn append_server_reply(out: &mut Vec<u8>, name: &[u8], description: &[u8]) {
    let payload = ServerReply { name, description }.encode();
    append_option_reply(out, OptionKind::LIST, OptionReplyKind::SERVER, &payload);
}

/// Appends one item of the answer to INFO or GO: header and item. Spec: `NBD_REP_INFO`.
pub fn append_info_reply(out: &mut Vec<u8>, option: OptionKind, info: &Info<'_>) {
    append_option_reply(out, option, OptionReplyKind::INFO, &info.encode());
}

/// Appends one context of the answer to LIST_META_CONTEXT (where the id is zero) or SET_META_CONTEXT.
/// Spec: `NBD_REP_META_CONTEXT`.
pub fn append_meta_context_reply(out: &mut Vec<u8>, option: OptionKind, id: ContextId, name: &[u8]) {
    append_option_reply(out, option, OptionReplyKind::META_CONTEXT, &MetaContext { id, name }.encode());
}
