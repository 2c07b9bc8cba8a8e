//! Each route: what it asks of the server, and what it answers.
#![allow(missing_docs)]

mod common;

use common::{Connection, Reply, Setup, export, session};
use control::view::{Level, Outcome, State};
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
fn a_plan_is_asked_for_with_its_patience() {
    let setup = Setup::new();
    let plan = setup.ask("GET", "/v1/plan?timeout_ms=600000");
    assert_eq!((plan.status, &plan.json()["steps"]), (200, &serde_json::json!([])));
    assert_eq!(setup.fake.calls(), ["plan 600s"]);
}

#[test]
fn a_text_is_checked_or_without_one_the_file_on_the_disk() {
    let setup = Setup::new();
    let ok = |reply: Reply| (reply.status, reply.json()["ok"].clone());
    assert_eq!(
        ok(setup.send("POST", "/v1/check", "text/plain; charset=utf-8", "broken")),
        (200, false.into())
    );
    assert_eq!(ok(setup.send("POST", "/v1/check", "text/plain", "[generic]\n")), (200, true.into()));
    // Go's client sends a type with nothing, curl none.
    assert_eq!(ok(setup.send("POST", "/v1/check", "application/octet-stream", "")), (200, true.into()));
    assert_eq!(ok(setup.ask("POST", "/v1/check")), (200, true.into()));
    let none = "check None";
    assert_eq!(setup.fake.calls(), [r#"check Some("broken")"#, r#"check Some("[generic]\n")"#, none, none]);
}

#[test]
fn an_export_is_fenced_and_what_hangs_shows_in_the_status() {
    let setup = Setup::new();
    setup.fake.add(export("a"));
    let fenced = setup.ask("POST", "/v1/exports/a/fence");
    assert_eq!((fenced.status, &fenced.json()["sessions"]), (200, &2.into()));
    assert_eq!(setup.fake.calls(), [format!("fence \"a\" 30s by {}", caller())]);
    setup.fake.hang();
    let hangs = setup.ask("POST", "/v1/exports/a/fence");
    assert_eq!((hangs.status, &hangs.json()["hanging"][0]["path"]), (207, &"/dev/vdc".into()));
    assert_eq!(setup.ask("POST", "/v1/exports/b/fence").status, 404);
}

#[test]
fn a_failed_sync_is_cleared_once() {
    let setup = Setup::new();
    setup.fake.add(control::view::Export { state: State::Poisoned, ..export("a") });
    assert_eq!(setup.ask("POST", "/v1/exports/a/clear").json()["cleared"], true);
    assert_eq!(setup.ask("POST", "/v1/exports/a/clear").json()["cleared"], false);
    assert_eq!(setup.ask("POST", "/v1/exports/b/clear").status, 404);
}

#[test]
fn an_export_is_put_and_removed_with_a_reload_or_without() {
    let setup = Setup::new();
    let body = r#"{"exportname":"/dev/vdc","readonly":"true"}"#;
    let put = setup.send("PUT", "/v1/exports/a", "application/json", body);
    assert_eq!((put.status, &put.json()["outcome"]), (200, &"complete".into()));
    let later = setup.send("PUT", "/v1/exports/a?apply=false&timeout_ms=1", "application/json", body);
    assert_eq!((later.status, later.body.as_str()), (204, ""));
    let removed = setup.ask("DELETE", "/v1/exports/a?apply=true");
    assert_eq!((removed.status, &removed.json()["outcome"]), (200, &"complete".into()));
    let settings = r#"{"exportname": "/dev/vdc", "readonly": "true"}"#;
    assert_eq!(
        setup.fake.calls(),
        [
            format!("put \"a\" {settings} true 30s by {}", caller()),
            format!("put \"a\" {settings} false 1ms by {}", caller()),
            format!("remove \"a\" true 30s by {}", caller()),
        ]
    );
    setup.fake.end_reloads(Outcome::Incomplete);
    assert_eq!(setup.send("PUT", "/v1/exports/a", "application/json", body).status, 207);
    setup.fake.end_reloads(Outcome::Refused);
    assert_eq!(setup.ask("DELETE", "/v1/exports/a").status, 422);
}

#[test]
fn a_name_may_hold_anything_and_is_percent_encoded() {
    let setup = Setup::new();
    for (name, encoded) in [
        ("a/b", "a%2Fb"),
        ("a b", "a%20b"),
        ("100%", "100%25"),
        ("%2F", "%252F"),
        ("ä☃", "%C3%A4%E2%98%83"),
        ("?x=1#y", "%3Fx%3D1%23y"),
        ("..", ".."),
        ("a\nb", "a%0Ab"),
        ("plus+", "plus+"),
        ("fence", "fence"),
        ("a/fence", "a%2Ffence"),
    ] {
        setup.fake.add(export(name));
        assert_eq!(setup.ask("GET", &format!("/v1/exports/{encoded}")).json()["name"], name);
        assert_eq!(setup.ask("POST", &format!("/v1/exports/{encoded}/fence")).status, 200, "{name}");
        assert_eq!(setup.fake.calls(), [format!("fence {name:?} 30s by {}", caller())]);
    }
    let long = "ü".repeat(2048);
    setup.fake.add(export(&long));
    let encoded = "%C3%BC".repeat(2048);
    assert_eq!(setup.ask("GET", &format!("/v1/exports/{encoded}")).json()["name"], long);
}

#[test]
fn the_empty_name_is_had_by_every_method() {
    let setup = Setup::new();
    assert_eq!(setup.ask("GET", "/v1/exports/").status, 404);
    let put = setup.send("PUT", "/v1/exports/", "application/json", r#"{"exportname":"/dev/vdd"}"#);
    assert_eq!(put.status, 200);
    let export = setup.ask("GET", "/v1/exports/").json();
    assert_eq!((&export["name"], &export["path"]), (&"".into(), &"/dev/vdd".into()));
    assert_eq!(setup.ask("POST", "/v1/exports//fence").status, 200);
    assert_eq!(setup.ask("POST", "/v1/exports//clear").status, 200);
    assert_eq!(setup.ask("DELETE", "/v1/exports/").status, 200);
    assert_eq!(setup.ask("GET", "/v1/exports").json(), serde_json::json!([]));
}

#[test]
fn figures_are_had_on_both_sockets_and_on_the_network_nothing_else() {
    let setup = Setup::new();
    let text = "# HELP nbd_sessions Sessions now.\n# TYPE nbd_sessions gauge\nnbd_sessions 0\n";
    let mut network = Connection::tcp(setup.metrics);
    for reply in [setup.ask("GET", "/metrics"), network.ask("GET", "/metrics")] {
        assert_eq!((reply.status, reply.body.as_str()), (200, text));
        assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4"));
    }
    assert_eq!(network.ask("HEAD", "/metrics").header("content-length"), Some(&*text.len().to_string()));
    for (method, path) in [("GET", "/v1/status"), ("POST", "/v1/reload"), ("POST", "/metrics"), ("GET", "/")]
    {
        assert_eq!(network.ask(method, path).status, 404, "{method} {path}");
    }
    assert_eq!(setup.fake.calls(), [""; 0]);
}

#[test]
fn the_document_is_served_and_names_every_route() {
    let setup = Setup::new();
    let reply = setup.ask("GET", "/v1/openapi.json");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.body, control::openapi());
    let document = reply.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().expect("it has paths");
    assert_eq!(paths.len(), 14, "{:?}", paths.keys());
    let timeout = &document["paths"]["/v1/reload"]["post"]["parameters"][0]["schema"];
    assert_eq!(
        (&timeout["minimum"], &timeout["maximum"], &timeout["default"]),
        (&1.into(), &600_000.into(), &30_000.into())
    );
    let ours = &document["components"]["schemas"]["ProblemDetails"]["properties"];
    assert!(ours["detail"].is_object(), "{ours}");
}

#[test]
fn many_requests_go_over_one_connection() {
    let setup = Setup::new();
    let mut connection = setup.connect();
    for _ in 0..50 {
        assert_eq!(connection.ask("GET", "/v1/status").status, 200);
        assert_eq!(connection.ask("GET", "/v1/exports/none").status, 404);
        assert_eq!(connection.send("POST", "/v1/check", "text/plain", b"x").status, 200);
        let head = connection.ask("HEAD", "/v1/status");
        assert_eq!((head.status, head.body.as_str()), (200, ""));
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
