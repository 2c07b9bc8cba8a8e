//! How an overlay that stays remembers which of its pages are there.
//!
//! Its file begins with a page that says what it is, then comes a bitmap, then the pages of the base at the same
//! distances as there. The numbers of the first page are big-endian: 16 bytes that no other file begins with, the
//! version (4 bytes), the size of a page (4), the size of the base (8), the length (2) and the bytes of the name of the disk
//! that the base is, where it has one, and zeros. In the bitmap the lowest bit of the
//! first byte is the first page.
//!
//! A bit is written only after the bytes of its page are on stable storage, and is never taken back. So a power cut
//! leaves of a bitmap block, whole or torn, only bits that are true; a page whose bit was lost is the base's again,
//! and nobody had been promised more.

use crate::overlay::pages::{LEAF, PAGE, Pages};
use crate::{Cause, Durability, Store, StoreError, Verb, ZeroHow};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

const MAGIC: [u8; 16] = *b"NBD overlay\0\r\n\x1a\n";
const VERSION: u64 = 1;
/// Pages that one block of the bitmap, itself a page, speaks of.
const BLOCK: u64 = PAGE * 8;
/// Bytes of the bitmap that are looked at together.
const PIECE: u64 = 64 << 10;

/// Where in the overlay's file the first page of the base has its place.
pub(crate) fn data_at(base_size: u64) -> u64 {
    PAGE + base_size.div_ceil(PAGE).div_ceil(BLOCK) * PAGE
}

/// Bytes that the file of an overlay over so many bytes needs.
pub(crate) fn file_size(base_size: u64) -> u64 {
    data_at(base_size).saturating_add(base_size.div_ceil(PAGE).saturating_mul(PAGE))
}

/// The longest name of a disk that is remembered, in bytes.
const NAME_MAX: usize = 1024;

/// What an overlay lies over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base<'a> {
    /// Bytes.
    pub size: u64,
    /// Which disk it is, for as long as it is one; empty where nobody can tell.
    pub name: &'a str,
}

/// What of the bitmap is not on stable storage yet.
#[derive(Debug, Default)]
pub(crate) struct Bitmap {
    unsaved: Mutex<Unsaved>,
    saving: Mutex<()>,
}

#[derive(Debug, Default)]
struct Unsaved {
    /// Blocks, each with the number of its latest mark. They stay until they are saved, whatever fails before that.
    blocks: BTreeMap<u64, u64>,
    marks: u64,
}

impl Bitmap {
    /// Reads which pages are there, or makes a file that begins with zeros an overlay.
    pub fn open(upper: &dyn Store, base: Base<'_>, pages: &Pages) -> Result<Self, StoreError> {
        let base_size = base.size;
        let (there, needed) = (upper.geometry().size, file_size(base_size));
        if there < needed {
            return Err(refused(format!("the overlay has {there} bytes, and {needed} are needed")));
        }
        let mut header = [0; PAGE as usize];
        upper.read_at(&mut header, 0)?;
        if header.iter().all(|&byte| byte == 0) {
            begin(upper, base)?;
        } else {
            check(&header, base)?;
            load(upper, base_size, pages)?;
        }
        Ok(Self::default())
    }

    /// Marks pages in the table. In one act, as seen by a sync: somebody may write to a page as soon as it is marked, and
    /// ask for that to be durable, and its bit has to be known as unsaved by then.
    pub fn mark(&self, pages: Range<u64>, table: &Pages) {
        let mut unsaved = self.unsaved();
        table.mark(pages.clone());
        unsaved.marks += 1;
        let mark = unsaved.marks;
        unsaved.blocks.extend((pages.start / BLOCK..pages.end.div_ceil(BLOCK)).map(|block| (block, mark)));
    }

    /// Brings to stable storage what was written before the call, and then the bits that say so.
    pub fn sync(&self, upper: &dyn Store, pages: &Pages) -> Result<(), StoreError> {
        // Empty only when every bit is saved: what another thread is saving at this moment stands there too.
        if self.unsaved().blocks.is_empty() {
            return upper.flush();
        }
        let _turn = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        // The bits as they are now, before the flush that covers their pages. Later ones wait for the next.
        let unsaved = self.unsaved().blocks.clone();
        let blocks: Vec<(u64, Vec<u8>)> = unsaved.keys().map(|&block| (block, bits(block, pages))).collect();
        upper.flush()?;
        if blocks.is_empty() {
            return Ok(());
        }
        for (block, bits) in &blocks {
            upper.write_at(bits, PAGE + block * PAGE, Durability::Cached)?;
        }
        upper.flush()?;
        self.unsaved().blocks.retain(|block, mark| unsaved.get(block) != Some(mark));
        Ok(())
    }

    fn unsaved(&self) -> MutexGuard<'_, Unsaved> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bitmap is empty on stable storage before the first page says that there is one.
fn begin(upper: &dyn Store, base: Base<'_>) -> Result<(), StoreError> {
    let how = ZeroHow { may_punch: true, fast_only: false };
    upper.zero(PAGE, data_at(base.size) - PAGE, how, Durability::Cached)?;
    upper.flush()?;
    let mut header = [0; PAGE as usize];
    header[..16].copy_from_slice(&MAGIC);
    header[16..24].copy_from_slice(&(VERSION << 32 | PAGE).to_be_bytes());
    header[24..32].copy_from_slice(&base.size.to_be_bytes());
    // One that does not fit is no name: then the size alone is remembered.
    let name = Some(base.name.as_bytes()).filter(|name| name.len() <= NAME_MAX).unwrap_or_default();
    header[32..34].copy_from_slice(&(name.len() as u16).to_be_bytes());
    header[34..34 + name.len()].copy_from_slice(name);
    upper.write_at(&header, 0, Durability::Cached)?;
    upper.flush()
}

fn check(header: &[u8], base: Base<'_>) -> Result<(), StoreError> {
    let number = |from: usize, to: usize| {
        header[from..to].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let (version, page, size) = (number(16, 20), number(20, 24), number(24, 32));
    if header[..16] != MAGIC {
        Err(refused("it is not an overlay of this server: it begins with something else".into()))
    } else if version > VERSION {
        Err(refused(format!(
            "the overlay is of version {version}, and this server knows none after {VERSION}"
        )))
    } else if (version, page) != (VERSION, PAGE) {
        Err(refused(format!("the overlay is damaged: version {version}, pages of {page} bytes")))
    } else if size != base.size {
        let there = base.size;
        Err(refused(format!("the overlay was made for a base of {size} bytes, and this one has {there}")))
    } else {
        let name = header.get(34..34 + number(32, 34) as usize).unwrap_or_default();
        base.is(&String::from_utf8_lossy(name))
    }
}

impl Base<'_> {
    /// Pages of one disk over another would be no disk at all, and committed they would destroy it (P4).
    fn is(self, name: &str) -> Result<(), StoreError> {
        if name == self.name {
            return Ok(());
        }
        let shown =
            |name: &str| if name.is_empty() { "one without a name".to_owned() } else { name.to_owned() };
        let (name, there) = (shown(name), shown(self.name));
        Err(refused(format!(
            "the overlay belongs to another disk: it was made over {name}, and {there} is there"
        )))
    }
}

/// What was never written of the bitmap is a hole, and is not read.
fn load(upper: &dyn Store, base_size: u64, pages: &Pages) -> Result<(), StoreError> {
    let count = base_size.div_ceil(PAGE);
    let (mut at, end) = (PAGE, data_at(base_size));
    while at < end {
        for extent in upper.map(at, end - at, 64)? {
            let until = (at + extent.len).min(end);
            while !extent.zero && at < until {
                let mut piece = vec![0; (until - at).min(PIECE) as usize];
                upper.read_at(&mut piece, at)?;
                mark_all(&piece, (at - PAGE) * 8, count, pages);
                at += piece.len() as u64;
            }
            at = until;
        }
    }
    Ok(())
}

/// `first` is the page of the first bit, `count` the number of pages that there can be.
fn mark_all(bytes: &[u8], first: u64, count: u64, pages: &Pages) {
    // Most bytes say nothing, and all that is to be seen of them are the ends of runs.
    let some = (0..).zip(bytes).filter(|(_, byte)| **byte != 0);
    let bits =
        some.flat_map(|(n, byte)| (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| n * 8 + bit));
    let mut run = first..first;
    for page in bits.map(|bit| first + bit).take_while(|page| *page < count) {
        if page > run.end {
            pages.mark(run);
            run = page..page;
        }
        run.end = page + 1;
    }
    pages.mark(run);
}

/// One block of the bitmap, as it has to be written.
fn bits(block: u64, pages: &Pages) -> Vec<u8> {
    let leaves = block * BLOCK / LEAF..(block + 1) * BLOCK / LEAF;
    leaves.flat_map(|leaf| pages.leaf(leaf)).flat_map(u64::to_le_bytes).collect()
}

fn refused(why: String) -> StoreError {
    StoreError { verb: Verb::Open, offset: 0, len: 0, cause: Cause::Unsupported(why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places on disk are an interface: an overlay outlives the program that wrote it.
    #[test]
    fn places_are_those_that_the_format_says() {
        assert_eq!((data_at(0), file_size(0)), (4096, 4096));
        assert_eq!((data_at(1), file_size(1)), (8192, 8192 + 4096));
        assert_eq!((data_at(128 << 20), data_at((128 << 20) + 1)), (8192, 8192 + 4096));
        assert_eq!(data_at(1 << 40), 4096 + (32 << 20));
        assert_eq!(file_size(10_001), 8192 + 3 * 4096);
    }

    #[test]
    fn bits_are_read_back_as_they_were_written() {
        let marked = [0..1, 7..9, 1000..5000, 32_767..32_768];
        let pages = Pages::default();
        for range in &marked {
            pages.mark(range.clone());
        }
        let block = bits(0, &pages);
        assert_eq!((block.len() as u64, block[0], block[1]), (PAGE, 0b1000_0001, 1));
        let again = Pages::default();
        mark_all(&block, 0, 32_768, &again);
        assert_eq!(bits(0, &again), block);
        mark_all(&block, 32_768, 32_768 + 8, &again);
        assert_eq!(
            again.run(32_768..40_000),
            (true, 32_769),
            "no page behind the end, whatever stands there"
        );
        assert_eq!(again.run(32_769..40_000), (false, 32_775));
        assert_eq!(again.run(32_775..40_000), (true, 32_776));
    }
}
