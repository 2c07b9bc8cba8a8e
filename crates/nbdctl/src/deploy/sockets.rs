//! Sockets, as the tables of the kernel have them: who listens where, and who is connected to whom.

use super::nbd::Address;
use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// A connection that is established.
const ESTABLISHED: &str = "01";
/// The same in the table of Unix sockets.
const CONNECTED: &str = "03";
/// One that listens.
const LISTENS: &str = "0A";
/// The same in the table of Unix sockets: a flag (`SO_ACCEPTCON`).
const ACCEPTS: u32 = 1 << 16;

/// Those of a network namespace, by their number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// Of connections the peer.
    pub peers: HashMap<String, String>,
    /// Where it listens.
    pub listening: HashMap<String, Ear>,
}

/// Where somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ear {
    /// Host and port.
    Tcp(SocketAddr),
    /// A Unix socket; a path may be relative.
    Unix(PathBuf),
}

impl Ear {
    /// Whoever listens here has this address, and nobody else can.
    pub fn has(&self, address: &Address) -> bool {
        match (self, address) {
            (Self::Unix(path), Address::Unix(wanted)) => path == wanted,
            (Self::Tcp(at), Address::Tcp(host, port)) => {
                let Ok(host) = host.parse::<IpAddr>() else { return false };
                let all = at.ip().is_unspecified() && at.is_ipv4() == host.is_ipv4();
                at.port() == *port && (all || at.ip() == host)
            }
            _ => false,
        }
    }
}

impl Sockets {
    /// Of the namespace that a process is in; `self` is this one.
    pub fn of(process: &str) -> Self {
        let dir = Path::new("/proc").join(process).join("net");
        let table = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
        let mut sockets = Self::default();
        for line in [table("tcp"), table("tcp6")].iter().flat_map(|text| text.lines()) {
            sockets.tcp(line).unwrap_or_default();
        }
        for line in table("unix").lines() {
            sockets.unix(line).unwrap_or_default();
        }
        sockets
    }

    /// `sl local_address rem_address st … inode`
    fn tcp(&mut self, line: &str) -> Option<()> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let inode = (*fields.get(9)?).to_owned();
        if *fields.get(3)? == ESTABLISHED {
            self.peers.insert(inode, address(fields.get(2)?)?.to_string());
        } else if *fields.get(3)? == LISTENS {
            self.listening.insert(inode, Ear::Tcp(address(fields.get(1)?)?));
        }
        Some(())
    }

    /// `Num RefCount Protocol Flags Type St Inode Path`; one that was accepted has the path of the one that listens.
    fn unix(&mut self, line: &str) -> Option<()> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (inode, path) = ((*fields.get(6)?).to_owned(), *fields.get(7)?);
        if u32::from_str_radix(fields.get(3)?, 16).ok()? & ACCEPTS != 0 {
            self.listening.insert(inode, Ear::Unix(path.into()));
        } else if *fields.get(5)? == CONNECTED {
            self.peers.insert(inode, format!("somebody on {path}"));
        }
        Some(())
    }
}

/// The number of a socket, where a descriptor leads to one.
pub fn number(link: &Path) -> Option<&str> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn whoever_listens_at_all_addresses_of_a_family_has_each_of_them() {
        let tcp = |text: &str| Ear::Tcp(text.parse().expect("an address"));
        let at = |host: &str| Address::Tcp(host.into(), 7);
        assert!(tcp("0.0.0.0:7").has(&at("127.0.0.1")) && tcp("127.0.0.1:7").has(&at("127.0.0.1")));
        assert!(!tcp("0.0.0.0:8").has(&at("127.0.0.1")) && !tcp("127.0.0.2:7").has(&at("127.0.0.1")));
        assert!(!tcp("[::]:7").has(&at("127.0.0.1")), "it may be for IPv6 only");
        let unix = |path: &str| Address::Unix(path.into());
        assert!(Ear::Unix("/s".into()).has(&unix("/s")) && !Ear::Unix("/s".into()).has(&at("127.0.0.1")));
    }
}
