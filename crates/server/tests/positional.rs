//! What is served from the command line: its address and port, its export, and the options that concern it.
#![allow(missing_docs)]

mod common;

use common::place::{Place, Running, program, wait_until};
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::setup::free_port;
use testkit::spec::{FLAG_READ_ONLY, REP_ERR_POLICY, REP_ERR_UNKNOWN};
use testkit::{Client, TempDir, is_root, skip_or_fail, tool};

/// A disk in a directory of its own, and a free port.
struct Disk {
    dir: TempDir,
    path: PathBuf,
    port: u16,
}

impl Disk {
    fn new() -> Self {
        let dir = TempDir::new("positional");
        let path = dir.join("disk.img");
        fs::write(&path, [7; 8192]).expect("a disk");
        Self { path, port: free_port(), dir }
    }

    /// In the foreground: `words` with `PORT`, `FILE` and `DIR` filled in.
    fn serve(&self, words: &str) -> Running {
        let running = self.start(program(), words);
        wait_until("it serves", || Client::connect_tcp(self.port).is_ok());
        running
    }

    fn start(&self, mut command: Command, words: &str) -> Running {
        let fill = |word: &str| {
            word.replace("PORT", &self.port.to_string())
                .replace("FILE", self.path.to_str().expect("UTF-8"))
                .replace("DIR", self.dir.path().to_str().expect("UTF-8"))
        };
        let words = ["-n", "-p", "DIR/pid"].into_iter().chain(words.split_whitespace()).map(fill);
        Running(command.args(words).stderr(Stdio::null()).spawn().expect("it runs"))
    }

    fn client(&self) -> Client {
        Client::connect_tcp(self.port).expect("it accepts")
    }

    fn accepts_at(&self, address: &str) -> bool {
        let address = SocketAddr::new(address.parse().expect("an address"), self.port);
        TcpStream::connect(address).is_ok_and(|mut stream| stream.read_exact(&mut [0; 18]).is_ok())
    }
}

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

/// C-013, C-014, C-015: where it listens is what the word in front of the port says, and nowhere else.
#[test]
fn the_address_in_front_of_the_port_is_where_it_listens() {
    let cases: [(&str, &[&str], &[&str]); 6] = [
        ("127.0.0.1:PORT FILE", &["127.0.0.1"], &["127.0.0.2"]),
        ("127.0.0.1@PORT FILE", &["127.0.0.1"], &["127.0.0.2"]),
        ("localhost:PORT FILE", &["127.0.0.1"], &["127.0.0.2"]),
        ("127.0.0.1,127.0.0.3@PORT FILE", &["127.0.0.1", "127.0.0.3"], &["127.0.0.2"]),
        ("@PORT FILE", &["127.0.0.1", "127.0.0.2"], &[]),
        (":PORT FILE", &["127.0.0.1", "127.0.0.2"], &[]),
    ];
    for (words, accepted, refused) in cases {
        let disk = Disk::new();
        let _running = disk.serve(&format!("{words} -C /nonexistent"));
        assert!(accepted.iter().all(|address| disk.accepts_at(address)), "{words}");
        assert!(!refused.iter().any(|address| disk.accepts_at(address)), "{words}");
    }
    if !has_ipv6() {
        return skip_or_fail("the_address_in_front_of_the_port", "IPv6");
    }
    let disk = Disk::new();
    let _running = disk.start(program(), "::1@PORT FILE -C /nonexistent");
    wait_until("it serves", || disk.accepts_at("::1"));
    assert!(!disk.accepts_at("127.0.0.1"));
}

/// C-078: `listenaddr` is a list apart at commas, blanks and tabs; without one every address is listened at.
#[test]
fn listenaddr_is_a_list_of_where_it_listens() {
    let serve = |disk: &Disk, line: &str| {
        let text = format!("[generic]\nport = {}\n{line}[a]\nexportname = /etc/passwd\n", disk.port);
        fs::write(disk.dir.join("config"), text).expect("written");
        disk.serve("-C DIR/config")
    };
    for line in ["127.0.0.1, 127.0.0.3", "127.0.0.1 127.0.0.3", "127.0.0.1\t127.0.0.3"] {
        let disk = Disk::new();
        let _running = serve(&disk, &format!("listenaddr = {line}\n"));
        assert!(disk.accepts_at("127.0.0.1") && disk.accepts_at("127.0.0.3"), "{line}");
        assert!(!disk.accepts_at("127.0.0.2"), "{line}");
    }
    let disk = Disk::new();
    let _running = serve(&disk, "");
    assert!(disk.accepts_at("127.0.0.2") && (!has_ipv6() || disk.accepts_at("::1")));
}

/// C-007, C-008: a port alone makes no export, and the configuration's own port wins over it.
#[test]
fn a_port_alone_is_a_default_for_the_configuration() {
    let disk = Disk::new();
    let config = disk.dir.join("config");
    let served = "[a]\nexportname = /etc/passwd\nreadonly = true\n";
    let generic = "[generic]\nlistenaddr = 127.0.0.1\nallowlist = true\n";
    fs::write(&config, format!("{generic}{served}")).expect("written");
    let running = disk.serve("PORT -C DIR/config");
    assert_eq!(disk.client().list(), Ok(vec!["a".to_owned()]));
    assert_eq!(
        disk.client().go("").map_err(|(kind, _)| kind),
        Err(REP_ERR_UNKNOWN),
        "no export without FILE"
    );
    drop(running);
    let other = free_port();
    fs::write(&config, format!("{generic}port = {other}\n{served}")).expect("written");
    let _running = disk.start(program(), "PORT -C DIR/config");
    wait_until("it serves", || Client::connect_tcp(other).is_ok());
    assert!(!disk.accepts_at("127.0.0.1"), "the port of the configuration alone");
}

/// C-010, C-116: the export of the command line has the empty name and stands behind those of the configuration; without
/// one there is no such name.
#[test]
fn the_export_of_the_command_line_stands_behind_the_others() {
    let disk = Disk::new();
    let text = "[generic]\nlistenaddr = 127.0.0.1\nallowlist = true\n[a]\nexportname = /etc/passwd\n";
    fs::write(disk.dir.join("config"), text).expect("written");
    let _running = disk.serve("PORT FILE -C DIR/config");
    assert_eq!(disk.client().list(), Ok(vec!["a".to_owned(), String::new()]));
    assert_eq!(disk.client().go("").map(|export| export.size), Ok(8192));
}

/// C-009, C-021, C-024, C-026: the options that concern it do.
#[test]
fn its_options_concern_the_export_of_the_command_line() {
    let disk = Disk::new();
    fs::write(disk.dir.join("others"), "10.0.0.1\n").expect("written");
    let plain = disk.serve("127.0.0.1@PORT FILE -C /nonexistent");
    let export = disk.client().go("").expect("served");
    assert!(export.size == 8192 && !export.has(FLAG_READ_ONLY));
    assert_eq!(export.flags & 0x141, 0x141, "what 3.24 tells of a plain export");
    drop(plain);
    let locked = disk.serve("127.0.0.1@PORT FILE -r -C /nonexistent");
    let mut client = disk.client();
    assert!(client.go("").expect("served").has(FLAG_READ_ONLY));
    assert_eq!(client.write(0, &[1]), Err(1));
    drop(locked);
    let guarded = disk.serve("127.0.0.1@PORT FILE -l DIR/others -C /nonexistent");
    assert_eq!(disk.client().go("").map_err(|(kind, _)| kind), Err(REP_ERR_POLICY));
    drop(guarded);
    for option in ["-M 1", "--max-connection 1", "--max-connections=0x1", "--max 01"] {
        let _single = disk.serve(&format!("127.0.0.1@PORT FILE {option} -C /nonexistent"));
        let (mut first, mut second) = (disk.client(), disk.client());
        first.go("").expect("one may");
        assert_eq!(second.go("").map_err(|(kind, _)| kind), Err(REP_ERR_POLICY), "{option}");
    }
}

/// C-003, C-025, C-069: with nothing said, the files in `/etc/nbd-server` are those that count: no configuration there is
/// the end, and a list of addresses there guards the export of the command line.
#[test]
fn with_nothing_said_the_usual_files_count() {
    let etc = Path::new("/etc/nbd-server");
    let Some(unshare) = tool("unshare").filter(|_| is_root() && etc.is_dir()) else {
        return skip_or_fail("the_usual_files", "root, unshare, and a directory /etc/nbd-server to hide");
    };
    // In a mount namespace of its own the directory is another one.
    let hidden = |files: &str| {
        let mut command = Command::new(&unshare);
        let script = format!("mount -t tmpfs none /etc/nbd-server && {files} && exec \"$0\" \"$@\"");
        command.args(["-m", "sh", "-c", &script, env!("CARGO_BIN_EXE_nbd-server")]).stdin(Stdio::null());
        command
    };
    let output = hidden("true").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("/etc/nbd-server/config") && said.contains("No configured exports; quitting."),
        "{said}"
    );
    for (listed, expected) in [("10.0.0.1", Err(REP_ERR_POLICY)), ("127.0.0.1", Ok(8192))] {
        let disk = Disk::new();
        let command = hidden(&format!("echo {listed} > /etc/nbd-server/allow"));
        let _running = disk.start(command, "127.0.0.1@PORT FILE");
        wait_until("it serves", || Client::connect_tcp(disk.port).is_ok());
        let answer = disk.client().go("").map(|export| export.size).map_err(|(kind, _)| kind);
        assert_eq!(answer, expected, "{listed}");
    }
}

/// C-004, C-029, C-031: a relative pid file lies where the server was started; `-d` writes none.
#[test]
fn a_relative_pid_file_lies_where_the_server_was_started() {
    let place = Place::new("");
    let output = program().current_dir(place.dir.path()).args(["-C", "config", "-p", "pid"]).output();
    let output = output.expect("it runs");
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(place.pid().is_some(), "beside the configuration");
    let other = Place::new("");
    let mut command = program();
    command.current_dir(other.dir.path()).args(["-d", "-C", "config", "-p", "pid"]).stderr(Stdio::null());
    let _running = Running(command.spawn().expect("it runs"));
    wait_until("it serves", || Client::connect_tcp(other.port).is_ok());
    assert!(other.pid().is_none());
}
