//! What Prometheus and Grafana are given fits what the server tells.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::setup::free_port;
use testkit::{ServerProcess, TempDir, skip_or_fail, tool};

/// A server on which something of every kind has happened.
fn lived() -> ServerProcess {
    let setup = server();
    let disk = setup.dir().join("disk");
    fs::write(&disk, vec![7; 64 * BLOCK]).expect("a disk");
    let server = setup.export("disk \"one\\", &disk, "").start();
    let mut client = server.open("disk \"one\\");
    client.read(0, 4096).expect("read");
    client.write(0, &[1; 512]).expect("written");
    client.flush().expect("flushed");
    assert!(client.read(1 << 40, 1).is_err() && server.connect().go("nobody").is_err());
    client.disc().expect("left");
    client.expect_eof();
    server.open("disk \"one\\").read(0, 1).expect("read");
    server.write_export("gone", &disk, "readonly = true");
    server.reload().expect_complete();
    let _fenced = server.open("gone");
    server.remove_conf("gone.conf");
    server.reload().expect_complete();
    server
}

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/monitoring").join(name)
}

fn promtool(args: &[&str], input: &str) -> Option<(bool, String)> {
    let mut child = Command::new(tool("promtool")?)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(input.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn promtool_finds_nothing_to_say_of_the_metrics() {
    let text = lived().control().get("/metrics");
    assert!(text.contains(r#"{export="disk \"one\\",kind="read"}"#), "{text}");
    let Some((good, said)) = promtool(&["check", "metrics"], &text) else {
        return skip_or_fail("promtool_finds_nothing", "promtool");
    };
    assert!(good && said.is_empty(), "{said}");
}

#[test]
fn the_alert_rules_are_rules() {
    let path = document("alerts.yml");
    let Some((good, said)) = promtool(&["check", "rules", path.to_str().expect("UTF-8")], "") else {
        return skip_or_fail("the_alert_rules", "promtool");
    };
    assert!(good && said.contains("12 rules found"), "{said}");
}

/// Each rule fires in the situation that it is for, and none on a healthy server.
#[test]
fn the_alert_rules_fire_where_they_should_and_nowhere_else() {
    let dir = TempDir::new("alerts");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/monitoring/situations.yml");
    fs::copy(document("alerts.yml"), dir.join("alerts.yml")).expect("the rules");
    fs::copy(here, dir.join("situations.yml")).expect("the situations");
    let situations = dir.join("situations.yml");
    let Some((good, said)) = promtool(&["test", "rules", situations.to_str().expect("UTF-8")], "") else {
        return skip_or_fail("the_alert_rules_fire", "promtool");
    };
    assert!(good && said.contains("SUCCESS"), "{said}");
}

/// Words of a text that look like names of metrics.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("nbd_server_") || word.starts_with("process_"))
        .map(Into::into)
        .collect()
}

#[test]
fn every_metric_that_is_watched_exists_and_every_one_that_exists_is_told_of() {
    let text = lived().control().get("/metrics");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let served: BTreeSet<String> =
        samples.map(|line| line.split(['{', ' ']).next().unwrap_or_default().to_owned()).collect();
    assert!(served.len() > 25, "{served:?}");
    for file in ["alerts.yml", "grafana.json"] {
        let watched = named(&fs::read_to_string(document(file)).expect("a file"));
        let strange: Vec<_> = watched.difference(&served).collect();
        assert!(strange.is_empty() && watched.len() > 8, "{file}: {strange:?}");
    }
    let page = named(&fs::read_to_string(document("README.md")).expect("a page"));
    for name in served.iter().filter(|name| !name.starts_with("process_")) {
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(page.contains(family), "{family} is not in README.md");
    }
}

#[test]
fn on_the_address_for_metrics_there_is_nothing_else() {
    let port = free_port();
    let server = server().generic(&format!("metrics_listen = {port}")).start();
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let text = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let metrics = ask("GET /metrics");
    assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("nbd_server_generation 1"), "{metrics}");
    for request in
        ["GET /v1/status", "POST /v1/reload", "GET /v1/openapi.json", "DELETE /v1/sessions/1", "GET /"]
    {
        assert!(ask(request).starts_with("HTTP/1.1 404"), "{request}");
    }
    assert_eq!(server.control().ask("GET", "/v1/status", "").0, 200);
}
