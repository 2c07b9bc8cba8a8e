//! Every kind of store under random operations, beside plain bytes.
#![allow(missing_docs)]

use std::sync::Arc;
use store::{Access, ConcatStore, Layout, Poison, Spec, Store};
use testkit::{MemoryStore, Model, TempDir};

/// Not a multiple of a page: the last one is where stores that think in pages go wrong.
const SIZE: u64 = (300 << 10) + 1234;
const OPERATIONS: u64 = 100_000;

#[test]
fn the_model_and_the_store_in_memory_agree() {
    Model::new(&MemoryStore::new(SIZE as usize), 1).run(OPERATIONS);
}

#[test]
fn a_file_does_what_plain_bytes_do() {
    let dir = TempDir::new("model");
    let path = dir.sparse("file", SIZE);
    let spec = Spec { path, filesize: None, write: Access::ReadWrite, layout: Layout::One };
    let file = store::open_file(&spec, Arc::new(Poison::new())).expect("it opens");
    Model::new(&file, 2).run(OPERATIONS);
}

/// C-194, C-195: as one disk, wherever the borders are, in the last piece and across all of them.
#[test]
fn pieces_do_what_plain_bytes_do() {
    let sizes = [1, 4095, 100_001, 0, 65_536, 7];
    let rest = SIZE as usize - sizes.iter().sum::<usize>();
    let piece = |size: usize| Arc::new(MemoryStore::new(size)) as Arc<dyn Store>;
    let pieces = sizes.into_iter().chain([rest]).map(piece).collect();
    Model::new(&ConcatStore::new(pieces, None).expect("pieces"), 3).run(OPERATIONS);
}

/// C-194: files as an operator lays them out, with a last one that is larger than what is served of it.
#[test]
fn files_in_a_row_do_what_plain_bytes_do() {
    let dir = TempDir::in_memory("model");
    for (number, size) in [100_001, 511, 1, 1 << 20].into_iter().enumerate() {
        dir.sparse(&format!("disk.{number}"), size);
    }
    let (path, layout) = (dir.join("disk"), Layout::Files);
    let spec = Spec { path, filesize: Some(SIZE), write: Access::ReadWrite, layout };
    let files = store::open(&spec, Arc::new(Poison::new())).expect("it opens");
    Model::new(&*files.store, 4).run(OPERATIONS);
}

/// C-192: with directories between, and a last page that is not a whole one.
#[test]
fn a_tree_does_what_plain_bytes_do() {
    let dir = TempDir::in_memory("model");
    let size = (4 << 20) + SIZE;
    let spec = Spec {
        path: dir.path().into(),
        filesize: Some(size),
        write: Access::ReadWrite,
        layout: Layout::Tree,
    };
    let tree = store::open(&spec, Arc::new(Poison::new())).expect("it opens");
    Model::new(&*tree.store, 5).run(OPERATIONS);
}
