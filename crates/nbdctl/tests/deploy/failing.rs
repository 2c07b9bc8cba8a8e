//! A deploy that fails at each of its steps, and the original serves again by itself.

use super::machine::Machine;
use super::{no_original, ours};
use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::setup::free_port;
use testkit::{is_root, skip_or_fail};

/// Runs a deploy that must fail and be put right, and sees that the original serves and nothing is left behind.
#[track_caller]
fn fails_and_goes_back(machine: &Machine, new: &str, more: &[&str], said: &[&str]) {
    let original = fs::read(machine.target()).expect("read");
    let words: Vec<&str> = [new, "--yes"].iter().chain(more).copied().collect();
    let ran = machine.run("deploy", &words);
    ran.ends(2, &["FAILED: ", "deploy ends with 2"]).ends(2, said);
    assert!(fs::read(machine.target()).expect("read") == original, "{}", ran.out);
    assert!(!machine.dir.join("bin/.nbd-server.nbdctl").exists());
    assert!(!machine.backups().join("state.json").exists(), "{}", ran.out);
    assert_eq!(machine.names("backups").iter().filter(|name| name.starts_with("nbd-server-")).count(), 0);
    machine.serves(false, &["a", "b"]);
}

/// What the shell does when it is to serve, and not merely asked something.
fn when_serving(what: &str) -> String {
    format!("case \" $* \" in *\" --check \"*|*\" -V \"*|*\" --help \"*) ;; *) {what} ;; esac")
}

#[test]
fn without_room_for_the_backup_the_original_is_not_touched() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    if !is_root() {
        return skip_or_fail("deploy", "root, who may mount");
    }
    // Room for the bytes, and not for the files: the manifest is one too many.
    let backups = machine.backups();
    fs::create_dir(&backups).expect("a directory");
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "nr_inodes=4", "tmpfs"]).arg(&backups).status();
    assert!(mounted.expect("mount").success());
    let (pid, mut client) = (machine.pid(), machine.open("a"));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        fails_and_goes_back(&machine, &ours(), &[], &["No space left on device", "was not touched"]);
    }));
    let _ = Command::new("umount").arg(&backups).status();
    caught.expect("as it should be");
    client.read(0, 512).expect("nobody is disturbed");
    assert_eq!(machine.pid(), pid);
}

#[test]
fn where_the_target_cannot_be_replaced_the_original_serves_on() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    if !is_root() {
        return skip_or_fail("deploy", "root, who may mount");
    }
    // A file that is a mount of its own, as in containers, cannot be renamed over.
    let target = machine.target();
    let mounted = Command::new("mount").arg("--bind").args([&target, &target]).status();
    assert!(mounted.expect("mount").success());
    let (pid, mut client) = (machine.pid(), machine.open("a"));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        fails_and_goes_back(&machine, &ours(), &[], &["cannot rename to ", "was not touched"]);
    }));
    let _ = Command::new("umount").arg(&target).status();
    caught.expect("as it should be");
    client.read(0, 512).expect("nobody is disturbed");
    assert_eq!(machine.pid(), pid);
}

#[test]
fn a_program_that_does_not_start_gives_way_to_the_original() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let new = machine.wrapped("new", &when_serving("echo it is broken >&2; exit 1"));
    let new = new.display().to_string();
    fails_and_goes_back(&machine, &new, &[], &["it is broken", "ended with 1", "back      back: "]);
}

#[test]
fn a_program_that_does_not_come_up_in_time_gives_way_to_the_original() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let new = machine.wrapped("new", &when_serving("exec sleep 60"));
    let new = new.display().to_string();
    fails_and_goes_back(&machine, &new, &["--wait", "2"], &["did not end within 2 s", "back      back: "]);
}

#[test]
fn a_program_that_serves_fewer_exports_gives_way_to_the_original() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let (other, text) = (machine.dir.join("other"), fs::read_to_string(machine.config()).expect("read"));
    fs::create_dir(machine.dir.join("other.d")).expect("a directory");
    fs::copy(machine.dir.join("conf.d/a.conf"), machine.dir.join("other.d/a.conf")).expect("copied");
    fs::write(&other, text.replace("/conf.d", "/other.d")).expect("written");
    let new = machine.wrapped("new", &when_serving(&format!("set -- \"$@\" -C {}", other.display())));
    let new = new.display().to_string();
    fails_and_goes_back(&machine, &new, &[], &["b is not listed any more", "back      back: "]);
}

#[test]
fn a_program_that_serves_another_disk_gives_way_to_the_original() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let (other, text) = (machine.dir.join("other"), fs::read_to_string(machine.config()).expect("read"));
    let swapped = [("a", "b"), ("b", "a")]
        .map(|(name, disk)| format!("[{name}]\nexportname = {}\n", machine.disk(disk).display()));
    fs::create_dir(machine.dir.join("other.d")).expect("a directory");
    fs::write(&other, text.replace("/conf.d", "/other.d") + &swapped.concat()).expect("written");
    let new = machine.wrapped("new", &when_serving(&format!("set -- \"$@\" -C {}", other.display())));
    let new = new.display().to_string();
    let said = ["there are other bytes than ", "back      back: "];
    fails_and_goes_back(&machine, &new, &[], &said);
}

#[test]
fn a_program_that_ends_at_sighup_gives_way_to_the_original() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let dir = machine.dir.path().display();
    let ours = ours();
    // The process that the pid file names ends at SIGHUP, and takes the server with it.
    let mortal = format!(
        "{ours} -n -C {dir}/config -p {dir}/inner-pid </dev/null >/dev/null 2>&1 & child=$!; \
         trap 'kill $child; wait $child; exit 1' HUP TERM; echo $$ >{dir}/pid; wait $child; exit"
    );
    let new = machine.wrapped("new", &when_serving(&format!("if [ -z \"$INNER\" ]; then INNER=1 setsid \"$0\" \"$@\" >/dev/null 2>&1 & while [ ! -s {dir}/inner-pid ]; do sleep 0.02; done; exit 0; fi; {mortal}")));
    let new = new.display().to_string();
    fails_and_goes_back(&machine, &new, &[], &["ended by SIGHUP", "back      back: "]);
}

#[test]
fn a_program_that_writes_no_pid_file_gives_way_to_the_original() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let dir = machine.dir.path().display();
    let new = machine.wrapped("new", &when_serving(&format!("set -- \"$@\" -p {dir}/other-pid")));
    let new = new.display().to_string();
    let said = ["does not hold the number of a new process", "it holds no number", "back      back: "];
    fails_and_goes_back(&machine, &new, &["--wait", "3"], &said);
    assert!(!Path::new(&format!("{dir}/other-pid")).exists());
}

#[test]
fn ctrl_c_in_the_middle_brings_the_original_back() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let new = machine.wrapped("new", &when_serving("exec sleep 60")).display().to_string();
    let mut running = machine.start("deploy", &[&new]);
    machine.wait("it restarts", || {
        fs::read_to_string(machine.backups().join("state.json"))
            .is_ok_and(|state| state.contains("\"restart\""))
    });
    let _ = Command::new("kill").args(["-INT", &running.id().to_string()]).status();
    assert_eq!(running.wait().expect("it ends").code(), Some(2));
    let log = fs::read_to_string(machine.log()).expect("a log");
    assert!(log.contains("stopped by a signal") && log.contains("back      back: "), "{log}");
    machine.serves(false, &["a", "b"]);
}

/// Whoever was told to end may take a while, and who looks at it then sees a server that runs.
#[test]
fn a_restart_that_is_broken_off_while_the_original_ends_leaves_nobody_unserved() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let restart = machine.dir.join("restart");
    let (text, begun) = (fs::read_to_string(&restart).expect("read"), machine.dir.join("begun"));
    let pid = machine.pid().expect("it runs");
    let (dir, begun_path) = (machine.dir.path().display(), begun.display());
    let slow = format!(
        "#!/bin/sh\nif [ ! -e {begun_path} ]; then kill -STOP {pid}; kill {pid}; : >{begun_path}; exec sleep 60; fi\n\
         exec {dir}/restart-at-once\n"
    );
    machine.script("restart-at-once", &text);
    machine.script("restart", &slow);
    let mut running = machine.start("deploy", &[&ours()]);
    machine.wait("the original is told to end", || begun.exists());
    let _ = Command::new("kill").args(["-INT", &running.id().to_string()]).status();
    machine.wait("it goes back", || {
        fs::read_to_string(machine.log()).is_ok_and(|log| log.contains("again, by rename"))
    });
    // Now it takes the signal.
    let _ = Command::new("kill").args(["-CONT", &pid.to_string()]).status();
    assert_eq!(running.wait().expect("it ends").code(), Some(2));
    machine.wait("the one of before has ended", || fs::read_link(format!("/proc/{pid}/exe")).is_err());
    let log = fs::read_to_string(machine.log()).expect("a log");
    assert!(log.contains("back      back: "), "{log}");
    machine.serves(false, &["a", "b"]);
}

/// Where the way back fails too, that has a code of its own, and the log says what to do by hand.
#[test]
fn where_the_way_back_fails_too_an_operator_is_called() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let dir = machine.dir.path().display();
    let restart = fs::read_to_string(machine.dir.join("restart")).expect("read");
    // From now on nothing that is started serves.
    let new = machine.wrapped("new", &when_serving(&format!("echo exit 7 >{dir}/restart; exit 1")));
    let new = new.display().to_string();
    machine
        .run("deploy", &[&new])
        .ends(4, &["AN OPERATOR IS NEEDED", "by hand: cp -a ", "deploy ends with 4"]);
    let kept = machine.names("backups");
    assert!(kept.contains(&"state.json".to_owned()) && kept.len() == 4, "{kept:?}");
    machine
        .run("deploy", &[&ours()])
        .ends(1, &["was broken off in the step back", "`nbdctl rollback` finishes that"]);
    // The operator starts it, and has it serve where nobody looks for it: that is not the end of the way.
    let text = fs::read_to_string(machine.config()).expect("read");
    let elsewhere = text.replace(&machine.port.to_string(), &free_port().to_string());
    fs::write(machine.config(), elsewhere).expect("written");
    let by_hand = machine.script("restart", &restart);
    assert!(Command::new(by_hand).status().expect("it runs").success());
    fs::write(machine.config(), text).expect("written");
    let silent = "it does not serve as it should: nobody answers at ";
    machine.run("rollback", &["--wait", "2"]).ends(0, &[silent, "restart   run: ", "done: "]);
    assert!(!machine.backups().join("state.json").exists(), "nothing is half done");
    machine.serves(false, &["a", "b"]);
}

/// Nobody meant a server to run, and it would hold the disks.
#[test]
fn where_no_server_ran_none_runs_after_a_deploy_that_failed() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let (config, original) = (machine.config(), fs::read(machine.target()).expect("read"));
    machine.stop("-TERM");
    let other = machine.dir.join("other");
    fs::write(&other, fs::read_to_string(&config).expect("read").replace("/conf.d", "/disks"))
        .expect("written");
    let new = machine.wrapped("new", &when_serving(&format!("set -- \"$@\" -C {}", other.display())));
    let words = [new.display().to_string(), "--config".into(), config.display().to_string()];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said =
        ["FAILED: ", "back      SIGTERM to process ", "is in place again, and no server runs, as before"];
    machine.run("deploy", &words).ends(2, &said);
    let is_as_before = || {
        assert!(fs::read(machine.target()).expect("read") == original);
        assert!(!machine.backups().join("state.json").exists(), "nothing is half done");
        assert!(std::net::TcpListener::bind(("127.0.0.1", machine.port)).is_ok(), "nobody has the port");
    };
    is_as_before();
    // Where it is killed, the rollback does the same.
    let new = machine.wrapped("new", &when_serving(&format!("set -- \"$@\" -p {}-other", config.display())));
    let words = [new.display().to_string(), "--config".into(), config.display().to_string()];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut running = machine.start("deploy", &words);
    machine.wait("it verifies", || {
        fs::read_to_string(machine.backups().join("state.json"))
            .is_ok_and(|state| state.contains("\"verify\""))
    });
    running.kill().expect("killed");
    running.wait().expect("it ends");
    machine.run("rollback", &[]).ends(0, &["no server runs, as before", "is in place, and no server runs"]);
    is_as_before();
}
