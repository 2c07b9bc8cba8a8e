//! What concerns the whole server.

use super::path;
use crate::tlsprio::TlsPriority;
use std::path::PathBuf;

/// `[generic]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generic {
    /// User to become.
    pub user: Option<String>,
    /// Group to become.
    pub group: Option<String>,
    /// Addresses or names to listen on.
    pub listenaddr: Vec<String>,
    /// The key stands in the file, so it wins over the command line.
    pub listenaddr_given: bool,
    /// Number or service name.
    pub port: String,
    /// The key stands in the file, so it wins over the command line.
    pub port_given: bool,
    /// Unix socket to listen on.
    pub unixsock: Option<PathBuf>,
    /// Unix socket and TCP.
    pub duallisten: bool,
    /// LIST is answered.
    pub allowlist: bool,
    /// Directory of snippets.
    pub includedir: Option<PathBuf>,
    /// Operations of one export at a time; -1 for no limit of its own.
    pub max_threads: i32,
    /// All or nothing.
    pub strict: bool,
    /// Mode of the Unix socket's file; what the umask leaves where nothing is said.
    pub unixsock_mode: Option<u32>,
    /// Owner of the Unix socket's file: `USER`, `USER:GROUP` or `:GROUP`.
    pub unixsock_owner: Option<String>,
    /// Encryption.
    pub tls: Tls,
}

/// Encryption, for all exports alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Clients without TLS are refused, whatever they ask for.
    pub force: bool,
    /// The server's certificate and those that lead to its authority, PEM. Without it they are in `keyfile`.
    pub certfile: Option<PathBuf>,
    /// The server's private key, PEM.
    pub keyfile: Option<PathBuf>,
    /// Authorities of clients, PEM. With it clients must have a certificate.
    pub cacertfile: Option<PathBuf>,
    /// Pre-shared keys, `NAME:HEX` a line.
    pub pskfile: Option<PathBuf>,
    /// GnuTLS priority string.
    pub tlsprio: Option<TlsPriority>,
}

impl Tls {
    /// STARTTLS can succeed: there is a key of one kind or the other.
    #[must_use]
    pub fn is_set_up(&self) -> bool {
        self.keyfile.is_some() || self.pskfile.is_some()
    }
}

impl Default for Generic {
    fn default() -> Self {
        Self {
            user: None,
            group: None,
            listenaddr: vec!["::".into(), "0.0.0.0".into()],
            listenaddr_given: false,
            port: "10809".into(),
            port_given: false,
            unixsock: None,
            duallisten: false,
            allowlist: false,
            includedir: None,
            max_threads: 4,
            strict: false,
            unixsock_mode: None,
            unixsock_owner: None,
            tls: Tls::default(),
        }
    }
}

impl Generic {
    /// Key and value of every setting, as they are shown. A new field does not compile before it is named here.
    pub(crate) fn shown(&self) -> Vec<(&'static str, String)> {
        let Self {
            user,
            group,
            listenaddr,
            listenaddr_given: _,
            port,
            port_given: _,
            unixsock,
            duallisten,
            allowlist,
            includedir,
            max_threads,
            strict,
            unixsock_mode,
            unixsock_owner,
            tls: Tls { force, certfile, keyfile, cacertfile, pskfile, tlsprio },
        } = self;
        vec![
            ("user", text(user)),
            ("group", text(group)),
            ("listenaddr", listenaddr.join(",")),
            ("port", port.clone()),
            ("unixsock", path(unixsock)),
            ("duallisten", duallisten.to_string()),
            ("allowlist", allowlist.to_string()),
            ("includedir", path(includedir)),
            ("max_threads", max_threads.to_string()),
            ("strict", strict.to_string()),
            ("unixsock_mode", unixsock_mode.map(|mode| format!("{mode:04o}")).unwrap_or_default()),
            ("unixsock_owner", text(unixsock_owner)),
            ("force_tls", force.to_string()),
            ("certfile", path(certfile)),
            ("keyfile", path(keyfile)),
            ("cacertfile", path(cacertfile)),
            ("pskfile", path(pskfile)),
            ("tlsprio", tlsprio.as_ref().map(priority).unwrap_or_default()),
        ]
    }
}

/// What it comes to: two ways to say the same are no change.
fn priority(priority: &TlsPriority) -> String {
    let TlsPriority { versions, ciphers, macs, exchanges, groups, server_precedence, .. } = priority;
    format!("{versions:?}:{ciphers:?}:{macs:?}:{exchanges:?}:{groups:?}:{server_precedence}").replace(' ', "")
}

fn text(text: &Option<String>) -> String {
    text.clone().unwrap_or_default()
}
