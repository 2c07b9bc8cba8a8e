//! Who the server is, and what is left of who it was.
#![allow(missing_docs)]

mod common;

use common::place::{Place, Running, is_alive, program, text, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use testkit::spec::{FLAG_READ_ONLY, REP_ERR_POLICY};
use testkit::{Client, TempDir, is_root, skip_or_fail};

const NOBODY: u32 = 65534;

/// `/proc/PID/status` of each thread: ids and capabilities are a thread's.
fn threads_of(pid: Pid) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).expect("it runs");
    tasks.filter_map(|task| fs::read_to_string(task.expect("a thread").path().join("status")).ok()).collect()
}

fn field(status: &str, name: &str) -> Vec<String> {
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).split_whitespace().map(str::to_owned).collect()
}

/// In the foreground, where the log has a thread from the beginning.
fn serve(place: &Place) -> Running {
    let mut command = program();
    command.args(["-n", "-C", &place.path("config"), "-p", &place.path("pid")]).stderr(Stdio::null());
    let running = Running(command.spawn().expect("it runs"));
    wait_until("it serves", || Client::connect_tcp(place.port).is_ok());
    running
}

/// `user` and `group` are taken on after the sockets are open and the pid file is written; nothing of root is left.
///
/// C-073, C-075
#[test]
fn privileges_are_dropped_for_good() {
    if !is_root() {
        return skip_or_fail("privileges_are_dropped", "root");
    }
    let place = Place::new("user = nobody\ngroup = nogroup");
    fs::set_permissions(place.dir.join("disk.img"), PermissionsExt::from_mode(0o644)).expect("readable");
    assert!(place.launch().status.success());
    let pid = place.pid().expect("written by root");
    // What the user may only read is served read-only, what it may not read is refused: never by root's rights.
    assert!(place.client().go("disk").expect("served").has(FLAG_READ_ONLY));
    fs::set_permissions(place.dir.join("disk.img"), PermissionsExt::from_mode(0o600)).expect("closed");
    let (kind, why) = place.client().go("disk").expect_err("refused");
    assert!(kind == REP_ERR_POLICY && why.contains("Could not open exported file"), "{why}");
    kill_process(pid, Signal::TERM).expect("it runs");
    wait_until("it ends, and the pid file holds no pid", || !is_alive(pid) && place.pid().is_none());
}

/// In every thread: the ids, all four of each; no groups; no capabilities, also none that a program could give back.
///
/// C-075
#[test]
fn no_thread_keeps_anything_of_root() {
    if !is_root() {
        return skip_or_fail("no_thread_keeps_anything", "root");
    }
    let place = Place::new("user = nobody\ngroup = nogroup");
    let running = serve(&place);
    let mut client = place.client();
    let _ = client.go("disk");
    let threads = threads_of(running.pid());
    assert!(threads.len() >= 4, "the log, the reload, the watch, a session: {}", threads.len());
    for status in threads {
        assert_eq!(field(&status, "Uid"), vec![NOBODY.to_string(); 4], "{status}");
        assert_eq!(field(&status, "Gid"), vec![NOBODY.to_string(); 4], "{status}");
        assert_eq!(field(&status, "Groups"), Vec::<String>::new(), "{status}");
        for set in ["CapEff", "CapPrm", "CapAmb"] {
            assert_eq!(field(&status, set), ["0000000000000000"], "{status}");
        }
        assert_eq!(field(&status, "NoNewPrivs"), ["1"], "{status}");
    }
}

/// `group` alone changes the group and nothing else, `user` alone leaves the group; as root nothing is given up.
///
/// C-075
#[test]
fn what_is_not_said_is_not_changed() {
    if !is_root() {
        return skip_or_fail("what_is_not_said", "root");
    }
    let (root, nobody) = (vec!["0".to_owned(); 4], vec![NOBODY.to_string(); 4]);
    let cases = [
        ("group = nogroup", &root, &nobody, "0"),
        ("user = nobody", &nobody, &root, "1"),
        ("user = root\ngroup = root", &root, &root, "0"),
        ("", &root, &root, "0"),
    ];
    for (lines, user, group, no_new_privs) in cases {
        let place = Place::new(lines);
        let running = serve(&place);
        for status in threads_of(running.pid()) {
            assert_eq!((&field(&status, "Uid"), &field(&status, "Gid")), (user, group), "{lines}");
            assert_eq!(field(&status, "NoNewPrivs"), [no_new_privs], "{lines}");
            let powerless = field(&status, "CapEff") == ["0000000000000000"];
            assert_eq!(powerless, no_new_privs == "1", "{lines}");
        }
    }
}

/// Started by who is not root, it serves as that, unless it is to become somebody else: then it says which of the two it
/// may not, in the words of the original.
///
/// C-076, C-077
#[test]
fn who_is_not_root_cannot_become_somebody_else() {
    if !is_root() {
        return skip_or_fail("who_is_not_root", "root, to start it as nobody");
    }
    // Where this was built may be closed to others.
    let folder = TempDir::new("users");
    let copy = folder.join("nbd-server");
    fs::copy(env!("CARGO_BIN_EXE_nbd-server"), &copy).expect("a copy");
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("open to all");
    let start = |place: &Place| {
        let pid: PathBuf = place.dir.join("nowhere/pid");
        fs::set_permissions(place.dir.path(), PermissionsExt::from_mode(0o777)).expect("open to all");
        let mut command = Command::new(&copy);
        command
            .current_dir(place.dir.path())
            .uid(NOBODY)
            .gid(NOBODY)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        command.args(["-n", "-C", &place.path("config"), "-p"]).arg(pid);
        Running(command.spawn().expect("it runs"))
    };
    for lines in ["", "user = nobody\ngroup = nogroup", "user = nobody"] {
        let place = Place::new(lines);
        let _running = start(&place);
        wait_until("it serves", || Client::connect_tcp(place.port).is_ok());
        assert!(place.client().go("disk").is_ok(), "{lines}");
    }
    let cases = [
        ("user = root", "Could not set UID: Operation not permitted"),
        ("user = daemon\ngroup = daemon", "Could not set GID: Operation not permitted"),
        ("user = no-such-user", "Invalid user name: no-such-user"),
        ("group = no-such-group", "Invalid group name: no-such-group"),
    ];
    for (lines, said) in cases {
        let place = Place::new(&format!("{lines}\nunixsock = socket\nduallisten = true"));
        let mut running = start(&place);
        let stderr = running.0.stderr.take().expect("a pipe");
        assert_eq!(running.wait().code(), Some(1), "{lines}");
        let all = std::io::read_to_string(stderr).expect("UTF-8");
        assert!(all.contains(said), "{lines}: {all}");
        assert!(!place.dir.join("socket").exists(), "{lines}: nothing is left");
        assert!(Client::connect_tcp(place.port).is_err());
    }
}

/// C-076: the launching command learns of it, and nothing stays.
#[test]
fn a_user_who_is_not_there_ends_the_start() {
    for (line, said) in [
        ("user = no-such-user", "Invalid user name: no-such-user"),
        ("group = no-such-group", "Invalid group name: no-such-group"),
        ("user = 65534", "Invalid user name: 65534"),
    ] {
        let place = Place::new(line);
        let output = place.launch();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(text(&output.stderr).contains(said), "{output:?}");
        assert!(place.pid().is_none());
    }
}
