//! A disk that lasts as long as it is open.

use crate::errno::{Medium, cause, retry};
use crate::file::FileStore;
use crate::open::failed;
use crate::scratch::of_ours;
use crate::{Poison, StoreError};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, fstat, ftruncate, open, unlink};
use rustix::io::Errno;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// 62^6 names: that so many in a row are taken does not happen by chance.
const TRIES: u32 = 100;
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Makes a sparse file of `size` bytes beside `path`, as `PATH.0-XXXXXX`, and takes its name away at once: its space is
/// free again when the store is dropped, even by a crash (C-158). Nobody else can open it.
///
/// # Errors
/// What the system says to making it: [`crate::Cause::Io`] for a directory that is not there,
/// [`crate::Cause::Forbidden`] for one that may not be written, [`crate::Cause::NoSpace`] for a size that no file there
/// can have.
pub fn open_temporary(path: &Path, size: u64, poison: Arc<Poison>) -> Result<FileStore, StoreError> {
    let refused = |errno| failed(cause(errno, Medium::Path));
    let (fd, name) = make(|attempt| named(path, attempt)).map_err(refused)?;
    unlink(&name).map_err(refused)?;
    retry(|| ftruncate(&fd, size)).map_err(refused)?;
    let made = fstat(&fd).map_err(refused)?;
    let mut store = of_ours(fd, &made, size, poison, None);
    store.passing = true;
    Ok(store)
}

/// Exclusively: what has a name already, be it a link that leads nowhere, is not ours.
fn make(named: impl Fn(u32) -> PathBuf) -> Result<(OwnedFd, PathBuf), Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut last = Errno::EXIST;
    for attempt in 0..TRIES {
        let name = named(attempt);
        match open(&name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => return Ok((fd, name)),
            Err(Errno::EXIST | Errno::INTR) => last = Errno::EXIST,
            Err(errno) => return Err(errno),
        }
    }
    Err(last)
}

/// The keys of std's hashes are random for each one.
fn named(path: &Path, attempt: u32) -> PathBuf {
    let mut random = RandomState::new().hash_one((attempt, std::process::id()));
    let mut name = path.as_os_str().to_owned();
    name.push(".0-");
    for _ in 0..6 {
        name.push(char::from(LETTERS[(random % 62) as usize]).to_string());
        random /= 62;
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use std::collections::HashSet;
    use std::fs;

    /// C-158
    #[test]
    fn a_name_that_is_taken_is_left_alone() {
        let dir = TempDir::new("temporary");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("0"), [7; 10]).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("1")).unwrap();
        let (_, name) = make(|attempt| at(&attempt.to_string())).unwrap();
        assert_eq!((name, fs::read(at("0")).unwrap()), (at("2"), vec![7; 10]));
        assert!(!at("nowhere").exists());
        assert_eq!(make(|_| at("0")).unwrap_err(), Errno::EXIST, "it does not try for ever");
    }

    #[test]
    fn names_are_as_the_original_makes_them_and_differ() {
        let names: HashSet<PathBuf> = (0..1000).map(|_| named(Path::new("/x/disk"), 0)).collect();
        assert!(names.len() > 990);
        for name in names {
            let name = name.to_str().unwrap();
            let random = name.strip_prefix("/x/disk.0-").unwrap();
            assert!(random.len() == 6 && random.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
        }
    }
}
