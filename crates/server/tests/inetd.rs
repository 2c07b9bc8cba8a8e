//! Port 0: one session on standard input (inetd).
#![allow(missing_docs)]

mod common;

use common::place::{Place, Running, program};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use testkit::Client;

/// A server whose standard input is this socket.
fn serve(place: &Place, flags: &[&str], socket: impl Into<OwnedFd>) -> Running {
    let mut command = program();
    command.args(["-C", &place.path("config"), "-p", &place.path("pid")]).args(flags);
    command.stdin(Stdio::from(socket.into())).stderr(Stdio::null());
    Running(command.spawn().expect("it runs"))
}

fn place() -> Place {
    let place = Place::new("");
    let config = fs::read_to_string(place.path("config")).expect("read");
    let with_zero = config.replace(&format!("port = {}", place.port), "port = 0");
    fs::write(place.path("config"), with_zero).expect("written");
    place
}

/// Inodes of the sockets that a process has.
fn sockets_of(running: &Running) -> Vec<String> {
    let fds = fs::read_dir(format!("/proc/{}/fd", running.0.id())).expect("it runs");
    let links = fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    let names = links.filter_map(|link| link.to_str().map(str::to_owned));
    names.filter_map(|name| Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect()
}

/// Inodes of TCP sockets of this machine that listen.
fn listening() -> Vec<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let rows = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[3] == "0A").map(|row| row[9].to_owned()).collect()
}

/// The client is on standard input, with `-d` or without, and nobody listens.
///
/// C-087, C-088, C-089
#[test]
fn with_port_zero_standard_input_is_the_client() {
    for flags in [&[][..], &["-d"], &["-n"]] {
        let place = place();
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let mut server = serve(&place, flags, theirs);
        let mut client = Client::from_unix(ours).expect("a client");
        client.greet().expect("a greeting");
        client.go("disk").expect("served");
        assert_eq!(client.read(0, 2), Ok(vec![5, 5]));
        let (its, everybodys) = (sockets_of(&server), listening());
        assert!(!its.is_empty() && its.iter().all(|socket| !everybodys.contains(socket)), "it listens");
        assert!(place.pid().is_none());
        client.disc().expect("left");
        assert!(server.wait().success(), "{flags:?}");
    }
}

/// C-087: a client that hangs up without a word is status 1; and the client may have come by TCP.
#[test]
fn a_client_that_hangs_up_is_told_by_the_status() {
    let place = place();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let ours = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let mut server = serve(&place, &["-d"], listener.accept().expect("accepted").0);
    drop(ours);
    assert_eq!(server.wait().code(), Some(1));
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let mut server = serve(&place, &["-d"], theirs);
    let mut client = Client::from_unix(ours).expect("a client");
    client.greet().expect("a greeting");
    client.go("disk").expect("served");
    drop(client);
    assert_eq!(server.wait().code(), Some(1));
}
