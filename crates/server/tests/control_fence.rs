//! Sessions ended on demand, and what happens told as it happens.
#![allow(missing_docs)]

mod common;

use common::frozen::{Frozen, wait_until_stuck};
use common::{BLOCK, server};
use serde_json::Value;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use testkit::spec::*;
use testkit::{CLOSED, ServerProcess, nbdctl, skip_or_fail};

fn post(server: &ServerProcess, method: &str, path: &str) -> (u16, Value) {
    let (status, body) = server.control().ask(method, path, "");
    (status, serde_json::from_str(&body).expect("JSON"))
}

fn serving() -> ServerProcess {
    let setup = server();
    let (disk, other) = (setup.dir().join("disk"), setup.dir().join("other"));
    for path in [&disk, &other] {
        fs::write(path, vec![7; 64 * BLOCK]).expect("a disk");
    }
    setup.export("disk", &disk, "").export("other", &other, "").start()
}

#[test]
fn a_fence_on_demand_ends_every_session_of_one_export_and_closes_its_disk() {
    let server = serving();
    let (mut one, mut two, mut other) = (server.open("disk"), server.open("disk"), server.open("other"));
    one.write(0, &[1; BLOCK]).expect("written");
    let (status, cut) = post(&server, "POST", "/v1/exports/disk/fence");
    assert_eq!((status, &cut["sessions"]), (200, &2.into()), "{cut}");
    // What was answered is done: the disk is closed, and what was written is on it.
    let disk = server.dir().join("disk");
    assert!(!server.open_paths().contains(&disk));
    assert_eq!(fs::read(&disk).expect("a disk")[..BLOCK], [1; BLOCK]);
    assert!(one.read(0, 1) == Err(CLOSED) && two.read(0, 1) == Err(CLOSED));
    other.write(0, &[2; BLOCK]).expect("undisturbed");
    server.open("disk").read(0, 1).expect("it is served again");
    assert_eq!(post(&server, "POST", "/v1/exports/nobody/fence").0, 404);
    let (status, cut) = post(&server, "POST", "/v1/exports/disk/fence?timeout_ms=0");
    assert_eq!(status, 400, "{cut}");
}

/// P6, P2: who is cut off again and again, and comes again at once, finds all that was acknowledged, and nothing older is
/// written over it.
#[test]
fn what_was_acknowledged_outlives_a_hundred_fences() {
    let server = serving();
    let over = AtomicBool::new(false);
    let cut_off = AtomicU64::new(0);
    thread::scope(|scope| {
        for number in 0..4_u64 {
            let (server, over, cut_off) = (&server, &over, &cut_off);
            scope.spawn(move || {
                let (at, mut last) = (number * BLOCK as u64, 0_u64);
                while !over.load(Ordering::Relaxed) {
                    let mut client = server.open("disk");
                    if let Ok(bytes) = client.read(at, 8) {
                        let found = u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
                        // The write behind the last one may have been done without its reply.
                        assert!(last == 0 || (last..=last + 1).contains(&found), "{found} after {last}");
                        last = found;
                    }
                    while client.write(at, &(last + 1).to_le_bytes()).is_ok() && !over.load(Ordering::Relaxed)
                    {
                        last += 1;
                    }
                    cut_off.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..100 {
            let (status, cut) = post(&server, "POST", "/v1/exports/disk/fence");
            assert_eq!(status, 200, "{cut}");
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(cut_off.into_inner() > 100, "they were cut off");
}

#[test]
fn one_session_is_ended_and_its_neighbour_is_not() {
    let server = serving();
    let (mut one, mut two) = (server.open("disk"), server.open("disk"));
    let (_, sessions) = post(&server, "GET", "/v1/sessions");
    let id = sessions[0]["id"].as_u64().expect("a number");
    let (status, cut) = post(&server, "DELETE", &format!("/v1/sessions/{id}"));
    assert_eq!((status, &cut["sessions"]), (200, &1.into()), "{cut}");
    let (_, sessions) = post(&server, "GET", "/v1/sessions");
    assert_eq!(sessions.as_array().map(Vec::len), Some(1), "it is gone when that is answered");
    let closed = [one.read(0, 1) == Err(CLOSED), two.read(0, 1) == Err(CLOSED)];
    assert_eq!(closed, [true, false]);
    assert_eq!(post(&server, "DELETE", &format!("/v1/sessions/{id}")).0, 404);
}

/// Its disk is free, whatever runs behind it.
#[test]
fn a_session_that_is_ended_is_not_told_as_hanging_for_its_postrun() {
    let server = serving();
    let gate = server.dir().join("gate");
    let slow = format!(
        "while test -d {} && ! test -e {}; do sleep 0.01; done",
        server.dir().display(),
        gate.display()
    );
    server.write_export("slow", &server.dir().join("disk"), &format!("postrun = {slow}"));
    server.reload().expect_complete();
    let _client = server.open("slow");
    let (_, sessions) = post(&server, "GET", "/v1/sessions");
    let (status, cut) = post(&server, "DELETE", &format!("/v1/sessions/{}", sessions[0]["id"]));
    assert_eq!((status, &cut["hanging"]), (200, &Value::Array(Vec::new())), "{cut}");
    fs::write(&gate, "").expect("opened");
}

/// A client that takes no replies is not waited for.
#[test]
fn a_client_that_does_not_read_is_cut_off_within_the_time() {
    let server = serving();
    let mut client = server.open("disk");
    for _ in 0..256 {
        client.send_request(0, CMD_READ, 1, 0, 64 * BLOCK as u32, &[]).expect("sent");
    }
    let (_, sessions) = post(&server, "GET", "/v1/sessions");
    let id = sessions[0]["id"].as_u64().expect("a number");
    let (status, cut) = post(&server, "DELETE", &format!("/v1/sessions/{id}?timeout_ms=5000"));
    assert_eq!(status, 200, "{cut}");
}

/// P2: with a disk that hangs the answer names the request, within the time that was given, and the export is told as
/// fencing until it has ended.
#[test]
fn what_hangs_is_named_within_the_time_that_was_given() {
    let Some(frozen) = Frozen::new() else {
        return skip_or_fail("what_hangs_is_named", "root, mkfs.ext4, fsfreeze and a loop device");
    };
    let server = serving();
    // Dropped before the server, which could not end.
    let frozen = frozen;
    let names = ["ended", "fenced", "removed"];
    let disk = |name: &str| frozen.mount().join(name);
    for name in names {
        fs::write(disk(name), vec![0; 4 * BLOCK]).expect("a disk");
        server.write_export(name, &disk(name), "");
    }
    server.reload().expect_complete();
    let mut stuck = names.map(|name| server.open(name));
    for client in &mut stuck {
        client.write(0, &[1; BLOCK]).expect("it works");
        client.flush().expect("flushed");
    }
    assert!(frozen.freeze("-f"));
    for client in &mut stuck {
        client.send_request(0, CMD_WRITE, 77, 0, BLOCK as u32, &[2; BLOCK]).expect("sent");
    }
    wait_until_stuck(&server);
    let (_, sessions) = post(&server, "GET", "/v1/sessions");
    let one = sessions
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["export"] == "ended")
        .expect("it is there");
    let end = format!("/v1/sessions/{}?timeout_ms=1000", one["id"]);
    server.remove_conf("removed.conf");
    let asks = [
        ("DELETE", end.as_str()),
        ("POST", "/v1/exports/fenced/fence?timeout_ms=1000"),
        ("POST", "/v1/reload?timeout_ms=1000"),
    ];
    for ((method, path), name) in asks.into_iter().zip(names) {
        let (status, answer) = post(&server, method, path);
        assert_eq!(status, 207, "{path}: {answer}");
        let hanging = answer["hanging"].as_array().expect("a list");
        let ours = hanging.iter().find(|one| one["export"] == name).expect("it is named");
        assert!(ours["peer"] == "127.0.0.1" && ours["path"] == disk(name).display().to_string(), "{answer}");
        assert!(ours["age_ms"].as_u64().is_some_and(|ms| ms > 0), "{answer}");
    }
    // As ExecReload= asks: 2, and whoever reads the journal knows whom to look for.
    let (code, _, said) = nbdctl(&server.control_path(), &["--timeout", "1", "reload"]);
    let names = said.contains("127.0.0.1") && said.contains(&disk("removed").display().to_string());
    assert!(code == 2 && names && said.contains("removed"), "{code}: {said}");
    let told = |name: &str| {
        let (_, told) = post(&server, "GET", "/v1/exports");
        told.as_array().expect("a list").iter().find(|one| one["name"] == name).cloned()
    };
    for (name, configured) in [("fenced", true), ("removed", false)] {
        let told = told(name).expect("it is told");
        assert!(told["state"] == "fencing" && told["configured"] == configured, "{told}");
        assert_eq!(told["hanging"][0]["peer"], "127.0.0.1", "{told}");
        assert!(server.connect().go(name).is_err());
    }
    assert_eq!(post(&server, "GET", "/v1/status").0, 200, "nobody else waits");

    assert!(frozen.freeze("-u"));
    for name in ["fenced", "removed"] {
        let said = format!("MIGRATEKIT: export released export={name}");
        assert!(server.wait_for(|line| line.contains(&said), Duration::from_secs(10)).is_some());
    }
    assert!(told("removed").is_none());
    server.open("fenced").read(0, 1).expect("it is served again");
    assert_eq!(post(&server, "POST", "/v1/reload").0, 200);
}

#[test]
fn what_happens_is_told_in_its_order() {
    let server = serving();
    let events = server.control().listen();
    let mut client = server.open("disk");
    assert!(server.connect().go("nobody").is_err());
    fs::remove_file(server.dir().join("other")).expect("its disk goes");
    let main = fs::read_to_string(server.config_path()).expect("the main file");
    fs::write(server.config_path(), main.replace("[disk]", "[moved]")).expect("written");
    assert_eq!(post(&server, "POST", "/v1/reload").0, 200);
    assert_eq!(client.read(0, 1), Err(CLOSED));
    let mut told_events: Vec<Value> = Vec::new();
    // Whoever was cut off may be told to have left a moment later.
    let mut awaited = vec!["reload complete", "session ended"];
    for event in events {
        let event: Value = serde_json::from_str(&event).expect("JSON");
        awaited.retain(|words| event["event"] != *words);
        told_events.push(event);
        if awaited.is_empty() {
            break;
        }
    }
    let events = told_events;
    let ids: Vec<u64> = events.iter().filter_map(|event| event["id"].as_u64()).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "none is missing: {ids:?}");
    let told: Vec<String> = events
        .iter()
        .map(|event| format!("{} {}", event["event"].as_str().expect("words"), event["facts"]["export"]))
        .collect();
    let position = |words: &str| told.iter().position(|one| one.starts_with(words));
    let before =
        ["session begun \"disk\"", "session refused \"nobody\"", "control request", "reload requested"];
    let between = ["export added \"moved\"", "export removed \"disk\""];
    let order = before.iter().chain(&between).chain(&["session fenced \"disk\"", "reload complete"]);
    let places: Vec<Option<usize>> = order.map(|words| position(words)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{told:#?}\n{places:?}");
    assert!(position("session ended \"disk\"") > position("export removed"), "{told:#?}");
    let unavailable = told.iter().any(|one| one == "export unavailable \"other\"");
    assert!(unavailable, "{told:#?}");
}

/// Lines of a reload are waited for by programs, whoever is tired of the others.
#[test]
fn the_level_of_the_log_is_changed_while_it_runs() {
    let server = serving();
    let level =
        |level: &str| server.control().ask("PUT", "/v1/log-level", &format!("{{\"level\":\"{level}\"}}"));
    assert_eq!(level("error").0, 200);
    assert_eq!(post(&server, "GET", "/v1/log-level").1["level"], "error");
    server.open("disk").disc().expect("left");
    server.reload().expect_complete();
    assert_eq!(level("debug").0, 200);
    server.open("other").disc().expect("left");
    let of = |name: &'static str| move |line: &str| line.contains("assigned file is") && line.ends_with(name);
    assert!(server.wait_for(of("/other"), Duration::from_secs(10)).is_some());
    assert!(!server.lines().iter().any(|line| of("/disk")(line)), "not at that level");
    assert_eq!(level("loud").0, 400);
}
