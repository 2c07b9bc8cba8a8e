//! What clients may take at a time, what is said to the one too many, and that those who get stuck keep nobody waiting.
#![allow(missing_docs)]

mod common;

use common::{Connection, Setup, export};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 128;
const WAITING: usize = 16;
const STREAMS: usize = 32;

/// A connection that has been accepted and waits for its next request.
fn idle(setup: &Setup) -> Connection {
    let mut connection = setup.connect();
    assert_eq!(connection.ask("HEAD", "/v1/status").status, 200);
    connection
}

/// Asks until there is a place again: a connection that was closed here may still be there.
fn ask_until_answered(setup: &Setup) {
    let began = Instant::now();
    while setup.ask("GET", "/v1/status").status != 200 {
        assert!(began.elapsed() < Duration::from_secs(60), "there is no place after a minute");
    }
}

#[test]
fn the_connection_too_many_is_told_the_limit_and_closed() {
    let setup = Setup::new();
    let mut connections: Vec<Connection> = (0..CONNECTIONS).map(|_| idle(&setup)).collect();
    for _ in 0..3 {
        let mut one_more = setup.connect();
        let reply = one_more.ask("GET", "/v1/status");
        assert_eq!((reply.status, reply.header("connection")), (503, Some("close")));
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert!(
            reply.json()["detail"].as_str().is_some_and(|why| why.contains("128 connections")),
            "{reply:?}"
        );
        assert!(one_more.is_closed());
    }
    // Figures are not the operator's connections, nor the other way round.
    assert_eq!(Connection::tcp(setup.metrics).ask("GET", "/metrics").status, 200);
    assert_eq!(connections[0].ask("GET", "/v1/status").status, 200);
    connections.pop();
    ask_until_answered(&setup);
}

#[test]
fn connections_for_metrics_are_counted_apart() {
    let setup = Setup::new();
    let _all: Vec<Connection> = (0..32)
        .map(|_| {
            let mut connection = Connection::tcp(setup.metrics);
            assert_eq!(connection.ask("GET", "/metrics").status, 200);
            connection
        })
        .collect();
    let reply = Connection::tcp(setup.metrics).ask("GET", "/metrics");
    assert!(reply.status == 503 && reply.body.contains("32 connections for metrics"), "{reply:?}");
    assert_eq!(setup.ask("GET", "/metrics").status, 200);
}

#[test]
fn the_seventeenth_call_that_waits_is_told_the_limit_and_others_are_answered() {
    let setup = Setup::new();
    setup.fake.hold();
    let mut waiting: Vec<Connection> = (0..WAITING)
        .map(|_| {
            let mut connection = setup.connect();
            connection.raw(b"POST /v1/reload HTTP/1.1\r\nhost: x\r\n\r\n");
            connection
        })
        .collect();
    setup.fake.wait_until_inside(WAITING);
    for (method, path) in [("POST", "/v1/reload"), ("GET", "/v1/plan"), ("POST", "/v1/check")] {
        let reply = setup.ask(method, path);
        assert!(reply.status == 503 && reply.body.contains("16 calls that wait"), "{reply:?}");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    // Whoever leaves has asked all the same: his call goes on, and so does his place.
    drop(waiting.pop());
    assert_eq!(setup.ask("GET", "/v1/plan").status, 503);
    for path in ["/v1/status", "/v1/exports", "/v1/sessions", "/metrics"] {
        assert_eq!(setup.ask("GET", path).status, 200, "{path}");
    }
    setup.fake.release();
    for connection in &mut waiting {
        assert_eq!(connection.reply().status, 200);
    }
    assert_eq!(setup.ask("GET", "/v1/plan").status, 200);
}

#[test]
fn event_streams_leave_room_for_questions() {
    let setup = Setup::new();
    let streams: Vec<Connection> = (0..STREAMS)
        .map(|_| {
            let mut connection = setup.connect();
            connection.raw(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n");
            assert_eq!(connection.head().status, 200);
            connection
        })
        .collect();
    let reply = setup.ask("GET", "/v1/events");
    assert!(reply.status == 503 && reply.body.contains("32 event streams"), "{reply:?}");
    assert_eq!(setup.ask("GET", "/v1/status").status, 200);
    drop(streams);
    let began = Instant::now();
    loop {
        let mut connection = setup.connect();
        connection.raw(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n");
        if connection.head().status == 200 {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "a stream that was left has its place after a minute"
        );
    }
}

#[test]
fn clients_that_are_stuck_in_every_way_keep_nobody_waiting() {
    let setup = Setup::new();
    for number in 0..600 {
        setup.fake.add(export(&format!("export-{number}")));
    }
    let half = |bytes: &'static [u8]| {
        let mut connection = setup.connect();
        connection.raw(bytes);
        connection
    };
    let _stuck: Vec<Connection> = (0..24)
        .flat_map(|_| {
            [
                half(b""),
                half(b"GET /v1/sta"),
                half(b"POST /v1/check HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 9\r\n\r\nhalf"),
                // More than a socket holds, and nobody reads it.
                half(b"GET /v1/exports HTTP/1.1\r\nhost: x\r\n\r\n"),
                half(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n"),
            ]
        })
        .collect();
    let mut connection = setup.connect();
    for _ in 0..50 {
        in_turn(|| connection.ask("GET", "/v1/status").status);
        in_turn(|| connection.send("POST", "/v1/check", "text/plain", b"x").status);
    }
    in_turn(|| setup.ask("POST", "/v1/reload").status);
}

/// What the lists have cost may be more than a slow machine gives the control thread for now: that is said, and soon over.
fn in_turn(mut ask: impl FnMut() -> u16) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match ask() {
            200 => return,
            429 => assert!(Instant::now() < until, "it is worked off within seconds"),
            other => panic!("{other}"),
        }
    }
}

/// What is claimed is a bound from below, so that a slow machine cannot break it.
#[test]
fn requests_beyond_the_burst_wait_for_their_turn() {
    const EACH: u64 = 100;
    let setup = Setup::new();
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let mut connection = setup.connect();
                for _ in 0..EACH {
                    assert_eq!(connection.ask("GET", "/v1/status").status, 200);
                }
            });
        }
    });
    let fastest = Duration::from_millis(10 * EACH - 201);
    assert!(began.elapsed() >= fastest, "{:?} is less than {fastest:?}", began.elapsed());
}

#[test]
fn the_control_thread_gives_way_and_no_other_does() {
    let setup = Setup::new();
    assert_eq!(setup.ask("POST", "/v1/reload").status, 200);
    let niceness = |task: &fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        let (before, after) = stat.rsplit_once(')')?;
        // Field 19, and the second is the last before the bracket.
        let nice: i32 = after.split_ascii_whitespace().nth(16)?.parse().ok()?;
        Some((before.split_once('(')?.1.to_owned(), nice))
    };
    let tasks = fs::read_dir("/proc/self/task").expect("threads").flatten();
    let tasks: Vec<(String, i32)> = tasks.filter_map(|task| niceness(&task)).collect();
    let ours = |name: &str| ["control", "control-wait"].contains(&name);
    let own = tasks.iter().find(|(name, _)| !ours(name)).expect("the test's own thread").1;
    assert!(tasks.iter().any(|(name, _)| name == "control"), "{tasks:?}");
    for (name, nice) in &tasks {
        assert_eq!(*nice, if ours(name) { (own + 10).min(19) } else { own }, "{name}");
    }
}
