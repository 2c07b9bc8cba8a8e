//! What happens is told to everybody who listens, in order; who is too slow is told how much he missed.
#![allow(missing_docs)]

mod common;

use common::{Connection, Setup};
use control::view::{Event, Level};
use control::{Controls, Line};

fn listen(setup: &Setup) -> Connection {
    let mut connection = setup.connect();
    connection.raw(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n");
    let head = connection.head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/x-ndjson")));
    connection
}

fn publish(setup: &Setup, number: usize) {
    let line = Line::new("export changed").with("export", "vol 1").with("number", number);
    setup.fake.events().publish(Level::Notice, &line);
}

/// The next events, so many at least.
fn events(connection: &mut Connection, count: usize) -> Vec<Event> {
    let (mut text, mut events) = (String::new(), Vec::new());
    while events.len() < count {
        text += &connection.chunk();
        assert!(text.ends_with('\n'), "lines are whole: {text:?}");
        let lines = text.lines().filter(|line| !line.is_empty());
        events.extend(lines.map(|line| serde_json::from_str::<Event>(line).expect("an event")));
        text.clear();
    }
    events
}

#[test]
fn every_listener_hears_every_event_in_order_from_then_on() {
    let setup = Setup::new();
    publish(&setup, 0);
    let mut listeners: Vec<Connection> = (0..5).map(|_| listen(&setup)).collect();
    for number in 1..=1000 {
        publish(&setup, number);
    }
    for connection in &mut listeners {
        let heard = events(connection, 1000);
        let ids: Vec<u64> = heard.iter().map(|event| event.id).collect();
        assert_eq!(ids, (2..=1001).collect::<Vec<u64>>());
        let first = &heard[0];
        assert_eq!((first.event.as_str(), first.level), ("export changed", Level::Notice));
        assert_eq!((first.facts["export"].as_str(), first.facts["number"].as_str()), ("vol 1", "1"));
        assert!(first.at.ends_with('Z'), "{}", first.at);
    }
}

#[test]
fn whoever_is_too_slow_is_told_how_many_events_he_missed() {
    let setup = Setup::new();
    let mut slow = listen(&setup);
    // More than a socket and the ring hold.
    let all = 60_000;
    for number in 0..all {
        publish(&setup, number);
    }
    let (mut heard, mut missed, mut last) = (0, 0, 0);
    while last < all as u64 {
        for event in events(&mut slow, 1) {
            if event.event == "events lost" {
                let count: u64 = event.facts["count"].parse().expect("a number");
                assert_eq!(
                    (event.id, event.level),
                    (last + count, Level::Warning),
                    "it has the last one's number"
                );
                missed += count;
            } else {
                assert_eq!(event.id, last + 1, "no gap without a notice");
                heard += 1;
            }
            last = event.id;
        }
    }
    assert!(missed > 0 && heard > 0, "{heard} heard, {missed} missed");
    assert_eq!(heard + missed, all as u64);
    // Others are not concerned, and it goes on.
    publish(&setup, 1);
    assert_eq!(events(&mut slow, 1)[0].id, all as u64 + 1);
}

#[test]
fn a_stream_ends_in_order_when_the_server_does() {
    let mut setup = Setup::new();
    let mut connection = listen(&setup);
    publish(&setup, 1);
    assert_eq!(events(&mut connection, 1)[0].id, 1);
    setup.stop();
    assert_eq!(connection.chunk(), "", "the last piece");
    assert!(connection.is_closed());
}
