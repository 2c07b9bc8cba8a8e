//! Directories that are gone when the test is.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new, empty directory, removed with everything in it on drop.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes one; `what` is part of its name, for whoever finds it after a crash.
    ///
    /// # Panics
    /// Where the system's temporary directory cannot be written.
    pub fn new(what: &str) -> Self {
        Self::inside(&std::env::temp_dir(), what)
    }

    /// As [`TempDir::new`], in memory where the system has a place for that: for tests that sync so often that a real disk
    /// would be all they wait for.
    pub fn in_memory(what: &str) -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::inside(memory, what) } else { Self::new(what) }
    }

    fn inside(parent: &Path, what: &str) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        loop {
            let n = MADE.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("nbd-test-{what}-{}-{n}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Self(path),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot make {}: {error}", path.display()),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path inside it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes a sparse file of a size and gives its path.
    pub fn sparse(&self, name: &str, size: u64) -> PathBuf {
        let path = self.join(name);
        let made = std::fs::File::create(&path).and_then(|file| file.set_len(size));
        made.unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_goes_with_its_owner() {
        let (one, two) = (TempDir::new("kit"), TempDir::new("kit"));
        assert_ne!(one.path(), two.path());
        let file = one.sparse("disk", 4096);
        assert_eq!(file.metadata().unwrap().len(), 4096);
        drop(one);
        assert!(!file.exists() && two.path().exists());
    }
}
