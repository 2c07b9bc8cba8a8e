//! What concerns the whole server.

use super::path;
use crate::tlsprio::TlsPriority;
use std::fmt;
use std::net::SocketAddr;
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
    /// How the server is asked and watched.
    pub control: Control,
    /// Encryption.
    pub tls: Tls,
}

/// How the server is asked and watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its control socket.
    pub socket: ControlSocket,
    /// Mode of its file.
    pub mode: u32,
    /// Owner of its file: `USER`, `USER:GROUP` or `:GROUP`.
    pub owner: Option<String>,
    /// Where metrics are had without the socket.
    pub metrics: Option<SocketAddr>,
}

/// Where the control socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlSocket {
    /// Nothing was said: at [`Control::DEFAULT`], where that can be had.
    Default,
    /// Nowhere.
    Nowhere,
    /// There, or the server does not start.
    At(PathBuf),
}

impl Control {
    /// Where it is if nothing is said.
    pub const DEFAULT: &str = "/run/nbd-server/control.sock";
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: ControlSocket::Default, mode: 0o660, owner: None, metrics: None }
    }
}

impl fmt::Display for ControlSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str(Control::DEFAULT),
            Self::Nowhere => Ok(()),
            Self::At(path) => path.display().fmt(f),
        }
    }
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
            control: Control::default(),
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
            control: Control { socket, mode, owner, metrics },
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
            ("controlsock", socket.to_string()),
            ("controlsock_mode", format!("{mode:04o}")),
            ("controlsock_owner", text(owner)),
            ("metrics_listen", metrics.map(|address| address.to_string()).unwrap_or_default()),
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
