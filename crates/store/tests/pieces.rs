//! Several files as one disk: which of them count, and what becomes of the whole when one of them fails.
#![allow(missing_docs)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use store::{
    Access, Capabilities, Cause, ConcatStore, Durability, Extent, Identity, Layout, Opened, Poison, Spec,
    Store, StoreError, Verb, Wanted, ZeroHow,
};
use testkit::{Fault, FaultStore, LoopDevice, MemoryStore, TempDir, is_root, skip_or_fail, without_root};

fn spec(path: &Path, filesize: Option<u64>, write: Access) -> Spec {
    Spec { path: path.into(), filesize, write, layout: Layout::Files }
}

fn open(path: &Path, filesize: Option<u64>) -> Result<Opened, StoreError> {
    store::open(&spec(path, filesize, Access::ReadWrite), Arc::new(Poison::new()))
}

/// `disk.0` and so on, filled with their numbers.
fn lay_out(dir: &TempDir, sizes: &[usize]) {
    for (number, size) in sizes.iter().enumerate() {
        fs::write(dir.join(&format!("disk.{number}")), vec![number as u8 + 1; *size]).expect("a piece");
    }
}

fn read(store: &dyn Store, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    store.read_at(&mut bytes, offset).expect("read");
    bytes
}

/// Two pieces of 4096 bytes that can be made to fail.
fn faulty() -> ([Arc<FaultStore>; 2], [Arc<MemoryStore>; 2], ConcatStore) {
    let memory = [(); 2].map(|()| Arc::new(MemoryStore::new(4096)));
    let faults = memory.each_ref().map(|memory| Arc::new(FaultStore::over(memory.clone())));
    let pieces = faults.iter().map(|fault| fault.clone() as Arc<dyn Store>).collect();
    (faults, memory, ConcatStore::new(pieces, None).expect("pieces"))
}

/// C-023, C-194: the sum of all up to the first gap. What comes later is another matter.
#[test]
fn the_row_ends_at_the_first_gap() {
    let dir = TempDir::new("pieces");
    lay_out(&dir, &[1000, 0, 4097, 3]);
    fs::write(dir.join("disk.5"), [9; 100]).expect("after the gap");
    let opened = open(&dir.join("disk"), None).expect("it opens");
    assert_eq!(opened.store.geometry().size, 5100);
    let probe = store::probe(&spec(&dir.join("disk"), None, Access::ReadWrite)).expect("it is there");
    assert_eq!((probe.size, &probe.identity), (5100, &opened.identity));
    assert!(!probe.to_be_created());
    let Identity::Several(pieces) = &opened.identity else { panic!("{}", opened.identity) };
    assert_eq!(pieces.len(), 4);
    let wanted = [vec![1; 1000], vec![3; 4097], vec![4; 3]].concat();
    assert!(read(&*opened.store, 0, 5100) == wanted);
    // Across two borders at once.
    opened.store.write_at(&[7; 4101], 998, Durability::Durable).expect("written");
    assert_eq!(fs::read(dir.join("disk.0")).expect("there")[996..], [1, 1, 7, 7]);
    assert_eq!(fs::read(dir.join("disk.3")).expect("there"), [7, 7, 4]);
    assert_eq!(fs::read(dir.join("disk.5")).expect("there"), [9; 100]);
}

/// C-148, C-149, C-194: too large is refused, and nothing is ever made: a piece that is missing is missing.
#[test]
fn a_size_cuts_the_whole_and_makes_nothing() {
    let dir = TempDir::new("pieces");
    let path = dir.join("disk");
    for filesize in [None, Some(4096)] {
        let missing = open(&path, filesize).expect_err("nothing is there").cause;
        assert_eq!(missing, Cause::Io(2));
        let probed = store::probe(&spec(&path, filesize, Access::ReadWrite)).expect_err("nothing is there");
        assert_eq!(probed.cause, missing);
    }
    lay_out(&dir, &[1000, 1000]);
    assert_eq!(open(&path, Some(1500)).expect("it opens").store.geometry().size, 1500);
    for wanted in [Some(2001), Some(u64::MAX)] {
        let probed = store::probe(&spec(&path, wanted, Access::ReadOnly)).expect_err("too big").cause;
        assert_eq!(open(&path, wanted).expect_err("too big").cause, probed);
        assert!(
            matches!(&probed, Cause::Unsupported(why) if why.contains("Size of exported file is too big"))
        );
    }
    // An empty first piece is no reason to make it larger.
    lay_out(&dir, &[0, 1000]);
    assert_eq!(open(&path, Some(1000)).expect("it opens").store.geometry().size, 1000);
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 2);
    assert_eq!(fs::metadata(dir.join("disk.0")).expect("there").len(), 0);
}

/// P4: a piece that is away, or cannot be opened, must not make the disk a smaller one.
#[test]
fn a_piece_that_is_away_is_no_gap() {
    let dir = TempDir::new("pieces");
    lay_out(&dir, &[1000, 1000, 1000]);
    let second = dir.join("disk.1");
    fs::remove_file(&second).expect("removed");
    symlink(dir.join("detached"), &second).expect("a link");
    for (what, make) in [("a link that leads nowhere", false), ("a directory", true)] {
        if make {
            fs::create_dir(dir.join("detached")).expect("a directory");
        }
        let error = open(&dir.join("disk"), None).expect_err(what);
        assert!(error.to_string().contains("piece 1"), "{error}");
        assert!(store::probe(&spec(&dir.join("disk"), None, Access::ReadOnly)).is_err(), "{what}");
    }
    // C-157
    fs::remove_dir(dir.join("detached")).expect("removed");
    fs::write(dir.join("detached"), [2; 10]).expect("a file");
    assert_eq!(open(&dir.join("disk"), None).expect("it opens").store.geometry().size, 2010);
}

/// C-153: half a disk that can be written is worth nothing.
#[test]
fn one_read_only_piece_makes_the_whole_read_only() {
    let memory = [Arc::new(MemoryStore::new(4096)), Arc::new(MemoryStore::read_only(4096))];
    let pieces = memory.iter().map(|piece| piece.clone() as Arc<dyn Store>).collect();
    let store = ConcatStore::new(pieces, None).expect("pieces");
    assert!(!store.capabilities().write);
    let how = ZeroHow { may_punch: true, fast_only: false };
    let results = [
        store.write_at(&[1], 0, Durability::Cached),
        store.zero(0, 1, how, Durability::Cached),
        store.trim(0, 1, Durability::Cached),
    ];
    for result in results {
        assert_eq!(result.expect_err("refused").cause, Cause::Forbidden);
    }
    assert_eq!(memory[0].bytes(), [0; 4096], "also in the piece that could");
}

/// C-153, with files: none of them stays open for writing.
#[test]
fn a_file_that_may_not_be_written_is_opened_for_reading_with_all_others() {
    let dir = TempDir::new("pieces");
    lay_out(&dir, &[1000, 1000]);
    let [first, second] = ["disk.0", "disk.1"].map(|name| dir.join(name));
    for (path, mode) in [(&first, 0o666), (&second, 0o444)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }
    for filesize in [None, Some(1500)] {
        let store = without_root(|| open(&dir.join("disk"), filesize)).expect("it opens").store;
        assert!(!store.capabilities().write);
        for path in [&first, &second] {
            assert_eq!(open_modes(path), [0], "{} is open for reading alone", path.display());
        }
        let refused = store.write_at(&[9], 0, Durability::Cached).expect_err("refused");
        assert_eq!(refused.cause, Cause::Forbidden);
        assert_eq!(read(&*store, 999, 2), [1, 2]);
    }
}

/// The access modes of this process's descriptors of a file.
fn open_modes(path: &Path) -> Vec<u32> {
    let mut modes = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").expect("there").flatten() {
        if fs::read_link(entry.path()).is_ok_and(|target| target == path) {
            let info = Path::new("/proc/self/fdinfo").join(entry.file_name());
            let info = fs::read_to_string(info).expect("there");
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags");
            modes.push(u32::from_str_radix(flags.trim(), 8).expect("octal") & 3);
        }
    }
    modes
}

/// It can do what all can do.
#[test]
fn the_whole_is_as_able_as_its_weakest_piece() {
    let all = MemoryStore::new(1).capabilities();
    let weaker = [
        Capabilities { write: false, ..all },
        Capabilities { flush: false, ..all },
        Capabilities { trim: false, ..all },
        Capabilities { fast_zero: false, ..all },
        Capabilities { map: false, ..all },
        Capabilities { multi_conn: false, ..all },
    ];
    let piece = |able| Arc::new(MemoryStore::new(8192).with_capabilities(able)) as Arc<dyn Store>;
    for able in weaker {
        for pieces in [vec![piece(all), piece(able)], vec![piece(able), piece(all)]] {
            assert_eq!(ConcatStore::new(pieces, None).expect("pieces").capabilities(), able);
        }
    }
    let sizes =
        |min, preferred| Arc::new(MemoryStore::new(8192).with_geometry(min, preferred)) as Arc<dyn Store>;
    let store = ConcatStore::new(vec![sizes(1, 65_536), sizes(512, 4096)], None).expect("pieces");
    assert_eq!((store.geometry().block_min, store.geometry().block_preferred), (512, 65_536));
    let odd = Arc::new(MemoryStore::new(100)) as Arc<dyn Store>;
    assert!(
        ConcatStore::new(vec![odd, sizes(512, 4096)], None).is_err(),
        "no request could meet that border"
    );
}

/// P6: a piece that failed is no reason to leave the others unflushed, and the answer is the first failure.
#[test]
fn a_flush_reaches_every_piece_also_behind_one_that_fails() {
    let (faults, memory, store) = faulty();
    store.write_at(&[1; 8192], 0, Durability::Cached).expect("written");
    faults[0].on_next(Verb::Flush, Fault::Fail(Cause::Io(5)));
    assert_eq!(store.flush().expect_err("failed").cause, Cause::Io(5));
    assert_eq!((memory[0].durable()[0], memory[1].durable()[0]), (0, 1));
    faults[0].on_next(Verb::Flush, Fault::Fail(Cause::Poisoned));
    faults[1].on_next(Verb::Flush, Fault::Fail(Cause::Io(5)));
    assert_eq!(store.flush().expect_err("failed").cause, Cause::Poisoned);
    store.flush().expect("all is well");
    assert_eq!((memory[0].durable()[0], memory[1].durable()[0]), (1, 1));
}

/// P6: durable in every piece that it touches, and in no other.
#[test]
fn what_is_durable_is_so_on_both_sides_of_a_border() {
    let (_, memory, store) = faulty();
    store.write_at(&[1; 2], 4095, Durability::Durable).expect("written");
    assert_eq!((memory[0].durable()[4095], memory[1].durable()[0]), (1, 1));
    let how = ZeroHow { may_punch: true, fast_only: false };
    store.zero(4095, 2, how, Durability::Durable).expect("zeroed");
    assert_eq!((memory[0].durable()[4095], memory[1].durable()[0]), (0, 0));
    // C-195: across both pieces, and in the last.
    store.write_at(&[1; 8192], 0, Durability::Durable).expect("written");
    store.trim(4000, 4192, Durability::Durable).expect("trimmed");
    assert_eq!((memory[0].durable()[4000], memory[1].durable()[4095]), (0, 0));
}

/// One memory of failed syncs for all pieces (P6).
#[test]
fn one_failed_sync_poisons_all_pieces() {
    let dir = TempDir::new("pieces");
    lay_out(&dir, &[1000, 1000]);
    let poison = Arc::new(Poison::new());
    let wanted = spec(&dir.join("disk"), None, Access::ReadWrite);
    let store = store::open(&wanted, poison.clone()).expect("it opens").store;
    poison.remember("fdatasync: I/O error");
    assert_eq!(store.flush().expect_err("refused").cause, Cause::Poisoned);
    for offset in [0, 1999] {
        let error = store.write_at(&[9], offset, Durability::Durable).expect_err("refused");
        assert_eq!((error.cause, error.offset), (Cause::Poisoned, offset));
    }
    assert_eq!(fs::read(dir.join("disk.0")).expect("there"), [1; 1000], "and nothing of it was begun");
}

#[test]
fn an_error_says_which_piece_and_where_in_the_whole() {
    let (faults, _, store) = faulty();
    faults[1].on_every(Verb::Read, Fault::Fail(Cause::Lost("gone".into())));
    let error = store.read_at(&mut [0; 200], 4000).expect_err("lost");
    let wanted =
        StoreError { verb: Verb::Read, offset: 4096, len: 104, cause: Cause::Lost("piece 1: gone".into()) };
    assert_eq!(error, wanted);
    store.read_at(&mut [0; 96], 4000).expect("the first piece is well");
    faults[1].on_next(Verb::Verify, Fault::Fail(Cause::Moved("another".into())));
    assert_eq!(store.verify().expect_err("moved").cause, Cause::Moved("piece 1: another".into()));
    store.verify().expect("well");
}

/// A part that is at hand is of no use when the rest would have to be waited for.
#[test]
fn what_is_not_wholly_at_hand_is_not_at_hand() {
    let (faults, _, store) = faulty();
    assert_eq!(store.try_read(&mut [0; 8192], 0), Ok(true));
    faults[1].never_at_hand();
    assert_eq!(store.try_read(&mut [0; 8192], 0), Ok(false));
    assert_eq!(store.try_read(&mut [0; 4096], 0), Ok(true));
    faults[1].on_every(Verb::Read, Fault::Stick);
    assert_eq!(store.try_read(&mut [0; 2], 4095), Ok(false), "and it never waits");
}

/// C-136: at every border, and at the end.
#[test]
fn requests_without_length_touch_nothing_and_succeed() {
    let (faults, _, store) = faulty();
    let how = ZeroHow { may_punch: true, fast_only: false };
    for offset in [0, 4096, 8192] {
        store.read_at(&mut [], offset).expect("read");
        assert_eq!(store.try_read(&mut [], offset), Ok(true));
        store.write_at(&[], offset, Durability::Cached).expect("written");
        store.zero(offset, 0, how, Durability::Cached).expect("zeroed");
        store.trim(offset, 0, Durability::Cached).expect("trimmed");
        store.cache(offset, 0).expect("a hint");
        assert_eq!(store.map(offset, 0, 9), Ok(Vec::new()));
    }
    let calls = [Verb::Read, Verb::Write, Verb::Zero, Verb::Trim]
        .map(|verb| faults[0].calls(verb) + faults[1].calls(verb));
    assert_eq!(calls, [0; 4]);
}

#[test]
fn a_map_runs_over_borders_in_one_extent() {
    let sizes = [6000, 0, 4096, 10_000];
    let pieces = sizes.map(|size| Arc::new(MemoryStore::new(size)) as Arc<dyn Store>).into();
    let store = ConcatStore::new(pieces, None).expect("pieces");
    let extent = |len, hole| Extent { len, hole, zero: hole };
    assert_eq!(store.map(0, 20_096, 1).expect("a map"), [extent(20_096, true)]);
    store.write_at(&[1; 4097], 6000, Durability::Cached).expect("written");
    let told = store.map(5000, 15_000, 9).expect("a map");
    assert_eq!(told, [extent(1000, true), extent(8192, false), extent(5808, true)]);
    assert_eq!(store.map(5000, 15_000, 2).expect("a map"), told[..2]);
}

/// C-140: a file in the middle that shrank is lost behind its end; the others are as they were.
#[test]
fn a_piece_that_shrank_is_lost_behind_its_end() {
    let dir = TempDir::new("pieces");
    lay_out(&dir, &[1000, 1000, 1000]);
    let store = open(&dir.join("disk"), None).expect("it opens").store;
    fs::OpenOptions::new()
        .write(true)
        .open(dir.join("disk.1"))
        .and_then(|file| file.set_len(10))
        .expect("cut");
    for (offset, len) in [(1009, 2), (0, 3000), (1999, 1)] {
        let error = store.read_at(&mut vec![0; len], offset).expect_err("lost");
        assert!(matches!(&error.cause, Cause::Lost(why) if why.starts_with("piece 1: ")), "{error}");
        assert!(matches!(store.map(offset, len as u64, 9).expect_err("lost").cause, Cause::Lost(_)));
    }
    assert_eq!(read(&*store, 1008, 2), [2, 2]);
    assert_eq!(read(&*store, 2000, 1000), [3; 1000]);
}

/// Pieces may be disks: then each must be the disk that was meant (P4), and `identity =` cannot name them all.
#[test]
fn pieces_may_be_devices_and_each_is_looked_at() {
    let dir = TempDir::new("pieces");
    lay_out(&dir, &[4096]);
    let (one, two) = (dir.sparse("one", 1 << 20), dir.sparse("two", 1 << 20));
    let Some(device) = LoopDevice::attach(&one).filter(|_| is_root()) else {
        return skip_or_fail("pieces_may_be_devices", "root and a free loop device");
    };
    symlink(device.path(), dir.join("disk.1")).expect("a link");
    let opened = open(&dir.join("disk"), None).expect("it opens");
    assert_eq!(opened.store.geometry().size, 4096 + (1 << 20));
    opened.store.write_at(&[7; 2], 4095, Durability::Durable).expect("written");
    assert_eq!(read(&*opened.store, 4094, 4), [1, 7, 7, 0]);
    opened.store.verify().expect("there");
    assert!(opened.identity.matches(&Wanted::Serial("S".into())).is_err());
    assert!(!opened.identity.follows_its_path());
    let wanted = spec(&dir.join("disk"), None, Access::ReadOnly);
    assert!(store::probe(&wanted).expect("there").identity.same_disk(&opened.identity));
    drop(opened.store);
    device.reattach(&two);
    assert!(!store::probe(&wanted).expect("there").identity.same_disk(&opened.identity));
}
