//! Commands around a session (contract 3.10): `prerun` before the disk is opened, `postrun` exactly once for each that
//! succeeded, however the session ends.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use testkit::spec::*;
use testkit::{ServerProcess, Setup};

/// A command that writes a word and the file's name into a log of the test.
fn note(log: &Path, word: &str) -> String {
    format!("echo {word} %s >> {}", log.display())
}

/// An export over a disk that is there, with both commands.
fn noting(setup: Setup) -> (Setup, PathBuf, PathBuf) {
    let (disk, log) = (setup.dir().join("disk.img"), setup.dir().join("notes"));
    fs::write(&disk, [5; BLOCK]).expect("a disk");
    let keys = format!("prerun = {}\npostrun = {}", note(&log, "pre"), note(&log, "post"));
    (setup.export("disk", &disk, &keys), disk, log)
}

/// The words in the log once there are so many, or after a while.
fn words(log: &Path, count: usize) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        let words: Vec<String> =
            text.lines().filter_map(|line| line.split(' ').next()).map(Into::into).collect();
        if words.len() >= count || Instant::now() > until {
            return words;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// C-177, C-179: asking is not a session; and each way to end one is followed by `postrun`, once.
#[test]
fn each_session_has_one_prerun_and_one_postrun() {
    let (setup, disk, log) = noting(server());
    let server = setup.start();
    let mut client = server.connect();
    client.info("disk").expect("told");
    client.list().expect("listed");
    assert_eq!(words(&log, 0), [""; 0], "INFO and LIST run nothing");
    client.go("disk").expect("served");
    assert_eq!(words(&log, 1), ["pre"]);
    client.disc().expect("left");
    assert!(client.is_closed());
    assert_eq!(words(&log, 0), ["pre", "post"], "after DISC, and before the client may come again");
    drop(server.open("disk"));
    assert_eq!(words(&log, 4)[2..], ["pre", "post"], "after a connection that broke");
    let mut client = server.open("disk");
    client.send_bytes(&[0xff; 28]).expect("sent");
    assert_eq!(words(&log, 6)[4..], ["pre", "post"], "C-181: after bad magic");
    let text = fs::read_to_string(&log).expect("notes");
    assert!(text.lines().all(|line| line.ends_with(&disk.display().to_string())), "the file's name: {text}");
}

/// C-181: also when the server is told to end, which waits for it.
#[test]
fn the_end_of_the_server_is_the_end_of_each_session() {
    let (setup, _, log) = noting(server());
    let mut server = setup.start();
    let clients = [server.open("disk"), server.open("disk")];
    assert!(server.terminate().success());
    assert_eq!(words(&log, 4)[2..], ["post", "post"]);
    drop(clients);
}

/// C-181: a fence ends sessions too, and a reload does not run anything for those that stay.
#[test]
fn a_fence_is_followed_by_postrun_and_a_reload_alone_by_nothing() {
    let setup = server();
    let log = setup.dir().join("notes");
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [5; BLOCK]).expect("a disk");
    let keys = format!("prerun = {}\npostrun = {}", note(&log, "pre"), note(&log, "post"));
    let server = setup.start();
    server.write_export("disk", &disk, &keys);
    server.reload().expect_complete();
    let mut client = server.open("disk");
    server.reload().expect_complete();
    client.write(0, &[1]).expect("it goes on");
    assert_eq!(words(&log, 1), ["pre"]);
    server.remove_conf("disk.conf");
    server.reload().expect_complete();
    assert!(client.is_closed());
    assert_eq!(words(&log, 2), ["pre", "post"]);
}

/// C-176: what `prerun` makes is served; what it refuses is not, and says so.
#[test]
fn prerun_decides_and_may_make_the_disk() {
    let setup = server();
    let (made, log) = (setup.dir().join("made $(touch x) it's.img"), setup.dir().join("notes"));
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [5; BLOCK]).expect("a disk");
    let post = note(&log, "post");
    let server = setup
        .export("made", &made, &format!("prerun = printf 12345 > %s; test \"$(pwd)\" = / && ! test -s /proc/self/fd/9\npostrun = rm %s; {post}"))
        .export("refused", &disk, &format!("prerun = exit 3\npostrun = {post}"))
        .export("killed", &disk, &format!("prerun = kill -9 $$\npostrun = {post}"))
        .start();
    let mut client = server.connect();
    assert_eq!(client.go("made").expect("made by prerun").size, 5);
    assert_eq!(client.read(0, 5), Ok(b"12345".to_vec()));
    client.disc().expect("left");
    assert_eq!(words(&log, 1), ["post"]);
    assert!(!made.exists(), "postrun has the same name");
    for (export, why) in [("refused", "status 3"), ("killed", "signal 9")] {
        let (kind, sentence) = server.connect().go(export).expect_err("refused");
        assert!(kind == REP_ERR_POLICY && sentence.contains(why), "{sentence}");
        let said = |line: &str| line.contains("Client '127.0.0.1' not allowed access by prerun script");
        assert!(server.wait_for(said, Duration::from_secs(20)).is_some());
    }
    assert_eq!(words(&log, 1), ["post"], "no postrun without a prerun that succeeded");
    let x = fs::read_dir(server.dir()).expect("a directory").flatten().any(|entry| entry.file_name() == "x");
    assert!(!x, "nothing in a name is carried out");
}

/// C-180, C-181: a disk that cannot be opened after `prerun` succeeded has its `postrun`; and with copy on write the name
/// is that of the file.
#[test]
fn what_prerun_began_postrun_ends() {
    let setup = server();
    let (disk, log) = (setup.dir().join("disk.img"), setup.dir().join("notes"));
    fs::write(&disk, [5; BLOCK]).expect("a disk");
    let keys = format!("prerun = {}\npostrun = {}", note(&log, "pre"), note(&log, "post"));
    let missing = setup.dir().join("missing");
    let server = setup
        .export("missing", &missing, &keys)
        .export("cow", &disk, &format!("{keys}\ncopyonwrite = true"))
        .start();
    assert!(server.connect().go("missing").is_err());
    assert_eq!(words(&log, 2), ["pre", "post"]);
    server.open("cow").disc().expect("left");
    assert_eq!(words(&log, 4)[2..], ["pre", "post"]);
    let text = fs::read_to_string(&log).expect("notes");
    assert_eq!(text.lines().filter(|line| line.ends_with(&disk.display().to_string())).count(), 2, "{text}");
}

/// A command that waits for this file; not for ever where its directory goes first, with the test.
fn wait_for(gate: &Path) -> String {
    let dir = gate.parent().expect("in a directory").display();
    format!("while test -d {dir} && ! test -e {}; do sleep 0.01; done", gate.display())
}

/// C-178, C-177: one client's slow `prerun` holds up nobody else; who may not come at all, or finds all places taken, runs
/// none.
#[test]
fn a_slow_prerun_holds_up_its_own_client_alone() {
    let setup = server();
    let (disk, gate) = (setup.dir().join("disk.img"), setup.dir().join("gate"));
    let (log, list) = (setup.dir().join("notes"), setup.dir().join("list"));
    fs::write(&disk, [5; BLOCK]).expect("a disk");
    fs::write(&list, "192.0.2.1\n").expect("a list");
    let slow = format!("prerun = {}; {}", note(&log, "pre"), wait_for(&gate));
    let server = setup
        .export("slow", &disk, &slow)
        .export("listed", &disk, &format!("prerun = {}\nauthfile = {}", note(&log, "listed"), list.display()))
        .export("full", &disk, &format!("prerun = {}\nmaxconnections = -1", note(&log, "full")))
        .export("quick", &disk, "")
        .start();
    let go = |server: &ServerProcess| server.connect();
    let mut waiting = go(&server);
    let waiting = std::thread::spawn(move || waiting.go("slow").map(|info| (info.size, waiting)));
    assert_eq!(words(&log, 1), ["pre"]);
    assert_eq!(server.open("quick").read(0, 1), Ok(vec![5]));
    server.reload().expect_complete();
    assert!(server.connect().go("listed").is_err() && server.connect().go("full").is_err());
    assert!(!waiting.is_finished());
    fs::write(&gate, "").expect("opened");
    assert_eq!(waiting.join().expect("no panic").expect("served").0, BLOCK as u64);
    assert_eq!(words(&log, 1), ["pre"], "nothing ran for those who were refused");
}

/// A SIGHUP to the server is none for its commands, and one that hangs does not keep the server from stopping.
#[test]
fn signals_to_the_server_are_none_to_its_commands() {
    let (setup, _, log) = noting(server());
    let disk = setup.dir().join("disk.img");
    let hang = format!("postrun = {}; sleep 6", note(&log, "hangs"));
    let mut server = setup.export("hang", &disk, &hang).start();
    let client = server.open("hang");
    drop(client);
    assert_eq!(words(&log, 1), ["hangs"]);
    server.signal(Signal::HUP).expect("it runs");
    assert!(server.terminate().success());
    assert!(
        server.wait_for(|line| line.contains("goes on after the end"), Duration::from_secs(20)).is_some()
    );
}

/// P2: the client of a removed export is let go at once, however long `postrun` takes.
#[test]
fn nobody_waits_for_postrun_but_its_own_session() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [5; BLOCK]).expect("a disk");
    let gate = setup.dir().join("gate");
    let server = setup.start();
    let slow = format!("postrun = {}", wait_for(&gate));
    server.write_export("disk", &disk, &slow);
    server.reload().expect_complete();
    let mut client = server.open("disk");
    server.remove_conf("disk.conf");
    server.reload().expect_complete();
    assert!(client.is_closed(), "while postrun runs");
    fs::write(&gate, "").expect("opened");
}

/// C-173: who is on its way in counts, or the commands of those who will be refused would run beside the one who is let in.
#[test]
fn one_place_means_one_prerun_at_a_time() {
    let setup = server();
    let (disk, log, gate) =
        (setup.dir().join("disk.img"), setup.dir().join("notes"), setup.dir().join("gate"));
    fs::write(&disk, [5; BLOCK]).expect("a disk");
    let slow = format!("prerun = {}; {}", note(&log, "pre"), wait_for(&gate));
    let server = setup.export("one", &disk, &format!("{slow}\nmaxconnections = 1")).start();
    let mut first = server.connect();
    let first = std::thread::spawn(move || first.go("one").map(|_| first));
    assert_eq!(words(&log, 1), ["pre"]);
    for _ in 0..10 {
        let (_, why) = server.connect().go("one").expect_err("refused");
        assert!(why.contains("1 of 1 connections in use"), "{why}");
    }
    fs::write(&gate, "").expect("opened");
    let mut first = first.join().expect("no panic").expect("served");
    assert_eq!(words(&log, 1), ["pre"]);
    first.disc().expect("left");
    assert!(first.is_closed());
    server.connect().go("one").expect("the place is free again");
}
