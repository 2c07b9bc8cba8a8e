//! What every store must do, held against a file, a block device, the store in memory that other tests stand on, pieces
//! and trees.
#![allow(missing_docs)]

use std::path::Path;
use std::sync::Arc;
use store::{
    Access, Cause, ConcatStore, Durability, FileStore, Layout, OverlayStore, Poison, Spec, Store, TreeStore,
    WaitingStore, ZeroHow,
};
use testkit::{LoopDevice, MemoryStore, TempDir, is_root, pattern, skip_or_fail};

const SIZE: u64 = 4 << 20;

fn open(path: &Path) -> FileStore {
    let spec = Spec { path: path.into(), filesize: None, write: Access::ReadWrite, layout: Layout::One };
    store::open_file(&spec, Arc::new(Poison::new())).expect("it opens")
}

/// Stores made of others: over what is in memory, and over files.
fn layered(dir: &TempDir) -> Vec<(&'static str, Box<dyn Store>)> {
    let (size, kept_size) = (SIZE as usize, OverlayStore::kept_size(SIZE));
    let base = || Arc::new(MemoryStore::from_bytes(noise(7, size)));
    let memory = |size| Arc::new(MemoryStore::new(size));
    std::fs::write(dir.join("base"), noise(7, size)).expect("a base");
    let file = Arc::new(open(&dir.join("base")));
    let diff = store::scratch(dir.path(), "base", "127.0.0.1", SIZE, Arc::default()).expect("a diff file");
    let overlay = store::open_overlay(&dir.join("overlay"), kept_size, Arc::default()).expect("its file");
    let waiting = WaitingStore::new(memory(size), SIZE).expect("large enough");
    waiting.write_at(&noise(8, 4096), 8192, Durability::Cached).expect("a whole page");
    waiting.switch(base()).expect("merged");
    let private = OverlayStore::private(base(), memory(size)).expect("large enough");
    let kept = OverlayStore::kept(base(), memory(kept_size as usize)).expect("new");
    let of_files = OverlayStore::private(file.clone(), Arc::new(diff)).expect("large enough");
    let kept_files = OverlayStore::kept(file, Arc::new(overlay)).expect("new");
    vec![
        ("private overlay", Box::new(private)),
        ("overlay that stays", Box::new(kept)),
        ("private overlay of files", Box::new(of_files)),
        ("overlay of files that stays", Box::new(kept_files)),
        ("waiting no more", Box::new(waiting)),
    ]
}

/// Runs a claim over every kind of store.
fn each(test: &str, claim: impl Fn(&str, &dyn Store)) {
    let dir = TempDir::new("store");
    claim("memory", &MemoryStore::new(SIZE as usize));
    claim("file", &open(&dir.sparse("file", SIZE)));
    for (kind, store) in layered(&dir) {
        claim(kind, &*store);
    }
    claim("pieces of memory", &memory_pieces());
    claim("pieces of files", &*file_pieces(&dir));
    claim("tree", &tree(&dir));
    let backing = dir.sparse("backing", SIZE);
    match LoopDevice::attach(&backing).filter(|_| is_root()) {
        Some(device) => claim("device", &open(device.path())),
        None => skip_or_fail(test, "root and a free loop device"),
    }
}

/// Borders at odd places, one of them in the middle of a page, and a piece without bytes.
fn memory_pieces() -> ConcatStore {
    let sizes = [100_001, 1, 0, 1 << 20, 4095];
    let rest = SIZE as usize - sizes.iter().sum::<usize>();
    let piece = |size: usize| Arc::new(MemoryStore::new(size)) as Arc<dyn Store>;
    ConcatStore::new(sizes.into_iter().chain([rest]).map(piece).collect(), None).expect("pieces")
}

/// The last piece is larger than what is served of it.
fn file_pieces(dir: &TempDir) -> Arc<dyn Store> {
    for (number, size) in [512 << 10, 1 << 20, 1 << 19, SIZE].into_iter().enumerate() {
        dir.sparse(&format!("pieces.{number}"), size);
    }
    let (path, layout) = (dir.join("pieces"), Layout::Files);
    let spec = Spec { path, filesize: Some(SIZE), write: Access::ReadWrite, layout };
    store::open(&spec, Arc::new(Poison::new())).expect("it opens").store
}

fn tree(dir: &TempDir) -> TreeStore {
    let path = dir.join("tree");
    std::fs::create_dir_all(&path).expect("a directory");
    let spec = Spec { path, filesize: Some(SIZE), write: Access::ReadWrite, layout: Layout::Tree };
    TreeStore::open(&spec, Arc::new(Poison::new())).expect("it opens")
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| pattern::mix(seed << 32 | at) as u8 | 1).collect()
}

fn read(store: &dyn Store, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    store.read_at(&mut bytes, offset).expect("read");
    bytes
}

/// The places where off-by-one errors live: the ends, the edges of sectors and blocks, and beyond one buffer.
const RANGES: [(u64, usize); 9] = [
    (0, 1),
    (511, 2),
    (4095, 4098),
    (4096, 4096),
    (65_535, 3),
    (100_001, 300_007),
    (SIZE - 1, 1),
    (SIZE - 4097, 4097),
    (1 << 20, 2 << 20),
];

#[test]
fn what_was_written_is_read_back_and_nothing_beside_it_changes() {
    each("what_was_written", |kind, store| {
        for (seed, (offset, len)) in (1..).zip(RANGES) {
            let mut wanted = read(store, 0, SIZE as usize);
            let bytes = noise(seed, len);
            wanted[offset as usize..offset as usize + len].copy_from_slice(&bytes);
            store.write_at(&bytes, offset, Durability::Cached).expect("written");
            assert!(read(store, 0, SIZE as usize) == wanted, "{kind}: {len} bytes at {offset}");
            let mut at_hand = vec![0; len];
            if store.try_read(&mut at_hand, offset).expect("no error") {
                assert!(at_hand == bytes, "{kind}: what is at hand is the same");
            }
        }
    });
}

/// Each way of making zeros, at odd edges: zeros inside, nothing else outside, the size stays.
#[test]
fn zeros_and_trims_keep_to_their_range() {
    each("zeros_and_trims", |kind, store| {
        let all = noise(99, SIZE as usize);
        let ways = [(true, false), (false, false), (true, true), (false, true)];
        for (offset, len) in RANGES {
            for (may_punch, fast_only) in ways {
                store.write_at(&all, 0, Durability::Cached).expect("written");
                let how = ZeroHow { may_punch, fast_only };
                let result = store.zero(offset, len as u64, how, Durability::Cached);
                if fast_only && matches!(&result, Err(error) if matches!(error.cause, Cause::Unsupported(_)))
                {
                    assert!(read(store, 0, SIZE as usize) == all, "{kind}: refused, so nothing is done");
                    continue;
                }
                result.unwrap_or_else(|error| panic!("{kind}: {how:?}: {error}"));
                let (start, end) = (offset as usize, offset as usize + len);
                let after = read(store, 0, SIZE as usize);
                assert!(after[start..end].iter().all(|&byte| byte == 0), "{kind}: {how:?} {len} at {offset}");
                assert!(after[..start] == all[..start] && after[end..] == all[end..], "{kind}: {how:?}");
            }
            store.write_at(&all, 0, Durability::Cached).expect("written");
            store.trim(offset, len as u64, Durability::Durable).expect("trimmed");
            let after = read(store, 0, SIZE as usize);
            let (start, end) = (offset as usize, offset as usize + len);
            assert!(after[..start] == all[..start] && after[end..] == all[end..], "{kind}: trim");
        }
        assert_eq!(store.geometry().size, SIZE);
    });
}

/// A map covers from its first byte on without gaps, in no more extents than wanted; what it calls zero reads as zero.
#[test]
fn a_map_is_true_and_has_no_gaps() {
    each("a_map_is_true", |kind, store| {
        let everything = ZeroHow { may_punch: true, fast_only: false };
        store.zero(0, SIZE, everything, Durability::Cached).expect("cleared");
        for at in (0..SIZE).step_by(512 << 10) {
            store.write_at(&noise(at, 64 << 10), at, Durability::Cached).expect("written");
        }
        for (offset, len) in RANGES {
            for extents_max in [1, 2, 1000] {
                let extents = store.map(offset, len as u64, extents_max).expect("a map");
                assert!(!extents.is_empty() && extents.len() <= extents_max, "{kind}");
                let mut at = offset;
                for extent in &extents {
                    assert!(extent.len > 0, "{kind}");
                    let inside = extent.len.min(offset + len as u64 - at) as usize;
                    if extent.zero {
                        let zeros = read(store, at, inside).iter().all(|&byte| byte == 0);
                        assert!(zeros, "{kind}: {extent:?} at {at}");
                    }
                    at += extent.len;
                }
                assert!(extents.len() == extents_max || at >= offset + len as u64, "{kind}: it ends at {at}");
            }
        }
        if store.capabilities().map {
            let holes = store.map(0, SIZE, 1000).expect("a map").iter().filter(|extent| extent.hole).count();
            assert_eq!(holes, 8, "{kind}: one behind each piece of data");
        }
    });
}

#[test]
fn durable_writes_flushes_and_hints_succeed() {
    each("durable_writes", |kind, store| {
        store.write_at(&[1; 512], 0, Durability::Durable).expect(kind);
        store.zero(0, 4096, ZeroHow { may_punch: false, fast_only: false }, Durability::Durable).expect(kind);
        store.flush().expect(kind);
        store.cache(0, SIZE).expect(kind);
        store.cache(SIZE, 0).expect(kind);
        store.verify().expect(kind);
        assert_eq!(store.geometry().size, SIZE, "{kind}");
        assert!(store.geometry().block_preferred.is_power_of_two(), "{kind}");
    });
}
