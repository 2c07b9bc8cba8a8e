//! P5: two writable exports on one disk, and `exclusive`.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, filled, loops, point, server};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use testkit::{LoopDevice, skip_or_fail};

/// P5: a session that was kept writes to its disk as any other does.
#[test]
fn an_exclusive_disk_is_not_shared_with_a_session_that_was_kept() {
    let setup = server();
    let (one, two) = (filled(setup.dir(), "one.img", 1), filled(setup.dir(), "two.img", 2));
    let server = setup.start();
    // By its export's removal, and by its going to another disk.
    for (round, becomes) in [None, Some(&two)].into_iter().enumerate() {
        server.write_export("old", &one, "on_change = keep");
        server.reload().expect_complete();
        let mut kept = server.open("old");
        kept.write(0, &[3; BLOCK]).expect("written");
        match becomes {
            None => fs::remove_file(server.conf("old.conf")).expect("removed"),
            Some(other) => server.write_export("old", other, "on_change = keep"),
        }
        let exclusive = format!("exclusive-{round}");
        server.write_export(&exclusive, &one, "exclusive = true");
        // In the same reload, and in every one after it.
        for _ in 0..2 {
            let reloaded = server.reload();
            assert_eq!(reloaded.closing.kept, 1, "{:?}", reloaded.closing);
            let (_, why) = server.connect().go(&exclusive).expect_err("refused");
            assert!(why.contains("a session of old that was kept (on_change = keep) and export"), "{why}");
            assert!(why.contains("`nbdctl fence old`"), "what to do is said: {why}");
        }
        kept.write(0, &[4; BLOCK]).expect("undisturbed");
        kept.disc().expect("left");
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while server.reload().closing.kept > 0 {
            assert!(std::time::Instant::now() < until, "the disk is free");
        }
        assert_eq!(server.open(&exclusive).read(0, 1), Ok(vec![4]));
        fs::remove_file(server.conf(&format!("{exclusive}.conf"))).expect("removed");
        server.reload().expect_complete();
    }
}

/// P5: beside a session that was kept an export is warned of; one that is served already goes on, whatever it turns to.
#[test]
fn who_is_served_beside_a_session_that_was_kept_goes_on_with_a_warning() {
    let setup = server();
    let one = filled(setup.dir(), "one.img", 1);
    let server = setup.start();
    server.write_export("old", &one, "on_change = keep");
    server.reload().expect_complete();
    let mut kept = server.open("old");
    kept.write(0, &[3; BLOCK]).expect("written");
    fs::remove_file(server.conf("old.conf")).expect("removed");
    let warnings = || {
        let both =
            |line: &&String| line.contains("a session of old that was kept") && line.contains("both write");
        server.lines().iter().filter(both).count()
    };
    server.write_export("new", &one, "");
    server.reload().expect_complete();
    assert_eq!(warnings(), 1, "{:?}", server.lines());
    let mut new = server.open("new");
    server.write_export("new", &one, "exclusive = true");
    assert_eq!(server.reload().closing.fenced, 0);
    assert_eq!(warnings(), 2, "{:?}", server.lines());
    kept.write(0, &[4; BLOCK]).expect("undisturbed");
    new.write(0, &[5; BLOCK]).expect("undisturbed");
}

/// P5: what a kept session writes to its own copy reaches no disk that another could want for itself.
#[test]
fn a_kept_session_with_a_copy_of_its_own_keeps_nobody_out() {
    let setup = server();
    let one = filled(setup.dir(), "one.img", 1);
    let server = setup.start();
    server.write_export("old", &one, "copyonwrite = true\non_change = keep");
    server.reload().expect_complete();
    let mut kept = server.open("old");
    kept.write(0, &[3; BLOCK]).expect("written");
    fs::remove_file(server.conf("old.conf")).expect("removed");
    server.write_export("new", &one, "exclusive = true");
    server.reload().expect_complete();
    assert_eq!(server.open("new").read(0, 1), Ok(vec![1]));
    assert_eq!(kept.read(0, 1), Ok(vec![3]));
}

/// Two writable exports on one disk: warned of, unless one of them is exclusive; the one being served goes on.
#[test]
fn an_exclusive_disk_has_one_writable_export() {
    let setup = server();
    let one = filled(setup.dir(), "one.img", 1);
    let link = setup.dir().join("link");
    point(&link, &one);
    let server = setup.start();
    server.write_export("z-first", &one, "");
    server.reload().expect_complete();
    server.write_export("a-second", &link, "");
    server.reload().expect_complete();
    assert!(
        server
            .lines()
            .iter()
            .any(|line| line.contains("z-first") && line.contains("a-second") && line.contains("both write"))
    );
    let mut writers = ["z-first", "a-second"].map(|name| server.open(name));
    server.write_export("a-second", &link, "exclusive = true");
    let reloaded = server.reload();
    assert_eq!((reloaded.closing.kept, reloaded.closing.fenced), (1, 1), "{:?}", reloaded.closing);
    let still: Vec<bool> = writers.iter_mut().map(|writer| writer.write(0, &[5; BLOCK]).is_ok()).collect();
    assert_eq!(still.iter().filter(|ok| **ok).count(), 1, "one writer is left: {still:?}");
    assert!(
        reloaded
            .events
            .iter()
            .any(|event| event.value("reason").is_some_and(|why| why.contains("exclusive")))
    );
    let served = ["z-first", "a-second"].iter().filter(|name| server.connect().go(name).is_ok()).count();
    assert_eq!(served, 1);
    server.write_export("a-second", &link, "readonly = true");
    server.reload().expect_complete();
    drop(writers);
    // So does a reader that wants to write now, though its name stands first: the writer was there before it.
    server.write_export("z-first", &one, "exclusive = true");
    server.reload().expect_complete();
    let mut writer = server.open("z-first");
    server.write_export("a-second", &link, "");
    let reloaded = server.reload();
    assert_eq!((reloaded.closing.kept, reloaded.closing.fenced), (1, 0), "{:?}", reloaded.closing);
    writer.write(0, &[6; BLOCK]).expect("undisturbed");
    server.write_export("z-first", &one, "");
    server.write_export("a-second", &link, "readonly = true");
    server.reload().expect_complete();
    // A newcomer that wants the disk for itself gives way to the one being served.
    server.write_export("b-third", &link, "exclusive = true");
    assert_eq!(server.reload().closing.kept, 1);
    assert!(server.connect().go("b-third").is_err() && server.connect().go("z-first").is_ok());
}

/// A whole disk is written by whoever writes to a part of it; two parts are two disks.
#[test]
fn a_disk_and_its_partition_are_two_writers_and_two_partitions_are_not() {
    let test = "a_disk_and_its_partition_are_two_writers";
    let setup = server();
    let file = setup.dir().join("whole.img");
    fs::write(&file, vec![1; 8 << 20]).expect("an image");
    let Some(devices) = loops(test, &[&file]) else { return };
    let parts =
        [(1, 2048), (2, 6144)].map(|(number, start)| Part::add(&devices[0], setup.dir(), number, start));
    let [Some(one), Some(two)] = parts else { return skip_or_fail(test, "addpart, mknod and partitions") };
    let server = setup.start();
    server.write_export("whole", devices[0].path(), "");
    server.write_export("one", &one.node, "");
    server.reload().expect_complete();
    let warned = |a: &str, b: &str| {
        let names = |line: &String| [a, b].iter().all(|name| line.contains(&format!(" {name} (")));
        server.lines().iter().any(|line| line.contains("both write") && names(line))
    };
    assert!(warned("whole", "one"), "{:?}", server.lines());
    server.write_export("whole", devices[0].path(), "readonly = true");
    server.write_export("two", &two.node, "exclusive = true");
    server.reload().expect_complete();
    assert!(!warned("one", "two"));
    server.write_export("whole", devices[0].path(), "exclusive = true");
    let reloaded = server.reload();
    assert_eq!(reloaded.closing.kept, 1, "{:?}", reloaded.closing);
    assert!(server.connect().go("whole").is_err(), "it would write to both");
    assert!(server.connect().go("one").is_ok() && server.connect().go("two").is_ok());
}

/// A partition of 1 MiB and its node. It would outlive what is attached to the loop device.
struct Part<'a> {
    disk: &'a LoopDevice,
    number: String,
    node: PathBuf,
}

impl<'a> Part<'a> {
    fn add(disk: &'a LoopDevice, dir: &std::path::Path, number: u32, start: u32) -> Option<Self> {
        let part = Self { disk, number: number.to_string(), node: dir.join(format!("part{number}")) };
        let path = disk.path().to_str()?;
        // One may be left of a test that was killed.
        let _ = run("delpart", &[path, &part.number]);
        run("addpart", &[path, &part.number, &start.to_string(), "2048"])?;
        let name = disk.path().file_name()?.to_str()?;
        let numbers = fs::read_to_string(format!("/sys/block/{name}/{name}p{number}/dev")).ok()?;
        let (major, minor) = numbers.trim().split_once(':')?;
        run("mknod", &[part.node.to_str()?, "b", major, minor])?;
        Some(part)
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        let _ = self.disk.path().to_str().and_then(|disk| run("delpart", &[disk, &self.number]));
    }
}

fn run(program: &str, args: &[&str]) -> Option<()> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then_some(())
}
