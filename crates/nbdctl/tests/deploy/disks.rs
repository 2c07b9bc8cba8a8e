//! Which disk a client gets, before and after: a migration that goes on on another one destroys it.

use super::machine::{Machine, SIZE};
use super::{no_original, ours};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use testkit::{Client, LoopDevice, skip_or_fail};

/// A disk whose bytes are the same at both ends, where a look compares, and others between them.
fn twin(machine: &Machine, name: &str) -> PathBuf {
    let mut bytes = vec![1; SIZE as usize];
    bytes[SIZE as usize / 2] = 77;
    fs::write(machine.disk(name), bytes).expect("written");
    machine.disk(name)
}

/// Whether a client gets the twin.
fn has_the_twin(machine: &Machine, export: &str) -> bool {
    machine.open(export).read(SIZE / 2, 1).expect("read") == [77]
}

#[test]
fn a_path_that_was_edited_and_not_reloaded_is_seen_though_the_bytes_are_equal() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    machine
        .run("deploy", &[&ours(), "--dry-run"])
        .ends(0, &["preflight no export will be another than now\n"]);
    let (old, new) = (machine.disk("a").display().to_string(), twin(&machine, "twin"));
    machine.export("a", &new, "");
    let said = format!("a leads to {old} now, and will lead to {}", new.display());
    machine
        .run("deploy", &[&ours()])
        .ends(1, &[&format!("preflight ~ {said}\n"), &format!("REFUSED: {said}\n")]);
    assert!(!has_the_twin(&machine, "a"));
    machine.run("deploy", &[&ours(), "--yes"]).ends(0, &["done: "]);
    assert!(has_the_twin(&machine, "a"));
    // The other way round ours says what it serves.
    machine.export("a", &machine.disk("a"), "");
    let said = format!("a leads to {} now, and will lead to {old}", new.display());
    machine.run("rollback", &[]).ends(1, &[&format!("REFUSED: {said}\n")]);
    machine.run("rollback", &["--yes"]).ends(0, &["done: "]);
    assert!(!has_the_twin(&machine, "a"));
}

/// The children of a 3.24 on a Unix socket alone are told apart too; where another client is there, nobody can.
#[test]
fn what_nobody_can_see_is_not_said_to_be_the_same() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    let socket = machine.restart_on_a_unix_socket();
    machine
        .run("deploy", &[&ours(), "--dry-run"])
        .ends(0, &["preflight no export will be another than now\n"]);
    let mut client = Client::connect_unix(&socket).expect("it listens");
    client.go("a").expect("served");
    let unseen = "preflight no export is seen to become another than now\n";
    machine
        .run("deploy", &[&ours(), "--dry-run"])
        .ends(1, &[unseen, "preflight ? it cannot be seen which disk is served now as a\n"]);
}

#[test]
fn of_one_name_in_two_files_it_is_said_which_disk_it_leads_to_in_both_directions() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    twin(&machine, "twin");
    let text = |path: PathBuf| format!("[a]\nexportname = {}\n", path.display());
    fs::write(machine.dir.join("conf.d/b.conf"), text(machine.disk("twin"))).expect("written");
    machine.restart();
    let listed = fs::read_dir(machine.dir.join("conf.d")).expect("listed").flatten();
    let last = listed.last().expect("two").file_name();
    let (go, other) = if last == "b.conf" { ("twin", "a") } else { ("a", "twin") };
    assert_eq!(has_the_twin(&machine, "a"), go == "twin");
    let path = |name: &str| machine.disk(name).display().to_string();
    let about = format!(
        "a is described in {0}/conf.d/a.conf and in {0}/conf.d/b.conf: ",
        machine.dir.path().display()
    );
    let both = format!("{}, and who asks by EXPORT_NAME to {}", path(go), path(other));
    let end = "; remove or rename one of them\n";
    let said = format!("REFUSED: {about}it leads to {both} now, and will lead to {}{end}", path("a"));
    machine.run("deploy", &[&ours()]).ends(1, &[&said]);
    machine.run("deploy", &[&ours(), "--yes"]).ends(0, &["done: "]);
    assert!(!has_the_twin(&machine, "a"));
    let said = format!("REFUSED: {about}it leads to {} now, and will lead to {both}{end}", path("a"));
    let refused = machine.run("rollback", &[]);
    refused.ends(1, &[&said]);
    assert!(!refused.out.contains("does not start with a file that is broken"), "{}", refused.out);
    machine.run("rollback", &["--yes"]).ends(0, &["done: "]);
    assert_eq!(has_the_twin(&machine, "a"), go == "twin");
}

#[test]
fn what_the_original_will_not_see_is_asked_about_before_it_comes_back() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    machine.run("deploy", &[&ours()]).ends(0, &[]);
    let (link, real) = (machine.dir.join("conf.d/l.conf"), machine.dir.join("l.conf"));
    fs::write(&real, format!("[l]\nexportname = {}\n", twin(&machine, "l").display())).expect("written");
    symlink(&real, &link).expect("a link");
    machine.restart();
    let why = format!("3.24 passes over {}, which is a link", link.display());
    let said = format!("REFUSED: l can be read now and would not be served: {why}\n");
    machine.run("rollback", &[]).ends(1, &[&said]);
    fs::remove_file(machine.dir.join("conf.d/a.conf")).expect("removed");
    let text = fs::read_to_string(machine.config()).expect("read");
    fs::write(machine.config(), text.replace("[dummy]\nexportname = /dev/null\n", "")).expect("written");
    machine
        .run("rollback", &["--yes"])
        .ends(1, &["the original does not start without an export that it can see", "nothing was touched"]);
    fs::write(machine.config(), text).expect("written");
    machine.run("rollback", &["--yes"]).ends(0, &["exports: none was looked at\n"]);
}

/// Since the deploy the files have become others; what a start with them promises is what is asked for.
#[test]
fn with_no_server_running_a_rollback_is_judged_by_the_configuration_of_today() {
    let Some(machine) = Machine::new(&["a", "b", "c"]) else { return no_original() };
    machine.run("deploy", &[&ours()]).ends(0, &[]);
    let pid = machine.pid().expect("it runs");
    let _ = std::process::Command::new("kill").arg(pid.to_string()).status();
    machine.wait("it has ended", || fs::read_link(format!("/proc/{pid}/exe")).is_err());
    fs::write(machine.disk("a"), vec![1; SIZE as usize / 2]).expect("written");
    fs::remove_file(machine.dir.join("conf.d/b.conf")).expect("removed");
    let nobody = machine.dir.join("nobody");
    fs::write(&nobody, "").expect("written");
    machine.export("c", &machine.disk("c"), &format!("authfile = {}", nobody.display()));
    let done = ["verify    export: a 2097152 bytes, read\n", "export: c, not to be read: ", "done: "];
    machine.run("rollback", &[]).ends(0, &done);
}

/// Both files lead to one disk, which is another than the one that is served: that is asked about as of any other name.
#[test]
fn a_name_in_two_files_of_one_disk_that_is_another_than_now_is_asked_about() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    let new = twin(&machine, "twin");
    machine.export("a", &new, "");
    fs::write(machine.dir.join("conf.d/b.conf"), format!("[a]\nexportname = {}\n", new.display()))
        .expect("written");
    let said = format!("a leads to {} now, and will lead to {}", machine.disk("a").display(), new.display());
    machine.run("deploy", &[&ours()]).ends(1, &[&format!("REFUSED: {said}\n")]);
    assert!(!has_the_twin(&machine, "a"));
}

/// P4: nobody may write to a disk that has come to a path until somebody has said that it is meant; a restart is no such word.
#[test]
fn a_disk_that_ours_refuses_is_not_served_by_a_restart_that_nobody_asked_about() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let devices = ["a", "b"].map(|name| LoopDevice::attach(&machine.disk(name)));
    let [Some(one), Some(two)] = &devices else {
        return skip_or_fail("a_disk_that_ours_refuses", "root and loop devices");
    };
    let link = machine.dir.join("link");
    symlink(one.path(), &link).expect("a link");
    machine.export("a", &link, "");
    fs::remove_file(machine.dir.join("conf.d/b.conf")).expect("removed");
    machine.restart();
    machine.run("deploy", &[&ours()]).ends(0, &["done: "]);
    fs::remove_file(&link).expect("removed");
    symlink(two.path(), &link).expect("a link");
    let said =
        format!("REFUSED: a would be served from another disk that is at {} now: it was ", link.display());
    let later = machine.later_build().display().to_string();
    machine.run("deploy", &[&later]).ends(1, &[&said]);
    machine.run("rollback", &[]).ends(1, &[&said]);
    assert!(Client::connect_tcp(machine.port).expect("it listens").go("a").is_err());
    machine.run("rollback", &["--yes"]).ends(0, &["done: "]);
}
