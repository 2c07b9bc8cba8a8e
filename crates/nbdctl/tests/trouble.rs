//! When there is no answer: a sentence that says what is wrong, and a code that says whether anything may have changed.

mod common;

use common::{Ran, Server, command, ctl};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::thread::JoinHandle;
use testkit::{TempDir, is_root, without_root};

/// A word of each kind: one that asks, one that changes something.
const ASKS: &[&str] = &["status"];
const CHANGES: &[&str] = &["clear", "vol-1"];

#[test]
fn without_a_server_the_socket_is_named_and_why() {
    let dir = TempDir::new("nobody");
    let socket = dir.join("control.sock");
    let shown = socket.display();
    for word in [ASKS, CHANGES, &["reload"], &["events", "-f"], &["top", "--once"], &["metrics"]] {
        let ran = ctl(&socket, word);
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{word:?}");
        assert_eq!(ran.err, format!("nbdctl: no server: there is no socket {shown}\n"));
    }
    drop(UnixListener::bind(&socket).expect("a socket that stays behind"));
    let ran = ctl(&socket, ASKS);
    assert_eq!((ran.code, ran.err), (3, format!("nbdctl: no server: nobody listens on {shown} any more\n")));
    // What is given counts more than what is in the environment.
    let ran = ctl(Path::new("/nonexistent"), &["status", "--socket", socket.to_str().expect("UTF-8")]);
    assert!(ran.err.contains("nobody listens"), "{}", ran.err);
}

#[test]
fn who_may_not_connect_is_told_which_group_to_be_in() {
    let server = Server::start();
    let socket = server.socket();
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o000)).expect("it is ours");
    let args = ["nbdctl", "reload", "--socket", socket.to_str().expect("UTF-8")].map(Into::into);
    let (exit, out, err) = without_root(|| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        (nbdctl::run(args, &mut out, &mut err, false), out, err)
    });
    let said = String::from_utf8_lossy(&err).into_owned();
    assert_eq!((exit, out.len()), (nbdctl::Exit::NoServer, 0), "{said}");
    assert!(said.contains("you need to be in the socket's group, which is "), "{said}");
    if is_root() {
        assert!(said.ends_with("which is root\n"), "{said}");
    }
    assert!(server.fake.calls().is_empty());
}

/// Says something to the first who comes, whatever is asked for, and leaves.
fn somebody(socket: &Path, says: &'static str) -> JoinHandle<()> {
    let listener = UnixListener::bind(socket).expect("a socket of ours");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        let mut head = [0; 4096];
        let _ = stream.read(&mut head);
        let _ = stream.write_all(says.as_bytes());
    })
}

fn asked(says: &'static str, args: &[&str]) -> Ran {
    let dir = TempDir::new("odd");
    let socket = dir.join("control.sock");
    let thread = somebody(&socket, says);
    let ran = ctl(&socket, args);
    thread.join().expect("it said what it had to");
    let shown = socket.display().to_string();
    Ran { err: ran.err.replace(&shown, "SOCKET"), ..ran }
}

/// A question that was not answered changed nothing; a change that was not answered may have been made.
#[track_caller]
fn is_no_answer(says: &'static str, why: &str) {
    let ran = asked(says, ASKS);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{}", ran.err);
    assert!(ran.err.starts_with(&format!("nbdctl: SOCKET: {why}")), "{}", ran.err);
    let ran = asked(says, CHANGES);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    assert!(ran.err.starts_with(&format!("nbdctl: SOCKET: {why}")), "{}", ran.err);
    assert!(ran.err.ends_with("; whether it was done is not known\n"), "{}", ran.err);
}

#[test]
fn what_does_not_answer_as_a_server_does_is_no_answer() {
    is_no_answer("NBDMAGICIHAVEOPT\r\n\r\n", "what answers there does not speak HTTP");
    is_no_answer("", "the connection ended before the answer was whole");
    is_no_answer("HTTP/1.1 200 OK\r\ncontent-le", "the connection ended before the answer was whole");
    is_no_answer(
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"cleared\":",
        "the connection ended before the answer was whole",
    );
    is_no_answer(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "its answer cannot be read: missing field",
    );
    is_no_answer("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\x1b", "its answer cannot be read: ");
    is_no_answer(
        "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
        "answered with HTTP status 502 alone",
    );
}

/// The time that is given is kept on this side too, for a server that hangs cannot keep it.
#[test]
fn who_answers_too_late_is_not_waited_for() {
    let dir = TempDir::new("late");
    let socket = dir.join("control.sock");
    let listener = UnixListener::bind(&socket).expect("a socket of ours");
    // The system accepts connections that nobody takes.
    let ran = ctl(&socket, &["status", "--timeout", "0.3"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.ends_with("control.sock: no answer within 300ms\n"), "{}", ran.err);
    // Whoever was told how long it may take gets a little more, to say what hangs.
    let ran = ctl(&socket, &["reload", "--timeout", "0.3"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("no answer within 2.3s; whether it was done is not known"), "{}", ran.err);
    drop(listener);
}

/// 2 would tell a program that something was done in part.
#[test]
fn a_command_line_that_makes_no_sense_ends_with_64() {
    let server = Server::start();
    let wrong: [&[&str]; 18] = [
        &[],
        &["restart"],
        &["status", "more"],
        &["status", "--colour"],
        &["status", "--timeout", "0"],
        &["status", "--timeout", "soon"],
        &["end"],
        &["end", "vol-1"],
        &["sessions", "-1"],
        &["fence"],
        &["add", "vol-1"],
        &["add", "vol-1", "readonly"],
        &["add", "vol-1", "readonly=1", "/dev/vdb"],
        &["add", "vol-1", "/dev/vdb", "exportname=/dev/vdc"],
        &["log-level", "loud"],
        &["completions", "tcsh"],
        &["events", "-n", "0"],
        &["top"],
    ];
    for args in wrong {
        let ran = server.ctl(args);
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{args:?}");
        assert!(!ran.err.is_empty(), "{args:?}");
    }
    assert!(server.fake.calls().is_empty(), "nobody was asked for anything");
    let help = server.ctl(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    let version = server.ctl(&["--version"]);
    assert_eq!((version.code, version.out), (0, format!("nbdctl {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn an_answer_that_nobody_takes_is_no_mishap_but_a_full_disk_is() {
    let server = Server::start();
    server.fake.says().exports = vec![common::fake::export("vol-1", "/dev/vdb"); 5000];
    let mut child = command(&server.socket(), &["exports"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "as `head` leaves it");

    let full = || std::fs::File::create("/dev/full").expect("a disk that is full");
    let run = |args: &[&str]| command(&server.socket(), args).stdout(full()).output().expect("it runs");
    let output = run(&["exports", "--json"]);
    assert_eq!(output.status.code(), Some(2), "what was written is not the answer");
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("nbdctl: standard output: No space"));
}
