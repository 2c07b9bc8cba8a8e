//! Disks that are a session's own: copy on write, temporary, and overlays that stay (contract 3.5). What is below is never
//! touched, and nothing is left behind, however a session ends.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use testkit::spec::*;
use testkit::{LoopDevice, Outcome, ServerProcess, Setup, is_root, skip_or_fail};

const PATIENCE: Duration = Duration::from_secs(20);
const SIZE: usize = 2 * BLOCK + 100;

fn disk(setup: &Setup) -> std::path::PathBuf {
    let path = setup.dir().join("disk.img");
    fs::write(&path, [7; SIZE]).expect("a disk");
    path
}

/// Names of files that end so.
fn names(dir: &Path, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory").flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.ends_with(ending));
    names.sort();
    names
}

/// C-022, C-119, C-182, C-184, C-186, C-187, C-189, C-136: what a session writes it sees itself, nobody else does, and the
/// next one does not; the last, shorter page is a page like any other.
#[test]
fn writes_are_private_to_the_session_and_go_with_it() {
    let setup = server();
    let path = disk(&setup);
    let server = setup
        .export("cow", &path, "copyonwrite = true\nsparse_cow = true")
        .export("plain", &path, "")
        .start();
    let (mut one, mut two) = (server.connect(), server.open("cow"));
    let info = one.go("cow").expect("served");
    assert!(!info.has(FLAG_CAN_MULTI_CONN) && info.has(FLAG_SEND_FLUSH), "{:#x}", info.flags);
    let tail = (SIZE - 50) as u64;
    one.write(tail, &[1; 50]).expect("the tail");
    one.write(10, &[2; 20]).expect("a part of a page");
    one.write(0, &[]).expect("nothing");
    assert_eq!(one.read(0, 0), Ok(vec![]));
    one.zero(0, BLOCK as u64, BLOCK as u32).expect("zeroes");
    one.trim(BLOCK as u64 - 10, 5).expect("a trim");
    let mut wanted = [7; SIZE];
    wanted[10..30].fill(2);
    wanted[BLOCK..2 * BLOCK].fill(0);
    wanted[SIZE - 50..].fill(1);
    assert_eq!(one.read(0, SIZE as u32), Ok(wanted.to_vec()));
    one.flush().expect("flushed");
    assert_eq!(two.read(0, SIZE as u32), Ok(vec![7; SIZE]), "another session of the same export");
    // C-184: beside the export, by its own name.
    let pid = server.pid();
    let diffs = [format!("disk.img-127.0.0.1-{pid}-2.diff"), format!("disk.img-127.0.0.1-{pid}.diff")];
    assert_eq!(names(server.dir(), ".diff"), diffs);
    one.disc().expect("left");
    assert!(one.is_closed());
    assert_eq!(server.open("cow").read(0, SIZE as u32), Ok(vec![7; SIZE]));
    assert_eq!(fs::read(&path).expect("the disk"), [7; SIZE]);
}

/// C-142, C-183, C-188: the file with the changes is there meanwhile, for nobody else, and goes at DISC, at a broken
/// connection, at bad magic, at a fence, and at SIGTERM.
#[test]
fn the_file_with_the_changes_goes_however_the_session_ends() {
    let setup = server();
    let (path, cowdir) = (disk(&setup), setup.dir().join("cow"));
    fs::create_dir(&cowdir).expect("a directory");
    let more = format!("copyonwrite = true\ncowdir = {}", cowdir.display());
    let mut server = setup.start();
    server.write_export("cow", &path, &more);
    server.reload().expect_complete();
    let begin = |server: &ServerProcess| {
        let mut client = server.open("cow");
        client.write(0, &[1; BLOCK]).expect("written");
        let name = format!("disk.img-127.0.0.1-{}.diff", server.pid());
        assert_eq!(names(&cowdir, ""), [name.as_str()]);
        assert_eq!(fs::metadata(cowdir.join(name)).expect("there").mode() & 0o777, 0o600);
        client
    };
    let mut client = begin(&server);
    client.disc().expect("left");
    assert!(client.is_closed());
    assert_eq!(names(&cowdir, ""), [""; 0], "after DISC");
    let mut client = begin(&server);
    client.send_bytes(&[0xff; 28]).expect("sent");
    assert!(client.is_closed());
    assert_eq!(names(&cowdir, ""), [""; 0], "after bad magic");
    let mut client = begin(&server);
    server.remove_conf("cow.conf");
    server.reload().expect_complete();
    assert!(client.is_closed());
    assert_eq!(names(&cowdir, ""), [""; 0], "after a fence");
    server.write_export("cow", &path, &more);
    server.reload().expect_complete();
    drop(begin(&server));
    let gone = server.wait_for(|line| line.contains("client hung up"), PATIENCE);
    assert!(gone.is_some());
    assert_eq!(names(&cowdir, ""), [""; 0], "after a connection that broke");
    let client = begin(&server);
    assert!(server.terminate().success());
    drop(client);
    assert_eq!(names(&cowdir, ""), [""; 0], "after SIGTERM");
    assert_eq!(fs::read(&path).expect("the disk"), [7; SIZE]);
}

/// What a kill -9 leaves behind, the next session of the export removes.
#[test]
fn what_a_killed_server_left_is_tidied_up_by_the_next() {
    let setup = server();
    let path = disk(&setup);
    let mut server = setup.export("cow", &path, "copyonwrite = true").start();
    let client = server.open("cow");
    let old = names(server.dir(), ".diff");
    server.kill9();
    drop(client);
    assert_eq!(names(server.dir(), ".diff"), old, "nobody was there to remove it");
    server.restart();
    let _client = server.open("cow");
    assert_eq!(names(server.dir(), ".diff"), [format!("disk.img-127.0.0.1-{}.diff", server.pid())]);
}

/// C-185
#[test]
fn without_room_for_changes_the_client_is_refused_and_told_why() {
    let setup = server();
    let path = disk(&setup);
    let server = setup.export("cow", &path, "copyonwrite = true\ncowdir = /nonexistent/cow").start();
    let (kind, why) = server.connect().go("cow").expect_err("refused");
    assert_eq!(kind, REP_ERR_POLICY);
    assert!(why.contains("Could not create diff file (No such file or directory)"), "{why}");
    assert!(server.wait_for(|line| line.contains("Could not create diff file"), PATIENCE).is_some());
}

/// A disk that is only read below is no reason to refuse writes above it; and two exports over it are no two writers.
#[test]
fn what_is_only_read_below_may_be_read_only() {
    let setup = server();
    let path = disk(&setup);
    let server = setup
        .export("cow", &path, "copyonwrite = true\nexclusive = true")
        .export("other", &path, "copyonwrite = true")
        .export("read", &path, "copyonwrite = true\nreadonly = true")
        .start();
    assert!(server.lines().iter().all(|line| !line.contains("both write")), "nobody writes to it");
    for name in ["cow", "other"] {
        let mut client = server.open(name);
        client.write(0, &[1]).expect("written");
        client.disc().expect("left");
        assert!(client.is_closed());
    }
    let mut read = server.connect();
    assert!(read.go("read").expect("served").has(FLAG_READ_ONLY));
    assert_eq!(read.write(0, &[1]), Err(EPERM));
    assert_eq!(names(server.dir(), ".diff"), [""; 0]);
}

/// C-158: a new empty disk for each session, without a name.
#[test]
fn a_temporary_disk_is_new_for_each_session() {
    let setup = server();
    let path = setup.dir().join("scratch");
    let server = setup.export("temp", &path, "temporary = true\nfilesize = 8192").start();
    let mut one = server.connect();
    let info = one.go("temp").expect("served");
    assert_eq!((info.size, info.has(FLAG_CAN_MULTI_CONN)), (8192, false));
    let mut two = server.open("temp");
    one.write(0, &[1; 8192]).expect("written");
    assert_eq!(two.read(0, 8192), Ok(vec![0; 8192]));
    assert_eq!(one.read(0, 8192), Ok(vec![1; 8192]));
    let left = fs::read_dir(server.dir()).expect("a directory").flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with("scratch")));
    server.reload().expect_complete();
    assert_eq!(one.read(0, 1), Ok(vec![1]), "a reload with nothing to do changes nothing");
}

fn task(server: &ServerProcess, option: &str, export: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_nbd-server");
    let config = server.config_path();
    Command::new(program).arg("-C").arg(config).args([option, export]).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An overlay stays over the end of sessions and of the server, is refused to a second user, and is then written into
/// the disk or forgotten by the operator.
#[test]
fn an_overlay_stays_until_it_is_committed_or_dropped() {
    let setup = server();
    let path = disk(&setup);
    let overlay = setup.dir().join("disk.overlay");
    let more = format!("overlay = {}", overlay.display());
    let mut server = setup.export("over", &path, &more).export("plain", &path, "readonly = true").start();
    let mut client = server.connect();
    assert!(client.go("over").expect("served").has(FLAG_CAN_MULTI_CONN), "one overlay for all");
    client.write_with(CMD_FLAG_FUA, BLOCK as u64 + 5, &[1; 10]).expect("written");
    assert_eq!(server.open("over").read(BLOCK as u64 + 5, 1), Ok(vec![1]), "all sessions see it");
    assert_eq!(server.open("plain").read(BLOCK as u64 + 5, 1), Ok(vec![7]), "the disk itself is not changed");
    let busy = task(&server, "--commit-overlay", "over");
    assert_eq!(busy.status.code(), Some(1));
    assert!(text(&busy.stderr).contains("is in use"), "{}", text(&busy.stderr));
    server.kill9();
    server.restart();
    let mut client = server.open("over");
    assert_eq!(
        client.read(BLOCK as u64, 20).expect("read")[5..15],
        [1; 10],
        "what was durable is there after kill -9"
    );
    client.disc().expect("left");
    assert!(client.is_closed());

    let done = task(&server, "--commit-overlay", "over");
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stdout).starts_with("1 pages"), "{}", text(&done.stdout));
    assert!(!overlay.exists());
    let mut wanted = [7; SIZE];
    wanted[BLOCK + 5..BLOCK + 15].fill(1);
    assert_eq!(fs::read(&path).expect("the disk"), wanted);

    let mut client = server.open("over");
    client.write(0, &[9; SIZE]).expect("written");
    client.disc().expect("left");
    assert!(client.is_closed());
    let done = task(&server, "--drop-overlay", "over");
    assert!(done.status.success() && !overlay.exists(), "{}", text(&done.stderr));
    assert_eq!(server.open("over").read(0, SIZE as u32), Ok(wanted.to_vec()));
    assert_eq!(fs::read(&path).expect("the disk"), wanted);
    for (export, words) in [("plain", "has no overlay"), ("nobody", "has no export")] {
        let refused = task(&server, "--drop-overlay", export);
        assert!(refused.status.code() == Some(1) && text(&refused.stderr).contains(words), "{export}");
    }
}

/// C-196, C-197, C-198: whole pages are taken before there is a file; at SIGUSR1 to the server they are merged into it and
/// the session goes on there; what does not work fails, and does not wedge anything.
#[test]
fn a_file_that_comes_later_takes_what_was_written() {
    let setup = server();
    let path = setup.dir().join("later.img");
    let server = setup.export("wait", &path, "waitfile = true\nfilesize = 16384").start();
    let mut client = server.connect();
    assert_eq!(client.go("wait").expect("served").size, 16384);
    client.write(BLOCK as u64, &[1; BLOCK]).expect("a whole page");
    assert_eq!(client.read(BLOCK as u64, BLOCK as u32), Ok(vec![1; BLOCK]));
    assert!(client.read(0, 1).is_err(), "nobody knows what is there");
    assert!(client.write(0, &[1; 100]).is_err(), "nor around this");
    let said = |words: &str| {
        assert!(server.wait_for(|line| line.contains(words), PATIENCE).is_some(), "{words}");
    };
    server.signal(Signal::USR1).expect("it runs");
    said("still waiting for");
    assert_eq!(names(server.dir(), ".diff").len(), 1);
    fs::write(&path, [5; 16384]).expect("it comes");
    server.signal(Signal::USR1).expect("it runs");
    said("Got SIGUSR1");
    said("Waiting for file ended, switching to exported file");
    assert_eq!(client.read(0, 2 * BLOCK as u32), Ok([[5; BLOCK], [1; BLOCK]].concat()));
    client.write(0, &[3; 100]).expect("parts of pages too");
    client.flush().expect("into the file");
    assert_eq!(fs::read(&path).expect("the file")[..100], [3; 100]);
    assert_eq!(fs::read(&path).expect("the file")[BLOCK..2 * BLOCK], [1; BLOCK]);
    assert_eq!(names(server.dir(), ".diff"), [""; 0], "nothing is left of the waiting");
    // Whoever comes now finds the file at once.
    assert_eq!(server.open("wait").read(0, 1), Ok(vec![3]));
    let reloaded = server.reload();
    assert_eq!((reloaded.closing.outcome, reloaded.closing.changed), (Outcome::Complete, 0));
    assert_eq!(client.read(0, 1), Ok(vec![3]), "a reload does not disturb it");
}

/// Nothing is made in place of what is waited for, and a file that is too small is not taken.
#[test]
fn what_is_waited_for_is_never_made() {
    let setup = server();
    let path = setup.dir().join("later.img");
    let server = setup.export("wait", &path, "waitfile = true\nfilesize = 16384").start();
    let mut client = server.open("wait");
    client.write(8192, &[1; BLOCK]).expect("a whole page");
    let usr1 = |mark: usize| {
        let pid = Pid::from_raw(server.pid() as i32).expect("a pid");
        kill_process(pid, Signal::USR1).expect("it runs");
        let waits = server.log().wait_from(mark, |line| line.contains("still waiting for"), PATIENCE);
        assert!(waits.is_some());
    };
    usr1(server.log().mark());
    assert!(!path.exists());
    fs::write(&path, [5; 100]).expect("a small one");
    usr1(server.log().mark());
    assert_eq!(client.read(8192, BLOCK as u32), Ok(vec![1; BLOCK]), "it is not lost");
    assert_eq!(fs::read(&path).expect("the file"), [5; 100]);
}

fn arrive(server: &ServerProcess) {
    let mark = server.log().mark();
    server.signal(Signal::USR1).expect("it runs");
    let switched = server.log().wait_from(mark, |line| line.contains("Waiting for file ended"), PATIENCE);
    assert!(switched.is_some());
}

/// P2: a session that has gone on in its file is a session on that file: another one at the path fences it, whether
/// somebody else was there meanwhile or not.
#[test]
fn a_session_whose_file_came_is_fenced_like_any_other() {
    for another_comes in [false, true] {
        let setup = server();
        let (path, new) = (setup.dir().join("later.img"), setup.dir().join("new.img"));
        let server = setup.export("wait", &path, "waitfile = true\nfilesize = 8192").start();
        let mut client = server.open("wait");
        client.write(0, &[1; BLOCK]).expect("a whole page");
        fs::write(&path, [5; 8192]).expect("it comes");
        arrive(&server);
        if another_comes {
            let mut another = server.open("wait");
            another.disc().expect("left");
            assert!(another.is_closed());
        }
        let old = fs::File::open(&path).expect("the file");
        fs::write(&new, [6; 8192]).expect("another one");
        fs::rename(&new, &path).expect("it takes its place");
        let reloaded = server.reload().expect_complete();
        assert_eq!((reloaded.closing.changed, reloaded.closing.fenced), (1, 1), "{:#?}", reloaded.events);
        assert_ne!(client.write(0, &[9; BLOCK]), Ok(()));
        assert!(client.is_closed());
        let mut first = [0];
        std::os::unix::fs::FileExt::read_exact_at(&old, &mut first, 0).expect("read");
        assert_eq!((first[0], server.open("wait").read(0, 1)), (1, Ok(vec![6])));
    }
}

/// P4: pages that waited are not merged into another disk than the one that the last reload saw, nor does a session stay
/// on a disk that is not at its path any more.
#[test]
fn what_waited_does_not_land_on_another_disk() {
    let setup = server();
    let images = [setup.dir().join("one.img"), setup.dir().join("two.img")];
    images.iter().for_each(|image| fs::write(image, [0; 1 << 20]).expect("an image"));
    let devices = images.each_ref().map(|image| LoopDevice::attach(image).filter(|_| is_root()));
    let [Some(one), Some(two)] = &devices else {
        return skip_or_fail("what_waited", "root and two free loop devices");
    };
    let link = setup.dir().join("disk");
    let server = setup.export("wait", &link, "waitfile = true\nfilesize = 1048576").start();
    let mut client = server.open("wait");
    client.write(0, &[1; BLOCK]).expect("a whole page");
    common::point(&link, one.path());
    server.reload().expect_complete();
    assert!(server.connect().go("wait").is_ok(), "it waits like the others");
    common::point(&link, two.path());
    let mark = server.log().mark();
    server.signal(Signal::USR1).expect("it runs");
    let refused = server.log().wait_from(mark, |line| line.contains("still waiting for"), PATIENCE);
    assert!(refused.is_some_and(|(_, line)| line.contains("another disk")));
    common::point(&link, one.path());
    arrive(&server);
    assert_eq!(client.read(0, 1), Ok(vec![1]));
    common::point(&link, two.path());
    let fenced =
        server.wait_for(|line| line.contains("session fenced") && line.contains("another disk"), PATIENCE);
    assert!(fenced.is_some(), "the watch knows which disk it is on");
    assert!(client.is_closed());
    assert!(fs::read(two.path()).expect("the device").iter().all(|&byte| byte == 0));
}

/// P4, P6: an overlay is dropped or committed only where it is known which one it is, and then all of it goes: what stands
/// behind a link, not the link.
#[test]
fn an_overlay_is_taken_for_nothing_else() {
    let setup = server();
    let path = disk(&setup);
    let (overlay, link) = (setup.dir().join("real.overlay"), setup.dir().join("link.overlay"));
    std::os::unix::fs::symlink(&overlay, &link).expect("a link");
    let mut server = setup
        .export("over", &path, &format!("overlay = {}", link.display()))
        .export("here", Path::new("disk.img"), &format!("overlay = {}", overlay.display()))
        .export("there", &path, "overlay = rel.overlay")
        .start();
    let dangling = task(&server, "--commit-overlay", "over");
    assert!(dangling.status.code() == Some(1), "it may be on a file system that is away");
    let dropped = task(&server, "--drop-overlay", "over");
    assert!(dropped.status.code() == Some(1) && text(&dropped.stderr).contains("leads nowhere"));
    for export in ["here", "there"] {
        for option in ["--commit-overlay", "--drop-overlay"] {
            let refused = task(&server, option, export);
            assert_eq!(refused.status.code(), Some(1), "{option} {export}");
            assert!(text(&refused.stderr).contains("absolute"), "{}", text(&refused.stderr));
        }
    }
    fs::write(&overlay, "").expect("an empty file");
    let mut client = server.open("over");
    client.write_with(CMD_FLAG_FUA, 0, &[9; 10]).expect("written");
    client.disc().expect("left");
    assert!(client.is_closed());
    let done = task(&server, "--commit-overlay", "over");
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(!overlay.exists() && fs::symlink_metadata(&link).is_ok());
    assert_eq!(fs::read(&path).expect("the disk")[..10], [9; 10]);
    assert!(server.terminate().success());
}
