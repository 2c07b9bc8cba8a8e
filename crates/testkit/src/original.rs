//! Debian's `nbd-server` 3.24 as a peer.

use crate::need::tool;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// At each start 3.24 makes Diffie-Hellman parameters, whether it will speak TLS or not: a search for primes that takes a
/// processor for up to two seconds. Without them a handshake takes elliptic curves.
const WITHOUT_PARAMETERS: &str =
    "int gnutls_dh_params_generate2(void *p, unsigned b) { (void)p; (void)b; return 0; }\n";

/// What to name in `LD_PRELOAD` for 3.24 to start at once, where nothing is said of TLS. None without a compiler: then
/// it takes longer.
pub fn starts_at_once() -> Option<PathBuf> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    MADE.get_or_init(make).clone()
}

fn make() -> Option<PathBuf> {
    let compiler = ["cc", "gcc"].iter().find_map(|name| tool(name))?;
    let dir = std::env::current_exe().ok()?.parent()?.to_path_buf();
    // Several tests may be at it.
    let (made, library) = (dir.join(format!("original-{}.so", std::process::id())), dir.join("original.so"));
    let mut child = Command::new(compiler)
        .args(["-shared", "-fPIC", "-x", "c", "-", "-o"])
        .arg(&made)
        .stdin(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(WITHOUT_PARAMETERS.as_bytes()).ok()?;
    let compiled = child.wait().ok()?.success();
    (compiled && std::fs::rename(&made, &library).is_ok()).then_some(library)
}
