//! Who is connected to a server that has no control socket: from `/proc`, by its sockets and by what each of the children
//! that 3.24 has for its clients holds open.

use super::process::{self, Process};
use super::sockets::{Sockets, number};
use std::path::PathBuf;

/// A sentence for each connection.
pub fn of(server: &Process) -> Vec<String> {
    let sockets = Sockets::of(&server.pid.to_string());
    let children = children(server);
    std::iter::once(server)
        .chain(&children)
        .flat_map(|one| connections(one, &sockets, one.pid != server.pid))
        .collect()
}

/// The processes that a server has for its clients.
pub fn children(server: &Process) -> Vec<Process> {
    let is_child = |one: &Process| one.parent == server.pid && one.exe == server.exe;
    process::all().into_values().filter(is_child).collect()
}

/// The child that 3.24 has for this client; none where it cannot be told from others.
pub fn child_of(server: &Process, peer: &str) -> Option<Process> {
    let sockets = Sockets::of(&server.pid.to_string());
    let is_of = |link: &PathBuf| {
        number(link).and_then(|number| sockets.peers.get(number)).is_some_and(|one| one == peer)
    };
    let mut found = children(server).into_iter().filter(|one| one.descriptors().iter().any(is_of));
    let child = found.next()?;
    found.next().is_none().then_some(child)
}

/// It serves somebody for a server that has ended, killed or crashed at SIGHUP: nothing that is done to another server ends
/// it. One that listens is a server itself, however equal its words are.
pub fn is_orphan(one: &Process, parent: Option<&Process>) -> bool {
    if parent.is_some_and(|parent| parent.exe == one.exe) {
        return false;
    }
    let (sockets, links) = (Sockets::of(&one.pid.to_string()), one.descriptors());
    let numbers = || links.iter().filter_map(|link| number(link));
    let listens = numbers().any(|number| sockets.listening.contains_key(number));
    let serves = numbers().any(|number| sockets.peers.contains_key(number)) || !disks(&links).is_empty();
    serves && !listens
}

/// What such a process is, and what is to be done about it.
pub fn of_orphan(one: &Process) -> String {
    let whose = connections(one, &Sockets::of(&one.pid.to_string()), true).join("; ");
    let pid = one.pid;
    format!(
        "process {pid} is of a server that has ended, and no restart ends it: {whose}. It would write to the same disk as the server that is started; end it first: kill {pid}"
    )
}

/// The files that a process has open.
fn disks(links: &[PathBuf]) -> Vec<String> {
    let paths = links.iter().map(|link| link.to_string_lossy().into_owned());
    paths.filter(|link| link.starts_with('/') && link != "/dev/null").collect()
}

/// What a process has open of these connections. A child of 3.24 has one, and its disk.
fn connections(process: &Process, sockets: &Sockets, child: bool) -> Vec<String> {
    let links = process.descriptors();
    let disks = disks(&links);
    let peers = links.iter().filter_map(|link| sockets.peers.get(number(link)?));
    let mut who: Vec<&str> = peers.map(String::as_str).collect();
    if child && who.is_empty() {
        // The Unix socket of a client in another network namespace, a container's, is in no table here.
        who.push("somebody");
    }
    let pid = process.pid;
    who.into_iter()
        .map(|peer| match (child, &disks[..]) {
            (false, _) => format!("{peer} (in process {pid})"),
            (true, []) => format!("{peer} has no disk open yet (process {pid})"),
            (true, disks) => format!("{peer} has {} open (process {pid})", disks.join(", ")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_of_a_process_is_found_with_its_peer_and_one_that_listens_is_no_orphan() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let me = Process::at(std::process::id()).expect("we run");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (_accepted, peer) = listener.accept().expect("accepted");
        assert_eq!(client.local_addr().ok(), Some(peer));
        let found = of(&me);
        assert!(
            found.iter().any(|line| line.starts_with(&format!("{peer} (in process"))),
            "{peer}: {found:?}"
        );
        assert!(!is_orphan(&me, None), "it listens");
    }
}
