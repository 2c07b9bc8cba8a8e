//! P2: once a reload is acknowledged, no byte of an old session reaches any device.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use testkit::spec::ESHUTDOWN;
use testkit::{CLOSED, Client, ServerProcess, pattern};

/// Blocks that one writer uses.
const SPAN: u64 = 64;

/// What a writer was told before it was cut off.
struct Told {
    writer: u64,
    /// For each block the last round whose write was acknowledged, and the last that was sent.
    acknowledged: Vec<u64>,
    sent: Vec<u64>,
    error: u32,
}

struct Writer {
    thread: JoinHandle<Told>,
    count: Arc<AtomicU64>,
}

impl Writer {
    fn start(mut client: Client, writer: u64) -> Self {
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let thread = thread::spawn(move || {
            let blocks = SPAN as usize;
            let mut told = Told { writer, acknowledged: vec![0; blocks], sent: vec![0; blocks], error: 0 };
            for round in 1.. {
                for block in 0..SPAN {
                    let at = writer * SPAN + block;
                    told.sent[block as usize] = round;
                    match client.write(at * BLOCK as u64, &pattern::block(writer, at, round, BLOCK)) {
                        Ok(()) => told.acknowledged[block as usize] = round,
                        Err(error) => {
                            told.error = error;
                            return told;
                        }
                    }
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
            told
        });
        Self { thread, count }
    }

    /// Until it has really begun.
    fn wait_for_writes(&self, count: u64) {
        while self.count.load(Ordering::Relaxed) < count && !self.thread.is_finished() {
            thread::sleep(Duration::from_micros(200));
        }
    }
}

fn fresh(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, vec![0; SPAN as usize * 4 * BLOCK]).expect("a disk");
    path
}

/// One export repointed or removed under its writers; everything is checked against the medium.
fn cut_off(server: &ServerProcess, connections: u64, round: u64) {
    let dir = server.dir().to_path_buf();
    let (old, new) = (fresh(&dir, "old.img"), fresh(&dir, "new.img"));
    server.write_export("disk", &old, "");
    server.reload().expect_complete();
    let writers: Vec<Writer> =
        (0..connections).map(|number| Writer::start(server.open("disk"), number)).collect();
    for writer in &writers {
        writer.wait_for_writes(3 + round % 50);
    }
    if round.is_multiple_of(2) {
        server.write_export("disk", &new, "");
    } else {
        server.remove_conf("disk.conf");
    }
    let reloaded = server.reload().expect_complete();
    // From the closing line on nothing may change.
    let at_once = fs::read(&old).expect("the old disk");
    assert_eq!(reloaded.closing.fenced, connections);
    assert!(!server.open_paths().contains(&old), "the old disk is still open");
    let told: Vec<Told> = writers.into_iter().map(|writer| writer.thread.join().expect("it ends")).collect();
    thread::sleep(Duration::from_millis(2));
    assert!(fs::read(&old).expect("the old disk") == at_once, "the old disk changed after the closing line");
    assert!(
        fs::read(&new).expect("the new disk").iter().all(|&byte| byte == 0),
        "an old session wrote to the new disk"
    );
    for told in told {
        assert!(told.error == ESHUTDOWN || told.error == CLOSED, "the writer was told {}", told.error);
        for block in 0..SPAN {
            let at = told.writer * SPAN + block;
            let bytes = &at_once[at as usize * BLOCK..][..BLOCK];
            let (acknowledged, sent) = (told.acknowledged[block as usize], told.sent[block as usize]);
            let there = pattern::identify(bytes).map_or(0, |(_, _, round)| round);
            assert!(
                (acknowledged..=sent).contains(&there),
                "block {at}: round {there}, told of {acknowledged}"
            );
        }
    }
    let _ = fs::remove_file(server.conf("disk.conf"));
    server.reload();
}

#[test]
fn one_writer_is_cut_off_at_the_closing_line_two_hundred_times() {
    let server = server().start();
    for round in 0..200 {
        cut_off(&server, 1, round);
    }
}

#[test]
fn four_writers_are_cut_off_at_the_closing_line_two_hundred_times() {
    let server = server().start();
    for round in 0..200 {
        cut_off(&server, 4, round);
    }
}

/// The export that comes back under the same name, with the same disk, begins with sessions of its own.
#[test]
fn a_disk_can_be_removed_and_added_again_at_once() {
    let server = server().start();
    let disk = fresh(server.dir(), "disk.img");
    for _ in 0..20 {
        server.write_export("disk", &disk, "");
        server.reload().expect_complete();
        let mut client = server.open("disk");
        client.write(0, &[1; BLOCK]).expect("written");
        server.remove_conf("disk.conf");
        server.reload().expect_complete();
        assert_eq!(client.write(0, &[2; BLOCK]), Err(CLOSED));
    }
    assert_eq!(fs::read(&disk).expect("the disk")[..BLOCK], [1; BLOCK]);
}

/// A client that neither reads its replies nor leaves cannot hold the disk.
#[test]
fn a_client_that_never_reads_is_cut_off_too() {
    let server = server().start();
    let disk = fresh(server.dir(), "disk.img");
    server.write_export("disk", &disk, "");
    server.reload().expect_complete();
    let client = server.open("disk");
    let stop = Arc::new(AtomicBool::new(false));
    let mut sender = client.try_clone().expect("a second handle");
    let stopped = stop.clone();
    let thread = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            if sender.send_request(0, 0, 1, 0, 512 << 10, &[]).is_err() {
                return;
            }
        }
    });
    thread::sleep(Duration::from_millis(300));
    server.remove_conf("disk.conf");
    let reloaded = server.reload().expect_complete();
    assert_eq!(reloaded.closing.fenced, 1);
    assert!(!server.open_paths().contains(&disk));
    stop.store(true, Ordering::Relaxed);
    drop(client);
    thread.join().expect("it ends");
}
