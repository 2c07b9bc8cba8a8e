//! The control socket, and the address for metrics.

use super::BindError;
use super::activation::Activated;
use super::unix::{self, Asked, SocketFile, UnixSocket};
use config::{Control, ControlSocket};
use nix::unistd::{Uid, geteuid};
use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Where the server is asked and watched.
#[derive(Debug, Default)]
pub struct ControlSockets {
    /// The sockets themselves, for whoever serves them.
    pub sockets: control::Sockets,
    file: Option<SocketFile>,
    /// What was left out, and why.
    pub notes: Vec<String>,
    /// What is open to others than this machine.
    pub warnings: Vec<String>,
}

/// Opens both. What was asked for must be had; what is there by default is left out where it cannot. What was passed to us
/// takes the place of what the keys say.
///
/// `user` is who the server becomes, and has to be able to remove the socket at the end.
///
/// # Errors
/// As for any socket.
pub fn bind_control(
    wanted: &Control,
    user: Option<Uid>,
    passed: &mut Activated,
) -> Result<ControlSockets, BindError> {
    let mut bound = ControlSockets::default();
    let socket = match passed.control.take() {
        Some(socket) => Some(socket),
        None => control_socket(wanted, user, &mut bound.notes)?,
    };
    if let Some(UnixSocket { listener, file }) = socket {
        (bound.sockets.control, bound.file) = (Some(listener), Some(file));
    }
    bound.sockets.metrics = std::mem::take(&mut passed.metrics);
    if let Some(address) = wanted.metrics.filter(|_| bound.sockets.metrics.is_empty()) {
        let listener = TcpListener::bind(address).map_err(|error| {
            bound.remove();
            BindError(format!("failed to open metrics_listen {address}: {}", super::system_words(&error)))
        })?;
        bound.sockets.metrics.push(listener);
    }
    let addresses = bound.sockets.metrics.iter().filter_map(|listener| listener.local_addr().ok());
    for address in addresses.filter(|address| !address.ip().is_loopback()) {
        bound.warnings.push(format!("metrics are served to everybody who reaches {address}"));
    }
    Ok(bound)
}

fn control_socket(
    wanted: &Control,
    user: Option<Uid>,
    notes: &mut Vec<String>,
) -> Result<Option<UnixSocket>, BindError> {
    let asked = |path| Asked {
        what: "control socket",
        path,
        mode: Some(wanted.mode),
        owner: wanted.owner.as_deref(),
        owner_key: "controlsock_owner",
    };
    match &wanted.socket {
        ControlSocket::Nowhere => Ok(None),
        ControlSocket::At(path) => unix::bind(&asked(path)).map(Some),
        ControlSocket::Default => match by_default(&asked(Path::new(Control::DEFAULT)), user) {
            Ok(socket) => Ok(Some(socket)),
            Err(why) => {
                notes.push(format!("no control socket: {why}"));
                Ok(None)
            }
        },
    }
}

fn by_default(asked: &Asked<'_>, user: Option<Uid>) -> Result<UnixSocket, BindError> {
    let dir = asked.path.parent().unwrap_or(Path::new("/"));
    make(dir).map_err(|error| {
        BindError(format!("{} cannot be made: {}", dir.display(), super::system_words(&error)))
    })?;
    let socket = unix::bind(asked)?;
    // Only now: where another server listens, the directory is that one's. Whoever owned it before could put a socket of
    // his own in the place of this one. Who may not give it away serves all the same.
    let owner = user.unwrap_or_else(geteuid).as_raw();
    if fs::symlink_metadata(dir).is_ok_and(|there| there.uid() != owner) {
        let _ = std::os::unix::fs::lchown(dir, Some(owner), None);
    }
    Ok(socket)
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        // Whatever the umask takes away.
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o755))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    if fs::symlink_metadata(dir)?.is_dir() {
        return Ok(());
    }
    Err(io::Error::other("something that is no directory is there"))
}

impl ControlSockets {
    /// Removes the control socket's file.
    pub fn remove(&self) {
        self.file.iter().for_each(SocketFile::remove);
    }
}
