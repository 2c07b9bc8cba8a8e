//! Who is connected to a server that has no control socket: from `/proc`, by its sockets and by what each of the children
//! that 3.24 has for its clients holds open.

use super::process::{self, Process};
use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// A connection that is established, in the tables of the kernel.
const ESTABLISHED: &str = "01";
/// The same in the table of Unix sockets.
const CONNECTED: &str = "03";

/// A sentence for each connection.
pub fn of(server: &Process) -> Vec<String> {
    let peers = peers(server.pid);
    let all = process::all();
    // Where an earlier 3.24 was killed, or crashed at SIGHUP, its children serve on: they have the same words.
    let is_child = |one: &&Process| {
        one.exe == server.exe
            && one.pid != server.pid
            && (one.parent == server.pid || one.words == server.words)
    };
    let children = all.values().filter(is_child);
    std::iter::once(server)
        .chain(children)
        .flat_map(|one| connections(one, &peers, one.pid != server.pid))
        .collect()
}

/// The child that 3.24 has for this client; none where it cannot be told from others.
pub fn child_of(server: &Process, peer: &str) -> Option<Process> {
    let peers = peers(server.pid);
    let all = process::all();
    let is_for = |one: &&Process| {
        one.parent == server.pid && one.descriptors().iter().any(|link| is_socket_of(link, &peers, peer))
    };
    let mut found = all.values().filter(is_for);
    let child = found.next()?;
    found.next().is_none().then(|| child.clone())
}

fn is_socket_of(link: &Path, peers: &HashMap<String, String>, peer: &str) -> bool {
    let link = link.to_string_lossy();
    let inode = link.strip_prefix("socket:[").and_then(|link| link.strip_suffix(']'));
    inode.and_then(|inode| peers.get(inode)).is_some_and(|other| other == peer)
}

/// The peers of connections, by the number of the socket.
fn peers(pid: u32) -> HashMap<String, String> {
    let table = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
    let mut peers = HashMap::new();
    for text in [table("tcp"), table("tcp6")] {
        peers.extend(text.lines().filter_map(tcp_peer));
    }
    peers.extend(table("unix").lines().filter_map(unix_peer));
    peers
}

/// `sl local_address rem_address st … inode`
fn tcp_peer(line: &str) -> Option<(String, String)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(3)? != ESTABLISHED {
        return None;
    }
    Some(((*fields.get(9)?).to_owned(), address(fields.get(2)?)?.to_string()))
}

/// `Num RefCount Protocol Flags Type St Inode Path`; one that was accepted has the path of the one that listens.
fn unix_peer(line: &str) -> Option<(String, String)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if *fields.get(5)? != CONNECTED {
        return None;
    }
    Some(((*fields.get(6)?).to_owned(), format!("somebody on {}", fields.get(7)?)))
}

/// `0100007F:4E20`: words of the machine's byte order in hexadecimal digits, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Vec<[u8; 4]> = host
        .as_bytes()
        .chunks(8)
        .map(|word| Some(u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes()))
        .collect::<Option<_>>()?;
    let ip = match words[..] {
        [word] => IpAddr::V4(Ipv4Addr::from(word)),
        [_, _, _, _] => {
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// What a process has open of these connections. A child of 3.24 has one, and its disk.
fn connections(process: &Process, peers: &HashMap<String, String>, child: bool) -> Vec<String> {
    let links: Vec<String> =
        process.descriptors().into_iter().map(|link| link.to_string_lossy().into_owned()).collect();
    let socket = |link: &String| link.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned);
    let disks: Vec<&str> = links
        .iter()
        .map(String::as_str)
        .filter(|link| link.starts_with('/') && *link != "/dev/null")
        .collect();
    let mut who: Vec<&str> =
        links.iter().filter_map(socket).filter_map(|inode| peers.get(&inode)).map(String::as_str).collect();
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
    fn addresses_of_the_kernels_tables_are_read() {
        let shown = |text: &str| address(text).map(|address| address.to_string());
        if cfg!(target_endian = "little") {
            assert_eq!(shown("0100007F:4E20").as_deref(), Some("127.0.0.1:20000"));
            let mapped = "0000000000000000FFFF00000100007F:0001";
            assert_eq!(shown(mapped).as_deref(), Some("127.0.0.1:1"));
            assert_eq!(shown("00000000000000000000000001000000:0002").as_deref(), Some("[::1]:2"));
        }
        assert_eq!((shown("zz:1"), shown("01:1:1"), shown("")), (None, None, None));
    }

    #[test]
    fn a_connection_of_a_process_is_found_with_its_peer() {
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
    }
}
