//! The real server answers on its control socket as its OpenAPI document says, whatever it is asked.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use std::fs;
use std::path::Path;
use testkit::{setup, skip_or_fail};

#[test]
fn schemathesis_finds_nothing_on_the_real_server() {
    let setup = server();
    let disk = setup.dir().join("disk");
    fs::write(&disk, [7; 4 * BLOCK]).expect("a disk");
    let file = setup::export("vol-1", &disk, "");
    let server = setup.export("in-main", &disk, "").file("vol-1.conf", &file).start();
    let mut client = server.open("in-main");
    match testkit::schemathesis(Path::new(env!("CARGO_TARGET_TMPDIR")), &server.control_path()) {
        Ok((clean, report)) => assert!(clean, "{report}"),
        Err(missing) => return skip_or_fail("schemathesis_finds_nothing_on_the_real_server", &missing),
    }
    // Whoever was connected may have been fenced; whoever comes is served.
    let _ = client.read(0, 1);
    assert_eq!(server.open("in-main").read(0, 1), Ok(vec![7]));
}
