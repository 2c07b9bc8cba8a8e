//! What is told on the control socket holds at the moment at which it is told, and nobody outside can make it worthless.
#![allow(missing_docs)]

mod common;

use common::frozen::{Frozen, wait_until_stuck};
use common::{BLOCK, point, server};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::spec::*;
use testkit::{LoopDevice, ServerProcess, is_root, skip_or_fail};

const PATIENCE: Duration = Duration::from_secs(20);

fn ask(server: &ServerProcess, path: &str) -> Value {
    serde_json::from_str(&server.control().get(path)).expect("JSON")
}

fn serving(more: &str) -> ServerProcess {
    let setup = server();
    let disk = setup.dir().join("disk");
    fs::write(&disk, vec![7; 64 * BLOCK]).expect("a disk");
    setup.export("disk", &disk, more).start()
}

/// All figures by name and labels.
fn figures(server: &ServerProcess) -> BTreeMap<String, f64> {
    let text = server.control().get("/metrics");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = samples.filter_map(|line| line.rsplit_once(' '));
    pairs.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

fn event(line: &str) -> Value {
    serde_json::from_str(line).expect("JSON")
}

/// A fence is acknowledged when nothing of the sessions is left, and then they are not told of either.
#[test]
fn who_is_fenced_is_not_told_of_any_more() {
    let server = serving("");
    for round in 0..200 {
        let clients = [(); 4].map(|()| server.open("disk"));
        let (status, body) = server.control().ask("POST", "/v1/exports/disk/fence", "");
        let sessions = ask(&server, "/v1/sessions");
        assert_eq!(status, 200, "{body}");
        assert_eq!(sessions, Value::Array(Vec::new()), "round {round}");
        drop(clients);
    }
}

/// Counters never fall, whatever leaves, comes and is replaced between two looks: Prometheus takes a fall for a restart,
/// and counts all of it once more.
#[test]
fn no_counter_falls_while_sessions_come_and_go() {
    let server = serving("");
    let over = AtomicBool::new(false);
    let sum = thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut reads = 0;
                    while !over.load(Ordering::Relaxed) {
                        let mut client = server.open("disk");
                        for _ in 0..20 {
                            reads += u64::from(client.read(0, 512).is_ok());
                        }
                        client.disc().expect("left");
                        client.expect_eof();
                    }
                    reads
                })
            })
            .collect();
        let mut before = figures(&server);
        for round in 0..100 {
            if round % 10 == 0 {
                server.write_export(
                    "other",
                    &server.dir().join("disk"),
                    &format!("maxconnections = {}", round + 1),
                );
                server.reload().expect_complete();
            }
            let now = figures(&server);
            let counters = before.iter().filter(|(name, _)| {
                let family = name.split('{').next().unwrap_or_default();
                ["_total", "_count", "_sum", "_bucket"].iter().any(|end| family.ends_with(end))
            });
            for (name, was) in counters {
                assert!(now.get(name).is_some_and(|is| is >= was), "{name}: {was}, then {:?}", now.get(name));
            }
            before = now;
        }
        over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("a client")).sum::<u64>()
    });
    let reads = figures(&server)["nbd_server_requests_total{export=\"disk\",kind=\"read\"}"];
    assert_eq!(reads, sum as f64, "and in the end each is counted once");
}

/// Also one that hangs on the session's own thread is under way.
#[test]
fn a_request_that_hangs_is_in_flight() {
    let Some(frozen) = Frozen::new() else {
        return skip_or_fail("a_request_that_hangs", "root, mkfs.ext4, fsfreeze and a loop device");
    };
    let disk = frozen.mount().join("disk");
    fs::write(&disk, vec![0; 4 * BLOCK]).expect("a disk");
    let server = server().export("stuck", &disk, "").start();
    // Dropped before the server, which could not end.
    let frozen = frozen;
    let mut client = server.open("stuck");
    client.write(0, &[1; BLOCK]).expect("it works");
    client.flush().expect("flushed");
    let flying = || {
        (
            ask(&server, "/v1/sessions")[0]["in_flight"].clone(),
            figures(&server)["nbd_server_requests_in_flight"],
        )
    };
    assert_eq!(flying(), (0.into(), 0.0));
    assert!(frozen.freeze("-f"));
    client.send_request(0, CMD_WRITE, 77, 0, BLOCK as u32, &[2; BLOCK]).expect("sent");
    wait_until_stuck(&server);
    assert_eq!(flying(), (1.into(), 1.0));
    assert!(ask(&server, "/v1/sessions")[0]["oldest_ms"].is_u64());
    assert!(frozen.freeze("-u"));
    assert_eq!(client.wait_for(77).expect("an answer").error, 0);
    assert_eq!(flying(), (0.into(), 0.0));
}

/// P4: a disk that is another one now is told as lost, its export as unavailable, until it is served again.
#[test]
fn an_export_whose_disk_is_lost_is_unavailable() {
    let setup = server();
    let images = ["one.img", "two.img"].map(|name| setup.dir().join(name));
    for image in &images {
        fs::write(image, vec![1; 1 << 20]).expect("an image");
    }
    let devices: Option<Vec<LoopDevice>> =
        if is_root() { images.iter().map(|image| LoopDevice::attach(image)).collect() } else { None };
    let Some(devices) = devices else {
        return skip_or_fail("an_export_whose_disk_is_lost", "root and free loop devices");
    };
    let link = setup.dir().join("vdb");
    point(&link, devices[0].path());
    let server = setup.export("disk", &link, "").start();
    let mut client = server.open("disk");
    client.read(0, 512).expect("read");
    let mut events = server.control().listen();
    point(&link, devices[1].path());
    // The watch finds it, with no request of anybody.
    let lost = events.find(|line| event(line)["event"] == "device lost").expect("it is told");
    let facts = &event(&lost)["facts"];
    assert_eq!(facts["export"], "disk");
    assert!(facts["reason"].as_str().is_some_and(|why| why.contains("another disk")), "{lost}");
    let told = ask(&server, "/v1/exports/disk");
    assert_eq!(told["state"], "unavailable", "{told}");
    assert!(told["reason"].as_str().is_some_and(|why| why.contains("another disk")), "{told}");
    // Who is refused for it has seen it: what is told of the disk and the reason speak of the same one.
    assert!(server.connect().go("disk").is_err());
    let (told, other) = (ask(&server, "/v1/exports/disk"), devices[1].path().display().to_string());
    assert_eq!(told["device"], other, "{told}");
    // The one that was meant comes back: the next client finds it, and it is served again.
    point(&link, devices[0].path());
    server.open("disk").read(0, 512).expect("read");
    assert_eq!(ask(&server, "/v1/exports/disk")["state"], "serving");
}

/// Path, device and disk are those of one look: what was found when the disk was last looked at, and not a guess.
#[test]
fn the_device_is_the_one_that_was_looked_at() {
    let setup = server();
    let disks = ["one", "two"].map(|name| setup.dir().join(name));
    for disk in &disks {
        fs::write(disk, vec![1; 64 * BLOCK]).expect("a disk");
    }
    let link = setup.dir().join("vdb");
    point(&link, &disks[0]);
    let server = setup.export("disk", &link, "").start();
    let real =
        |path: &std::path::Path| Value::from(fs::canonicalize(path).expect("a path").display().to_string());
    let device = || ask(&server, "/v1/exports/disk")["device"].clone();
    assert_eq!(device(), real(&disks[0]));
    let _client = server.open("disk");
    point(&link, &disks[1]);
    assert_eq!(device(), real(&disks[0]), "nobody has looked, and the session is on the first one");
    server.reload().expect_complete();
    assert_eq!(device(), real(&disks[1]));
}

/// Where the path depends on the client, one whose file is missing is no state of the export.
#[test]
fn a_client_without_a_file_of_its_own_does_not_make_the_export_unavailable() {
    let setup = server();
    let pattern = setup.dir().join("%s.img");
    let server = setup.export("disk", &pattern, "").start();
    assert!(server.connect().go("disk").is_err(), "there is no file for it");
    assert_eq!(ask(&server, "/v1/exports/disk")["state"], "serving");
    fs::write(server.dir().join("127.0.0.1.img"), vec![0; BLOCK]).expect("a file");
    server.open("disk").read(0, 1).expect("read");
}

/// What a stranger can cause at any rate does not push out what matters, and is counted all the same.
#[test]
fn refusals_beyond_some_are_counted_and_not_told() {
    let server = serving("maxconnections = 1\nauthfile = /nonexistent/list");
    let first = server.open("disk");
    let mut events = server.control().listen();
    let began = Instant::now();
    for _ in 0..300 {
        let mut stranger = server.connect();
        assert_eq!(stranger.go("nobody").expect_err("refused").0, REP_ERR_UNKNOWN);
        assert_eq!(stranger.go("disk").expect_err("refused").0, REP_ERR_POLICY);
    }
    let seconds = began.elapsed().as_secs() + 2;
    assert!(server.connect().ask(OPT_STARTTLS, &[]).is_err());
    drop(first);
    let until = Instant::now() + PATIENCE;
    while !ask(&server, "/v1/sessions").as_array().is_some_and(Vec::is_empty) {
        assert!(Instant::now() < until);
    }
    let told: Vec<Value> = events
        .by_ref()
        .map(|line| event(&line))
        .take_while(|event| event["event"] != "session ended")
        .collect();
    let of = |word: &str, reason: &str| {
        told.iter().filter(|event| event["event"] == word && event["facts"]["kind"] == reason).count() as u64
    };
    for reason in ["unknown_export", "limit"] {
        let told = of("session refused", reason);
        assert!((1..=10 * seconds).contains(&told), "{reason}: {told}");
    }
    assert_eq!(of("option refused", "not_allowed"), 1, "{told:?}");
    let counted = figures(&server);
    let refused = |reason: &str| counted[&format!("nbd_server_options_refused_total{{reason=\"{reason}\"}}")];
    assert_eq!((refused("unknown_export"), refused("limit"), refused("not_allowed")), (300.0, 300.0, 1.0));
}

/// Why a client is refused is told apart: a limit, a list, a disk.
#[test]
fn refusals_are_counted_by_what_is_to_be_done_about_them() {
    let setup = server();
    let list = setup.dir().join("list");
    fs::write(&list, "192.0.2.1\n").expect("a list");
    let disk = setup.dir().join("disk");
    fs::write(&disk, vec![7; 64 * BLOCK]).expect("a disk");
    let server = setup
        .export("disk", &disk, "maxconnections = 1")
        .export("listed", &disk, &format!("authfile = {}", list.display()))
        .export("gone", &disk.with_extension("gone"), "")
        .start();
    let _first = server.open("disk");
    let refused = |reason: &str| format!("nbd_server_options_refused_total{{reason=\"{reason}\"}}");
    let reasons = ["limit", "not_allowed", "unavailable", "unknown_export"];
    let counted = figures(&server);
    for reason in reasons {
        // From the beginning: to Prometheus what appears with its first count has not risen.
        assert_eq!(counted.get(&refused(reason)), Some(&0.0), "{reason}");
    }
    for name in ["disk", "listed", "gone", "nobody"] {
        assert!(server.connect().go(name).is_err(), "{name}");
    }
    let counted = figures(&server);
    for reason in reasons {
        assert_eq!(counted.get(&refused(reason)), Some(&1.0), "{reason}");
    }
}
