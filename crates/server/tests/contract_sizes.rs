//! What is opened and how large it is: statements of the contract about opening that we keep.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use testkit::setup::free_port;
use testkit::spec::*;
use testkit::{Client, TempDir};

/// C-144, C-145, C-157
#[test]
fn a_file_has_the_size_that_it_has() {
    let setup = server();
    let mut setup = setup;
    for size in [0, 1, 511, 4097, 1_000_001] {
        let path = setup.dir().join(format!("{size}.img"));
        fs::write(&path, vec![3; size]).expect("a disk");
        setup = setup.export(&size.to_string(), &path, "");
    }
    std::os::unix::fs::symlink("4097.img", setup.dir().join("link")).expect("a link");
    let link = setup.dir().join("link");
    let server = setup.export("link", &link, "").start();
    for size in [0_u64, 1, 511, 4097, 1_000_001] {
        let mut client = server.connect();
        assert_eq!(client.go(&size.to_string()).expect("served").size, size);
        assert_eq!(client.read(size, 1), Err(EINVAL));
        if size > 0 {
            assert_eq!(client.read(size - 1, 1), Ok(vec![3]));
        }
    }
    assert_eq!(server.connect().go("link").expect("served").size, 4097);
}

/// C-148, C-149, C-150
#[test]
fn a_size_of_its_own_cuts_makes_and_extends() {
    let setup = server();
    let path = |name: &str| setup.dir().join(name);
    let (disk, made, empty, none) = (path("disk"), path("made"), path("empty"), path("none"));
    fs::write(&disk, [3; 2 * BLOCK]).expect("a disk");
    fs::write(&empty, "").expect("a file");
    let server = setup
        .export("cut", &disk, "filesize = 4096")
        .export("beyond", &disk, "filesize = 8193")
        .export("made", &made, "filesize = 12345")
        .export("empty", &empty, "filesize = 12345")
        .export("none", &none, "filesize = 12345\nreadonly = true")
        .start();
    assert_eq!(server.connect().go("cut").expect("served").size, 4096);
    let refused = server.connect().go("beyond").expect_err("too big");
    assert_eq!(refused.0, REP_ERR_POLICY);
    let said = |words: &str| {
        server.wait_for(|line| line.contains(words), std::time::Duration::from_secs(20)).is_some()
    };
    assert!(said("Size of exported file is too big"), "{:?}", server.lines());
    for (name, path) in [("made", &made), ("empty", &empty)] {
        assert_eq!(server.connect().go(name).expect("served").size, 12_345);
        assert_eq!(fs::metadata(path).expect("there").len(), 12_345);
    }
    assert_eq!(fs::metadata(&made).expect("there").permissions().mode() & 0o7777, 0o600);
    assert_eq!(server.connect().go("none").expect_err("refused").0, REP_ERR_POLICY);
    assert!(!none.exists(), "nothing is made for reading alone");
}

/// A start is not held up by a disk that is not there yet, and a client that comes later finds it.
///
/// C-098, C-151, C-152
#[test]
fn a_missing_file_is_refused_until_it_is_there() {
    let setup = server();
    let path = setup.dir().join("late.img");
    let server = setup.export("late", &path, "").start();
    let (kind, words) = server.connect().go("late").expect_err("not there");
    assert_eq!(kind, REP_ERR_POLICY);
    assert!(words.starts_with("Access denied by server configuration"), "{words}");
    let mut client = server.connect();
    client.send_option(OPT_EXPORT_NAME, b"late").expect("sent");
    client.expect_eof();
    let line = format!("Could not open exported file {}: No such file or directory", path.display());
    assert!(
        server.wait_for(|text| text.contains(&line), std::time::Duration::from_secs(20)).is_some(),
        "{:?}",
        server.lines()
    );
    fs::write(&path, [5; BLOCK]).expect("a disk");
    assert_eq!(server.connect().go("late").expect("served").size, BLOCK as u64);
}

/// In the background a path begins at `/`, because that is where the server stands; in the foreground where it was
/// started. The first is seen beside the original.
///
/// C-156
#[test]
fn a_relative_path_begins_where_the_server_stands() {
    let (dir, port) = (TempDir::new("relative"), free_port());
    fs::write(dir.join("disk.img"), [9; BLOCK]).expect("a disk");
    let text = format!("[generic]\nport = {port}\nlistenaddr = 127.0.0.1\n[disk]\nexportname = disk.img\n");
    fs::write(dir.join("config"), text).expect("a configuration");
    let mut server = Command::new(env!("CARGO_BIN_EXE_nbd-server"))
        .args(["-d", "-C", "config"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(server.stderr.take().expect("piped")).lines();
    let serves = lines.any(|line| line.is_ok_and(|line| line.contains("Starting to serve")));
    let told = Client::connect_tcp(port).map(|mut client| client.go("disk"));
    let _ = (server.kill(), server.wait());
    assert!(serves, "it serves");
    assert_eq!(told.expect("connected").expect("served").size, BLOCK as u64);
}
