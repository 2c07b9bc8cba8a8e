//! Copy on write: what is seen by whom, what is copied, and what of it happens without waiting for others.
#![allow(missing_docs)]

use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;
use store::{
    Access, Capabilities, Cause, Durability, Extent, Layout, OverlayStore, Poison, Spec, Store, Verb, ZeroHow,
};
use testkit::{Fault, FaultStore, MemoryStore, TempDir, pattern};

const PAGE: u64 = 4096;
/// Ten pages and a part of one.
const SIZE: u64 = 10 * PAGE + 1234;
const PUNCH: ZeroHow = ZeroHow { may_punch: true, fast_only: false };

fn content() -> Vec<u8> {
    (0..SIZE).map(|at| pattern::mix(at) as u8 | 1).collect()
}

fn base() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::from_bytes(content()))
}

fn upper() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(SIZE as usize))
}

fn private(base: Arc<dyn Store>) -> OverlayStore {
    OverlayStore::private(base, upper()).expect("large enough")
}

fn read(store: &dyn Store, offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0xee; len as usize];
    store.read_at(&mut bytes, offset).expect("read");
    bytes
}

fn write(store: &dyn Store, byte: u8, offset: u64, len: u64) {
    store.write_at(&vec![byte; len as usize], offset, Durability::Cached).expect("written");
}

/// Twenty connections to an overlay would each have their own: a flush of one says nothing of the others (C-022, C-119).
#[test]
fn only_an_overlay_that_stays_is_one_for_all_connections() {
    let can = private(base()).capabilities();
    let all =
        Capabilities { write: true, flush: true, trim: true, fast_zero: true, map: true, multi_conn: false };
    assert_eq!(can, all);
    let upper = Arc::new(MemoryStore::new(OverlayStore::kept_size(SIZE) as usize));
    let kept = OverlayStore::kept(base(), upper).expect("new");
    assert_eq!(kept.capabilities(), Capabilities { multi_conn: true, ..all });
    assert_eq!((kept.geometry().size, private(base()).geometry().size), (SIZE, SIZE));
    let small = OverlayStore::private(base(), Arc::new(MemoryStore::new(SIZE as usize - 1)));
    assert!(matches!(small.map(|_| ()).expect_err("too small").cause, Cause::Unsupported(_)));
}

/// C-182: own changes are seen by whoever made them, nobody else sees them, and a base that cannot be written will do.
#[test]
fn changes_are_seen_by_oneself_and_by_nobody_else() {
    let base = Arc::new(MemoryStore::read_only(SIZE as usize));
    let (one, two) = (private(base.clone()), private(base.clone()));
    write(&one, 1, 100, 5000);
    write(&two, 2, 4096, 10);
    one.zero(8192, 50, PUNCH, Durability::Durable).expect("zeroed");
    one.flush().expect("flushed");
    assert_eq!(read(&one, 99, 5002), [&[0][..], &[1; 5000], &[0]].concat());
    assert_eq!(read(&two, 4095, 12), [&[0][..], &[2; 10], &[0]].concat());
    assert!(base.bytes().iter().all(|&byte| byte == 0));
}

/// C-186: in the original the last page, when it is no whole one, shares its place with another.
#[test]
fn the_last_page_is_its_own_when_it_is_no_whole_one() {
    for (first, second) in [((SIZE - 300, 300), (0, PAGE)), ((0, PAGE), (SIZE - 300, 300))] {
        let store = private(base());
        write(&store, 1, first.0, first.1);
        write(&store, 2, second.0, second.1);
        let mut wanted = content();
        wanted[first.0 as usize..(first.0 + first.1) as usize].fill(1);
        wanted[second.0 as usize..(second.0 + second.1) as usize].fill(2);
        assert!(read(&store, 0, SIZE) == wanted);
        // As a whole it needs nothing of the base.
        write(&store, 3, 10 * PAGE, SIZE - 10 * PAGE);
        assert_eq!(read(&store, SIZE - 1234, 1234), [3; 1234]);
    }
}

/// C-136: also at the start, where the original refuses it, and at the very end.
#[test]
fn requests_of_no_length_succeed_wherever_they_are() {
    let store = private(base());
    for durability in [Durability::Cached, Durability::Durable] {
        for offset in [0, 1, PAGE, SIZE - 1, SIZE] {
            store.read_at(&mut [], offset).expect("nothing");
            assert_eq!(store.try_read(&mut [], offset), Ok(true));
            store.write_at(&[], offset, durability).expect("nothing");
            store.zero(offset, 0, PUNCH, durability).expect("nothing");
            store.trim(offset, 0, durability).expect("nothing");
            store.cache(offset, 0).expect("nothing");
        }
    }
    assert!(read(&store, 0, SIZE) == content());
    assert_eq!(store.map(0, SIZE, 10).expect("a map").len(), 1, "and no page came to be");
}

/// C-189: a trim makes holes of whole pages, or does nothing where that would not be quick.
#[test]
fn a_trim_makes_whole_pages_zero_and_leaves_the_rest() {
    let store = private(base());
    store.trim(100, 3 * PAGE, Durability::Durable).expect("trimmed");
    let mut wanted = content();
    wanted[PAGE as usize..3 * PAGE as usize].fill(0);
    assert!(read(&store, 0, SIZE) == wanted);
    store.trim(10 * PAGE, 1234, Durability::Cached).expect("the last page is whole");
    store.trim(9 * PAGE + 1, 1000, Durability::Cached).expect("no page is");
    wanted[10 * PAGE as usize..].fill(0);
    assert!(read(&store, 0, SIZE) == wanted);

    let slow = Arc::new(FaultStore::over(upper()));
    let store = OverlayStore::private(base(), slow.clone()).expect("large enough");
    slow.on_every(Verb::Zero, Fault::Fail(Cause::Unsupported("not quickly".into())));
    store.trim(0, SIZE, Durability::Durable).expect("a hint");
    assert!(read(&store, 0, SIZE) == content());
}

/// What cannot be done quickly is not begun, at no edge.
#[test]
fn a_fast_zero_that_is_refused_has_changed_nothing() {
    let slow = Arc::new(FaultStore::over(upper()));
    let store = OverlayStore::private(base(), slow.clone()).expect("large enough");
    slow.on_every(Verb::Zero, Fault::Fail(Cause::Unsupported("not quickly".into())));
    let fast = ZeroHow { may_punch: false, fast_only: true };
    let refused = store.zero(100, 3 * PAGE, fast, Durability::Cached).expect_err("refused");
    assert!(matches!(refused.cause, Cause::Unsupported(_)));
    assert!(read(&store, 0, SIZE) == content());
    assert_eq!(slow.calls(Verb::Write), 0);
}

/// C-187: what was written is read back, and costs as much space as it has pages.
#[test]
fn a_file_of_changes_is_sparse_and_holds_them() {
    let dir = TempDir::new("overlay");
    let size = 1 << 40;
    let spec =
        Spec { path: dir.sparse("base", size), filesize: None, write: Access::ReadOnly, layout: Layout::One };
    let base = store::open(&spec, Arc::default()).expect("it opens").store;
    let diff = store::scratch(dir.path(), "base", "unix", size, Arc::default()).expect("a diff file");
    let kept_size = OverlayStore::kept_size(size);
    let kept = || store::open_overlay(&dir.join("kept"), kept_size, Arc::default()).expect("its file");
    let private = OverlayStore::private(base.clone(), Arc::new(diff)).expect("large enough");
    let stays = OverlayStore::kept(base.clone(), Arc::new(kept())).expect("new");
    for store in [&private, &stays] {
        for at in [size / 2, size - 100] {
            write(store, 7, at, 100);
            assert_eq!(read(store, at - 1, 101)[..2], [0, 7]);
        }
        store.flush().expect("flushed");
        let data = store.map(0, size, 100).expect("a map").into_iter().filter(|extent| !extent.hole);
        assert_eq!(data.map(|extent| extent.len).sum::<u64>(), 2 * PAGE);
    }
    let diff = dir.join(&format!("base-unix-{}.diff", std::process::id()));
    let blocks = |path| std::fs::metadata(path).expect("there").blocks();
    assert!(blocks(diff) <= 64 && blocks(dir.join("kept")) <= 128);
    drop(stays);
    let again = OverlayStore::kept(base, Arc::new(kept())).expect("the same");
    assert_eq!(read(&again, size - 100, 100), [7; 100]);
}

/// A page is there only when all of it is.
#[test]
fn a_page_that_could_not_be_made_whole_is_still_the_bases() {
    let (below, above) = (Arc::new(FaultStore::over(base())), Arc::new(FaultStore::over(upper())));
    let store = OverlayStore::private(below.clone(), above.clone()).expect("large enough");
    below.on_next(Verb::Read, Fault::Fail(Cause::Io(5)));
    store.write_at(&[1; 10], 5, Durability::Cached).expect_err("the base cannot be read");
    assert_eq!(above.calls(Verb::Write), 0);
    above.on_next(Verb::Write, Fault::Short(3));
    store.write_at(&[1; 10], 5, Durability::Cached).expect_err("the page cannot be written");
    above.on_next(Verb::Write, Fault::Short(5000));
    store.write_at(&[1; 3 * PAGE as usize], PAGE, Durability::Cached).expect_err("these neither");
    assert!(read(&store, 0, SIZE) == content());
}

/// Pages are copied one by one where they must be; everything else goes through in one piece.
#[test]
fn what_lies_together_is_read_and_written_together() {
    let (below, above) = (Arc::new(FaultStore::over(base())), Arc::new(FaultStore::over(upper())));
    let store = OverlayStore::private(below.clone(), above.clone()).expect("large enough");
    write(&store, 1, 2 * PAGE, 3 * PAGE);
    assert_eq!((above.calls(Verb::Write), below.calls(Verb::Read)), (1, 0), "whole pages are not copied");
    read(&store, 10, SIZE - 20);
    assert_eq!((below.calls(Verb::Read), above.calls(Verb::Read)), (2, 1), "absent, there, absent");
    write(&store, 2, PAGE + 10, 7 * PAGE);
    assert_eq!(
        (below.calls(Verb::Read), above.calls(Verb::Write)),
        (4, 4),
        "the first page, the last, the rest"
    );
    write(&store, 3, PAGE + 10, 7 * PAGE);
    assert_eq!((below.calls(Verb::Read), above.calls(Verb::Write)), (4, 5), "and now nothing is copied");
    write(&store, 4, 9 * PAGE + 5, 5);
    assert_eq!((below.calls(Verb::Read), above.calls(Verb::Write)), (5, 6));
}

#[test]
fn what_is_at_hand_is_all_of_it_or_nothing() {
    let (below, above) = (Arc::new(FaultStore::over(base())), Arc::new(FaultStore::over(upper())));
    let store = OverlayStore::private(below.clone(), above.clone()).expect("large enough");
    write(&store, 1, PAGE, PAGE);
    let at_hand = |offset, len| store.try_read(&mut vec![0; len], offset).expect("no error");
    assert!(at_hand(0, SIZE as usize));
    below.never_at_hand();
    assert!(at_hand(PAGE, 4096) && !at_hand(PAGE, 4097) && !at_hand(0, 10));
    above.never_at_hand();
    assert!(!at_hand(PAGE, 4096));
}

#[test]
fn a_map_joins_what_is_alike_and_stops_where_it_is_full() {
    let base = Arc::new(MemoryStore::new(SIZE as usize));
    write(&*base, 1, 4 * PAGE, 3 * PAGE);
    let store = private(base);
    write(&store, 2, 3 * PAGE, PAGE);
    write(&store, 2, 7 * PAGE, PAGE);
    store.zero(5 * PAGE, PAGE, PUNCH, Durability::Cached).expect("zeroed");
    let hole = |len| Extent { len, hole: true, zero: true };
    let data = |len| Extent { len, hole: false, zero: false };
    let all = [hole(3 * PAGE), data(2 * PAGE), hole(PAGE), data(2 * PAGE), hole(SIZE - 8 * PAGE)];
    assert_eq!(store.map(0, SIZE, 100), Ok(all.to_vec()));
    for max in 1..5 {
        assert_eq!(store.map(0, SIZE, max), Ok(all[..max].to_vec()));
    }
    assert_eq!(store.map(3 * PAGE + 5, 10, 100), Ok(vec![data(10)]));
}

/// An acknowledged write may not be undone by somebody else's copy of the base. The base is slow here, so that there is
/// time for it.
#[test]
fn bytes_of_the_base_never_land_over_what_somebody_has_written() {
    for round in 0..1000 {
        let store = private(Arc::new(Dawdling(base())));
        let together = Barrier::new(3);
        thread::scope(|scope| {
            scope.spawn(|| {
                together.wait();
                write(&store, 1, 100, 100);
            });
            scope.spawn(|| {
                together.wait();
                match round % 2 {
                    0 => write(&store, 0, 0, PAGE),
                    _ => store.zero(0, PAGE, PUNCH, Durability::Cached).expect("zeroed"),
                }
            });
            scope.spawn(|| {
                together.wait();
                write(&store, 2, PAGE - 50, 100);
            });
        });
        let after = read(&store, 0, PAGE + 60);
        let zeros = |range: std::ops::Range<usize>| after[range].iter().all(|&byte| byte == 0);
        assert!(zeros(0..100) && zeros(200..4000), "round {round}: the whole page was written");
        assert!(after[100..200] == [1; 100] || zeros(100..200), "round {round}: one after the other");
        assert!(after[4046..4096] == [2; 50] || zeros(4046..4096), "round {round}");
        assert_eq!((&after[4096..4146], after[4146]), (&[2; 50][..], content()[4146]));
    }
}

/// Each thread has its own bytes of every page, and always finds in them what it wrote last.
#[test]
fn many_writers_of_shared_pages_keep_their_bytes() {
    const SHARE: u64 = PAGE / 4;
    for round in 0..300 {
        let store = private(Arc::new(Dawdling(base())));
        let together = Barrier::new(4);
        thread::scope(|scope| {
            for thread in 0..4 {
                let (store, together) = (&store, &together);
                scope.spawn(move || {
                    together.wait();
                    let mut random = pattern::mix(round << 8 | thread);
                    for byte in 1..=10 {
                        random = pattern::mix(random);
                        let at = random / 5 % 3 * PAGE + thread * SHARE;
                        match random % 5 {
                            0 => store.zero(at, SHARE, PUNCH, Durability::Cached).expect("zeroed"),
                            _ => write(store, byte, at, SHARE),
                        }
                        let wanted = if random.is_multiple_of(5) { 0 } else { byte };
                        assert_eq!(read(store, at, SHARE), vec![wanted; SHARE as usize]);
                    }
                });
            }
        });
    }
}

/// One page that is slow to come must not hold up those that are there.
#[test]
fn a_first_touch_that_hangs_holds_up_no_page_that_is_there() {
    let below = Arc::new(FaultStore::over(base()));
    let store = Arc::new(private(below.clone()));
    write(&*store, 1, PAGE, 2 * PAGE);
    below.on_next(Verb::Read, Fault::Stick);
    let (done, is_done) = mpsc::channel();
    let stuck = thread::spawn({
        let store = store.clone();
        move || write(&*store, 2, 5, 5)
    });
    assert!(below.wait_until_stuck(1, Duration::from_secs(10)));
    let free = thread::spawn({
        let store = store.clone();
        move || {
            write(&*store, 3, PAGE + 5, PAGE);
            store.zero(PAGE, 5, PUNCH, Durability::Durable).expect("zeroed");
            store.trim(PAGE, PAGE, Durability::Cached).expect("trimmed");
            read(&*store, 0, SIZE);
            store.flush().expect("flushed");
            done.send(()).expect("somebody waits");
        }
    });
    let in_time = is_done.recv_timeout(Duration::from_secs(10));
    below.release();
    stuck.join().expect("it ends");
    free.join().expect("it ends");
    assert_eq!(in_time, Ok(()));
}

/// P6: what the file beneath cannot promise, the overlay does not.
#[test]
fn a_failed_sync_beneath_stays_failed() {
    let dir = TempDir::new("overlay");
    let poison = Arc::new(Poison::new());
    let size = OverlayStore::kept_size(SIZE);
    let upper = store::open_overlay(&dir.join("kept"), size, poison.clone()).expect("its file");
    let store = OverlayStore::kept(base(), Arc::new(upper)).expect("new");
    write(&store, 1, 0, 10);
    poison.remember("fdatasync: I/O error");
    assert_eq!(store.flush().expect_err("refused").cause, Cause::Poisoned);
    let durable = store.write_at(&[1; 10], 0, Durability::Durable);
    assert_eq!(durable.expect_err("refused").cause, Cause::Poisoned);
    assert_eq!(store.commit().expect_err("what was lost is not carried on").cause, Cause::Poisoned);
    assert!(read(&store, 10, SIZE - 10) == content()[10..]);
}

/// Gives others a chance while it reads.
struct Dawdling(Arc<MemoryStore>);

impl Store for Dawdling {
    fn geometry(&self) -> store::Geometry {
        self.0.geometry()
    }
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), store::StoreError> {
        for _ in 0..20 {
            thread::yield_now();
        }
        self.0.read_at(buf, offset)
    }
    fn try_read(&self, _: &mut [u8], _: u64) -> Result<bool, store::StoreError> {
        Ok(false)
    }
    fn write_at(&self, _: &[u8], _: u64, _: Durability) -> Result<(), store::StoreError> {
        panic!("a base is not written");
    }
    fn zero(&self, _: u64, _: u64, _: ZeroHow, _: Durability) -> Result<(), store::StoreError> {
        panic!("a base is not written");
    }
    fn trim(&self, _: u64, _: u64, _: Durability) -> Result<(), store::StoreError> {
        panic!("a base is not written");
    }
    fn flush(&self) -> Result<(), store::StoreError> {
        panic!("a base is not written");
    }
    fn cache(&self, _: u64, _: u64) -> Result<(), store::StoreError> {
        Ok(())
    }
    fn map(&self, offset: u64, len: u64, max: usize) -> Result<Vec<Extent>, store::StoreError> {
        self.0.map(offset, len, max)
    }
    fn verify(&self) -> Result<(), store::StoreError> {
        Ok(())
    }
}

/// P6: what goes with its session need not survive a power cut, and nobody waits for that; what stays does.
#[test]
fn only_what_stays_is_flushed_when_its_user_leaves() {
    let flushes = |kept: bool| {
        let upper = Arc::new(MemoryStore::new(OverlayStore::kept_size(SIZE) as usize));
        let over = if kept { OverlayStore::kept } else { OverlayStore::private };
        let store = over(Arc::new(MemoryStore::new(SIZE as usize)), upper.clone()).expect("large enough");
        write(&store, 1, 0, 1);
        let before = upper.flushes();
        store.leave().expect("left");
        upper.flushes() > before
    };
    assert_eq!((flushes(false), flushes(true)), (false, true));
}
