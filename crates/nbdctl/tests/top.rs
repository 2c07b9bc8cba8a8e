//! `nbdctl top` in a real terminal.

mod common;

use common::Server;
use common::fake::{export, session};
use control::view::{Hanging, State};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use std::path::Path;
use testkit::Terminal;

/// Two exports, the second of which is where most goes on once [`work`] was done.
fn server() -> Server {
    let server = Server::start();
    {
        let mut says = server.fake.says();
        let mut gone = export("gone", "/dev/vdx");
        gone.state = State::Unavailable;
        says.exports = vec![export("idle", "/dev/vdb"), export("busy", "/dev/vdc"), gone];
        says.sessions = vec![session(7, "busy"), session(8, "idle")];
        (says.sessions[0].in_flight, says.sessions[0].oldest_ms) = (5, Some(1500));
        says.status.sessions = 2;
    }
    server
}

/// A GiB is read from `busy`, in 1024 requests.
fn work(server: &Server) {
    let says = &mut *server.fake.says();
    for done in [&mut says.exports[1].operations, &mut says.sessions[0].operations] {
        done.reads += 1024;
        done.bytes_read += 1 << 30;
    }
    says.sessions[0].operations.errors += 1;
}

fn terminal(test: &str, server: &Server) -> Option<Terminal> {
    let program = Path::new(env!("CARGO_BIN_EXE_nbdctl"));
    Terminal::open(test, 100, 20, &[("NBDCTL_SOCKET", &server.socket()), ("NBDCTL", program)])
}

/// The shell is back, types are seen again, the old screen and the cursor are there.
#[track_caller]
fn is_as_before(terminal: &Terminal, code: &str) {
    // What is typed before is thrown away together with the mode.
    terminal.wait_for("the prompt", |screen| screen.trim_end().ends_with("\nready>"));
    terminal.line("echo ended:$?; stty -a | tr ' ;' '\\n\\n' | grep -E '^-?(echo|icanon|isig)$' | xargs");
    let screen = terminal.wait_for("the mode of the terminal", |screen| {
        screen
            .lines()
            .any(|line| line.starts_with("isig") || line.contains("isig ") && !line.contains("grep"))
    });
    assert!(screen.contains(&format!("ended:{code}")), "{screen}");
    assert!(screen.lines().any(|line| line == "isig icanon echo"), "{screen}");
    assert_eq!((terminal.fact("alternate_on"), terminal.fact("cursor_flag")), ("0".into(), "1".into()));
    assert!(screen.contains("what was here"), "the old screen is back:\n{screen}");
    assert!(screen.contains("echo ended:$?"), "what is typed is seen:\n{screen}");
}

fn row<'a>(screen: &'a str, name: &str) -> Vec<&'a str> {
    let line = screen.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.map_or_else(Vec::new, |line| line.split_whitespace().collect())
}

#[test]
fn rates_are_seen_keys_do_what_they_say_and_the_terminal_is_given_back() {
    let server = server();
    let Some(terminal) = terminal("rates_are_seen", &server) else { return };
    terminal.line("echo what was here; \"$NBDCTL\" top -i 0.2");
    let screen = terminal.wait_for("exports", |screen| screen.contains("idle  "));
    assert!(screen.starts_with("nbd-server 0.1.0  pid 4711  up "), "{screen}");
    assert!(screen.contains("3 exports (1 not serving)  2 sessions"), "{screen}");
    assert_eq!(terminal.fact("alternate_on"), "1");

    // Rates are those of the last interval: work goes on until they are seen.
    let screen = terminal.wait_for("a rate", |screen| {
        work(&server);
        row(screen, "busy").get(3).is_some_and(|rate| !["-", "0"].contains(rate))
    });
    let (busy, idle) = (row(&screen, "busy"), row(&screen, "idle"));
    assert_eq!(&busy[1..3], ["serving", "0"]);
    let figure = |cell: &str| cell.parse::<f64>().unwrap_or_else(|_| panic!("{cell} in:\n{screen}"));
    let (requests, mib) = (figure(busy[3]), figure(busy[4]));
    assert!(requests > 0.0 && (requests - mib).abs() <= 1.0, "a MiB a request:\n{screen}");
    assert_eq!(&busy[5..], ["0", "0", "5", "1s"], "{screen}");
    assert_eq!(&idle[3..], ["0", "0", "0", "0", "0", "-"], "{screen}");
    let at = |name: &str| screen.lines().position(|line| line.starts_with(name));
    assert!(at("busy") < at("gone") && at("gone") < at("idle"), "busiest first:\n{screen}");

    terminal.keys(&["s"]);
    let screen = terminal.wait_for("sessions", |screen| screen.contains("PEER"));
    assert_eq!(row(&screen, "busy")[1..3], ["7", "127.0.0.1:40007"]);
    terminal.keys(&["e", "o"]);
    terminal.wait_for("exports by name", |screen| screen.contains("STATE") && screen.contains("(by name)"));
    terminal.keys(&["q"]);
    is_as_before(&terminal, "0");
}

#[test]
fn more_rows_than_fit_are_scrolled_and_another_size_is_filled() {
    let server = server();
    server.fake.says().exports =
        (0..100).map(|number| export(&format!("vol-{number:02}"), "/dev/vdb")).collect();
    let Some(terminal) = terminal("more_rows_than_fit", &server) else { return };
    terminal.line("\"$NBDCTL\" top -i 0.2");
    let seen = |first: &'static str, last: &'static str| {
        let screen = terminal.wait_for(&format!("{first} to {last}"), |screen| {
            let rows = screen.lines().filter(|line| line.starts_with("vol-"));
            let rows: Vec<&str> = rows.collect();
            rows.first().is_some_and(|row| row.starts_with(first))
                && rows.last().is_some_and(|row| row.starts_with(last))
        });
        assert!(screen.lines().last().is_some_and(|line| line.starts_with("q quit")), "{screen}");
    };
    // 20 lines without two of heading, one of the table, and one of keys.
    seen("vol-00", "vol-15");
    terminal.keys(&["Down", "Down"]);
    seen("vol-02", "vol-17");
    terminal.keys(&["PageDown"]);
    seen("vol-18", "vol-33");
    terminal.keys(&["Up"]);
    seen("vol-17", "vol-32");
    terminal.keys(&["End", "Down", "PageDown"]);
    seen("vol-84", "vol-99");
    terminal.resize(60, 34);
    seen("vol-70", "vol-99");
    terminal.resize(40, 10);
    seen("vol-70", "vol-75");
    terminal.keys(&["Home", "Up"]);
    seen("vol-00", "vol-05");
    terminal.resize(100, 4);
    terminal.resize(10, 2);
    terminal.resize(100, 20);
    seen("vol-00", "vol-15");
    terminal.keys(&["C-c"]);
    terminal.wait_for("the prompt", |screen| screen.trim_end().ends_with("\nready>"));
    terminal.line("echo ended:$?");
    terminal.wait_for("its end", |screen| screen.contains("ended:0"));
}

#[test]
fn a_server_that_goes_away_is_waited_for() {
    let mut server = server();
    let Some(terminal) = terminal("a_server_that_goes_away", &server) else { return };
    terminal.line("\"$NBDCTL\" top -i 0.2");
    terminal.wait_for("a second look", |screen| row(screen, "busy").get(3) == Some(&"0"));
    server.go();
    let screen = terminal
        .wait_for("its end", |screen| screen.contains("nobody listens on") && screen.contains("(for "));
    assert_eq!(row(&screen, "busy").get(3), Some(&"-"), "what it was, and no rates:\n{screen}");
    // It counts anew, and what it had counted before is no rate.
    server.fake.says().exports.iter_mut().for_each(|export| export.operations = Default::default());
    server.fake.says().status.pid = 4712;
    server.come();
    let screen = terminal.wait_for("its return", |screen| screen.contains("pid 4712"));
    assert!(!screen.contains("nobody listens on"), "{screen}");
    terminal.wait_for("rates again", |screen| row(screen, "busy").get(3) == Some(&"0"));
    // Somebody who takes the question and does not answer: that is seen, and keys are heard all the same.
    server.go();
    std::fs::remove_file(server.socket()).expect("it is ours");
    let silent = std::os::unix::net::UnixListener::bind(server.socket()).expect("a socket of ours");
    terminal.wait_for("the silence", |screen| screen.contains("no answer (for "));
    terminal.keys(&["s"]);
    terminal.wait_for("sessions", |screen| screen.contains("PEER"));
    terminal.keys(&["q"]);
    terminal.wait_for("the prompt", |screen| screen.trim_end().ends_with("\nready>"));
    drop(silent);
}

/// Starts it so that its process is known.
fn start(server: &Server, terminal: &Terminal) -> Pid {
    let file = server.socket().with_file_name("pid");
    let inner = format!("echo $$ >{}; exec \"$NBDCTL\" top -i 0.2", file.display());
    terminal.line(&format!("echo what was here; sh -c '{inner}'"));
    terminal.wait_for("exports", |screen| screen.contains("idle  "));
    let text = std::fs::read_to_string(file).expect("it wrote its number");
    text.trim().parse().ok().and_then(Pid::from_raw).expect("a number")
}

/// Somebody's connection breaks: nothing is left behind that reads the end of a terminal for ever.
#[test]
fn it_ends_with_its_terminal() {
    let server = server();
    for ignored in [None, Some("trap '' HUP")] {
        let Some(terminal) = terminal("it_ends_with_its_terminal", &server) else { return };
        ignored.into_iter().for_each(|line| terminal.line(line));
        let pid = start(&server, &terminal);
        let process = pidfd_open(pid, PidfdFlags::empty()).expect("it runs");
        drop(terminal);
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        let time = Timespec { tv_sec: 20, tv_nsec: 0 };
        let polled = poll(&mut ended, Some(&time));
        if polled != Ok(1) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        assert_eq!(polled, Ok(1), "it runs without a terminal");
    }
}

#[test]
fn a_signal_ends_it_as_any_program_and_the_terminal_is_given_back() {
    let server = server();
    for (signal, code) in [(Signal::TERM, "143"), (Signal::INT, "130"), (Signal::HUP, "129")] {
        let Some(terminal) = terminal("a_signal_ends_it", &server) else { return };
        let pid = start(&server, &terminal);
        rustix::process::kill_process(pid, signal).expect("it runs");
        is_as_before(&terminal, code);
    }
}

#[test]
fn one_picture_is_printed_for_pipes() {
    let server = server();
    let long = "migration-vol-42e8fd44-028a-4169-a0d7-82ed70add839";
    {
        let mut says = server.fake.says();
        let mut stuck = export(long, "/dev/vdd");
        stuck.hanging =
            vec![Hanging { export: long.into(), path: "/dev/vdd".into(), peer: None, age_ms: 99_000 }];
        says.exports.push(stuck);
    }
    let ran = server.ctl(&["top", "--once", "-i", "0.2"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(!ran.out.contains('\u{1b}'), "{:?}", ran.out);
    assert!(ran.lines()[1].starts_with("4 exports (1 not serving)  2 sessions  0 ops/s"), "{}", ran.out);
    let row = row(&ran.out, long);
    assert_eq!(&row[1..], ["serving", "0", "0", "0", "0", "0", "0", "1m39s"], "{}", ran.out);
    let ran = server.ctl(&["top", "--once", "--sessions", "-i", "0.1"]);
    assert!(ran.lines()[2].starts_with("EXPORT  ID"), "{}", ran.out);
}
