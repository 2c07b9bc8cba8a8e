//! A store whose power can be cut: of what was not flushed any part may then be there, sector by sector.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use store::{Capabilities, Cause, Durability, Extent, Geometry, Store, StoreError, Verb, ZeroHow};
use testkit::pattern::mix;

pub const SECTOR: u64 = 512;
pub type Sector = [u8; SECTOR as usize];

/// Sparse: a sector that nobody wrote is zeros.
pub struct CrashStore {
    size: u64,
    inner: Mutex<Inner>,
    /// Done once, after the next flush has been carried out and before it is answered.
    after_flush: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

struct Inner {
    durable: BTreeMap<u64, Sector>,
    /// Of each sector all that it was since it was durable, oldest first.
    later: BTreeMap<u64, Vec<Sector>>,
    /// Changes and flushes until the power fails in the midst of one.
    power: u64,
}

impl CrashStore {
    pub fn new(size: u64) -> Self {
        Self::with(size, BTreeMap::new())
    }

    pub fn from_bytes(bytes: &[u8]) -> Self {
        let sectors = bytes.chunks(SECTOR as usize).map(|part| {
            let mut sector = [0; SECTOR as usize];
            sector[..part.len()].copy_from_slice(part);
            sector
        });
        Self::with(bytes.len() as u64, (0..).zip(sectors).collect())
    }

    fn with(size: u64, durable: BTreeMap<u64, Sector>) -> Self {
        let inner = Mutex::new(Inner { durable, later: BTreeMap::new(), power: u64::MAX });
        Self { size, inner, after_flush: Mutex::default() }
    }

    /// So many changes and flushes are carried out. The next one is begun, and none is answered any more.
    pub fn power(&self, operations: u64) {
        self.inner().power = operations;
    }

    pub fn after_flush(&self, act: impl FnOnce() + Send + 'static) {
        *self.after_flush.lock().expect("whole") = Some(Box::new(act));
    }

    /// What the disk holds when the power is back. Another seed is another disk.
    pub fn cut(&self, seed: u64) -> Self {
        let inner = self.inner();
        let mut durable = inner.durable.clone();
        for (number, states) in &inner.later {
            let reached = mix(seed ^ mix(*number)) as usize % (states.len() + 1);
            if let Some(last) = reached.checked_sub(1) {
                durable.insert(*number, states[last]);
            }
        }
        Self::with(self.size, durable)
    }

    pub fn durable(&self) -> Vec<u8> {
        let inner = self.inner();
        let sector = |number| inner.durable.get(&number).copied().unwrap_or([0; SECTOR as usize]);
        (0..self.size.div_ceil(SECTOR)).flat_map(sector).take(self.size as usize).collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("whole")
    }

    /// Writes what `fill` puts into a part of a sector that begins at an offset.
    fn change(
        &self,
        verb: Verb,
        range: std::ops::Range<u64>,
        durability: Durability,
        fill: impl Fn(&mut [u8], u64),
    ) -> Result<(), StoreError> {
        assert!(range.end <= self.size, "{verb} of {range:?}");
        assert_eq!(durability, Durability::Cached, "nothing here relies on the durability of a single write");
        let mut inner = self.inner();
        let powered = inner.take(verb)?;
        for (number, part) in sectors(range) {
            let mut sector = inner.sector(number);
            let first = number * SECTOR;
            fill(&mut sector[(part.start - first) as usize..(part.end - first) as usize], part.start);
            inner.later.entry(number).or_default().push(sector);
        }
        powered
    }
}

/// The sectors of a range, each with its part of it.
pub fn sectors(range: std::ops::Range<u64>) -> impl Iterator<Item = (u64, std::ops::Range<u64>)> {
    let numbers = range.start / SECTOR..range.end.div_ceil(SECTOR);
    numbers
        .map(move |number| (number, range.start.max(number * SECTOR)..range.end.min((number + 1) * SECTOR)))
}

impl Inner {
    fn sector(&self, number: u64) -> Sector {
        let last = self.later.get(&number).and_then(|states| states.last());
        last.or_else(|| self.durable.get(&number)).copied().unwrap_or([0; SECTOR as usize])
    }

    /// Outer error: nothing is done any more. Inner: this is done, in part, and not answered.
    fn take(&mut self, verb: Verb) -> Result<Result<(), StoreError>, StoreError> {
        let dark = StoreError { verb, offset: 0, len: 0, cause: Cause::Other("the power is out".into()) };
        match self.power {
            0 => Err(dark),
            1 => {
                self.power = 0;
                Ok(Err(dark))
            }
            _ => {
                self.power -= 1;
                Ok(Ok(()))
            }
        }
    }
}

impl Store for CrashStore {
    fn geometry(&self) -> Geometry {
        Geometry { size: self.size, block_min: 1, block_preferred: 4096 }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { write: true, flush: true, trim: true, fast_zero: true, map: true, multi_conn: true }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let inner = self.inner();
        assert!(offset + buf.len() as u64 <= self.size);
        for (number, part) in sectors(offset..offset + buf.len() as u64) {
            let first = number * SECTOR;
            let from = &inner.sector(number)[(part.start - first) as usize..(part.end - first) as usize];
            buf[(part.start - offset) as usize..(part.end - offset) as usize].copy_from_slice(from);
        }
        Ok(())
    }

    fn try_read(&self, buf: &mut [u8], offset: u64) -> Result<bool, StoreError> {
        self.read_at(buf, offset).map(|()| true)
    }

    fn write_at(&self, buf: &[u8], offset: u64, durability: Durability) -> Result<(), StoreError> {
        self.change(Verb::Write, offset..offset + buf.len() as u64, durability, |into, at| {
            into.copy_from_slice(&buf[(at - offset) as usize..][..into.len()]);
        })
    }

    fn zero(&self, offset: u64, len: u64, _: ZeroHow, durability: Durability) -> Result<(), StoreError> {
        self.change(Verb::Zero, offset..offset + len, durability, |into, _| into.fill(0))
    }

    fn trim(&self, offset: u64, len: u64, durability: Durability) -> Result<(), StoreError> {
        self.change(Verb::Trim, offset..offset + len, durability, |into, _| into.fill(0))
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut inner = self.inner();
        inner.take(Verb::Flush)??;
        let later = std::mem::take(&mut inner.later);
        inner
            .durable
            .extend(later.into_iter().filter_map(|(number, states)| Some((number, *states.last()?))));
        drop(inner);
        let act = self.after_flush.lock().expect("whole").take();
        if let Some(act) = act {
            act();
        }
        Ok(())
    }

    fn cache(&self, _: u64, _: u64) -> Result<(), StoreError> {
        Ok(())
    }

    fn map(&self, offset: u64, len: u64, _: usize) -> Result<Vec<Extent>, StoreError> {
        let inner = self.inner();
        let written = |number: u64| inner.later.contains_key(&number) || inner.durable.contains_key(&number);
        let (first, last) = (offset / SECTOR, (offset + len).div_ceil(SECTOR));
        let zero = !written(first);
        let end = (first..last).find(|&number| written(number) == zero).unwrap_or(last) * SECTOR;
        Ok(vec![Extent { len: end.min(offset + len) - offset, hole: zero, zero }])
    }

    fn verify(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
