//! `nbdctl` is killed at every one of its steps on the way there and back, and what the next commands make of that.
//!
//! Each step is on stable storage before it is done: a file is renamed or removed. strace ends `nbdctl` at one of these calls,
//! without carrying it out. For each the table says what was noted, whether ours was in place, and how the `rollback` ends
//! that comes next. Whatever it was, the original serves then, and a further `rollback` does nothing.

use super::machine::{Machine, Ran};
use super::{no_original, ours};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use testkit::{skip_or_fail, tool};

/// A call of `nbdctl`, the first one being 1.
#[derive(Clone, Copy, Debug)]
enum Call {
    Rename(u32),
    Remove(u32),
}
use Call::{Remove, Rename};

/// Which call is not carried out any more; the step that was noted; ours is in place; how the next `rollback` ends, and what
/// it says.
type Row = (Call, &'static str, bool, i32, &'static str);

/// The note is removed. The first that is removed is what an earlier run may have left beside the target.
const LAST: Call = Remove(2);

const NO_BACKUP: &str = "no deploy has left a backup to go back to";
const FORGOTTEN: &str = "had not replaced anything: there is nothing to go back from";
const ANEW: &str = "had not replaced anything: it is begun anew";
const PUT_BACK: &str = "restart   run: ";
const SERVES_ON: &str = "the server was not restarted: it serves on";
const IN_PLACE: &str = "done: it was in place, and serves";
const UNDONE: &str = "the newest deploy is undone already";

const OF_A_DEPLOY: [Row; 7] = [
    (Rename(1), "", false, 1, NO_BACKUP),
    (Rename(2), "backup", false, 0, FORGOTTEN),
    (Rename(3), "replace", false, 0, IN_PLACE),
    (Rename(4), "replace", true, 0, SERVES_ON),
    // The number of what restarts is noted before it does anything.
    (Rename(5), "restart", true, 0, SERVES_ON),
    (Rename(6), "restart", true, 0, PUT_BACK),
    (LAST, "verify", true, 0, PUT_BACK),
];

const OF_A_ROLLBACK: [Row; 7] = [
    (Rename(1), "", true, 0, PUT_BACK),
    (Rename(2), "backup", true, 0, ANEW),
    (Rename(3), "replace", true, 0, PUT_BACK),
    (Rename(4), "replace", false, 0, PUT_BACK),
    (Rename(5), "restart", false, 0, PUT_BACK),
    (Rename(6), "restart", false, 0, SERVES_ON),
    (LAST, "verify", false, 0, SERVES_ON),
];

/// It begins where a deploy was killed at its last call.
const OF_A_ROLLBACK_THAT_FINISHES: [Row; 6] = [
    (Rename(1), "verify", true, 0, PUT_BACK),
    (Rename(2), "replace", true, 0, PUT_BACK),
    (Rename(3), "replace", false, 0, PUT_BACK),
    (Rename(4), "restart", false, 0, PUT_BACK),
    (Rename(5), "restart", false, 0, IN_PLACE),
    (LAST, "verify", false, 0, IN_PLACE),
];

/// Of a deploy that fails, from there on: it does not start, and the original is put back.
const OF_A_WAY_BACK: [Row; 6] = [
    (Rename(6), "restart", true, 0, PUT_BACK),
    (Rename(7), "back", true, 0, PUT_BACK),
    (Rename(8), "back", false, 0, PUT_BACK),
    (Remove(3), "back", false, 0, IN_PLACE),
    (Remove(4), "", false, 0, UNDONE),
    (Remove(5), "", false, 1, NO_BACKUP),
];

/// Ends it at this call. None where processes cannot be traced; else whether it was ended there.
fn killed_at(machine: &Machine, verb: &str, words: &[&str], call: Call) -> Option<bool> {
    let (calls, call) = match call {
        Rename(call) => ("rename,renameat,renameat2", call),
        Remove(call) => ("unlink,unlinkat", call),
    };
    let nbdctl = machine.command(verb, words);
    let mut command = Command::new(tool("strace")?);
    command.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={calls}:signal=KILL:when={call}")]);
    let output = command.arg(nbdctl.get_program()).args(nbdctl.get_args()).output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let ended = output.status.signal() == Some(9);
    (ended || !said.contains("ptrace")).then_some(ended)
}

/// The step that is noted.
fn noted(machine: &Machine) -> String {
    let text = fs::read_to_string(machine.backups().join("state.json")).unwrap_or_default();
    let step = text.lines().find_map(|line| line.trim().strip_prefix("\"step\": \""));
    step.unwrap_or_default().trim_end_matches("\",").into()
}

/// Walks the rows of a table; `begin` brings about what is there before.
#[track_caller]
fn walk(table: &[Row], verb: &str, new: impl Fn(&Machine) -> Option<String>, begin: impl Fn(&Machine)) {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let new = new(&machine);
    let words: &[&str] = &new.as_deref().into_iter().collect::<Vec<_>>();
    let original = fs::read(machine.target()).expect("read");
    for row @ &(call, step, is_ours, code, said) in table {
        let _ = fs::remove_dir_all(machine.backups());
        begin(&machine);
        let Some(killed) = killed_at(&machine, verb, words, call) else {
            return skip_or_fail("deploy", "strace, and leave to use it");
        };
        assert!(killed, "{verb} has no {call:?}");
        assert_eq!(
            (noted(&machine).as_str(), fs::read(machine.target()).expect("read") != original),
            (step, is_ours),
            "{row:?}"
        );
        if !step.is_empty() {
            machine.run("deploy", &[&ours()]).ends(1, &[&format!("was broken off in the step {step}")]);
        }
        machine.run("rollback", &[]).ends(code, &[said]);
        is_the_original(&machine, &original);
        let pid = machine.pid();
        let again: Ran = machine.run("rollback", &[]);
        let expected = if said == NO_BACKUP || said == FORGOTTEN { (1, NO_BACKUP) } else { (0, UNDONE) };
        again.ends(expected.0, &[expected.1]);
        is_the_original(&machine, &original);
        assert_eq!(machine.pid(), pid, "{row:?}: nobody was restarted");
    }
    let _ = fs::remove_dir_all(machine.backups());
    begin(&machine);
    // The table has a row for each of them.
    let renames = table.iter().map(|row| if let Rename(call) = row.0 { call } else { 0 }).max();
    let one_more = Rename(renames.expect("rows") + 1);
    assert_eq!(killed_at(&machine, verb, words, one_more), Some(false), "{verb} renames once more");
}

#[track_caller]
fn is_the_original(machine: &Machine, original: &[u8]) {
    assert!(fs::read(machine.target()).expect("read") == original, "the original is in place");
    assert!(!machine.backups().join("state.json").exists(), "nothing is half done");
    machine.serves(false, &["a"]);
}

#[test]
fn a_deploy_that_is_killed_at_any_step_is_undone_by_a_rollback() {
    walk(&OF_A_DEPLOY, "deploy", |_| Some(ours()), |_| {});
}

#[test]
fn a_deploy_that_is_killed_on_its_way_back_is_undone_too() {
    let asked = "case \" $* \" in *\" --check \"*|*\" -V \"*|*\" --help \"*) ;; *) exit 1 ;; esac";
    let broken = |machine: &Machine| Some(machine.wrapped("new", asked).display().to_string());
    walk(&OF_A_WAY_BACK, "deploy", broken, |_| {});
}

#[test]
fn a_rollback_that_is_killed_at_any_step_is_finished_by_the_next_and_not_undone() {
    walk(
        &OF_A_ROLLBACK,
        "rollback",
        |_| None,
        |machine| {
            machine.run("deploy", &[&ours()]).ends(0, &[]);
        },
    );
}

#[test]
fn a_rollback_that_finishes_and_is_killed_itself_is_finished_by_the_next() {
    walk(
        &OF_A_ROLLBACK_THAT_FINISHES,
        "rollback",
        |_| None,
        |machine| {
            assert_eq!(killed_at(machine, "deploy", &[&ours()], LAST), Some(true));
        },
    );
}

/// The original does not start, for as long as there is a file.
fn spoil(machine: &Machine) -> PathBuf {
    let (restart, dir) = (machine.dir.join("restart"), machine.dir.path().display());
    let text = fs::read_to_string(&restart).expect("read");
    let fails = format!(
        "#!/bin/sh\nif [ -e {dir}/spoiled ] && ! {dir}/bin/nbd-server --help | grep -q enhanced; then exit 1; fi\n"
    );
    machine.script("restart", &text.replacen("#!/bin/sh\n", &fails, 1));
    let spoiled = machine.dir.join("spoiled");
    fs::write(&spoiled, "").expect("written");
    spoiled
}

#[test]
fn a_rollback_that_fails_after_one_that_was_killed_brings_back_what_served_before() {
    let Some(machine) = Machine::new(&["a", "b"]) else { return no_original() };
    let original = fs::read(machine.target()).expect("read");
    machine.run("deploy", &[&ours()]).ends(0, &[]);
    let spoiled = spoil(&machine);
    let Some(killed) = killed_at(&machine, "rollback", &[], Rename(4)) else {
        return skip_or_fail("deploy", "strace, and leave to use it");
    };
    assert!(killed && fs::read(machine.target()).expect("read") == original);
    machine.run("rollback", &[]).ends(2, &["FAILED: ", "back      back: "]);
    machine.serves(true, &["a", "b"]);
    assert!(!machine.backups().join("state.json").exists(), "nothing is half done");
    // On its way back.
    assert_eq!(killed_at(&machine, "rollback", &[], Rename(7)), Some(true));
    assert_eq!(noted(&machine), "back");
    fs::remove_file(spoiled).expect("removed");
    machine.run("rollback", &[]).ends(0, &["was broken off in the step back", "done: "]);
    is_the_original(&machine, &original);
}

#[test]
fn what_was_broken_off_is_finished_before_another_backup_comes_back() {
    let Some(machine) = Machine::new(&["a"]) else { return no_original() };
    let original = fs::read(machine.target()).expect("read");
    machine.run("deploy", &[&ours()]).ends(0, &[]);
    let oldest = machine.backups().join(machine.names("backups").remove(1)).display().to_string();
    machine.run("deploy", &[&machine.later_build().display().to_string()]).ends(0, &[]);
    let Some(_) = killed_at(&machine, "rollback", &[], Rename(4)) else {
        return skip_or_fail("deploy", "strace, and leave to use it");
    };
    let (names, pid) = (machine.names("backups"), machine.pid());
    let said = format!("`nbdctl rollback` without --to finishes that; {oldest} may come back afterwards");
    machine.run("rollback", &["--to", &oldest]).ends(1, &[&said]);
    assert_eq!((machine.names("backups"), machine.pid()), (names, pid));
    machine.run("rollback", &[]).ends(0, &["done: "]);
    machine.serves(true, &["a"]);
    machine.run("rollback", &[]).ends(0, &[UNDONE]);
    machine.run("rollback", &["--to", &oldest]).ends(0, &["done: "]);
    is_the_original(&machine, &original);
    // Neither what the newest deploy put there nor what it replaced.
    let said = "is in place, which is not what the newest deploy put there";
    machine.run("rollback", &[]).ends(1, &[said, ": --to says what comes back, as --to "]);
    is_the_original(&machine, &original);
}
