//! The file of an overlay that stays. One server has it at a time.

use crate::error::words;
use crate::file::FileStore;
use crate::scratch::{Held, leads_to, lock, of_ours};
use crate::{Cause, Poison, StoreError, Verb};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, fstat, fsync, ftruncate, lstat, open as open_path, unlink};
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;

const FLAGS: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// A file that is replaced again and again while it is opened is somebody's mistake.
const TRIES: u32 = 100;

/// Opens the file of an overlay that stays, or makes it, for nobody else; it is locked until the store is dropped. An
/// empty file gets `size` bytes, sparse: [`crate::OverlayStore::kept_size`] says how many.
///
/// # Errors
/// [`Cause::Other`] where somebody else has it: `the overlay … is in use`; [`Cause::Unsupported`] where it has another size,
/// or is no plain file; and what the system says of the path.
pub fn open_overlay(path: &Path, size: u64, poison: Arc<Poison>) -> Result<FileStore, StoreError> {
    let shown = path.display();
    let failed = |cause| StoreError { verb: Verb::Open, offset: 0, len: size, cause };
    let system = |errno| failed(Cause::Other(format!("the overlay {shown}: {}", words(errno))));
    let fd = open_locked(|| open_or_make(path), path).map_err(|errno| match errno {
        Errno::WOULDBLOCK => {
            failed(Cause::Other(format!("the overlay {shown} is in use: somebody else has it")))
        }
        errno => system(errno),
    })?;
    let found = fstat(&fd).map_err(system)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(failed(Cause::Unsupported(format!("the overlay {shown} is not a plain file"))));
    }
    let there = u64::try_from(found.st_size).unwrap_or(0);
    if there == 0 {
        ftruncate(&fd, size).map_err(system)?;
    } else if there != size {
        let why = format!(
            "the overlay {shown} has {there} bytes, and one for this base has {size}: it is not an overlay, or of \
             another base"
        );
        return Err(failed(Cause::Unsupported(why)));
    }
    Ok(of_ours(fd, &found, size, poison, Some(Held { remove: None })))
}

/// Removes the file of an overlay that nobody has, and with it everything that was written. False where there is none.
///
/// # Errors
/// [`Cause::Other`] where somebody has it, and what the system says of the path.
pub fn remove_overlay(path: &Path) -> Result<bool, StoreError> {
    let shown = path.display();
    let failed = |what: &str| {
        let cause = Cause::Other(format!("the overlay {shown} {what}"));
        StoreError { verb: Verb::Open, offset: 0, len: 0, cause }
    };
    let opened = open_locked(|| open_path(path, FLAGS, Mode::empty()), path);
    let _locked = match opened {
        Ok(fd) => fd,
        Err(Errno::NOENT) if lstat(path).is_ok() => return Err(failed("is a link that leads nowhere")),
        Err(Errno::NOENT) => return Ok(false),
        Err(Errno::WOULDBLOCK) => return Err(failed("is in use: somebody else has it")),
        Err(errno) => return Err(failed(&format!("cannot be opened: {}", words(errno)))),
    };
    // Locked until the name is gone: whoever comes meanwhile sees that it has another file.
    forget_overlay(path)?;
    Ok(true)
}

/// Removes the file of an overlay that the caller has open, and with it the lock. A link to it stays.
///
/// # Errors
/// What the system says of the path.
pub fn forget_overlay(path: &Path) -> Result<(), StoreError> {
    let failed = |why: String| {
        let cause = Cause::Other(format!("the overlay {} cannot be removed: {why}", path.display()));
        StoreError { verb: Verb::Open, offset: 0, len: 0, cause }
    };
    let file = std::fs::canonicalize(path).map_err(|error| failed(error.to_string()))?;
    unlink(&file).and_then(|()| sync_name(&file)).map_err(|errno| failed(words(errno)))
}

/// WOULDBLOCK: somebody else has it.
fn open_locked(open: impl Fn() -> Result<OwnedFd, Errno>, path: &Path) -> Result<OwnedFd, Errno> {
    for _ in 0..TRIES {
        let fd = open()?;
        lock(&fd)?;
        // Whoever had it may have removed it before it was ours: then that is another file now, or none.
        if names(path, &fd) {
            return Ok(fd);
        }
    }
    Err(Errno::STALE)
}

/// The path may be a link.
fn names(path: &Path, fd: &OwnedFd) -> bool {
    std::fs::canonicalize(path).is_ok_and(|path| leads_to(&path, fd))
}

fn open_or_make(path: &Path) -> Result<OwnedFd, Errno> {
    match open_path(path, FLAGS, Mode::empty()) {
        // Never among the devices: what is missing there is away.
        Err(Errno::NOENT) if !path.starts_with("/dev") => {}
        opened => return opened,
    }
    // Exclusively: a link that leads nowhere stands for a disk that is away.
    match open_path(path, FLAGS | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR) {
        Err(Errno::EXIST) => open_path(path, FLAGS, Mode::empty()),
        Ok(fd) => sync_name(path).map(|()| fd),
        Err(errno) => Err(errno),
    }
}

/// What is promised of the file's bytes is worth nothing when its name is lost.
fn sync_name(path: &Path) -> Result<(), Errno> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = open_path(parent, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match fsync(&dir) {
        // Some file systems have no such thing.
        Err(Errno::INVAL) => Ok(()),
        result => result,
    }
}
