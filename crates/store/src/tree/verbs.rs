//! The verbs of a store, on a tree.

use super::page::{PAGE, Part, name};
use super::root::has;
use super::{Stretch, TreeStore, ZEROS};
use crate::errno::retry;
use crate::{Capabilities, Cause, Durability, Extent, Geometry, Store, StoreError, Verb, ZeroHow};
use rustix::io::{Errno, IoSliceMut, ReadWriteFlags, preadv2};
use std::sync::atomic::Ordering;

/// A map looks at so many directories at most: 64 MiB of a disk that is all there, and any length of one that is not.
const LEAVES_MAX: u32 = 16;

impl Store for TreeStore {
    fn geometry(&self) -> Geometry {
        Geometry { size: self.shape.size, block_min: 1, block_preferred: PAGE as u32 }
    }

    fn capabilities(&self) -> Capabilities {
        let write = self.writable;
        Capabilities { write, flush: true, trim: write, fast_zero: write, map: true, multi_conn: true }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let (mut rest, mut absent) = (&mut buf[..], false);
        for part in self.shape.parts(offset, rest.len() as u64) {
            let (into, behind) = rest.split_at_mut(part.len as usize);
            absent |= !self.read_part(part, into)?;
            rest = behind;
        }
        if absent { self.still_there(Verb::Read) } else { Ok(()) }
    }

    fn try_read(&self, buf: &mut [u8], offset: u64) -> Result<bool, StoreError> {
        if !self.nowait.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let (mut rest, mut absent) = (&mut buf[..], false);
        for part in self.shape.parts(offset, rest.len() as u64) {
            let (into, behind) = rest.split_at_mut(part.len as usize);
            match self.at_hand(part, into) {
                Ok(count) if count == into.len() => {}
                // Not every system can tell, and none learns it later.
                Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
                    self.nowait.store(false, Ordering::Relaxed);
                    return Ok(false);
                }
                Err(Errno::NOENT) => {
                    into.fill(0);
                    absent = true;
                }
                // `read_at` finds out what it is.
                _ => return Ok(false),
            }
            rest = behind;
        }
        if absent { self.still_there(Verb::Read).map(|()| true) } else { Ok(true) }
    }

    fn write_at(&self, buf: &[u8], offset: u64, durability: Durability) -> Result<(), StoreError> {
        let len = buf.len() as u64;
        self.may_change(Verb::Write, offset, len, durability)?;
        let mut rest = buf;
        for part in self.shape.parts(offset, len) {
            let (bytes, behind) = rest.split_at(part.len as usize);
            self.write_part(Verb::Write, part, bytes)?;
            rest = behind;
        }
        self.settle(offset, len, durability)
    }

    /// Whole pages are removed where that is allowed, and what lies beside them is written.
    fn zero(&self, offset: u64, len: u64, how: ZeroHow, durability: Durability) -> Result<(), StoreError> {
        self.may_change(Verb::Zero, offset, len, durability)?;
        let write = |part: Part| self.write_part(Verb::Zero, part, &ZEROS[..part.len as usize]);
        match how {
            ZeroHow { may_punch: true, .. } => {
                let whole = self.shape.whole(offset, len);
                for part in self.edges(offset, len) {
                    self.clear_part(Verb::Zero, part)?;
                }
                let written = |page: u64| {
                    let len = PAGE.min(self.shape.size - page * PAGE);
                    write(Part { page, within: 0, len })
                };
                self.remove(Verb::Zero, whole, written)?;
            }
            ZeroHow { fast_only: true, .. } if len > 0 => {
                let cause = Cause::Unsupported("zeros would have to be written here".into());
                return Err(StoreError { verb: Verb::Zero, offset, len, cause });
            }
            _ => self.shape.parts(offset, len).try_for_each(write)?,
        }
        self.settle(offset, len, durability)
    }

    /// Pages that lie wholly inside the range become absent; of others nothing is changed (C-192).
    fn trim(&self, offset: u64, len: u64, durability: Durability) -> Result<(), StoreError> {
        self.may_change(Verb::Trim, offset, len, durability)?;
        // A hint that is not taken is no error.
        self.remove(Verb::Trim, self.shape.whole(offset, len), |_| Ok(()))?;
        self.settle(offset, len, durability)
    }

    /// A reader has nothing to make durable, and must not make the whole file system busy.
    fn flush(&self) -> Result<(), StoreError> {
        if self.writable {
            return self.sync(0, 0);
        }
        let cause = Cause::Poisoned;
        if self.poison.poisoned() {
            Err(StoreError { verb: Verb::Flush, offset: 0, len: 0, cause })
        } else {
            Ok(())
        }
    }

    /// Nothing: to open every page costs as much as to read it later.
    fn cache(&self, _offset: u64, _len: u64) -> Result<(), StoreError> {
        Ok(())
    }

    fn map(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<Extent>, StoreError> {
        let (mut at, end) = (offset, offset + len);
        let (mut extents, mut leaves) = (Vec::new(), 0);
        while at < end && leaves < LEAVES_MAX && extents.len() <= extents_max {
            let page = at / PAGE;
            match self.stretch(Verb::Map, page)? {
                Stretch::Absent(until) => at = append(&mut extents, at, until, end, true),
                Stretch::Leaf(directory, until) => {
                    leaves += 1;
                    for page in page..until.min(end.div_ceil(PAGE)) {
                        let there = has(&directory, &name(page));
                        let there = there.map_err(|errno| self.failed(Verb::Map, page, errno))?;
                        at = append(&mut extents, at, page + 1, end, !there);
                        if extents.len() > extents_max {
                            break;
                        }
                    }
                }
            }
        }
        // The last one was only needed to see where the one before it ends.
        extents.truncate(extents_max.max(1));
        if extents.iter().any(|extent| extent.hole) {
            self.still_there(Verb::Map)?;
        }
        Ok(extents)
    }

    fn verify(&self) -> Result<(), StoreError> {
        self.still_there(Verb::Verify)
    }
}

/// Describes what is between `at` and the page `until`, or the end, and says where that is.
fn append(extents: &mut Vec<Extent>, at: u64, until: u64, end: u64, hole: bool) -> u64 {
    let until = until.saturating_mul(PAGE).min(end);
    Extent { len: until - at, hole, zero: hole }.append_to(extents);
    until
}

impl TreeStore {
    /// How many bytes of a page are there without waiting.
    fn at_hand(&self, part: Part, into: &mut [u8]) -> Result<usize, Errno> {
        let page = self.root.page_at_hand(&self.shape.file(part.page))?;
        let mut vector = [IoSliceMut::new(into)];
        retry(|| preadv2(&page.fd, &mut vector, part.within, ReadWriteFlags::NOWAIT))
    }

    /// What of a range lies in pages that are not wholly inside it.
    fn edges(&self, offset: u64, len: u64) -> impl Iterator<Item = Part> {
        let (whole, end) = (self.shape.whole(offset, len), offset + len);
        let (first, behind) = match whole.is_empty() {
            true => (len, end),
            false => ((whole.start * PAGE) - offset, whole.end.saturating_mul(PAGE).min(end)),
        };
        self.shape.parts(offset, first).chain(self.shape.parts(behind, end - behind))
    }
}
