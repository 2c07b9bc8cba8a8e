//! Programs of this workspace beside the test that runs.

use std::path::PathBuf;
use std::process::{Command, Output};

/// A program of this workspace that is not of the test's own package. All of them are built when the tests are.
///
/// # Panics
/// When it was never built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    // target/debug/deps/test-1234
    let path = test.parent().and_then(|deps| deps.parent()).expect("in a target directory").join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --bins` first", path.display());
    path
}

/// `nbdctl` on this control socket: exit code, what it printed, what it complained of.
///
/// # Panics
/// When it cannot be run, or a signal ended it.
pub fn nbdctl(socket: &std::path::Path, args: &[&str]) -> (i32, String, String) {
    let output: Output =
        Command::new(program("nbdctl")).arg("--socket").arg(socket).args(args).output().expect("nbdctl runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("an exit code"), text(&output.stdout), text(&output.stderr))
}
