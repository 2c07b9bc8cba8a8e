//! Every kind of store under random operations, beside plain bytes.
#![allow(missing_docs)]

use std::sync::Arc;
use store::{Access, Poison, Spec};
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
    let spec = Spec { path: dir.sparse("file", SIZE), filesize: None, write: Access::ReadWrite };
    let file = store::open(&spec, Arc::new(Poison::new())).expect("it opens");
    Model::new(&file, 2).run(OPERATIONS);
}
