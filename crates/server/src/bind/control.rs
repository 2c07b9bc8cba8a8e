//! The control socket, and the address for metrics.

use super::BindError;
use super::unix::{self, Asked, UnixSocket};
use config::{Control, ControlSocket};
use nix::unistd::Uid;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Where the server is asked and watched.
#[derive(Debug, Default)]
pub struct ControlSockets {
    /// The control socket.
    pub control: Option<UnixSocket>,
    /// For metrics alone.
    pub metrics: Option<TcpListener>,
    /// What was left out, and why.
    pub notes: Vec<String>,
    /// What is open to others than this machine.
    pub warnings: Vec<String>,
}

/// Opens both. What was asked for must be had; what is there by default is left out where it cannot.
///
/// `user` is who the server becomes, and has to be able to remove the socket at the end.
///
/// # Errors
/// As for any socket.
pub fn bind_control(wanted: &Control, user: Option<Uid>) -> Result<ControlSockets, BindError> {
    let mut bound = ControlSockets::default();
    let asked = |path| Asked {
        what: "control socket",
        path,
        mode: Some(wanted.mode),
        owner: wanted.owner.as_deref(),
        owner_key: "controlsock_owner",
    };
    match &wanted.socket {
        ControlSocket::Nowhere => {}
        ControlSocket::At(path) => bound.control = Some(unix::bind(&asked(path))?),
        ControlSocket::Default => match by_default(&asked(Path::new(Control::DEFAULT)), user) {
            Ok(socket) => bound.control = Some(socket),
            Err(why) => bound.notes.push(format!("no control socket: {why}")),
        },
    }
    if let Some(address) = wanted.metrics {
        let listener = TcpListener::bind(address).map_err(|error| {
            bound.remove();
            BindError(format!("failed to open metrics_listen {address}: {}", super::system_words(&error)))
        })?;
        bound.metrics = Some(listener);
        if !address.ip().is_loopback() {
            let warning = format!("metrics are served to everybody who reaches {address} (metrics_listen)");
            bound.warnings.push(warning);
        }
    }
    Ok(bound)
}

fn by_default(asked: &Asked<'_>, user: Option<Uid>) -> Result<UnixSocket, BindError> {
    let dir = asked.path.parent().unwrap_or(Path::new("/"));
    make(dir, user).map_err(|error| {
        BindError(format!("{} cannot be made: {}", dir.display(), super::system_words(&error)))
    })?;
    unix::bind(asked)
}

fn make(dir: &Path, user: Option<Uid>) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    if !fs::symlink_metadata(dir)?.is_dir() {
        return Err(io::Error::other("something that is no directory is there"));
    }
    match user {
        Some(user) if !user.is_root() => std::os::unix::fs::lchown(dir, Some(user.as_raw()), None),
        _ => Ok(()),
    }
}

impl ControlSockets {
    /// The sockets themselves, for whoever serves them.
    #[must_use]
    pub fn take(&mut self) -> control::Sockets {
        let control = self.control.as_ref().and_then(|socket| socket.listener.try_clone().ok());
        control::Sockets { control, metrics: self.metrics.take().into_iter().collect() }
    }

    /// Removes the socket's file.
    pub fn remove(&self) {
        if let Some(socket) = &self.control {
            socket.remove();
        }
    }
}
