//! Sockets that somebody else has opened: systemd's socket activation, by its own tool and by hand.
#![allow(missing_docs)]

mod common;

use common::place::{Place, Running, is_alive, program, text, wait_until};
use rustix::process::{Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use testkit::setup::free_port;
use testkit::{Client, Control, skip_or_fail, tool};

/// A place whose sockets are opened by `systemd-socket-activate`: two for clients, and the two that have names. Its
/// configuration says other things about where to listen.
struct Scene {
    place: Place,
    tcp: u16,
    metrics: u16,
}

impl Scene {
    fn new(test: &str) -> Option<Self> {
        if tool("systemd-socket-activate").is_none() {
            skip_or_fail(test, "systemd-socket-activate");
            return None;
        }
        Some(Self {
            place: Place::new("unixsock = /nonexistent/socket"),
            tcp: free_port(),
            metrics: free_port(),
        })
    }

    fn socket(&self) -> PathBuf {
        self.place.dir.join("socket")
    }

    fn control(&self) -> PathBuf {
        self.place.dir.join("asked.sock")
    }

    /// Starts at the first connection.
    fn activate(&self, args: &[&str]) -> Running {
        let mut command = Command::new("systemd-socket-activate");
        command.arg(format!("--listen=127.0.0.1:{}", self.tcp));
        command.arg(format!("--listen={}", self.socket().display()));
        command.arg(format!("--listen={}", self.control().display()));
        command.arg(format!("--listen=127.0.0.1:{}", self.metrics));
        command.arg("--fdname=nbd:nbd:control:metrics").arg(env!("CARGO_BIN_EXE_nbd-server"));
        command.args(args).args(["-C", &self.place.path("config")]);
        command.stdin(Stdio::null()).stderr(fs::File::create(self.place.dir.join("log")).expect("a log"));
        let running = Running(command.spawn().expect("it runs"));
        wait_until("it listens", || {
            self.control().exists() && TcpStream::connect(("127.0.0.1", self.metrics)).is_ok()
        });
        running
    }

    fn everything_is_served(&self) {
        let mut tcp = Client::connect_tcp(self.tcp).expect("it accepts");
        tcp.go("disk").expect("served");
        assert_eq!(tcp.read(0, 2), Ok(vec![5; 2]));
        let mut unix = Client::connect_unix(&self.socket()).expect("it accepts");
        unix.go("disk").expect("served");
        assert_eq!(unix.read(0, 2), Ok(vec![5; 2]));
        let status: serde_json::Value =
            serde_json::from_str(&Control::at(self.control()).get("/v1/status")).expect("JSON");
        let listening = serde_json::json!([
            format!("127.0.0.1:{}", self.tcp),
            format!("unix:{}", self.socket().display())
        ]);
        assert_eq!(status["listening"], listening);
        let mut metrics = TcpStream::connect(("127.0.0.1", self.metrics)).expect("it accepts");
        metrics.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        metrics.read_to_string(&mut answer).expect("an answer");
        assert!(answer.contains("nbd_server_build_info"), "{answer}");
        assert!(
            TcpStream::connect(("127.0.0.1", self.place.port)).is_err(),
            "not where the configuration says"
        );
        assert!(!self.place.dir.join("control.sock").exists());
    }

    fn sockets_stay(&self) {
        for path in [self.socket(), self.control()] {
            let there = fs::symlink_metadata(&path).expect("who made it takes it away");
            assert!(there.file_type().is_socket());
        }
    }
}

/// In the foreground. What was passed takes the place of what the keys say, and the log names those.
#[test]
fn sockets_that_systemd_opened_are_served_in_place_of_the_keys() {
    let Some(scene) = Scene::new("sockets_that_systemd_opened") else { return };
    let config = fs::read_to_string(scene.place.path("config")).expect("the configuration");
    let open = scene.place.dir.join("open");
    let hook = format!("prerun = ls -l /proc/$$/fd >{}\n", open.display());
    fs::write(scene.place.path("config"), config + &hook).expect("written");
    let mut running = scene.activate(&["-d"]);
    scene.everything_is_served();
    let open = fs::read_to_string(open).expect("it ran");
    assert!(open.contains("/dev/null") && !open.contains("socket:"), "commands inherit none of them: {open}");
    kill_process(running.pid(), Signal::TERM).expect("the server, in the place of the tool");
    assert!(running.wait().success());
    scene.sockets_stay();
    let log = fs::read_to_string(scene.place.dir.join("log")).expect("the log");
    let note =
        "sockets that were passed are used (LISTEN_FDS), and not: listenaddr, port, unixsock, controlsock\n";
    assert!(log.contains(note), "{log}");
}

/// In the background: the launching command hands them on.
#[test]
fn in_the_background_the_sockets_are_served_as_well() {
    let Some(scene) = Scene::new("in_the_background_the_sockets") else { return };
    let mut launcher = scene.activate(&["-p", &scene.place.path("pid")]);
    // The connection that started it waits in the listen queue.
    scene.everything_is_served();
    assert!(
        launcher.wait().success(),
        "{}",
        fs::read_to_string(scene.place.dir.join("log")).unwrap_or_default()
    );
    let pid = scene.place.pid().expect("a pid file");
    assert_ne!(pid, launcher.pid());
    kill_process(pid, Signal::TERM).expect("it runs");
    wait_until("it ends", || !is_alive(pid));
    scene.sockets_stay();
}

/// Runs the program through a shell that sets it up: `$$` is the program's own number, since the shell becomes it. Not for
/// ever, also where it should not have started.
fn shell(place: &Place, setup: &str, args: &str) -> Command {
    let script = format!("{setup} exec \"$0\" {args} -C {}", place.path("config"));
    let mut command = Command::new("timeout");
    command.args(["60", "bash", "-c", &script, env!("CARGO_BIN_EXE_nbd-server")]).stdin(Stdio::null());
    command
}

/// What is meant for another process is not taken, nor is it handed on to the one in the background.
#[test]
fn what_is_passed_to_another_process_is_left_alone() {
    for (setup, args) in [
        ("exec 3</dev/null; export LISTEN_FDS=1 LISTEN_PID=1;", "-n"),
        ("exec 3</dev/null; export LISTEN_FDS=1;", "-n"),
        ("exec 3</dev/null; export LISTEN_FDS=1 LISTEN_PID=1;", ""),
        ("exec 3</dev/null; export LISTEN_FDS=1;", ""),
    ] {
        let place = Place::new("");
        let mut command = shell(&place, setup, &format!("{args} -p {}", place.path("pid")));
        let _running = Running(command.stderr(Stdio::null()).spawn().expect("it runs"));
        wait_until("it serves", || Client::connect_tcp(place.port).is_ok());
        assert!(place.client().go("disk").is_ok(), "{setup} {args}");
    }
}

/// A socket unit that is not right is told, and the server does not start.
#[test]
fn what_is_no_listening_socket_ends_the_start_with_a_sentence() {
    let place = Place::new("");
    let peer = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let connected = format!("exec 3<>/dev/tcp/127.0.0.1/{};", peer.local_addr().expect("bound").port());
    let cases = [
        (
            "exec 3</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$;",
            "neither a TCP socket nor a Unix stream socket",
        ),
        ("export LISTEN_FDS=1 LISTEN_PID=$$;", "neither a TCP socket nor a Unix stream socket"),
        (
            &format!("{connected} export LISTEN_FDS=1 LISTEN_PID=$$;"),
            "it does not listen; a socket unit needs Accept=no",
        ),
        (
            "exec 3</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=a:b;",
            "1 sockets were passed (LISTEN_FDS), and 2 names (LISTEN_FDNAMES)",
        ),
    ];
    for (setup, words) in cases {
        for args in ["-d", ""] {
            let output =
                shell(&place, setup, &format!("{args} -p {}", place.path("pid"))).output().expect("it runs");
            assert_eq!(output.status.code(), Some(1), "{setup}");
            let said = text(&output.stderr);
            assert!(said.starts_with("failed to setup servers: ") && said.contains(words), "{setup}: {said}");
        }
    }
}

/// Only the socket for questions is passed: clients come to where the configuration says.
#[test]
fn a_control_socket_alone_leaves_the_other_keys_in_force() {
    let Some(scene) = Scene::new("a_control_socket_alone") else { return };
    let place = Place::new("");
    let mut command = Command::new("systemd-socket-activate");
    command.arg(format!("--listen={}", scene.control().display())).arg("--fdname=control");
    command.arg(env!("CARGO_BIN_EXE_nbd-server")).args(["-d", "-C", &place.path("config")]);
    let mut running = Running(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs"));
    wait_until("it listens", || scene.control().exists());
    assert!(Control::at(scene.control()).get("/v1/status").contains(&format!("127.0.0.1:{}", place.port)));
    assert!(place.client().go("disk").is_ok());
    kill_process(running.pid(), Signal::TERM).expect("it runs");
    running.wait();
    let mut said = String::new();
    running.0.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
    assert!(
        said.contains("sockets that were passed are used (LISTEN_FDS), and not: controlsock\n"),
        "{said}"
    );
}

/// Nobody is told anything where nothing was passed.
#[test]
fn without_activation_the_log_says_nothing_of_it() {
    let place = Place::new("");
    let mut command = program();
    command.args(["-d", "-C", &place.path("config")]).stderr(Stdio::piped());
    let mut running = Running(command.spawn().expect("it runs"));
    wait_until("it serves", || Client::connect_tcp(place.port).is_ok());
    kill_process(running.pid(), Signal::TERM).expect("it runs");
    running.wait();
    let mut said = String::new();
    running.0.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
    assert!(!said.contains("LISTEN_FDS"), "{said}");
}
