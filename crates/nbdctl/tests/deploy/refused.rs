//! What is refused, and leaves everything as it was.

use super::machine::Machine;
use super::{no_original, ours};
use std::fs;
use testkit::program;

#[test]
fn nothing_is_touched_while_clients_are_connected_unless_somebody_says_yes() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    let (pid, target) = (machine.pid(), fs::read(machine.target()).expect("read"));
    let mut client = machine.open("a");
    machine.run("deploy", &[&ours()]).ends(
        1,
        &["REFUSED: 1 connection is open and ends with the restart: 127.0.0.1:", "nothing was touched"],
    );
    client.read(0, 512).expect("nobody is disturbed");
    assert_eq!((machine.pid(), fs::read(machine.target()).expect("read")), (pid, target));
    assert_eq!(machine.names("backups"), ["lock"]);
}

#[test]
fn a_program_that_would_not_start_or_is_no_server_of_ours_is_refused_whatever_is_said() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    let original = machine.dir.join("bin/other");
    fs::copy(machine.target(), &original).expect("copied");
    fs::write(&original, [fs::read(&original).expect("read"), b"\n".to_vec()].concat()).expect("written");
    let original = original.display().to_string();
    machine.run("deploy", &[&original, "--yes"]).ends(1, &["is not nbd-server-enhanced"]);
    machine.run("deploy", &["/bin/true", "--yes"]).ends(1, &["/bin/true is no nbd-server"]);
    machine.run("deploy", &["/nonexistent/x", "--yes"]).ends(1, &["/nonexistent/x: No such file"]);
    fs::write(machine.config(), "[generic]\nport = 99999\n[a]\nexportname = /dev/null\n").expect("written");
    machine
        .run("deploy", &[&ours(), "--yes"])
        .ends(1, &["it would not start with this configuration: ", "99999"]);
    fs::write(machine.config(), "[generic\n").expect("written");
    machine
        .run("deploy", &[&ours(), "--yes"])
        .ends(1, &["it would not start with this configuration: ", "config:1:"]);
    assert_eq!(machine.names("backups"), ["lock"]);
}

#[test]
fn a_program_that_is_not_what_its_checksum_says_is_refused() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    let new = machine.wrapped("new", "");
    fs::write(machine.dir.join("SHA256SUMS"), format!("{}  new\n", "0".repeat(64))).expect("written");
    let new = new.display().to_string();
    machine.run("deploy", &[&new]).ends(1, &["is not what ", "SHA256SUMS says"]);
    machine.serves(false, &["a"]);
}

/// Exports that ours would refuse are named with the reason, and only those that can be read today need a word.
#[test]
fn an_export_that_would_be_lost_is_asked_about() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    // Two exports that both write to one disk, and one wants it for itself.
    machine.export("b", &machine.disk("a"), "exclusive = true");
    let loss = "b can be read now and would not be served: ";
    machine
        .run("deploy", &[&ours()])
        .ends(1, &[loss, "one of them is exclusive", "--yes does it all the same"]);
    machine.run("deploy", &[&ours(), "--yes"]).ends(0, &[loss]);
}

#[test]
fn two_runs_at_a_time_are_one_too_many() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    // Its start waits for a word.
    let go = machine.dir.join("go");
    let first = format!(
        "case \" $* \" in *\" --check \"*|*\" -V \"*|*\" --help \"*) ;; \
                         *) while [ ! -e {} ]; do sleep 0.02; done ;; esac",
        go.display()
    );
    let new = machine.wrapped("new", &first).display().to_string();
    let mut running = machine.start("deploy", &[&new]);
    machine.wait("it restarts", || {
        fs::read_to_string(machine.backups().join("state.json"))
            .is_ok_and(|state| state.contains("\"restart\""))
    });
    machine.run("deploy", &[&ours()]).ends(1, &["another deploy or rollback is under way"]);
    machine.run("rollback", &[]).ends(1, &["another deploy or rollback is under way"]);
    fs::write(go, "").expect("written");
    assert_eq!(running.wait().expect("it ends").code(), Some(0));
    machine.serves(true, &["a"]);
    assert!(program("nbd-server").exists());
}

#[test]
fn a_job_that_begins_after_the_look_is_not_cut() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    // So large that its copy takes a while.
    let large = machine.dir.join("large");
    fs::copy(machine.target(), &large).expect("copied");
    let file = fs::OpenOptions::new().write(true).open(&large).expect("opened");
    file.set_len(256 << 20).expect("grown");
    drop(file);
    fs::rename(&large, machine.target()).expect("renamed");
    machine.restart();
    let pid = machine.pid();
    let mut running = machine.start("deploy", &[&ours()]);
    machine.wait("the backup is made", || {
        fs::read_to_string(machine.backups().join("state.json"))
            .is_ok_and(|state| state.contains("\"backup\""))
    });
    let mut client = machine.open("a");
    assert_eq!(running.wait().expect("it ends").code(), Some(2));
    let log = fs::read_to_string(machine.log()).expect("a log");
    assert!(log.contains("FAILED: somebody has connected meanwhile: 127.0.0.1:"), "{log}");
    client.read(0, 512).expect("nobody is disturbed");
    assert_eq!(machine.pid(), pid);
    drop(client);
    machine.serves(false, &["a"]);
}

/// A container's server has the same path, in another file system.
#[test]
fn the_server_of_a_container_is_not_the_one_that_is_meant() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    if !testkit::is_root() || testkit::tool("unshare").is_none() {
        return testkit::skip_or_fail("deploy", "root and unshare");
    }
    let (dir, target) = (machine.dir.path().display(), machine.target());
    fs::copy(&target, machine.dir.join("contained")).expect("copied");
    let text = fs::read_to_string(machine.config()).expect("read");
    let port = format!("port = {}", machine.port);
    let text = text.replace(&port, &format!("port = {}", testkit::setup::free_port()));
    fs::write(machine.dir.join("contained-config"), text).expect("written");
    let start = format!(
        "mount --bind {dir}/contained {0} && exec {0} -C {dir}/contained-config -p {dir}/other-pid",
        target.display()
    );
    let started = std::process::Command::new("unshare").args(["-m", "sh", "-c", &start]).status();
    assert!(started.expect("it runs").success());
    machine.wait("it runs", || machine.dir.join("other-pid").exists());
    let pid = machine.pid().expect("it runs");
    let _ = std::process::Command::new("kill").arg(pid.to_string()).status();
    machine.wait("the original has ended", || fs::read_link(format!("/proc/{pid}/exe")).is_err());
    // Found by its program alone.
    let ran = machine.run_without_pid_file("deploy", &[&ours(), "--dry-run"]);
    assert!(ran.out.contains("running: no server"), "{}", ran.out);
}
