//! A request that hangs in the kernel (P2): named with its age, the successor offline until it has ended, the reload not
//! acknowledged as complete, everybody else undisturbed. The hang is real: a file system that is frozen.
#![allow(missing_docs)]

mod common;

use common::frozen::{Frozen, wait_until_stuck};
use common::{BLOCK, point, server};
use std::fs;
use std::time::{Duration, Instant};
use testkit::spec::{CMD_WRITE, REP_ERR_POLICY};
use testkit::{CLOSED, Client, Outcome, ServerProcess, skip_or_fail};

/// What was written and flushed is there; the next write hangs in the kernel.
fn hang(frozen: &Frozen, server: &ServerProcess, client: &mut Client) {
    client.write(0, &[1; BLOCK]).expect("it works");
    client.flush().expect("flushed");
    assert!(frozen.freeze("-f"));
    client.send_request(0, CMD_WRITE, 77, BLOCK as u64, BLOCK as u32, &[2; BLOCK]).expect("sent");
    wait_until_stuck(server);
}

#[test]
fn a_request_that_hangs_keeps_its_successor_offline_and_nobody_else() {
    let Some(frozen) = Frozen::new() else {
        return skip_or_fail("a_request_that_hangs", "root, mkfs.ext4, fsfreeze and a loop device");
    };
    let setup = server();
    let old = frozen.mount().join("old.img");
    let (new, other) = (setup.dir().join("new.img"), setup.dir().join("other.img"));
    for path in [&old, &new, &other] {
        fs::write(path, [0; 4 * BLOCK]).expect("a disk");
    }
    let server = setup.start();
    // Thawed before the server is ended, also where the test fails: what hangs does not end.
    let frozen = frozen;
    server.write_export("disk", &old, "");
    server.write_export("other", &other, "");
    server.reload().expect_complete();
    let (mut stuck, mut other) = (server.open("disk"), server.open("other"));
    hang(&frozen, &server, &mut stuck);

    server.write_export("disk", &new, "");
    let reloaded = server.reload();
    assert_eq!(reloaded.closing.outcome, Outcome::Incomplete);
    let said = reloaded.about("export unavailable", "disk").expect("it is named");
    let why = said.value("reason").expect("with a reason");
    assert!(why.contains("127.0.0.1") && why.contains(" ms"), "who, and for how long: {why}");
    let asked = Instant::now();
    let (kind, why) = server.connect().go("disk").expect_err("offline");
    assert!(kind == REP_ERR_POLICY && why.contains("hangs"), "{why}");
    assert!(asked.elapsed() < Duration::from_secs(4), "refused at once, not queued");
    other.write(0, &[3; BLOCK]).expect("undisturbed");
    // A second reload finds nothing to change, and the export is offline still.
    assert_eq!(server.reload().closing.outcome, Outcome::Incomplete, "still not in step");
    assert!(server.connect().go("disk").is_err());

    assert!(frozen.freeze("-u"));
    let released = |line: &str| line.contains("MIGRATEKIT: export released") && line.contains("export=disk");
    assert!(server.wait_for(released, Duration::from_secs(10)).is_some());
    let mut fresh = server.open("disk");
    fresh.write(0, &[4; BLOCK]).expect("on the new disk");
    assert_eq!(stuck.read(0, 1), Err(CLOSED), "the old session is over");
    assert_eq!(fs::read(&new).expect("new")[BLOCK..2 * BLOCK], [0; BLOCK], "nothing of the old session");
    assert_eq!(fs::read(&old).expect("old")[..BLOCK], [1; BLOCK], "nothing of the new one");
    assert!(!server.open_paths().contains(&old), "the old disk is let go");
    server.reload().expect_complete();
    drop(server);
}

/// P2: a request that hangs may still arrive at its disk, so whoever comes to that disk waits: who was kept out of it until
/// then, from the beginning of the fence on, and who comes by another path.
#[test]
fn nobody_comes_to_a_disk_to_which_a_request_hangs() {
    let Some(frozen) = Frozen::new() else {
        return skip_or_fail("nobody_comes_to_a_disk", "root, mkfs.ext4, fsfreeze and a loop device");
    };
    let setup = server();
    let (disk, own, link) =
        (frozen.mount().join("disk.img"), setup.dir().join("own.img"), setup.dir().join("link"));
    for path in [&disk, &own] {
        fs::write(path, [0; 4 * BLOCK]).expect("a disk");
    }
    point(&link, &own);
    let server = setup.start();
    let frozen = frozen;
    server.write_export("writes", &disk, "exclusive = true");
    server.write_export("moves", &link, "");
    server.reload().expect_complete();
    server.write_export("waits", &disk, "");
    server.write_export("reads", &disk, "readonly = true");
    assert_eq!(server.reload().closing.kept, 1);
    let mut stuck = server.open("writes");
    hang(&frozen, &server, &mut stuck);
    fs::remove_file(server.conf("writes.conf")).expect("removed");
    server.write_export("reads", &disk, "");
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| server.reload());
        let fenced = |line: &str| line.contains("MIGRATEKIT: session fenced");
        assert!(server.wait_for(fenced, Duration::from_secs(10)).is_some());
        let come = |name: &'static str| scope.spawn(|| server.connect().go(name).map(drop));
        for client in [come("waits"), come("reads")] {
            let (_, why) = client.join().expect("an answer").expect_err("its disk is not free yet");
            assert!(why.contains("a reload is under way"), "{why}");
        }
        assert_eq!(reload.join().expect("it ends").closing.outcome, Outcome::Incomplete);
    });
    point(&link, &disk);
    for name in ["waits", "reads", "moves"] {
        let (_, why) = server.connect().go(name).expect_err("its disk is not free");
        assert!(why.contains("hangs, and this export must wait for its end"), "{why}");
    }
    assert!(frozen.freeze("-u"));
    let released = |line: &str| line.contains("MIGRATEKIT: export released");
    assert!(server.wait_for(released, Duration::from_secs(10)).is_some());
    server.open("waits").write(0, &[3; BLOCK]).expect("the disk is free");
    drop(server);
}

/// P2, P5: who has lost the right to write may have a write in the kernel, and nobody has the disk for himself before that has
/// ended.
#[test]
fn a_write_that_hangs_in_an_export_that_became_read_only_keeps_an_exclusive_one_out() {
    let Some(frozen) = Frozen::new() else {
        return skip_or_fail("a_write_that_hangs", "root, mkfs.ext4, fsfreeze and a loop device");
    };
    let setup = server();
    let disk = frozen.mount().join("disk.img");
    fs::write(&disk, [0; 4 * BLOCK]).expect("a disk");
    let server = setup.start();
    let frozen = frozen;
    server.write_export("writes", &disk, "");
    server.reload().expect_complete();
    let mut stuck = server.open("writes");
    server.write_export("claims", &disk, "exclusive = true");
    assert_eq!(server.reload().closing.kept, 1);
    hang(&frozen, &server, &mut stuck);
    server.write_export("writes", &disk, "readonly = true");
    assert_eq!(server.reload().closing.outcome, Outcome::Incomplete);
    let (_, why) = server.connect().go("claims").expect_err("its disk is not free");
    assert!(why.contains("export writes ("), "{why}");
    assert!(frozen.freeze("-u"));
    let until = Instant::now() + Duration::from_secs(10);
    while server.connect().go("claims").is_err() {
        assert!(Instant::now() < until, "the disk is free");
    }
    drop(server);
}
