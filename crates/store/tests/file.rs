//! Files and devices: how large they are, what is refused, and what becomes of a store whose medium changes beneath it.
#![allow(missing_docs)]

use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Access, Cause, Durability, FileStore, Kind, Layout, Poison, Spec, Store, StoreError, ZeroHow};
use testkit::{LoopDevice, TempDir, is_root, skip_or_fail, without_root};

fn spec(path: &Path, filesize: Option<u64>, write: Access) -> Spec {
    Spec { path: path.into(), filesize, write, layout: Layout::One }
}

fn open(path: &Path, filesize: Option<u64>) -> Result<FileStore, StoreError> {
    store::open_file(&spec(path, filesize, Access::ReadWrite), Arc::new(Poison::new()))
}

fn cause(result: Result<FileStore, StoreError>) -> Cause {
    result.map(|store| store.geometry()).expect_err("refused").cause
}

/// C-144, C-145, C-148, C-157: the size is what is there, or what `filesize` says of it.
#[test]
fn the_size_is_what_is_there_or_a_window_of_it() {
    let dir = TempDir::new("store");
    let (file, empty) = (dir.join("file"), dir.join("empty"));
    fs::write(&file, vec![1; 10_001]).expect("a file");
    fs::write(&empty, []).expect("a file");
    let size = |path: &Path, filesize| open(path, filesize).expect("it opens").geometry().size;
    assert_eq!(size(&file, None), 10_001, "to the byte");
    assert_eq!(size(&file, Some(512)), 512);
    assert_eq!(size(&empty, None), 0);
    let link = dir.join("link");
    symlink(&file, &link).expect("a link");
    assert_eq!(size(&link, None), 10_001);
    let too_big = cause(open(&file, Some(10_002)));
    assert!(matches!(&too_big, Cause::Unsupported(why) if why.contains("too big")), "{too_big:?}");
    assert_eq!(fs::metadata(&file).expect("there").len(), 10_001);
}

/// C-149, C-150, C-151: a missing or empty file gets its size when it is opened for writing, and not by being looked at.
#[test]
fn a_missing_file_is_made_by_opening_it_and_not_by_looking() {
    let dir = TempDir::new("store");
    let path = dir.join("new");
    let wanted = spec(&path, Some(1 << 20), Access::ReadWrite);
    assert_eq!(store::probe(&wanted).expect("it will be").size, 1 << 20);
    assert!(!path.exists());
    assert!(store::probe(&spec(&path, Some(1 << 20), Access::ReadOnly)).is_err());
    assert!(matches!(cause(open(&path, None)), Cause::Io(2)));
    assert_eq!(open(&path, Some(1 << 20)).expect("made").geometry().size, 1 << 20);
    let made = fs::metadata(&path).expect("there");
    assert_eq!(
        (made.len(), made.blocks(), made.mode() & 0o077),
        (1 << 20, 0, 0),
        "sparse, and nobody else's"
    );
    let empty = dir.sparse("empty", 0);
    assert_eq!(store::probe(&spec(&empty, Some(4096), Access::ReadWrite)).expect("it will be").size, 4096);
    assert_eq!(fs::metadata(&empty).expect("there").len(), 0);
    assert_eq!(open(&empty, Some(4096)).expect("extended").geometry().size, 4096);
    assert_eq!(fs::metadata(&empty).expect("there").len(), 4096);
    // C-155
    let long = dir.join(&"x".repeat(200)).join("disk");
    assert!(matches!(cause(open(&long, None)), Cause::Io(2)));
}

/// A device that is away must not be replaced by a file, in `/dev` or by way of a link that leads there.
#[test]
fn nothing_is_made_where_a_device_is_missing() {
    let dir = TempDir::new("store");
    let device = Path::new("/dev/nbd-test-no-such-device");
    let (link, nowhere) = (dir.join("link"), dir.join("nowhere"));
    symlink(&nowhere, &link).expect("a link");
    for path in [device, &link] {
        let wanted = spec(path, Some(1 << 20), Access::ReadWrite);
        assert!(matches!(store::probe(&wanted).expect_err("away").cause, Cause::Io(2)), "{}", path.display());
        assert!(matches!(cause(open(path, Some(1 << 20))), Cause::Io(2)), "{}", path.display());
    }
    assert!(!device.exists() && !nowhere.exists());
}

/// C-153, C-154: what the system lets nobody write is served for reading.
#[test]
fn a_file_that_may_not_be_written_is_served_for_reading() {
    let dir = TempDir::new("store");
    let path = dir.join("file");
    fs::write(&path, [1; 512]).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("a mode");
    for filesize in [None, Some(512)] {
        let store = without_root(|| open(&path, filesize)).expect("it opens");
        assert!(store.read_only() && !store.capabilities().write);
        store.read_at(&mut [0; 512], 0).expect("read");
    }
}

/// C-146, C-147: what is no disk is refused by name, at once: a FIFO must not hang the server.
#[test]
fn what_is_no_disk_is_refused_at_once() {
    let dir = TempDir::new("store");
    let fifo = dir.join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
    let began = Instant::now();
    for path in [dir.path(), &fifo, Path::new("/dev/null"), Path::new("/dev/zero")] {
        for access in [Access::ReadOnly, Access::ReadWrite] {
            let wanted = spec(path, None, access);
            assert!(store::probe(&wanted).is_err(), "{}", path.display());
            assert!(store::open_file(&wanted, Arc::default()).is_err(), "{}", path.display());
        }
    }
    // A size is no help there, and not asked for.
    let refused = store::probe(&spec(&fifo, Some(4096), Access::ReadOnly)).expect_err("a FIFO").to_string();
    assert!(refused.contains("it is a FIFO") && !refused.contains("filesize"), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(5));
    // With a size that somebody gives it, a character device stands in for a disk (C-146).
    let null = open(Path::new("/dev/null"), Some(4096)).expect("a placeholder");
    assert_eq!(null.geometry().size, 4096);
    null.write_at(&[1; 512], 0, Durability::Durable).expect("swallowed");
    let lost = null.read_at(&mut [0; 512], 0).expect_err("nothing to read");
    assert!(matches!(lost.cause, Cause::Lost(_)), "{lost}");
}

#[test]
fn a_read_only_file_is_opened_for_reading_alone() {
    let dir = TempDir::new("store");
    let path = dir.join("file");
    fs::write(&path, [1; 512]).expect("a file");
    let store = store::open_file(&spec(&path, None, Access::ReadOnly), Arc::default()).expect("it opens");
    assert!(store.read_only() && !store.capabilities().write && !store.capabilities().trim);
    assert!(store.write_at(&[2; 512], 0, Durability::Cached).is_err());
    assert_eq!(fs::read(&path).expect("there"), [1; 512]);
}

/// C-140: a file that became smaller is a lost disk behind its end: an error, never zeros.
#[test]
fn a_file_that_shrank_is_lost_behind_its_end() {
    let dir = TempDir::new("store");
    let path = dir.join("file");
    fs::write(&path, [1; 8192]).expect("a file");
    let store = open(&path, None).expect("it opens");
    fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(5000)).expect("cut");
    let mut bytes = [0; 4096];
    store.read_at(&mut bytes, 0).expect("what is left");
    for offset in [4096, 4999, 5000, 8191] {
        let len = (8192 - offset).min(4096) as usize;
        let lost = store.read_at(&mut bytes[..len], offset).expect_err("lost");
        assert!(matches!(lost.cause, Cause::Lost(_)), "{lost}");
        assert_eq!(store.try_read(&mut bytes[..len], offset), Ok(false), "and not at hand");
        let lost = store.map(offset, len as u64, 10).expect_err("and no hole");
        assert!(matches!(lost.cause, Cause::Lost(_)), "{lost}");
    }
}

/// P4: also where a write has made it longer again, and there are zeros where bytes were.
#[test]
fn a_file_that_shrank_is_not_what_was_opened() {
    let dir = TempDir::new("store");
    for filesize in [None, Some(6000)] {
        let path = dir.join("file");
        fs::write(&path, [1; 8192]).expect("a file");
        let store = open(&path, filesize).expect("it opens");
        store.verify().expect("as it was");
        fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(500)).expect("cut");
        store.write_at(&[2; 512], 4096, Durability::Cached).expect("nobody has looked yet");
        let lost = store.verify().expect_err("lost");
        assert!(matches!(&lost.cause, Cause::Lost(why) if why.ends_with("and is 4608")), "{lost}");
    }
}

/// Of a file that has no name any more nobody gets the bytes again.
#[test]
fn a_file_without_a_name_is_known_as_such() {
    let dir = TempDir::new("store");
    let (path, link) = (dir.join("file"), dir.join("link"));
    fs::write(&path, [1; 8192]).expect("a file");
    let store = open(&path, None).expect("it opens");
    fs::hard_link(&path, &link).expect("a second name");
    fs::remove_file(&path).expect("the first one goes");
    assert!(!store.is_nameless());
    fs::remove_file(&link).expect("the other one goes");
    assert!(store.is_nameless());
    store.verify().expect("it is what was opened all the same");
}

/// Nothing of it may take time or memory in proportion to the size.
#[test]
fn a_tebibyte_is_zeroed_trimmed_and_mapped_in_a_moment() {
    let dir = TempDir::new("store");
    let size = 1_u64 << 40;
    let store = open(&dir.sparse("huge", size), None).expect("it opens");
    store.write_at(&[7; 4096], size - 4096, Durability::Cached).expect("the last block");
    store.write_at(&[7; 4096], size / 2, Durability::Cached).expect("one in the middle");
    let extents = store.map(0, size, 100).expect("a map");
    let told: Vec<(u64, bool)> = extents.iter().map(|extent| (extent.len, extent.hole)).collect();
    assert_eq!(told, [(size / 2, true), (4096, false), (size / 2 - 8192, true), (4096, false)]);
    let how = ZeroHow { may_punch: true, fast_only: true };
    store.zero(0, size, how, Durability::Durable).expect("zeroed");
    store.trim(0, size, Durability::Cached).expect("trimmed");
    assert_eq!(store.map(0, size, 100).expect("a map").len(), 1);
    assert_eq!(fs::metadata(dir.join("huge")).expect("there").blocks(), 0);
}

/// P6: one failed sync, and every later promise of durability is refused, also by a store that is opened anew.
#[test]
fn a_poisoned_export_makes_no_promises() {
    let dir = TempDir::new("store");
    let path = dir.join("file");
    fs::write(&path, [1; 8192]).expect("a file");
    let poison = Arc::new(Poison::new());
    let wanted = spec(&path, None, Access::ReadWrite);
    let store = store::open_file(&wanted, poison.clone()).expect("it opens");
    store.flush().expect("well so far");
    poison.remember("fdatasync: I/O error");
    for store in [&store, &store::open_file(&wanted, poison.clone()).expect("it opens")] {
        let errors = [
            store.flush(),
            store.write_at(&[2; 512], 0, Durability::Durable),
            store.zero(0, 512, ZeroHow { may_punch: true, fast_only: false }, Durability::Durable),
            store.trim(0, 512, Durability::Durable),
        ];
        for error in errors {
            assert_eq!(error.expect_err("refused").cause, Cause::Poisoned);
        }
        assert_eq!(fs::read(&path).expect("there")[..512], [1; 512], "and nothing of it was begun");
        store.write_at(&[1; 512], 0, Durability::Cached).expect("without a promise it is written");
    }
    poison.clear();
    store.flush().expect("an operator has accepted the loss");
}

/// A size in sectors that is no multiple of a block, to the byte; and the same disk by another look at it.
#[test]
fn a_device_has_its_exact_size_and_an_identity() {
    let dir = TempDir::new("store");
    let (one, two) = (dir.sparse("one", (1 << 20) + 512), dir.sparse("two", (1 << 20) + 512));
    let Some(device) = LoopDevice::attach(&one).filter(|_| is_root()) else {
        return skip_or_fail("a_device_has_its_exact_size", "root and a free loop device");
    };
    let wanted = spec(device.path(), None, Access::ReadWrite);
    let first = store::probe(&wanted).expect("there");
    assert_eq!((first.size, first.kind), ((1 << 20) + 512, Kind::BlockDevice));
    assert!(store::probe(&wanted).expect("there").identity.same_disk(&first.identity));
    // Another disk of the same size under the same number.
    device.reattach(&two);
    assert!(!store::probe(&wanted).expect("there").identity.same_disk(&first.identity));
}

/// A disk that leaves while it is open: EIO's cause for reads and writes, never "no space", and `verify` tells.
#[test]
fn a_device_that_leaves_is_lost() {
    let dir = TempDir::new("store");
    let backing = dir.sparse("backing", 1 << 20);
    let Some(device) = LoopDevice::attach(&backing).filter(|_| is_root()) else {
        return skip_or_fail("a_device_that_leaves", "root and a free loop device");
    };
    let store = open(device.path(), None).expect("it opens");
    store.write_at(&[1; 4096], 0, Durability::Durable).expect("written");
    store.verify().expect("there");
    fs::OpenOptions::new().write(true).open(&backing).and_then(|file| file.set_len(0)).expect("cut");
    device.resized().expect("the device follows");
    assert!(matches!(store.verify().expect_err("gone").cause, Cause::Lost(_)));
    let write = store.write_at(&[2; 4096], 8192, Durability::Durable).expect_err("gone");
    let read = store.read_at(&mut [0; 4096], 8192).expect_err("gone");
    for error in [write, read] {
        assert!(matches!(error.cause, Cause::Lost(_)), "{error}");
    }
    let again = cause(open(device.path(), None));
    assert!(matches!(&again, Cause::Lost(why) if why.contains("size is 0")), "{again:?}");
}
