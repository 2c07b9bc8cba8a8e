//! Every key of an export that works, by what a client sees of it.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use std::fs;
use std::process::Command;
use testkit::spec::*;
use testkit::{Client, skip_or_fail, tool};

#[test]
fn keys_of_an_export_are_seen_by_its_clients() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [0; 2 * BLOCK]).expect("a disk");
    let made = setup.dir().join("made.img");
    let server = setup
        .export("plain", &disk, "")
        .export("mute", &disk, "flush = false\nfua = false\ntrim = false")
        .export("spins", &disk, "rotational = true")
        .export("window", &disk, "filesize = 1000")
        .export("made", &made, "filesize = 12345")
        .export("locked", &disk, "readonly = true")
        .export("nobody", &disk, "maxconnections = -1")
        .start();
    let go = |name: &str| server.connect().go(name).expect("served");
    let plain = go("plain");
    let told = FLAG_SEND_FLUSH | FLAG_SEND_FUA | FLAG_SEND_TRIM;
    assert!(plain.has(told) && !plain.has(FLAG_ROTATIONAL) && !plain.has(FLAG_READ_ONLY));
    assert_eq!(go("mute").flags, plain.flags & !told);
    assert_eq!(go("spins").flags, plain.flags | FLAG_ROTATIONAL);
    assert_eq!((go("window").size, go("made").size), (1000, 12_345));
    assert_eq!(fs::metadata(&made).expect("made by its first client").len(), 12_345);
    assert!(go("locked").has(FLAG_READ_ONLY));
    assert!(server.connect().go("nobody").is_err());
    // What is not told of works all the same: clients depend on it (C-123).
    let mut mute = server.open("mute");
    mute.write_with(CMD_FLAG_FUA, 0, &[1; BLOCK]).expect("FUA");
    mute.flush().expect("FLUSH");
    mute.trim(0, BLOCK as u32).expect("TRIM");
    // The window ends where it ends.
    let mut window = server.open("window");
    assert_eq!(window.write(999, &[1, 2]), Err(ENOSPC));
    window.write(999, &[1]).expect("the last byte");
}

/// `sync = true`: no reply to a write before its sync.
#[test]
fn with_sync_each_write_is_durable_before_its_reply() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [0; 2 * BLOCK]).expect("a disk");
    let trace = setup.dir().join("trace");
    let server = setup.export("lazy", &disk, "").export("sync", &disk, "sync = true").start();
    let mut clients = ["lazy", "sync"].map(|name| server.open(name));
    let Some(strace) = tool("strace") else { return skip_or_fail("with_sync", "strace") };
    let syncs = |client: &mut Client| {
        let mut tracer = Command::new(&strace)
            .args(["-f", "-e", "trace=fdatasync", "-p", &server.pid().to_string(), "-o"])
            .arg(&trace)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut lines =
            std::io::BufRead::lines(std::io::BufReader::new(tracer.stderr.take().expect("piped")));
        let attached = lines.any(|line| line.is_ok_and(|line| line.contains("attached")));
        let drain = std::thread::spawn(move || lines.for_each(drop));
        (0..5).for_each(|_| client.write(0, &[1; BLOCK]).expect("written"));
        let pid = rustix::process::Pid::from_child(&tracer);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _ = (tracer.wait(), drain.join());
        let calls = fs::read_to_string(&trace).expect("a trace").matches("fdatasync(").count();
        attached.then_some(calls)
    };
    let Some(lazy) = syncs(&mut clients[0]) else {
        return skip_or_fail("with_sync", "leave to trace processes");
    };
    assert_eq!((lazy, syncs(&mut clients[1])), (0, Some(5)));
}

/// `on_change = keep`: sessions of a removed or repointed export go on at the old disk, at their own risk and said so;
/// nobody new gets there.
#[test]
fn with_on_change_keep_old_sessions_stay_on_the_old_disk() {
    let setup = server();
    let (one, two) = (setup.dir().join("one.img"), setup.dir().join("two.img"));
    for (path, fill) in [(&one, 1), (&two, 2)] {
        fs::write(path, [fill; BLOCK]).expect("a disk");
    }
    let mut server = setup.start();
    server.write_export("disk", &one, "on_change = keep");
    server.reload().expect_complete();
    let mut old = server.open("disk");
    server.write_export("disk", &two, "on_change = keep");
    let reloaded = server.reload().expect_complete();
    assert_eq!((reloaded.closing.changed, reloaded.closing.fenced), (1, 0));
    assert!(reloaded.about("session kept", "disk").is_some_and(|event| event.text.contains("on_change")));
    old.write(0, &[9; BLOCK]).expect("it goes on");
    let mut new = server.open("disk");
    assert_eq!((old.read(0, 1), new.read(0, 1)), (Ok(vec![9]), Ok(vec![2])));
    server.remove_conf("disk.conf");
    let reloaded = server.reload().expect_complete();
    assert_eq!((reloaded.closing.removed, reloaded.closing.fenced), (1, 0));
    assert!(server.connect().go("disk").is_err());
    new.write(0, &[8; BLOCK]).expect("it goes on too");
    // The end of the server is the end of all.
    assert!(server.terminate().success());
    assert!(old.is_closed() && new.is_closed());
    assert_eq!((fs::read(&one).expect("one")[0], fs::read(&two).expect("two")[0]), (9, 8));
}

/// Keys that are not supported yet leave their export out and are named; they never serve something else.
#[test]
fn what_is_not_supported_yet_is_named_and_left_out() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [0; BLOCK]).expect("a disk");
    let later = [
        "multifile = true",
        "treefiles = true",
        "copyonwrite = true",
        "temporary = true",
        "waitfile = true",
        "prerun = /bin/true",
        "postrun = /bin/true",
        "transactionlog = /tmp/log",
        "sdp = true",
    ];
    let server =
        setup.export("plain", &disk, "multifile = false\ncopyonwrite = false\nsplice = true").start();
    for (number, line) in later.into_iter().enumerate() {
        server.write_export(&format!("later{number}"), &disk, line);
    }
    let reloaded = server.reload();
    assert_eq!((reloaded.closing.added, reloaded.closing.kept), (0, later.len() as u64));
    for (number, line) in later.into_iter().enumerate() {
        let name = format!("later{number}");
        assert!(server.connect().go(&name).is_err(), "{line}");
        let key = line.split(' ').next();
        let said =
            reloaded.events.iter().any(|event| event.words == "export kept" && event.value("key") == key);
        assert!(said, "{line} is named");
    }
    assert!(server.connect().go("plain").is_ok());
}
