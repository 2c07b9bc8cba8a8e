//! What a test may need from the machine. What is missing is said aloud, and is a failure in CI.

use std::io::Write;
use std::path::PathBuf;

/// Says that a test does not run for want of something.
///
/// # Panics
/// Where the environment has `CI=true`: there a missing tool is a fault of the machine, not a reason to be green.
#[track_caller]
pub fn skip_or_fail(test: &str, what: &str) {
    // Not `eprintln!`: the test harness swallows that for tests that pass.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: needs {what}");
    assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{test} needs {what}, and CI=true");
}

/// Where a program is, looked for in PATH and the system's own directories.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Whether the test runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs something without root's rights, in a thread of its own: root may write whatever its mode says.
///
/// # Panics
/// Where it panics, or root's rights cannot be given up.
pub fn without_root<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{Uid, set_thread_uid};
    let nobody = Uid::from_raw(65_534);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if is_root() {
                set_thread_uid(nobody).expect("root may become nobody");
            }
            act()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Raises how many descriptors this process may have as far as it goes, and says how many that is.
pub fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let reached = if setrlimit(Resource::Nofile, wanted).is_ok() { limit.maximum } else { limit.current };
    reached.unwrap_or(1 << 20)
}
