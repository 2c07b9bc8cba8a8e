//! Whole chunks for the server's side, header included. Spec: "Structured reply types".

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::bytes::{Writer, length_u32, sendable};
use crate::{Chunk, ChunkFlags, ChunkHeader, ChunkType, ContextId, Cookie, Descriptor, ErrorNumber};

/// Appends a whole chunk: header and payload. Spec: "Structured reply chunk message".
///
/// # Panics
/// When the payload is longer than 4 GiB, or a text longer than 65,535 bytes.
pub fn append_chunk(out: &mut Vec<u8>, cookie: Cookie, done: bool, chunk: &Chunk<'_>) {
    let length = length_u32(chunk.payload_len());
    let header = ChunkHeader { flags: ChunkFlags::done(done), kind: chunk.kind(), cookie, length };
    out.extend_from_slice(&header.encode());
    chunk.append_payload(out);
}

/// Appends a chunk with no payload. It is always the last one, so `done` is true unless a test wants it wrong.
/// Spec: `NBD_REPLY_TYPE_NONE`.
pub fn append_chunk_none(out: &mut Vec<u8>, cookie: Cookie, done: bool) {
    append_chunk(out, cookie, done, &Chunk::None);
}

/// What stands before `data_len` bytes of the export, so that the data itself need not be copied.
///
/// Shape: 28 bytes: a [`ChunkHeader`], then the offset 8. Spec: `NBD_REPLY_TYPE_OFFSET_DATA`.
///
/// # Panics
/// When `data_len` is above 2^32 - 9 bytes: offset and data have to fit a length of 32 bits.
#[must_use]
pub fn offset_data_header(cookie: Cookie, done: bool, offset: u64, data_len: u32) -> [u8; 28] {
    let length = data_len.checked_add(8).expect("a read that long is split before it is encoded");
    let header = ChunkHeader { flags: ChunkFlags::done(done), kind: ChunkType::OFFSET_DATA, cookie, length };
    header.write(Writer::new()).u64(offset).end()
}

/// Appends a run of `len` zeroes that is not spelt out. Spec: `NBD_REPLY_TYPE_OFFSET_HOLE`.
pub fn append_offset_hole(out: &mut Vec<u8>, cookie: Cookie, done: bool, offset: u64, len: u32) {
    append_chunk(out, cookie, done, &Chunk::OffsetHole { offset, len });
}

/// Appends the status of consecutive extents in one context. Spec: `NBD_REPLY_TYPE_BLOCK_STATUS`.
pub fn append_block_status(
    out: &mut Vec<u8>,
    cookie: Cookie,
    done: bool,
    context: ContextId,
    descriptors: &[Descriptor],
) {
    let descriptors = Cow::Borrowed(descriptors);
    append_chunk(out, cookie, done, &Chunk::BlockStatus { context, descriptors });
}

/// Appends a failure with a sentence for people, cut to a valid string. Spec: `NBD_REPLY_TYPE_ERROR`.
pub fn append_error(out: &mut Vec<u8>, cookie: Cookie, done: bool, error: ErrorNumber, text: &str) {
    debug_assert_ne!(error, ErrorNumber::OK, "an error chunk says that something went wrong");
    append_chunk(out, cookie, done, &Chunk::Error { error, text: sendable(text).as_bytes() });
}

/// Appends a failure at an offset (in bytes from the start of the export). Spec: `NBD_REPLY_TYPE_ERROR_OFFSET`.
pub fn append_error_offset(
    out: &mut Vec<u8>,
    cookie: Cookie,
    done: bool,
    error: ErrorNumber,
    text: &str,
    offset: u64,
) {
    debug_assert_ne!(error, ErrorNumber::OK, "an error chunk says that something went wrong");
    append_chunk(out, cookie, done, &Chunk::ErrorOffset { error, text: sendable(text).as_bytes(), offset });
}
