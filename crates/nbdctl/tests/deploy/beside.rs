//! Who serves beside the server that is meant, or in its place: what a server left that has ended, and strangers.

use super::machine::{Machine, original};
use super::{no_original, ours};
use std::fs;
use std::net::TcpListener;
use std::process::Command;

/// 3.24 was killed, or crashed at SIGHUP, and its child serves on: no restart ends that, and two programs would write one disk.
#[test]
fn what_a_dead_server_left_is_refused_whatever_is_said_until_somebody_ends_it() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    let mut client = machine.open("a");
    machine.stop("-KILL");
    let config = machine.config().display().to_string();
    let said = "is of a server that has ended, and no restart ends it: 127.0.0.1:";
    let words = [ours().leak() as &str, "--yes", "--config", &config];
    machine.run("deploy", &words).ends(1, &["running: no server", said, "/disks/a open (process "]);
    // Another one was started.
    machine.restart();
    let ran = machine.run("deploy", &[&ours(), "--yes"]);
    ran.ends(1, &["clients: nobody is connected", said, "end it first: kill ", "nothing was touched"]);
    assert!(!ran.out.contains("another server"), "{}", ran.out);
    client.read(0, 512).expect("nobody is disturbed");
    let pid = ran.out.split("end it first: kill ").nth(1).and_then(|rest| rest.lines().next());
    assert!(Command::new("kill").arg(pid.expect("a number")).status().expect("kill").success());
    assert!(client.read(0, 512).is_err(), "it has ended");
    machine.run("deploy", &[&ours()]).ends(0, &["of before has ended", "done: "]);
    machine.serves(true, &["a"]);
}

/// As where a unit says `KillMode=process`, and the server is killed at the end of its time.
#[test]
fn a_restart_that_leaves_a_child_of_the_original_is_undone() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let restart = fs::read_to_string(machine.dir.join("restart")).expect("read");
    machine.script("restart", &restart.replace("kill $pid", "kill -KILL $pid"));
    let mut client = machine.open("a");
    client.write(0, &[1; 512]).expect("written");
    let said = [
        "FAILED: after 2 s there is still process ",
        "which may write to its disks",
        "is of a server that has ended, and no restart ends it",
        "back      back: ",
    ];
    machine.run("deploy", &[&ours(), "--yes", "--wait", "2"]).ends(2, &said);
    client.read(0, 512).expect("it serves on, as it did");
    machine.serves(false, &["a", "b"]);
}

#[test]
fn somebody_else_at_the_address_or_in_the_pid_file_is_named_and_nothing_is_done() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    machine.stop("-TERM");
    let (config, me) = (machine.config().display().to_string(), std::process::id());
    let words = [ours().leak() as &str, "--config", &config];
    let mut listener = None;
    // A child of the original has its listening socket too.
    machine.wait("the port is free", || {
        listener = TcpListener::bind(("127.0.0.1", machine.port)).ok();
        listener.is_some()
    });
    let taken = format!("REFUSED: 127.0.0.1:{} is taken by process {me} (/", machine.port);
    machine
        .run("deploy", &words)
        .ends(1, &["running: no server", &taken, "--target or --pid-file says which"]);
    drop(listener);
    fs::write(machine.dir.join("pid"), me.to_string()).expect("written");
    let holds = format!("/pid holds the number of process {me} (/");
    machine.run("deploy", &words).ends(1, &["running: no server", &holds, "nothing was touched"]);
    fs::remove_file(machine.dir.join("pid")).expect("removed");
    assert_eq!(machine.names("backups"), ["lock"]);
}

/// The target is a script that becomes another program: whoever looks for its file among the processes finds nobody.
#[test]
fn the_server_that_a_script_has_become_is_found_by_its_address() {
    let (Some(machine), Some(original)) = (Machine::new(&["a"]), original()) else { return no_original() };
    let script = format!("#!/bin/sh\nexec {} \"$@\"\n", original.display());
    fs::rename(machine.script("script", &script), machine.target()).expect("renamed");
    machine.restart();
    let (mut client, config) = (machine.open("a"), machine.config().display().to_string());
    let words = [ours().leak() as &str, "--config", &config];
    let found = format!("running: process {} (", machine.pid().expect("it runs"));
    machine.run_without_pid_file("deploy", &words).ends(1, &[&found, "1 connection is open and ends with"]);
    client.read(0, 512).expect("nobody is disturbed");
    drop(client);
    machine.run_without_pid_file("deploy", &[words[0], "--yes", "--config", &config]).ends(0, &["done: "]);
    machine.serves(true, &["a"]);
}
