//! The sockets to listen on.

mod activation;
mod control;
mod unix;

pub use activation::{Activated, PID as LISTEN_PID, VARIABLES as LISTEN_VARIABLES, announced};
pub use control::{ControlSockets, bind_control};

use crate::access::Peer;
use rustix::net::sockopt::{
    set_ipv6_v6only, set_socket_keepalive, set_socket_reuseaddr, set_tcp_keepcnt, set_tcp_keepidle,
    set_tcp_keepintvl, set_tcp_nodelay,
};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind as bind_to, getpeername, listen, socket_with,
};
use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;
use unix::UnixSocket;

/// Connections that the kernel holds until they are accepted; it cuts this to its own maximum.
const BACKLOG: i32 = 4096;

/// What the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Addresses or names.
    pub addresses: Vec<String>,
    /// Number or service name.
    pub port: String,
    /// Unix socket; TCP is then left out unless `duallisten`.
    pub unixsock: Option<PathBuf>,
    /// Mode of its file; what the umask leaves where nothing is said.
    pub unixsock_mode: Option<u32>,
    /// Owner of its file: `USER`, `USER:GROUP` or `:GROUP`.
    pub unixsock_owner: Option<String>,
    /// Both.
    pub duallisten: bool,
}

/// Listening sockets.
#[derive(Debug)]
pub struct Bound {
    /// One for each address.
    pub tcp: Vec<TcpListener>,
    /// At most one that we have made.
    pub unix: Vec<UnixSocket>,
    /// Addresses that were left out because others could be had.
    pub warnings: Vec<String>,
}

/// Why there is nothing to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindError(String);

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Opens all that is wanted.
///
/// # Errors
/// A port that somebody else has; no address at all; a Unix socket that another server listens on, or whose file cannot be
/// given the mode or the owner that it is to have.
pub fn bind(wanted: &Wanted) -> Result<Bound, BindError> {
    let asked = |path| unix::Asked {
        what: "unix socket",
        path,
        mode: wanted.unixsock_mode,
        owner: wanted.unixsock_owner.as_deref(),
        owner_key: "unixsock_owner",
    };
    let unix = wanted.unixsock.as_deref().map(|path| unix::bind(&asked(path))).transpose()?;
    let mut bound = Bound { tcp: Vec::new(), unix: unix.into_iter().collect(), warnings: Vec::new() };
    if bound.unix.is_empty() || wanted.duallisten {
        bind_tcp(wanted, &mut bound).inspect_err(|_| bound.remove())?;
    }
    Ok(bound)
}

impl Bound {
    /// Where it listens, as it is told.
    #[must_use]
    pub fn listening(&self) -> Vec<String> {
        let tcp = self.tcp.iter().filter_map(|listener| listener.local_addr().ok());
        let unix = self.unix.iter().map(|unix| format!("unix:{}", unix.file.path().display()));
        tcp.map(|address| address.to_string()).chain(unix).collect()
    }

    /// Removes the Unix socket's file.
    pub fn remove(&self) {
        self.unix.iter().for_each(|unix| unix.file.remove());
    }
}

fn bind_tcp(wanted: &Wanted, bound: &mut Bound) -> Result<(), BindError> {
    let port = port_number(&wanted.port)?;
    let failed = |address: &dyn fmt::Display, why: &io::Error| {
        BindError(format!("failed to open a modern socket: {address} port {port}: {}", system_words(why)))
    };
    let mut last = None;
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in &wanted.addresses {
        match (address.as_str(), port).to_socket_addrs() {
            // Two names of one address are one address.
            Ok(resolved) => resolved.for_each(|address| {
                if !all.contains(&address) {
                    all.push(address);
                }
            }),
            Err(error) => last = Some(failed(address, &error)),
        }
    }
    // `::` alone is for both families, as in the original; beside IPv4 addresses it leaves these to their own sockets.
    let v6only = all.iter().any(SocketAddr::is_ipv4);
    for address in all {
        match listen_on(address, v6only) {
            Ok(listener) => bound.tcp.push(listener),
            // None of ours is in the way of another, so nobody but somebody else can have the port.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(failed(&address.ip(), &error));
            }
            Err(error) => last = Some(failed(&address.ip(), &error)),
        }
    }
    match last {
        Some(error) if bound.tcp.is_empty() => Err(error),
        // A host without IPv6 is no reason for a word; anything else that was asked for is.
        Some(error) if wanted.addresses != ["::", "0.0.0.0"] => {
            bound.warnings.push(error.to_string());
            Ok(())
        }
        _ => Ok(()),
    }
}

fn listen_on(address: SocketAddr, v6only: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    set_socket_keepalive(&socket, true)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, v6only)?;
    }
    bind_to(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// A number, or a name from the system's list of services; `nbd` is known without one.
///
/// # Errors
/// It is neither.
pub fn port_number(port: &str) -> Result<u16, BindError> {
    let port = port.trim();
    if let Ok(number) = port.parse() {
        return Ok(number);
    }
    if port == "nbd" {
        return Ok(10809);
    }
    let services = fs::read_to_string("/etc/services").unwrap_or_default();
    let found = services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (name, number) = (words.next()?, words.next()?.strip_suffix("/tcp")?);
        (name == port || words.any(|alias| alias == port)).then(|| number.parse().ok())?
    });
    let unknown = || {
        let what = format!(
            "failed to open a modern socket: failed to get address info: no port or service \"{port}\""
        );
        BindError(format!("{what}; a port is at most 65535"))
    };
    found.ok_or_else(unknown)
}

/// For an accepted connection: replies leave at once, and an idle peer that has died is noticed within a minute.
///
/// There is no TCP_USER_TIMEOUT: it also ends a client that is alive and takes no replies for so long, a paused machine
/// or one that waits for its own disk, and a migration must not be cut for that (P3).
pub fn tune(stream: &TcpStream) {
    let _ = set_tcp_nodelay(stream, true);
    let _ = set_socket_keepalive(stream, true);
    let _ = set_tcp_keepidle(stream, Duration::from_secs(30));
    let _ = set_tcp_keepintvl(stream, Duration::from_secs(10));
    let _ = set_tcp_keepcnt(stream, 3);
}

/// Who is at the other end of a socket that was handed to us.
#[must_use]
pub fn peer_of(socket: &OwnedFd) -> Option<Peer> {
    let address = getpeername(socket.as_fd()).ok()?;
    let address = SocketAddr::try_from(address?).ok()?;
    Some(Peer::Ip(address.ip()))
}

/// The system's words alone, without the number that Rust puts behind them.
fn system_words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str, port: u16) -> Wanted {
        Wanted {
            addresses: vec![address.into()],
            port: port.to_string(),
            unixsock: None,
            unixsock_mode: None,
            unixsock_owner: None,
            duallisten: false,
        }
    }

    /// C-033: a port that somebody has is an error, on IPv4 alone too.
    #[test]
    fn a_port_that_is_taken_is_an_error_with_the_systems_words() {
        let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = holder.local_addr().expect("bound").port();
        let error = bind(&tcp("127.0.0.1", port)).expect_err("taken").to_string();
        assert!(error.starts_with("failed to open a modern socket:"), "{error}");
        assert!(error.contains("Address already in use"), "{error}");
    }

    /// C-035, C-036
    #[test]
    fn services_have_names() {
        assert_eq!(port_number("nbd"), Ok(10809));
        assert_eq!(port_number("20001"), Ok(20001));
        for wrong in ["99999", "no-such-service", "-1", ""] {
            assert!(port_number(wrong).is_err(), "{wrong}");
        }
    }

    /// C-079
    #[test]
    fn one_good_address_is_enough_and_the_other_is_named() {
        let mut wanted = tcp("127.0.0.1", 0);
        wanted.addresses.insert(0, "no-such-host.invalid".into());
        let bound = bind(&wanted).expect("one is good");
        assert_eq!(bound.tcp.len(), 1);
        assert!(bound.warnings[0].contains("no-such-host.invalid"), "{:?}", bound.warnings);
    }

    /// C-083: nothing is left of a socket whose server cannot have its port.
    #[test]
    fn with_both_wanted_a_port_that_is_taken_is_an_error_too() {
        let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let path = std::env::temp_dir().join(format!("nbd-bind-both-{}", std::process::id()));
        let port = holder.local_addr().expect("bound").port();
        let wanted = Wanted { unixsock: Some(path.clone()), duallisten: true, ..tcp("127.0.0.1", port) };
        assert!(bind(&wanted).expect_err("taken").to_string().contains("Address already in use"));
        assert!(!path.exists());
        drop(holder);
        let bound = bind(&wanted).expect("both are free");
        assert_eq!((bound.tcp.len(), bound.unix.len()), (1, 1));
        bound.remove();
    }

    /// C-084
    #[test]
    fn accepted_connections_are_kept_alive_and_do_not_wait_for_more() {
        let bound = bind(&tcp("127.0.0.1", 0)).expect("bound");
        let address = bound.tcp[0].local_addr().expect("bound");
        let _client = TcpStream::connect(address).expect("it listens");
        let (stream, _) = bound.tcp[0].accept().expect("accepted");
        tune(&stream);
        use rustix::net::sockopt::{socket_keepalive, tcp_keepidle, tcp_nodelay};
        assert_eq!((socket_keepalive(&stream), tcp_nodelay(&stream)), (Ok(true), Ok(true)));
        assert_eq!(tcp_keepidle(&stream), Ok(Duration::from_secs(30)));
    }

    /// Two words for one address are no port that is taken; and `::` is for IPv4 too, where nobody names an IPv4 address.
    #[test]
    fn each_address_is_listened_on_once() {
        let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = holder.local_addr().expect("bound").port();
        drop(holder);
        let mut wanted = tcp("127.0.0.1", port);
        wanted.addresses.push("127.0.0.1".into());
        assert_eq!(bind(&wanted).expect("bound").tcp.len(), 1);
        if let Ok(bound) = bind(&tcp("::", port)) {
            assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
            drop(bound);
        }
    }
}
