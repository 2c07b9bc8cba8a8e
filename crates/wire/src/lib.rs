//! NBD values and their bytes, in the order of the specification.
//!
//! Every type here is a value with a shape: fields stand in wire order, numbers are big-endian, and decoding looks
//! at shape alone. Numbers that nobody has named yet survive it, so that whoever judges them can refuse them
//! politely. There are no sockets, no system error numbers and no choices about what to offer in this crate.
//!
//! | module | spec section |
//! |---|---|
//! | [`greeting`] | "Newstyle negotiation" |
//! | [`option`], [`export_name`], [`info`], [`meta`] | "Option types" |
//! | [`option_reply`] | "Option reply types" |
//! | [`flags`] | "Flag fields" of both phases |
//! | [`request`] | "Request message", "Request types" |
//! | [`reply`] | "Simple reply message" |
//! | [`chunk`], [`chunk_out`] | "Structured reply chunk message", "Structured reply types" |
//! | [`extended`] | extension `EXTENDED_HEADERS` |
//! | [`errors`] | "Error values" |
//!
//! `encode` gives the bytes of one value, `append_…` puts a complete message (header included) behind what is
//! already in a buffer, `decode` takes exactly the bytes of one value. Both sides of the conversation are there.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[macro_use]
mod numbers;

pub mod bytes;
pub mod chunk;
pub mod chunk_out;
pub mod errors;
pub mod export_name;
pub mod extended;
pub mod flags;
pub mod greeting;
pub mod info;
pub mod malformed;
pub mod meta;
pub mod option;
pub mod option_reply;
pub mod reply;
pub mod request;

pub use chunk::{Chunk, ChunkHeader, ChunkType, Descriptor};
pub use chunk_out::{
    append_block_status, append_chunk, append_chunk_none, append_error, append_error_offset,
    append_offset_hole, offset_data_header,
};
pub use errors::ErrorNumber;
pub use export_name::{ExportNameReply, append_export_name_reply, decode_export_name};
pub use extended::{
    BlockStatusPayload, DescriptorExt, ExtendedChunkHeader, ExtendedRequest, append_extended_chunk,
};
pub use flags::{ChunkFlags, ClientFlags, CommandFlags, HandshakeFlags, TransmissionFlags};
pub use greeting::Greeting;
pub use info::{Info, InfoRequest, InfoType};
pub use malformed::Malformed;
pub use meta::{Allocation, BASE_ALLOCATION, BASE_NAMESPACE, ContextId, MetaContext, MetaQuery};
pub use option::{OptionHeader, OptionKind, append_option};
pub use option_reply::{
    OptionReplyHeader, OptionReplyKind, ServerReply, append_info_reply, append_meta_context_reply,
    append_option_error, append_option_reply, append_server_reply,
};
pub use reply::SimpleReply;
pub use request::{Command, Cookie, Request};

/// The longest string the protocol allows, in bytes. Spec: the paragraph on strings before "Protocol phases".
pub const STRING_LEN_MAX: usize = 4096;

/// The longest export name in bytes: a name is a string, and no string is longer than [`STRING_LEN_MAX`].
pub const NAME_LEN_MAX: usize = STRING_LEN_MAX;
