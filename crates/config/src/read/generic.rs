//! `[generic]`: what concerns the whole server.

use super::Found;
use super::reader::Reader;
use crate::document::Group;
use crate::keys::Place;
use crate::settings::{Generic, Tls};
use crate::tlsprio;
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
