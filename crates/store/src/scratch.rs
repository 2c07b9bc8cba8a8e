//! Files that live as long as a session: the pages that it changed.
//!
//! Whoever has one holds a lock on it. A program that was killed leaves its files behind, but no lock: the next one to
//! come removes them. Between making a file and locking it, it looks like one that was left behind; so its maker looks
//! again afterwards whether its name still leads to it.

use crate::error::words;
use crate::file::FileStore;
use crate::identity::Identity;
use crate::open::{Kind, Probe};
use crate::{Cause, Poison, StoreError, Verb};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, ftruncate, lstat, open as open_path, unlink,
};
use rustix::io::Errno;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Sessions of one client, on one file, at one time.
const NAMES_MAX: u32 = 1 << 16;
const FLAGS: OFlags =
    OFlags::RDWR.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Makes the file of one session, `DIR/BASE-CLIENT-PID.diff`, sparse, for nobody else, and opens it. A session that finds
/// the name taken takes `…-PID-2.diff`, and so on. The file is removed when the store is dropped. `base_name` is the name
/// of the file that is changed, `client` the address of who does; a slash in either becomes `_`.
///
/// Files of `base_name` that a killed server left in the directory are removed first.
///
/// # Errors
/// [`Cause::Other`]: `Could not create diff file (…)`, with the system's words.
pub fn scratch(
    dir: &Path,
    base_name: &str,
    client: &str,
    size: u64,
    poison: Arc<Poison>,
) -> Result<FileStore, StoreError> {
    let (base, client) = (base_name.replace('/', "_"), client.replace('/', "_"));
    let failed = |errno: Errno| {
        let cause = Cause::Other(format!("Could not create diff file ({})", words(errno)));
        StoreError { verb: Verb::Open, offset: 0, len: size, cause }
    };
    // The process may change its directory.
    let dir = std::path::absolute(dir).map_err(|_| failed(Errno::NOENT))?;
    remove_left_behind(&dir, &base, &client);
    let (fd, path) = create(&dir, &format!("{base}-{client}-{}", std::process::id())).map_err(failed)?;
    let sized = ftruncate(&fd, size).and_then(|()| fstat(&fd));
    let held = Held { remove: Some(path) };
    match sized {
        Ok(found) => Ok(of_ours(fd, &found, size, poison, Some(held))),
        Err(errno) => {
            held.let_go(&fd);
            Err(failed(errno))
        }
    }
}

/// A store over a file that was made or taken for us alone.
pub(crate) fn of_ours(
    fd: OwnedFd,
    found: &Stat,
    size: u64,
    poison: Arc<Poison>,
    held: Option<Held>,
) -> FileStore {
    let identity = Identity::File { dev: found.st_dev, ino: found.st_ino };
    let block = u32::try_from(found.st_blksize).unwrap_or(0);
    let mut store =
        FileStore::new(fd, Probe { identity, size, kind: Kind::File, device: None }, true, block, poison);
    store.held = held;
    // It may grow by what is written.
    store.medium_size = u64::try_from(found.st_size).unwrap_or(0);
    store
}

/// A lock on an open file, and perhaps a name that goes with it.
#[derive(Debug)]
pub(crate) struct Held {
    /// Where the file is that nobody needs afterwards.
    pub remove: Option<PathBuf>,
}

impl Held {
    /// Gives back what is held of the file behind `fd`. As long as that is open no other file can be taken for it.
    pub fn let_go(&self, fd: &OwnedFd) {
        if let Some(path) = self.remove.as_ref().filter(|path| leads_to(path, fd)) {
            let _ = unlink(path);
        }
        // Closing is not enough where a program is being started at this moment: it shares the descriptor for a while.
        let _ = flock(fd, FlockOperation::Unlock);
    }
}

/// Whether a path is still the name of an open file.
pub(crate) fn leads_to(path: &Path, fd: impl AsFd) -> bool {
    let (Ok(there), Ok(open)) = (lstat(path), fstat(fd)) else { return false };
    (there.st_dev, there.st_ino) == (open.st_dev, open.st_ino)
}

/// A new, locked file under the first name that is free.
fn create(dir: &Path, stem: &str) -> Result<(OwnedFd, PathBuf), Errno> {
    let mut number = 1;
    for _ in 0..NAMES_MAX {
        let more = if number == 1 { String::new() } else { format!("-{number}") };
        let path = dir.join(format!("{stem}{more}.diff"));
        match open_path(&path, FLAGS | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR) {
            // Some file systems have no locks; nobody can find a file left behind there, and nobody removes it.
            Ok(fd) if lock(&fd) != Err(Errno::WOULDBLOCK) && leads_to(&path, &fd) => return Ok((fd, path)),
            // Left by a process that had our number: in a container that is every one before us.
            Err(Errno::EXIST) if remove_unlocked(&path) => continue,
            // In use, or somebody who tidied up was quicker than our lock.
            Ok(_) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        number += 1;
    }
    Err(Errno::EXIST)
}

/// Takes the lock of an open file at once or not at all.
pub(crate) fn lock(fd: &OwnedFd) -> Result<(), Errno> {
    flock(fd, FlockOperation::NonBlockingLockExclusive)
}

/// Removes what sessions on `base` left here whose process is gone. A hint: whatever stands in the way is left alone.
fn remove_left_behind(dir: &Path, base: &str, client: &str) {
    // Without it every process would look dead.
    if !is_alive(std::process::id()) {
        return;
    }
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let of = name.to_str().map_or_else(Vec::new, |name| processes(name, base, client));
        if !of.is_empty() && !of.into_iter().any(is_alive) {
            remove_unlocked(&dir.join(name));
        }
    }
}

/// The process in a name that [`scratch`] gives for `base`; two where it can be read in two ways, none where it is no
/// such name. Somebody else's file may begin and end like one: what stands for the client has to be one.
fn processes(name: &str, base: &str, client: &str) -> Vec<u32> {
    let rest = name.strip_prefix(base).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".diff"));
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| text == number.to_string());
    let is_client = |text: &str| {
        let address = text.split('%').next().unwrap_or_default();
        text == client || text == "unix" || address.parse::<IpAddr>().is_ok()
    };
    let Some((before, last)) = rest.and_then(|rest| rest.rsplit_once('-')) else { return Vec::new() };
    let alone = number(last).filter(|_| is_client(before));
    let numbered = before.rsplit_once('-').filter(|(client, _)| is_client(client));
    let numbered = numbered.filter(|_| number(last) > Some(1)).and_then(|(_, pid)| number(pid));
    [alone, numbered].into_iter().flatten().collect()
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Only a plain file with the rights that ours have, and never one that is in use. Whether it was removed.
fn remove_unlocked(path: &Path) -> bool {
    let Ok(fd) = open_path(path, FLAGS, Mode::empty()) else { return false };
    let Ok(found) = fstat(&fd) else { return false };
    let plain = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    let like_ours = plain && found.st_mode & 0o7777 == 0o600 && found.st_nlink == 1;
    like_ours && lock(&fd).is_ok() && leads_to(path, &fd) && unlink(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_given_here_have_a_process() {
        let of = |name| processes(name, "disk", "10.0.0.9");
        assert_eq!(of("disk-127.0.0.1-77.diff"), [77]);
        assert_eq!(of("disk-127.0.0.1-77-2.diff"), [77]);
        assert_eq!(of("disk-unix-77.diff"), [77]);
        assert_eq!(processes("disk-_a_b-77-3.diff", "disk", "_a_b"), [77]);
        assert_eq!(of("disk-fe80::1%eth-5-77.diff"), [77, 5], "an interface may be called like that");
        let others = [
            "disk-backup-2024.diff",
            "disk-77.diff",
            "disk--77.diff",
            "disk-127.0.0.1.diff",
            "disk-127.0.0.1-077.diff",
            "disk-127.0.0.1-77-1.diff",
            "disk-127.0.0.1-+7.diff",
            "disk-127.0.0.1-77",
            "disk-127.0.0.1-77.diff.old",
            "disk2-127.0.0.1-77.diff",
            "disk-a-127.0.0.1-77.diff",
            "mydisk-127.0.0.1-77.diff",
        ];
        for name in others {
            assert!(of(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn words_are_those_of_the_system() {
        assert_eq!(words(Errno::ACCESS), "Permission denied");
    }
}
