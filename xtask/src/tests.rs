//! `t` and `test`.

use crate::run::{Failed, Run, all, target};
use crate::{fuzz, interop, packages};

/// Unit tests of all crates and the tests of session.
pub fn quick(args: &[String]) -> Result<(), Failed> {
    let features = packages::server_features();
    let unit =
        Run::cargo(["test", "--quiet", "--workspace", "--lib"]).args(features).args(args).go("unit tests");
    let session = Run::cargo(["test", "--quiet", "-p", "session", "--test", "*"]).args(args);
    all([unit, session.go("session tests")])
}

/// Everything, and first what it needs from the machine. A part that fails does not keep the next from running.
pub fn everything(_: &[String]) -> Result<(), Failed> {
    packages::for_building();
    packages::provide();
    let features = packages::server_features();
    all([
        Run::cargo(["test", "--workspace", "--no-fail-fast"]).args(features).go("cargo test --workspace"),
        loom(),
        crate::demo(&[]),
        interop::interop(&[]),
        fuzz::builds(),
    ])
}

/// The gate, over all interleavings. Its flag changes every crate, so it builds in a directory of its own.
fn loom() -> Result<(), Failed> {
    Run::cargo(["test", "-p", "session", "--test", "gate_loom", "--release"])
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", target().join("loom"))
        .go("the gate over all interleavings (loom)")
}
