//! What an operator's change must not do to anybody else, and what it waits for.
#![allow(missing_docs)]

mod common;

use common::frozen::{Frozen, wait_until_stuck};
use common::{BLOCK, server};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;
use testkit::spec::CMD_WRITE;
use testkit::{CLOSED, Client, Control, ServerProcess, skip_or_fail};

const PATIENCE: Duration = Duration::from_secs(20);

fn ask(control: &Control, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, body) = control.ask(method, path, body);
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

fn serving(disks: &[&str]) -> ServerProcess {
    let setup = server();
    for disk in disks {
        fs::write(setup.dir().join(disk), vec![7; 4 * BLOCK]).expect("a disk");
    }
    setup.start()
}

/// P5, P3: the appliance truncates a file and writes it anew. Whoever asks at that moment for one export in it must not take
/// the other with it.
#[test]
fn a_file_that_is_being_written_is_not_taken_for_one_that_may_go() {
    let server = serving(&["a", "b"]);
    let (a, b) = (server.dir().join("a"), server.dir().join("b"));
    let of = |name: &str, path: &std::path::Path| format!("[{name}]\nexportname = {}\n", path.display());
    let both = of("a", &a) + &of("b", &b);
    server.write_conf("ab.conf", &both);
    server.reload().expect_complete();
    let mut client = server.open("b");
    client.write(0, &[1; BLOCK]).expect("it works");
    for half in ["", &of("a", &a)] {
        server.write_conf("ab.conf", half);
        for method in ["DELETE", "PUT"] {
            let body = if method == "PUT" { json!({"exportname": a}).to_string() } else { String::new() };
            let (status, answer) = ask(&server.control(), method, "/v1/exports/a", &body);
            assert_eq!(status, 409, "{method} {half:?}: {answer}");
            assert_eq!(fs::read_to_string(server.conf("ab.conf")).expect("it stays"), half);
        }
    }
    client.write(0, &[2; BLOCK]).expect("undisturbed");

    // One that is alone in its file, which somebody is writing at this moment.
    server.write_conf("ab.conf", &both);
    server.write_export("alone", &a, "readonly = true");
    server.reload().expect_complete();
    server.write_conf("alone.conf", "");
    let (status, answer) = ask(&server.control(), "DELETE", "/v1/exports/alone", "");
    assert!(status == 409 && server.conf("alone.conf").exists(), "{answer}");
}

/// What cannot be a configuration holds up no reload.
#[test]
fn a_pipe_in_the_place_of_a_file_holds_up_nobody() {
    let server = serving(&["a"]);
    let pipe = server.conf("a.conf");
    assert!(Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()));
    let body = json!({"exportname": server.dir().join("a")}).to_string();
    let (status, answer) = ask(&server.control(), "PUT", "/v1/exports/a?timeout_ms=5000", &body);
    assert!(status == 403 || status == 409, "{status} {answer}");
    server.reload().expect_complete();
}

/// The directory of the running configuration is not the one that a reload would read: nothing is written where nobody
/// looks, and nothing is told as gone that stays.
#[test]
fn a_directory_that_was_changed_and_not_followed_is_not_written_to() {
    let server = serving(&["a"]);
    server.write_export("a", &server.dir().join("a"), "");
    server.reload().expect_complete();
    let (old, new) = (server.conf(""), server.dir().join("new.d"));
    fs::create_dir(&new).expect("a directory");
    fs::copy(server.conf("a.conf"), new.join("a.conf")).expect("copied");
    let main = fs::read_to_string(server.config_path()).expect("the main file");
    let old_line = format!("includedir = {}", old.display()).trim_end_matches('/').to_owned();
    let changed = main.replace(&old_line, &format!("includedir = {}", new.display()));
    assert_ne!(changed, main);
    fs::write(server.config_path(), changed).expect("written");
    let body = json!({"exportname": server.dir().join("a"), "readonly": "true"}).to_string();
    let (status, answer) = ask(&server.control(), "PUT", "/v1/exports/c", &body);
    assert!(status == 409 && !server.conf("c.conf").exists(), "{answer}");
    let (status, answer) = ask(&server.control(), "DELETE", "/v1/exports/a", "");
    assert!(status == 409 && server.conf("a.conf").exists(), "{answer}");
}

/// Sessions that stayed on the disk that an export had before (`on_change = keep`) are sessions of the export.
#[test]
fn a_fence_reaches_those_who_were_left_on_the_old_disk() {
    let server = serving(&["a", "b"]);
    let (a, b) = (server.dir().join("a"), server.dir().join("b"));
    server.write_export("vol", &a, "on_change = keep");
    server.reload().expect_complete();
    let mut kept = server.open("vol");
    server.write_export("vol", &b, "on_change = keep");
    server.reload().expect_complete();
    kept.write(0, &[1; BLOCK]).expect("it was left there");
    let (status, cut) = ask(&server.control(), "POST", "/v1/exports/vol/fence", "");
    assert_eq!((status, &cut["sessions"]), (200, &1.into()), "{cut}");
    assert!(!server.open_paths().contains(&a));
    assert_eq!(kept.read(0, 1), Err(CLOSED));

    // Also when nothing of that name is configured any more.
    let mut kept = server.open("vol");
    server.remove_conf("vol.conf");
    server.reload().expect_complete();
    kept.read(0, 1).expect("it was left there");
    assert_eq!(ask(&server.control(), "POST", "/v1/exports/vol/fence", "").0, 200);
    assert_eq!(kept.read(0, 1), Err(CLOSED));
    assert_eq!(ask(&server.control(), "POST", "/v1/exports/vol/fence", "").0, 404);
}

/// A client with a write that hangs in the kernel.
fn stuck(server: &ServerProcess, frozen: &Frozen, name: &str) -> Client {
    let disk = frozen.mount().join(name);
    fs::write(&disk, vec![0; 4 * BLOCK]).expect("a disk");
    server.write_export(name, &disk, "");
    server.reload().expect_complete();
    let mut client = server.open(name);
    client.write(0, &[1; BLOCK]).expect("it works");
    client.flush().expect("flushed");
    assert!(frozen.freeze("-f"));
    client.send_request(0, CMD_WRITE, 77, 0, BLOCK as u32, &[2; BLOCK]).expect("sent");
    wait_until_stuck(server);
    client
}

/// P2, P6: an old write may still land. Whoever came in before that could have his own overwritten by it. And whoever has
/// given up waiting for a reload is no reason to tell sessions as hanging that are well.
#[test]
fn nobody_enters_while_an_operators_fence_waits_and_what_is_well_is_given_its_time() {
    let server = serving(&["well", "other"]);
    // Dropped before the server, which could not end.
    let Some(frozen) = Frozen::new() else {
        return skip_or_fail("nobody_enters_while", "root, mkfs.ext4, fsfreeze and a loop device");
    };
    server.write_export("well", &server.dir().join("well"), "");
    let _stuck = stuck(&server, &frozen, "stuck");
    let mut well = server.open("well");
    well.write(0, &[1; BLOCK]).expect("it works");
    let control = server.control();
    let fence = thread::spawn({
        let control = control.clone();
        move || ask(&control, "POST", "/v1/exports/stuck/fence?timeout_ms=3000", "")
    });
    let begun = |line: &str| line.contains("session fenced") && line.contains("export=stuck");
    assert!(server.wait_for(begun, PATIENCE).is_some());
    server.write_export("well", &server.dir().join("other"), "");
    let (status, answer) = ask(&control, "POST", "/v1/reload?timeout_ms=1", "");
    assert_eq!(status, 504, "{answer}");
    assert!(server.connect().go("stuck").is_err(), "not before the old write has landed");
    let (status, cut) = fence.join().expect("no panic");
    assert_eq!(status, 207, "{cut}");
    let closing = |line: &str| line.contains("MIGRATEKIT: reload incomplete");
    assert!(server.wait_for(closing, PATIENCE).is_some(), "it is followed all the same");
    let wrongly = |line: &String| line.contains("export unavailable export=well");
    assert!(!server.lines().iter().any(wrongly), "{:#?}", server.lines());
    assert_eq!(well.read(0, 1), Err(CLOSED));
    assert_eq!(server.open("well").read(0, 1), Ok(vec![7]));

    // Another fence finds the one that hung over, and lets its export in at once.
    assert!(frozen.freeze("-u"));
    let released = |line: &str| line.contains("export released") && line.contains("export=stuck");
    while server.wait_for(released, Duration::from_millis(1)).is_none() {
        assert_eq!(ask(&control, "POST", "/v1/exports/well/fence", "").0, 200);
    }
    server.open("stuck").read(0, 1).expect("it is served");
}

/// Requests whose askers have gone are not kept without end.
#[test]
fn questions_that_nobody_waits_for_any_more_do_not_pile_up() {
    let server = serving(&[]);
    // Dropped before the server, which could not end.
    let Some(frozen) = Frozen::new() else {
        let what = "root, mkfs.ext4, fsfreeze and a loop device";
        return skip_or_fail("questions_that_nobody_waits_for", what);
    };
    let _stuck = stuck(&server, &frozen, "stuck");
    let control = server.control();
    let fence = thread::spawn({
        let control = control.clone();
        move || ask(&control, "POST", "/v1/exports/stuck/fence?timeout_ms=4000", "")
    });
    let begun = |line: &str| line.contains("session fenced") && line.contains("export=stuck");
    assert!(server.wait_for(begun, PATIENCE).is_some());
    let body = json!({"exportname": "/x"}).to_string();
    let answers: Vec<(u16, Value)> =
        (0..40).map(|_| ask(&control, "PUT", "/v1/exports/new?timeout_ms=1", &body)).collect();
    assert!(answers.iter().all(|(status, _)| *status == 504), "{answers:?}");
    assert!(answers[39].1.to_string().contains("32 questions"), "{:?}", answers[39]);
    fence.join().expect("no panic");
    let (status, answer) = ask(&control, "GET", "/v1/plan", "");
    assert_eq!(status, 200, "{answer}");
    assert!(!server.conf("new.conf").exists(), "what came too late is not done");
    assert!(frozen.freeze("-u"));
}
