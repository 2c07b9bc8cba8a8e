//! `nbdctl events`: each event once, in order, and for how long.

mod common;

use common::{Server, command};
use control::Line;
use control::view::Level;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The program while it listens.
struct Listener {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    err: BufReader<ChildStderr>,
}

impl Listener {
    /// Starts it and waits until it hears.
    fn start(server: &Server, args: &[&str]) -> Self {
        let mut child = command(&server.socket(), args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let out = child.stdout.take().map(BufReader::new);
        let err = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut listener = Self { child, out, err };
        listener.hear(server);
        listener
    }

    /// Publishes until something of it has come; what else came of it is read too.
    fn hear(&mut self, server: &Server) {
        let (heard, until) = channel::<()>();
        let fake = server.fake.clone();
        let ticks = std::thread::spawn(move || {
            while until.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout) {
                fake.publish(Level::Debug, &Line::new("tick"));
            }
        });
        let first = self.line();
        drop(heard);
        ticks.join().expect("it publishes");
        assert!(first.contains("tick"), "{first}");
        server.fake.publish(Level::Debug, &Line::new("tock"));
        while !self.line().contains("tock") {}
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let out = self.out.as_mut().expect("it is read");
        out.read_line(&mut line).expect("it says UTF-8");
        line.trim_end().to_owned()
    }

    fn complaint(&mut self) -> String {
        let mut line = String::new();
        self.err.read_line(&mut line).expect("it says UTF-8");
        line.trim_end().to_owned()
    }

    fn code(&mut self) -> Option<i32> {
        self.child.wait().expect("it is ours").code()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// # Panics
/// Where it does not end for all that happens.
fn publish_until_it_ends(server: &Server, child: &mut Child) {
    let until = Instant::now() + Duration::from_secs(20);
    while child.try_wait().expect("it is ours").is_none() {
        server.fake.publish(Level::Info, &Line::new("tick"));
        server.fake.publish(Level::Info, &Line::new("tick"));
        std::thread::yield_now();
        if Instant::now() > until {
            let _ = child.kill();
            panic!("it does not end");
        }
    }
}

#[test]
fn who_follows_hears_everything_in_order_as_it_happens() {
    let server = Server::start();
    let mut listener = Listener::start(&server, &["events", "-f"]);
    let moved = Line::new("export changed")
        .with("export", "a\u{1b}[2J b")
        .with("old", "/dev/vdc")
        .with("new", "/dev/vdb");
    server.fake.publish(Level::Notice, &moved);
    let line = listener.line();
    let (at, rest) = line.split_once(' ').expect("a time in front");
    assert!(at.starts_with("20") && at.ends_with('Z'), "{line}");
    assert_eq!(rest, "notice  export changed export=\"a\\u{1b}[2J b\" new=/dev/vdb old=/dev/vdc");
    for number in 0..1000 {
        server.fake.publish(Level::Warning, &Line::new("device lost").with("number", number));
        let line = listener.line();
        assert!(line.ends_with(&format!(" warning device lost number={number}")), "{line}");
    }
}

#[test]
fn programs_get_each_event_as_the_server_said_it() {
    let server = Server::start();
    let mut listener = Listener::start(&server, &["events", "-f", "--json"]);
    server.fake.publish(Level::Error, &Line::new("session begun").with("peer", "::1\n"));
    let line = listener.line();
    let event: control::view::Event = serde_json::from_str(&line).expect("an event a line");
    assert_eq!((event.event.as_str(), event.facts["peer"].as_str()), ("session begun", "::1\n"));
    assert_eq!(line, serde_json::to_string(&event).expect("it came from there"), "to the letter");
}

#[test]
fn without_following_it_ends_with_the_time_or_with_the_last_event_that_was_wanted() {
    let server = Server::start();
    let ran = server.ctl(&["events", "--timeout", "1"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "nothing happened");
    let ran = server.ctl(&["events", "--timeout", "1", "-n", "1"]);
    assert_eq!(ran.code, 1, "one was wanted");

    // What is wanted is counted, not what comes in one piece.
    let child = command(&server.socket(), &["events", "-f", "-n", "5"]).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("the program runs");
    publish_until_it_ends(&server, &mut child);
    let output = child.wait_with_output().expect("it has ended");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 5);
}

#[test]
fn who_follows_waits_for_a_server_that_comes_back_and_others_are_told() {
    let mut server = Server::start();
    let mut follower = Listener::start(&server, &["events", "-f"]);
    let mut other = Listener::start(&server, &["events", "--timeout", "600"]);
    server.go();
    assert_eq!(other.code(), Some(3));
    assert!(other.complaint().ends_with("control.sock: the server has gone"));
    assert!(follower.complaint().ends_with("the server has gone; waiting for it to come back"));
    server.come();
    assert_eq!(follower.complaint(), "nbdctl: it is back; what happened in between is in its log");
    follower.hear(&server);
}

/// `nbdctl events -f | head -1` ends with the event behind the first one.
#[test]
fn nobody_is_followed_for_a_reader_who_has_gone() {
    let server = Server::start();
    let mut listener = Listener::start(&server, &["events", "-f"]);
    listener.out = None;
    publish_until_it_ends(&server, &mut listener.child);
    assert_eq!(listener.code(), Some(0));
}
