//! A tree of small files under many threads at once.
#![allow(missing_docs)]

use std::sync::{Arc, Barrier};
use std::thread;
use store::{Access, Durability, Layout, Poison, Spec, Store, TreeStore, ZeroHow};
use testkit::TempDir;

const SIZE: u64 = (5 << 20) + 1234;

fn open(dir: &TempDir, size: u64) -> TreeStore {
    let spec = Spec {
        path: dir.path().into(),
        filesize: Some(size),
        write: Access::ReadWrite,
        layout: Layout::Tree,
    };
    TreeStore::open(&spec, Arc::new(Poison::new())).expect("it opens")
}

fn write(tree: &TreeStore, offset: u64, bytes: &[u8]) {
    tree.write_at(bytes, offset, Durability::Cached).expect("written");
}

fn read(tree: &TreeStore, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    tree.read_at(&mut bytes, offset).expect("read");
    bytes
}

/// Two who make one page at the same moment write into one file.
#[test]
fn writers_of_one_absent_page_lose_nothing() {
    const WRITERS: usize = 8;
    let dir = TempDir::in_memory("tree");
    let tree = open(&dir, 1 << 40);
    let barrier = Barrier::new(WRITERS);
    for round in 0..100_u64 {
        // Each time below directories that are not there yet.
        let page = (round * 4099) << 32;
        thread::scope(|scope| {
            for writer in 0..WRITERS as u64 {
                let (tree, barrier) = (&tree, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    write(tree, (page + writer * 512) % (1 << 40), &[writer as u8 + 1; 512]);
                });
            }
        });
        let page = read(&tree, page % (1 << 40), 4096);
        for (at, byte) in page.iter().enumerate() {
            assert_eq!(usize::from(*byte), at / 512 + 1, "round {round}, byte {at}");
        }
    }
}

/// A write and a TRIM of the same page at once leave what one after the other leaves, in either order; never what was
/// there before.
#[test]
fn a_trim_and_a_write_leave_one_of_two_orders() {
    let dir = TempDir::in_memory("tree");
    let tree = open(&dir, SIZE);
    let barrier = Barrier::new(2);
    for round in 0..2000 {
        write(&tree, 0, &[1; 4096]);
        thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                tree.trim(0, 4096, Durability::Cached).expect("trimmed");
            });
            barrier.wait();
            write(&tree, 1000, &[2; 2000]);
        });
        let page = read(&tree, 0, 4096);
        let trim_first = [&[0; 1000][..], &[2; 2000], &[0; 1096]].concat();
        let told = [page[0], page[1500], page[4000]];
        assert!(page == trim_first || page == [0; 4096], "round {round}: {told:?}");
    }
}

/// Zeros in one half of a page while the other half is written: both have to be there afterwards, in a page that may be
/// absent at first, and whether zeros are written or the page is only cleared.
#[test]
fn zeros_beside_a_write_take_nothing_away() {
    let dir = TempDir::in_memory("tree");
    let tree = open(&dir, SIZE);
    let barrier = Barrier::new(2);
    for round in 0..1000_u64 {
        let at = round * 4096;
        let how = ZeroHow { may_punch: round % 2 == 0, fast_only: false };
        if round % 3 == 0 {
            write(&tree, at, &[1; 4096]);
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                tree.zero(at, 2048, how, Durability::Cached).expect("zeroed");
            });
            barrier.wait();
            write(&tree, at + 2048, &[2; 2048]);
        });
        assert!(read(&tree, at, 4096) == [[0; 2048], [2; 2048]].concat(), "round {round}");
    }
}
