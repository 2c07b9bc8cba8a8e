//! Each route: what it asks of the server, and what it answers.
#![allow(missing_docs)]

mod common;

use common::{Setup, export, session};
use control::view::{Level, Outcome};
use std::process::Command;
use testkit::{skip_or_fail, tool};

fn caller() -> String {
    let uid = rustix::process::getuid().as_raw();
    format!("pid {} uid {uid}", std::process::id())
}

#[test]
fn the_status_is_told() {
    let setup = Setup::new();
    setup.fake.add(export("a"));
    let reply = setup.ask("GET", "/v1/status");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.json()["exports"], 1);
    assert_eq!(reply.json()["pid"], std::process::id());
}

#[test]
fn exports_are_told_all_and_one_by_one() {
    let setup = Setup::new();
    setup.fake.add(export("a"));
    setup.fake.add(export("b"));
    let all = setup.ask("GET", "/v1/exports").json();
    assert_eq!(all.as_array().map(Vec::len), Some(2));
    assert_eq!(setup.ask("GET", "/v1/exports/b").json(), all[1]);
    assert_eq!(setup.ask("GET", "/v1/exports/c").status, 404);
}

#[test]
fn sessions_are_told_all_and_one_by_one_and_ended() {
    let setup = Setup::new();
    setup.fake.add_session(session(7, "a"));
    setup.fake.add_session(session(u64::MAX, "a"));
    let all = setup.ask("GET", "/v1/sessions").json();
    assert_eq!(all.as_array().map(Vec::len), Some(2));
    assert_eq!(setup.ask("GET", &format!("/v1/sessions/{}", u64::MAX)).json(), all[1]);
    let ended = setup.ask("DELETE", "/v1/sessions/7?timeout_ms=5");
    assert_eq!((ended.status, &ended.json()["sessions"]), (200, &1.into()));
    assert_eq!(setup.fake.calls(), [format!("end session 7 5ms by {}", caller())]);
    assert_eq!(setup.ask("GET", "/v1/sessions/7").status, 404);
    assert_eq!(setup.ask("DELETE", "/v1/sessions/7").status, 404);
}

#[test]
fn a_reload_says_by_its_status_how_it_ended() {
    let setup = Setup::new();
    for (outcome, status) in [(Outcome::Complete, 200), (Outcome::Incomplete, 207), (Outcome::Refused, 422)] {
        setup.fake.end_reloads(outcome);
        let reply = setup.ask("POST", "/v1/reload");
        assert_eq!((reply.status, reply.header("content-type")), (status, Some("application/json")));
        assert_eq!(reply.json()["outcome"], outcome.to_string());
        assert_eq!(setup.fake.calls(), [format!("reload 30s by {}", caller())]);
    }
}

#[test]
fn the_log_level_is_told_and_set() {
    let setup = Setup::new();
    assert_eq!(setup.ask("GET", "/v1/log-level").json()["level"], "info");
    let set = setup.send("PUT", "/v1/log-level", "application/json", r#"{"level":"debug"}"#);
    assert_eq!((set.status, &set.json()["level"]), (200, &"debug".into()));
    assert_eq!(setup.fake.calls(), [format!("log level {} by {}", Level::Debug, caller())]);
    assert_eq!(setup.ask("GET", "/v1/log-level").json()["level"], "debug");
}

#[test]
fn curl_is_client_enough() {
    let Some(curl) = tool("curl") else { return skip_or_fail("curl_is_client_enough", "curl") };
    let setup = Setup::new();
    let put = Command::new(curl)
        .args(["--silent", "--show-error", "--fail", "--max-time", "60", "--unix-socket"])
        .arg(&setup.socket)
        .args([
            "--request",
            "PUT",
            "--json",
            r#"{"exportname":"/dev/vdc"}"#,
            "http://nbd/v1/exports/a%20b%2Fc",
        ])
        .output()
        .expect("curl runs");
    assert!(put.status.success(), "{put:?}");
    assert!(String::from_utf8_lossy(&put.stdout).contains(r#""outcome":"complete""#), "{put:?}");
    assert_eq!(setup.ask("GET", "/v1/exports/a%20b%2Fc").json()["name"], "a b/c");
}
