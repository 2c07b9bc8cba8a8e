//! Two servers run from one file, each with its own configuration, and none of them writes its number anywhere.

use super::machine::Machine;
use super::{no_original, ours};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use testkit::Client;
use testkit::setup::free_port;

/// The service and another server, the original both.
struct Two {
    machine: Machine,
    other_pid: u32,
    other_port: u16,
}

impl Two {
    fn new() -> Option<Self> {
        let machine = Machine::new(&["a", "b"])?;
        let dir = machine.dir.path().display().to_string();
        // The number is taken away from where the server wrote it, and is for whoever restarts it.
        let start = |config: &str, pid: &str| {
            format!(
                "{dir}/bin/nbd-server -C {dir}/{config} -p {dir}/{pid}-of-it || exit 1\n\
                 while [ ! -s {dir}/{pid}-of-it ]; do sleep 0.02; done\n\
                 mv {dir}/{pid}-of-it {dir}/{pid}\n"
            )
        };
        let stop = format!(
            "pid=$(cat {dir}/pid)\nkill $pid 2>/dev/null || true\n\
             while readlink /proc/$pid/exe >/dev/null; do sleep 0.02; done\n"
        );
        machine.script("restart", &format!("#!/bin/sh\n{stop}{}", start("config", "pid")));
        machine.restart();
        let other_port = free_port();
        let text = format!(
            "[generic]\nport = {other_port}\nlistenaddr = 127.0.0.1\nallowlist = true\n[z]\nexportname = {}\n",
            machine.disk("a").display()
        );
        fs::write(machine.dir.join("other-config"), text).expect("written");
        let other = machine.script("other", &format!("#!/bin/sh\n{}", start("other-config", "other-pid")));
        assert!(Command::new(other).status().expect("it runs").success());
        machine.wait("the other serves", || Client::connect_tcp(other_port).is_ok());
        let other_pid = fs::read_to_string(machine.dir.join("other-pid")).expect("written");
        let other_pid = other_pid.trim().parse().expect("a number");
        Some(Self { machine, other_pid, other_port })
    }

    /// A client of the other one.
    fn client(&self) -> Client {
        let mut client = Client::connect_tcp(self.other_port).expect("it listens");
        client.go("z").expect("it is served");
        client
    }
}

#[test]
fn where_nobody_says_which_of_two_servers_is_meant_nothing_is_touched() {
    let Some(two) = Two::new() else { return no_original() };
    let (pid, target) = (two.machine.pid(), fs::read(two.machine.target()).expect("read"));
    let (config, other) = (two.machine.config(), two.machine.dir.join("other-config"));
    let named = |path: &PathBuf, pid: u32| format!("process {pid} with {}", path.display());
    two.machine.run_without_pid_file("deploy", &[&ours()]).ends(
        1,
        &[
            "REFUSED: several servers run (",
            &named(&config, pid.expect("it runs")),
            &named(&other, two.other_pid),
            "--config or --pid-file says which is meant",
        ],
    );
    assert_eq!((two.machine.pid(), fs::read(two.machine.target()).expect("read")), (pid, target));
    two.client().read(0, 512).expect("nobody is disturbed");
}

#[test]
fn the_other_server_of_the_same_file_goes_on_with_its_client() {
    let Some(two) = Two::new() else { return no_original() };
    let config = two.machine.config().display().to_string();
    let mut client = two.client();
    let said = format!(
        "another server executes that file, and goes on with what is in it now: process {}: ",
        two.other_pid
    );
    two.machine.run_without_pid_file("deploy", &[&ours(), "--config", &config]).ends(0, &[&said, "done: "]);
    two.machine.serves(true, &["a", "b"]);
    client.read(0, 512).expect("nobody is disturbed");
    // The backup tells which it was.
    two.machine.run_without_pid_file("rollback", &[]).ends(0, &["done: "]);
    two.machine.serves(false, &["a", "b"]);
    client.read(0, 512).expect("nobody is disturbed");
}

#[test]
fn a_deploy_that_fails_beside_another_server_goes_back_to_its_own() {
    let Some(two) = Two::new() else { return no_original() };
    let config = two.machine.config().display().to_string();
    let mut client = two.client();
    let asked = "case \" $* \" in *\" --check \"*|*\" -V \"*|*\" --help \"*) ;; *) exit 1 ;; esac";
    let new = two.machine.wrapped("new", asked).display().to_string();
    let words = [new.as_str(), "--config", &config, "--wait", "5"];
    two.machine.run_without_pid_file("deploy", &words).ends(2, &["FAILED: ", "back      back: "]);
    two.machine.serves(false, &["a", "b"]);
    client.read(0, 512).expect("nobody is disturbed");
}

/// With a pid file that is not there nobody is found, and the default configuration is nobody's.
#[test]
fn a_server_that_is_meant_and_not_found_is_not_taken_for_another_one() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    let mut client = machine.open("a");
    let (pid, config) = (machine.pid().expect("it runs"), machine.config().display().to_string());
    let wrong = machine.dir.join("no-pid").display().to_string();
    let said = format!(
        "REFUSED: process {pid} executes {} with the configuration {config}",
        machine.target().display()
    );
    machine
        .run_without_pid_file("deploy", &[&ours(), "--pid-file", &wrong])
        .ends(1, &[&said, "--config says which"]);
    client.read(0, 512).expect("undisturbed");
}

/// A restart that is said may be another server's. That cannot be foreseen, and is not called well.
#[test]
fn a_restart_that_ends_another_server_is_told() {
    let Some(two) = Two::new() else { return no_original() };
    let restart = two.machine.dir.join("restart");
    let text = fs::read_to_string(&restart).expect("read");
    let kills = format!("#!/bin/sh\nkill {} 2>/dev/null\n", two.other_pid);
    two.machine.script("restart", &text.replacen("#!/bin/sh\n", &kills, 1));
    let config = two.machine.config().display().to_string();
    let said = format!("meanwhile process {} (", two.other_pid);
    two.machine
        .run("deploy", &[&ours(), "--config", &config])
        .ends(4, &[&said, "has ended, which is another server", "AN OPERATOR IS NEEDED"]);
}
