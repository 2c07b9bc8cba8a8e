//! An admitted operation against the store, and its outcome as bytes. The same code serves the session's thread and
//! the workers.

use crate::admit::Kind;
use crate::buffer::Buffer;
use crate::export::Export;
use crate::haggling::ALLOCATION_ID;
use crate::refusal::Refusal;
use store::{Cause, Durability, Extent, Store, StoreError, Verb, ZeroHow};
use wire::{Cookie, Descriptor, ErrorNumber, SimpleReply};

/// How replies of one session look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) structured: bool,
    pub(crate) extents_max: usize,
}

/// From this length on a structured READ looks for holes first: two system calls more against a copy saved.
const HOLE_LOOKUP_MIN: u32 = 64 << 10;
/// A READ with more extents than this is cheaper as plain data.
const HOLE_EXTENTS_MAX: usize = 32;
/// Zeros made between two looks at the gate.
const ZERO_PIECE: u64 = 64 << 20;
/// Status bits of `base:allocation`.
const STATUS_HOLE: u32 = 1;
const STATUS_ZERO: u32 = 2;

impl Style {
    /// Success without data.
    pub(crate) fn done(self, cookie: Cookie, out: &mut Buffer) {
        if self.structured {
            append(out, |bytes| wire::append_chunk_none(bytes, cookie, true));
        } else {
            out.extend(&SimpleReply { error: ErrorNumber::OK, cookie }.encode());
        }
    }

    /// An error, with its sentence where there is room for one.
    pub(crate) fn refused(self, cookie: Cookie, refusal: &Refusal, out: &mut Buffer) {
        if self.structured {
            let text = refusal.to_string();
            append(out, |bytes| wire::append_error(bytes, cookie, true, refusal.number(), &text));
        } else {
            out.extend(&SimpleReply { error: refusal.number(), cookie }.encode());
        }
    }
}

fn append(out: &mut Buffer, write: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    write(&mut bytes);
    out.extend(&bytes);
}

/// How a read may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Only what is at hand.
    None,
    /// Waiting is allowed.
    Any,
}

/// Carries out anything but WRITE and DISC, and appends the reply. `None`: would block (only with
/// [`Patience::None`]); nothing was appended then.
pub(crate) fn perform(
    export: &Export,
    kind: Kind,
    cookie: Cookie,
    style: Style,
    patience: Patience,
    out: &mut Buffer,
) -> Option<Result<(), StoreError>> {
    let start = out.len();
    let store = &*export.store;
    let result = match kind {
        Kind::Read { offset, len, whole } => {
            let read = Read { store, offset, len, whole, patience };
            match read.append(cookie, style, out) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    out.truncate(start);
                    return None;
                }
                Err(error) => Err(error),
            }
        }
        Kind::Map { offset, len, one } => {
            let extents_max = if one { 1 } else { style.extents_max };
            store.map(offset, len, extents_max).map(|extents| {
                let descriptors = descriptors(&extents, len, one);
                append(out, |bytes| {
                    wire::append_block_status(bytes, cookie, true, ALLOCATION_ID, &descriptors);
                });
            })
        }
        Kind::Zero { offset, len, how, durability } => zero(export, offset, len, how, durability),
        Kind::Trim { offset, len, durability } => store.trim(offset, len, durability),
        Kind::Cache { offset, len } => store.cache(offset, len),
        Kind::Flush => store.flush(),
        Kind::Write { .. } | Kind::Disconnect => unreachable!("handled by the session's thread"),
    };
    finish(result, start, cookie, style, out)
}

/// In pieces, with a look at the gate between them: where zeros have to be written four gigabytes take long, and a fence
/// must not wait for all of them.
fn zero(
    export: &Export,
    offset: u64,
    len: u64,
    how: ZeroHow,
    durability: Durability,
) -> Result<(), StoreError> {
    let (mut at, mut left) = (offset, len);
    while left > ZERO_PIECE {
        export.store.zero(at, ZERO_PIECE, how, Durability::Cached)?;
        at += ZERO_PIECE;
        left -= ZERO_PIECE;
        if export.seats.gate.is_revoked() {
            let cause = Cause::Other("the export was removed or moved to another disk meanwhile".into());
            return Err(StoreError { verb: Verb::Zero, offset: at, len: left, cause });
        }
    }
    export.store.zero(at, left, how, durability)
}

/// Carries out a WRITE whose payload has arrived, and appends the reply.
pub(crate) fn perform_write(
    export: &Export,
    offset: u64,
    payload: &[u8],
    durability: Durability,
    cookie: Cookie,
    style: Style,
    out: &mut Buffer,
) -> Result<(), StoreError> {
    let result = export.store.write_at(payload, offset, durability);
    finish(result, out.len(), cookie, style, out).unwrap_or(Ok(()))
}

fn finish(
    result: Result<(), StoreError>,
    start: usize,
    cookie: Cookie,
    style: Style,
    out: &mut Buffer,
) -> Option<Result<(), StoreError>> {
    match &result {
        Ok(()) if out.len() == start => style.done(cookie, out),
        Ok(()) => {}
        Err(error) => {
            out.truncate(start);
            style.refused(cookie, &Refusal::Store(error.clone()), out);
        }
    }
    Some(result)
}

/// Extents as descriptors, cut to `len` and equal neighbours joined. Spec: "NBD_REPLY_TYPE_BLOCK_STATUS".
fn descriptors(extents: &[Extent], len: u64, one: bool) -> Vec<Descriptor> {
    let mut left = len;
    let mut list: Vec<Descriptor> = Vec::with_capacity(extents.len());
    for extent in extents {
        let part = u32::try_from(extent.len.min(left)).unwrap_or(u32::MAX);
        if part == 0 {
            break;
        }
        left -= u64::from(part);
        let status = if extent.hole { STATUS_HOLE } else { 0 } | if extent.zero { STATUS_ZERO } else { 0 };
        match list.last_mut() {
            Some(last) if last.status == status => last.len = last.len.saturating_add(part),
            Some(_) if one => break,
            _ => list.push(Descriptor { len: part, status }),
        }
    }
    list
}

struct Read<'a> {
    store: &'a dyn Store,
    offset: u64,
    len: u32,
    whole: bool,
    patience: Patience,
}

impl Read<'_> {
    /// `Ok(false)`: would block.
    fn append(&self, cookie: Cookie, style: Style, out: &mut Buffer) -> Result<bool, StoreError> {
        if !style.structured {
            out.extend(&SimpleReply { error: ErrorNumber::OK, cookie }.encode());
            return self.data(self.offset, self.len, out);
        }
        if self.len == 0 {
            style.done(cookie, out);
            return Ok(true);
        }
        if !self.whole && self.len >= HOLE_LOOKUP_MIN && self.store.capabilities().map {
            let extents = self.store.map(self.offset, u64::from(self.len), HOLE_EXTENTS_MAX)?;
            if extents.iter().any(|extent| extent.zero) {
                return self.with_holes(&extents, cookie, out);
            }
        }
        out.extend(&wire::offset_data_header(cookie, true, self.offset, self.len));
        self.data(self.offset, self.len, out)
    }

    /// Holes as chunks without data. What the extents do not cover is read as data.
    fn with_holes(&self, extents: &[Extent], cookie: Cookie, out: &mut Buffer) -> Result<bool, StoreError> {
        let mut at = self.offset;
        let mut left = self.len;
        let rest = Extent { len: u64::MAX, hole: false, zero: false };
        for extent in extents.iter().chain([&rest]) {
            let part = u32::try_from(extent.len).unwrap_or(u32::MAX).min(left);
            if part == 0 {
                break;
            }
            left -= part;
            if extent.zero {
                append(out, |bytes| wire::append_offset_hole(bytes, cookie, left == 0, at, part));
            } else {
                out.extend(&wire::offset_data_header(cookie, left == 0, at, part));
                if !self.data(at, part, out)? {
                    return Ok(false);
                }
            }
            at += u64::from(part);
        }
        Ok(true)
    }

    fn data(&self, offset: u64, len: u32, out: &mut Buffer) -> Result<bool, StoreError> {
        let into = out.tail(len as usize);
        match self.patience {
            Patience::None => self.store.try_read(into, offset),
            Patience::Any => self.store.read_at(into, offset).map(|()| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(len: u64, hole: bool) -> Extent {
        Extent { len, hole, zero: hole }
    }

    #[test]
    fn descriptors_never_reach_beyond_what_was_asked_for() {
        let list = descriptors(&[extent(100, false), extent(u64::MAX, true)], 150, false);
        assert_eq!(list, [Descriptor { len: 100, status: 0 }, Descriptor { len: 50, status: 3 }]);
    }

    #[test]
    fn equal_neighbours_are_one_extent() {
        let list = descriptors(&[extent(10, true), extent(20, true), extent(5, false)], 35, false);
        assert_eq!(list, [Descriptor { len: 30, status: 3 }, Descriptor { len: 5, status: 0 }]);
    }

    #[test]
    fn one_extent_means_one() {
        let list = descriptors(&[extent(10, true), extent(20, false)], 30, true);
        assert_eq!(list, [Descriptor { len: 10, status: 3 }]);
    }
}
