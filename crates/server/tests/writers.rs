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
    // Also where its client is just coming again when somebody reloads.
    new.disc().expect("left");
    new.expect_eof();
    server.reload();
    server.open("new").write(0, &[6; BLOCK]).expect("served");
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

/// P4, P5: files follow their path. Who is on the file that was renamed there goes on under the same export, and is no other
/// writer beside it.
#[test]
fn sessions_on_a_file_that_was_renamed_there_are_no_rivals_of_their_own_export() {
    let setup = server();
    let [one, two, three] = [1, 2, 3].map(|n| filled(setup.dir(), &format!("{n}.img"), n));
    let server = setup.start();
    server.write_export("disk", &one, "exclusive = true\non_change = keep");
    server.reload().expect_complete();
    let mut old = server.open("disk");
    fs::rename(&two, &one).expect("renamed");
    let mut new = server.open("disk");
    assert_eq!((old.read(0, 1), new.read(0, 1)), (Ok(vec![1]), Ok(vec![2])));
    server.reload().expect_complete();
    old.write(0, &[3; BLOCK]).expect("kept on its file");
    new.write(0, &[4; BLOCK]).expect("undisturbed");
    assert_eq!(server.open("disk").read(0, 1), Ok(vec![4]));
    assert!(!server.lines().iter().any(|line| line.contains("both write")), "{:?}", server.lines());
    // Who is there before the reload has come before a newcomer, though that one's name stands first.
    fs::rename(&three, &one).expect("renamed");
    let mut newest = server.open("disk");
    server.write_export("a-newcomer", &one, "exclusive = true");
    assert_eq!(server.reload().closing.kept, 1);
    newest.write(0, &[5; BLOCK]).expect("undisturbed");
    assert!(server.connect().go("a-newcomer").is_err());
}

/// P5: a disk that an export gets for itself is written by nobody else, also where both had come to it between reloads.
#[test]
fn sessions_on_a_file_that_another_export_has_for_itself_are_fenced_even_with_keep() {
    let setup = server();
    let images = [1, 2, 3].map(|n| filled(setup.dir(), &format!("{n}.img"), n));
    let links = ["a", "b"].map(|name| setup.dir().join(name));
    let server = setup.start();
    for (link, image) in links.iter().zip(&images) {
        point(link, image);
    }
    server.write_export("a", &links[0], "");
    server.write_export("b", &links[1], "on_change = keep");
    server.reload().expect_complete();
    let mut old = server.open("b");
    links.iter().for_each(|link| point(link, &images[2]));
    let [mut a, mut b] = ["a", "b"].map(|name| server.open(name));
    b.write(0, &[5; BLOCK]).expect("nobody has it for himself");
    server.write_export("a", &links[0], "exclusive = true");
    let reloaded = server.reload();
    assert_eq!((reloaded.closing.kept, reloaded.closing.fenced), (1, 1), "{:?}", reloaded.closing);
    a.write(0, &[6; BLOCK]).expect("undisturbed");
    assert!(b.write(0, &[7; BLOCK]).is_err());
    old.write(0, &[8; BLOCK]).expect("kept on its own disk");
    let (_, why) = server.connect().go("b").expect_err("refused");
    assert!(why.contains("one of them is exclusive"), "{why}");
}

/// P1, P5: who was let in and has no seat yet (his `prerun` takes long) does not come to an export that is gone, and no disk of a
/// session that was kept is forgotten.
#[test]
fn nobody_comes_to_an_export_that_a_reload_has_removed() {
    let setup = server();
    let [one, two] = [1, 2].map(|n| filled(setup.dir(), &format!("{n}.img"), n));
    let [came, go] = ["came", "go"].map(|name| setup.dir().join(name));
    let prerun = format!("touch {}; while [ ! -e {} ]; do sleep 0.01; done", came.display(), go.display());
    let server = setup.start();
    server.write_export("a-slow", &one, &format!("on_change = keep\nprerun = {prerun}"));
    server.write_export("other", &two, "on_change = keep");
    server.reload().expect_complete();
    let refused = std::thread::scope(|scope| {
        let client = scope.spawn(|| server.connect().go("a-slow").map(drop));
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while !came.exists() {
            assert!(std::time::Instant::now() < until, "the prerun has begun");
            std::thread::sleep(Duration::from_millis(5));
        }
        for name in ["a-slow.conf", "other.conf"] {
            fs::remove_file(server.conf(name)).expect("removed");
        }
        server.reload().expect_complete();
        fs::write(&go, "").expect("a word");
        client.join().expect("it has an answer")
    });
    assert!(refused.is_err(), "it came to an export that was acknowledged as removed");
}

/// P5: where the path depends on the client, those who stay behind on their disk write there as well.
#[test]
fn a_client_that_is_kept_at_a_path_of_its_own_keeps_an_exclusive_export_out() {
    let setup = server();
    let [one, two] = [1, 2].map(|n| filled(setup.dir(), &format!("{n}.img"), n));
    fs::create_dir(setup.dir().join("clients")).expect("a directory");
    let (own, all) = (setup.dir().join("clients/127.0.0.1"), setup.dir().join("clients/%s"));
    point(&own, &one);
    let server = setup.start();
    server.write_export("each", &all, "on_change = keep");
    server.reload().expect_complete();
    let mut kept = server.open("each");
    kept.write(0, &[3; BLOCK]).expect("written");
    server.write_export("claims", &one, "exclusive = true");
    server.reload();
    assert!(server.connect().go("claims").is_err(), "somebody writes there");
    point(&own, &two);
    assert_eq!(server.reload().closing.kept, 1, "the disk is not free");
    let (_, why) = server.connect().go("claims").expect_err("refused");
    assert!(why.contains("a session of each that was kept"), "{why}");
    kept.write(0, &[4; BLOCK]).expect("undisturbed");
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
