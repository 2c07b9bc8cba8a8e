//! A server that listens at several addresses listens at all of them afterwards.

use super::machine::Machine;
use super::{no_original, ours};
use std::fs;
use testkit::Client;

/// The original at two addresses and a Unix socket.
fn at_three() -> Option<Machine> {
    let machine = Machine::new(&["a", "b"])?;
    let text = fs::read_to_string(machine.config()).expect("read");
    let more = format!(
        "listenaddr = 127.0.0.1, 127.0.0.2\nunixsock = {}\nduallisten = true\n",
        machine.dir.join("nbd.sock").display()
    );
    fs::write(machine.config(), text.replace("listenaddr = 127.0.0.1\n", &more)).expect("written");
    machine.restart();
    Some(machine)
}

/// Ours, but it serves with the configuration without this.
fn without(machine: &Machine, what: &str) -> String {
    let text = fs::read_to_string(machine.config()).expect("read");
    let other = machine.dir.join("other");
    fs::write(&other, text.replace(what, "")).expect("written");
    let first = format!(
        "case \" $* \" in *\" --check \"*|*\" -V \"*|*\" --help \"*) ;; *) set -- \"$@\" -C {} ;; esac",
        other.display()
    );
    machine.wrapped("new", &first).display().to_string()
}

#[test]
fn each_address_that_answered_before_answers_after() {
    let Some(machine) = at_three() else { return no_original() };
    let (port, socket) = (machine.port, machine.dir.join("nbd.sock"));
    let listens = format!("listens: at unix:{}, 127.0.0.1:{port}, 127.0.0.2:{port}", socket.display());
    machine.run("deploy", &[&ours()]).ends(0, &[&listens, "done: "]);
    machine.run("rollback", &[]).ends(0, &[&listens, "done: "]);
    machine.serves(false, &["a", "b"]);
}

#[test]
fn a_program_that_does_not_listen_at_one_of_them_gives_way_to_the_original() {
    let Some(machine) = at_three() else { return no_original() };
    let silent = format!("FAILED: nobody answers at 127.0.0.2:{} within 3 s", machine.port);
    let new = without(&machine, ", 127.0.0.2");
    machine.run("deploy", &[&new, "--wait", "3"]).ends(2, &[&silent, "back      back: "]);
    let socket = machine.dir.join("nbd.sock").display().to_string();
    let new = without(&machine, &format!("unixsock = {socket}\n"));
    let silent = format!("FAILED: nobody answers at unix:{socket} within 3 s");
    machine.run("deploy", &[&new, "--wait", "3"]).ends(2, &[&silent, "back      back: "]);
    machine.serves(false, &["a", "b"]);
}

/// It was written into the file after the start, and the machine has no such address.
#[test]
fn an_address_where_nobody_answered_before_is_told_and_not_asked_for() {
    let Some(machine) = at_three() else { return no_original() };
    let text = fs::read_to_string(machine.config()).expect("read");
    fs::write(machine.config(), text.replace("127.0.0.2", "127.0.0.2, 127.0.0.3")).expect("written");
    let new = without(&machine, ", 127.0.0.3");
    let silent = format!("look      nobody answers at 127.0.0.3:{}: ", machine.port);
    machine.run("deploy", &[&new]).ends(0, &[&silent, "done: "]);
}

/// Whoever serves goes on at its socket where the command that should restart it cannot be run.
#[test]
fn a_restart_that_fails_leaves_the_socket_of_the_server_that_goes_on() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    let socket = machine.restart_on_a_unix_socket();
    machine.run("deploy", &[&ours()]).ends(0, &["done: "]);
    let restart = fs::read_to_string(machine.dir.join("restart")).expect("read");
    machine.script("restart", "#!/bin/sh\nexit 127\n");
    machine
        .run("rollback", &[])
        .ends(2, &[&format!("the socket {} is back", socket.display()), "it serves on as it did"]);
    Client::connect_unix(&socket).expect("it listens").go("a").expect("served");
    machine.script("restart", &restart);
    machine.run("rollback", &[]).ends(0, &["done: "]);
    assert!(!machine.dir.join("nbd.sock.aside").exists());
}
