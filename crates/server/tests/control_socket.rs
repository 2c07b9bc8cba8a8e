//! The control socket as a file: whose it is, who may open it, how long it is there, and what happens where it cannot be.
#![allow(missing_docs)]

mod common;

use common::place::{Place, Running, is_alive, program, text, wait_until};
use common::server;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use testkit::setup::free_port;
use testkit::{Client, Control, TempDir, is_root, skip_or_fail, tool, without_root};

const PATIENCE: Duration = Duration::from_secs(10);
const NOBODY: u32 = 65534;

fn status(socket: &Path) -> serde_json::Value {
    serde_json::from_str(&Control::at(socket).get("/v1/status")).expect("JSON")
}

/// 0660 where nothing is said; the key's mode otherwise, whatever the umask; gone at the end.
#[test]
fn the_socket_has_its_mode_and_goes_with_its_server() {
    for (line, wanted) in
        [("", 0o660), ("controlsock_mode = 0600", 0o600), ("controlsock_mode = 0666", 0o666)]
    {
        let mut server = server().generic(line).start();
        let path = server.control_path();
        let there = fs::symlink_metadata(&path).expect("it is there");
        assert!(there.file_type().is_socket());
        assert_eq!(there.permissions().mode() & 0o7777, wanted, "{line}");
        assert_eq!(status(&path)["pid"], server.pid());
        server.terminate();
        assert!(!path.exists(), "{line}");
    }
}

/// Its owner decides who may ask. The server's own user has no part in it.
#[test]
fn the_socket_belongs_to_whom_it_was_given_and_nobody_else_may_ask() {
    if !is_root() {
        return skip_or_fail("the_socket_belongs_to_whom", "root");
    }
    let connects = |path: &Path| std::os::unix::net::UnixStream::connect(path).is_ok();
    for (owner, ids, theirs) in [
        ("", (0, 0), false),
        ("controlsock_owner = nobody", (NOBODY, 0), true),
        ("controlsock_owner = nobody:nogroup", (NOBODY, NOBODY), true),
        ("controlsock_owner = :nogroup", (0, NOBODY), false),
    ] {
        // For its user alone: the thread that asks as nobody keeps root's group.
        let setup = server().generic(owner).generic("controlsock_mode = 0600");
        fs::set_permissions(setup.dir(), PermissionsExt::from_mode(0o755)).expect("open to all");
        let server = setup.start();
        let path = server.control_path();
        let there = fs::symlink_metadata(&path).expect("it is there");
        assert_eq!((there.uid(), there.gid()), ids, "{owner}");
        assert_eq!(without_root(|| connects(&path)), theirs, "{owner}");
        assert!(connects(&path), "{owner}: root");
    }
}

/// A socket of a dead server is replaced; one of a live server is not, and who asked for it by name does not start.
#[test]
fn a_socket_is_taken_over_only_from_the_dead() {
    let place = Place::new("");
    let path = place.dir.join("control.sock");
    drop(UnixListener::bind(&path).expect("a socket whose server then dies"));
    assert!(place.launch().status.success());
    let first = status(&path)["pid"].as_u64().expect("a number");
    let config = fs::read_to_string(place.path("config")).expect("the configuration");
    let other = config.replace(&format!("port = {}", place.port), &format!("port = {}", free_port()));
    fs::write(place.dir.join("other"), other).expect("written");
    let second = program().args(["-C", &place.path("other"), "-p", &place.path("other.pid")]).output();
    let second = second.expect("it runs");
    assert_eq!(second.status.code(), Some(1));
    let said = text(&second.stderr);
    assert!(
        said.starts_with("failed to setup servers: failed to open the control socket")
            && said.contains("another server listens on it"),
        "{said}"
    );
    assert!(!place.dir.join("other.pid").exists());
    assert_eq!(status(&path)["pid"], first, "the first one goes on");
}

/// What was asked for by name and cannot be had ends the start, and leaves nothing behind.
#[test]
fn a_socket_that_was_asked_for_is_there_or_the_server_is_not() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let metrics = format!("metrics_listen = {}", taken.local_addr().expect("bound"));
    let cases = [
        (
            "controlsock = /nonexistent/c",
            "failed to open the control socket /nonexistent/c: No such file or directory",
        ),
        ("controlsock = /etc/passwd", "something that is no socket is there"),
        (
            "controlsock_owner = nobody-at-all",
            "controlsock_owner = nobody-at-all: there is no user \"nobody-at-all\"",
        ),
        (metrics.as_str(), "failed to open metrics_listen 127.0.0.1:"),
    ];
    for (line, words) in cases {
        let place = Place::new(&format!("unixsock = {{}}\nduallisten = true\n{line}"));
        let socket = place.dir.join("socket");
        let config = fs::read_to_string(place.path("config")).expect("the configuration");
        fs::write(place.path("config"), config.replace("{}", &socket.display().to_string()))
            .expect("written");
        let output = place.launch();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(text(&output.stderr).contains(words), "{line}: {}", text(&output.stderr));
        let left = [socket, place.dir.join("control.sock"), place.dir.join("pid")];
        assert_eq!(left.iter().find(|path| path.exists()), None, "{line}");
        assert!(TcpStream::connect(("127.0.0.1", place.port)).is_err(), "{line}");
    }
}

#[test]
fn with_an_empty_key_there_is_no_socket() {
    let text = "[generic]\nport = {port}\nlistenaddr = 127.0.0.1\ncontrolsock =\nincludedir = {conf.d}\n";
    let server = server().main(text).start();
    let listening = listening_unix_sockets(server.pid());
    assert!(server.open_paths().iter().all(|path| !listening.contains(path)), "{listening:?}");
    assert!(!server.lines().iter().any(|line| line.contains("control socket")), "{:?}", server.lines());
    // What is looked at above is where a control socket is seen.
    let server = self::server().start();
    let listening = listening_unix_sockets(server.pid());
    assert_eq!(server.open_paths().iter().filter(|path| listening.contains(path)).count(), 1);
}

/// As `/proc/PID/fd` shows them; those of the whole machine.
fn listening_unix_sockets(pid: u32) -> Vec<PathBuf> {
    const ACCEPTS: &str = "00010000";
    let table = fs::read_to_string(format!("/proc/{pid}/net/unix")).expect("it runs");
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|of| of[3] == ACCEPTS).map(|of| format!("socket:[{}]", of[6]).into()).collect()
}

/// A change of any of the keys is told, and is not followed before a restart.
#[test]
fn the_keys_need_a_restart_and_say_so() {
    let server = server().start();
    let text = fs::read_to_string(server.config_path()).expect("the configuration");
    let more = "[generic]\ncontrolsock_mode = 0600\ncontrolsock_owner = root\nmetrics_listen = 127.0.0.1:1\n";
    let moved = text.replace("[generic]\n", more).replace("control.sock", "elsewhere.sock");
    fs::write(server.config_path(), moved).expect("written");
    let reloaded = server.reload().expect_complete();
    for key in ["controlsock", "controlsock_mode", "controlsock_owner", "metrics_listen"] {
        let told = reloaded.events.iter().find(|event| event.value("key") == Some(key)).expect(key);
        assert_eq!(
            (told.words.as_str(), told.value("reason")),
            ("setting not applied", Some("it needs a restart"))
        );
    }
    assert!(!server.dir().join("elsewhere.sock").exists());
    let there = fs::symlink_metadata(server.control_path()).expect("where it was");
    assert_eq!(there.permissions().mode() & 0o777, 0o660);
}

/// On this machine alone nothing is said; what others reach is.
#[test]
fn metrics_have_an_address_of_their_own_and_a_warning_where_others_reach_it() {
    for (address, warned) in [("127.0.0.1", false), ("0.0.0.0", true)] {
        let port = free_port();
        let server = server().generic(&format!("metrics_listen = {address}:{port}")).start();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("nbd_server_build_info"), "{answer}");
        let warning = |line: &String| line.contains("metrics are served to everybody who reaches 0.0.0.0:");
        assert_eq!(server.lines().iter().any(warning), warned, "{:?}", server.lines());
    }
}

/// A mount namespace whose `/run` is empty, or cannot be written.
struct Room {
    place: Place,
    run: TempDir,
}

impl Room {
    /// `None` where there is none to be had.
    fn new(test: &str, generic: &str) -> Option<Self> {
        if !is_root() || tool("unshare").is_none() {
            skip_or_fail(test, "root and unshare");
            return None;
        }
        let place = Place::new(generic);
        let config = fs::read_to_string(place.path("config")).expect("the configuration");
        let without: Vec<&str> = config.lines().filter(|line| !line.starts_with("controlsock =")).collect();
        fs::write(place.path("config"), without.join("\n") + "\n").expect("written");
        Some(Self { place, run: TempDir::new("run") })
    }

    fn command(&self, mount: &str, args: &str) -> Command {
        let script = format!(
            "umask 077; mount --bind {} /run && {mount} exec \"$0\" {args}",
            self.run.path().display()
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script, env!("CARGO_BIN_EXE_nbd-server")]).stdin(Stdio::null());
        command
    }

    fn launch(&self) -> Output {
        let args = format!("-C {} -p {}", self.place.path("config"), self.place.path("pid"));
        self.command("", &args).output().expect("unshare runs")
    }

    fn folder(&self) -> PathBuf {
        self.run.join("nbd-server")
    }

    fn pid(&self) -> Pid {
        self.place.pid().expect("a pid file")
    }
}

/// The directory is made, whatever the umask takes, and is the server's own, so that it can take its socket away; also one
/// that an earlier server under another user has left.
#[test]
fn by_default_the_socket_is_in_a_directory_of_the_servers_user() {
    for (user, ids) in [("", 0), ("user = nobody\ngroup = nogroup", NOBODY)] {
        let Some(room) = Room::new("by_default_the_socket", user) else { return };
        for left_by in [None, Some(1), Some(0)] {
            if let Some(other) = left_by {
                fs::set_permissions(room.folder(), PermissionsExt::from_mode(0o755)).expect("ours");
                std::os::unix::fs::chown(room.folder(), Some(other), None).expect("root may");
            }
            let output = room.launch();
            assert!(output.status.success(), "{}", text(&output.stderr));
            let folder = fs::metadata(room.folder()).expect("made");
            assert_eq!((folder.permissions().mode() & 0o7777, folder.uid()), (0o755, ids), "{user}");
            let socket = room.folder().join("control.sock");
            assert_eq!(status(&socket)["pid"], room.pid().as_raw_nonzero().get());
            let there = fs::symlink_metadata(&socket).expect("it is there");
            assert_eq!((there.permissions().mode() & 0o777, there.uid()), (0o660, 0), "{user}");
            let pid = room.pid();
            kill_process(pid, Signal::TERM).expect("it runs");
            wait_until("it ends", || !is_alive(pid));
            assert!(!socket.exists() && room.folder().is_dir(), "{user}");
        }
    }
}

/// What is in the way.
type Preparation = fn(&Room);

/// By default it is no condition: where it cannot be, the log says so, and the server serves.
#[test]
fn by_default_a_socket_that_cannot_be_had_is_a_line_in_the_log_and_no_more() {
    let test = "by_default_a_socket_that_cannot";
    let cases: [(&str, Preparation, &str); 3] = [
        (
            "mount -o remount,bind,ro /run &&",
            |_| (),
            "no control socket: /run/nbd-server cannot be made: Read-only file system",
        ),
        (
            "",
            |room| fs::write(room.folder(), "").expect("a file"),
            "no control socket: /run/nbd-server cannot be made: ",
        ),
        ("", |room| fs::create_dir(room.folder()).expect("made"), "another server listens on it"),
    ];
    for (number, (mount, prepare, words)) in cases.into_iter().enumerate() {
        let Some(room) = Room::new(test, "user = nobody") else { return };
        prepare(&room);
        let held =
            (number == 2).then(|| UnixListener::bind(room.folder().join("control.sock")).expect("bound"));
        let args = format!("-d -C {}", room.place.path("config"));
        let mut command = room.command(mount, &args);
        let mut running = Running(command.stderr(Stdio::piped()).spawn().expect("unshare runs"));
        wait_until("it serves", || Client::connect_tcp(room.place.port).is_ok());
        assert!(room.place.client().go("disk").is_ok());
        kill_process(running.pid(), Signal::TERM).expect("it runs");
        assert!(running.wait().success());
        let mut said = String::new();
        running.0.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
        let notes: Vec<&str> = said.lines().filter(|line| line.contains("no control socket: ")).collect();
        assert!(notes.len() == 1 && notes[0].contains(words), "{said}");
        if held.is_some() {
            assert!(room.folder().join("control.sock").exists(), "what is not ours stays");
            assert_eq!(fs::metadata(room.folder()).expect("there").uid(), 0, "and its directory its owner's");
        }
    }
}

/// inetd's server is one client's, and nobody asks it anything.
#[test]
fn with_port_zero_there_is_no_control_socket() {
    let place = Place::new("");
    let config = fs::read_to_string(place.path("config")).expect("the configuration");
    let inetd = config.replace(&format!("port = {}", place.port), "port = 0");
    fs::write(place.path("config"), inetd).expect("written");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let mut command = Command::new(env!("CARGO_BIN_EXE_nbd-server"));
    command.args(["-C", &place.path("config")]).stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
    let mut running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs"));
    drop(command);
    let mut greeting = [0; 18];
    (&ours).read_exact(&mut greeting).expect("a greeting");
    assert!(!place.dir.join("control.sock").exists());
    drop(ours);
    running.wait();
}
