//! `vm`: the long form of what runs on a virtual machine. The short form is among the tests of `lab`.

use crate::packages;
use crate::run::{Failed, Run};

/// All of it, or the tests with this name.
pub fn vm(args: &[String]) -> Result<(), Failed> {
    packages::for_building();
    packages::provide();
    Run::cargo(["build", "-p", "server", "--bins"]).args(packages::server_features()).go("the server")?;
    // One machine at a time: each has two processors.
    Run::cargo(["test", "-p", "lab", "--test", "machine", "--"])
        .args(args)
        .args(["--include-ignored", "--nocapture", "--test-threads=1"])
        .go("a virtual machine")
}
