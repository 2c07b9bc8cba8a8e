//! P3: a session on an export that a reload does not touch sees no error, no reconnection and no stall.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use testkit::{Client, pattern};

const SPAN: u64 = 32;

/// Writes and reads back its own blocks until it is told to stop. Returns how many blocks it verified.
fn verify_until(mut client: Client, number: u64, stop: &AtomicBool) -> u64 {
    let mut verified = 0;
    for round in 1.. {
        for block in 0..SPAN {
            let at = (number * SPAN + block) * BLOCK as u64;
            let bytes = pattern::block(number, block, round, BLOCK);
            client.write(at, &bytes).unwrap_or_else(|error| panic!("client {number}: write: error {error}"));
            let found = client
                .read(at, BLOCK as u32)
                .unwrap_or_else(|error| panic!("client {number}: read: error {error}"));
            assert!(found == bytes, "client {number} read other bytes than it wrote");
            verified += 1;
        }
        if round.is_multiple_of(16) {
            client.flush().unwrap_or_else(|error| panic!("client {number}: flush: error {error}"));
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    client.disc().expect("left");
    verified
}

/// Eight clients on two exports, while two hundred reloads add, remove, repoint and break others.
#[test]
fn eight_clients_see_nothing_of_two_hundred_reloads() {
    let setup = server();
    let dir = setup.dir().to_path_buf();
    let disk = |name: &str| {
        let path = dir.join(name);
        fs::write(&path, vec![0; 8 * SPAN as usize * BLOCK]).expect("a disk");
        path
    };
    let (calm, other, a, b) = (disk("calm.img"), disk("other.img"), disk("a.img"), disk("b.img"));
    let server = setup.export("in-main", &other, "").start();
    server.write_export("calm", &calm, "");
    server.reload().expect_complete();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8_u64)
        .map(|number| {
            let client = server.open(if number % 2 == 0 { "calm" } else { "in-main" });
            let stop = stop.clone();
            thread::spawn(move || verify_until(client, number, &stop))
        })
        .collect();
    let mut busy = None;
    for round in 0..200 {
        let (target, more) =
            (if round % 2 == 0 { &a } else { &b }, if round % 3 == 0 { "readonly = true" } else { "" });
        match round % 4 {
            0 | 1 => server.write_export("changing", target, more),
            2 => server.remove_conf("changing.conf"),
            _ => server.write_conf("broken.conf", "half [writ"),
        }
        let reloaded = server.reload();
        assert_eq!(reloaded.closing.kept, u64::from(round % 4 == 3 || round > 3), "round {round}");
        // A client of the export that does change comes and is cut off, round after round.
        if round % 4 == 0 {
            busy = Some(server.open("changing"));
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.join().expect("no client saw an error") > 0);
    }
    drop(busy);
    let accepted = server.lines().iter().filter(|line| line.contains("connect from")).count();
    assert_eq!(accepted, 8 + 50, "somebody connected again");
}

/// A reload with nothing to do says so and touches nothing (P1).
#[test]
fn a_reload_with_nothing_to_do_changes_nothing() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [0; BLOCK]).expect("a disk");
    let server = setup.export("disk", &disk, "").start();
    let mut client = server.open("disk");
    for _ in 0..3 {
        let closing = server.reload().expect_complete().closing;
        assert_eq!(
            (closing.added, closing.changed, closing.removed, closing.kept, closing.fenced),
            (0, 0, 0, 0, 0)
        );
        client.write(0, &[1; BLOCK]).expect("undisturbed");
    }
}

/// A burst of signals is one request; the last state wins, and nobody is harmed (P7).
#[test]
fn a_burst_of_signals_ends_in_the_last_state() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [0; BLOCK]).expect("a disk");
    let server = setup.export("disk", &disk, "").start();
    let mut client = server.open("disk");
    for number in 0..50 {
        server.write_export(&format!("e{number}"), &disk, "readonly = true");
        server.hup();
    }
    let last = |line: &str| line.contains("export added") && line.contains("e49");
    server.wait_for(last, std::time::Duration::from_secs(20)).expect("the last state was seen");
    client.write(0, &[1; BLOCK]).expect("undisturbed");
    server.reload().expect_complete();
    assert_eq!(server.connect().list().expect("listed").len(), 51);
    let reloads = server.lines().iter().filter(|line| line.contains("MIGRATEKIT: reload complete")).count();
    assert!(reloads < 50, "{reloads} reloads: the burst was not coalesced");
}

/// Settings that can change live do; open sessions keep what they were told, but a right to write that is taken away is
/// taken away at once.
#[test]
fn settings_change_without_cutting_anyone_off() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [0; BLOCK]).expect("a disk");
    let server = setup.start();
    server.write_export("disk", &disk, "");
    server.reload().expect_complete();
    let mut old = server.open("disk");
    old.write(0, &[1; BLOCK]).expect("writable");
    server.write_export("disk", &disk, "readonly = true\nmaxconnections = 2");
    let reloaded = server.reload().expect_complete();
    assert_eq!((reloaded.closing.changed, reloaded.closing.fenced), (1, 0));
    assert_eq!(old.write(0, &[2; BLOCK]), Err(testkit::spec::EPERM));
    assert_eq!(old.read(0, 1).expect("still connected"), [1]);
    let mut new = server.connect();
    assert!(new.go("disk").expect("the export").has(testkit::spec::FLAG_READ_ONLY));
    assert!(server.connect().go("disk").is_err(), "the old session counts too");
    server.write_export("disk", &disk, "");
    server.reload().expect_complete();
    server.open("disk").write(0, &[3; BLOCK]).expect("writable again for new sessions");
}

/// The right to write is gone for everybody once the reload is acknowledged, also for those who were coming in while it was
/// under way.
#[test]
fn a_disk_that_became_read_only_is_written_by_nobody() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [0; BLOCK]).expect("a disk");
    let server = setup.start();
    server.write_export("disk", &disk, "");
    server.reload().expect_complete();
    let (locked, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let (locked, stop, port) = (locked.clone(), stop.clone(), server.port());
            thread::spawn(move || {
                let mut written = 0;
                while !stop.load(Ordering::SeqCst) {
                    let mut client = testkit::Client::connect_tcp(port).expect("connected");
                    client.go("disk").expect("served");
                    for _ in 0..5 {
                        let acknowledged = locked.load(Ordering::SeqCst);
                        let ok = client.write(0, &[1; BLOCK]).is_ok();
                        assert!(!(acknowledged && ok), "written after the reload was acknowledged");
                        written += usize::from(ok);
                    }
                }
                written
            })
        })
        .collect();
    for _ in 0..30 {
        server.write_export("disk", &disk, "readonly = true");
        server.reload().expect_complete();
        locked.store(true, Ordering::SeqCst);
        thread::sleep(std::time::Duration::from_millis(10));
        locked.store(false, Ordering::SeqCst);
        server.write_export("disk", &disk, "");
        server.reload().expect_complete();
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        assert!(writer.join().expect("nothing was written too late") > 0);
    }
}

/// What cannot change without a restart is named (P9).
#[test]
fn what_needs_a_restart_is_said_and_not_applied() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [0; BLOCK]).expect("a disk");
    let server = setup.export("disk", &disk, "").start();
    let text = fs::read_to_string(server.config_path()).expect("the configuration");
    let changed = text.replace("allowlist = true", "allowlist = false\nmax_threads = 2");
    fs::write(server.config_path(), changed.replace("listenaddr = 127.0.0.1", "listenaddr = 127.0.0.2"))
        .expect("written");
    let reloaded = server.reload().expect_complete();
    let about = |words: &str, key: &str| {
        reloaded.events.iter().any(|event| event.words == words && event.value("key") == Some(key))
    };
    assert!(about("setting not applied", "listenaddr"));
    assert!(about("setting changed", "allowlist"));
    assert!(about("setting changed", "max_threads"));
    assert!(server.connect().list().is_err(), "allowlist applies at once");
}
