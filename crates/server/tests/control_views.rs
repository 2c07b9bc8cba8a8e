//! What the control socket tells: every request counted once, every export with the disk it is on and how it is.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use testkit::spec::*;
use testkit::{Failing, ServerProcess, request_header, skip_or_fail};

fn ask(server: &ServerProcess, path: &str) -> Value {
    serde_json::from_str(&server.control().get(path)).expect("JSON")
}

fn serving(more: &str) -> ServerProcess {
    let setup = server();
    let disk = setup.dir().join("disk");
    fs::write(&disk, vec![7; 64 * BLOCK]).expect("a disk");
    setup.export("disk", &disk, more).start()
}

/// The figure of this name and these labels.
fn figure(server: &ServerProcess, wanted: &str) -> Option<f64> {
    let text = server.control().get("/metrics");
    let line =
        text.lines().find(|line| line.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn every_request_is_counted_once_by_kind_for_its_session_and_its_export() {
    let server = serving("");
    let mut client = server.open("disk");
    for at in 0..3 {
        client.read(at * 4096, 4096).expect("read");
    }
    client.read(0, 1 << 17).expect("a large one");
    assert!(client.read(1 << 30, 4096).is_err(), "beyond the end");
    // Together, so that they are answered together.
    let together: Vec<u8> = (1..=4).flat_map(|cookie| request_header(0, CMD_READ, cookie, 0, 512)).collect();
    client.send_bytes(&together).expect("sent");
    client.recv_bytes(4 * (16 + 512)).expect("answered");
    client.write(0, &[1; 512]).expect("written");
    client.write(4096, &[1; 1024]).expect("written");
    client.zero(0, 0, 8192).expect("zeroed");
    client.trim(8192, 4096).expect("trimmed");
    client.flush().expect("flushed");
    client.flush().expect("flushed");
    client.flush().expect("flushed");

    let sessions = ask(&server, "/v1/sessions");
    let session = &sessions[0];
    let did = &session["operations"];
    let count = |of: &Value, key: &str| of[key].as_u64().expect("a number");
    let expected = [
        ("reads", 9),
        ("writes", 2),
        ("zeroes", 1),
        ("trims", 1),
        ("flushes", 3),
        ("bytes_read", 3 * 4096 + (1 << 17) + 4 * 512),
        ("bytes_written", 1536),
        ("errors", 1),
    ];
    for (key, wanted) in expected {
        assert_eq!(count(did, key), wanted, "{key} of {session}");
    }
    assert_eq!(session["export"], "disk");
    assert!(session["peer"] == "127.0.0.1" && session["tls"].is_null(), "{session}");
    assert!(
        session["idle_ms"].as_u64().is_some_and(|ms| ms < 60_000) && session["in_flight"] == 0,
        "{session}"
    );
    assert_eq!(ask(&server, "/v1/exports/disk")["operations"], *did);

    let kinds = [("read", 9.0), ("write", 2.0), ("zeroes", 1.0), ("trim", 1.0), ("flush", 3.0)];
    for (kind, wanted) in kinds {
        let labels = format!("{{export=\"disk\",kind=\"{kind}\"}}");
        assert_eq!(figure(&server, &format!("nbd_server_requests_total{labels}")), Some(wanted), "{kind}");
        let timed = figure(&server, &format!("nbd_server_request_duration_seconds_count{labels}"));
        assert_eq!(timed, Some(wanted), "{kind}");
    }
    let failed = "nbd_server_errors_total{export=\"disk\",kind=\"read\"}";
    assert_eq!(figure(&server, failed), Some(1.0));

    // Nothing is lost when it leaves, nor counted twice when the export gets another disk.
    client.disc().expect("left");
    client.expect_eof();
    assert_eq!(ask(&server, "/v1/sessions"), Value::Array(Vec::new()));
    let after = ask(&server, "/v1/exports/disk");
    assert_eq!((&after["operations"]["reads"], &after["sessions"]), (&9.into(), &0.into()));
    let other = server.dir().join("other");
    fs::write(&other, vec![8; 64 * BLOCK]).expect("a disk");
    fs::rename(&other, server.dir().join("disk")).expect("another disk");
    server.reload().expect_complete();
    server.open("disk").read(0, 1).expect("read");
    assert_eq!(figure(&server, "nbd_server_requests_total{export=\"disk\",kind=\"read\"}"), Some(10.0));
}

#[test]
fn an_export_is_told_with_its_disk_and_what_it_offers() {
    let server = serving("rotational = true");
    let link = server.dir().join("link");
    std::os::unix::fs::symlink(server.dir().join("disk"), &link).expect("a link");
    server.write_export("linked", &link, "readonly = true\nmaxconnections = 2");
    server.reload().expect_complete();
    let told = ask(&server, "/v1/exports/linked");
    let metadata = fs::metadata(&link).expect("a disk");
    assert_eq!((&told["state"], &told["size"]), (&"serving".into(), &metadata.len().into()));
    assert_eq!(
        (&told["open"], &told["read_only"], &told["generation"]),
        (&false.into(), &true.into(), &2.into())
    );
    assert_eq!(told["path"], link.display().to_string());
    let real = fs::canonicalize(&link).expect("a path").display().to_string();
    assert_eq!(told["device"], real);
    assert!(
        told["identity"].as_str().is_some_and(|text| text.contains(&metadata.ino().to_string())),
        "{told}"
    );
    assert_eq!(told["settings"]["maxconnections"], "2");
    assert!(told["file"].as_str().is_some_and(|file| file.ends_with("linked.conf")) && told["line"] == 1);

    let _client = server.open("disk");
    let told = ask(&server, "/v1/exports/disk");
    let flags: Vec<&str> =
        told["flags"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(flags.contains(&"NBD_FLAG_ROTATIONAL") && !flags.contains(&"NBD_FLAG_READ_ONLY"), "{flags:?}");
    assert_eq!((&told["open"], &told["sessions"], &told["generation"]), (&true.into(), &1.into(), &1.into()));
}

#[test]
fn what_is_wrong_with_an_export_is_its_state() {
    let server = serving("");
    let state = |name: &str| {
        let told = ask(&server, &format!("/v1/exports/{name}"));
        (told["state"].as_str().expect("a state").to_owned(), told["reason"].to_string())
    };
    assert_eq!(state("disk"), ("serving".into(), "null".into()));
    let missing = server.dir().join("missing");
    server.write_export("late", &missing, "");
    server.reload().expect_complete();
    let (word, reason) = state("late");
    assert!(word == "unavailable" && reason.contains("missing"), "{word} {reason}");
    // It comes, and a client finds it before any reload does.
    fs::write(&missing, [1; BLOCK]).expect("a disk");
    server.open("late");
    assert_eq!(state("late").0, "serving");
    assert_eq!(ask(&server, "/v1/status")["exports_not_serving"], 0);

    server.write_conf("late.conf", "[late\n");
    assert_eq!(server.reload().closing.kept, 1);
    let (word, reason) = state("late");
    assert!(word == "kept_back" && reason.contains("late.conf:1"), "{word} {reason}");
    let status = ask(&server, "/v1/status");
    assert_eq!((&status["exports"], &status["exports_not_serving"]), (&2.into(), &1.into()));
    assert_eq!(status["last_reload"]["outcome"], "incomplete");
    let labels = "{export=\"late\",state=\"kept_back\"}";
    assert_eq!(figure(&server, &format!("nbd_server_export_state{labels}")), Some(1.0));
}

/// The appliance has one, because the original does not start without an export.
#[test]
fn a_placeholder_is_told_as_one_and_troubles_nobody() {
    let server = serving("");
    server.write_export("dummy", std::path::Path::new("/dev/null"), "readonly = true");
    let reload = server.reload().expect_complete();
    assert!(reload.about("export unavailable", "dummy").is_none());
    assert_eq!(ask(&server, "/v1/exports/dummy")["state"], "placeholder");
    assert_eq!(ask(&server, "/v1/status")["exports_not_serving"], 0);
    assert_eq!(ask(&server, "/v1/plan")["unavailable"], Value::Array(Vec::new()));
    assert!(server.connect().go("dummy").is_err());
    assert_eq!(ask(&server, "/v1/exports/dummy")["state"], "placeholder");
}

/// P6: until somebody who knows the loss says otherwise.
#[test]
fn a_poisoned_export_is_told_and_cleared() {
    let server = serving("");
    let mut client = server.open("disk");
    client.write(0, &[1; BLOCK]).expect("written");
    let Some(failing) = Failing::begin(server.pid(), "fdatasync,fsync,sync_file_range,syncfs", "EIO") else {
        return skip_or_fail("a_poisoned_export", "strace, and leave to use it");
    };
    let mut events = server.control().listen();
    assert!(client.flush().is_err(), "the sync fails");
    drop(failing);
    assert!(client.flush().is_err(), "and is not forgotten");
    let told = ask(&server, "/v1/exports/disk");
    assert_eq!(told["state"], "poisoned", "{told}");
    assert!(events.any(|event| event.contains("export poisoned")), "somebody is told");
    let poisoned = "nbd_server_export_state{export=\"disk\",state=\"poisoned\"}";
    assert_eq!(figure(&server, poisoned), Some(1.0));
    let clear = |name: &str| server.control().ask("POST", &format!("/v1/exports/{name}/clear"), "");
    assert_eq!(clear("nobody").0, 404);
    let (status, answer) = clear("disk");
    assert!(status == 200 && answer.contains("true"), "{answer}");
    assert_eq!(ask(&server, "/v1/exports/disk")["state"], "serving");
    client.flush().expect("durable again");
    assert!(clear("disk").1.contains("false"), "there is nothing left to clear");
}

/// A reload that takes the right to write away is told of those who had it, and it does not come back to them.
#[test]
fn a_session_that_lost_its_right_to_write_is_told_so() {
    let server = serving("");
    let mut client = server.open("disk");
    let read_only = || ask(&server, "/v1/sessions")[0]["read_only"].clone();
    assert_eq!(read_only(), false);
    let main = fs::read_to_string(server.config_path()).expect("the main file");
    fs::write(server.config_path(), format!("{main}readonly = true\n")).expect("written");
    server.reload().expect_complete();
    assert_eq!(client.write(0, &[1; 512]), Err(EPERM));
    assert_eq!(read_only(), true);
    fs::write(server.config_path(), main).expect("written");
    server.reload().expect_complete();
    assert_eq!(read_only(), true);
}

#[test]
fn connections_that_come_to_nothing_are_counted_by_reason() {
    let server = serving("maxconnections = 1");
    let _first = server.open("disk");
    assert!(server.connect().go("disk").is_err() && server.connect().go("nobody").is_err());
    let refused =
        |reason| figure(&server, &format!("nbd_server_options_refused_total{{reason=\"{reason}\"}}"));
    assert_eq!((refused("unknown_export"), refused("limit")), (Some(1.0), Some(1.0)));
    let sessions = |what| figure(&server, &format!("nbd_server_{what}"));
    assert_eq!(sessions("sessions{export=\"disk\"}"), Some(1.0));
    assert!(
        sessions("generation") == Some(1.0) && sessions("reloads_total{outcome=\"complete\"}") == Some(0.0)
    );
}

#[test]
fn a_configuration_is_checked_before_it_is_followed() {
    let server = serving("");
    let check = |text: &str| {
        let (status, body) = server.control().post_text("/v1/check", text);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).expect("JSON")
    };
    assert_eq!(check("")["ok"], true);
    let wrong = check("[generic]\n[disk]\nexportname = /x\nreadonly = perhaps\n");
    assert_eq!(wrong["ok"], false);
    assert!(wrong["refused"][0]["line"] == 4 && wrong["refused"][0]["key"] == "readonly", "{wrong}");
    let right = check("[generic]\n[a]\nexportname = /x\n[b]\nexportname = /y\n");
    assert_eq!(
        (&right["ok"], &right["exports"]["a"], &right["exports"]["b"]),
        (&true.into(), &"/x".into(), &"/y".into())
    );
    assert_eq!(ask(&server, "/v1/status")["generation"], 1, "nothing was done");
}
