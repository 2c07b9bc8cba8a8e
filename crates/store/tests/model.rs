//! Every kind of store under random operations, beside plain bytes.
#![allow(missing_docs)]

use std::sync::Arc;
use store::{Access, ConcatStore, Durability, Layout, OverlayStore, Poison, Spec, Store, WaitingStore};
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

fn base() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::from_bytes((0..SIZE).map(|at| testkit::pattern::mix(at) as u8).collect()))
}

/// Overlays in one test. What is interesting happens when a page is first touched, so none of them becomes old.
const OVERLAYS: u64 = 500;

/// C-182, C-186: the base is what it was, and the last page, which is no whole one, belongs to nobody else.
#[test]
fn a_private_overlay_does_what_plain_bytes_do_and_leaves_its_base_alone() {
    let (dir, base) = (TempDir::new("model"), base());
    let before = base.bytes();
    let run = |upper: Arc<dyn Store>, seed: u64| {
        let overlay = OverlayStore::private(base.clone(), upper).expect("large enough");
        Model::new(&overlay, seed).run(OPERATIONS / OVERLAYS);
    };
    for seed in 0..OVERLAYS {
        run(Arc::new(MemoryStore::new(SIZE as usize)), seed);
    }
    for seed in 0..OVERLAYS / 10 {
        let diff = store::scratch(dir.path(), "base", "unix", SIZE, Arc::default()).expect("a diff file");
        run(Arc::new(diff), seed);
    }
    assert!(base.bytes() == before);
}

/// As above; and each is opened again, as after a power cut, used on, and at last merged into its base.
#[test]
fn an_overlay_that_stays_does_what_plain_bytes_do_and_is_still_there_afterwards() {
    let before = base().bytes();
    for seed in 0..OVERLAYS {
        let base = base();
        let upper = Arc::new(MemoryStore::new(OverlayStore::kept_size(SIZE) as usize));
        let overlay = OverlayStore::kept(base.clone(), upper.clone()).expect("new");
        let mut model = Model::new(&overlay, seed);
        model.run(OPERATIONS / OVERLAYS / 2);
        overlay.flush().expect("flushed");
        let wanted = model.bytes().to_vec();
        let again = OverlayStore::kept(base.clone(), Arc::new(MemoryStore::from_bytes(upper.durable())));
        let again = again.expect("the same again");
        let mut model = Model::new(&again, seed + OVERLAYS);
        assert!(model.bytes() == wanted, "everything that was flushed");
        model.run(OPERATIONS / OVERLAYS / 2);
        assert!(base.bytes() == before);
        assert!(again.commit().expect("merged") > 0);
        assert!(base.bytes() == model.bytes());
    }
}

/// C-198: one whose file came is that file.
#[test]
fn a_store_that_has_waited_does_what_plain_bytes_do() {
    let file = base();
    let waiting = WaitingStore::new(Arc::new(MemoryStore::new(SIZE as usize)), SIZE).expect("large enough");
    waiting.write_at(&[7; 8192], 4096, Durability::Cached).expect("whole pages");
    assert_eq!(waiting.switch(file.clone()), Ok(2));
    let mut model = Model::new(&waiting, 7);
    assert!(model.bytes()[4096..12288] == [7; 8192] && model.bytes()[..4096] == base().bytes()[..4096]);
    model.run(OPERATIONS);
    assert!(file.bytes() == model.bytes());
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
