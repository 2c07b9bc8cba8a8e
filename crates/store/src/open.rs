//! What is at a path, and opening it. What was opened decides, never what was there a moment before.

use crate::concat::{open_pieces, probe_pieces};
use crate::errno::{Medium, cause};
use crate::file::FileStore;
use crate::identity::Identity;
use crate::sysfs::Sysfs;
use crate::tree::{TreeStore, probe_tree};
use crate::{Cause, DeviceIdentity, Poison, Store, StoreError, Verb, sys};
use rustix::fd::OwnedFd;
use rustix::fs::{
    FileType, Mode, OFlags, Stat, fstat, ftruncate, lstat, major, minor, open as open_path, stat,
};
use rustix::io::Errno;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// A regular file, a block device, or (with `filesize`) a character device.
    pub path: PathBuf,
    /// Bytes to serve, at most those that are there; all where nothing is said. A missing or empty file gets this size
    /// when it is opened for writing. A tree has exactly this size, and none where nothing is said.
    pub filesize: Option<u64>,
    /// What it is for.
    pub write: Access,
    /// How the bytes lie at the path.
    pub layout: Layout,
}

/// How the bytes of a disk lie at a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// One file or device at the path itself.
    #[default]
    One,
    /// Files or devices one after the other: the path with `.0`, `.1` and so on behind it, up to the first that is not
    /// there. Never made by opening.
    Files,
    /// A directory with one small file for each page of 4096 bytes, made when the page is first written.
    Tree,
}

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading alone.
    ReadOnly,
    /// Reading and writing; reading alone where the system does not allow more (C-153).
    ReadWrite,
}

/// What is at a path now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Which disk or file.
    pub identity: Identity,
    /// Bytes that would be served.
    pub size: u64,
    /// What sort of thing. Of several pieces the first one's; a tree consists of files.
    pub kind: Kind,
    /// Where the path led behind its links, where that was looked up. For people: what was found is the identity.
    pub device: Option<PathBuf>,
}

/// A store, and what it was opened on.
pub struct Opened {
    /// Where the bytes are.
    pub store: Arc<dyn Store>,
    /// Which disk, files or directory.
    pub identity: Identity,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Probe {
    /// Nothing is there yet; opening makes a file.
    #[must_use]
    pub fn to_be_created(&self) -> bool {
        self.identity.to_be_created()
    }
}

/// Sorts of things that can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A block device.
    BlockDevice,
    /// A character device, with a size that somebody gave it.
    Placeholder,
}

/// Looks at what is at the path. Creates and changes nothing, and keeps nothing open.
///
/// # Errors
/// What [`open`] would say.
pub fn probe(spec: &Spec) -> Result<Probe, StoreError> {
    let found = match spec.layout {
        Layout::One => probe_one(spec),
        Layout::Files => probe_pieces(spec),
        Layout::Tree => probe_tree(spec),
    };
    Ok(Probe { device: std::fs::canonicalize(&spec.path).ok(), ..found? })
}

/// Opens it. `poison` outlives the store: a failed sync is remembered over re-opening.
///
/// # Errors
/// [`Cause::Io`] for a path that is not there, [`Cause::Lost`] for a device without a medium, [`Cause::Unsupported`] for
/// what cannot be served, each in words.
pub fn open(spec: &Spec, poison: Arc<Poison>) -> Result<Opened, StoreError> {
    match spec.layout {
        Layout::One => {
            let file = open_file(spec, poison)?;
            let identity = file.identity().clone();
            Ok(Opened { store: Arc::new(file), identity })
        }
        Layout::Files => open_pieces(spec, &poison),
        Layout::Tree => {
            let tree = TreeStore::open(spec, poison)?;
            let identity = tree.identity().clone();
            Ok(Opened { store: Arc::new(tree), identity })
        }
    }
}

/// One file or device, whatever the layout says.
pub(crate) fn probe_one(spec: &Spec) -> Result<Probe, StoreError> {
    let found = match stat(&spec.path) {
        Ok(found) => found,
        Err(Errno::NOENT) if creates(spec) && lstat(&spec.path).err() == Some(Errno::NOENT) => {
            return Ok(to_be_created(spec));
        }
        Err(errno) => return Err(failed(cause(errno, Medium::Path))),
    };
    // A device's size and sequence number are told by the device alone, so it is opened for a moment; of a file the
    // directory tells enough.
    let opened = match FileType::from_raw_mode(found.st_mode) {
        FileType::BlockDevice => Some(open_for_reading(spec)?),
        _ => None,
    };
    let found =
        opened.as_ref().map_or(Ok(found), fstat).map_err(|errno| failed(cause(errno, Medium::Path)))?;
    examine(spec, opened.as_ref(), &found)
}

/// Opens one file or device, whatever the layout says.
///
/// # Errors
/// As [`open`].
pub fn open_file(spec: &Spec, poison: Arc<Poison>) -> Result<FileStore, StoreError> {
    let (fd, writable) = open_as_wanted(spec)?;
    let found = fstat(&fd).map_err(|errno| failed(cause(errno, Medium::Path)))?;
    if let Some(size) = spec.filesize
        && writable
        && FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
        && found.st_size == 0
    {
        ftruncate(&fd, size).map_err(|errno| failed(cause(errno, Medium::File)))?;
    }
    let found = fstat(&fd).map_err(|errno| failed(cause(errno, Medium::Path)))?;
    let probe = examine(spec, Some(&fd), &found)?;
    let block = u32::try_from(found.st_blksize).unwrap_or(0);
    Ok(FileStore::new(fd, probe, writable, block, poison))
}

/// A FIFO or a terminal in the place of a disk must neither hang nor take us over.
const FLAGS: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

fn open_as_wanted(spec: &Spec) -> Result<(OwnedFd, bool), StoreError> {
    if spec.write == Access::ReadOnly {
        return Ok((open_for_reading(spec)?, false));
    }
    let mut opened = open_path(&spec.path, FLAGS | OFlags::RDWR, Mode::empty());
    if opened.as_ref().err() == Some(&Errno::NOENT) && creates(spec) {
        // Exclusively: a link that leads nowhere stands for a device that is away, and not for a file to be made there.
        let make = FLAGS | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        opened = match open_path(&spec.path, make, Mode::RUSR | Mode::WUSR) {
            Err(Errno::EXIST) => open_path(&spec.path, FLAGS | OFlags::RDWR, Mode::empty()),
            opened => opened,
        };
    }
    match opened {
        Ok(fd) => Ok((fd, true)),
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Ok((open_for_reading(spec)?, false)),
        Err(errno) => Err(failed(cause(errno, Medium::Path))),
    }
}

fn open_for_reading(spec: &Spec) -> Result<OwnedFd, StoreError> {
    open_path(&spec.path, FLAGS | OFlags::RDONLY, Mode::empty())
        .map_err(|errno| failed(cause(errno, Medium::Path)))
}

/// Never among the devices: what is missing there is away, and a file in its place would be memory, and in the way of the
/// device when it returns.
fn creates(spec: &Spec) -> bool {
    spec.write == Access::ReadWrite && spec.filesize.is_some() && !spec.path.starts_with("/dev")
}

fn to_be_created(spec: &Spec) -> Probe {
    let identity = Identity::File { dev: 0, ino: 0 };
    Probe { identity, size: spec.filesize.unwrap_or(0), kind: Kind::File, device: None }
}

/// From what the system says about the thing itself.
fn examine(spec: &Spec, fd: Option<&OwnedFd>, found: &Stat) -> Result<Probe, StoreError> {
    let rdev = (major(found.st_rdev), minor(found.st_rdev));
    match (FileType::from_raw_mode(found.st_mode), fd) {
        (FileType::RegularFile, _) => {
            let there = u64::try_from(found.st_size).unwrap_or(0);
            let extends = there == 0 && creates(spec);
            let size = if extends { spec.filesize.unwrap_or(0) } else { window(spec.filesize, there)? };
            let identity = Identity::File { dev: found.st_dev, ino: found.st_ino };
            Ok(Probe { identity, size, kind: Kind::File, device: None })
        }
        (FileType::BlockDevice, Some(fd)) => {
            let device = device(fd, rdev)?;
            let size = window(spec.filesize, device.size)?;
            Ok(Probe { identity: Identity::Device(device), size, kind: Kind::BlockDevice, device: None })
        }
        (FileType::Directory, _) => Err(unsupported("it is a directory")),
        // No size makes a disk of these.
        (FileType::Fifo, _) => Err(unsupported("it is a FIFO, which is no disk")),
        (FileType::Socket, _) => Err(unsupported("it is a socket, which is no disk")),
        (kind, _) => match spec.filesize {
            Some(size) if kind == FileType::CharacterDevice => Ok(Probe {
                identity: Identity::Placeholder { rdev },
                size,
                kind: Kind::Placeholder,
                device: None,
            }),
            _ => Err(unsupported("it is neither a file nor a disk and has no size of its own; set filesize")),
        },
    }
}

/// All that identifies the disk behind an open descriptor.
pub(crate) fn device(fd: &OwnedFd, rdev: (u32, u32)) -> Result<DeviceIdentity, StoreError> {
    let size = sys::device_size(fd).map_err(|errno| failed(cause(errno, Medium::Path)))?;
    if size == 0 {
        return Err(failed(Cause::Lost("the device has no medium: its size is 0".into())));
    }
    let mut device = Sysfs::default().device(rdev);
    // The descriptor knows its own disk; a /sys entry of another number is another disk's already.
    if let Ok(diskseq) = sys::disk_sequence(fd) {
        if device.diskseq.is_some_and(|there| there != diskseq) {
            device = DeviceIdentity { rdev, partition: device.partition, ..DeviceIdentity::default() };
        }
        device.diskseq = Some(diskseq);
    }
    device.size = size;
    Ok(device)
}

/// `filesize` cuts a window; it cannot make a disk larger.
pub(crate) fn window(filesize: Option<u64>, there: u64) -> Result<u64, StoreError> {
    match filesize {
        Some(wanted) if wanted > there => Err(unsupported(&format!(
            "Size of exported file is too big: filesize is {wanted}, and {there} bytes are there"
        ))),
        Some(wanted) => Ok(wanted),
        None => Ok(there),
    }
}

pub(crate) fn unsupported(why: &str) -> StoreError {
    failed(Cause::Unsupported(why.into()))
}

pub(crate) fn failed(cause: Cause) -> StoreError {
    StoreError { verb: Verb::Open, offset: 0, len: 0, cause }
}
