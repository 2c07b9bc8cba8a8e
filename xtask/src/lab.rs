//! `lab` and `vm`: the long forms of what runs on whole machines. Their short forms are among the tests of the crate `lab`.

use crate::packages;
use crate::run::{Failed, Run};

/// Distributions and containers: all of it, or the tests with this name.
pub fn containers(args: &[String]) -> Result<(), Failed> {
    long_form("distributions and containers", &["docker", "deploy", "operations", "package", "units"], args)
}

/// A virtual machine: all of it, or the tests with this name.
pub fn vm(args: &[String]) -> Result<(), Failed> {
    long_form("a virtual machine", &["machine"], args)
}

/// One at a time: each wants both processors.
fn long_form(what: &str, files: &[&str], args: &[String]) -> Result<(), Failed> {
    packages::provide();
    Run::cargo(["test", "-p", "lab"])
        .args(files.iter().flat_map(|file| ["--test", file]))
        .args(["--"])
        .args(args)
        .args(["--include-ignored", "--nocapture", "--test-threads=1"])
        .go(what)
}
