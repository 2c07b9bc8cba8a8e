//! P6 and P7 at the level of the process: what was flushed survives `kill -9` in mid-write, and the server starts again
//! at once; SIGTERM finishes what was taken.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::{Client, pattern};

const BLOCKS: u64 = 64;

/// Writers flush after each round over their part; whatever round they were told is flushed is on the disk afterwards,
/// or a later one.
#[test]
fn kill_nine_in_mid_write_loses_nothing_that_was_flushed() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, vec![0; 4 * BLOCKS as usize * BLOCK]).expect("a disk");
    let mut server = setup.export("disk", &disk, "").start();
    for generation in 1..=5_u64 {
        let base = generation * 1_000_000;
        let flushed: Arc<[AtomicU64; 4]> = Arc::default();
        let writers: Vec<_> = (0..4_u64)
            .map(|writer| {
                let (mut client, flushed) = (server.open("disk"), flushed.clone());
                thread::spawn(move || write_rounds(&mut client, writer, base, &flushed[writer as usize]))
            })
            .collect();
        let until = Instant::now() + Duration::from_secs(20);
        while flushed.iter().any(|round| round.load(Ordering::SeqCst) < base + 3) {
            assert!(Instant::now() < until, "the writers are slow");
            thread::sleep(Duration::from_millis(1));
        }
        server.kill9();
        writers.into_iter().for_each(|writer| writer.join().expect("it ends"));
        let bytes = fs::read(&disk).expect("the disk");
        for (block, content) in (0_u64..).zip(bytes.chunks(BLOCK)) {
            let writer = block / BLOCKS;
            let (volume, number, round) = pattern::identify(content).expect("whole blocks");
            assert_eq!((volume, number), (writer, block));
            let promised = flushed[writer as usize].load(Ordering::SeqCst);
            assert!(round >= promised, "block {block} has round {round}, {promised} was flushed");
        }
        let began = Instant::now();
        server.restart();
        assert!(began.elapsed() < Duration::from_secs(5), "it starts at once");
        assert_eq!(server.open("disk").read(0, 16).expect("served"), bytes[..16]);
    }
}

fn write_rounds(client: &mut Client, writer: u64, base: u64, flushed: &AtomicU64) {
    for round in base.. {
        for block in writer * BLOCKS..(writer + 1) * BLOCKS {
            if client.write(block * BLOCK as u64, &pattern::block(writer, block, round, BLOCK)).is_err() {
                return;
            }
        }
        if client.flush().is_err() {
            return;
        }
        flushed.store(round, Ordering::SeqCst);
    }
}

/// SIGTERM: requests taken are answered, the pid file and the socket are gone, the status is 0, within five seconds.
#[test]
fn sigterm_finishes_what_was_taken_and_cleans_up() {
    let setup = server().unix();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, vec![0; 1 << 20]).expect("a disk");
    let mut server = setup.export("disk", &disk, "").start();
    assert_eq!(fs::read_to_string(server.pid_path()).expect("a pid file").trim(), server.pid().to_string());
    let mut client = server.open("disk");
    client.write(0, &[7; 4096]).expect("written");
    let idle = server.connect();
    let began = Instant::now();
    let status = server.terminate();
    assert!(status.success(), "{status}");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(client.is_closed());
    assert_eq!(fs::read(&disk).expect("the disk")[..4096], [7; 4096]);
    // Its session came to its own end, with the flush that belongs to it, before the process did.
    let lines = server.lines();
    let ended =
        lines.iter().position(|line| line.starts_with("fenced peer=") && line.contains("written=4096"));
    let stopped = lines.iter().position(|line| line == "stopped");
    assert!(ended.is_some() && ended < stopped, "{lines:?}");
    assert!(!server.pid_path().exists() && !server.socket().exists());
    drop(idle);
    server.restart();
    assert_eq!(server.open("disk").read(0, 1), Ok(vec![7]));
}

/// One process, whatever is connected (P7).
#[test]
fn there_is_one_process_whatever_is_connected() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, vec![0; 1 << 20]).expect("a disk");
    let server = setup.export("disk", &disk, "").start();
    let clients: Vec<Client> = (0..20).map(|_| server.open("disk")).collect();
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).expect("procfs");
    assert_eq!(children.trim(), "");
    // And one descriptor of the disk serves them all.
    assert_eq!(server.open_paths().iter().filter(|path| **path == disk).count(), 1);
    drop(clients);
    let until = Instant::now() + Duration::from_secs(10);
    while server.open_paths().contains(&disk) {
        assert!(Instant::now() < until, "a disk that nobody uses is let go");
        thread::sleep(Duration::from_millis(5));
    }
}
