//! Metadata contexts: what is known about a run of bytes besides its content. Spec: "Metadata querying".

use alloc::vec::Vec;

use crate::Malformed;
use crate::bytes::{Append, Reader, length_u32};

/// The one context that the specification itself defines; its status bits are [`Allocation`].
pub const BASE_ALLOCATION: &str = "base:allocation";

/// The namespace of [`BASE_ALLOCATION`] with its colon: as a query it lists all of it and selects nothing.
pub const BASE_NAMESPACE: &str = "base:";

/// A context's number on one connection, chosen by the server. Shape: 4 bytes, big-endian.
/// Spec: `NBD_REP_META_CONTEXT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextId(pub u32);

flags! {
    /// The status of an extent in the context `base:allocation`. Shape: 4 bytes, big-endian (the low half of 8 in
    /// an extended descriptor). A client ignores other bits. Spec: "`base:allocation` metadata context".
    Allocation(u32) {
        /// Nothing is allocated there; a write may run out of space.
        HOLE = 1 << 0, "NBD_STATE_HOLE";
        /// It reads as zeroes.
        ZERO = 1 << 1, "NBD_STATE_ZERO";
    }
}

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT.
///
/// Shape: big-endian: name length 4, name, number of queries 4, then each: length 4, query.
/// Spec: `NBD_OPT_LIST_META_CONTEXT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaQuery<'a> {
    /// The export's name as it came.
    pub name: &'a [u8],
    /// In the order sent, as they came. What they mean is up to their namespace.
    pub queries: Vec<&'a [u8]>,
}

impl<'a> MetaQuery<'a> {
    /// # Errors
    /// [`Malformed::Short`], [`Malformed::Leftover`], or [`Malformed::TooLong`] for the name or a query.
    pub fn decode(data: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(data);
        let length = from.u32()?;
        let name = from.string(length)?;
        let count = from.u32()?;
        // The count alone reserves nothing: a query takes four bytes at least, so the data bounds the list.
        let mut queries = Vec::new();
        for _ in 0..count {
            let length = from.u32()?;
            queries.push(from.string(length)?);
        }
        from.end()?;
        Ok(Self { name, queries })
    }

    /// The data, without the option's header.
    ///
    /// # Panics
    /// When a part is longer than 4 GiB.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.u32(length_u32(self.name.len()));
        out.extend_from_slice(self.name);
        out.u32(length_u32(self.queries.len()));
        for query in &self.queries {
            out.u32(length_u32(query.len()));
            out.extend_from_slice(query);
        }
        out
    }
}

/// The payload of one META_CONTEXT reply.
///
/// Shape: big-endian: context id 4, then all the rest is the name. Spec: `NBD_REP_META_CONTEXT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaContext<'a> {
    /// Zero, and meaningless, in the answer to LIST_META_CONTEXT.
    pub id: ContextId,
    /// The context's full name, with its namespace.
    pub name: &'a [u8],
}

impl<'a> MetaContext<'a> {
    /// # Errors
    /// [`Malformed::Short`], or [`Malformed::TooLong`] for the name.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(payload);
        Ok(Self { id: ContextId(from.u32()?), name: from.string_to_end()? })
    }

    /// The payload, without the reply's header.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + self.name.len());
        out.u32(self.id.0);
        out.extend_from_slice(self.name);
        out
    }
}
