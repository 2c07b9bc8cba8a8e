//! Words that ask: what people read, what programs read, and the exit code.

mod common;

use common::fake::{export, session};
use common::{Ran, Server, ctl};
use control::view::{Hanging, LastReload, Level, Operations, Outcome, State};

/// What `--json` prints is the body of the route, with a line's end.
#[track_caller]
fn is_the_body(server: &Server, ran: &Ran, path: &str) {
    assert_eq!(ran.out, format!("{}\n", server.body(path)));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn status_tells_of_the_server_as_a_whole() {
    let server = Server::start();
    {
        let mut says = server.fake.says();
        says.status.exports = 3;
        says.status.exports_not_serving = 1;
        says.status.sessions = 4;
        says.status.handshakes = 1;
        says.status.listening.push("unix:/run/nbd.sock".into());
        says.status.last_reload = Some(LastReload {
            at: "2020-01-01T00:00:00.000Z".into(),
            outcome: Outcome::Incomplete,
            reason: Some("1 file was\nkept back".into()),
            took_ms: 60,
        });
    }
    let ran = server.ctl(&["status"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "a question that is answered");
    let lines = ran.lines();
    assert!(lines[0].starts_with("nbd-server 0.1.0, pid 4711, since 20"), "{}", lines[0]);
    assert_eq!(lines[1], "configuration  /etc/nbd-server/config");
    assert!(lines[2].starts_with("generation     7, last reload incomplete "), "{}", lines[2]);
    assert!(lines[2].ends_with("h ago, in 60ms"), "{}", lines[2]);
    assert_eq!(
        lines[3..],
        [
            "listening      127.0.0.1:10809, unix:/run/nbd.sock",
            "exports        3, 1 of them not serving",
            "sessions       4, and 1 handshake",
            "log level      info",
            "reload incomplete: 1 file was\\nkept back",
        ]
    );
    is_the_body(&server, &server.ctl(&["status", "--json"]), "/v1/status");
}

#[test]
fn exports_are_a_table_with_what_is_wrong_below_each() {
    let server = Server::start();
    assert_eq!(server.ctl(&["exports"]).out, "no exports\n");
    {
        let mut gone = export("vol-22", "/dev/disk/by-id/virtio-42");
        gone.state = State::Unavailable;
        gone.reason = Some("another disk is there since the last reload".into());
        gone.size = None;
        gone.read_only = true;
        gone.device = Some("/dev/vdc".into());
        let mut stuck = export("", "/dev/vdd");
        stuck.state = State::Fencing;
        let later = Hanging { age_ms: 7000, ..hanging() };
        stuck.hanging = vec![hanging(), later, hanging(), hanging()];
        server.fake.says().exports = vec![export("vol-1", "/dev/vdb"), gone, stuck];
    }
    let ran = server.ctl(&["exports"]);
    assert_eq!(
        ran.lines(),
        [
            "EXPORT  STATE        MODE    SIZE  SESSIONS  PATH",
            "vol-1   serving      rw    10 GiB         0  /dev/vdb",
            "vol-22  unavailable  ro         -         0  /dev/disk/by-id/virtio-42 → /dev/vdc",
            "    another disk is there since the last reload",
            "\"\"      fencing      rw    10 GiB         0  /dev/vdd",
            "    hangs: vol-3 /dev/vdd: requests of 127.0.0.1:4000 in 3 sessions, for 42s; this disk is not free; hangs: vol-3 \
             /dev/vdd: a request of 127.0.0.1:4000, for 7s; this disk is not free",
        ]
    );
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(server.ctl(&["exports", "--names"]).out, "vol-1\nvol-22\n\n");
    is_the_body(&server, &server.ctl(&["exports", "--json"]), "/v1/exports");
}

fn hanging() -> Hanging {
    Hanging {
        export: "vol-3".into(),
        path: "/dev/vdd".into(),
        peer: Some("127.0.0.1:4000".into()),
        age_ms: 42_000,
    }
}

#[test]
fn one_export_is_told_with_all_that_is_known_and_its_sessions() {
    let server = Server::start();
    {
        let mut says = server.fake.says();
        let mut one = export("vol-1", "/dev/vdb");
        one.state = State::Poisoned;
        one.reason = Some("fsync failed with EIO".into());
        one.settings.insert("prerun".into(), "echo \"a b\"".into());
        says.exports = vec![one];
        says.sessions = vec![session(1, "other"), session(17, "vol-1")];
    }
    let ran = server.ctl(&["exports", "vol-1"]);
    let lines = ran.lines();
    for wanted in [
        "vol-1",
        "state       poisoned: fsync failed with EIO",
        "size        10 GiB (10737418240 bytes)",
        "identity    serial:42",
        "file        /etc/nbd-server/conf.d/a.conf:1",
        "flags       NBD_FLAG_HAS_FLAGS NBD_FLAG_SEND_FLUSH",
        "setting     prerun=\"echo \\\"a b\\\"\"",
    ] {
        assert!(lines.contains(&wanted), "{wanted} is missing:\n{}", ran.out);
    }
    let table: Vec<&&str> = lines.iter().filter(|line| line.contains("127.0.0.1")).collect();
    assert!(table.len() == 1 && table[0].trim_start().starts_with("17 "), "its own only:\n{}", ran.out);
    is_the_body(&server, &server.ctl(&["exports", "vol-1", "--json"]), "/v1/exports/vol-1");
}

/// Names are chosen by others, and what they chose neither moves the cursor nor leads to another route.
#[test]
fn odd_names_are_shown_as_escapes_and_asked_for_as_they_are() {
    let server = Server::start();
    let names = ["a/b?c=d#e f%20", "ö 日本", "..", ".", "\u{1b}[2J\nx", "-dash", ""];
    server.fake.says().exports = names.map(|name| export(name, "/dev/vdb\u{7}")).to_vec();
    let ran = server.ctl(&["exports"]);
    assert!(!ran.out.contains(['\u{1b}', '\u{7}']), "{:?}", ran.out);
    assert_eq!(ran.lines().len(), 1 + names.len(), "each has one line:\n{}", ran.out);
    assert!(ran.out.contains("\\u{1b}[2J\\nx") && ran.out.contains("/dev/vdb\\u{7}"), "{}", ran.out);
    for name in names {
        let ran = server.ctl(&["exports", "--json", "--", name]);
        let found: control::view::Export = serde_json::from_str(&ran.out).expect("one export");
        assert_eq!(found.name, name);
        assert_eq!(server.ctl(&["fence", "--", name]).code, 0);
        assert_eq!(server.fake.calls(), [format!("fence {name:?} within 30s")]);
        assert_eq!(server.ctl(&["clear", "--", name]).code, 0);
        assert_eq!(server.fake.calls(), [format!("clear {name:?}")]);
    }
    let ran = server.ctl(&["exports", "no\u{1b}such"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert_eq!(ran.err, "nbdctl: there is no export 'no\\u{1b}such'\n");
}

#[test]
fn sessions_are_a_table_and_one_is_told_in_full() {
    let server = Server::start();
    assert_eq!(server.ctl(&["sessions"]).out, "no sessions\n");
    {
        let mut busy = session(1234, "vol-1");
        let (bytes_read, bytes_written, errors) = (3 << 30, 512, 2);
        busy.operations = Operations { reads: 7, bytes_read, bytes_written, errors, ..Operations::default() };
        (busy.in_flight, busy.oldest_ms, busy.tls) = (3, Some(1500), Some("CN=a\tb".into()));
        server.fake.says().sessions = vec![session(3, "vol-1"), busy];
    }
    let ran = server.ctl(&["sessions"]);
    let rows: Vec<Vec<&str>> = ran.lines().iter().map(|line| line.split("  ").collect()).collect();
    assert!(rows.len() == 3 && rows[0].contains(&"WRITTEN"), "{}", ran.out);
    let cells: Vec<&str> = rows[2].iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(
        (cells[0], &cells[2..]),
        ("1234", &["3 GiB", "512 B", "2", "3", "20ms", "127.0.0.1:41234", "vol-1"][..])
    );
    assert_eq!(server.ctl(&["sessions", "--ids"]).out, "3\n1234\n");
    is_the_body(&server, &server.ctl(&["sessions", "--json"]), "/v1/sessions");

    let ran = server.ctl(&["sessions", "1234"]);
    for wanted in ["session 1234", "TLS         CN=a\\tb", "in flight   3, the oldest for 1s"] {
        assert!(ran.lines().contains(&wanted), "{wanted} is missing:\n{}", ran.out);
    }
    is_the_body(&server, &server.ctl(&["sessions", "1234", "--json"]), "/v1/sessions/1234");
    let ran = server.ctl(&["sessions", "9", "--json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("\"status\":404"), "programs get the server's own words: {}", ran.out);
}

#[test]
fn the_log_level_is_told_and_set() {
    let server = Server::start();
    assert_eq!(server.ctl(&["log-level"]).out, "info\n");
    for level in ["error", "warning", "notice", "info", "debug"] {
        let ran = server.ctl(&["log-level", level]);
        assert_eq!((ran.code, ran.out), (0, format!("{level}\n")));
        assert_eq!(server.fake.calls(), [format!("log level {level}")]);
    }
    assert_eq!(server.fake.says().status.log_level, Level::Debug);
    is_the_body(&server, &server.ctl(&["log-level", "--json"]), "/v1/log-level");
    assert_eq!(server.ctl(&["log-level", "loud"]).code, 64);
}

#[test]
fn figures_and_the_description_come_as_they_are() {
    let server = Server::start();
    assert_eq!(server.ctl(&["metrics"]).out, server.body("/metrics"));
    is_the_body(&server, &server.ctl(&["openapi"]), "/v1/openapi.json");
}

/// It asks nobody: the table of keys is in the program.
#[test]
fn a_key_is_explained_without_a_server() {
    let nobody = std::path::Path::new("/nonexistent/sock");
    let ran = ctl(nobody, &["explain", "port"]);
    assert_eq!(ran.code, 0);
    assert_eq!(ran.lines()[0], "port, in [generic] of the main file");
    assert!(
        ran.lines().contains(&"without it  10809") && ran.lines().contains(&"at reload   needs a restart")
    );
    let all = ctl(nobody, &["explain"]);
    for key in config::keys().iter().filter(|key| key.status == config::Status::Working) {
        assert!(all.lines().iter().any(|line| line.starts_with(&format!("{} ", key.name))), "{}", key.name);
        assert_eq!(ctl(nobody, &["explain", key.name]).code, 0, "{}", key.name);
    }
    let ran = ctl(nobody, &["explain", "readonyl"]);
    assert_eq!((ran.code, ran.out.as_str()), (64, ""));
    assert!(ran.err.contains("did you mean readonly?"), "{}", ran.err);
}
