//! Who a client is: its word in paths, and whether the `authfile` of an export lists it. That fails closed.

use config::Virtstyle;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Nobody's list is longer.
const LEN_MAX: u64 = 1 << 20;

/// A client's address, without its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// TCP.
    Ip(IpAddr),
    /// A Unix socket.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // An IPv4 client on an IPv6 socket is shown as what it is.
            Self::Ip(ip) => ip.to_canonical().fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl Peer {
    /// What stands for this client in a path: its address as text, without its port. On a Unix socket that is the word
    /// `unix`, whatever the style.
    #[must_use]
    pub fn named(&self, style: Option<Virtstyle>) -> String {
        let (Self::Ip(ip), Some(style)) = (self, style) else { return self.to_string() };
        match style {
            Virtstyle::Ipliteral => self.to_string(),
            Virtstyle::Iphash => self.to_string().replace('.', "/"),
            Virtstyle::Cidrhash(length) => format!("{}/{self}", network_of(ip.to_canonical(), length.into())),
        }
    }
}

/// The first `length` bits of an address; all that it has, where those are fewer.
fn network_of(ip: IpAddr, length: u32) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let rest = u32::MAX.checked_shr(length).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & !rest).into()
        }
        IpAddr::V6(ip) => {
            let rest = u128::MAX.checked_shr(length).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & !rest).into()
        }
    }
}

/// Why a client may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// The list names it.
    Listed,
    /// There is no list: everybody may.
    NoList,
}

/// Why a client may not connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied(String);

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether this client may connect. The file is read at each call, so an edit needs no reload (C-171).
///
/// A missing file allows everybody, as in the original. Entries are numeric addresses, with `/length` for networks, one
/// a line; the word `unix` stands for clients on the Unix socket. Lines that are neither allow nobody.
///
/// # Errors
/// The client is not in the list, or the list cannot be read for another reason than that it is not there.
pub fn allowed(authfile: &Path, peer: &Peer) -> Result<Allowed, Denied> {
    let Some(text) = read(authfile)? else { return Ok(Allowed::NoList) };
    if String::from_utf8_lossy(&text).lines().any(|line| admits(line, peer)) {
        return Ok(Allowed::Listed);
    }
    Err(Denied(format!("{} does not list it", authfile.display())))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Denied> {
    let denied =
        |why: &dyn fmt::Display| Denied(format!("Can't open authorization file {} ({why}).", path.display()));
    // Not blocking: a FIFO must not hang the client.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(denied(&error)),
    };
    let metadata = file.metadata().map_err(|error| denied(&error))?;
    if !metadata.is_file() || metadata.len() > LEN_MAX {
        return Err(denied(&"not a regular file of at most 1 MiB"));
    }
    let mut text = Vec::new();
    file.take(LEN_MAX).read_to_end(&mut text).map_err(|error| denied(&error))?;
    Ok(Some(text))
}

/// Whether one line of the list admits this client. Only its first word counts; `#` begins a comment anywhere.
fn admits(line: &str, peer: &Peer) -> bool {
    let line = line.split('#').next().unwrap_or_default();
    let Some(word) = line.split_whitespace().next() else { return false };
    let Peer::Ip(ip) = peer else { return word == "unix" };
    match word.split_once('/') {
        None => word.parse::<IpAddr>().is_ok_and(|listed| listed.to_canonical() == ip.to_canonical()),
        Some((address, length)) => match (address.parse::<IpAddr>(), length.parse::<u32>()) {
            (Ok(network), Ok(length)) => contains(network, length, ip.to_canonical()),
            _ => false,
        },
    }
}

/// An IPv4 client is matched by IPv4 networks, and by IPv6 ones inside the range of mapped addresses only, so `::/0`
/// does not let it in.
fn contains(network: IpAddr, length: u32, ip: IpAddr) -> bool {
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            length <= 32 && shift32(network.to_bits() ^ ip.to_bits(), length) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => length <= 128 && differ128(network, ip, length) == 0,
        (IpAddr::V6(network), IpAddr::V4(ip)) => {
            (96..=128).contains(&length) && differ128(network, ip.to_ipv6_mapped(), length) == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    }
}

fn shift32(bits: u32, length: u32) -> u32 {
    bits.checked_shr(32 - length).unwrap_or(0)
}

fn differ128(one: Ipv6Addr, other: Ipv6Addr, length: u32) -> u128 {
    (one.to_bits() ^ other.to_bits()).checked_shr(128 - length).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::Ip(text.parse().expect("an address"))
    }

    /// C-164, C-165, C-166, C-167, C-168: prefixes are of bits, never of text; lines that make no sense admit nobody.
    #[test]
    fn a_line_admits_whom_it_names() {
        let admitted = [
            ("127.0.0.1", "127.0.0.1"),
            ("  127.0.0.1 other words", "127.0.0.1"),
            ("127.0.0.1# comment", "127.0.0.1"),
            ("127.0.0.1\r", "127.0.0.1"),
            ("127.0.0.1", "::ffff:127.0.0.1"),
            ("10.0.0.0/8", "10.255.3.4"),
            ("10.0.0.0/8", "::ffff:10.255.3.4"),
            ("10.1.2.3/32", "10.1.2.3"),
            ("0.0.0.0/0", "192.0.2.1"),
            ("fd00:77::/32", "fd00:77::1"),
            ("::/0", "fd00::1"),
            ("::1", "::1"),
            ("::ffff:10.0.0.0/104", "10.9.9.9"),
        ];
        for (line, client) in admitted {
            assert!(admits(line, &peer(client)), "{line} {client}");
        }
        let refused = [
            ("127.0.0.1", "127.0.0.10"),
            ("127.0.0.10", "127.0.0.1"),
            ("192.168.1.1/32", "127.0.0.1"),
            ("192.168.1.1/32", "::ffff:127.0.0.1"),
            ("10.0.0.0/8", "11.0.0.1"),
            ("10.0.0.0/33", "10.0.0.0"),
            ("10.0.0.0/-1", "10.0.0.1"),
            ("10.0.0.0/abc", "10.0.0.1"),
            ("10.0.0.0/", "10.0.0.1"),
            ("/0", "10.0.0.1"),
            ("::/0", "10.0.0.1"),
            ("localhost", "127.0.0.1"),
            ("# 127.0.0.1", "127.0.0.1"),
            ("", "127.0.0.1"),
            ("fd00::/129", "fd00::"),
        ];
        for (line, client) in refused {
            assert!(!admits(line, &peer(client)), "{line} {client}");
        }
    }

    /// Every prefix length against a bit-by-bit matcher that was written without shifts.
    #[test]
    fn prefixes_agree_with_a_matcher_that_looks_at_single_bits() {
        let mut seed = 0x1234_5678_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 32) as u32
        };
        for _ in 0..2000 {
            let (network, flip) = (next(), next() % 33);
            let ip = if flip == 32 { network } else { network ^ (1 << (31 - flip)) };
            for length in 0..=32 {
                let bits = |value: u32| format!("{value:032b}");
                let same = bits(network)[..length] == bits(ip)[..length];
                let line = format!("{}/{length}", std::net::Ipv4Addr::from_bits(network));
                let client = Peer::Ip(IpAddr::V4(std::net::Ipv4Addr::from_bits(ip)));
                assert_eq!(admits(&line, &client), same, "{line} {client}");
            }
        }
    }

    /// C-159, C-162, C-163: the client's word in paths.
    #[test]
    fn a_client_has_a_word_in_paths() {
        use Virtstyle::{Cidrhash, Iphash, Ipliteral};
        let cases = [
            ("127.0.0.1", Ipliteral, "127.0.0.1"),
            ("::ffff:127.0.0.1", Ipliteral, "127.0.0.1"),
            ("fd00:77:0:0:0:0:0:1", Ipliteral, "fd00:77::1"),
            ("::1", Ipliteral, "::1"),
            ("127.0.0.1", Iphash, "127/0/0/1"),
            ("::ffff:10.0.0.7", Iphash, "10/0/0/7"),
            ("fd00:77::1", Iphash, "fd00:77::1"),
            ("10.77.0.1", Cidrhash(0), "0.0.0.0/10.77.0.1"),
            ("10.77.0.1", Cidrhash(8), "10.0.0.0/10.77.0.1"),
            ("10.77.0.1", Cidrhash(16), "10.77.0.0/10.77.0.1"),
            ("192.168.1.100", Cidrhash(16), "192.168.0.0/192.168.1.100"),
            ("10.77.0.200", Cidrhash(26), "10.77.0.192/10.77.0.200"),
            ("10.77.0.1", Cidrhash(32), "10.77.0.1/10.77.0.1"),
            ("10.77.0.1", Cidrhash(255), "10.77.0.1/10.77.0.1"),
            ("::ffff:10.77.0.1", Cidrhash(16), "10.77.0.0/10.77.0.1"),
            ("fd00:77:1::1", Cidrhash(32), "fd00:77::/fd00:77:1::1"),
            ("fd00:77:1::1", Cidrhash(0), "::/fd00:77:1::1"),
            ("fd00:77:1::1", Cidrhash(128), "fd00:77:1::1/fd00:77:1::1"),
            ("fd00:77:1::1", Cidrhash(200), "fd00:77:1::1/fd00:77:1::1"),
        ];
        for (address, style, word) in cases {
            assert_eq!(peer(address).named(Some(style)), word, "{address} {style:?}");
            assert_eq!(Peer::Unix.named(Some(style)), "unix");
        }
        assert_eq!(
            (peer("10.0.0.1").named(None), Peer::Unix.named(None)),
            ("10.0.0.1".into(), "unix".into())
        );
    }

    /// C-163: every length, against text of single bits: those in front stay, those behind are zero.
    #[test]
    fn networks_agree_with_a_mask_that_looks_at_single_bits() {
        let mut seed = 0x9876_5432_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed
        };
        let cut = |bits: String, length: usize| {
            let kept = length.min(bits.len());
            format!("{}{}", &bits[..kept], "0".repeat(bits.len() - kept))
        };
        for _ in 0..200 {
            let (small, large) = ((next() >> 32) as u32, u128::from(next()) << 64 | u128::from(next()));
            for length in 0..=255_u8 {
                let small_word =
                    peer(&Ipv4Addr::from_bits(small).to_string()).named(Some(Virtstyle::Cidrhash(length)));
                let network: Ipv4Addr =
                    small_word.split('/').next().expect("a network").parse().expect("IPv4");
                assert_eq!(
                    format!("{:032b}", network.to_bits()),
                    cut(format!("{small:032b}"), length.into())
                );
                let network = network_of(Ipv6Addr::from_bits(large).into(), length.into());
                let IpAddr::V6(network) = network else { panic!("{network} is no IPv6") };
                assert_eq!(
                    format!("{:0128b}", network.to_bits()),
                    cut(format!("{large:0128b}"), length.into())
                );
            }
        }
    }

    /// C-170
    #[test]
    fn the_unix_socket_has_its_own_word() {
        assert!(admits("unix", &Peer::Unix));
        assert!(!admits("0.0.0.0/0", &Peer::Unix));
        assert!(!admits("unix", &peer("127.0.0.1")));
    }

    /// C-164, C-169, C-171: only a file that is not there allows everybody.
    #[test]
    fn a_list_that_cannot_be_read_admits_nobody() {
        let folder = std::env::temp_dir().join(format!("nbd-authfile-test-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let client = peer("127.0.0.1");
        assert_eq!(allowed(&folder.join("missing"), &client), Ok(Allowed::NoList));
        assert!(allowed(&folder, &client).is_err(), "a directory");
        assert!(allowed(Path::new("/dev/zero"), &client).is_err(), "no regular file");
        let list = folder.join("list");
        std::fs::write(&list, "").expect("written");
        assert!(allowed(&list, &client).is_err(), "an empty list");
        std::fs::write(&list, "\n 127.0.0.0/24").expect("written");
        assert_eq!(allowed(&list, &client), Ok(Allowed::Listed), "read anew at each call");
        std::fs::remove_dir_all(&folder).expect("cleaned up");
    }
}
