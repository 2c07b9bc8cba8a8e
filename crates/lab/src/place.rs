//! Where things are, and whether what a test needs is there.

use std::fs::File;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository is there")
}

/// A directory below `target/lab`, whose content outlives the tests.
///
/// # Panics
/// Where it cannot be made.
pub fn kept(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    // target/debug/deps/test-1234
    let target = test.ancestors().nth(3).expect("in a target directory");
    let dir = target.join("lab").join(name);
    std::fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    dir
}

/// Held by whoever makes or uses something below `target/lab`.
pub(crate) fn lock(name: &str) -> File {
    let path = kept("locks").join(name);
    let file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.lock().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file
}

/// What of these programs is not there, or root's rights, for [`testkit::skip_or_fail`].
pub fn missing(programs: &[&str]) -> Option<String> {
    if !testkit::is_root() {
        return Some("root".into());
    }
    programs.iter().find(|name| testkit::tool(name).is_none()).map(|name| (*name).to_owned())
}
