//! The OpenAPI document and what is served: what one says the other does.
#![allow(missing_docs)]

mod common;

use common::{Setup, export, session};
use std::path::Path;
use testkit::skip_or_fail;

/// Requests made from the document by schemathesis, in all ways that it knows, good ones and bad ones.
#[test]
fn schemathesis_finds_nothing() {
    let setup = Setup::new();
    for name in ["a", "b c/d%", "migration-vol-1"] {
        setup.fake.add(export(name));
    }
    for id in 1..50 {
        setup.fake.add_session(session(id, "a"));
    }
    match testkit::schemathesis(Path::new(env!("CARGO_TARGET_TMPDIR")), &setup.socket) {
        Ok((clean, report)) => assert!(clean, "{report}"),
        Err(missing) => return skip_or_fail("schemathesis_finds_nothing", &missing),
    }
    assert!(setup.fake.calls().len() > 100, "the server was asked");
}
