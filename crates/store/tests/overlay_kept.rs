//! An overlay that stays: what its file must be, who may have it, and how it ends in its base.
#![allow(missing_docs)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use store::{
    Access, Cause, Durability, Layout, OverlayStore, Spec, Store, StoreError, Verb, ZeroHow, open_overlay,
};
use testkit::{Fault, FaultStore, MemoryStore, TempDir, pattern};

const PAGE: u64 = 4096;
const SIZE: u64 = 10 * PAGE + 1234;
const PUNCH: ZeroHow = ZeroHow { may_punch: true, fast_only: false };

fn content() -> Vec<u8> {
    (0..SIZE).map(|at| pattern::mix(at) as u8 | 1).collect()
}

fn base() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::from_bytes(content()))
}

fn upper() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(OverlayStore::kept_size(SIZE) as usize))
}

fn read(store: &dyn Store, offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0xee; len as usize];
    store.read_at(&mut bytes, offset).expect("read");
    bytes
}

fn write(store: &dyn Store, byte: u8, offset: u64, len: u64) {
    store.write_at(&vec![byte; len as usize], offset, Durability::Cached).expect("written");
}

fn why<T>(result: Result<T, StoreError>) -> String {
    result.map(|_| ()).expect_err("refused").cause.to_string()
}

/// Another file in the place of an overlay is refused in words, and is not written.
#[test]
fn what_is_no_overlay_for_this_base_is_refused_by_name() {
    let upper = upper();
    OverlayStore::kept(base(), upper.clone()).expect("new");
    let good = upper.bytes();
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let small = good[..good.len() - 1].to_vec();
    let other_size = SIZE - 1;
    let cases = [
        (changed(0, b'X'), SIZE, "not an overlay"),
        (changed(19, 2), SIZE, "version 2, and this server knows none after 1"),
        (changed(19, 0), SIZE, "damaged"),
        (changed(22, 0x20), SIZE, "pages of 8192 bytes"),
        (good.clone(), other_size, "made for a base of 42194 bytes, and this one has 42193"),
        (small, SIZE, "53248 are needed"),
        (vec![7; good.len()], SIZE, "not an overlay"),
    ];
    for (bytes, base_size, wanted) in cases {
        let there = Arc::new(MemoryStore::from_bytes(bytes.clone()));
        let refused = why(OverlayStore::kept(Arc::new(MemoryStore::new(base_size as usize)), there.clone()));
        assert!(refused.contains(wanted), "{refused}");
        assert!(there.bytes() == bytes);
    }
    OverlayStore::kept(base(), Arc::new(MemoryStore::from_bytes(good))).expect("the same again");
}

/// The form on disk, byte for byte: what one version wrote the next has to read.
#[test]
fn a_file_of_version_one_looks_like_this() {
    let upper = upper();
    let store = OverlayStore::kept(base(), upper.clone()).expect("new");
    write(&store, 7, PAGE, PAGE);
    write(&store, 8, SIZE - 1, 1);
    store.flush().expect("flushed");
    let bytes = upper.durable();
    let header =
        [&b"NBD overlay\0\r\n\x1a\n"[..], &[0, 0, 0, 1], &[0, 0, 0x10, 0], &SIZE.to_be_bytes()].concat();
    assert_eq!(bytes[..32], header);
    assert!(bytes[32..4096].iter().all(|&byte| byte == 0));
    assert_eq!(bytes[4096..4100], [0b0000_0010, 0b0000_0100, 0, 0]);
    assert!(bytes[8192 + 4096..8192 + 8192].iter().all(|&byte| byte == 7));
    assert_eq!(bytes[8192 + SIZE as usize - 1], 8);
}

/// Whatever stood in the place of the bitmap says nothing once the overlay is there.
#[test]
fn a_disk_with_something_on_it_begins_empty() {
    let mut bytes = vec![0xff; OverlayStore::kept_size(SIZE) as usize];
    bytes[..4096].fill(0);
    let upper = Arc::new(MemoryStore::from_bytes(bytes));
    for _ in 0..2 {
        let store = OverlayStore::kept(base(), upper.clone()).expect("an overlay");
        assert!(read(&store, 0, SIZE) == content());
    }
}

/// Each step of a flush may fail. The next one that succeeds has saved everything.
#[test]
fn a_flush_that_failed_is_made_good_by_the_next() {
    let faults = [(Verb::Flush, 1), (Verb::Write, 1), (Verb::Flush, 2)];
    for (verb, nth) in faults {
        let memory = upper();
        let above = Arc::new(FaultStore::over(memory.clone()));
        let store = OverlayStore::kept(base(), above.clone()).expect("new");
        write(&store, 7, 100, 100);
        above.on(verb, above.calls(verb) + nth, Fault::Fail(Cause::Io(5)));
        assert_eq!(store.flush().expect_err("it failed").cause, Cause::Io(5));
        store.flush().expect("flushed");
        let after = Arc::new(MemoryStore::from_bytes(memory.durable()));
        let after = OverlayStore::kept(base(), after).expect("the same");
        assert_eq!(read(&after, 100, 100), [7; 100], "{verb} {nth}");
    }
}

/// A client that waits for each write: once its page is known to be there, that costs one sync and not two.
#[test]
fn a_durable_write_of_a_page_that_is_saved_costs_one_sync() {
    let upper = upper();
    let store = OverlayStore::kept(base(), upper.clone()).expect("new");
    let before = upper.flushes();
    store.write_at(&[1; 10], 5, Durability::Durable).expect("written");
    assert_eq!(upper.flushes(), before + 2, "the bytes, then the bit");
    store.write_at(&[2; 10], 5, Durability::Durable).expect("written");
    store.flush().expect("flushed");
    assert_eq!(upper.flushes(), before + 4);
}

/// An error says where in the export it was, not where in the overlay's file.
#[test]
fn errors_name_the_place_in_the_export() {
    let above = Arc::new(FaultStore::over(upper()));
    let store = OverlayStore::kept(base(), above.clone()).expect("new");
    write(&store, 1, 0, 2 * PAGE);
    above.on_next(Verb::Read, Fault::Fail(Cause::Io(5)));
    let error = store.read_at(&mut [0; 10], PAGE + 1).expect_err("it failed");
    assert_eq!((error.offset, error.len), (PAGE + 1, 10));
}

/// Zeros go to the base as holes, wherever they come from.
#[test]
fn a_merge_makes_the_base_what_the_overlay_shows() {
    let base = base();
    let store = OverlayStore::kept(base.clone(), upper()).expect("new");
    write(&store, 7, 100, 100);
    write(&store, 0, 3 * PAGE, PAGE);
    write(&store, 8, 4 * PAGE, PAGE);
    store.zero(6 * PAGE, 2 * PAGE, PUNCH, Durability::Cached).expect("zeroed");
    write(&store, 9, SIZE - 10, 10);
    let shown = read(&store, 0, SIZE);
    assert!(base.bytes() == content(), "not before");
    assert_eq!(store.commit(), Ok(6));
    assert!(base.durable() == shown && read(&store, 0, SIZE) == shown);
    let holes = base.map(0, SIZE, 100).expect("a map").into_iter().filter(|extent| extent.hole);
    assert_eq!(holes.map(|extent| extent.len).collect::<Vec<_>>(), [PAGE, 2 * PAGE]);
    assert_eq!(store.commit(), Ok(6), "as often as one likes");
}

/// The base fails at its n-th change, for every n; then the merge is done again.
#[test]
fn a_merge_that_failed_at_any_step_is_done_again() {
    let verbs = [Verb::Write, Verb::Zero, Verb::Flush];
    let mut failed = 0;
    for (verb, nth) in verbs.iter().flat_map(|verb| (1..5).map(move |nth| (*verb, nth))) {
        let memory = base();
        let below = Arc::new(FaultStore::over(memory.clone()));
        let store = OverlayStore::kept(below.clone(), upper()).expect("new");
        for page in [1, 3, 5] {
            write(&store, 7, page * PAGE + 9, PAGE);
            store.zero((page + 1) * PAGE, PAGE, PUNCH, Durability::Cached).expect("zeroed");
        }
        let shown = read(&store, 0, SIZE);
        let fault = if nth % 2 == 0 { Fault::Fail(Cause::NoSpace) } else { Fault::Short(100) };
        below.on(verb, nth, fault);
        failed += u32::from(store.commit().is_err());
        assert!(read(&store, 0, SIZE) == shown, "{verb} {nth}");
        below.heal();
        store.commit().expect("merged");
        assert!(memory.durable() == shown, "{verb} {nth}");
    }
    assert!(failed >= 7, "{failed}");
}

#[test]
fn a_base_that_cannot_be_written_is_not_merged_into() {
    let dir = TempDir::new("kept");
    let spec =
        Spec { path: dir.sparse("base", SIZE), filesize: None, write: Access::ReadOnly, layout: Layout::One };
    let base = store::open(&spec, Arc::default()).expect("it opens").store;
    let store = OverlayStore::kept(base, upper()).expect("new");
    assert_eq!(store.commit(), Ok(0), "there is nothing to do");
    write(&store, 1, 0, 1);
    assert_eq!(store.commit().expect_err("refused").cause, Cause::Forbidden);
}

/// Two servers that write one overlay would each overwrite the other's bits.
#[test]
fn the_file_of_an_overlay_has_one_user_at_a_time() {
    let dir = TempDir::new("kept");
    let (path, size) = (dir.join("overlay"), OverlayStore::kept_size(SIZE));
    let file = open_overlay(&path, size, Arc::default()).expect("made");
    let made = fs::metadata(&path).expect("there");
    assert_eq!((made.len(), made.permissions().mode() & 0o7777), (size, 0o600));
    let refused = why(open_overlay(&path, size, Arc::default()));
    assert_eq!(refused, format!("the overlay {} is in use: somebody else has it", path.display()));
    let store = OverlayStore::kept(base(), Arc::new(file)).expect("new");
    write(&store, 7, 5, 5);
    store.flush().expect("flushed");
    drop(store);
    let file = open_overlay(&path, size, Arc::default()).expect("free again");
    assert_eq!(read(&OverlayStore::kept(base(), Arc::new(file)).expect("the same"), 5, 5), [7; 5]);
}

/// What is there and is no overlay is left as it is.
#[test]
fn the_file_of_an_overlay_is_not_made_of_something_else() {
    let dir = TempDir::new("kept");
    let size = OverlayStore::kept_size(SIZE);
    let (other, empty, link) = (dir.join("other"), dir.join("empty"), dir.join("link"));
    fs::write(&other, [1; 5000]).expect("a file");
    fs::write(&empty, []).expect("a file");
    symlink(dir.join("nowhere"), &link).expect("a link");
    let refused = why(open_overlay(&other, size, Arc::default()));
    assert!(refused.contains("has 5000 bytes") && refused.contains(&size.to_string()), "{refused}");
    assert_eq!(fs::read(&other).expect("there"), [1; 5000]);
    assert!(why(open_overlay(dir.path(), size, Arc::default())).contains("the overlay"));
    assert!(why(open_overlay(&link, size, Arc::default())).contains("No such file"));
    assert!(!dir.join("nowhere").exists());
    let device = Path::new("/dev/nbd-test-no-such-overlay");
    assert!(why(open_overlay(device, size, Arc::default())).contains("No such file"));
    assert!(!device.exists());
    assert_eq!(open_overlay(&empty, size, Arc::default()).expect("grown").geometry().size, size);
}

/// P4: an overlay of one disk is not laid over another, whose size may well be the same; where neither has a name, the
/// size has to do.
#[test]
fn an_overlay_remembers_whose_pages_it_has() {
    let (base, size) = (Arc::new(MemoryStore::new(SIZE as usize)), OverlayStore::kept_size(SIZE));
    let upper = Arc::new(MemoryStore::new(size as usize));
    let over = |name: &str| OverlayStore::kept_over(base.clone(), name, upper.clone()).map(drop);
    over("serial=A").expect("new");
    over("serial=A").expect("the same disk");
    assert!(over("").is_err(), "one without a name is another");
    let why = over("serial=B").expect_err("another disk").cause.to_string();
    assert!(why.contains("serial=A") && why.contains("serial=B"), "{why}");
    let nameless = Arc::new(MemoryStore::new(size as usize));
    let over = |name: &str| OverlayStore::kept_over(base.clone(), name, nameless.clone()).map(drop);
    over("").expect("new");
    over("").expect("nobody can tell more");
    assert!(over("serial=A").is_err());
}
