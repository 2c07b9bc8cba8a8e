//! A store whose file is not there yet, and the moment in which it comes.
#![allow(missing_docs)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use store::{Cause, Durability, Extent, FileStore, Store, StoreError, Verb, WaitingStore, ZeroHow};
use testkit::{Fault, FaultStore, MemoryStore, TempDir};

const PAGE: u64 = 4096;
const SIZE: u64 = 6 * PAGE + 1000;
const PUNCH: ZeroHow = ZeroHow { may_punch: true, fast_only: false };

fn waiting() -> WaitingStore {
    WaitingStore::new(Arc::new(MemoryStore::new(SIZE as usize)), SIZE).expect("large enough")
}

fn file() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::from_bytes(vec![0xf1; SIZE as usize]))
}

fn write(store: &dyn Store, byte: u8, offset: u64, len: u64) -> Result<(), StoreError> {
    store.write_at(&vec![byte; len as usize], offset, Durability::Cached)
}

fn read(store: &dyn Store, offset: u64, len: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0xee; len as usize];
    store.read_at(&mut bytes, offset).map(|()| bytes)
}

/// C-196: the size is what was said, whole pages are taken and can be read, everything else is an error in words.
#[test]
fn whole_pages_are_taken_before_the_file_is_there() {
    let store = waiting();
    assert_eq!(store.geometry().size, SIZE);
    assert!(!store.capabilities().multi_conn);
    write(&store, 1, PAGE, 2 * PAGE).expect("whole pages");
    write(&store, 2, 6 * PAGE, 1000).expect("the last one is whole too");
    store.zero(4 * PAGE, PAGE, PUNCH, Durability::Durable).expect("a whole page");
    write(&store, 3, PAGE + 7, 10).expect("a part of one that is there");
    store.flush().expect("flushed");
    store.cache(0, SIZE).expect("a hint");
    store.verify().expect("there");
    assert_eq!(read(&store, PAGE, 20), Ok([&[1; 7][..], &[3; 10], &[1; 3]].concat()));
    assert_eq!(read(&store, 4 * PAGE + 5, 5), Ok(vec![0; 5]));
    assert_eq!(read(&store, SIZE - 1000, 1000), Ok(vec![2; 1000]));
    let refused = [
        read(&store, 0, 1).map(|_| ()),
        read(&store, 0, SIZE).map(|_| ()),
        read(&store, 3 * PAGE - 1, 2).map(|_| ()),
        store.try_read(&mut [0; 10], 0).map(|_| ()),
        write(&store, 4, 0, 100),
        write(&store, 4, 3 * PAGE - 10, 20),
        store.zero(3 * PAGE - 10, 20, PUNCH, Durability::Cached),
    ];
    for error in refused {
        let cause = error.expect_err("nobody knows what is there").cause;
        assert!(matches!(&cause, Cause::Other(why) if why.contains("not there yet")), "{cause}");
    }
    assert_eq!(read(&store, PAGE, 7), Ok(vec![1; 7]));
    assert_eq!(read(&store, 3 * PAGE - 10, 10), Ok(vec![1; 10]), "what was refused was not begun");
}

/// C-136 and C-189, as for the other stores in pages.
#[test]
fn requests_of_no_length_and_trims_succeed() {
    let store = waiting();
    for offset in [0, 100, SIZE] {
        write(&store, 1, offset, 0).expect("nothing");
        read(&store, offset, 0).expect("nothing");
        store.zero(offset, 0, PUNCH, Durability::Cached).expect("nothing");
        store.trim(offset, 0, Durability::Durable).expect("nothing");
    }
    store.trim(10, 2 * PAGE, Durability::Cached).expect("a hint");
    store.trim(10, 20, Durability::Cached).expect("a hint");
}

/// Nobody may take for zeros what is unknown.
#[test]
fn what_nobody_wrote_is_data_in_a_map() {
    let store = waiting();
    store.zero(PAGE, PAGE, PUNCH, Durability::Cached).expect("a whole page");
    let extent = |len, zero| Extent { len, hole: zero, zero };
    let wanted = vec![extent(PAGE, false), extent(PAGE, true), extent(SIZE - 2 * PAGE, false)];
    assert_eq!(store.map(0, SIZE, 10), Ok(wanted));
}

/// C-197: the pages go into the file, and then the store is that file.
#[test]
fn a_file_that_comes_takes_the_pages_and_then_everything() {
    let (store, file) = (waiting(), file());
    write(&store, 1, PAGE, 2 * PAGE).expect("whole pages");
    write(&store, 2, 6 * PAGE, 1000).expect("the last one");
    assert_eq!(store.switch(file.clone()), Ok(3));
    let mut wanted = vec![0xf1; SIZE as usize];
    wanted[PAGE as usize..3 * PAGE as usize].fill(1);
    wanted[6 * PAGE as usize..].fill(2);
    assert!(file.durable() == wanted, "flushed");
    write(&store, 5, 10, 10).expect("any part");
    wanted[10..20].fill(5);
    assert_eq!(read(&store, 0, SIZE), Ok(wanted.clone()));
    store.zero(30, 10, PUNCH, Durability::Cached).expect("any part");
    wanted[30..40].fill(0);
    // The original's flush goes on to reach the wrong file.
    store.flush().expect("flushed");
    assert!(file.durable() == wanted);
    assert_eq!(store.try_read(&mut [0; 10], 0), Ok(true));
    assert_eq!(store.switch(self::file()), Ok(0), "it has its file");
    assert_eq!(read(&store, 0, SIZE), Ok(wanted));
}

/// C-198: the file with the pages is not needed any more, and goes.
#[test]
fn the_pages_file_goes_when_the_file_comes() {
    let dir = TempDir::new("waiting");
    let scratch = || -> FileStore {
        store::scratch(dir.path(), "disk", "unix", SIZE, Arc::default()).expect("a diff file")
    };
    let files = || std::fs::read_dir(dir.path()).expect("a directory").count();
    let store = WaitingStore::new(Arc::new(scratch()), SIZE).expect("large enough");
    write(&store, 1, PAGE, PAGE).expect("a whole page");
    assert_eq!(files(), 1);
    store.switch(file()).expect("merged");
    assert_eq!(files(), 0);
    drop(WaitingStore::new(Arc::new(scratch()), SIZE).expect("large enough"));
    assert_eq!(files(), 0, "also when it never came");
}

/// C-198: in the original a write that failed makes the merge go on for ever.
#[test]
fn a_refused_write_does_not_disturb_the_merge() {
    let (store, file) = (waiting(), file());
    write(&store, 1, PAGE + 1, 10).expect_err("a part of a page");
    write(&store, 2, 3 * PAGE, PAGE).expect("a whole page");
    write(&store, 3, PAGE - 5, 10).expect_err("a part of two");
    assert_eq!(store.switch(file.clone()), Ok(1));
    assert_eq!(file.bytes()[..3 * PAGE as usize], vec![0xf1; 3 * PAGE as usize]);
}

/// C-198: a merge that fails at any step leaves it waiting with everything that it had, to be tried again.
#[test]
fn a_merge_that_failed_leaves_it_waiting_with_everything() {
    let store = waiting();
    write(&store, 1, 0, PAGE).expect("a whole page");
    write(&store, 2, 2 * PAGE, PAGE).expect("a whole page");
    store.zero(4 * PAGE, PAGE, PUNCH, Durability::Cached).expect("a whole page");
    let small = Arc::new(MemoryStore::new(SIZE as usize - 1));
    let refused = store.switch(small).expect_err("too small").cause.to_string();
    assert!(refused.contains("25575") && refused.contains("25576"), "{refused}");
    let read_only = Arc::new(MemoryStore::read_only(SIZE as usize));
    assert_eq!(store.switch(read_only).expect_err("refused").cause, Cause::Forbidden);
    let memory = file();
    for (verb, nth) in [(Verb::Write, 1), (Verb::Write, 2), (Verb::Zero, 1), (Verb::Flush, 1)] {
        let broken = Arc::new(FaultStore::over(memory.clone()));
        broken.on(verb, nth, Fault::Fail(Cause::Io(5)));
        assert_eq!(store.switch(broken).expect_err("it failed").cause, Cause::Io(5));
        assert_eq!(read(&store, 0, PAGE), Ok(vec![1; PAGE as usize]));
        read(&store, PAGE, 1).expect_err("it waits on");
    }
    write(&store, 3, 2 * PAGE + 5, 5).expect("there");
    assert_eq!(store.switch(memory.clone()), Ok(3));
    let bytes = memory.durable();
    assert_eq!((bytes[0], bytes[2 * PAGE as usize], bytes[2 * PAGE as usize + 5]), (1, 2, 3));
    assert_eq!((bytes[PAGE as usize], bytes[4 * PAGE as usize]), (0xf1, 0));
}

/// A read that may not wait does not wait for a merge either.
#[test]
fn a_merge_under_way_is_not_at_hand() {
    let store = Arc::new(waiting());
    write(&*store, 1, 0, PAGE).expect("a whole page");
    let slow = Arc::new(FaultStore::over(file()));
    slow.on_next(Verb::Write, Fault::Stick);
    let switching = thread::spawn({
        let (store, slow) = (store.clone(), slow.clone());
        move || store.switch(slow)
    });
    assert!(slow.wait_until_stuck(1, Duration::from_secs(10)));
    let (tell, told) = mpsc::channel();
    let reading = thread::spawn({
        let store = store.clone();
        move || tell.send(store.try_read(&mut [0; 10], 0)).expect("somebody waits")
    });
    let answer = told.recv_timeout(Duration::from_secs(10));
    slow.release();
    assert_eq!(switching.join().expect("it ends"), Ok(1));
    reading.join().expect("it ends");
    assert_eq!(answer, Ok(Ok(false)));
    assert_eq!(store.try_read(&mut [0; 10], 0), Ok(true));
}

/// Writers at full speed while the file comes: each finds its last write, before and afterwards, and so does the file.
#[test]
fn no_write_is_lost_while_the_file_comes() {
    for _ in 0..100 {
        let (store, file) = (waiting(), file());
        let there = AtomicBool::new(false);
        let last: Vec<u8> = thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|page| {
                    let (store, there) = (&store, &there);
                    scope.spawn(move || {
                        let mut byte = 0;
                        let mut after = 0;
                        while after < 3 {
                            after += u32::from(there.load(Ordering::SeqCst));
                            byte = (byte + 1) % 200;
                            write(store, byte, page * 2 * PAGE, PAGE).expect("a whole page");
                            assert_eq!(read(store, page * 2 * PAGE, PAGE), Ok(vec![byte; PAGE as usize]));
                        }
                        byte
                    })
                })
                .collect();
            store.switch(file.clone()).expect("merged");
            there.store(true, Ordering::SeqCst);
            writers.into_iter().map(|writer| writer.join().expect("it ends")).collect()
        });
        let bytes = file.bytes();
        for (page, byte) in last.into_iter().enumerate() {
            let at = page * 2 * PAGE as usize;
            assert!(bytes[at..at + PAGE as usize].iter().all(|&found| found == byte));
            assert_eq!(bytes[at + PAGE as usize], 0xf1);
        }
    }
}
