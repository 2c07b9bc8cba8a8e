//! Configuration texts from the file system. A file that is being written is not believed (P5).

use config::SourceError;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// A file younger than this is read again: whoever truncates and writes is between the two.
const SETTLED: Duration = Duration::from_millis(50);
/// A file that goes on changing for this long is not read at all.
const PATIENCE: Duration = Duration::from_secs(2);
/// Nobody's configuration is larger; a mistaken path should not fill the memory.
const LEN_MAX: u64 = 16 << 20;

/// The file system. Relative paths are relative to where the server was started, at each reload too (C-229).
#[derive(Clone, Debug)]
pub struct Files {
    /// Where the server was started.
    pub base: PathBuf,
}

impl config::Sources for Files {
    fn read(&self, path: &Path) -> Result<Vec<u8>, SourceError> {
        let path = &self.base.join(path);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match read_once(path).map_err(|error| unread(path, &error))? {
                Read1::Settled(text) => return Ok(text),
                Read1::Young(rest) => thread::sleep(rest),
                Read1::Changing => thread::sleep(Duration::from_millis(5)),
            }
            if Instant::now() >= deadline {
                let reason = "the file goes on changing while it is read".into();
                return Err(SourceError { missing: false, dangling: false, reason });
            }
        }
    }

    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, SourceError> {
        // Joined to where the server was started it would be that directory.
        if dir.as_os_str().is_empty() {
            return Err(failure(&rustix::io::Errno::NOENT.into()));
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(self.base.join(dir)).map_err(|error| failure(&error))? {
            let entry = entry.map_err(|error| failure(&error))?;
            let path = entry.path();
            let named = path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(b".conf"));
            // A symbolic link is followed, which the original does on some file systems only (C-061). One that leads
            // nowhere, and a file that vanishes meanwhile, are left to `read`.
            let plain = entry.file_type().is_ok_and(|kind| kind.is_file());
            let folder = !plain && fs::metadata(&path).is_ok_and(|what| !what.is_file());
            if named && !folder {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }
}

/// The main file without its snippets.
pub struct MainOnly<'a>(pub &'a Files);

impl config::Sources for MainOnly<'_> {
    fn read(&self, path: &Path) -> Result<Vec<u8>, SourceError> {
        self.0.read(path)
    }

    fn list(&self, _: &Path) -> Result<Vec<PathBuf>, SourceError> {
        Ok(Vec::new())
    }
}

enum Read1 {
    Settled(Vec<u8>),
    Young(Duration),
    Changing,
}

fn read_once(path: &Path) -> io::Result<Read1> {
    // Not blocking: a FIFO in place of the file must not hang the server.
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    let before = file.metadata()?;
    if !before.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if before.len() > LEN_MAX {
        return Err(io::Error::other("larger than 16 MiB, which is no configuration"));
    }
    if let Some(rest) = until_settled(&before) {
        return Ok(Read1::Young(rest));
    }
    let text = read_text(&file)?;
    let after = fs::metadata(path)?;
    let same = stamp(&before) == stamp(&after) && text.len() as u64 == after.len();
    Ok(if same { Read1::Settled(text) } else { Read1::Changing })
}

fn read_text(file: &File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(LEN_MAX + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// A time in the future is a wrong clock, not a young file.
fn until_settled(metadata: &Metadata) -> Option<Duration> {
    let age = SystemTime::now().duration_since(metadata.modified().ok()?).ok()?;
    SETTLED.checked_sub(age).filter(|rest| !rest.is_zero())
}

/// Which file it is, and when it changed last.
pub type Stamp = (u64, u64, u64, i64, i64, i64, i64);

/// Of a file as it is now. Another one means that it was replaced or written.
#[must_use]
pub fn stamp(metadata: &Metadata) -> Stamp {
    (
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

/// A link that leads nowhere is no file that was deleted.
fn unread(path: &Path, error: &io::Error) -> SourceError {
    let failure = failure(error);
    let there = failure.missing && fs::symlink_metadata(path).is_ok();
    if there {
        SourceError { missing: false, dangling: true, reason: "the link leads nowhere".into() }
    } else {
        failure
    }
}

fn failure(error: &io::Error) -> SourceError {
    let missing = error.kind() == io::ErrorKind::NotFound;
    SourceError { missing, dangling: false, reason: error.to_string() }
}
