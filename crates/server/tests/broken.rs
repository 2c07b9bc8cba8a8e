//! P5 on real files: one bad file harms only itself, and what is half written is not believed.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use testkit::{Outcome, ServerProcess, is_root};

fn two() -> (ServerProcess, PathBuf, PathBuf) {
    let setup = server();
    let disk = |name: &str, fill: u8| {
        let path = setup.dir().join(name);
        fs::write(&path, [fill; BLOCK]).expect("a disk");
        path
    };
    let (one, two) = (disk("one.img", 1), disk("two.img", 2));
    let server = setup.start();
    server.write_export("a", &one, "");
    server.write_export("b", &one, "readonly = true");
    server.reload().expect_complete();
    (server, one, two)
}

fn first_byte(server: &ServerProcess, export: &str) -> u8 {
    server.open(export).read(0, 1).expect("read")[0]
}

/// Each way to break a file: its export and its session go on, the other file applies, the log names file and line.
#[test]
fn a_broken_file_keeps_its_exports_and_its_sessions() {
    let (server, one, two) = two();
    let cases = [
        ("[a\n", Some("1")),
        ("[a]\nexportname = /x\nreadonly = maybe\n", Some("3")),
        ("[a]\nexportname = /dev/v", None),
        ("[a]\nexp", Some("2")),
        ("", None),
        ("[a]\nreadonly = false\n", Some("1")),
        // Two mistakes are two lines, and one export.
        ("[a]\nexportname = /x\nreadonly = maybe\nfilesize = 10M\n", Some("3")),
    ];
    for (round, (text, line)) in cases.into_iter().enumerate() {
        let mut client = server.open("a");
        server.write_conf("a.conf", text);
        let target = if round % 2 == 0 { &two } else { &one };
        server.write_export("b", target, "readonly = true");
        let reloaded = server.reload();
        assert_eq!(reloaded.closing.outcome, Outcome::Incomplete, "{text:?}");
        assert_eq!(
            (reloaded.closing.changed, reloaded.closing.kept, reloaded.closing.fenced),
            (1, 1, 0),
            "{text:?}"
        );
        let kept = reloaded.about("export kept", "a").expect("said");
        assert_eq!(kept.value("line"), line, "{text:?}: {}", kept.text);
        assert_eq!(kept.value("file"), Some(server.conf("a.conf").to_str().expect("UTF-8")));
        assert_eq!(client.read(0, 1), Ok(vec![1]), "{text:?}: the session goes on");
        assert_eq!(first_byte(&server, "a"), 1, "{text:?}");
        assert_eq!(
            first_byte(&server, "b"),
            if round % 2 == 0 { 2 } else { 1 },
            "{text:?}: the other file applies"
        );
    }
    server.write_export("a", &two, "");
    server.reload().expect_complete();
    assert_eq!(first_byte(&server, "a"), 2);
}

/// At a start there is nothing that an export could stay: nothing of such a file is served, until it is mended.
#[test]
fn a_file_that_is_broken_at_the_start_is_named_and_nothing_of_it_is_served() {
    let setup = server().file("a.conf", "[a]\nexportname = /x\nreadonly = maybe\n");
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [1; BLOCK]).expect("a disk");
    let server = setup.start();
    let started = |line: &str| line.contains("start complete") && line.ends_with(" kept=1");
    assert!(server.log().wait_for(started, Duration::from_secs(10)).is_some(), "{:?}", server.lines());
    let kept = |line: &str| line.starts_with("MIGRATEKIT: export kept file=") && line.contains(" line=3 ");
    assert!(server.lines().iter().any(|line| kept(line)), "{:?}", server.lines());
    assert!(server.connect().go("a").is_err());
    server.write_export("a", &disk, "");
    server.reload().expect_complete();
    assert_eq!(first_byte(&server, "a"), 1);
}

#[test]
fn an_unreadable_file_keeps_its_exports() {
    let (server, ..) = two();
    let conf = server.conf("a.conf");
    if is_root() {
        // Root reads everything, but not what is no file.
        // What an editor leaves beside a file that it has open is no file; a link in place of one is no removal.
        let lock = server.conf(".#a.conf");
        std::os::unix::fs::symlink("user@host.1234", &lock).expect("a link");
        server.reload().expect_complete();
        fs::remove_file(lock).expect("removed");
        fs::remove_file(&conf).expect("removed");
        std::os::unix::fs::symlink("/nonexistent/a.conf", &conf).expect("a link");
        assert!(server.reload().about("export kept", "a").is_some());
        fs::remove_file(&conf).expect("removed");
        std::os::unix::fs::symlink("/proc/self/mem", &conf).expect("a link to what cannot be read");
    } else {
        fs::set_permissions(&conf, fs::Permissions::from_mode(0o0)).expect("closed");
    }
    let reloaded = server.reload();
    assert_eq!(reloaded.closing.outcome, Outcome::Incomplete);
    assert!(reloaded.about("export kept", "a").is_some());
    assert_eq!(first_byte(&server, "a"), 1);
}

#[test]
fn a_broken_or_missing_main_file_changes_nothing() {
    let (server, _, two) = two();
    let text = fs::read_to_string(server.config_path()).expect("the main file");
    server.write_export("a", &two, "");
    server.remove_conf("b.conf");
    for broken in ["[generic\n", "[generic]\nallowlist = perhaps\n", ""] {
        fs::write(server.config_path(), broken).expect("broken");
        let reloaded = server.reload();
        assert_eq!(reloaded.closing.outcome, Outcome::Refused, "{broken:?}");
        assert_eq!((first_byte(&server, "a"), first_byte(&server, "b")), (1, 1));
    }
    fs::remove_file(server.config_path()).expect("gone");
    assert_eq!(server.reload().closing.outcome, Outcome::Refused);
    fs::write(server.config_path(), text).expect("mended");
    let closing = server.reload().expect_complete().closing;
    assert_eq!((closing.changed, closing.removed), (1, 1));
}

#[test]
fn a_directory_that_is_gone_removes_nothing() {
    let (server, ..) = two();
    let (dir, away) = (server.dir().join("conf.d"), server.dir().join("away"));
    fs::rename(&dir, &away).expect("gone");
    let reloaded = server.reload();
    assert_eq!((reloaded.closing.outcome, reloaded.closing.kept), (Outcome::Incomplete, 2));
    assert_eq!(first_byte(&server, "a"), 1);
    fs::rename(&away, &dir).expect("back");
    server.reload().expect_complete();
}

/// Two files claim one name: the one being served goes on, the log names both.
#[test]
fn a_name_that_is_claimed_twice_stays_where_it_is() {
    let (server, _, two) = two();
    let mut client = server.open("a");
    server.write_conf("0.conf", &format!("[a]\nexportname = {}\n", two.display()));
    let reloaded = server.reload();
    assert_eq!((reloaded.closing.outcome, reloaded.closing.kept), (Outcome::Incomplete, 1));
    let kept = reloaded.about("export kept", "a").expect("said");
    assert!(kept.text.contains("0.conf") && kept.text.contains("a.conf"), "{}", kept.text);
    assert_eq!(client.read(0, 1), Ok(vec![1]));
    server.remove_conf("a.conf");
    assert_eq!(server.reload().expect_complete().closing.changed, 1);
    assert_eq!(first_byte(&server, "a"), 2);
}

/// A writer that takes its time, and a signal in the middle: what is read is what it had written in the end.
#[test]
fn a_file_is_read_once_it_has_been_left_alone() {
    let (server, one, two) = two();
    for (round, target) in [&two, &one, &two].into_iter().enumerate() {
        let text = testkit::setup::export("a", target, "readonly = true");
        let (head, rest) = text.split_at(text.len() - 7);
        let mark = server.log().mark();
        let mut file = fs::File::create(server.conf("a.conf")).expect("truncated");
        server.hup();
        for part in [head, rest] {
            thread::sleep(Duration::from_millis(15));
            file.write_all(part.as_bytes()).expect("written");
        }
        drop(file);
        server.closing_from(mark).expect_complete();
        assert_eq!(first_byte(&server, "a"), if target == &two { 2 } else { 1 }, "round {round}");
    }
    assert!(
        !server.lines().iter().any(|line| line.contains("export kept")),
        "half a file was believed to be broken"
    );
}

/// The appliance truncates and writes in place, and signals at any moment. Whatever a reload sees, an export is served
/// from one of the two disks that its file ever named, and its untouched neighbour never notices.
#[test]
fn a_hundred_reloads_while_files_are_rewritten_in_place() {
    let (server, one, two) = two();
    let (stop, conf) = (Arc::new(AtomicBool::new(false)), server.conf("a.conf"));
    let texts = [&one, &two].map(|path| testkit::setup::export("a", path, "readonly = false"));
    let (stopped, rewritten) = (stop.clone(), Arc::new(AtomicUsize::new(0)));
    let count = rewritten.clone();
    let writer = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let round = count.fetch_add(1, Ordering::Relaxed);
            fs::write(&conf, &texts[round % 2]).expect("rewritten");
            // Shorter and longer than the time a file must have been left alone.
            thread::sleep(std::time::Duration::from_millis([1, 30, 70, 120][round % 4]));
        }
    });
    let mut neighbour = server.open("b");
    let mut round = 0;
    while round < 100 || rewritten.load(Ordering::Relaxed) < 40 {
        round += 1;
        let reloaded = server.reload();
        assert_ne!(reloaded.closing.outcome, Outcome::Refused);
        assert_eq!(reloaded.closing.removed, 0, "round {round}: a half-written file is no removal");
        assert!(
            reloaded.about("export unavailable", "a").is_none(),
            "round {round}: half a path was believed"
        );
        assert_eq!(neighbour.read(0, 1), Ok(vec![1]), "round {round}");
        assert!([1, 2].contains(&first_byte(&server, "a")));
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("it wrote");
    server.reload().expect_complete();
}
