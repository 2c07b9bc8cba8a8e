//! The Unix socket: whose it is, how long it is there, and what is beside it.
#![allow(missing_docs)]

mod common;

use common::place::{Place, is_alive, program, run, text, wait_until};
use common::server;
use rustix::process::{Signal, kill_process};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use testkit::{Client, TempDir};

/// A dead socket is replaced, a live one is not taken away, ours is removed at the end.
///
/// C-080, C-081, C-082
#[test]
fn a_unix_socket_is_taken_over_only_from_the_dead() {
    let dir = TempDir::new("launch");
    let path = dir.join("socket");
    drop(UnixListener::bind(&path).expect("bound"));
    let config_text = |more: &str| {
        format!(
            "[generic]\nunixsock = {}\n{more}[d]\nexportname = /etc/passwd\nreadonly = true\n",
            path.display()
        )
    };
    let mut server = server().main(&config_text("allowlist = true\n")).start();
    assert_eq!(Client::connect_unix(&path).expect("it accepts").list(), Ok(vec!["d".to_owned()]));
    assert!(std::net::TcpStream::connect(("127.0.0.1", server.port())).is_err(), "no TCP without duallisten");
    let config = dir.join("second");
    fs::write(&config, config_text("")).expect("written");
    let second = run(&["-d", "-C", config.to_str().expect("UTF-8")]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("socket"), "{second:?}");
    assert!(Client::connect_unix(&path).is_ok(), "the first one goes on");
    server.terminate();
    assert!(!path.exists());
}

/// C-080, C-083: with `duallisten` both are there, or neither.
#[test]
fn with_duallisten_there_are_both_or_neither() {
    let server = server().unix().start();
    assert!(Client::connect_unix(&server.socket()).is_ok() && Client::connect_tcp(server.port()).is_ok());
    let place = Place::new("");
    let socket = place.dir.join("socket");
    let config = fs::read_to_string(place.path("config")).expect("the configuration");
    let both = format!("[generic]\nunixsock = {}\nduallisten = true\n", socket.display());
    fs::write(place.path("config"), config.replace("[generic]\n", &both)).expect("written");
    let taken = TcpListener::bind(("127.0.0.1", place.port)).expect("bound");
    let output = place.launch();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("Address already in use"), "{output:?}");
    assert!(!socket.exists() && place.pid().is_none(), "nothing is left");
    drop(taken);
    assert!(place.launch().status.success());
    assert!(Client::connect_unix(&socket).is_ok() && place.client().go("disk").is_ok());
}

/// A relative path is relative to where the server was started, and found again at its end, from `/`.
///
/// C-082
#[test]
fn a_relative_socket_lies_where_the_server_was_started() {
    let place = Place::new("unixsock = socket");
    let started = program().current_dir(place.dir.path()).args(["-C", "config", "-p", "pid"]).output();
    assert!(started.expect("it runs").status.success());
    let (socket, pid) = (place.dir.join("socket"), place.pid().expect("a pid file"));
    let metadata = fs::symlink_metadata(&socket).expect("beside the configuration");
    assert!(metadata.file_type().is_socket());
    let status = fs::read_to_string("/proc/self/status").expect("this process");
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:\t")).expect("a umask");
    let left = 0o777 & !u32::from_str_radix(umask, 8).expect("octal");
    assert_eq!(metadata.permissions().mode() & 0o777, left, "what the umask leaves where nothing is said");
    assert!(Client::connect_unix(&socket).expect("it accepts").go("disk").is_ok());
    kill_process(pid, Signal::TERM).expect("it runs");
    wait_until("it ends", || !is_alive(pid));
    assert!(!socket.exists());
}
