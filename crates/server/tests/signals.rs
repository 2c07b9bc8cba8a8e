//! What a server in the background is to those who manage it, what signals do to it, and its end.
#![allow(missing_docs)]

mod common;

use common::place::{Place, Running, is_alive, program, run, wait_until};
use common::server;
use rustix::process::{Signal, kill_process};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::Client;

const PATIENCE: Duration = Duration::from_secs(10);

/// A pid file for scripts: the number and a newline, for all to read, of the one who listens.
///
/// C-068, C-085, C-086
#[test]
fn the_pid_file_names_the_process_that_serves() {
    let place = Place::new("");
    // A link is followed, as ever.
    std::os::unix::fs::symlink(place.dir.join("elsewhere"), place.dir.join("pid")).expect("a link");
    assert!(place.launch().status.success());
    // At once, and with a greeting: nothing has to be made first.
    assert!(place.client().go("disk").is_ok());
    let text = fs::read_to_string(place.dir.join("elsewhere")).expect("the pid file");
    let pid = place.pid().expect("a number");
    assert_eq!(text, format!("{}\n", pid.as_raw_nonzero()));
    let fds = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).expect("it runs");
    let sockets = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    assert!(sockets.filter(|link| link.to_string_lossy().starts_with("socket:")).count() >= 1);
    let mode = fs::metadata(place.dir.join("elsewhere")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

/// Nothing ties it to who started it: not the directory, not the terminal, not their session, not what they had open.
///
/// C-070
#[test]
fn in_the_background_nothing_ties_it_to_who_started_it() {
    let place = Place::new("");
    let held = place.dir.join("lock");
    let script = format!("exec 3>'{0}' 7>'{0}'; exec \"$0\" -C \"$1\" -p \"$2\"", held.display());
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &script,
        env!("CARGO_BIN_EXE_nbd-server"),
        &place.path("config"),
        &place.path("pid"),
    ]);
    assert!(command.status().expect("it runs").success());
    let pid = place.pid().expect("a pid file").as_raw_nonzero();
    let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).expect("it runs");
    assert_eq!(link("cwd"), Path::new("/"));
    for fd in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(link(fd), Path::new("/dev/null"), "{fd}");
    }
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let open: Vec<_> = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
    assert!(!open.contains(&held), "{open:?}");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    // Behind the name: state, parent, group, session, terminal.
    assert_eq!((fields[3], fields[4]), (pid.to_string().as_str(), "0"), "{stat}");
}

/// C-071: a pid file that cannot be written is no reason not to serve.
#[test]
fn without_its_pid_file_it_serves_all_the_same() {
    let place = Place::new("");
    let mut command = program();
    command
        .args(["-n", "-C", &place.path("config"), "-p", "/nonexistent/pid"])
        .stderr(std::process::Stdio::null());
    let mut running = Running(command.spawn().expect("it runs"));
    wait_until("it serves", || Client::connect_tcp(place.port).is_ok());
    assert!(place.client().go("disk").is_ok());
    kill_process(running.pid(), Signal::TERM).expect("it runs");
    assert!(running.wait().success());
}

/// SIGTERM and SIGINT: clients are let go, the pid file goes, the port is free, the status is 0.
///
/// C-072, C-074
#[test]
fn the_end_is_orderly_whichever_signal_asks_for_it() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new("");
        let mut command = program();
        command.args(["-n", "-C", &place.path("config"), "-p", &place.path("pid")]);
        let mut running = Running(command.stderr(std::process::Stdio::null()).spawn().expect("it runs"));
        wait_until("it serves", || Client::connect_tcp(place.port).is_ok());
        let (mut served, mut choosing) = (place.client(), place.client());
        served.go("disk").expect("served");
        served.write(0, &[9]).expect("written");
        assert!(place.pid().is_some());
        kill_process(running.pid(), signal).expect("it runs");
        assert!(running.wait().success(), "{signal:?}");
        assert!(served.is_closed() && choosing.is_closed(), "{signal:?}");
        assert!(!place.dir.join("pid").exists(), "{signal:?}");
        assert!(TcpListener::bind(("127.0.0.1", place.port)).is_ok(), "the port is free");
    }
    let place = Place::new("");
    assert!(place.launch().status.success());
    let pid = place.pid().expect("a pid file");
    kill_process(pid, Signal::TERM).expect("it runs");
    wait_until("the one in the background ends too", || !is_alive(pid) && !place.dir.join("pid").exists());
}

/// C-231: SIGUSR1 is a line in the log, for the server and for its clients.
#[test]
fn sigusr1_is_a_line_in_the_log() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [1; 4096]).expect("a disk");
    let server = setup.export("disk", &disk, "").start();
    let mut client = server.open("disk");
    server.signal(Signal::USR1).expect("it runs");
    assert!(server.wait_for(|line| line.contains("Got SIGUSR1"), PATIENCE).is_some());
    assert_eq!(client.read(0, 1), Ok(vec![1]));
    assert!(server.connect().go("disk").is_ok());
}

/// A second start at the same port: the first one goes on, and its pid file is its own.
///
/// C-032, C-033, C-034
#[test]
fn a_second_start_takes_nothing_from_the_first() {
    let place = Place::new("");
    assert!(place.launch().status.success());
    let first = place.pid().expect("a pid file");
    let output = run(&["-C", &place.path("config"), "-p", &place.path("pid")]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = said.lines().find(|line| line.starts_with("failed to setup servers: ")).unwrap_or_default();
    assert!(line.contains("Address already in use"), "{said}");
    assert_eq!(place.pid(), Some(first));
    assert!(place.client().go("disk").is_ok());
}
