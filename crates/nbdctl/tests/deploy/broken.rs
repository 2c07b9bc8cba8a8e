//! `nbdctl` itself is killed in the middle, and the next one sees it.

use super::machine::Machine;
use super::{no_original, ours};
use std::fs;
use std::process::{Child, Command};

/// A deploy that was killed in a step, of a program that writes no pid file and so is waited for.
fn killed_in(machine: &Machine, step: &str) {
    let dir = machine.dir.path().display();
    let serving = format!(
        "case \" $* \" in *\" --check \"*|*\" -V \"*|*\" --help \"*) ;; *) set -- \"$@\" -p {dir}/other-pid ;; esac"
    );
    let new = machine.wrapped("new", &serving).display().to_string();
    let mut running: Child = machine.start("deploy", &[&new]);
    machine.wait("the step has begun", || {
        fs::read_to_string(machine.backups().join("state.json"))
            .is_ok_and(|state| state.contains(&format!("\"{step}\"")))
    });
    running.kill().expect("killed");
    running.wait().expect("it ends");
}

/// What the killed one had begun to restart the server, where it had.
fn noted_restart(machine: &Machine) -> Option<u32> {
    let state = fs::read_to_string(machine.backups().join("state.json")).ok()?;
    let (_, after) = state.split_once("\"restarts\": {")?;
    after.split_once("\"pid\": ")?.1.split_once(',')?.0.parse().ok()
}

fn end_restart(machine: &Machine) {
    if let Some(pid) = noted_restart(machine) {
        let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    }
}

#[test]
fn a_rollback_does_nothing_while_the_restart_of_a_killed_deploy_goes_on() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let (restart, dir) = (machine.dir.join("restart"), machine.dir.path().display());
    let text = fs::read_to_string(&restart).expect("read");
    let waits = format!(
        "#!/bin/sh\n: >{dir}/begun\nwhile [ -d {dir}/bin ] && [ ! -e {dir}/go ]; do sleep 0.02; done\n"
    );
    machine.script("restart", &text.replacen("#!/bin/sh\n", &waits, 1));
    let mut running = machine.start("deploy", &[&ours()]);
    machine.wait("the restart has begun", || machine.dir.join("begun").exists());
    running.kill().expect("killed");
    running.wait().expect("it ends");
    let pid = noted_restart(&machine).expect("noted");
    let (target, original) = (fs::read(machine.target()).expect("read"), machine.pid());
    let said = format!(
        "REFUSED: what it had begun to restart the server still runs after 1 s: wait for its end, or end it: kill -- -{pid}"
    );
    machine.run("rollback", &["--wait", "1"]).ends(1, &[&said]);
    assert!(fs::read(machine.target()).expect("read") == target && machine.pid() == original);
    let mut rollback = machine.start("rollback", &[]);
    machine.wait("it waits", || {
        let log = fs::read_to_string(machine.log()).unwrap_or_default();
        log.matches("still runs, and is waited for").count() == 2
    });
    fs::write(machine.dir.join("go"), "").expect("written");
    assert_eq!(rollback.wait().expect("it ends").code(), Some(0));
    machine.serves(false, &["a", "b"]);
}

#[test]
fn a_deploy_that_was_killed_is_finished_by_a_rollback() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let original = fs::read(machine.target()).expect("read");
    killed_in(&machine, "verify");
    assert!(fs::read(machine.target()).expect("read") != original, "it was replaced");
    machine
        .run("deploy", &[&ours()])
        .ends(1, &["was broken off in the step verify", "`nbdctl rollback` finishes that"]);
    machine
        .run("rollback", &["--dry-run"])
        .ends(0, &["was broken off in the step verify", "  replace: copy "]);
    let done = ["was broken off in the step verify", "export: b 4194304 bytes, read", "done: "];
    machine.run("rollback", &[]).ends(0, &done);
    machine.serves(false, &["a", "b"]);
    assert_eq!(fs::read(machine.target()).expect("read"), original);
    assert!(!machine.backups().join("state.json").exists());
    machine.run("deploy", &[&ours()]).ends(0, &[]);
    machine.serves(true, &["a", "b"]);
}

#[test]
fn a_deploy_that_was_killed_before_it_replaced_anything_is_forgotten() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    fs::create_dir(machine.backups()).expect("a directory");
    let (target, backup) = (machine.target(), machine.backups().join("nbd-server-1-a"));
    fs::write(&backup, "half a copy").expect("written");
    let state = format!(
        "{{\"verb\": \"deploy\", \"step\": \"backup\", \"pid\": 7, \"since\": \"then\", \"target\": {target:?}, \"backup\": {backup:?}}}"
    );
    fs::write(machine.backups().join("state.json"), state).expect("written");
    machine.run("rollback", &[]).ends(0, &["in the step backup", "had not replaced anything"]);
    assert_eq!(machine.names("backups"), ["lock"]);
    machine.serves(false, &["a"]);
}

/// A file system that has lost the manifest has not lost the copy, which may be the last one.
#[test]
fn without_a_readable_manifest_the_copy_of_what_was_there_is_kept() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let original = fs::read(machine.target()).expect("read");
    killed_in(&machine, "verify");
    let kept = machine.names("backups");
    let manifest = kept.iter().find(|name| name.starts_with("nbd-server-") && name.ends_with(".json"));
    let manifest = machine.backups().join(manifest.expect("a manifest"));
    fs::write(&manifest, "{").expect("written");
    machine.run("rollback", &[]).ends(1, &["REFUSED: ", " by hand, restart, and remove "]);
    assert_eq!(machine.names("backups"), kept);
    assert!(fs::read(manifest.with_extension("")).expect("read") == original);
}

#[test]
fn a_copy_or_a_manifest_that_is_damaged_is_named_and_no_older_one_comes_back_for_it() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    machine.run("deploy", &[&ours()]).ends(0, &[]);
    machine.run("deploy", &[&machine.later_build().display().to_string()]).ends(0, &[]);
    let kept = machine.names("backups");
    let newest = kept
        .iter()
        .rfind(|name| name.starts_with("nbd-server-") && name.ends_with(".json"))
        .expect("a manifest");
    let manifest = machine.backups().join(newest);
    let (text, copy) = (fs::read(&manifest).expect("read"), manifest.with_extension(""));
    fs::write(&manifest, &text[..text.len() / 2]).expect("written");
    let (at, pid) = (manifest.display().to_string(), machine.pid());
    machine
        .run("rollback", &[])
        .ends(1, &[&format!("REFUSED: {at}: "), " -V` says which server it is", "--to names"]);
    machine.run("rollback", &["--list"]).ends(0, &["nothing is known of it: ", "(the original, of "]);
    fs::write(&manifest, text).expect("written");
    fs::OpenOptions::new().append(true).open(&copy).expect("opened").set_len(7).expect("cut");
    machine
        .run("rollback", &[])
        .ends(1, &["has other bytes than it should", "that copy is damaged: --to names"]);
    // The log is no reason to do or to leave anything.
    let full = machine.run("rollback", &["--dry-run", "--log", "/dev/full"]);
    full.ends(1, &["nothing was touched", "the log of this run is /dev/full, and its end is missing there"]);
    assert_eq!(full.out.matches("the log cannot be written any more").count(), 1, "{}", full.out);
    assert_eq!(machine.pid(), pid);
}

#[test]
fn what_was_broken_off_is_finished_without_ending_a_session_that_nobody_asked_about() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    killed_in(&machine, "verify");
    machine.wait("it serves", || fs::copy(machine.dir.join("other-pid"), machine.dir.join("pid")).is_ok());
    machine.serves(true, &["a", "b"]);
    let mut client = machine.open("a");
    machine.run("rollback", &[]).ends(1, &["REFUSED: 1 connection is open and ends with the restart"]);
    client.read(0, 512).expect("nobody is disturbed");
    machine.run("rollback", &["--yes"]).ends(0, &["done: "]);
    machine.serves(false, &["a", "b"]);
}

/// The last run had replaced the file, and was killed before it restarted.
#[test]
fn a_server_that_was_not_restarted_yet_serves_on_when_the_file_is_put_back() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let (pid, original) = (machine.pid(), fs::read(machine.target()).expect("read"));
    machine.script("restart", "#!/bin/sh\nexec sleep 60\n");
    killed_in(&machine, "restart");
    end_restart(&machine);
    assert!(fs::read(machine.target()).expect("read") != original, "it was replaced");
    let mut client = machine.open("a");
    machine.run("rollback", &[]).ends(0, &["the server was not restarted: it serves on", "done: "]);
    client.read(0, 512).expect("nobody is disturbed");
    assert_eq!((machine.pid(), fs::read(machine.target()).expect("read") == original), (pid, true));
}

#[test]
fn what_does_not_run_any_more_is_rolled_back_too() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    machine.run("deploy", &[&ours()]).ends(0, &[]);
    let damaged = machine.script("damaged", "\u{7f}ELF and nothing behind it");
    fs::rename(damaged, machine.target()).expect("renamed");
    machine.run("rollback", &[]).ends(0, &["does not run here", "done: "]);
    machine.serves(false, &["a", "b"]);
}

/// What is half done is finished, but no disk becomes another by it that nobody asked about.
#[test]
fn what_was_broken_off_is_finished_on_the_disks_of_now_or_asked_about() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    killed_in(&machine, "verify");
    end_restart(&machine);
    machine.export("a", &machine.disk("b"), "");
    let said = format!("REFUSED: a leads to {} now, and will lead to ", machine.disk("a").display());
    machine.run("rollback", &[]).ends(1, &[&said]);
    machine.run("rollback", &["--yes"]).ends(0, &["done: "]);
}
