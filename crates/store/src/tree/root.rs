//! The directory of a tree, and the only way to what is below it. Nothing there leads out: links are not followed, and
//! what is mounted inside is not entered, because a sync of the tree's file system would not reach it.

use crate::errno::retry;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    Access, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, accessat, fstat, mkdirat, openat, openat2,
    statat, unlinkat,
};
use rustix::io::Errno;
use std::path::Path;

/// A FIFO in the place of a page must not hang us.
const FLAGS: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::NOFOLLOW);
const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

/// How a path below the directory is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The system keeps to the rules by itself.
    Resolved,
    /// Before Linux 5.6, or where a sandbox does not know the call: one directory after the other.
    Stepwise,
}

#[derive(Debug)]
pub(super) struct Root {
    /// Open for good: the system tells each descriptor once of writes that failed since it was opened.
    fd: OwnedFd,
    pub stat: Stat,
    way: Way,
}

impl Root {
    /// NOTDIR where something else is at the path.
    pub fn open(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry(|| rustix::fs::open(path, flags, Mode::empty()))?;
        let stat = fstat(&fd)?;
        // It is open already, so it can be opened again; what is refused is the call.
        let way = match openat2(&fd, ".", DIRECTORY, Mode::empty(), BENEATH) {
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => Way::Stepwise,
            _ => Way::Resolved,
        };
        Ok(Self { fd, stat, way })
    }

    /// As before Linux 5.6.
    #[cfg(test)]
    pub fn stepwise(self) -> Self {
        Self { way: Way::Stepwise, ..self }
    }

    /// Whether files can be made in it, by the rights of this process and of the file system.
    pub fn may_write(&self) -> bool {
        let asked = Access::WRITE_OK | Access::EXEC_OK;
        match accessat(&self.fd, ".", asked, AtFlags::EACCESS) {
            // A sandbox that does not know the newer call says so in this way.
            Err(Errno::PERM | Errno::NOSYS) => accessat(&self.fd, ".", asked, AtFlags::empty()).is_ok(),
            answer => answer.is_ok(),
        }
    }

    /// Whether it is still in the file system: when it has been removed, nothing can be found in it.
    pub fn is_there(&self) -> Result<bool, Errno> {
        Ok(fstat(&self.fd)?.st_nlink > 0)
    }

    /// Opens what is at a path and is a file.
    pub fn page(&self, path: &str, access: OFlags) -> Result<Page, Errno> {
        Page::of(self.at(path, FLAGS | access, Mode::empty(), ResolveFlags::empty())?)
    }

    /// As [`Root::page`] for reading, if the way there is at hand; AGAIN where it is not, another number where the system
    /// cannot tell.
    pub fn page_at_hand(&self, path: &str) -> Result<Page, Errno> {
        match self.way {
            Way::Resolved => Page::of(self.at(path, FLAGS, Mode::empty(), ResolveFlags::CACHED)?),
            Way::Stepwise => Err(Errno::NOSYS),
        }
    }

    /// Opens a page's file for writing, and makes it where there is none. Two who do so at once get one file.
    pub fn make_page(&self, path: &str) -> Result<Page, Errno> {
        let flags = FLAGS | OFlags::WRONLY | OFlags::CREATE;
        Page::of(self.at(path, flags, Mode::RUSR | Mode::WUSR, ResolveFlags::empty())?)
    }

    /// Makes a directory in one that is there. One that is there already is as good.
    pub fn make_directory(&self, path: &str) -> Result<(), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let made = match parent {
            "" => mkdirat(&self.fd, name, Mode::RWXU),
            parent => mkdirat(self.directory(parent)?, name, Mode::RWXU),
        };
        if made == Err(Errno::EXIST) { Ok(()) } else { made }
    }

    /// The directory at a path, to look things up in; the path of the root is empty.
    pub fn directory(&self, path: &str) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { "." } else { path };
        self.at(path, DIRECTORY, Mode::empty(), ResolveFlags::empty())
    }

    fn at(&self, path: &str, flags: OFlags, mode: Mode, more: ResolveFlags) -> Result<OwnedFd, Errno> {
        match self.way {
            Way::Resolved => retry(|| openat2(&self.fd, path, flags, mode, BENEATH | more)),
            Way::Stepwise => self.step_by_step(path, flags, mode),
        }
    }

    fn step_by_step(&self, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let mut above: Option<OwnedFd> = None;
        let mut rest = path;
        while let Some((name, below)) = rest.split_once('/') {
            let dir = above.as_ref().map_or(self.fd.as_fd(), OwnedFd::as_fd);
            above = Some(self.step(dir, name)?);
            rest = below;
        }
        let dir = above.as_ref().map_or(self.fd.as_fd(), OwnedFd::as_fd);
        if flags.contains(DIRECTORY) {
            return self.step(dir, rest);
        }
        retry(|| openat(dir, rest, flags, mode))
    }

    /// One directory further, on the same file system.
    fn step(&self, dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
        let next = retry(|| openat(dir, name, DIRECTORY, Mode::empty()))?;
        if fstat(&next)?.st_dev == self.stat.st_dev { Ok(next) } else { Err(Errno::XDEV) }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// An open page.
#[derive(Debug)]
pub(super) struct Page {
    pub fd: OwnedFd,
    /// Bytes of its file now.
    pub len: u64,
}

impl Page {
    /// Nothing but a file is a page: a device in its place would be another disk.
    fn of(fd: OwnedFd) -> Result<Self, Errno> {
        let found = fstat(&fd)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => Ok(Self { len: u64::try_from(found.st_size).unwrap_or(0), fd }),
            _ => Err(Errno::NOTSUP),
        }
    }
}

/// Whether a file of that name is in a directory.
pub(super) fn has(dir: &OwnedFd, name: &str) -> Result<bool, Errno> {
    match retry(|| statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Removes a file from a directory. One that is not there is removed.
pub(super) fn remove(dir: &OwnedFd, name: &str) -> Result<(), Errno> {
    match retry(|| unlinkat(dir, name, AtFlags::empty())) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}
