//! The integration guide's programs, run against the server: what a program that attaches and detaches volumes calls, in
//! Go, and in shell by nbdctl and by curl.
#![allow(missing_docs)]

mod common;

use common::frozen::{Frozen, wait_until_stuck};
use common::{BLOCK, server};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use testkit::spec::CMD_WRITE;
use testkit::{CLOSED, LoopDevice, ServerProcess, TempDir, program, skip_or_fail, tool};

fn guide() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/integration")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Via {
    Go,
    Nbdctl,
    Curl,
}

/// Those that can be had here; the others are said aloud.
fn all(test: &str) -> Vec<Via> {
    let there = |via: &Via| match via {
        Via::Go => go_program().is_some(),
        Via::Nbdctl => true,
        Via::Curl => tool("curl").is_some(),
    };
    let vias = [Via::Go, Via::Nbdctl, Via::Curl];
    for missing in vias.iter().filter(|via| !there(via)) {
        skip_or_fail(test, if *missing == Via::Go { "go (package golang-go)" } else { "curl" });
    }
    vias.into_iter().filter(there).collect()
}

/// Built once for all tests of this file.
fn go_program() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let go = tool("go")?;
            let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
            let binary = place.join(format!("nbd-integration-{}", std::process::id()));
            let run = |args: &[&str]| {
                let mut command = Command::new(&go);
                command.args(args).current_dir(guide().join("go")).stdin(Stdio::null());
                command.env("GOCACHE", place.join("go-cache")).env("GOPATH", place.join("go-path"));
                // The standard library is enough, and whatever compiler is here.
                command.env("GOPROXY", "off").env("GOTOOLCHAIN", "local").env("GOFLAGS", "");
                let output = command.output().expect("go runs");
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "go {args:?}: {said}");
            };
            run(&["vet", "./..."]);
            run(&["build", "-o", binary.to_str()?, "."]);
            Some(binary)
        })
        .as_deref()
}

/// Exit code, and all that was said.
fn call_at(socket: &Path, via: Via, args: &[&str]) -> (i32, String) {
    let mut command = match via {
        Via::Go => {
            let mut command = Command::new(go_program().expect("it was built"));
            command.arg("-socket").arg(socket).args(["-timeout", "2", "-wait", "2"]);
            command
        }
        Via::Nbdctl | Via::Curl => {
            let mut command = Command::new("sh");
            command.arg(guide().join("hooks.sh"));
            command.env("NBD_VIA", if via == Via::Curl { "curl" } else { "nbdctl" });
            command.env("NBD_SOCKET", socket).env("NBDCTL", program("nbdctl"));
            command.env("NBD_TIMEOUT", "2").env("NBD_WAIT", "2");
            command
        }
    };
    let output = command.args(args).stdin(Stdio::null()).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("an exit code"), text(&output.stdout) + &text(&output.stderr))
}

fn call(server: &ServerProcess, via: Via, args: &[&str]) -> (i32, String) {
    call_at(&server.control_path(), via, args)
}

/// Files that are disks, told apart by their bytes.
fn disks(names: &[&str]) -> TempDir {
    let disks = TempDir::new("disks");
    for name in names {
        fs::write(disks.join(name), [name.as_bytes()[0]; 4 * BLOCK]).expect("a disk");
    }
    disks
}

fn first(server: &ServerProcess, export: &str) -> Option<char> {
    let mut client = server.connect();
    client.go(export).ok()?;
    client.read(0, 1).ok().map(|bytes| char::from(bytes[0]))
}

#[test]
fn after_attach_the_new_device_is_served_and_the_old_one_is_free() {
    let test = "after_attach_the_new_device_is_served_and_the_old_one_is_free";
    for via in all(test) {
        let (server, files) = (server().start(), disks(&["a", "b"]));
        let (Some(old), Some(new)) =
            (LoopDevice::attach(&files.join("a")), LoopDevice::attach(&files.join("b")))
        else {
            return skip_or_fail(test, "loop devices");
        };
        let path = |device: &LoopDevice| device.path().display().to_string();
        let attach = |device: &LoopDevice| call(&server, via, &["attach", "vol-1", &path(device)]);
        assert_eq!(attach(&old).0, 0, "{via:?}");
        let text = fs::read_to_string(server.conf("vol-1.conf")).expect("its file");
        assert!(text.contains("copyonwrite = false") && text.contains("multifile = false"), "{text}");
        let mut job = server.open("vol-1");
        job.write(0, &[1; BLOCK]).expect("a job is under way");
        // Attached again, as another device.
        let (code, said) = attach(&new);
        assert_eq!(code, 0, "{via:?}: {said}");
        assert!(old.detach(), "{via:?}: its disk is free");
        assert_eq!(first(&server, "vol-1"), Some('b'), "{via:?}");
        assert_eq!(job.read(0, 1), Err(CLOSED), "{via:?}");
        assert_eq!(attach(&new).0, 0, "{via:?}: it may be said twice");
    }
}

#[test]
fn after_detach_the_device_is_free_and_another_volume_may_have_its_name() {
    let test = "after_detach_the_device_is_free_and_another_volume_may_have_its_name";
    for via in all(test) {
        let (server, files) = (server().start(), disks(&["a", "b"]));
        let Some(device) = LoopDevice::attach(&files.join("a")) else {
            return skip_or_fail(test, "loop devices");
        };
        let path = device.path().display().to_string();
        assert_eq!(call(&server, via, &["attach", "vol-1", &path]).0, 0);
        let mut job = server.open("vol-1");
        job.write(0, &[1; BLOCK]).expect("a job is under way");
        let (code, said) = call(&server, via, &["detach", "vol-1"]);
        assert_eq!(code, 0, "{via:?}: {said}");
        assert!(device.detach(), "{via:?}: its disk is free");
        device.try_reattach(&files.join("b")).expect("the next volume");
        assert_eq!(job.write(0, &[2; BLOCK]), Err(CLOSED), "{via:?}");
        assert_eq!(call(&server, via, &["detach", "vol-1"]).0, 0, "{via:?}: it may be said twice");
        assert_eq!(call(&server, via, &["attach", "vol-2", &path]).0, 0);
        assert_eq!(first(&server, "vol-2"), Some('b'), "{via:?}");
        assert!(fs::read(files.join("b")).expect("a disk").iter().all(|byte| *byte == b'b'));
    }
}

#[test]
fn what_is_refused_is_said_and_has_changed_nothing() {
    for via in all("what_is_refused_is_said_and_has_changed_nothing") {
        let files = disks(&["a", "b"]);
        let server = server().export("in-main", &files.join("a"), "").start();
        let path = files.join("b").display().to_string();
        let names = || -> Vec<_> {
            let files = fs::read_dir(server.conf("")).expect("conf.d").flatten();
            files.map(|entry| entry.file_name()).collect()
        };
        let (code, said) = call(&server, via, &["attach", "in-main", &path]);
        assert!(code == 1 && said.contains("describes the export"), "{via:?}: {code} {said}");
        let (code, said) = call(&server, via, &["detach", "in-main"]);
        assert!(code == 1 && said.contains("describes the export"), "{via:?}: {code} {said}");
        let main = fs::read_to_string(server.config_path()).expect("the main file");
        fs::write(server.config_path(), "[generic\n").expect("broken");
        let (code, said) = call(&server, via, &["attach", "vol-1", &path]);
        assert!(code == 1 && !said.is_empty(), "{via:?}: {code} {said}");
        fs::write(server.config_path(), main).expect("mended");
        assert_eq!(names(), [""; 0], "{via:?}: no file was written");
        assert_eq!(first(&server, "in-main"), Some('a'), "{via:?}");
        // A device that is not there: the file is written, and nothing is served.
        let (code, said) = call(&server, via, &["attach", "vol-1", "/dev/does-not-exist"]);
        assert_eq!(code, 2, "{via:?}: {said}");
        // Somebody else's broken file is somebody else's.
        server.write_conf("broken.conf", "[broken\n");
        assert_eq!(call(&server, via, &["attach", "vol-1", &path]).0, 0, "{via:?}");
        assert_eq!(first(&server, "vol-1"), Some('b'), "{via:?}");
        assert_eq!(call(&server, via, &["detach", "vol-1"]).0, 0, "{via:?}");
        // Ours is ours.
        server.write_conf("vol-3.conf", "[vol-3\n");
        let (code, said) = call(&server, via, &["attach", "vol-3", &path]);
        assert!(code == 1 && said.contains("vol-3.conf"), "{via:?}: {code} {said}");
    }
}

#[test]
fn a_disk_that_hangs_is_named_and_waited_for_and_then_it_is_free() {
    let test = "a_disk_that_hangs_is_named_and_waited_for_and_then_it_is_free";
    for via in all(test) {
        let (server, files) = (server().start(), disks(&["b", "c"]));
        // Thawed before the server is waited for, also where an assertion fails.
        let Some(frozen) = Frozen::new() else {
            return skip_or_fail(test, "root, mkfs.ext4, fsfreeze and a loop device");
        };
        let stuck_at = |name: &str| {
            let path = frozen.mount().join(name);
            fs::write(&path, [0; 4 * BLOCK]).expect("a disk");
            assert_eq!(call(&server, via, &["attach", name, path.to_str().expect("UTF-8")]).0, 0);
            let mut job = server.open(name);
            job.write(0, &[1; BLOCK]).expect("a job is under way");
            job.flush().expect("flushed");
            job
        };
        let mut jobs = ["vol-1", "vol-2"].map(stuck_at);
        assert!(frozen.freeze("-f"));
        for job in &mut jobs {
            job.send_request(0, CMD_WRITE, 77, BLOCK as u64, BLOCK as u32, &[2; BLOCK]).expect("sent");
        }
        wait_until_stuck(&server);

        let (code, said) = call(&server, via, &["detach", "vol-1"]);
        assert!(code == 2 && said.contains("vol-1"), "{via:?}: {code} {said}");
        let new = files.join("b").display().to_string();
        let (code, said) = call(&server, via, &["attach", "vol-2", &new]);
        assert!(code == 2 && said.contains("vol-2"), "{via:?}: {code} {said}");
        // Others are not held up.
        let other = files.join("c").display().to_string();
        assert_eq!(call(&server, via, &["attach", "vol-3", &other]).0, 0, "{via:?}");
        assert_eq!(call(&server, via, &["detach", "vol-3"]).0, 0, "{via:?}");

        assert!(frozen.freeze("-u"));
        for (args, what) in [(&["detach", "vol-1"][..], "free"), (&["attach", "vol-2", &new], "served")] {
            let (code, said) = call(&server, via, args);
            assert_eq!(code, 0, "{via:?}: it is {what}: {said}");
        }
        assert!(!server.open_paths().iter().any(|path| path.starts_with(frozen.mount())), "{via:?}");
        assert_eq!(first(&server, "vol-2"), Some('b'), "{via:?}");
    }
}

#[test]
fn a_server_that_is_not_there_is_told_from_one_that_says_no() {
    for via in all("a_server_that_is_not_there_is_told_from_one_that_says_no") {
        let nowhere = Path::new("/does/not/exist.sock");
        for args in [&["attach", "vol-1", "/dev/vdc"][..], &["detach", "vol-1"], &["cleanup", "vol-1"]] {
            assert_eq!(call_at(nowhere, via, args).0, 3, "{via:?} {args:?}");
        }
        assert_eq!(call_at(nowhere, via, &["attach", "vol-1"]).0, 64, "{via:?}");
    }
}

#[test]
fn the_cleanup_keeps_what_it_is_told_and_what_is_not_its_own() {
    for via in all("the_cleanup_keeps_what_it_is_told_and_what_is_not_its_own") {
        let files = disks(&["a", "b", "c", "d"]);
        let server = server().export("in-main", &files.join("a"), "").start();
        for (name, disk) in [("vol-1", "b"), ("vol-2", "c"), ("vol-3", "d")] {
            server.write_export(name, &files.join(disk), "");
        }
        server.reload().expect_complete();
        let (code, said) = call(&server, via, &["cleanup"]);
        assert!(code == 1 && said.contains("nothing is to be kept"), "{via:?}: {code} {said}");
        let (code, said) = call(&server, via, &["cleanup", "vol-2"]);
        assert_eq!(code, 0, "{via:?}: {said}");
        let served = ["in-main", "vol-1", "vol-2", "vol-3"].map(|name| first(&server, name));
        assert_eq!(served, [Some('a'), None, Some('c'), None], "{via:?}: {said}");
        assert!(!server.conf("vol-1.conf").exists() && server.conf("vol-2.conf").exists());
    }
}
