//! `deploy` and `rollback` over Debian's nbd-server 3.24, which really runs and has clients.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

mod addresses;
mod beside;
mod broken;
mod disks;
mod failing;
mod kept;
mod killed;
mod logged;
mod machine;
mod refused;
mod several;

use machine::{Machine, SIZE};
use std::fs;
use std::os::unix::fs::MetadataExt;
use testkit::setup::free_port;
use testkit::{Client, program, skip_or_fail};

/// The release of the workspace, as a deployer gives it.
fn ours() -> String {
    program("nbd-server").display().to_string()
}

fn no_original() {
    skip_or_fail("deploy", "nbd-server 3.24");
}

#[test]
fn ours_takes_the_place_of_the_original_and_goes_back_by_hand() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let original = fs::read(machine.target()).expect("read");
    let mut client = machine.open("a");
    client.write(0, &[1; 512]).expect("written");
    let deployed = machine.run("deploy", &[&ours(), "--yes"]);
    deployed.ends(
        0,
        &[
            "running: process ",
            "look      export: a 4194304 bytes, read\n",
            "preflight ! 1 connection is open and ends with the restart: 127.0.0.1:",
            "/disks/a open (process ",
            "backup    ",
            "replace   ",
            "restart   run: /bin/sh -c ",
            "verify    export: b 4194304 bytes, read\n",
            "verify    SIGHUP: answered, seen in ",
            "verify    done: ",
        ],
    );
    assert_eq!(
        fs::read_to_string(machine.log()).expect("a log").lines().count() + 1,
        deployed.out.lines().count()
    );
    assert_eq!(fs::metadata(machine.log()).expect("a log").mode() & 0o7, 0, "others do not read it");
    assert!(client.read(0, 512).is_err(), "the session ended with the original");
    machine.serves(true, &["a", "b"]);
    let kept = machine.names("backups");
    let (copies, manifests): (Vec<&String>, Vec<&String>) =
        kept.iter().filter(|name| name.starts_with("nbd-server-")).partition(|name| !name.ends_with(".json"));
    assert_eq!((copies.len(), manifests.len(), kept.len()), (1, 1, 3), "and the lock: {kept:?}");
    let copy = machine.backups().join(copies[0]);
    assert_eq!(fs::read(&copy).expect("read"), original);
    assert_eq!(fs::metadata(&copy).expect("there").mode() & 0o777, 0o755);

    let listed = machine.command("rollback", &["--list"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&listed.stdout).contains(copies[0].as_str()), "{listed:?}");
    machine.run("rollback", &[]).ends(
        0,
        &[
            "look      back to: ",
            "SIGHUP: not sent: the original may crash by it",
            "export: b 4194304 bytes, read",
        ],
    );
    machine.serves(false, &["a", "b"]);
    assert_eq!(fs::read(machine.target()).expect("read"), original);
    machine.run("rollback", &[]).ends(0, &["is in place already", "done: it was in place, and serves"]);
}

#[test]
fn what_is_in_place_already_is_verified_and_nothing_else() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    machine.run("deploy", &[&ours()]).ends(0, &[]);
    let (pid, tree) = (machine.pid(), machine.names("backups"));
    let mut client = machine.open("a");
    machine.run("deploy", &[&ours()]).ends(0, &["is in place already", "SIGHUP: answered"]);
    client.read(0, 512).expect("nobody is disturbed");
    assert_eq!((machine.pid(), machine.names("backups")), (pid, tree));
}

/// The proof by SIGHUP is a reload: it does what the files say, and nobody asked for that.
#[test]
fn a_change_that_waits_for_a_reload_goes_on_waiting() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    machine.run("deploy", &[&ours()]).ends(0, &[]);
    let mut client = machine.open("a");
    fs::remove_file(machine.dir.join("conf.d/a.conf")).expect("removed");
    machine.run("deploy", &[&ours()]).ends(0, &["  - a ", "SIGHUP: not sent: "]);
    client.read(0, 512).expect("nobody is disturbed");
}

#[test]
fn a_dry_run_says_each_step_and_touches_nothing() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    let mut client = machine.open("a");
    let (pid, before) = (machine.pid(), machine.tree());
    let dir = machine.dir.path().display();
    let asked = "REFUSED: 1 connection is open and ends with the restart: ";
    machine.run("deploy", &[&ours(), "--dry-run"]).ends(1, &["these would be the steps:", asked]);
    machine.run("deploy", &[&ours(), "--dry-run", "--yes"]).ends(
        0,
        &[
            "deploy ends with 0: a dry run: nothing was touched",
            "dry run; these would be the steps:",
            &format!("  backup: copy {dir}/bin/nbd-server to {dir}/backups/nbd-server-"),
            &format!("  restart: /bin/sh -c {dir}/restart, within 30 s"),
            "  replace: copy ",
        ],
    );
    assert_eq!((machine.pid(), machine.tree()), (pid, before));
    client.read(0, 512).expect("nobody is disturbed");
}

/// The original goes on serving what was taken out of its files, and another disk than they name: that is seen, said, and
/// over after the deploy.
#[test]
fn what_the_original_serves_against_its_files_is_named_before_it_ends() {
    let Some(machine) = Machine::new(&["a", "gone"]) else { return no_original() };
    fs::write(machine.disk("other"), vec![1; SIZE as usize / 2]).expect("written");
    machine.export("a", &machine.disk("other"), "");
    fs::remove_file(machine.dir.join("conf.d/gone.conf")).expect("removed");
    let loss = "gone can be read now and would not be served: the configuration has it no more";
    machine.run("deploy", &[&ours()]).ends(1, &[loss, "--yes does it all the same"]);
    let size = "~ a size: 4194304 → 2097152";
    machine.run("deploy", &[&ours(), "--yes"]).ends(0, &[loss, size, "export: a 2097152 bytes, read"]);
    let mut client = Client::connect_tcp(machine.port).expect("it serves");
    assert_eq!(client.list().expect("listed"), ["dummy", "a"]);
}

/// What is logged, kept and advised holds from every directory.
#[test]
fn words_that_are_relative_to_a_directory_hold_everywhere() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    let run = |word: &str, more: &[&str], dir: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_nbdctl"));
        command.arg(word).args(more).current_dir(machine.dir.join(dir));
        machine::ran(&command.output().expect("nbdctl runs"))
    };
    let place = ["--config", "config", "--pid-file", "pid", "--backups", "backups", "--log", "log"];
    let ours = ours();
    let more =
        [&[ours.as_str(), "--target", "bin/nbd-server", "--restart", "./restart"][..], &place].concat();
    let dir = machine.dir.path().display();
    let said = [
        &format!("configuration: {dir}/config\n"),
        &format!("pid file: {dir}/pid\n"),
        &format!("is copied to {dir}/backups/nbd-server-"),
        &format!("run: /bin/sh -c 'cd {dir} || exit; ./restart'\n"),
        &format!("the log of this run is {dir}/log\n"),
    ];
    run("deploy", &more, ".").ends(0, &said.map(String::as_str));
    // The manifest has the rest.
    let log = ["--backups", "../backups", "--log", "../log"];
    run("rollback", &log, "disks").ends(0, &["done: "]);
    machine.serves(false, &["a"]);
}

#[test]
fn a_server_that_does_not_run_is_replaced_and_started() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    machine.stop("-TERM");
    let config = machine.config().display().to_string();
    // Nobody is told of this one in the clear.
    machine.export("t", &machine.disk("a"), "force_tls = true");
    machine.run("deploy", &[&ours(), "--config", &config]).ends(
        0,
        &["running: no server", "export: t, not read: it is not listed without TLS\n", "SIGHUP: answered"],
    );
    machine.serves(true, &["a"]);
}

/// Whoever is called for help finds a way out: what is in place is what was wanted, but nobody is served by it.
#[test]
fn what_is_in_place_already_and_does_not_serve_as_its_files_say_is_restarted() {
    let Some(mut machine) = Machine::new(&["a"]) else { return no_original() };
    machine.run("deploy", &[&ours()]).ends(0, &[]);
    let (port, text) = (free_port(), fs::read_to_string(machine.config()).expect("read"));
    fs::write(machine.config(), text.replace(&machine.port.to_string(), &port.to_string())).expect("written");
    let silent = format!("it does not serve as it should: nobody answers at 127.0.0.1:{port} within 1 s");
    let mut client = machine.open("a");
    let words = [ours().leak() as &str, "--wait", "1"];
    machine
        .run("deploy", &words)
        .ends(1, &[&silent, "REFUSED: 1 connection is open and ends with the restart"]);
    client.read(0, 512).expect("nobody is disturbed");
    drop(client);
    machine.wait("the client has gone", || machine.run("deploy", &words).code == Some(0));
    machine.port = port;
    machine.serves(true, &["a"]);
    machine.stop("-KILL");
    let config = machine.config().display().to_string();
    let words = [words[0], "--config", &config];
    machine
        .run("deploy", &[words[0], words[1], words[2], "--dry-run"])
        .ends(0, &["no server runs", "it would be restarted"]);
    machine.run("deploy", &words).ends(0, &["is in place already", "no server runs", "done: "]);
    machine.serves(true, &["a"]);
}

/// An upgrade of ours: the clients are known from the control socket.
#[test]
fn a_later_build_of_ours_takes_the_place_of_ours() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    machine.run("deploy", &[&ours()]).ends(0, &[]);
    let later = machine.later_build().display().to_string();
    let mut client = machine.open("b");
    let known = format!("has b ({}) open since 20", machine.disk("b").display());
    machine.run("deploy", &[&later]).ends(1, &["client: 127.0.0.1 ", &known, "its own plan says:"]);
    client.read(0, 512).expect("nobody is disturbed");
    machine.run("deploy", &[&later, "--yes"]).ends(0, &["SIGHUP: answered"]);
    machine.serves(true, &["a", "b"]);
    assert_eq!(fs::read(machine.target()).expect("read"), fs::read(later).expect("read"));
    machine.run("rollback", &[]).ends(0, &["SIGHUP: answered"]);
    assert_eq!(fs::read(machine.target()).expect("read"), fs::read(ours()).expect("read"));
    let listed = machine.run("rollback", &["--list"]);
    let oldest =
        listed.out.lines().last().expect("backups").split_whitespace().nth(2).expect("a path").to_owned();
    machine.run("rollback", &["--to", &oldest]).ends(0, &["SIGHUP: not sent"]);
    machine.serves(false, &["a", "b"]);
}

/// What is not told by LIST is asked for by the names of the configuration; what is not told without TLS stays unseen.
#[test]
fn a_server_that_does_not_list_is_asked_by_name_and_one_that_wants_tls_is_not() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    let text = fs::read_to_string(machine.config()).expect("read");
    fs::write(machine.config(), text.replace("allowlist = true", "allowlist = false")).expect("written");
    machine.restart();
    let asked = [
        "it does not list (",
        "look      export: a 4194304 bytes, read\n",
        "verify    export: a 4194304 bytes, read\n",
    ];
    machine.run("deploy", &[&ours()]).ends(0, &asked);
    fs::write(machine.config(), text.replace("allowlist = true", "force_tls = true")).expect("written");
    machine.restart();
    machine.run("rollback", &["--dry-run"]).ends(0, &["it wants TLS, which is not spoken here"]);
    machine
        .run("rollback", &[])
        .ends(0, &["look      exports: it wants TLS", "verify    exports: it wants TLS"]);
}
