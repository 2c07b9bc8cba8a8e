//! P4: a path is a name, not a disk.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, VOLUME_SIZE, Volume, filled, loops, point, server};
use std::fs;
use std::time::Duration;
use testkit::spec::{EPERM, ESHUTDOWN, REP_ERR_POLICY};
use testkit::{CLOSED, LoopDevice};

/// The accident that the original has: detach, attach another disk under the same name, reconnect, write.
#[test]
fn another_disk_under_a_device_path_is_refused_until_the_next_reload() {
    let setup = server();
    let (one, two) = (filled(setup.dir(), "one.img", 1), filled(setup.dir(), "two.img", 2));
    let Some(devices) = loops("another_disk_under_a_device_path", &[&one]) else { return };
    let server = setup.export("disk", devices[0].path(), "").start();
    server.open("disk").disc().expect("left");
    wait_until_free(&server, &devices[0]);
    devices[0].reattach(&two);
    let (kind, why) = server.connect().go("disk").expect_err("refused");
    assert_eq!(kind, REP_ERR_POLICY);
    assert!(why.contains("another disk is at") && why.contains("since the last reload"), "{why}");
    assert!(fs::read(&two).expect("the other disk").iter().all(|&byte| byte == 2), "it was written");

    // The same text, another disk: a change like any other.
    let reloaded = server.reload().expect_complete();
    assert_eq!(reloaded.closing.changed, 1);
    let event = reloaded.about("export changed", "disk").expect("said");
    assert_eq!(event.value("reason"), Some("another disk is at the path"));
    let mut client = server.open("disk");
    assert_eq!(client.read(0, 1), Ok(vec![2]));
}

#[test]
fn with_device_changes_follow_the_path_is_followed() {
    let setup = server();
    let (one, two) = (filled(setup.dir(), "one.img", 1), filled(setup.dir(), "two.img", 2));
    let Some(devices) = loops("with_device_changes_follow", &[&one]) else { return };
    let server = setup.export("disk", devices[0].path(), "device_changes = follow").start();
    server.open("disk").disc().expect("left");
    wait_until_free(&server, &devices[0]);
    devices[0].reattach(&two);
    assert_eq!(server.open("disk").read(0, 1), Ok(vec![2]));
}

/// A link flips to another disk while a client is connected: before its first write, and within a second or two without
/// one, the session ends; the disk it was on keeps what it had, the other gets nothing.
#[test]
fn a_link_that_flips_under_a_session_ends_it() {
    let setup = server();
    let (one, two) = (filled(setup.dir(), "one.img", 1), filled(setup.dir(), "two.img", 2));
    let Some(devices) = loops("a_link_that_flips_under_a_session", &[&one, &two]) else { return };
    let link = setup.dir().join("vdb");
    point(&link, devices[0].path());
    let server = setup.export("disk", &link, "").start();
    let mut reader = server.open("disk");
    assert_eq!(reader.read(0, 1), Ok(vec![1]));
    point(&link, devices[1].path());
    assert!(reader.is_closed(), "nobody writes, and it is noticed all the same");
    point(&link, devices[0].path());
    let mut writer = server.open("disk");
    point(&link, devices[1].path());
    let refused = writer.write(0, &[9; BLOCK]).expect_err("before the first write of a connection");
    assert!(refused == ESHUTDOWN || refused == CLOSED, "error {refused}");
    assert!(server.connect().go("disk").is_err(), "and nobody new");
    for (file, fill) in [(&one, 1), (&two, 2)] {
        assert!(fs::read(file).expect("an image").iter().all(|&byte| byte == fill));
    }
    // The same disk comes back: served again without a reload.
    point(&link, devices[0].path());
    server.open("disk").write(0, &[3; BLOCK]).expect("served again");
    point(&link, devices[1].path());
    assert_eq!(server.reload().expect_complete().closing.changed, 1);
    assert_eq!(server.open("disk").read(0, 1), Ok(vec![2]));
}

/// `identity` says which disk it must be, at any time.
#[test]
fn an_identity_is_demanded_at_any_time() {
    let setup = server();
    let (one, two) = (filled(setup.dir(), "one.img", 1), filled(setup.dir(), "two.img", 2));
    let Some(devices) = loops("an_identity_is_demanded", &[&one]) else { return };
    let diskseq = devices[0].diskseq().expect("a kernel that counts disks");
    let more = format!("identity = diskseq:{diskseq}\ndevice_changes = follow");
    let server = setup.export("disk", devices[0].path(), &more).start();
    server.open("disk").disc().expect("left");
    wait_until_free(&server, &devices[0]);
    devices[0].reattach(&two);
    for _ in 0..2 {
        let (_, why) = server.connect().go("disk").expect_err("refused");
        assert!(why.contains("is not the disk that is meant"), "{why}");
        // Not even a reload makes it the right one.
        let reloaded = server.reload();
        assert!(reloaded.about("export unavailable", "disk").is_some());
    }
}

/// A session on the disk that was meant does not follow its path to one that was not, and a reload ends it.
#[test]
fn a_reload_ends_sessions_whose_path_leads_to_an_unwanted_disk() {
    let setup = server();
    let (one, two) = (filled(setup.dir(), "one.img", 1), filled(setup.dir(), "two.img", 2));
    let Some(devices) = loops("a_reload_ends_sessions_whose_path", &[&one, &two]) else { return };
    let link = setup.dir().join("vdb");
    point(&link, devices[0].path());
    let diskseq = devices[0].diskseq().expect("a kernel that counts disks");
    let more = format!("identity = diskseq:{diskseq}\ndevice_changes = follow");
    let server = setup.export("disk", &link, &more).start();
    let mut client = server.open("disk");
    client.write(0, &[3; BLOCK]).expect("on the disk that is wanted");
    point(&link, devices[1].path());
    let reloaded = server.reload();
    assert_eq!(reloaded.closing.fenced, 1, "{:?}", reloaded.closing);
    assert!(reloaded.about("export unavailable", "disk").is_some());
    assert!(client.is_closed() && server.connect().go("disk").is_err());
    assert!(!server.open_paths().iter().any(|path| path == devices[0].path()), "its old disk is free");
    assert!(fs::read(&two).expect("the other disk").iter().all(|&byte| byte == 2));
    point(&link, devices[0].path());
    server.reload().expect_complete();
    server.open("disk").write(0, &[4; BLOCK]).expect("served again");
}

/// `on_change = keep`: a session that stays on its old disk stays there wherever its path leads.
#[test]
fn a_kept_session_is_not_asked_where_its_path_leads() {
    let setup = server();
    let (one, two) = (filled(setup.dir(), "one.img", 1), filled(setup.dir(), "two.img", 2));
    let Some(devices) = loops("a_kept_session", &[&one, &two]) else { return };
    let link = setup.dir().join("vdb");
    point(&link, devices[0].path());
    let server = setup.start();
    server.write_export("disk", &link, "on_change = keep");
    server.reload().expect_complete();
    let mut kept = server.open("disk");
    server.remove_conf("disk.conf");
    server.reload().expect_complete();
    point(&link, devices[1].path());
    // Longer than the watch takes to look.
    kept.set_timeout(Some(Duration::from_millis(2500))).expect("set");
    assert!(!kept.is_closed());
    kept.write(0, &[9; BLOCK]).expect("its first write");
    kept.flush().expect("flushed");
    assert_eq!(fs::read(&one).expect("its disk")[0], 9);
    assert_eq!(fs::read(&two).expect("the other")[0], 2);
}

/// Regular files follow: one replaced by rename is the new file for new connections, and at the next reload for all. Who
/// is on the new file already is not disturbed by that.
#[test]
fn a_file_replaced_by_rename_is_the_new_file_for_new_connections() {
    let setup = server();
    let (disk, fresh) = (filled(setup.dir(), "disk.img", 1), filled(setup.dir(), "fresh.img", 2));
    let server = setup.export("disk", &disk, "").start();
    let mut old = server.open("disk");
    fs::rename(&fresh, &disk).expect("replaced");
    let mut early = server.open("disk");
    assert_eq!(early.read(0, 1), Ok(vec![2]));
    assert_eq!(old.read(0, 1), Ok(vec![1]), "an open session stays with its file");
    let reloaded = server.reload().expect_complete();
    assert_eq!((reloaded.closing.changed, reloaded.closing.fenced), (1, 1), "the one on the old file");
    assert!(old.is_closed());
    assert_eq!(early.write(0, &[3; BLOCK]), Ok(()), "undisturbed");
    assert_eq!(server.open("disk").read(0, 1), Ok(vec![3]));
}

/// P6: what is written to a file without a name is gone with its last user, flushed or not. Another one that was renamed over
/// its path is something else.
#[test]
fn a_file_that_is_deleted_or_cut_off_under_a_session_ends_it() {
    let setup = server();
    let [deleted, cut, replaced, fresh] =
        ["deleted", "cut", "replaced", "fresh"].map(|name| filled(setup.dir(), name, 1));
    let exports = [("deleted", &deleted), ("cut", &cut), ("replaced", &replaced)];
    let server = exports.into_iter().fold(setup, |setup, (name, path)| setup.export(name, path, "")).start();
    let mut sessions = exports.map(|(name, _)| server.open(name));
    for session in &mut sessions {
        session.write(0, &[2; BLOCK]).expect("written");
    }
    let [of_deleted, of_cut, of_replaced] = &mut sessions;
    fs::rename(&fresh, &replaced).expect("replaced");
    fs::remove_file(&deleted).expect("deleted");
    fs::OpenOptions::new().write(true).open(&cut).and_then(|file| file.set_len(1 << 19)).expect("cut");
    // Longer again, and with zeros where there was something; unless it is noticed already.
    let _ = of_cut.write(0xc_0000, &[2; BLOCK]);
    assert!(of_deleted.is_closed() && of_cut.is_closed());
    for (name, reason) in [("deleted", "was deleted while it was in use"), ("cut", "the file became smaller")]
    {
        let told = |line: &str| line.contains(&format!(" export={name} ")) && line.contains(reason);
        assert!(server.wait_for(told, Duration::from_secs(10)).is_some(), "{name}");
    }
    of_replaced.write(0, &[3; BLOCK]).expect("undisturbed");
    of_replaced.flush().expect("undisturbed");
    assert!(server.connect().go("deleted").is_err());
}

/// The same of a disk of several files, whichever of them it is.
#[test]
fn a_piece_that_is_deleted_under_a_session_ends_it() {
    let setup = server();
    for name in ["deleted.0", "deleted.1", "replaced.0", "replaced.1", "fresh"] {
        filled(setup.dir(), name, 1);
    }
    let [deleted, replaced, fresh] = ["deleted", "replaced", "fresh"].map(|name| setup.dir().join(name));
    let setup = setup.export("deleted", &deleted, "multifile = true");
    let server = setup.export("replaced", &replaced, "multifile = true").start();
    let mut sessions = ["deleted", "replaced"].map(|name| server.open(name));
    for session in &mut sessions {
        session.write(1 << 20, &[2; BLOCK]).expect("written");
    }
    fs::rename(&fresh, server.dir().join("replaced.1")).expect("replaced");
    fs::remove_file(server.dir().join("deleted.1")).expect("deleted");
    assert!(sessions[0].is_closed());
    let told =
        |line: &str| line.contains(" export=deleted ") && line.contains("was deleted while it was in use");
    assert!(server.wait_for(told, Duration::from_secs(10)).is_some());
    sessions[1].write(1 << 20, &[3; BLOCK]).expect("undisturbed");
}

/// P1: and no reload is acknowledged while somebody writes to nowhere.
#[test]
fn a_reload_ends_who_writes_to_a_deleted_file() {
    for settings in ["", "filesize = 1048576"] {
        let setup = server();
        let disk = filled(setup.dir(), "disk.img", 1);
        let server = setup.export("disk", &disk, settings).start();
        let mut session = server.open("disk");
        session.write(0, &[2; BLOCK]).expect("written");
        fs::remove_file(&disk).expect("deleted");
        server.reload();
        session.write(0, &[3; BLOCK]).expect_err("it is acknowledged");
        fs::write(&disk, vec![4; 1 << 20]).expect("another one");
        assert_eq!(server.open("disk").read(0, 1), Ok(vec![4]));
    }
}

/// The same reload makes it read-only: who was on the new file already loses the right to write, and nothing else.
#[test]
fn who_comes_along_to_the_new_file_gets_its_settings() {
    let setup = server();
    let (disk, fresh) = (filled(setup.dir(), "disk.img", 1), filled(setup.dir(), "fresh.img", 2));
    let server = setup.start();
    server.write_export("disk", &disk, "");
    server.reload().expect_complete();
    fs::rename(&fresh, &disk).expect("replaced");
    let mut early = server.open("disk");
    early.write(0, &[3; BLOCK]).expect("writable");
    server.write_export("disk", &disk, "readonly = true");
    assert_eq!(server.reload().expect_complete().closing.fenced, 0);
    assert_eq!(early.write(0, &[4; BLOCK]), Err(EPERM));
    assert_eq!(early.read(0, 1), Ok(vec![3]));
}

/// A device that was missing and appears is served without a reload; missing, it is configured but unavailable.
#[test]
fn a_disk_that_appears_is_served() {
    let setup = server();
    let one = filled(setup.dir(), "one.img", 1);
    let link = setup.dir().join("vdb");
    let server = setup.export("disk", &link, "").start();
    assert_eq!(server.connect().list(), Ok(vec!["disk".to_owned()]));
    assert_eq!(server.connect().go("disk").expect_err("refused").0, REP_ERR_POLICY);
    let reloaded = server.reload().expect_complete();
    assert!(reloaded.about("export unavailable", "disk").is_some());
    point(&link, &one);
    assert_eq!(server.open("disk").read(0, 1), Ok(vec![1]));
}

/// A session that connected before a reload and negotiates after it gets the new table.
#[test]
fn who_negotiates_after_a_reload_gets_the_new_table() {
    let setup = server();
    let (one, two) = (filled(setup.dir(), "one.img", 1), filled(setup.dir(), "two.img", 2));
    let server = setup.start();
    server.write_export("disk", &one, "");
    server.reload().expect_complete();
    let mut early = server.connect();
    assert_eq!(early.info("disk").expect("there").size, 1 << 20);
    server.write_export("disk", &two, "");
    server.write_export("new", &one, "readonly = true");
    server.reload().expect_complete();
    assert_eq!(early.list(), Ok(vec!["disk".to_owned(), "new".to_owned()]));
    early.go("disk").expect("there");
    assert_eq!(early.read(0, 1), Ok(vec![2]));
}

/// The disk grows: the same disk, another size. Sessions keep the old one, new ones see the new one.
#[test]
fn a_disk_that_grows_is_the_same_disk() {
    let setup = server();
    let volume = Volume::new("a_disk_that_grows", setup.dir(), 1);
    let server = setup.export("disk", &volume.path(), "").start();
    let mut old = server.open("disk");
    fs::OpenOptions::new()
        .write(true)
        .open(&volume.file)
        .and_then(|file| file.set_len(2 * VOLUME_SIZE))
        .expect("grown");
    if let Some(device) = &volume.device {
        device.resized().expect("the device follows");
    }
    let reloaded = server.reload().expect_complete();
    let event = reloaded.about("export changed", "disk").expect("said");
    assert_eq!(event.value("new"), Some((2 * VOLUME_SIZE).to_string().as_str()));
    assert_eq!(reloaded.closing.fenced, 0);
    assert_eq!(server.connect().go("disk").expect("there").size, 2 * VOLUME_SIZE);
    old.write(0, &[1; BLOCK]).expect("undisturbed");
    assert!(old.read(VOLUME_SIZE, 1).is_err());
}

fn wait_until_free(server: &testkit::ServerProcess, device: &LoopDevice) {
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while server.open_paths().iter().any(|path| path == device.path()) {
        assert!(std::time::Instant::now() < until, "the server keeps the disk open");
        std::thread::sleep(Duration::from_millis(5));
    }
}
