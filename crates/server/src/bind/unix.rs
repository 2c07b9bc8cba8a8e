//! The Unix socket to listen on, and the file that stands for it.

use super::{BACKLOG, BindError, system_words};
use nix::unistd::{Gid, Group, Uid, User};
use rustix::fs::{AtFlags, Mode, OFlags, chmod, chownat, open};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind as bind_to, listen, socket_with,
};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// What fits into a Unix socket's address.
const PATH_MAX: usize = 107;

/// A listening Unix socket and the file that stands for it.
#[derive(Debug)]
pub struct UnixSocket {
    /// The socket.
    pub listener: UnixListener,
    /// Its file.
    pub file: SocketFile,
}

/// The file that stands for a Unix socket.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// What the path led to when it was made; none where somebody else has made it.
    identity: Option<(u64, u64)>,
}

/// A Unix socket as it is asked for.
pub struct Asked<'a> {
    /// What it is, in an error.
    pub what: &'static str,
    /// Where.
    pub path: &'a Path,
    /// Mode of its file; what the umask leaves where nothing is said.
    pub mode: Option<u32>,
    /// Owner of its file.
    pub owner: Option<&'a str>,
    /// The key that says so.
    pub owner_key: &'static str,
}

/// Whom the file is given to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Owner {
    user: Option<Uid>,
    group: Option<Gid>,
}

/// Listens at a path. A dead server's socket is replaced.
///
/// Nobody can connect before it listens, and whether somebody may is looked at when they connect. So the file is given away
/// in between: there is no moment in which it is more open than it is to be, and the umask, which all threads share, stays
/// what it is.
///
/// # Errors
/// Something else is there, another server listens, there is no such user or group, or what the system says.
pub fn bind(asked: &Asked<'_>) -> Result<UnixSocket, BindError> {
    let Asked { path, what, .. } = asked;
    let failed = |why: String| BindError(format!("failed to open the {what} {}: {why}", path.display()));
    let bound = closed(asked).map_err(failed)?;
    match listen(&bound.listener, BACKLOG) {
        Ok(()) => Ok(bound),
        Err(error) => {
            bound.file.remove();
            Err(failed(system_words(&error.into())))
        }
    }
}

/// All but listening.
fn closed(asked: &Asked<'_>) -> Result<UnixSocket, String> {
    let Asked { path, .. } = *asked;
    if path.as_os_str().len() > PATH_MAX {
        return Err("the path is longer than 107 bytes".into());
    }
    let owner = asked.owner.map(|text| owner(asked.owner_key, text)).transpose()?;
    make_room(path)?;
    let socket = socket_at(path).map_err(|error| system_words(&error))?;
    let file = File::of(path).map_err(|error| system_words(&error))?;
    let bound = UnixSocket {
        listener: UnixListener::from(socket),
        file: SocketFile {
            path: fs::canonicalize(path).unwrap_or_else(|_| path.into()),
            identity: Some(file.identity),
        },
    };
    match file.hand_over(owner.unwrap_or_default(), asked.mode) {
        Ok(()) => Ok(bound),
        Err(why) => {
            bound.file.remove();
            Err(why)
        }
    }
}

fn socket_at(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind_to(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

impl SocketFile {
    /// Of a socket that was passed to us.
    #[must_use]
    pub fn of_somebody_else(listener: &UnixListener) -> Self {
        let address = listener.local_addr().ok();
        let path = address.and_then(|address| address.as_pathname().map(Into::into)).unwrap_or_default();
        Self { path, identity: None }
    }

    /// Where it is; empty where it has no path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, if it is still ours.
    pub fn remove(&self) {
        let there = fs::symlink_metadata(&self.path);
        if there.is_ok_and(|there| Some((there.dev(), there.ino())) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Takes a dead server's socket away.
fn make_room(path: &Path) -> Result<(), String> {
    let Ok(there) = fs::symlink_metadata(path) else { return Ok(()) };
    if !there.file_type().is_socket() {
        return Err("something that is no socket is there".into());
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| system_words(&error))
        }
        Err(error) => Err(system_words(&error)),
        Ok(_) => Err("another server listens on it: Address already in use".into()),
    }
}

/// The file that a bind has made, held as itself: its name may lead elsewhere a moment later.
struct File {
    fd: OwnedFd,
    identity: (u64, u64),
}

impl File {
    fn of(path: &Path) -> io::Result<Self> {
        let fd = open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let file = fs::File::from(fd);
        let metadata = file.metadata()?;
        if !metadata.file_type().is_socket() {
            return Err(io::Error::other("somebody has replaced it"));
        }
        Ok(Self { identity: (metadata.dev(), metadata.ino()), fd: file.into() })
    }

    /// The owner first: it is the new owner's group that the mode is about.
    fn hand_over(&self, owner: Owner, mode: Option<u32>) -> Result<(), String> {
        let user = owner.user.map(|user| rustix::fs::Uid::from_raw(user.as_raw()));
        let group = owner.group.map(|group| rustix::fs::Gid::from_raw(group.as_raw()));
        if user.is_some() || group.is_some() {
            chownat(&self.fd, "", user, group, AtFlags::EMPTY_PATH)
                .map_err(|error| format!("its owner cannot be set: {}", system_words(&error.into())))?;
        }
        let Some(mode) = mode else { return Ok(()) };
        // A descriptor of this kind has no fchmod of its own before Linux 6.6.
        chmod(format!("/proc/self/fd/{}", self.fd.as_raw_fd()), Mode::from_raw_mode(mode))
            .map_err(|error| format!("its mode cannot be set: {}", system_words(&error.into())))
    }
}

/// `USER`, `USER:GROUP` or `:GROUP`.
fn owner(key: &str, text: &str) -> Result<Owner, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (Some(user).filter(|user| !user.is_empty()), Some(group)),
        None => (Some(text), None),
    };
    let unknown = |what: &str, name: &str| format!("{key} = {text}: there is no {what} \"{name}\"");
    let user = user.map(|name| match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid),
        _ => Err(unknown("user", name)),
    });
    let group = group.map(|name| match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        _ => Err(unknown("group", name)),
    });
    Ok(Owner { user: user.transpose()?, group: group.transpose()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    struct Spot(PathBuf);

    impl Spot {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("nbd-unix-{name}-{}", std::process::id()));
            let _ = fs::remove_file(&path);
            Self(path)
        }

        fn bind(&self, mode: Option<u32>, owner: Option<&str>) -> Result<UnixSocket, BindError> {
            bind(&self.asked(mode, owner))
        }

        fn asked<'a>(&'a self, mode: Option<u32>, owner: Option<&'a str>) -> Asked<'a> {
            Asked { what: "unix socket", path: &self.0, mode, owner, owner_key: "unixsock_owner" }
        }
    }

    impl Drop for Spot {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    /// C-081, C-082
    #[test]
    fn a_dead_servers_socket_is_replaced_and_a_live_ones_is_not() {
        let spot = Spot::new("dead");
        drop(UnixListener::bind(&spot.0).expect("a socket whose server then dies"));
        let bound = spot.bind(None, None).expect("it is replaced");
        assert!(spot.bind(None, None).expect_err("it is live").to_string().contains("already in use"));
        bound.file.remove();
        assert!(!spot.0.exists());
        let bound = spot.bind(None, None).expect("bound");
        fs::remove_file(&spot.0).expect("somebody takes it away");
        fs::write(&spot.0, "a file").expect("written");
        bound.file.remove();
        assert!(spot.0.exists(), "what is not ours stays");
        assert!(spot.bind(None, None).is_err(), "what is no socket is not removed");
    }

    /// The umask (022 where nobody changed it) does not take from a mode that was asked for.
    #[test]
    fn the_file_has_the_mode_that_was_asked_for() {
        let spot = Spot::new("mode");
        for mode in [0o600, 0o660, 0o666, 0o777, 0o000] {
            let bound = spot.bind(Some(mode), None).expect("bound");
            let metadata = fs::symlink_metadata(&spot.0).expect("it is there");
            assert_eq!(metadata.permissions().mode() & 0o7777, mode);
            assert!(mode == 0 || UnixStream::connect(&spot.0).is_ok(), "it listens");
            bound.file.remove();
        }
    }

    /// Between the file's making and its mode nobody gets in.
    #[test]
    fn the_file_is_given_away_before_anybody_can_connect() {
        let spot = Spot::new("closed");
        let bound = closed(&spot.asked(Some(0o666), None)).expect("bound");
        let metadata = fs::symlink_metadata(&spot.0).expect("it is there");
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o666);
        let refused = UnixStream::connect(&spot.0).expect_err("it does not listen yet");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        bound.file.remove();
    }

    #[test]
    fn an_owner_is_a_user_a_group_or_both_by_name() {
        let (root, group) = (Some(Uid::from_raw(0)), Some(Gid::from_raw(0)));
        assert_eq!(owner("key", "root"), Ok(Owner { user: root, group: None }));
        assert_eq!(owner("key", "root:root"), Ok(Owner { user: root, group }));
        assert_eq!(owner("key", ":root"), Ok(Owner { user: None, group }));
        for (wrong, what) in [
            ("no-such-user", "user \"no-such-user\""),
            ("root:no-such-group", "group \"no-such-group\""),
            ("root:", "group \"\""),
            (":", "group \"\""),
            ("", "user \"\""),
        ] {
            assert!(owner("key", wrong).is_err_and(|why| why.contains(what)), "{wrong}");
        }
    }

    /// Given away before it listens; what cannot be given away is not served, and leaves nothing.
    #[test]
    fn the_file_belongs_to_whom_it_was_given() {
        let spot = Spot::new("owner");
        assert!(spot.bind(None, Some("no-such-user")).is_err() && !spot.0.exists());
        if !testkit::is_root() {
            return testkit::skip_or_fail("the_file_belongs", "root");
        }
        let bound = spot.bind(Some(0o660), Some("nobody:nogroup")).expect("bound");
        let metadata = fs::symlink_metadata(&spot.0).expect("it is there");
        let nobody = User::from_name("nobody").expect("a list of users").expect("listed");
        assert_eq!((metadata.uid(), metadata.gid()), (nobody.uid.as_raw(), nobody.gid.as_raw()));
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o660);
        bound.file.remove();
        let bound = spot.bind(None, Some(":nogroup")).expect("bound");
        let metadata = fs::symlink_metadata(&spot.0).expect("it is there");
        assert_eq!((metadata.uid(), metadata.gid()), (0, nobody.gid.as_raw()));
        bound.file.remove();
    }

    #[test]
    fn a_path_that_does_not_fit_is_an_error_with_the_limit() {
        let long = Spot(std::env::temp_dir().join("x".repeat(108)));
        assert!(long.bind(None, None).expect_err("too long").to_string().contains("107 bytes"));
    }
}
