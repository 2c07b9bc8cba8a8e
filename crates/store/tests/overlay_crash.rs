//! An overlay that stays, when the power fails (P6): what was promised is there, and everything else is something that
//! once was there.
#![allow(missing_docs)]

mod crash;

use crash::{CrashStore, SECTOR, Sector, sectors};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::{Capabilities, Durability, Extent, Geometry, OverlayStore, Store, StoreError, ZeroHow};
use testkit::pattern::mix;

const PAGE: u64 = 4096;
/// Three blocks of the bitmap, and a page that is no whole one.
const SIZE: u64 = (300 << 20) + 1234;
/// Pages that are used: at the edges of words, sectors and blocks of the bitmap, and at the end.
const PAGES: [u64; 10] = [0, 1, 63, 64, 4095, 4096, 32_767, 32_768, 65_536, SIZE / PAGE];
const PUNCH: ZeroHow = ZeroHow { may_punch: true, fast_only: false };
const HISTORIES: u64 = 2000;

/// A base as large as one likes. Never zero: what lies unwritten in an overlay would show.
struct Patterned;

/// The byte of which all of a sector consists.
fn content(sector: u64) -> u8 {
    mix(sector) as u8 | 1
}

fn is_content(bytes: &[u8], offset: u64) -> bool {
    (offset..).zip(bytes).all(|(at, byte)| *byte == content(at / SECTOR))
}

/// One overlay through several losses of power, beside all that its sectors may hold.
struct History {
    random: u64,
    /// What a sector may be after a cut, the last one being what it is now. One that is not here is the base's.
    sectors: BTreeMap<u64, Vec<Sector>>,
}

impl History {
    fn next(&mut self) -> u64 {
        self.random = mix(self.random);
        self.random
    }

    /// From one loss of power to the next. The disk as it is found then.
    fn live(&mut self, disk: CrashStore) -> CrashStore {
        disk.power(1 + self.next() % 60);
        let disk = Arc::new(disk);
        if let Ok(overlay) = OverlayStore::kept(Arc::new(Patterned), disk.clone()) {
            self.look(&overlay);
            while self.step(&overlay).is_ok() {}
        }
        disk.cut(self.next())
    }

    /// Every sector is something that it may be, and from now on nothing else.
    fn look(&mut self, overlay: &OverlayStore) {
        for page in PAGES {
            let range = page * PAGE..((page + 1) * PAGE).min(SIZE);
            let mut bytes = [0; PAGE as usize];
            let len = (range.end - range.start) as usize;
            overlay.read_at(&mut bytes[..len], range.start).expect("what is there can be read");
            for ((number, _), found) in sectors(range).zip(bytes.chunks(SECTOR as usize)) {
                let states = self.states(number);
                let known = states.iter().any(|state| state == found);
                assert!(known, "page {page}, sector {number}: none of {}", states.len());
                states.retain(|state| state == found);
                states.truncate(1);
            }
        }
    }

    fn step(&mut self, overlay: &OverlayStore) -> Result<(), StoreError> {
        let verb = self.next() % 16;
        if verb < 3 {
            overlay.flush()?;
            self.promise(0..SIZE);
            return Ok(());
        }
        let durability = if verb == 3 { Durability::Durable } else { Durability::Cached };
        let range = self.range();
        let (offset, len) = (range.start, range.end - range.start);
        let done = if verb < 12 {
            let byte = self.next() as u8;
            self.change(range.clone(), byte);
            overlay.write_at(&vec![byte; len as usize], offset, durability)
        } else {
            self.change(range.clone(), 0);
            overlay.zero(offset, len, PUNCH, durability)
        };
        if done.is_ok() && durability == Durability::Durable {
            self.promise(range);
        }
        done
    }

    /// Often a whole page, else a part of one or of two that are neighbours.
    fn range(&mut self) -> std::ops::Range<u64> {
        let page = PAGES[self.next() as usize % PAGES.len()];
        let start = page * PAGE;
        if self.next().is_multiple_of(3) {
            return start..(start + PAGE).min(SIZE);
        }
        let start = (start + self.next() % PAGE).min(SIZE);
        let end = start + self.next() % 6000;
        // Only pages that are looked at.
        let reach = if PAGES.contains(&(page + 1)) { page + 2 } else { page + 1 };
        start..end.min(reach * PAGE).min(SIZE)
    }

    fn change(&mut self, range: std::ops::Range<u64>, byte: u8) {
        for (number, part) in sectors(range) {
            let states = self.states(number);
            let mut sector = *states.last().expect("it is something now");
            let first = number * SECTOR;
            sector[(part.start - first) as usize..(part.end - first) as usize].fill(byte);
            states.push(sector);
        }
    }

    fn promise(&mut self, range: std::ops::Range<u64>) {
        for (_, states) in self.sectors.range_mut(range.start / SECTOR..range.end.div_ceil(SECTOR)) {
            states.drain(..states.len() - 1);
        }
    }

    fn states(&mut self, number: u64) -> &mut Vec<Sector> {
        self.sectors.entry(number).or_insert_with(|| {
            let mut sector = [content(number); SECTOR as usize];
            // Behind the end there is nothing.
            let end = (SIZE - number * SECTOR).min(SECTOR) as usize;
            sector[end..].fill(0);
            vec![sector]
        })
    }
}

#[test]
fn what_was_promised_survives_any_loss_of_power_and_nothing_else_appears() {
    for seed in 0..HISTORIES {
        let mut history = History { random: mix(seed), sectors: BTreeMap::new() };
        let mut disk = CrashStore::new(OverlayStore::kept_size(SIZE));
        for _ in 0..4 {
            disk = history.live(disk);
        }
        let overlay = OverlayStore::kept(Arc::new(Patterned), Arc::new(disk)).expect("it is an overlay");
        history.look(&overlay);
    }
}

/// A disk that was used for something else, and the power fails while it is made an overlay: it never speaks of pages that
/// nobody wrote.
#[test]
fn a_disk_with_something_on_it_is_made_an_overlay_or_left_to_be_made_one() {
    let size = 40 * PAGE;
    let mut bytes = vec![0xff; OverlayStore::kept_size(size) as usize];
    bytes[..PAGE as usize].fill(0);
    let base = || Arc::new(CrashStore::from_bytes(&vec![7; size as usize]));
    for (power, seed) in (1..8).flat_map(|power| (0..50).map(move |seed| (power, seed))) {
        let disk = Arc::new(CrashStore::from_bytes(&bytes));
        disk.power(power);
        let made = OverlayStore::kept(base(), disk.clone()).is_ok();
        assert_eq!(made, power > 4, "zeros, flush, header, flush");
        let overlay =
            OverlayStore::kept(base(), Arc::new(disk.cut(seed))).expect("it is one, or becomes one");
        let mut found = vec![0; size as usize];
        overlay.read_at(&mut found, 0).expect("read");
        assert!(found.iter().all(|&byte| byte == 7), "after {power} operations, seed {seed}");
    }
}

/// A page that is first written while a flush is under way, after the disk has flushed: its bit must wait for the next
/// flush, as its bytes do.
#[test]
fn a_page_that_comes_during_a_flush_is_not_said_to_be_there() {
    for seed in 0..50 {
        let disk = Arc::new(CrashStore::new(OverlayStore::kept_size(SIZE)));
        let overlay = Arc::new(OverlayStore::kept(Arc::new(Patterned), disk.clone()).expect("new"));
        overlay.write_at(&[1; 100], 0, Durability::Cached).expect("written");
        let late = overlay.clone();
        disk.after_flush(move || late.write_at(&[2; 4096], PAGE, Durability::Cached).expect("written"));
        // The flush of the bytes, the late page, the bits, and the flush of these that fails.
        disk.power(4);
        overlay.flush().expect_err("the power fails");
        let disk = Arc::new(disk.cut(seed));
        let again = OverlayStore::kept(Arc::new(Patterned), disk).expect("it is an overlay");
        let mut found = [0; 4096];
        again.read_at(&mut found, PAGE).expect("read");
        assert!(is_content(&found, PAGE), "seed {seed}");
    }
}

/// And the next flush must know that its bit is still to be written.
#[test]
fn a_page_that_comes_during_a_flush_is_saved_by_the_next() {
    let disk = Arc::new(CrashStore::new(OverlayStore::kept_size(SIZE)));
    let overlay = Arc::new(OverlayStore::kept(Arc::new(Patterned), disk.clone()).expect("new"));
    overlay.write_at(&[1; 100], 0, Durability::Cached).expect("written");
    let late = overlay.clone();
    disk.after_flush(move || late.write_at(&[2; 4096], PAGE, Durability::Cached).expect("written"));
    overlay.flush().expect("flushed");
    overlay.flush().expect("flushed");
    disk.power(0);
    let again = OverlayStore::kept(Arc::new(Patterned), Arc::new(disk.cut(0))).expect("it is an overlay");
    let mut found = [0; 4096];
    again.read_at(&mut found, PAGE).expect("read");
    assert_eq!(found, [2; 4096]);
}

/// Somebody writes to a page in the very moment in which another's first write of it shows, and is told that it is durable:
/// then the page is, whatever the other has been told.
#[test]
fn a_durable_write_to_a_page_that_has_just_come_is_durable() {
    const ROUNDS: u64 = 1500;
    for round in 0..ROUNDS {
        let base = || Arc::new(CrashStore::from_bytes(&[7; PAGE as usize]));
        let disk = Arc::new(CrashStore::new(OverlayStore::kept_size(PAGE)));
        let overlay = OverlayStore::kept(base(), disk.clone()).expect("new");
        let mut found = [0; 2];
        std::thread::scope(|scope| {
            scope.spawn(|| overlay.write_at(&[1; PAGE as usize], 0, Durability::Cached).expect("written"));
            while found[0] != 1 {
                overlay.read_at(&mut found, 0).expect("read");
            }
            overlay.write_at(&[2], 1, Durability::Durable).expect("written");
            disk.power(0);
        });
        let again = OverlayStore::kept(base(), Arc::new(disk.cut(round))).expect("it is an overlay");
        again.read_at(&mut found, 0).expect("read");
        assert_eq!(found, [1, 2], "round {round}");
    }
}

/// A merge that the power cuts off at any point loses nothing: through the overlay everything is what it was, and the
/// merge is done again.
#[test]
fn a_merge_into_the_base_is_done_again_after_any_loss_of_power() {
    let size = 40 * PAGE + 777;
    let before: Vec<u8> = (0..size).map(|at| content(at / SECTOR)).collect();
    let mut wanted = before.clone();
    let upper = Arc::new(CrashStore::new(OverlayStore::kept_size(size)));
    let overlay = OverlayStore::kept(Arc::new(CrashStore::from_bytes(&before)), upper.clone()).expect("new");
    for page in [0, 3, 4, 5, 9, 20, 40] {
        let range = page * PAGE + 7..((page + 1) * PAGE).min(size);
        wanted[range.start as usize..range.end as usize].fill(page as u8 + 1);
        let data = &wanted[range.start as usize..range.end as usize];
        overlay.write_at(data, range.start, Durability::Cached).expect("written");
    }
    overlay.zero(30 * PAGE, 3 * PAGE, PUNCH, Durability::Cached).expect("zeroed");
    wanted[30 * PAGE as usize..33 * PAGE as usize].fill(0);
    overlay.flush().expect("flushed");

    let mut interrupted = 0;
    for power in 1.. {
        let base = Arc::new(CrashStore::from_bytes(&before));
        base.power(power);
        let overlay = OverlayStore::kept(base.clone(), Arc::new(upper.cut(0))).expect("the same");
        if overlay.commit().is_ok() {
            break;
        }
        interrupted += 1;
        let base = Arc::new(base.cut(power));
        let overlay = OverlayStore::kept(base.clone(), Arc::new(upper.cut(0))).expect("the same");
        let mut found = vec![0; size as usize];
        overlay.read_at(&mut found, 0).expect("read");
        assert!(found == wanted, "after {power} operations");
        assert_eq!(overlay.commit(), Ok(10), "after {power} operations");
        assert!(base.durable() == wanted, "after {power} operations");
    }
    assert!(interrupted > 5, "{interrupted}");
}

impl Store for Patterned {
    fn geometry(&self) -> Geometry {
        Geometry { size: SIZE, block_min: 1, block_preferred: 4096 }
    }
    fn capabilities(&self) -> Capabilities {
        let can = CrashStore::new(0).capabilities();
        Capabilities { write: false, trim: false, ..can }
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        for (number, part) in sectors(offset..offset + buf.len() as u64) {
            buf[(part.start - offset) as usize..(part.end - offset) as usize].fill(content(number));
        }
        Ok(())
    }
    fn try_read(&self, _: &mut [u8], _: u64) -> Result<bool, StoreError> {
        Ok(false)
    }
    fn write_at(&self, _: &[u8], _: u64, _: Durability) -> Result<(), StoreError> {
        panic!("a base is not written");
    }
    fn zero(&self, _: u64, _: u64, _: ZeroHow, _: Durability) -> Result<(), StoreError> {
        panic!("a base is not written");
    }
    fn trim(&self, _: u64, _: u64, _: Durability) -> Result<(), StoreError> {
        panic!("a base is not written");
    }
    fn flush(&self) -> Result<(), StoreError> {
        panic!("a base is not written");
    }
    fn cache(&self, _: u64, _: u64) -> Result<(), StoreError> {
        Ok(())
    }
    fn map(&self, _: u64, len: u64, _: usize) -> Result<Vec<Extent>, StoreError> {
        Ok(vec![Extent { len, hole: false, zero: false }])
    }
    fn verify(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
