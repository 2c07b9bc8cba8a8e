//! The file of a session: what it is called, who may read it, and that it never stays behind.
#![allow(missing_docs)]

use rustix::fs::{FlockOperation, flock};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use store::{Cause, Durability, FileStore, OverlayStore, Store, StoreError};
use testkit::{MemoryStore, TempDir};

fn scratch(dir: &Path, base: &str, client: &str) -> Result<FileStore, StoreError> {
    store::scratch(dir, base, client, 10_001, Arc::default())
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The number of a process that has ended.
fn dead() -> u32 {
    let mut child = Command::new("true").spawn().expect("it starts");
    child.wait().expect("it ends");
    child.id()
}

/// As a server leaves it that was killed.
fn leave(dir: &TempDir, name: &str) {
    fs::write(dir.join(name), [1; 100]).expect("a file");
    fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600)).expect("its rights");
}

/// C-183, C-184: the original's name, for nobody else's eyes, as long as the session.
#[test]
fn the_file_of_a_session_has_its_name_and_goes_with_it() {
    let (dir, pid) = (TempDir::new("scratch"), std::process::id());
    let file = scratch(dir.path(), "disk.img", "10.1.2.3").expect("made");
    let name = format!("disk.img-10.1.2.3-{pid}.diff");
    assert_eq!(names(dir.path()), [name.as_str()]);
    let made = fs::metadata(dir.join(&name)).expect("there");
    assert_eq!((made.len(), made.permissions().mode() & 0o7777), (10_001, 0o600));
    let file: Arc<dyn Store> = Arc::new(file);
    let overlay =
        OverlayStore::private(Arc::new(MemoryStore::new(10_001)), file.clone()).expect("large enough");
    overlay.write_at(&[1; 10_001], 0, Durability::Durable).expect("written");
    drop(file);
    assert_eq!(names(dir.path()).len(), 1, "still in use");
    drop(overlay);
    assert_eq!(names(dir.path()).len(), 0);
}

/// C-142, C-188: whatever ends a session, a panic of ours too, ends its file.
#[test]
fn the_file_of_a_session_goes_when_that_ends_badly() {
    let dir = TempDir::new("scratch");
    let file = scratch(dir.path(), "disk", "unix").expect("made");
    let ended = std::thread::spawn(move || {
        file.flush().expect("flushed");
        std::panic::resume_unwind(Box::new("as a bug would"));
    });
    ended.join().expect_err("it panicked");
    assert_eq!(names(dir.path()).len(), 0);
}

#[test]
fn sessions_of_one_client_have_names_of_their_own() {
    let (dir, pid) = (TempDir::new("scratch"), std::process::id());
    let mut files: Vec<FileStore> =
        (0..3).map(|_| scratch(dir.path(), "disk", "::1").expect("made")).collect();
    let all = ["-2.diff", "-3.diff", ".diff"].map(|end| format!("disk-::1-{pid}{end}"));
    assert_eq!(names(dir.path()), all);
    files.remove(0);
    assert_eq!(names(dir.path()), all[..2]);
    files.push(scratch(dir.path(), "disk", "::1").expect("the first name is free again"));
    assert_eq!(names(dir.path()), all);
}

/// Many at once: nobody takes another's new file for one that was left behind.
#[test]
fn sessions_that_begin_together_do_not_take_each_others_files() {
    let dir = TempDir::new("scratch");
    std::thread::scope(|scope| {
        for byte in 0..8 {
            let dir = dir.path();
            scope.spawn(move || {
                for _ in 0..100 {
                    let file = scratch(dir, "disk", "unix").expect("made");
                    file.write_at(&[byte; 100], 0, Durability::Cached).expect("written");
                    let mine = names(dir).into_iter().any(|name| {
                        fs::read(dir.join(name)).is_ok_and(|found| found.starts_with(&[byte; 100]))
                    });
                    assert!(mine, "it has a name");
                }
            });
        }
    });
    assert_eq!(names(dir.path()).len(), 0);
}

/// A name of somebody's choosing must not lead out of the directory.
#[test]
fn a_slash_leads_nowhere() {
    let (dir, pid) = (TempDir::new("scratch"), std::process::id());
    let inner = dir.join("inner");
    fs::create_dir(&inner).expect("a directory");
    let _file = scratch(&inner, "a/b", "../../10/1").expect("made");
    assert_eq!(names(&inner), [format!("a_b-.._.._10_1-{pid}.diff")]);
    assert_eq!(names(dir.path()), ["inner"]);
}

/// C-185, in the original's words.
#[test]
fn a_directory_that_cannot_be_written_is_said_in_the_originals_words() {
    let dir = TempDir::new("scratch");
    let missing = scratch(&dir.join("missing"), "disk", "unix").map(|_| ()).expect_err("refused");
    let wanted = "Could not create diff file (No such file or directory)";
    assert_eq!(missing.cause, Cause::Other(wanted.into()));
    let long = scratch(dir.path(), &"x".repeat(300), "unix").map(|_| ()).expect_err("refused");
    assert_eq!(long.cause, Cause::Other("Could not create diff file (File name too long)".into()));
    let large = store::scratch(dir.path(), "disk", "unix", u64::MAX, Arc::default());
    let large = large.map(|_| ()).expect_err("refused").cause.to_string();
    assert!(large.starts_with("Could not create diff file ("), "{large}");
    assert_eq!(names(dir.path()).len(), 0, "and nothing stays of it");
}

/// A server that is killed cannot tidy up; the next one does.
#[test]
fn what_a_killed_server_left_is_removed_by_the_next() {
    let (dir, dead, pid) = (TempDir::new("scratch"), dead(), std::process::id());
    for end in [".diff", "-2.diff", "-17.diff"] {
        leave(&dir, &format!("disk-10.1.2.3-{dead}{end}"));
    }
    leave(&dir, &format!("disk-unix-{dead}.diff"));
    // A server in a container has the number that the one before it had.
    leave(&dir, &format!("disk-fe80::1-{pid}.diff"));
    let file = scratch(dir.path(), "disk", "fe80::1").expect("made");
    assert_eq!(names(dir.path()), [format!("disk-fe80::1-{pid}.diff")]);
    assert_eq!(file.geometry().size, fs::metadata(dir.join(&names(dir.path())[0])).expect("there").len());
}

/// Everything that is not surely ours and surely over stays.
#[test]
fn nothing_else_is_removed() {
    let (dir, dead, alive) = (TempDir::new("scratch"), dead(), std::os::unix::process::parent_id());
    let locked = format!("disk-10.1.2.3-{dead}.diff");
    let linked = format!("disk-10.1.2.4-{dead}.diff");
    let open_to_others = format!("disk-10.1.2.5-{dead}.diff");
    let symbolic = format!("disk-10.1.2.6-{dead}.diff");
    let directory = format!("disk-10.1.2.7-{dead}.diff");
    let others = [
        locked.clone(),
        linked.clone(),
        open_to_others.clone(),
        format!("disk-10.1.2.3-{alive}.diff"),
        format!("disk-backup-{dead}.diff"),
        format!("disk-10.1.2.3-{dead}.diff.old"),
        format!("disk2-10.1.2.3-{dead}.diff"),
        format!("my-disk-10.1.2.3-{dead}.diff"),
        format!("disk-{dead}.diff"),
        "disk".into(),
    ];
    for name in &others {
        leave(&dir, name);
    }
    let held = fs::File::open(dir.join(&locked)).expect("it opens");
    flock(&held, FlockOperation::LockShared).expect("locked");
    fs::hard_link(dir.join(&linked), dir.join("another name")).expect("linked");
    fs::set_permissions(dir.join(&open_to_others), fs::Permissions::from_mode(0o644)).expect("its rights");
    std::os::unix::fs::symlink(dir.join("disk"), dir.join(&symbolic)).expect("a link");
    fs::create_dir(dir.join(&directory)).expect("a directory");
    let before = names(dir.path());
    drop(scratch(dir.path(), "disk", "unix").expect("made"));
    assert_eq!(names(dir.path()), before);
    drop(held);
    drop(scratch(dir.path(), "disk", "unix").expect("made"));
    assert!(!dir.join(&locked).exists(), "nobody holds it any more");
    assert_eq!(names(dir.path()).len(), before.len() - 1);
}

/// The name may belong to another by the time that the session ends.
#[test]
fn a_file_that_took_the_name_meanwhile_stays() {
    let dir = TempDir::new("scratch");
    let file = scratch(dir.path(), "disk", "unix").expect("made");
    let path = dir.join(&names(dir.path())[0]);
    fs::remove_file(&path).expect("removed");
    fs::write(&path, b"another's").expect("a file");
    drop(file);
    assert_eq!(fs::read(&path).expect("there"), b"another's");
}
