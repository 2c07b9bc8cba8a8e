//! A store in memory that remembers what a power cut would have left at every sync.

use std::sync::{Mutex, MutexGuard};

use store::{Capabilities, Cause, Durability, Extent, Geometry, Store, StoreError, Verb, ZeroHow};

/// Bytes in memory. `map` tells holes in units of [`MemoryStore::BLOCK`].
#[derive(Debug)]
pub struct MemoryStore {
    geometry: Geometry,
    capabilities: Capabilities,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    bytes: Vec<u8>,
    /// What would be there after a power cut now.
    durable: Vec<u8>,
    allocated: Vec<bool>,
    flushes: u64,
    /// `durable` after each sync (flush or durable write), where they are remembered.
    history: Option<Vec<Vec<u8>>>,
}

impl MemoryStore {
    /// Unit in which holes are kept.
    pub const BLOCK: usize = 4096;

    /// Zeros that can do everything.
    pub fn new(size: usize) -> Self {
        Self::with(vec![0; size], true)
    }

    /// The given bytes, all of them durable and allocated.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let store = Self::with(bytes, true);
        store.inner().allocated.fill(true);
        store
    }

    /// As [`MemoryStore::new`], and a copy is kept of what was durable after each sync. Copies are whole: keep it small.
    pub fn remembering(size: usize) -> Self {
        let store = Self::new(size);
        store.inner().history = Some(Vec::new());
        store
    }

    /// Zeros that cannot be written.
    pub fn read_only(size: usize) -> Self {
        Self::with(vec![0; size], false)
    }

    fn with(bytes: Vec<u8>, write: bool) -> Self {
        let blocks = bytes.len().div_ceil(Self::BLOCK);
        let geometry =
            Geometry { size: bytes.len() as u64, block_min: 1, block_preferred: Self::BLOCK as u32 };
        let capabilities =
            Capabilities { write, flush: true, trim: true, fast_zero: true, map: true, multi_conn: true };
        let durable = bytes.clone();
        let inner = Inner { bytes, durable, allocated: vec![false; blocks], flushes: 0, history: None };
        Self { geometry, capabilities, inner: Mutex::new(inner) }
    }

    /// Claims other abilities than it has by nature.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Claims other block sizes.
    #[must_use]
    pub fn with_geometry(mut self, block_min: u32, block_preferred: u32) -> Self {
        self.geometry = Geometry { block_min, block_preferred, ..self.geometry };
        self
    }

    /// A copy of all bytes as clients see them.
    pub fn bytes(&self) -> Vec<u8> {
        self.inner().bytes.clone()
    }

    /// A copy of what a power cut now would leave.
    pub fn durable(&self) -> Vec<u8> {
        self.inner().durable.clone()
    }

    /// What a power cut just after the `n`-th sync (from 1; a flush or a durable write) would have left.
    pub fn durable_at(&self, n: usize) -> Option<Vec<u8>> {
        self.inner().history.as_ref()?.get(n.checked_sub(1)?).cloned()
    }

    /// How often `flush` was called.
    pub fn flushes(&self) -> u64 {
        self.inner().flushes
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no verb panics with the bytes in hand")
    }

    fn change(
        &self,
        verb: Verb,
        offset: u64,
        len: u64,
        durability: Durability,
        act: impl FnOnce(&mut Inner),
    ) -> Result<(), StoreError> {
        if !self.capabilities.write {
            return Err(StoreError { verb, offset, len, cause: Cause::Forbidden });
        }
        let mut inner = self.inner();
        act(&mut inner);
        if durability == Durability::Durable {
            let range = range(offset, len);
            let Inner { bytes, durable, .. } = &mut *inner;
            durable[range.clone()].copy_from_slice(&bytes[range]);
            inner.remember();
        }
        Ok(())
    }
}

impl Inner {
    fn remember(&mut self) {
        if let Some(history) = &mut self.history {
            history.push(self.durable.clone());
        }
    }

    fn allocate(&mut self, offset: u64, len: u64) {
        if len > 0 {
            let blocks = offset as usize / MemoryStore::BLOCK
                ..(offset + len).div_ceil(MemoryStore::BLOCK as u64) as usize;
            self.allocated[blocks].fill(true);
        }
    }

    /// Gives back the blocks that lie wholly inside the range.
    fn punch(&mut self, offset: u64, len: u64) {
        let end = (offset + len) as usize;
        let last = if end == self.bytes.len() { self.allocated.len() } else { end / MemoryStore::BLOCK };
        let first = (offset as usize).div_ceil(MemoryStore::BLOCK);
        if first < last {
            self.allocated[first..last].fill(false);
        }
    }
}

impl Store for MemoryStore {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        buf.copy_from_slice(&self.inner().bytes[range(offset, buf.len() as u64)]);
        Ok(())
    }

    fn try_read(&self, buf: &mut [u8], offset: u64) -> Result<bool, StoreError> {
        self.read_at(buf, offset).map(|()| true)
    }

    fn write_at(&self, buf: &[u8], offset: u64, durability: Durability) -> Result<(), StoreError> {
        let len = buf.len() as u64;
        self.change(Verb::Write, offset, len, durability, |inner| {
            inner.bytes[range(offset, len)].copy_from_slice(buf);
            inner.allocate(offset, len);
        })
    }

    fn zero(&self, offset: u64, len: u64, how: ZeroHow, durability: Durability) -> Result<(), StoreError> {
        self.change(Verb::Zero, offset, len, durability, |inner| {
            inner.bytes[range(offset, len)].fill(0);
            if how.may_punch {
                inner.punch(offset, len);
            } else {
                inner.allocate(offset, len);
            }
        })
    }

    fn trim(&self, offset: u64, len: u64, durability: Durability) -> Result<(), StoreError> {
        self.change(Verb::Trim, offset, len, durability, |inner| {
            inner.bytes[range(offset, len)].fill(0);
            inner.punch(offset, len);
        })
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut inner = self.inner();
        inner.flushes += 1;
        inner.durable = inner.bytes.clone();
        inner.remember();
        Ok(())
    }

    fn cache(&self, _offset: u64, _len: u64) -> Result<(), StoreError> {
        Ok(())
    }

    fn map(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<Extent>, StoreError> {
        let inner = self.inner();
        let mut extents: Vec<Extent> = Vec::new();
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let block = at as usize / Self::BLOCK;
            let until = end.min((block as u64 + 1) * Self::BLOCK as u64);
            let hole = !inner.allocated[block];
            let full = extents.len() == extents_max;
            match extents.last_mut() {
                Some(last) if last.hole == hole => last.len += until - at,
                _ if full => break,
                _ => extents.push(Extent { len: until - at, hole, zero: hole }),
            }
            at = until;
        }
        Ok(extents)
    }

    fn verify(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn range(offset: u64, len: u64) -> std::ops::Range<usize> {
    offset as usize..(offset + len) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_leaves_what_was_flushed_and_nothing_later() {
        let store = MemoryStore::remembering(8192);
        store.write_at(&[1; 100], 0, Durability::Cached).unwrap();
        assert_eq!(store.durable()[0], 0);
        store.flush().unwrap();
        store.write_at(&[2; 100], 0, Durability::Cached).unwrap();
        store.write_at(&[3; 100], 4096, Durability::Durable).unwrap();

        let second = store.durable_at(2).unwrap();
        assert_eq!((store.durable_at(1).unwrap()[0], second[0], second[4096]), (1, 1, 3));
        assert_eq!((store.durable_at(3), store.flushes()), (None, 1));
    }

    #[test]
    fn holes_are_told_until_they_are_written() {
        let store = MemoryStore::new(5 * 4096 - 1);
        store.write_at(&[1], 4096, Durability::Cached).unwrap();
        let runs = |store: &MemoryStore| -> Vec<(u64, bool)> {
            store
                .map(100, 5 * 4096 - 101, 9)
                .unwrap()
                .iter()
                .map(|extent| (extent.len, extent.hole))
                .collect()
        };
        assert_eq!(runs(&store), [(3996, true), (4096, false), (3 * 4096 - 1, true)]);
        store.trim(4000, 4096 * 3, Durability::Cached).unwrap();
        assert_eq!(runs(&store), [(5 * 4096 - 101, true)]);
        assert_eq!(store.map(0, 8192, 1).unwrap().len(), 1);
    }

    #[test]
    fn a_read_only_store_refuses_every_change() {
        let store = MemoryStore::read_only(4096);
        assert_eq!(store.write_at(&[1], 0, Durability::Cached).unwrap_err().cause, Cause::Forbidden);
        assert_eq!(store.bytes(), [0; 4096]);
    }
}
