//! A disk as a tree of small files, one for each page of 4096 bytes, as nbd-server 3.24 lays it out. A page that was
//! never written has no file and reads as zeros.
//!
//! Every request opens the pages that it touches and closes them again. So there is nothing to keep in step: whoever
//! opens a page finds its file as the others left it, and a write that meets a removal is either before it, and goes
//! with the file, or behind it, and makes a new one.

mod page;
mod root;
mod verbs;

use crate::errno::retry;
use crate::errno::{Medium, cause};
use crate::identity::Identity;
use crate::open::{failed, unsupported};
use crate::sync::{Syncs, Unsynced};
use crate::{Access, Cause, Durability, Kind, Poison, Probe, Spec, StoreError, Verb};
use page::{PAGE, Part, Shape, name};
use root::{Page, Root, remove};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, OFlags, ftruncate, stat, syncfs};
use rustix::io::{Errno, pread, pwrite};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// An opened tree.
#[derive(Debug)]
pub struct TreeStore {
    root: Root,
    shape: Shape,
    identity: Identity,
    writable: bool,
    /// The system can say "not without waiting", as far as is known.
    nowait: AtomicBool,
    syncs: Syncs,
    poison: Arc<Poison>,
}

/// What is in the tree from a page on, up to another page.
enum Stretch {
    /// Nothing: a directory on the way is not there.
    Absent(u64),
    /// Pages of one directory.
    Leaf(OwnedFd, u64),
}

impl TreeStore {
    /// Opens the tree in the directory at the path, with the size that it was made with; reading alone where files may
    /// not be made there. The directory itself is never made.
    ///
    /// # Errors
    /// [`Cause::Io`] where nothing is there, [`Cause::Unsupported`] where something else is.
    pub fn open(spec: &Spec, poison: Arc<Poison>) -> Result<Self, StoreError> {
        let root = Root::open(&spec.path).map_err(no_directory)?;
        let writable = spec.write == Access::ReadWrite && root.may_write();
        let identity = Identity::Directory { dev: root.stat.st_dev, ino: root.stat.st_ino };
        let shape = Shape::new(spec.filesize.unwrap_or(0));
        let (nowait, syncs) = (AtomicBool::new(true), Syncs::default());
        Ok(Self { root, shape, identity, writable, nowait, syncs, poison })
    }

    /// Which directory was opened.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    fn failed(&self, verb: Verb, page: u64, errno: Errno) -> StoreError {
        let file = || self.shape.file(page);
        let cause = match errno {
            Errno::NOENT if matches!(self.root.is_there(), Ok(false)) => removed(),
            Errno::LOOP => {
                Cause::Other(format!("{}: there is a link on the way, and it is not followed", file()))
            }
            Errno::XDEV => Cause::Other(format!("{}: another file system is mounted on the way", file())),
            Errno::NOTSUP => Cause::Other(format!("{} is not a file", file())),
            errno => cause(errno, Medium::File),
        };
        StoreError { verb, offset: page.saturating_mul(PAGE), len: PAGE, cause }
    }

    /// Where a page is absent the whole tree could be.
    fn still_there(&self, verb: Verb) -> Result<(), StoreError> {
        match self.root.is_there() {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError { verb, offset: 0, len: self.shape.size, cause: removed() }),
            Err(errno) => Err(self.failed(verb, 0, errno)),
        }
    }

    /// Before any change: pages are opened anew each time, so nothing else holds a reader back. With a poisoned export
    /// nothing durable is begun.
    fn may_change(
        &self,
        verb: Verb,
        offset: u64,
        len: u64,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let refused = |cause| Err(StoreError { verb, offset, len, cause });
        match durability {
            _ if !self.writable => refused(Cause::Forbidden),
            Durability::Durable if self.poison.poisoned() => refused(Cause::Poisoned),
            _ => Ok(()),
        }
    }

    /// A change that has been made is durable when that was asked for.
    fn settle(&self, offset: u64, len: u64, durability: Durability) -> Result<(), StoreError> {
        match durability {
            Durability::Cached => Ok(()),
            Durability::Durable => self.sync(offset, len),
        }
    }

    /// The whole file system: new and removed files, and their directories' entries, are part of the disk.
    fn sync(&self, offset: u64, len: u64) -> Result<(), StoreError> {
        let failed = |cause| Err(StoreError { verb: Verb::Flush, offset, len, cause });
        match self.syncs.run(&self.poison, "syncfs", || retry(|| syncfs(&self.root))) {
            Ok(()) => Ok(()),
            Err(Unsynced::Failed(errno)) => failed(cause(errno, Medium::File)),
            Err(Unsynced::Poisoned) => failed(Cause::Poisoned),
        }
    }

    /// Fills `into`; false where the page is absent.
    fn read_part(&self, part: Part, into: &mut [u8]) -> Result<bool, StoreError> {
        let page = match self.root.page(&self.shape.file(part.page), OFlags::RDONLY) {
            Ok(page) => page,
            Err(Errno::NOENT) => {
                into.fill(0);
                return Ok(false);
            }
            Err(errno) => return Err(self.failed(Verb::Read, part.page, errno)),
        };
        let mut done = 0;
        while done < into.len() {
            match retry(|| pread(&page.fd, &mut into[done..], part.within + done as u64)) {
                // A file that was made and not yet filled, by us or by the original.
                Ok(0) => {
                    into[done..].fill(0);
                    break;
                }
                Ok(count) => done += count,
                Err(errno) => return Err(self.failed(Verb::Read, part.page, errno)),
            }
        }
        Ok(true)
    }

    /// Writes into a page, which is made where it is absent.
    fn write_part(&self, verb: Verb, part: Part, bytes: &[u8]) -> Result<(), StoreError> {
        let page = self.page_to_write(part.page).map_err(|errno| self.failed(verb, part.page, errno))?;
        self.fill(verb, &page, part, bytes)
    }

    /// Writes zeros into a page that is there.
    fn clear_part(&self, verb: Verb, part: Part) -> Result<(), StoreError> {
        match self.root.page(&self.shape.file(part.page), OFlags::WRONLY) {
            Ok(page) => self.fill(verb, &page, part, &ZEROS[..part.len as usize]),
            Err(Errno::NOENT) => self.still_there(verb),
            Err(errno) => Err(self.failed(verb, part.page, errno)),
        }
    }

    fn fill(&self, verb: Verb, page: &Page, part: Part, bytes: &[u8]) -> Result<(), StoreError> {
        let failed = |errno| self.failed(verb, part.page, errno);
        // The original fails to read behind the end of a page's file. It only ever grows: two who do this at once do no
        // harm to each other.
        if page.len < PAGE && part.len < PAGE {
            retry(|| ftruncate(&page.fd, PAGE)).map_err(failed)?;
        }
        let mut done = 0;
        while done < bytes.len() {
            match retry(|| pwrite(&page.fd, &bytes[done..], part.within + done as u64)) {
                Ok(0) => return Err(failed(Errno::IO)),
                Ok(count) => done += count,
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(())
    }

    fn page_to_write(&self, page: u64) -> Result<Page, Errno> {
        let file = self.shape.file(page);
        let there = self.root.page(&file, OFlags::WRONLY);
        if there.as_ref().err() != Some(&Errno::NOENT) {
            return there;
        }
        let made = self.root.make_page(&file);
        if made.as_ref().err() != Some(&Errno::NOENT) {
            return made;
        }
        self.shape.directories(page).try_for_each(|directory| self.root.make_directory(&directory))?;
        self.root.make_page(&file)
    }

    /// Makes pages absent. Where a directory does not let go of a page, `refused` is called for it instead.
    fn remove(
        &self,
        verb: Verb,
        pages: Range<u64>,
        refused: impl Fn(u64) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut at = pages.start;
        while at < pages.end {
            at = match self.stretch(verb, at)? {
                Stretch::Absent(end) => end,
                Stretch::Leaf(directory, end) => {
                    for page in at..end.min(pages.end) {
                        match remove(&directory, &name(page)) {
                            Ok(()) => {}
                            Err(Errno::PERM | Errno::ACCESS) => refused(page)?,
                            Err(errno) => return Err(self.failed(verb, page, errno)),
                        }
                    }
                    end
                }
            };
        }
        self.still_there(verb)
    }

    /// What is in the tree from a page on. Where directories are missing it is a long way to the next one that is there.
    fn stretch(&self, verb: Verb, page: u64) -> Result<Stretch, StoreError> {
        let failed = |errno| self.failed(verb, page, errno);
        let leaf = || self.root.directory(&self.shape.leaf(page));
        match leaf() {
            Ok(directory) => return Ok(Stretch::Leaf(directory, self.shape.end_of_leaf(page))),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
        for (depth, directory) in (1..).zip(self.shape.directories(page)) {
            match self.root.directory(&directory) {
                Ok(_) => {}
                Err(Errno::NOENT) => return Ok(Stretch::Absent(self.shape.end_below(page, depth))),
                Err(errno) => return Err(failed(errno)),
            }
        }
        // It was made meanwhile.
        Ok(Stretch::Leaf(leaf().map_err(failed)?, self.shape.end_of_leaf(page)))
    }
}

static ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

fn removed() -> Cause {
    Cause::Lost("the directory of the tree has been removed".into())
}

fn no_directory(errno: Errno) -> StoreError {
    match errno {
        Errno::NOTDIR => unsupported("it is not a directory, and a tree of files is kept in one"),
        errno => failed(cause(errno, Medium::Path)),
    }
}

/// Looks at the directory at the path.
pub(crate) fn probe_tree(spec: &Spec) -> Result<Probe, StoreError> {
    let found = stat(&spec.path).map_err(no_directory)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return Err(no_directory(Errno::NOTDIR));
    }
    let identity = Identity::Directory { dev: found.st_dev, ino: found.st_ino };
    Ok(Probe { identity, size: spec.filesize.unwrap_or(0), kind: Kind::File, device: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use crate::{Layout, Store, ZeroHow};
    use std::fs;
    use std::path::PathBuf;

    const SIZE: u64 = 8 << 30;

    fn open(path: PathBuf) -> TreeStore {
        let spec = Spec { path, filesize: Some(SIZE), write: Access::ReadWrite, layout: Layout::Tree };
        TreeStore::open(&spec, Arc::new(Poison::new())).unwrap()
    }

    fn stepwise(path: PathBuf) -> TreeStore {
        let tree = open(path);
        TreeStore { root: tree.root.stepwise(), ..tree }
    }

    /// P6: the system tells of a lost page once. Every promise after that is refused.
    #[test]
    fn a_failed_sync_of_the_file_system_is_not_forgotten() {
        let dir = TempDir::new("tree");
        let tree = open(dir.path().into());
        tree.write_at(&[1; 4096], 0, Durability::Durable).unwrap();
        tree.syncs.inject.lock().unwrap().push_back(Errno::IO);
        let error = tree.write_at(&[2; 4096], 0, Durability::Durable).unwrap_err();
        assert_eq!((error.verb, error.cause), (Verb::Flush, Cause::Io(5)));
        assert_eq!(tree.poison.failure().unwrap(), "syncfs failed: Input/output error (os error 5)");
        assert_eq!(tree.flush().unwrap_err().cause, Cause::Poisoned);
        tree.poison.clear();
        // Each way of changing something durably asks.
        let how = ZeroHow { may_punch: true, fast_only: false };
        let durable: [&dyn Fn() -> Result<(), StoreError>; 4] = [
            &|| tree.flush(),
            &|| tree.write_at(&[3], 0, Durability::Durable),
            &|| tree.zero(0, 4096, how, Durability::Durable),
            &|| tree.trim(0, 4096, Durability::Durable),
        ];
        for act in durable {
            tree.syncs.inject.lock().unwrap().push_back(Errno::IO);
            assert_eq!(act().unwrap_err().cause, Cause::Io(5));
            tree.poison.clear();
        }
        tree.write_at(&[4], 0, Durability::Cached).unwrap();
        assert!(tree.syncs.inject.lock().unwrap().is_empty(), "nothing else was synced");
    }

    /// Before Linux 5.6 the same tree by another way, and no way out either.
    #[test]
    fn without_the_newer_call_the_same_is_done_step_by_step() {
        let (dir, outside) = (TempDir::new("tree"), TempDir::new("outside"));
        let (tree, newer) = (stepwise(dir.path().into()), open(dir.path().into()));
        let middle = SIZE / 2 - 1000;
        tree.write_at(&[7; 2000], middle, Durability::Durable).unwrap();
        let read = |tree: &TreeStore, offset| {
            let mut bytes = [0xee; 2000];
            tree.read_at(&mut bytes, offset).map(|()| bytes)
        };
        assert!(read(&newer, middle).unwrap() == [7; 2000] && read(&tree, middle).unwrap() == [7; 2000]);
        assert!(read(&tree, 0).unwrap() == [0; 2000]);
        assert_eq!(tree.try_read(&mut [0; 2000], middle), Ok(false), "it cannot tell what is at hand");
        assert_eq!(tree.map(0, SIZE, 9).unwrap(), newer.map(0, SIZE, 9).unwrap());
        tree.trim(0, SIZE, Durability::Cached).unwrap();
        assert!(read(&newer, middle).unwrap() == [0; 2000]);

        fs::write(outside.path().join("FILE0000"), [9; 4096]).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("TREE0000/TREE0000")).unwrap();
        read(&tree, 0).unwrap_err();
        tree.write_at(&[1], 0, Durability::Cached).unwrap_err();
        tree.trim(0, 4096, Durability::Cached).unwrap_err();
        assert_eq!(fs::read(outside.path().join("FILE0000")).unwrap(), [9; 4096]);
    }

    /// A sync would not reach it, and so nothing is written there.
    #[test]
    fn another_file_system_inside_a_tree_is_not_entered() {
        let shape = Shape::new(SIZE);
        assert_eq!(shape.file(0), "TREE0000/TREE0000/FILE0000");
        // The root of the system as a tree, with the name of something that is mounted there.
        for root in [Root::open("/".as_ref()).unwrap(), Root::open("/".as_ref()).unwrap().stepwise()] {
            assert_eq!(root.page("proc/self/status", OFlags::RDONLY).unwrap_err(), Errno::XDEV);
            assert_eq!(root.directory("proc").unwrap_err(), Errno::XDEV);
        }
    }

    /// What was just read is at hand, present or absent, where the system can tell.
    #[test]
    fn pages_in_the_cache_are_at_hand() {
        let dir = TempDir::new("tree");
        let tree = open(dir.path().into());
        tree.write_at(&[7; 4096], 4096, Durability::Cached).unwrap();
        let mut bytes = [0xee; 3 * 4096];
        tree.read_at(&mut bytes, 0).unwrap();
        let at_hand = tree.try_read(&mut bytes, 0).unwrap();
        assert!(at_hand || !tree.nowait.load(std::sync::atomic::Ordering::Relaxed));
        assert!(bytes == [[0; 4096], [7; 4096], [0; 4096]].concat()[..]);
    }
}
