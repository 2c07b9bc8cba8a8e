//! `check`: what must be right before each commit.

use crate::run::{Failed, Run, all, tool};
use crate::{fuzz, packages, tests};

/// Format, lints, quick tests, documentation, licences, tidy.
pub fn check(_: &[String]) -> Result<(), Failed> {
    let features = packages::server_features();
    all([
        Run::cargo(["fmt", "--all", "--check"]).go("format"),
        Run::cargo(["clippy", "--workspace", "--all-targets", "--quiet"])
            .args(features)
            .args(["--", "-D", "warnings"])
            .go("clippy"),
        tests::quick(&[]),
        Run::cargo(["doc", "--workspace", "--no-deps", "--quiet"])
            .args(features)
            .env("RUSTDOCFLAGS", "-D warnings")
            .go("documentation"),
        licences(),
        fuzz::builds(),
        Run::cargo(["test", "--quiet", "-p", "xtask", "--test", "tidy", "--test", "documents"]).go("tidy"),
    ])
}

fn licences() -> Result<(), Failed> {
    let cargo_home = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from);
    let beside = cargo_home.map(|home| home.join("bin/cargo-deny")).filter(|file| file.is_file());
    if tool("cargo-deny").or(beside).is_none() {
        println!("== licences and advisories: SKIPPED, cargo-deny is not installed");
        return Ok(());
    }
    Run::cargo(["deny", "check"]).go("licences and advisories")
}
