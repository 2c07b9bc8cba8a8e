//! What the file that is replaced has besides its bytes: rights of its own, access lists, notes of others, further names.

use super::machine::Machine;
use super::{no_original, ours};
use rustix::fs::{XattrFlags, getxattr, setxattr};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{is_root, skip_or_fail, tool};

/// `cap_net_bind_service=ep`, as the kernel has it: a server that is not root binds a port below 1024 by it.
const MAY_BIND: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// The owner may all, nobody (65534) may execute, the group nothing, the mask `r-x`, others nothing.
const ACCESS: [u8; 44] = [
    2, 0, 0, 0, //
    1, 0, 7, 0, 255, 255, 255, 255, //
    2, 0, 5, 0, 254, 255, 0, 0, //
    4, 0, 0, 0, 255, 255, 255, 255, //
    16, 0, 5, 0, 255, 255, 255, 255, //
    32, 0, 0, 0, 255, 255, 255, 255,
];
const NOTE: &[u8] = b"looked after by storage";

const ALL: [(&str, &[u8]); 3] =
    [("security.capability", &MAY_BIND), ("system.posix_acl_access", &ACCESS), ("user.owner", NOTE)];

#[track_caller]
fn has_all(path: &Path) {
    for (name, value) in ALL {
        let mut found = vec![0; 256];
        let length = getxattr(path, name, &mut found[..]).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(&found[..length], value, "{name} of {}", path.display());
    }
}

/// None where the file system or the user may not.
fn give_all(machine: &Machine) -> Option<()> {
    let target = machine.target();
    let given = |(name, value): (&str, &[u8])| setxattr(&target, name, value, XattrFlags::empty()).is_ok();
    ALL.into_iter().all(given).then_some(())
}

/// The copy of what was there.
fn backup(machine: &Machine) -> PathBuf {
    let names = machine.names("backups");
    let copy = names.iter().find(|name| name.starts_with("nbd-server-") && !name.ends_with(".json"));
    machine.backups().join(copy.expect("a backup"))
}

#[test]
fn rights_lists_and_notes_go_from_the_target_to_what_takes_its_place_and_back() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    if !is_root() || give_all(&machine).is_none() {
        return skip_or_fail("deploy", "root, and a file system with attributes");
    }
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions();
    let before = mode(&machine.target());
    let kept = "attributes: security.capability, system.posix_acl_access, user.owner of the target kept";
    machine.run("deploy", &[&ours()]).ends(0, &[kept]);
    has_all(&machine.target());
    has_all(&backup(&machine));
    // Where the copy has lost them, as on a file system without any: the manifest has not.
    let bare = machine.dir.join("bare");
    fs::write(&bare, fs::read(backup(&machine)).expect("read")).expect("written");
    fs::rename(bare, backup(&machine)).expect("renamed");
    machine.run("rollback", &[]).ends(0, &["done: "]);
    has_all(&machine.target());
    assert_eq!(mode(&machine.target()), before);
    machine.serves(false, &["a"]);
    // And where a deploy goes back by itself.
    let asked = "case \" $* \" in *\" --check \"*|*\" -V \"*|*\" --help \"*) ;; *) exit 1 ;; esac";
    let new = machine.wrapped("new", asked).display().to_string();
    machine.run("deploy", &[&new]).ends(2, &["back      back: "]);
    has_all(&machine.target());
}

#[test]
fn a_second_name_of_the_target_is_told_and_keeps_the_program_of_before() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    let second = machine.dir.join("second");
    fs::hard_link(machine.target(), &second).expect("a link");
    let original = fs::read(&second).expect("read");
    machine
        .run("deploy", &[&ours()])
        .ends(0, &["has 2 names: the others go on naming the program that it is now"]);
    assert!(fs::read(&second).expect("read") == original);
    machine.serves(true, &["a"]);
}

/// The bit of `CAP_NET_BIND_SERVICE` in what a process may.
#[track_caller]
fn may_bind(machine: &Machine) -> bool {
    let status = format!("/proc/{}/status", machine.pid().expect("it runs"));
    let status = fs::read_to_string(status).expect("read");
    let may = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("told");
    u64::from_str_radix(may.trim(), 16).expect("digits") == 1 << 10
}

#[test]
fn a_server_that_is_not_root_and_may_bind_a_low_port_may_so_after_a_deploy_and_back() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    if !is_root() || tool("setpriv").is_none() || give_all(&machine).is_none() {
        return skip_or_fail("deploy", "root, setpriv, and a file system with attributes");
    }
    let restart = fs::read_to_string(machine.dir.join("restart")).expect("read");
    let nobody = "exec setpriv --reuid 65534 --regid 65534 --clear-groups ";
    machine.script("restart", &restart.replace("exec ", nobody));
    let given = Command::new("chown").args(["-R", "65534"]).arg(machine.dir.path()).status();
    assert!(given.expect("chown").success());
    assert!(give_all(&machine).is_some(), "another owner takes rights away");
    machine.restart();
    assert!(may_bind(&machine));
    machine.run("deploy", &[&ours()]).ends(0, &[]);
    assert!(may_bind(&machine));
    machine.serves(true, &["a"]);
    machine.run("rollback", &[]).ends(0, &[]);
    assert!(may_bind(&machine));
}
