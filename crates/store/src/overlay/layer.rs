//! Pages that take the place of what is below them: what an overlay and a store that waits for its file have in common.
//!
//! A page is absent until it was written whole: by the client, or with what it left out copied from below. Only then is
//! it marked, and from then on reads and writes of it go to the upper store alone.
//!
//! Whoever meets an absent page when changing something takes a turn with all who do. So what was copied from below
//! never lands over what somebody else has written meanwhile: that one was before us, and then the page is marked, or
//! comes after us. Changes to pages that are all there, and reads, take no turn: marks are never taken back. A read
//! that saw no mark began before the change was answered, and may still say what was below.

use crate::overlay::bitmap::{Base, Bitmap, data_at};
use crate::overlay::pages::{PAGE, Pages};
use crate::{Cause, Durability, Extent, Store, StoreError, Verb, ZeroHow};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that are carried from one store to another at a time.
const PIECE: u64 = 1 << 20;

/// The pages, and what is below.
pub(crate) struct Layer {
    /// Read only. `None`: nothing is there, and a part of a page cannot be made whole.
    pub below: Option<Arc<dyn Store>>,
    pub upper: Arc<dyn Store>,
    /// Where in `upper` the first page has its place.
    data_at: u64,
    size: u64,
    pages: Pages,
    /// The memory of which pages are there, where one is kept.
    bitmap: Option<Bitmap>,
    first_touch: Mutex<()>,
}

/// A page that was absent and is changed in part: where, and all its bytes.
struct Edge {
    at: u64,
    bytes: Vec<u8>,
}

impl Layer {
    /// A layer without pages, each of which will have the place in `upper` that it has in the store.
    pub fn new(below: Option<Arc<dyn Store>>, upper: Arc<dyn Store>, size: u64) -> Result<Self, StoreError> {
        let there = upper.geometry().size;
        if there < size {
            let why = format!("{size} bytes shall be kept in a file of {there}");
            return Err(StoreError { verb: Verb::Open, offset: 0, len: 0, cause: Cause::Unsupported(why) });
        }
        let (pages, first_touch) = (Pages::default(), Mutex::default());
        Ok(Self { below, upper, data_at: 0, size, pages, bitmap: None, first_touch })
    }

    /// A layer whose pages stay.
    pub fn kept(below: Arc<dyn Store>, name: &str, upper: Arc<dyn Store>) -> Result<Self, StoreError> {
        let size = below.geometry().size;
        let data_at = data_at(size);
        let pages = Pages::default();
        let bitmap = Some(Bitmap::open(&*upper, Base { size, name }, &pages)?);
        Ok(Self { below: Some(below), upper, data_at, size, pages, bitmap, first_touch: Mutex::default() })
    }

    pub fn read(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        for (present, run) in self.runs(offset..offset + buf.len() as u64) {
            let part = part_mut(buf, offset, &run);
            if present {
                self.upper.read_at(part, self.up(run.start)).map_err(|error| self.down(error))?;
            } else {
                self.below(Verb::Read, &run)?.read_at(part, run.start)?;
            }
        }
        Ok(())
    }

    /// As [`Store::try_read`]: all of it or nothing.
    pub fn try_read(&self, buf: &mut [u8], offset: u64) -> Result<bool, StoreError> {
        for (present, run) in self.runs(offset..offset + buf.len() as u64) {
            let part = part_mut(buf, offset, &run);
            let at_hand = if present {
                self.upper.try_read(part, self.up(run.start)).map_err(|error| self.down(error))?
            } else {
                self.below(Verb::Read, &run)?.try_read(part, run.start)?
            };
            if !at_hand {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub fn write(&self, buf: &[u8], offset: u64, durability: Durability) -> Result<(), StoreError> {
        let range = offset..offset + buf.len() as u64;
        let copy = |into: &mut [u8], part: Range<u64>| into.copy_from_slice(slice(buf, offset, &part));
        self.change(Verb::Write, range, copy, |part| {
            self.upper.write_at(slice(buf, offset, &part), self.up(part.start), Durability::Cached)
        })?;
        self.settle(durability)
    }

    pub fn zero(&self, range: Range<u64>, how: ZeroHow, durability: Durability) -> Result<(), StoreError> {
        let clear = |into: &mut [u8], _| into.fill(0);
        self.change(Verb::Zero, range, clear, |part| {
            self.upper.zero(self.up(part.start), part.end - part.start, how, Durability::Cached)
        })?;
        self.settle(durability)
    }

    /// Whole pages become holes where that is quickly done; the rest stays what it is.
    pub fn trim(&self, range: Range<u64>, durability: Durability) -> Result<(), StoreError> {
        let end = if range.end == self.size { range.end } else { range.end / PAGE * PAGE };
        let whole = range.start.next_multiple_of(PAGE)..end;
        // As zeros, and not as a trim of the upper store: what lies there under an absent page is nobody's business.
        let how = ZeroHow { may_punch: true, fast_only: true };
        match self.zero(whole, how, Durability::Cached) {
            Err(StoreError { cause: Cause::Unsupported(_), .. }) => {}
            Err(error) => return Err(StoreError { verb: Verb::Trim, ..error }),
            Ok(()) => {}
        }
        self.settle(durability)
    }

    /// Brings every change answered so far to stable storage, with the memory of which pages are there.
    pub fn sync(&self) -> Result<(), StoreError> {
        match &self.bitmap {
            Some(bitmap) => bitmap.sync(&*self.upper, &self.pages),
            None => self.upper.flush(),
        }
    }

    pub fn cache(&self, range: Range<u64>) -> Result<(), StoreError> {
        for (present, run) in self.runs(range) {
            match &self.below {
                _ if present => self.upper.cache(self.up(run.start), run.end - run.start)?,
                Some(below) => below.cache(run.start, run.end - run.start)?,
                None => {}
            }
        }
        Ok(())
    }

    /// As [`Store::map`]. What is absent and has nothing below is data: it is unknown.
    pub fn map(&self, range: Range<u64>, extents_max: usize) -> Result<Vec<Extent>, StoreError> {
        let mut all: Vec<Extent> = Vec::new();
        for (present, run) in self.runs(range) {
            let mut at = run.start;
            while at < run.end {
                for extent in self.map_run(present, at..run.end, extents_max)? {
                    let extent = Extent { len: extent.len.min(run.end - at), ..extent };
                    if !join(&mut all, extent, extents_max.max(1)) {
                        return Ok(all);
                    }
                    at += extent.len;
                }
            }
        }
        Ok(all)
    }

    /// Writes every page into `file` and flushes it. How many there were.
    pub fn merge_into(&self, file: &dyn Store) -> Result<u64, StoreError> {
        let refused = |cause| StoreError { verb: Verb::Write, offset: 0, len: self.size, cause };
        let room = file.geometry().size;
        if room < self.size {
            let why = format!("the file has {room} bytes, and the export {}", self.size);
            return Err(refused(Cause::Unsupported(why)));
        }
        let (mut merged, mut buf) = (0, Vec::new());
        for (present, run) in self.runs(0..self.size) {
            if present && !file.capabilities().write {
                return Err(refused(Cause::Forbidden));
            }
            if present {
                merged += (run.end - run.start).div_ceil(PAGE);
                self.carry(run, file, &mut buf)?;
            }
        }
        file.flush()?;
        Ok(merged)
    }

    fn carry(&self, run: Range<u64>, file: &dyn Store, buf: &mut Vec<u8>) -> Result<(), StoreError> {
        let mut at = run.start;
        while at < run.end {
            for extent in self.map_run(true, at..run.end, 64)? {
                let until = run.end.min(at + extent.len);
                if extent.zero {
                    carry_zeros(at..until, file)?;
                    at = until;
                }
                while at < until {
                    buf.resize((until - at).min(PIECE) as usize, 0);
                    self.read(buf, at)?;
                    carry_piece(buf, at, file)?;
                    at += buf.len() as u64;
                }
            }
        }
        Ok(())
    }

    fn map_run(&self, present: bool, run: Range<u64>, max: usize) -> Result<Vec<Extent>, StoreError> {
        let len = run.end - run.start;
        match &self.below {
            _ if present => self.upper.map(self.up(run.start), len, max).map_err(|error| self.down(error)),
            Some(below) => below.map(run.start, len, max),
            None => Ok(vec![Extent { len, hole: false, zero: false }]),
        }
    }

    /// Makes a change in the upper store: of what can be changed in place by `direct`, of parts of absent pages by
    /// `edge`, which is given the bytes and where they are. What `direct` refuses was not begun.
    fn change(
        &self,
        verb: Verb,
        range: Range<u64>,
        edge: impl Fn(&mut [u8], Range<u64>),
        direct: impl FnOnce(Range<u64>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if range.is_empty() {
            return Ok(());
        }
        let pages = range.start / PAGE..range.end.div_ceil(PAGE);
        if self.pages.run(pages.clone()) == (true, pages.end) {
            return direct(range).map_err(|error| self.down(error));
        }
        let _turn = self.first_touch.lock().unwrap_or_else(PoisonError::into_inner);
        let (edges, middle) = self.split(verb, &range, edge)?;
        if !middle.is_empty() {
            direct(middle).map_err(|error| self.down(error))?;
        }
        for Edge { at, bytes } in edges {
            let written = self.upper.write_at(&bytes, self.up(at), Durability::Cached);
            written.map_err(|error| self.down(error))?;
        }
        match &self.bitmap {
            Some(bitmap) => bitmap.mark(pages, &self.pages),
            None => self.pages.mark(pages),
        }
        Ok(())
    }

    /// The absent pages that a range touches only in part, at most one at each end, made whole and changed; and what
    /// is between them.
    fn split(
        &self,
        verb: Verb,
        range: &Range<u64>,
        edge: impl Fn(&mut [u8], Range<u64>),
    ) -> Result<(Vec<Edge>, Range<u64>), StoreError> {
        let (mut edges, mut middle) = (Vec::new(), range.clone());
        let (first, last) = (range.start / PAGE, (range.end - 1) / PAGE);
        let only_one = first == last;
        for number in [first, last].into_iter().skip(usize::from(only_one)) {
            let page = number * PAGE..(number + 1).saturating_mul(PAGE).min(self.size);
            let whole = range.start <= page.start && page.end <= range.end;
            if whole || self.pages.run(number..number + 1).0 {
                continue;
            }
            let mut bytes = vec![0; (page.end - page.start) as usize];
            self.below(verb, range)?.read_at(&mut bytes, page.start)?;
            let part = range.start.max(page.start)..range.end.min(page.end);
            edge(part_mut(&mut bytes, page.start, &part), part.clone());
            edges.push(Edge { at: page.start, bytes });
            if number == first {
                middle.start = page.end.min(range.end);
            } else {
                middle.end = page.start;
            }
        }
        Ok((edges, middle))
    }

    /// The range in pieces of which each is wholly there, or wholly absent.
    fn runs(&self, range: Range<u64>) -> impl Iterator<Item = (bool, Range<u64>)> + '_ {
        let (mut at, end) = (range.start, range.end);
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (present, until) = self.pages.run(at / PAGE..end.div_ceil(PAGE));
            let run = at..until.saturating_mul(PAGE).min(end);
            at = run.end;
            Some((present, run))
        })
    }

    fn below(&self, verb: Verb, range: &Range<u64>) -> Result<&dyn Store, StoreError> {
        self.below.as_deref().ok_or_else(|| {
            let why = match verb {
                Verb::Read => "the file that the export waits for is not there yet, and nobody wrote these bytes",
                _ => "the file that the export waits for is not there yet: until then whole pages alone are taken",
            };
            let (offset, len) = (range.start, range.end - range.start);
            StoreError { verb, offset, len, cause: Cause::Other(why.into()) }
        })
    }

    fn settle(&self, durability: Durability) -> Result<(), StoreError> {
        match durability {
            Durability::Cached => Ok(()),
            Durability::Durable => self.sync(),
        }
    }

    fn up(&self, offset: u64) -> u64 {
        self.data_at + offset
    }

    /// An error names the place in the store, wherever its page is kept.
    fn down(&self, error: StoreError) -> StoreError {
        StoreError { offset: error.offset.saturating_sub(self.data_at), ..error }
    }
}

/// Adds to a map. False: it is full.
fn join(all: &mut Vec<Extent>, next: Extent, extents_max: usize) -> bool {
    let full = all.len() == extents_max;
    match all.last_mut() {
        Some(last) if (last.hole, last.zero) == (next.hole, next.zero) => last.len += next.len,
        _ if full => return false,
        _ => all.push(next),
    }
    true
}

/// Writes bytes, and as zeros the pages of them that are.
fn carry_piece(bytes: &[u8], offset: u64, file: &dyn Store) -> Result<(), StoreError> {
    let zeros = |page: &[u8]| page.iter().all(|&byte| byte == 0);
    let pages: Vec<&[u8]> = bytes.chunks(PAGE as usize).collect();
    let mut at = offset;
    for alike in pages.chunk_by(|one, next| zeros(one) == zeros(next)) {
        let end = at + alike.iter().map(|page| page.len() as u64).sum::<u64>();
        if zeros(alike[0]) {
            carry_zeros(at..end, file)?;
        } else {
            file.write_at(slice(bytes, offset, &(at..end)), at, Durability::Cached)?;
        }
        at = end;
    }
    Ok(())
}

fn carry_zeros(range: Range<u64>, file: &dyn Store) -> Result<(), StoreError> {
    let how = ZeroHow { may_punch: true, fast_only: false };
    file.zero(range.start, range.end - range.start, how, Durability::Cached)
}

/// The bytes of a range, out of a buffer that begins at `offset`.
fn slice<'a>(buf: &'a [u8], offset: u64, range: &Range<u64>) -> &'a [u8] {
    &buf[(range.start - offset) as usize..(range.end - offset) as usize]
}

fn part_mut<'a>(buf: &'a mut [u8], offset: u64, range: &Range<u64>) -> &'a mut [u8] {
    &mut buf[(range.start - offset) as usize..(range.end - offset) as usize]
}
