//! Every configuration that we show somebody is one that works: those in `examples/` and those in the manual.
#![allow(missing_docs)]

mod common;

use common::server;
use std::fs;
use std::path::{Path, PathBuf};
use testkit::spec::REP_ERR_POLICY;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Starts a server with a text that was written for `/etc`, `/srv`, `/dev` and a well-known port, moved into a
/// directory of its own, and asks for an export.
fn try_out(name: &str, text: &str, export: &str) {
    let setup = server();
    let disk = setup.dir().join("vdb.img");
    fs::write(&disk, [1; 4096]).expect("a disk");
    let here = disk.display().to_string();
    let moved = text
        .replace("port = 10809", "port = {port}")
        .replace("port = 20809", "port = {port}")
        .replace("[generic]\n", "[generic]\nlistenaddr = 127.0.0.1\n")
        .replace("/etc/nbd-server/conf.d", "{conf.d}")
        .replace("/dev/vdb", &here);
    let listens = moved.contains("port =");
    let moved = if listens { moved } else { moved.replace("[generic]\n", "[generic]\nport = {port}\n") };
    let (main, snippet) = if moved.contains("[generic]") {
        (moved, format!("[volume]\nexportname = {here}\n"))
    } else {
        ("[generic]\nport = {port}\nlistenaddr = 127.0.0.1\nincludedir = {conf.d}\n".into(), moved)
    };
    let server = setup.file("volume.conf", &snippet).main(&main.replace("/srv", "{dir}")).start();
    let answer = server.connect().go(export);
    let wants_another = text.contains("identity =");
    match answer {
        Ok(info) => assert!(!wants_another && info.size > 0, "{name}"),
        Err((kind, why)) => {
            assert!(wants_another && kind == REP_ERR_POLICY && why.contains("is wanted"), "{name}: {why}");
        }
    }
    let odd = |line: &&String| {
        line.contains("ignored") || line.contains("not supported") || line.contains("did you mean")
    };
    assert_eq!(server.lines().iter().find(odd), None, "{name}: nothing in it is strange");
}

#[test]
fn every_example_starts_and_serves() {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("examples")).expect("examples").flatten() {
        if entry.path().is_dir() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = fs::read_to_string(entry.path()).expect("UTF-8");
        try_out(&name, &text, if name == "appliance.conf" { "volume" } else { "database" });
        names.push(name);
    }
    assert_eq!(names.len(), 2, "{names:?}: say here which export a new one serves");
}

#[test]
fn every_configuration_in_the_manual_starts_and_serves() {
    let manual = fs::read_to_string(root().join("docs/man/nbd-server.5.md")).expect("the manual");
    let blocks: Vec<&str> =
        manual.split("```ini\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 3);
    for (number, (block, export)) in blocks.into_iter().zip(["disk", "volume", "database"]).enumerate() {
        try_out(&format!("block {number}"), block, export);
    }
}
