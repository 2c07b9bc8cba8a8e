//! A disk as a tree of small files: which files there are, and what is never taken for zeros.
#![allow(missing_docs)]

use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{
    Access, Cause, Durability, Extent, Identity, Layout, Poison, Spec, Store, StoreError, TreeStore, Wanted,
    ZeroHow,
};
use testkit::{TempDir, without_root};

const PUNCH: ZeroHow = ZeroHow { may_punch: true, fast_only: false };
const WRITE: ZeroHow = ZeroHow { may_punch: false, fast_only: false };
/// A disk with directories and a last page that is not a whole one.
const SIZE: u64 = (5 << 20) + 1234;

fn spec(path: &Path, filesize: Option<u64>, write: Access) -> Spec {
    Spec { path: path.into(), filesize, write, layout: Layout::Tree }
}

fn try_open(path: &Path, size: u64, write: Access) -> Result<TreeStore, StoreError> {
    TreeStore::open(&spec(path, Some(size), write), Arc::new(Poison::new()))
}

fn open(dir: &TempDir, size: u64) -> TreeStore {
    try_open(dir.path(), size, Access::ReadWrite).expect("it opens")
}

fn write(tree: &TreeStore, offset: u64, bytes: &[u8]) {
    tree.write_at(bytes, offset, Durability::Cached).expect("written");
}

fn read(tree: &TreeStore, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    tree.read_at(&mut bytes, offset).expect("read");
    bytes
}

/// Every file of the tree, sorted.
fn files(dir: &TempDir) -> Vec<String> {
    let (mut found, mut todo) = (Vec::new(), vec![dir.path().to_path_buf()]);
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.push(path.strip_prefix(dir.path()).expect("below it").display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o7777
}

/// C-190: the names, the sizes and the modes of the original.
#[test]
fn a_write_makes_the_files_that_it_touches_and_no_other() {
    let dir = TempDir::new("tree");
    let tree = open(&dir, 4 << 20);
    write(&tree, 8190, &[7; 5]);
    assert_eq!(files(&dir), ["TREE0000/FILE0001", "TREE0000/FILE0002"]);
    let (first, second) = (dir.join("TREE0000/FILE0001"), dir.join("TREE0000/FILE0002"));
    assert_eq!(fs::read(&first).expect("there")[4093..], [0, 7, 7]);
    assert_eq!(fs::metadata(&second).expect("there").len(), 4096);
    assert_eq!((mode(dir.join("TREE0000")), mode(first), mode(second)), (0o700, 0o600, 0o600));
    assert_eq!(read(&tree, 8188, 8), [0, 0, 7, 7, 7, 7, 7, 0]);
}

/// C-192, C-193: looking at it makes nothing.
#[test]
fn what_was_never_written_reads_as_zeros_and_stays_absent() {
    let dir = TempDir::new("tree");
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let tree = try_open(dir.path(), SIZE, access).expect("it opens");
        assert_eq!(tree.geometry().size, SIZE);
        assert!(read(&tree, 0, SIZE as usize).iter().all(|&byte| byte == 0));
        let mut bytes = [0xee; 5000];
        if tree.try_read(&mut bytes, 4095).expect("no error") {
            assert_eq!(bytes, [0; 5000]);
        }
        assert_eq!(tree.map(0, SIZE, 9), Ok(vec![Extent { len: SIZE, hole: true, zero: true }]));
        tree.cache(0, SIZE).expect("a hint");
        tree.flush().expect("nothing to do");
        assert_eq!(files(&dir), [""; 0]);
    }
    // Neither do zeros where nothing is, nor a request without length.
    let tree = open(&dir, SIZE);
    tree.zero(1, SIZE - 1, PUNCH, Durability::Durable).expect("zeroed");
    tree.trim(1, SIZE - 1, Durability::Durable).expect("trimmed");
    tree.write_at(&[], SIZE, Durability::Durable).expect("C-136");
    tree.zero(SIZE, 0, WRITE, Durability::Cached).expect("C-136");
    assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 0);
}

/// C-193: also where the directory could be written.
#[test]
fn a_tree_for_reading_refuses_every_change() {
    let dir = TempDir::new("tree");
    write(&open(&dir, SIZE), 0, &[7; 4096]);
    let tree = try_open(dir.path(), SIZE, Access::ReadOnly).expect("it opens");
    let able = tree.capabilities();
    assert!(!able.write && !able.trim && !able.fast_zero);
    let results = [
        tree.write_at(&[1], 0, Durability::Cached),
        tree.write_at(&[1], 8192, Durability::Cached),
        tree.zero(0, 4096, PUNCH, Durability::Cached),
        tree.trim(0, 4096, Durability::Cached),
    ];
    for result in results {
        assert_eq!(result.expect_err("refused").cause, Cause::Forbidden);
    }
    assert_eq!((files(&dir), read(&tree, 0, 2)), (vec!["TREE0000/FILE0000".to_owned()], vec![7; 2]));
}

/// C-153
#[test]
fn a_directory_that_may_not_be_written_is_served_for_reading() {
    let dir = TempDir::new("tree");
    fs::write(dir.join("FILE0000"), [7; 4096]).expect("a page");
    fs::set_permissions(dir.join("FILE0000"), fs::Permissions::from_mode(0o444)).expect("a mode");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).expect("a mode");
    without_root(|| {
        let tree = open(&dir, 8192);
        assert!(!tree.capabilities().write);
        assert_eq!(read(&tree, 4095, 2), [7, 0]);
        assert_eq!(tree.write_at(&[1], 0, Durability::Cached).expect_err("refused").cause, Cause::Forbidden);
    });
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// C-192: whole pages go, others are left as they are, also at the end of a disk that ends inside a page.
#[test]
fn trim_removes_whole_pages_and_touches_no_other() {
    let dir = TempDir::new("tree");
    let size = 4 * 4096 + 100;
    let tree = open(&dir, size);
    let full = ["FILE0000", "FILE0001", "FILE0002", "FILE0003", "FILE0004"];
    let cases: [(u64, u64, &[&str]); 6] = [
        (1, 8190, &full),
        (1, 8191, &["FILE0000", "FILE0002", "FILE0003", "FILE0004"]),
        (4096, 4096, &["FILE0000", "FILE0002", "FILE0003", "FILE0004"]),
        (4 * 4096, 99, &full),
        (4 * 4096 - 1, 101, &full[..4]),
        (0, size, &[]),
    ];
    for (offset, len, left) in cases {
        write(&tree, 0, &vec![7; size as usize]);
        tree.trim(offset, len, Durability::Durable).expect("trimmed");
        assert_eq!(files(&dir), left, "{len} at {offset}");
        for page in 0..5 {
            let (at, part) = (page * 4096, (size - page * 4096).min(4096));
            let byte = if left.contains(&full[page as usize]) { 7 } else { 0 };
            assert!(read(&tree, at, part as usize) == vec![byte; part as usize], "{len} at {offset}");
        }
    }
}

#[test]
fn zeros_become_holes_only_where_they_may() {
    let dir = TempDir::new("tree");
    let tree = open(&dir, 4 * 4096);
    write(&tree, 0, &[7; 3 * 4096]);
    tree.zero(4095, 2 * 4096, PUNCH, Durability::Cached).expect("zeroed");
    assert_eq!(files(&dir), ["FILE0000", "FILE0002"], "the last page is not made for it");
    assert!(read(&tree, 4094, 8195) == [&[7][..], &[0; 8192], &[7, 0]].concat());
    tree.zero(4095, 2 * 4096 + 4096, WRITE, Durability::Cached).expect("zeroed");
    assert_eq!(files(&dir), ["FILE0000", "FILE0001", "FILE0002", "FILE0003"]);
    assert!(fs::metadata(dir.join("FILE0001")).is_ok_and(|page| page.len() == 4096));
    let fast = ZeroHow { may_punch: false, fast_only: true };
    assert!(matches!(
        tree.zero(0, 1, fast, Durability::Cached).expect_err("slow").cause,
        Cause::Unsupported(_)
    ));
    assert_eq!(read(&tree, 0, 1), [7]);
    tree.zero(0, 4 * 4096, ZeroHow { may_punch: true, ..fast }, Durability::Cached).expect("zeroed");
    assert_eq!(files(&dir), [""; 0]);
}

/// The original fails behind the end of such a page; a crash while a page was made leaves one. It has to be whole again
/// after the next write, so that the original can read it.
#[test]
fn a_page_whose_file_is_short_reads_as_zeros_behind_its_end() {
    let dir = TempDir::new("tree");
    let tree = open(&dir, 8192);
    for (len, content) in [(0, vec![]), (3, vec![7; 3])] {
        fs::write(dir.join("FILE0000"), &content).expect("a page");
        let wanted = [content, vec![0; 5000 - len]].concat();
        assert!(read(&tree, 0, 5000) == wanted, "{len} bytes are there");
        let mut at_hand = vec![0xee; 5000];
        if tree.try_read(&mut at_hand, 0).expect("no error") {
            assert!(at_hand == wanted);
        }
    }
    write(&tree, 4, &[9]);
    assert_eq!(fs::metadata(dir.join("FILE0000")).expect("there").len(), 4096);
    assert_eq!(read(&tree, 0, 6), [7, 7, 7, 0, 9, 0]);
}

/// Zeros are for pages that are absent, and for nothing else.
#[test]
fn a_page_that_cannot_be_read_is_an_error() {
    let dir = TempDir::new("tree");
    let elsewhere = dir.sparse("elsewhere", 4096);
    let tree = open(&dir, 8 * 4096);
    fs::create_dir(dir.join("FILE0000")).expect("a directory");
    symlink(&elsewhere, dir.join("FILE0001")).expect("a link");
    symlink(dir.join("nowhere"), dir.join("FILE0002")).expect("a link");
    mknodat(CWD, dir.join("FILE0003"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
    for page in 0..4 {
        let error = tree.read_at(&mut [0; 100], page * 4096 + 50).expect_err("no page");
        assert!(matches!(error.cause, Cause::Other(_)), "page {page}: {error}");
        assert_eq!((error.offset, error.len), (page * 4096, 4096));
        assert_ne!(tree.try_read(&mut [0; 100], page * 4096), Ok(true));
        let told = tree.map(page * 4096, 4096, 1).expect("a map");
        assert!(!told[0].zero, "page {page} is not told to be zero");
        tree.write_at(&[1], page * 4096, Durability::Cached).expect_err("no page");
        tree.zero(page * 4096, 1, PUNCH, Durability::Cached).expect_err("no page");
    }
    assert!(!dir.join("nowhere").exists(), "a link that leads nowhere is not filled");
    assert_eq!(fs::read(elsewhere).expect("there"), [0; 4096]);
    fs::write(dir.join("FILE0004"), [7; 4096]).expect("a page");
    fs::set_permissions(dir.join("FILE0004"), fs::Permissions::from_mode(0o000)).expect("a mode");
    let denied = without_root(|| tree.read_at(&mut [0; 4096], 4 * 4096)).expect_err("denied");
    assert_eq!(denied.cause, Cause::Forbidden);
}

/// What is below the directory stays below it: a link on the way is not followed.
#[test]
fn nothing_in_a_tree_leads_out_of_it() {
    let dir = TempDir::new("tree");
    let outside = TempDir::new("outside");
    fs::write(outside.join("FILE0000"), [7; 4096]).expect("a page");
    symlink(outside.path(), dir.join("TREE0000")).expect("a link");
    let tree = open(&dir, SIZE);
    let results = [
        tree.read_at(&mut [0; 4096], 0),
        tree.write_at(&[1; 4096], 4096, Durability::Cached),
        tree.trim(0, 4096, Durability::Cached),
        tree.zero(0, 4096, PUNCH, Durability::Cached),
        tree.map(0, 4096, 1).map(|_| ()),
    ];
    for result in results {
        result.expect_err("refused");
    }
    assert_eq!(fs::read_dir(outside.path()).expect("there").count(), 1);
    write(&tree, 4 << 20, &[1]);
    assert_eq!(read(&tree, 4 << 20, 1), [1], "beside it all is well");
    // Nor from one part of the tree to another: two pages would be one.
    fs::remove_file(dir.join("TREE0000")).expect("removed");
    symlink("TREE0001", dir.join("TREE0000")).expect("a link");
    tree.read_at(&mut [0; 4096], 0).expect_err("refused");
    tree.write_at(&[1; 4096], 0, Durability::Cached).expect_err("refused");
}

/// P4: a tree that is gone is lost, and not a disk of zeros.
#[test]
fn a_tree_whose_directory_was_removed_is_lost() {
    let dir = TempDir::new("tree");
    for size in [8192, SIZE] {
        let path = dir.join("tree");
        fs::create_dir(&path).expect("a directory");
        let tree = try_open(&path, size, Access::ReadWrite).expect("it opens");
        tree.verify().expect("there");
        fs::remove_dir(&path).expect("removed");
        let results = [
            tree.verify(),
            tree.read_at(&mut [0; 4096], 0),
            tree.try_read(&mut [0; 4096], 0).and_then(|read| if read { Ok(()) } else { tree.verify() }),
            tree.write_at(&[1; 4096], 0, Durability::Cached),
            tree.zero(0, 4096, PUNCH, Durability::Cached),
            tree.zero(1, 5, PUNCH, Durability::Cached),
            tree.map(0, 8192, 9).map(|_| ()),
        ];
        for (number, result) in results.into_iter().enumerate() {
            let error = result.expect_err(&format!("lost ({number}, {size})"));
            assert!(matches!(error.cause, Cause::Lost(_)), "{number}: {error}");
        }
    }
}

/// C-151, C-157, and the words for what is no tree.
#[test]
fn only_a_directory_that_is_there_is_opened() {
    let dir = TempDir::new("tree");
    let (missing, file, link) = (dir.join("missing"), dir.sparse("file", 4096), dir.join("link"));
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let error = try_open(&missing, SIZE, access).expect_err("missing");
        assert_eq!(error.cause, Cause::Io(2));
        assert_eq!(store::probe(&spec(&missing, Some(SIZE), access)).expect_err("missing"), error);
        let error = try_open(&file, SIZE, access).expect_err("a file");
        assert!(
            matches!(&error.cause, Cause::Unsupported(why) if why.contains("not a directory")),
            "{error}"
        );
        assert_eq!(store::probe(&spec(&file, Some(SIZE), access)).expect_err("a file"), error);
    }
    assert!(!missing.exists());
    let tree = dir.join("tree");
    fs::create_dir(&tree).expect("a directory");
    symlink(&tree, &link).expect("a link");
    let wanted = spec(&link, Some(SIZE), Access::ReadWrite);
    let (probe, opened) =
        (store::probe(&wanted).expect("there"), store::open(&wanted, Arc::default()).expect("there"));
    assert_eq!((&probe.identity, probe.size), (&opened.identity, opened.store.geometry().size));
    assert!(matches!(opened.identity, Identity::Directory { .. }));
    assert!(opened.identity.matches(&Wanted::Serial("S".into())).is_err());
    let unset = store::open(&spec(&tree, None, Access::ReadWrite), Arc::default()).expect("there");
    assert_eq!(unset.store.geometry().size, 0);
    fs::rename(&tree, dir.join("old")).expect("moved");
    fs::create_dir(&tree).expect("a directory");
    assert!(!store::probe(&wanted).expect("there").identity.same_disk(&probe.identity));
}

/// C-191, and that nothing takes time or memory in proportion to the size.
#[test]
fn an_exbibyte_is_trimmed_and_mapped_in_a_moment() {
    let dir = TempDir::new("tree");
    let size = (1 << 60) + 77;
    let tree = open(&dir, size);
    let middle = 1_u64 << 59;
    write(&tree, middle, &[7; 4096]);
    write(&tree, size - 1, &[7]);
    let told: Vec<_> = tree.map(0, size, 9).expect("a map").iter().map(|one| (one.len, one.hole)).collect();
    assert_eq!(told, [(middle, true), (4096, false), (size - middle - 4096 - 77, true), (77, false)]);
    tree.zero(0, size, PUNCH, Durability::Cached).expect("zeroed");
    assert_eq!(files(&dir), [""; 0]);
    write(&tree, size - 1, &[7]);
    tree.trim(0, size, Durability::Cached).expect("trimmed");
    assert_eq!(read(&tree, size - 1, 1), [0]);
}

/// A map of a disk that is all there ends early, and what follows can be asked for.
#[test]
fn a_map_looks_at_so_many_directories_and_no_more() {
    let dir = TempDir::new("tree");
    let tree = open(&dir, 100 * (4 << 20));
    for number in 0..100 {
        fs::create_dir(dir.join(&format!("TREE{number:04X}"))).expect("a directory");
    }
    let size = tree.geometry().size;
    let (mut at, mut maps) = (0, 0);
    while at < size {
        let told = tree.map(at, size - at, 9).expect("a map");
        assert!(told.len() == 1 && told[0].hole, "{told:?}");
        (at, maps) = (at + told[0].len, maps + 1);
    }
    assert!(at == size && maps > 1, "{maps} maps");
}
