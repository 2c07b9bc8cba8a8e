//! Disks that last as long as they are open.
#![allow(missing_docs)]

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use store::{Cause, Durability, FileStore, Poison, Store, StoreError, open_temporary};
use testkit::{TempDir, without_root};

fn open(path: &Path, size: u64) -> Result<FileStore, StoreError> {
    open_temporary(path, size, Arc::new(Poison::new()))
}

fn read(store: &FileStore, offset: u64) -> u8 {
    let mut byte = [0xee];
    store.read_at(&mut byte, offset).expect("read");
    byte[0]
}

/// C-158: zeros of the size that was asked for, no name, and two of them have nothing in common.
#[test]
fn a_temporary_disk_has_a_size_and_no_name() {
    let dir = TempDir::new("temporary");
    let path = dir.join("disk");
    fs::write(&path, [9; 100]).expect("a file that has nothing to do with it");
    let size = (1 << 40) + 7;
    let (one, two) = (open(&path, size).expect("made"), open(&path, size).expect("made"));
    let names: Vec<_> =
        fs::read_dir(dir.path()).expect("there").flatten().map(|entry| entry.path()).collect();
    assert_eq!(names, std::slice::from_ref(&path));
    assert_eq!(fs::read(&path).expect("there"), [9; 100]);
    assert_eq!((one.geometry().size, one.read_only()), (size, false));
    one.write_at(&[7; 512], size - 512, Durability::Durable).expect("written");
    assert_eq!((read(&one, size - 1), read(&one, 0), read(&two, size - 1)), (7, 0, 0));
    assert!(!one.identity().same_disk(two.identity()) && !one.identity().places().is_empty());
    one.verify().expect("there");
    let made = rustix::fs::fstat(one.raw_fd().expect("a file").as_fd()).expect("there");
    assert_eq!(
        (made.st_mode & 0o7777, made.st_nlink),
        (0o600, 0),
        "nobody else's, and gone with the last descriptor"
    );
    assert_eq!(open(&path, 0).expect("made").geometry().size, 0);
}

/// It never has one, and that is no loss.
#[test]
fn a_temporary_disk_is_not_missed_by_its_name() {
    let dir = TempDir::new("temporary");
    let store = open(&dir.join("disk"), 4096).expect("made");
    assert!(!store.is_nameless());
    store.verify().expect("well");
}

/// What cannot be made is said, and leaves nothing behind.
#[test]
fn a_temporary_disk_that_cannot_be_made_leaves_nothing() {
    let dir = TempDir::new("temporary");
    let cause =
        |path: &Path, size| open(path, size).map(|store| store.geometry()).expect_err("refused").cause;
    assert_eq!(cause(&dir.join("nowhere/disk"), 512), Cause::Io(2));
    let long = dir.join(&"x".repeat(250));
    assert_eq!(cause(&long, 512), Cause::Io(36), "its name is too long");
    assert!(matches!(cause(&dir.join("disk"), i64::MAX as u64), Cause::NoSpace | Cause::Io(_)));
    assert_eq!(without_root(|| cause(Path::new("/disk"), 512)), Cause::Forbidden);
    assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 0);
}

/// Many at once, at one path: each gets its own.
#[test]
fn temporary_disks_made_at_once_are_different_disks() {
    let dir = TempDir::new("temporary");
    let stores: Vec<FileStore> = std::thread::scope(|scope| {
        let makers: Vec<_> =
            (0..8).map(|_| scope.spawn(|| open(&dir.join("disk"), 4096).expect("made"))).collect();
        makers.into_iter().map(|maker| maker.join().expect("no panic")).collect()
    });
    for (number, store) in stores.iter().enumerate() {
        store.write_at(&[number as u8; 16], 0, Durability::Cached).expect("written");
    }
    for (number, store) in stores.iter().enumerate() {
        assert_eq!(read(store, 0), number as u8);
    }
}
