//! `[generic]`: what concerns the whole server.

use super::Found;
use super::reader::Reader;
use crate::document::Group;
use crate::keys::Place;
use crate::settings::{Control, ControlSocket, Generic, Tls};
use crate::tlsprio;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// `[generic]`.
pub(crate) fn generic(file: &Path, group: &Group) -> Found<Generic> {
    let mut reader = Reader::new(file, group, Place::Generic);
    let default = Generic::default();
    let settings = Generic {
        user: reader.text("user"),
        group: reader.text("group"),
        listenaddr: reader.list("listenaddr").filter(|list| !list.is_empty()).unwrap_or(default.listenaddr),
        listenaddr_given: reader.says("listenaddr"),
        port: reader.text("port").unwrap_or(default.port),
        port_given: reader.says("port"),
        unixsock: reader.text("unixsock").map(PathBuf::from),
        duallisten: reader.flag("duallisten"),
        allowlist: reader.flag("allowlist"),
        includedir: reader.text("includedir").map(PathBuf::from),
        max_threads: reader.number("max_threads").unwrap_or(default.max_threads),
        strict: reader.flag("strict"),
        unixsock_mode: reader.understood("unixsock_mode", mode),
        unixsock_owner: reader.understood("unixsock_owner", owner),
        control: control(&mut reader),
        tls: tls(&mut reader),
    };
    if settings.max_threads == 0 || settings.max_threads < -1 {
        reader.error(
            "max_threads",
            "max_threads must be at least 1, or -1 for no limit",
            "leave it out for 4",
        );
    }
    if settings.unixsock.is_none() {
        for key in ["unixsock_mode", "unixsock_owner"].into_iter().filter(|key| group.entry(key).is_some()) {
            reader.warn(key, &format!("{key} has no effect without unixsock"));
        }
    }
    if reader.flag("oldstyle") {
        let what = "Since 3.10, the oldstyle protocol is no longer supported. Please migrate to the newstyle protocol.";
        reader.error("oldstyle", what, "remove the key");
    }
    reader.found(settings)
}

fn control(reader: &mut Reader<'_>) -> Control {
    let default = Control::default();
    let socket = match reader.text("controlsock") {
        None => ControlSocket::Default,
        Some(path) if path.is_empty() => ControlSocket::Nowhere,
        Some(path) => ControlSocket::At(path.into()),
    };
    let control = Control {
        socket,
        mode: reader.understood("controlsock_mode", mode).unwrap_or(default.mode),
        owner: reader.understood("controlsock_owner", owner),
        metrics: reader.understood("metrics_listen", address).flatten(),
    };
    if control.socket == ControlSocket::Nowhere {
        for key in ["controlsock_mode", "controlsock_owner"] {
            if reader.says(key) {
                reader.warn(key, &format!("{key} has no effect with an empty controlsock"));
            }
        }
    }
    control
}

/// An address and a port, or a port of this machine alone. Port 0 is one that nobody knows.
fn address(text: &str) -> Result<Option<SocketAddr>, String> {
    let loopback = |port: &str| port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    if text.is_empty() {
        return Ok(None);
    }
    let address = text.parse().ok().or_else(|| loopback(text.strip_prefix(':').unwrap_or(text)));
    match address.filter(|address| address.port() != 0) {
        Some(address) => Ok(Some(address)),
        None => Err("write ADDRESS:PORT, as 127.0.0.1:9809 or [::1]:9809, or a port alone".into()),
    }
}

fn tls(reader: &mut Reader<'_>) -> Tls {
    let tls = Tls {
        force: reader.flag("force_tls"),
        certfile: reader.path("certfile"),
        keyfile: reader.path("keyfile"),
        cacertfile: reader.path("cacertfile"),
        pskfile: reader.path("pskfile"),
        tlsprio: reader.understood("tlsprio", tlsprio::parse),
    };
    let keys = tls.is_set_up();
    if tls.force && !keys {
        reader.warn("force_tls", "TLS is not set up, so nobody can come in: give keyfile or pskfile");
    }
    for key in ["certfile", "cacertfile", "tlsprio"] {
        if keys || !reader.says(key) {
            continue;
        }
        reader.warn(key, &format!("TLS stays off: {key} has no effect without keyfile or pskfile"));
    }
    // As good as none would be: clients come in without a certificate.
    if reader.says("cacertfile") && tls.cacertfile.is_none() && keys {
        reader.invalid("cacertfile", "(empty)", "leave it out to admit clients without a certificate");
    }
    tls
}

/// As `chmod` takes it.
fn mode(text: &str) -> Result<u32, String> {
    let octal = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    mode.filter(|&mode| mode <= 0o777).ok_or_else(|| "write three digits from 0 to 7, as 0660".into())
}

/// As `chown` takes it.
fn owner(text: &str) -> Result<String, String> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let right = match group {
        None => !user.is_empty(),
        Some(group) => !group.is_empty() && !group.contains(':'),
    };
    right.then(|| text.to_owned()).ok_or_else(|| "write USER, USER:GROUP or :GROUP".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_for_this_machine_unless_an_address_says_otherwise() {
        let shown = |text| address(text).map(|address| address.map(|address| address.to_string()));
        for (text, wanted) in [
            ("9809", "127.0.0.1:9809"),
            (":9809", "127.0.0.1:9809"),
            ("127.0.0.1:9809", "127.0.0.1:9809"),
            ("[::1]:9809", "[::1]:9809"),
            ("0.0.0.0:9809", "0.0.0.0:9809"),
        ] {
            assert_eq!(shown(text), Ok(Some(wanted.into())), "{text}");
        }
        assert_eq!(shown(""), Ok(None));
        for text in ["localhost:9809", "99999", "::1:9809x", "127.0.0.1", "1.2.3.4:"] {
            assert!(shown(text).is_err(), "{text}");
        }
    }

    #[test]
    fn modes_and_owners_are_those_of_chmod_and_chown() {
        for (text, wanted) in [("0660", 0o660), ("777", 0o777), ("0", 0), ("0000600", 0o600)] {
            assert_eq!(mode(text), Ok(wanted), "{text}");
        }
        for text in ["", "0o660", "+660", "668", "1777", "-1", "rw", "77777777777777777777"] {
            assert!(mode(text).is_err(), "{text}");
        }
        for text in ["nbd", "nbd:disk", ":disk", "0:0"] {
            assert_eq!(owner(text), Ok(text.to_owned()), "{text}");
        }
        for text in ["", ":", "nbd:", "a:b:c"] {
            assert!(owner(text).is_err(), "{text}");
        }
    }
}
