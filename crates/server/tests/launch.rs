//! The program as an operator meets it: command line, background, pid file, users, sockets, standard input.
#![allow(missing_docs)]

mod common;

use common::place::{Place, Running, is_alive, program, run, text, wait_until};
use common::room::{DEV_LOG, Room};
use common::server;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use testkit::setup::free_port;
use testkit::spec::REP_ERR_POLICY;
use testkit::{Client, TempDir};

/// P7: when the launching command returns, the port accepts and the pid file names who serves it.
///
/// C-004, C-070, C-072, C-085
#[test]
fn the_launching_command_returns_when_the_server_serves() {
    let place = Place::new("");
    let output = place.launch();
    assert!(output.status.success(), "{output:?}");
    assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), String::new()));
    let pid = place.pid().expect("a pid file, already");
    let mut client = place.client();
    client.go("disk").expect("served");
    assert_eq!(client.read(0, 1), Ok(vec![5]));
    let exe = fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero())).expect("it runs");
    assert_eq!(exe, Path::new(env!("CARGO_BIN_EXE_nbd-server")).canonicalize().expect("the program"));
    let cwd = fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero())).expect("it runs");
    assert_eq!(cwd, Path::new("/"));
    // A SIGHUP to the pid of the pid file, from a configuration that was given relative to where it was started.
    fs::write(place.dir.join("more.img"), [6; 4096]).expect("a disk");
    let config = fs::read_to_string(place.path("config")).expect("the configuration");
    fs::write(place.path("config"), format!("{config}[more]\nexportname = {}\n", place.path("more.img")))
        .expect("written");
    kill_process(pid, Signal::HUP).expect("it runs");
    wait_until("the new export is served", || place.client().go("more").is_ok());
    kill_process(pid, Signal::TERM).expect("it runs");
    wait_until("SIGTERM ends it and removes the pid file", || !is_alive(pid) && place.pid().is_none());
}

/// A relative `-C` works for reloads too, whatever the server's working directory is.
///
/// C-229
#[test]
fn a_relative_configuration_file_is_found_again() {
    let place = Place::new("");
    let started = program().current_dir(place.dir.path()).args(["-C", "config", "-p", "pid"]).output();
    assert!(started.expect("it runs").status.success());
    let pid = place.pid().expect("the pid file, beside it");
    fs::write(
        place.path("config"),
        fs::read_to_string(place.path("config")).expect("read").replace("[disk]", "[renamed]"),
    )
    .expect("written");
    kill_process(pid, Signal::HUP).expect("it runs");
    wait_until("the renamed export is served", || place.client().go("renamed").is_ok());
}

/// The launching command tells the truth: a taken port, a wrong user, a broken file are a status and a sentence.
///
/// C-032, C-033, C-034, C-076
#[test]
fn a_server_that_cannot_serve_says_why_and_leaves_nothing() {
    let place = Place::new("");
    let taken = std::net::TcpListener::bind(("127.0.0.1", place.port)).expect("bound");
    let output = place.launch();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("Address already in use"), "{output:?}");
    assert!(place.pid().is_none(), "no pid file of a server that does not run");
    drop(taken);

    let place = Place::new("user = no-such-user");
    let output = place.launch();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("Invalid user name: no-such-user"), "{output:?}");
    assert!(place.pid().is_none());
}

/// Whether the process catches SIGHUP: proc(5), SigCgt.
fn takes_hangups(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

/// P7: `pkill -HUP nbd-server` may meet a server that is starting, or the command that starts it. It harms neither, and is
/// followed.
#[test]
fn a_sighup_in_the_middle_of_a_start_harms_nobody() {
    for (round, delay) in [0, 10, 20, 35, 0, 15].into_iter().enumerate() {
        // Its files are so young that reading them takes a moment.
        let place = Place::new("");
        let mut command = program();
        command.args(["-C", &place.path("config"), "-p", &place.path("pid")]);
        if round % 2 == 0 {
            command.arg("-n");
        }
        let mut started = command.stderr(Stdio::null()).spawn().map(Running).expect("it runs");
        // Before that it is no program of ours yet.
        wait_until("it takes a SIGHUP", || takes_hangups(started.pid()));
        std::thread::sleep(Duration::from_millis(delay));
        kill_process(started.pid(), Signal::HUP).expect("it runs");
        wait_until("it serves", || Client::connect_tcp(place.port).is_ok());
        assert!(place.client().go("disk").is_ok());
        if round % 2 == 0 {
            kill_process(started.pid(), Signal::TERM).expect("it runs");
        }
        assert!(started.wait().success(), "round {round}");
    }
}

/// Bad configurations: file, line, key and what to do, all problems at once, status 1.
///
/// C-003, C-039
#[test]
fn a_broken_configuration_is_told_with_file_and_line() {
    let cases = [
        (
            "[generic]\n[a]\nexportname = /x\nreadonly = maybe\nfilesize = 10M\n",
            vec!["config:4:", "readonly", "config:5:", "filesize"],
        ),
        ("[generic]\nport = 20000\n", vec!["No configured exports; quitting."]),
        ("[a]\nexportname = /x\n", vec!["[generic]", "No configured exports; quitting."]),
        ("[generic\n", vec!["config:1:", "No configured exports; quitting."]),
        ("", vec!["No configured exports; quitting."]),
    ];
    for (broken, words) in cases {
        let place = Place::new("");
        fs::write(place.dir.join("config"), broken).expect("written");
        let output = place.launch();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{broken:?}");
        assert!(words.iter().all(|word| said.contains(word)), "{broken:?}: {said}");
    }
    let output = run(&["-n", "-C", "/nonexistent/config"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nonexistent/config"), "{output:?}");
}

/// C-001, C-002, C-018
#[test]
fn version_usage_and_section_are_those_of_the_original() {
    assert_eq!(text(&run(&["-V"]).stdout), "This is nbd-server version 3.24\n");
    let usage = run(&["--nonsense"]);
    assert_eq!(usage.status.code(), Some(1));
    assert!(!usage.stdout.is_empty() && text(&usage.stderr).contains("unrecognized option '--nonsense'"));
    let section = text(&run(&["-o", "sec", "2000", "/f", "-r"]).stdout);
    assert!(
        section.starts_with("[sec]\n\texportname = /f\n") && section.contains("readonly = true"),
        "{section}"
    );
}

/// Whoever read has had enough, as `head` has: that is no mishap. A full disk is one, and is said.
#[test]
fn an_answer_that_nobody_takes_is_no_mishap_but_a_full_disk_is() {
    let dir = TempDir::new("launch");
    let nowhere = dir.join("none").display().to_string();
    let full = || fs::File::create("/dev/full").expect("a disk that is full");
    let lines: [(&[&str], i32, i32); 4] = [
        (&["-V"], 0, 2),
        (&["--help"], 1, 1),
        (&["-o", "section", "2000", "/f"], 0, 2),
        (&["--check", "-C", &nowhere], 1, 1),
    ];
    for (words, unheard, lost) in lines {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = program().args(words).stdout(writer).stderr(Stdio::piped()).output().expect("it runs");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(unheard), "{words:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("standard output"), "{words:?}: {said}");
        let output = program().args(words).stdout(full()).stderr(Stdio::piped()).output().expect("it runs");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(lost), "{words:?}: {said}");
        assert!(said.starts_with("standard output: No space left on device"), "{words:?}: {said}");
        let output = program().args(words).stdout(full()).stderr(full()).status().expect("it runs");
        assert_eq!(output.code(), Some(lost), "{words:?}: nobody can be told");
    }
}

/// One file from the command line, under the empty name.
///
/// C-009, C-021
#[test]
fn a_disk_can_be_served_without_a_configuration() {
    let dir = TempDir::new("launch");
    let (disk, port) = (dir.join("disk.img"), free_port().to_string());
    fs::write(&disk, [7; 8192]).expect("a disk");
    let listen = format!("127.0.0.1@{port}");
    let running = program()
        .args(["-n", "-C", "/nonexistent", "-p", dir.join("pid").to_str().expect("UTF-8"), "-r", &listen])
        .args([disk.as_os_str(), "4k".as_ref()])
        // What it has to say of such a start, and its log, cannot be written: it serves all the same.
        .stderr(fs::File::create("/dev/full").expect("a disk that is full"))
        .spawn()
        .map(Running)
        .expect("it runs");
    let port = port.parse().expect("a number");
    wait_until("it serves", || Client::connect_tcp(port).is_ok());
    let mut client = Client::connect_tcp(port).expect("connected");
    assert_eq!(client.go("").expect("the empty name").size, 4096);
    assert_eq!(client.write(0, &[1]), Err(1), "read-only");
    // There is no file to read again, but there is a disk to look at again: a file in its place is the new one.
    let fresh = dir.join("fresh.img");
    fs::write(&fresh, [8; 8192]).and_then(|()| fs::rename(&fresh, &disk)).expect("replaced");
    kill_process(running.pid(), Signal::HUP).expect("it runs");
    wait_until("the reload is carried out", || client.is_closed());
    let mut client = Client::connect_tcp(port).expect("connected");
    client.go("").expect("served");
    assert_eq!(client.read(0, 1), Ok(vec![8]));
}

/// C-028, C-029, C-030
#[test]
fn in_the_foreground_only_n_writes_a_pid_file() {
    for (flag, writes) in [("-n", true), ("-d", false)] {
        let place = Place::new("");
        let mut server = program()
            .args([flag, "-C", &place.path("config"), "-p", &place.path("pid")])
            .stderr(Stdio::null())
            .spawn()
            .map(Running)
            .expect("it runs");
        wait_until("it serves", || Client::connect_tcp(place.port).is_ok());
        assert_eq!(place.pid().is_some(), writes, "{flag}");
        assert!(place.client().go("disk").is_ok());
        assert!(place.client().go("disk").is_ok(), "{flag} serves on after its first client");
        kill_process(server.pid(), Signal::TERM).expect("it runs");
        assert!(server.wait().success());
    }
}

/// Under systemd each line carries its level; anywhere else it does not. Where the journal takes fields, it gets those
/// instead, which is another story: here there is none.
#[test]
fn lines_have_a_level_in_front_when_the_journal_reads_them() {
    let room = match Path::new("/run/systemd/journal/socket").exists() {
        true => match Room::new("lines_have_a_level_in_front") {
            None => return,
            room => room,
        },
        false => None,
    };
    for (journal, stream) in [(true, None), (false, Some("1:1")), (false, Some(""))] {
        let place = Place::new("");
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let about = fs::metadata(format!("/proc/self/fd/{}", writer.as_raw_fd())).expect("it is ours");
        let mut command = room.as_ref().map_or_else(program, |room| room.server(DEV_LOG));
        let ours = format!("{}:{}", about.dev(), about.ino());
        command.args(["-d", "-C", &place.path("config")]).stderr(writer);
        command.env("JOURNAL_STREAM", stream.unwrap_or(&ours));
        let mut server = command.spawn().map(Running).expect("it runs");
        drop(command);
        wait_until("it serves", || Client::connect_tcp(place.port).is_ok());
        kill_process(server.pid(), Signal::TERM).expect("it runs");
        server.wait();
        let mut said = String::new();
        reader.read_to_string(&mut said).expect("UTF-8");
        let levels = said.lines().all(|line| line.starts_with('<') && line.as_bytes()[2] == b'>');
        assert_eq!(levels, journal, "{said}");
        assert!(said.contains("MIGRATEKIT: start complete"), "{said}");
    }
}

/// `authfile` fails closed, and `maxconnections` counts those who are there now.
///
/// C-164, C-169, C-171, C-172, C-173, C-174, C-175
#[test]
fn who_may_connect_and_how_many_is_decided_at_the_door() {
    let setup = server();
    let disk = setup.dir().join("disk.img");
    fs::write(&disk, [1; 4096]).expect("a disk");
    let (friends, strangers) = (setup.dir().join("friends"), setup.dir().join("strangers"));
    fs::write(&friends, "# ours\n127.0.0.0/8\n").expect("a list");
    fs::write(&strangers, "10.0.0.1\n").expect("a list");
    let auth = |path: &Path| format!("authfile = {}", path.display());
    let server = setup
        .export("friends", &disk, &auth(&friends))
        .export("strangers", &disk, &auth(&strangers))
        .export("broken", &disk, &auth(friends.parent().expect("a directory")))
        .export("open", &disk, &auth(&disk.with_extension("missing")))
        .export("two", &disk, "maxconnections = 2")
        .start();
    assert!(server.connect().go("friends").is_ok());
    for name in ["strangers", "broken"] {
        let (kind, why) = server.connect().go(name).expect_err("refused");
        assert!(
            kind == REP_ERR_POLICY && why.starts_with("Access denied by server configuration"),
            "{name}: {why}"
        );
    }
    let said = |words: &str| server.wait_for(|line| line.contains(words), Duration::from_secs(10)).is_some();
    assert!(said("Client '127.0.0.1' is not authorized to access"));
    assert!(server.connect().go("open").is_ok() && said("No authorization file, granting access."));
    // Read anew for each client.
    fs::write(&strangers, "127.0.0.1\n").expect("a list");
    assert!(server.connect().go("strangers").is_ok());
    let many: Vec<Client> = (0..20).map(|_| server.open("friends")).collect();
    assert_eq!(many.len(), 20, "any number where nothing is said");
    let (first, _second) = (server.open("two"), server.open("two"));
    let (_, why) = server.connect().go("two").expect_err("refused");
    assert!(why.contains("too many clients"), "{why}");
    drop(first);
    wait_until("a place is free again", || server.connect().go("two").is_ok());
}
