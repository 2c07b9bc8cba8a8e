//! What the service manager is told (sd_notify), read from a real socket.
#![allow(missing_docs)]

mod common;

use common::frozen::{Frozen, wait_until_stuck};
use common::manager::{Manager, Said};
use common::place::{Place, is_alive, wait_until};
use common::{BLOCK, server};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::process::{Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::process::Command;
use std::time::Duration;
use testkit::spec::CMD_WRITE;
use testkit::{ServerProcess, Setup, TempDir, skip_or_fail};

const PATIENCE: Duration = Duration::from_secs(20);
/// The manager's limit in microseconds, where a test does not wait for it, and where it does.
const LIMIT: &str = "4000000";
const SHORT_LIMIT: &str = "400000";

/// A server with one export, and the manager that hears it.
struct Scene {
    server: ServerProcess,
    manager: Manager,
    /// Its socket's place.
    _dir: TempDir,
}

impl Scene {
    fn new(change: impl FnOnce(Setup) -> Setup) -> Self {
        let dir = TempDir::new("notify");
        let manager = Manager::at(dir.join("notify"));
        let setup = server();
        let disk = setup.dir().join("disk.img");
        fs::write(&disk, [5; 4096]).expect("a disk");
        let setup = setup.export("disk", &disk, "");
        let setup = setup.env("NOTIFY_SOCKET", manager.path().to_str().expect("UTF-8"));
        Self { server: change(setup).start(), manager, _dir: dir }
    }

    /// Waits until people are told this.
    #[track_caller]
    fn status(&self, words: &str) -> Vec<Said> {
        self.manager.hear_until(words, |said| said.status() == words)
    }
}

fn monotonic_us() -> i128 {
    let now = clock_gettime(ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000
}

/// A start, a client, a reload that is complete, one that is not, one that is refused, the end: each is told once, in
/// order, and in words for people too.
#[test]
fn the_manager_hears_of_the_start_of_each_reload_and_of_the_end() {
    let mut scene = Scene::new(|setup| setup);
    let Scene { server, manager, .. } = &scene;
    let first = manager.hear();
    assert_eq!(first.lines, ["READY=1", "STATUS=serving 1 export to 0 sessions, generation 1"]);
    assert_eq!(first.pid, i32::try_from(server.pid()).expect("a number"));

    let client = server.open("disk");
    scene.status("serving 1 export to 1 session, generation 1");
    drop(client);
    scene.status("serving 1 export to 0 sessions, generation 1");

    let reload = || {
        let before = monotonic_us();
        server.hup();
        let heard = manager.hear_until("a reload and its end", |said| said.has("READY=1"));
        assert_eq!(heard.len(), 2, "{heard:#?}");
        let began: i128 = heard[0].value("MONOTONIC_USEC").expect("when").parse().expect("a number");
        assert!(before <= began && began <= monotonic_us(), "{before} {began}");
        assert_eq!(
            (heard[0].has("RELOADING=1"), heard[0].status(), heard[0].lines.len()),
            (true, "reloading", 3)
        );
        assert_eq!(heard[1].lines.len(), 2, "{heard:#?}");
        heard[1].status().to_owned()
    };
    server.write_export("more", &server.dir().join("disk.img"), "");
    let serving = "serving 2 exports to 0 sessions, generation";
    assert_eq!(reload(), format!("{serving} 2; the last reload was complete"));
    // What would be a line of the protocol, were the reason not one line.
    server.write_conf("a\nWATCHDOG=trigger.conf", "[x\n");
    assert_eq!(reload(), format!("{serving} 3; the last reload was incomplete"));
    let text = fs::read_to_string(server.config_path()).expect("the configuration");
    fs::write(server.config_path(), text.replace("[generic]\n", "[generic]\nstrict = true\n"))
        .expect("written");
    let refused = reload();
    let reason = "/conf.d/a\\nWATCHDOG=trigger.conf:1: a group's line must be";
    assert!(refused.starts_with(&format!("{serving} 3; the last reload was refused: /")), "{refused}");
    assert!(refused.contains(reason), "{refused}");

    scene.server.terminate();
    let rest = scene.manager.rest();
    assert_eq!(rest.len(), 1, "{rest:#?}");
    assert_eq!(rest[0].lines, ["STOPPING=1", "STATUS=stopping"]);
}

/// A reload that is asked for while another one is under way begins by the clock after it was asked for: by that the
/// manager knows that it is the one it waits for.
#[test]
fn every_request_is_followed_by_a_reload_that_began_after_it() {
    let scene = Scene::new(|setup| setup);
    scene.manager.hear();
    for _ in 0..50 {
        let asked = monotonic_us();
        scene.server.hup();
        let began = |said: &Said| said.value("MONOTONIC_USEC").and_then(|at| at.parse().ok()) >= Some(asked);
        scene.manager.hear_until("a reload that began later", began);
        // Not waited for: the next one is asked for while this one runs.
    }
    scene.manager.hear_until("and the last one ends", |said| said.has("READY=1"));
}

/// Only one thread of the server is stopped: the one that accepts. A server like that must be started anew, and one that
/// is let go on is well again.
#[test]
fn a_server_that_does_not_accept_does_not_say_that_it_is_alive() {
    let scene = Scene::new(|setup| setup.env("WATCHDOG_USEC", SHORT_LIMIT));
    let Scene { server, manager, .. } = &scene;
    let alive = |said: &Said| said.has("WATCHDOG=1");
    for _ in 0..5 {
        manager.hear_until("it is alive", alive);
    }
    let accepting = thread_of(server, "accept");
    let Some(stopped) = Stopped::new(accepting) else {
        return skip_or_fail("a_server_that_does_not_accept", "leave to trace a process of ours");
    };
    let silent = "the accepting thread does not answer";
    let mark = server.log().mark();
    let (first, _) =
        server.log().wait_from(mark, |line| line.contains(silent), PATIENCE).expect("it is noticed");
    // What was said before.
    manager.rest();
    let again = |line: &str| line.contains(silent) && line.contains("more like this since");
    server.log().wait_from(first + 1, again, PATIENCE).expect("it was looked at several times since");
    let said = manager.rest();
    assert!(!said.iter().any(alive), "{said:#?}");
    drop(stopped);
    manager.hear_until("it is alive again", alive);
    assert!(server.connect().go("disk").is_ok());
}

/// A thread that is held. Let go at the end, also where the test fails: a process with a thread that is traced does not end.
struct Stopped(nix::unistd::Pid);

impl Stopped {
    fn new(thread: nix::unistd::Pid) -> Option<Self> {
        ptrace::attach(thread).ok()?;
        let this = Self(thread);
        let status = waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it is traced");
        assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
        Some(this)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = ptrace::detach(self.0, None);
    }
}

fn thread_of(server: &ServerProcess, name: &str) -> nix::unistd::Pid {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("its threads").flatten();
    let named = |task: &fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let task = tasks.into_iter().find(named).expect("a thread of that name");
    nix::unistd::Pid::from_raw(task.file_name().to_str().expect("a number").parse().expect("a number"))
}

/// P2: a disk that hangs and a fence that waits for it are no reason to end everybody's sessions.
#[test]
fn a_disk_that_hangs_and_a_long_fence_do_not_cost_the_watchdog() {
    let Some(frozen) = Frozen::new() else {
        return skip_or_fail("a_disk_that_hangs", "root, mkfs.ext4, fsfreeze and a loop device");
    };
    let old = frozen.mount().join("old.img");
    fs::write(&old, [0; 4 * BLOCK]).expect("a disk");
    let scene = Scene::new(|setup| setup.env("WATCHDOG_USEC", LIMIT).export("stuck", &old, ""));
    // Thawed before the server is ended, also where the test fails: what hangs does not end.
    let frozen = frozen;
    let Scene { server, manager, .. } = &scene;
    let mut stuck = server.open("stuck");
    stuck.write(0, &[1; BLOCK]).expect("it works");
    stuck.flush().expect("flushed");
    assert!(frozen.freeze("-f"));
    stuck.send_request(0, CMD_WRITE, 77, BLOCK as u64, BLOCK as u32, &[2; BLOCK]).expect("sent");
    wait_until_stuck(server);
    let text = fs::read_to_string(server.config_path()).expect("the configuration");
    let without = text.split("[stuck]").next().expect("what stands before it");
    fs::write(server.config_path(), without).expect("written");
    manager.rest();
    server.hup();
    let heard = manager.hear_until("the reload ends", |said| said.has("READY=1"));
    assert!(heard.iter().any(|said| said.has("RELOADING=1")), "{heard:#?}");
    let alive =
        heard.iter().skip_while(|said| !said.has("RELOADING=1")).filter(|said| said.has("WATCHDOG=1"));
    assert!(alive.count() >= 3, "ten seconds of fence, and two between one and the next: {heard:#?}");
    let last = heard.last().expect("READY=1").status();
    assert!(
        last.contains("the last reload was incomplete: 1 changed or removed exports have requests"),
        "{last}"
    );
    assert!(frozen.freeze("-u"));
}

/// In the background it is the server that speaks, never the launching command; and what the manager asked of that one is
/// done by the server.
#[test]
fn in_the_background_only_the_server_speaks() {
    let place = Place::new("");
    let manager = Manager::at(place.dir.join("notify"));
    // The shell becomes the launching command.
    let script = "export WATCHDOG_PID=$$; exec \"$0\" -C \"$1\" -p \"$2\"";
    let status = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_nbd-server"), &place.path("config"), &place.path("pid")])
        .env("NOTIFY_SOCKET", manager.path())
        .env("WATCHDOG_USEC", SHORT_LIMIT)
        .status();
    assert!(status.expect("it runs").success());
    let pid = place.pid().expect("a pid file");
    let mut heard = manager.hear_until("it is alive", |said| said.has("WATCHDOG=1"));
    assert!(heard[0].has("READY=1"), "{heard:#?}");
    kill_process(pid, Signal::TERM).expect("it runs");
    wait_until("it ends", || !is_alive(pid));
    heard.extend(manager.rest());
    assert!(heard.last().is_some_and(|said| said.has("STOPPING=1")), "{heard:#?}");
    assert!(heard.iter().all(|said| said.pid == pid.as_raw_nonzero().get()), "{heard:#?}");
}

/// What concerns another process is not followed.
#[test]
fn a_watchdog_of_another_process_is_none_of_ours() {
    let scene = Scene::new(|setup| setup.env("WATCHDOG_USEC", SHORT_LIMIT).env("WATCHDOG_PID", "1"));
    scene.manager.hear();
    let client = scene.server.open("disk");
    let heard = scene.status("serving 1 export to 1 session, generation 1");
    assert!(!heard.iter().any(|said| said.has("WATCHDOG=1")), "two seconds, and five limits: {heard:#?}");
    drop(client);
}

/// A manager that hears nothing, and one that is not there, hold up neither start nor reload nor end.
#[test]
fn a_manager_that_is_stuck_or_away_holds_up_nobody() {
    let dir = TempDir::new("stuck");
    let stuck = Manager::at(dir.join("notify"));
    stuck.fill();
    for path in [stuck.path(), &dir.join("nobody"), "@nobody".as_ref()] {
        let setup =
            server().env("NOTIFY_SOCKET", path.to_str().expect("UTF-8")).env("WATCHDOG_USEC", SHORT_LIMIT);
        let disk = setup.dir().join("disk.img");
        fs::write(&disk, [5; 4096]).expect("a disk");
        let mut server = setup.export("disk", &disk, "").start();
        assert_eq!(server.open("disk").read(0, 1), Ok(vec![5]));
        server.reload().expect_complete();
        if path != stuck.path() {
            let told = |line: &str| line.contains("the service manager cannot be told (NOTIFY_SOCKET)");
            assert!(server.wait_for(told, PATIENCE).is_some(), "{}", path.display());
        }
        assert!(server.terminate().success());
    }
}

/// Commands around sessions are not the service: they neither speak for it nor take what was passed to it.
#[test]
fn commands_around_sessions_inherit_nothing_of_it() {
    let dir = TempDir::new("hooks");
    let out = dir.join("env");
    let names =
        ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];
    let manager = Manager::at(dir.join("notify"));
    let setup = names.iter().fold(server(), |setup, name| setup.env(name, "1"));
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [5; 4096]).expect("a disk");
    let hook = format!("prerun = env >{}", out.display());
    let setup = setup.env("CANARY", "sings").env("NOTIFY_SOCKET", manager.path().to_str().expect("UTF-8"));
    let server = setup.export("disk", &disk, &hook).start();
    drop(server.open("disk"));
    let text = fs::read_to_string(&out).expect("it ran");
    assert!(text.lines().any(|line| line == "CANARY=sings"), "{text}");
    let inherited = names.iter().find(|name| text.lines().any(|line| line.starts_with(&format!("{name}="))));
    assert_eq!(inherited, None, "{text}");
}
