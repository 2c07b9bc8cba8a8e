//! What is not answered: which status, in which shape, and that nothing was asked of the server.
#![allow(missing_docs)]

mod common;

use common::{Connection, Reply, Setup, export, session};
use control::Refusal;
use control::view::{Problem, ProblemDetails};

/// An answer of 4xx or 5xx, taken apart.
fn details(reply: &Reply) -> ProblemDetails {
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    let details: ProblemDetails = serde_json::from_str(&reply.body).expect("problem details");
    assert_eq!((details.r#type.as_str(), details.status), ("about:blank", reply.status));
    assert!(!details.title.is_empty() && !details.detail.is_empty(), "{details:?}");
    details
}

#[track_caller]
fn refused(reply: &Reply, status: u16, word: &str) {
    let details = details(reply);
    assert_eq!(reply.status, status, "{details:?}");
    assert!(details.detail.contains(word), "{word}: {details:?}");
}

#[test]
fn what_the_server_refuses_has_its_status_and_its_reason() {
    let setup = Setup::new();
    let problem = |reason: &str| Problem {
        file: "/etc/nbd-server/config".into(),
        line: Some(4),
        key: Some("exportname".into()),
        reason: reason.into(),
    };
    let two = vec![problem("first"), problem("second")];
    for (refusal, status, detail) in [
        (Refusal::NotFound("who?".into()), 404, "who?"),
        (Refusal::Invalid(two.clone()), 422, "first; second"),
        (Refusal::Conflict("b.conf".into()), 409, "b.conf"),
        (Refusal::Forbidden("EROFS".into()), 403, "EROFS"),
        (Refusal::Late("still".into()), 504, "still"),
    ] {
        let problems = if status == 422 { two.clone() } else { Vec::new() };
        setup.fake.refuse(refusal);
        for (method, path) in [
            ("POST", "/v1/reload"),
            ("GET", "/v1/plan"),
            ("POST", "/v1/exports/a/fence"),
            ("POST", "/v1/exports/a/clear"),
            ("DELETE", "/v1/exports/a"),
            ("DELETE", "/v1/sessions/1"),
        ] {
            let reply = setup.ask(method, path);
            refused(&reply, status, detail);
            assert_eq!(details(&reply).problems, problems, "{method} {path}");
        }
        refused(&setup.send("PUT", "/v1/exports/a", "application/json", "{}"), status, detail);
    }
}

#[test]
fn a_route_that_is_not_there_is_404_and_another_method_is_405() {
    let setup = Setup::new();
    for path in ["/", "/v2/status", "/v1/status/", "/v1/exports/a/b/c", "/v1//status", "/v1/sessions/"] {
        refused(&setup.ask("GET", path), 404, "openapi.json");
    }
    for (method, path, allow) in [
        ("POST", "/v1/status", "GET,HEAD"),
        ("GET", "/v1/reload", "POST"),
        ("PATCH", "/v1/exports/a", "GET,HEAD,PUT,DELETE"),
        ("DELETE", "/v1/log-level", "GET,HEAD,PUT"),
    ] {
        let reply = setup.ask(method, path);
        refused(&reply, 405, method);
        assert_eq!(reply.header("allow"), Some(allow));
    }
}

#[test]
fn a_query_that_makes_no_sense_is_400_and_nothing_is_done() {
    let setup = Setup::new();
    setup.fake.add(export("a"));
    setup.fake.add_session(session(1, "a"));
    for query in [
        "timeout_ms=0",
        "timeout_ms=600001",
        "timeout_ms=-1",
        "timeout_ms=1.5",
        "timeout_ms=",
        "timeout_ms=99999999999999999999",
        "timeout_ms=1&timeout_ms=2",
        "timeout=5",
        "aply=false",
    ] {
        for (method, path) in [
            ("POST", "/v1/reload"),
            ("GET", "/v1/plan"),
            ("POST", "/v1/exports/a/fence"),
            ("DELETE", "/v1/exports/a"),
            ("DELETE", "/v1/sessions/1"),
        ] {
            refused(&setup.ask(method, &format!("{path}?{query}")), 400, "query");
        }
    }
    refused(&setup.ask("DELETE", "/v1/exports/a?apply=maybe"), 400, "query");
    refused(&setup.ask("DELETE", "/v1/sessions/one"), 400, "number");
    refused(&setup.ask("GET", "/v1/sessions/-1"), 400, "number");
    refused(&setup.ask("GET", "/v1/exports/%FF"), 400, "UTF-8");
    assert_eq!(setup.fake.calls(), [""; 0]);
}

#[test]
fn a_body_that_makes_no_sense_is_400_and_nothing_is_done() {
    let setup = Setup::new();
    for body in [
        "",
        "{",
        "[]",
        "null",
        r#"{"exportname":5}"#,
        r#"{"exportname":null}"#,
        r#"{"exportname":"/dev/vdc"} x"#,
        r#"{"exportname":"/dev/vdc","exportname":"/dev/vdd"}"#,
    ] {
        refused(&setup.send("PUT", "/v1/exports/a", "application/json", body), 400, "body");
    }
    let twice = setup.send("PUT", "/v1/exports/a", "application/json", r#"{"a":"b","a":"b"}"#);
    refused(&twice, 400, "'a' is there twice");
    for body in [r#"{"level":"loud"}"#, r#"{"level":"info","for":"ever"}"#, "{}"] {
        refused(&setup.send("PUT", "/v1/log-level", "application/json", body), 400, "body");
    }
    refused(&setup.connect().send("POST", "/v1/check", "text/plain", b"\xFF"), 400, "UTF-8");
    assert_eq!(setup.fake.calls(), [""; 0]);
}

#[test]
fn a_body_of_another_type_is_415() {
    let setup = Setup::new();
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "json"]
    {
        refused(&setup.send("PUT", "/v1/exports/a", kind, "{}"), 415, "application/json");
    }
    for kind in ["application/json", "text/html", "text/plain; charset=iso-8859-1", ""] {
        refused(&setup.send("POST", "/v1/check", kind, "[generic]"), 415, "text/plain");
    }
    assert_eq!(setup.fake.calls(), [""; 0]);
}

#[test]
fn a_body_of_a_mebibyte_is_taken_and_one_byte_more_is_413() {
    let setup = Setup::new();
    let text = "#".repeat(1 << 20);
    assert_eq!(setup.send("POST", "/v1/check", "text/plain", &text).status, 200);
    refused(&setup.send("POST", "/v1/check", "text/plain", &format!("{text}#")), 413, "1048576");
    // Of a length that is not said beforehand.
    let mut connection = setup.connect();
    connection.raw(
        b"POST /v1/check HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    for _ in 0..17 {
        connection.raw(format!("{:x}\r\n{}\r\n", 1 << 16, "#".repeat(1 << 16)).as_bytes());
    }
    refused(&connection.reply(), 413, "1048576");
}

#[test]
fn a_panic_is_500_and_the_next_request_is_answered() {
    let setup = Setup::new();
    setup.fake.panic(true);
    let mut connection = setup.connect();
    for (method, path) in
        [("GET", "/v1/status"), ("POST", "/v1/reload"), ("GET", "/v1/exports"), ("GET", "/v1/plan")]
    {
        refused(&connection.ask(method, path), 500, "bug");
    }
    refused(&Connection::tcp(setup.metrics).ask("GET", "/metrics"), 500, "bug");
    setup.fake.panic(false);
    assert_eq!(connection.ask("GET", "/v1/status").status, 200);
    assert_eq!(connection.ask("POST", "/v1/reload").status, 200);
}

#[test]
fn what_is_no_http_is_answered_and_closed() {
    let setup = Setup::new();
    for bytes in [
        &b"\x00\x00\x42\x02\x81\x86\x12\x53IHAVEOPT\r\n\r\n"[..],
        b"GET /v1/status\r\n\r\n",
        b"GET  HTTP/9\r\n\r\n",
    ] {
        let mut connection = setup.connect();
        connection.raw(bytes);
        assert_eq!(connection.head().status, 400);
        assert!(connection.is_closed());
    }
    let mut connection = setup.connect();
    connection.raw(format!("GET /{} HTTP/1.1\r\n", "x".repeat(100_000)).as_bytes());
    assert!([414, 431].contains(&connection.head().status));
    assert_eq!(setup.ask("GET", "/v1/status").status, 200);
}
