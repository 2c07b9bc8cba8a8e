//! Random operations against a store and against plain bytes beside it; both must always say the same.

use crate::pattern::mix;
use store::{Cause, Durability, Store, StoreError, ZeroHow};

/// A store under test, and what it must hold.
pub struct Model<'a> {
    store: &'a dyn Store,
    bytes: Vec<u8>,
    state: u64,
}

impl<'a> Model<'a> {
    /// Begins with what the store holds now. The same seed does the same operations.
    ///
    /// # Panics
    /// Where it cannot be read.
    pub fn new(store: &'a dyn Store, seed: u64) -> Self {
        let mut bytes = vec![0; store.geometry().size as usize];
        store.read_at(&mut bytes, 0).expect("the whole store can be read");
        Self { store, bytes, state: seed }
    }

    /// What the store must hold now.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Does so many operations and looks at each answer.
    ///
    /// # Panics
    /// With the operation, where store and model disagree or the store fails.
    pub fn run(&mut self, operations: u64) {
        for number in 0..operations {
            let what = self.step();
            what.unwrap_or_else(|(what, error)| panic!("operation {number}: {what}: {error}"));
        }
        self.compare(0, self.bytes.len());
    }

    fn step(&mut self) -> Result<(), (String, StoreError)> {
        let (offset, len) = self.range();
        let durability = if self.chance(50) { Durability::Durable } else { Durability::Cached };
        let range = offset..offset + len;
        let (at, size) = (offset as u64, len as u64);
        let verb = self.next() % 100;
        let failed = |what: &str| {
            let what = format!("{what} of {len} at {offset}, {durability:?}");
            move |error| (what, error)
        };
        match verb {
            0..35 => {
                let fill = self.next();
                let data: Vec<u8> = (0..size).map(|n| mix(fill ^ n) as u8).collect();
                self.store.write_at(&data, at, durability).map_err(failed("write"))?;
                self.bytes[range].copy_from_slice(&data);
            }
            35..50 => {
                let how = ZeroHow { may_punch: self.chance(2), fast_only: self.chance(4) };
                match self.store.zero(at, size, how, durability) {
                    Ok(()) => self.bytes[range].fill(0),
                    Err(StoreError { cause: Cause::Unsupported(_), .. }) if how.fast_only => {}
                    Err(error) => return Err(failed("zero")(error)),
                }
            }
            50..58 => {
                self.store.trim(at, size, durability).map_err(failed("trim"))?;
                // Nobody may count on what is there now, but it has to stay what it is.
                let mut now = vec![0; len];
                self.store.read_at(&mut now, at).map_err(failed("read after trim"))?;
                self.bytes[range].copy_from_slice(&now);
            }
            58..62 => self.store.flush().map_err(failed("flush"))?,
            62..64 => self.store.cache(at, size).map_err(failed("cache"))?,
            64..72 => self.check_map(at, size).map_err(failed("map"))?,
            _ => self.compare(offset, len),
        }
        if verb < 58 {
            // Its neighbours too: most mistakes are made at an edge.
            let from = offset.saturating_sub(64);
            self.compare(from, (len + 128).min(self.bytes.len() - from));
        }
        Ok(())
    }

    fn check_map(&mut self, at: u64, len: u64) -> Result<(), StoreError> {
        if len == 0 {
            return Ok(());
        }
        let extents_max = (self.next() % 6 + 1) as usize;
        let extents = self.store.map(at, len, extents_max)?;
        assert!(!extents.is_empty() && extents.len() <= extents_max, "{extents:?} of at most {extents_max}");
        let mut from = at;
        for extent in &extents {
            assert!(extent.len > 0, "{extents:?}");
            let until = (from + extent.len).min(at + len);
            if extent.zero {
                let inside = &self.bytes[from as usize..until as usize];
                assert!(inside.iter().all(|&byte| byte == 0), "{extent:?} at {from} is not zero");
            }
            from = until;
        }
        assert!(from == at + len || extents.len() == extents_max, "the map ends at {from}: {extents:?}");
        Ok(())
    }

    #[track_caller]
    fn compare(&mut self, offset: usize, len: usize) {
        let wanted = &self.bytes[offset..offset + len];
        let mut read = vec![0xee; len];
        let at_hand = self.store.try_read(&mut read, offset as u64).expect("what is at hand can be read");
        if !at_hand {
            self.store.read_at(&mut read, offset as u64).expect("every byte can be read");
        }
        if let Some(wrong) = (0..len).find(|&n| read[n] != wanted[n]) {
            panic!("byte {} is {:#x} and must be {:#x}", offset + wrong, read[wrong], wanted[wrong]);
        }
    }

    /// Mostly small, often at an edge of a page, at times long, at times of no length, at times up to the very end.
    fn range(&mut self) -> (usize, usize) {
        let size = self.bytes.len();
        let near_page = |random: u64| (random as usize % (size / 4096 + 1)) * 4096;
        let mut offset = match self.next() % 4 {
            0 => near_page(self.next()),
            1 => near_page(self.next()).wrapping_add(4095),
            _ => self.next() as usize,
        };
        if offset > size {
            offset %= size + 1;
        }
        let rest = size - offset;
        let len = match self.next() % 16 {
            0 => 0,
            1 => rest,
            2 => 4096,
            3 => 8192,
            4..7 => self.next() as usize % 40_000,
            _ => self.next() as usize % 5000,
        };
        (offset, len.min(rest).min(64 << 10))
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.next().is_multiple_of(one_in)
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }
}
