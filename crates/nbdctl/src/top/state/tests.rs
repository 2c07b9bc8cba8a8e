//! Looks in, rows out.

use super::*;
use control::view::{Hanging, Level, Operations, Status};
use std::collections::BTreeMap;

fn export(name: &str, requests: u64, bytes: u64) -> Export {
    let operations = Operations { writes: requests, bytes_written: bytes, ..Operations::default() };
    Export {
        name: name.into(),
        state: control::view::State::Serving,
        reason: None,
        since: None,
        configured: true,
        file: None,
        line: None,
        path: "/dev/vdb".into(),
        device: None,
        identity: None,
        size: None,
        read_only: false,
        flags: Vec::new(),
        open: true,
        sessions: 0,
        generation: 1,
        operations,
        hanging: Vec::new(),
        settings: BTreeMap::new(),
    }
}

fn session(id: u64, export: &str, oldest_ms: Option<u64>) -> Session {
    Session {
        id,
        peer: "::1".into(),
        tls: None,
        export: export.into(),
        path: "/dev/vdb".into(),
        generation: 1,
        since: String::new(),
        read_only: false,
        operations: Operations::default(),
        in_flight: u64::from(oldest_ms.is_some()),
        oldest_ms,
        idle_ms: None,
    }
}

fn look(at: Instant, pid: u32, exports: Vec<Export>, sessions: Vec<Session>) -> Seen {
    let status = Status {
        version: String::new(),
        pid,
        since: String::new(),
        configuration: String::new(),
        generation: 1,
        reloading: false,
        last_reload: None,
        listening: Vec::new(),
        exports: 0,
        exports_not_serving: 0,
        sessions: 0,
        handshakes: 0,
        log_level: Level::Info,
    };
    Seen::Look(Box::new(Look { at, status, exports, sessions }))
}

fn rows(state: &State) -> Vec<(&str, Option<f64>)> {
    let rows = state.picture().map(|picture| picture.exports.as_slice()).unwrap_or_default();
    rows.iter().map(|row| (row.what.name.as_str(), row.rates.map(|rates| rates.operations))).collect()
}

#[test]
fn busy_rows_come_first_and_their_total_is_theirs() {
    let (mut state, now) = (State::new(false, Duration::from_secs(1)), Instant::now());
    let before = ["a", "b", "c"].map(|name| export(name, 5, 5)).to_vec();
    state.see(look(now, 1, before, Vec::new()));
    assert_eq!(rows(&state), [("a", None), ("b", None), ("c", None)]);
    assert_eq!(state.picture().and_then(Picture::total), None);
    let after = vec![export("a", 9, 5), export("b", 5, 5), export("c", 7, 4005), export("new", 99, 9999)];
    state.see(look(now + Duration::from_secs(2), 1, after, Vec::new()));
    assert_eq!(rows(&state), [("c", Some(1.0)), ("a", Some(2.0)), ("b", Some(0.0)), ("new", None)]);
    let total = state.picture().and_then(Picture::total).expect("there are rates");
    assert_eq!((total.operations, total.written), (3.0, 2000.0));
    state.follow(Wish::Reorder);
    assert_eq!(rows(&state).iter().map(|row| row.0).collect::<String>(), "abcnew");
}

/// A rate over a restart or a silence would be made up.
#[test]
fn another_process_or_a_silence_begins_anew() {
    let (mut state, now) = (State::new(false, Duration::from_secs(1)), Instant::now());
    let at = |second| now + Duration::from_secs(second);
    state.see(look(at(0), 1, vec![export("a", 1, 1)], Vec::new()));
    state.see(look(at(1), 2, vec![export("a", 9, 9)], Vec::new()));
    assert_eq!(rows(&state), [("a", None)], "another process");
    state.see(look(at(2), 2, vec![export("a", 9, 9)], Vec::new()));
    assert_eq!(rows(&state), [("a", Some(0.0))]);
    state.see(Seen::Nothing(at(3), "gone".into()));
    state.see(Seen::Nothing(at(4), "still gone".into()));
    assert_eq!(rows(&state), [("a", None)], "nobody knows");
    assert_eq!(state.silence(at(10)), Some((Duration::from_secs(7), "still gone")));
    state.see(look(at(60), 2, vec![export("a", 99, 9)], Vec::new()));
    assert_eq!((rows(&state), state.silence(at(63))), (vec![("a", None)], None));
    assert_eq!(
        state.silence(at(64)),
        Some((Duration::from_secs(4), "no answer")),
        "it neither comes nor fails"
    );
}

#[test]
fn an_export_has_the_oldest_request_of_its_sessions_and_of_those_that_hang() {
    let (mut state, now) = (State::new(false, Duration::from_secs(1)), Instant::now());
    let sessions = vec![session(1, "a", Some(10)), session(2, "a", Some(30)), session(3, "b", Some(99))];
    let mut stuck = export("c", 0, 0);
    stuck.hanging = vec![Hanging { export: "c".into(), path: String::new(), peer: None, age_ms: 7 }];
    state.see(look(now, 1, vec![export("a", 0, 0), export("b", 0, 0), stuck], sessions));
    let picture = state.picture().expect("it was seen");
    let seen: Vec<_> = picture.exports.iter().map(|row| (row.in_flight, row.oldest_ms)).collect();
    assert_eq!(seen, [(2, Some(30)), (1, Some(99)), (0, Some(7))]);
}

#[test]
fn scrolling_ends_with_a_full_page() {
    let (mut state, now) = (State::new(false, Duration::from_secs(1)), Instant::now());
    state.follow(Wish::Rows(3));
    assert_eq!(state.fit(4), 0, "there is nothing yet");
    let exports = (0..10).map(|number| export(&number.to_string(), 0, 0)).collect();
    state.see(look(now, 1, exports, vec![session(1, "0", None)]));
    let mut after = |wish| {
        state.follow(wish);
        state.fit(4)
    };
    assert_eq!([Wish::Rows(1), Wish::Pages(1), Wish::Pages(1), Wish::Rows(1)].map(&mut after), [1, 5, 6, 6]);
    assert_eq!([Wish::Rows(-2), Wish::First, Wish::Rows(-1), Wish::Last].map(&mut after), [4, 0, 0, 6]);
    assert_eq!([Wish::Sessions, Wish::Last, Wish::Exports].map(&mut after), [0, 0, 0]);
    state.follow(Wish::Last);
    assert_eq!(state.fit(7), 3, "a larger window shows more");
    state.see(look(now, 1, vec![export("0", 0, 0)], Vec::new()));
    assert_eq!(state.fit(7), 0, "there are fewer now");
}
