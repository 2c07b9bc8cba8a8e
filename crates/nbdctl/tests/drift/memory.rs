//! Files, memory and devices without a database.

use crate::database::Database;
use crate::proxy::Proxy;
use crate::scene::{Scene, nbdctl_drift};
use crate::sqlite::Sqlite;
use std::fs;
use std::slice::from_ref;
use testkit::{LoopDevice, skip_or_fail};

#[test]
fn without_a_database_files_and_memory_are_compared_and_a_reload_mends_it() {
    let scene = Scene::new();
    scene.alone(&[]).silent();
    scene.alone(&["-v"]).says(0, &["all agree: 2 exports".into()]);
    scene.write("vol-1", &scene.disk("a"), "");
    let line = format!("vol-1: the files say {}, the server does not have it", scene.disk("a"));
    scene.alone(&[]).says(1, from_ref(&line));
    scene.alone(&["--fix", "--settle", "0"]).says(0, &[format!("mended: {line}")]);
    scene.alone(&[]).silent();
    // What passes is not counted, and not mended.
    scene.alone(&["--prefix", "x"]).silent();
}

#[test]
fn a_broken_main_file_is_said_once_and_nothing_is_done() {
    let scene = Scene::new();
    scene.write("vol-1", &scene.disk("a"), "");
    fs::write(scene.server.config_path(), "[generic\n").expect("a file");
    let run = scene.alone(&["--fix", "--settle", "0"]);
    assert_eq!((run.code, run.out.lines().count()), (1, 1), "{run:?}");
    assert!(run.out.starts_with("the files cannot be followed: "), "{run:?}");
    assert!(run.err.contains("mend the main file first"), "{run:?}");
}

#[test]
fn a_setting_of_the_whole_server_that_differs_is_said() {
    let scene = Scene::new();
    let main = fs::read_to_string(scene.server.config_path()).expect("the main file");
    fs::write(scene.server.config_path(), main.replace("allowlist = true", "allowlist = false"))
        .expect("a file");
    let line = "[generic] allowlist: the files say false, the server has true";
    scene.alone(&[]).says(1, &[line.into()]);
    scene.alone(&["--fix", "--settle", "0"]).says(0, &[format!("mended: {line}")]);
}

/// Requests of one look.
const LOOK: usize = 3;

#[test]
fn only_what_lasts_is_counted() {
    let scene = Scene::new();
    scene.write("vol-1", &scene.disk("a"), "");
    let (control, conf) = (scene.control(), scene.server.conf("vol-2.conf"));
    let text = format!("[vol-2]\nexportname = {}\n", scene.disk("b"));
    let proxy = Proxy::in_front_of(&scene.server.control_path(), move |number| {
        if number == LOOK {
            // Between the two looks one disagreement ends, and another begins.
            assert_eq!(control.ask("POST", "/v1/reload", "").0, 200);
            fs::write(&conf, &text).expect("a file");
        }
        true
    });
    nbdctl_drift(&proxy.socket(), &[], &["--settle", "0.1"]).silent();
    scene
        .alone(&[])
        .says(1, &[format!("vol-2: the files say {}, the server does not have it", scene.disk("b"))]);
}

#[test]
fn a_server_that_goes_away_while_it_is_mended_leaves_a_doubt() {
    let scene = Scene::new();
    scene.write("vol-1", &scene.disk("a"), "");
    // It is looked at twice, asked to reload, and looked at again.
    for (last, code) in [(0, 3), (2, 3), (LOOK, 3), (2 * LOOK, 2), (2 * LOOK + 1, 2)] {
        let proxy = Proxy::in_front_of(&scene.server.control_path(), move |number| number < last);
        let run = nbdctl_drift(&proxy.socket(), &[], &["--fix", "--settle", "0"]);
        assert_eq!(run.code, code, "{last}: {run:?}");
    }
}

#[test]
fn a_server_that_does_not_get_to_it_is_one_that_cannot_be_asked() {
    let busy = Proxy::refusing("504 Gateway Timeout", "a reload is under way");
    let run = nbdctl_drift(&busy.socket(), &[], &["--fix", "--settle", "0"]);
    assert!(run.code == 3 && run.out.is_empty() && run.err.contains("a reload is under way"), "{run:?}");
}

/// Two files are to be written: after the first of them nobody is there, and nothing may be followed.
#[test]
fn a_server_that_goes_away_between_two_files_is_not_asked_to_follow_them() {
    let Some(database) = Sqlite::start() else { return };
    let scene = Scene::new();
    for (name, disk) in [("vol-1", "a"), ("vol-2", "b")] {
        database.add(name, &scene.disk(disk));
    }
    let proxy = Proxy::in_front_of(&scene.server.control_path(), |number| number != LOOK + 1);
    let url = database.url();
    let args = ["--database", &url, "--fix", "--settle", "0"];
    let run = nbdctl_drift(&proxy.socket(), &[], &args);
    assert_eq!((run.code, run.out.as_str()), (2, ""), "{run:?}");
    assert!(run.err.contains("files are written for vol-1, vol-2; then it was broken off: "), "{run:?}");
    assert_eq!((scene.served("vol-1"), scene.served("vol-2")), (None, None));
    // The next run finds one of them written, and does the rest.
    assert_eq!(nbdctl_drift(&scene.server.control_path(), &[], &args).code, 0);
    assert_eq!((scene.served("vol-1"), scene.served("vol-2")), (Some('a'), Some('b')));
}

/// The disk at a path was taken away and another came: an old row that names the path says nothing about that.
#[test]
fn another_disk_at_the_path_is_left_to_a_person_whatever_a_row_says() {
    let scene = Scene::new();
    let Some(device) = LoopDevice::attach(&scene.disks.join("a")) else {
        skip_or_fail("another disk at the path", "loop devices");
        return;
    };
    let Some(database) = Sqlite::start() else { return };
    let path = device.path().display().to_string();
    scene.write("vol-1", &path, "");
    scene.reload();
    database.add("vol-1", &path);
    scene.drift(&database, &[]).silent();
    assert!(device.detach(), "nobody has it open");
    device.reattach(&scene.disks.join("b"));
    let before = scene.state();
    for run in [scene.alone(&["--fix", "--settle", "0"]), scene.fix(&database, &[])] {
        assert_eq!((run.code, run.out.lines().count()), (1, 1), "{run:?}");
        assert!(run.out.starts_with(&format!("vol-1: another disk is at {path}: ")), "{run:?}");
        assert!(run.err.contains("a reload would let vol-1 serve"), "{run:?}");
        assert_eq!((scene.state(), scene.served("vol-1")), (before.clone(), None));
    }
    // Nor is a disk given away by another of its names.
    database.add("vol-2", &scene.disk("b"));
    let run = scene.fix(&database, &[]);
    assert!(run.out.contains("vol-1, vol-2: the database gives "), "{run:?}");
    assert_eq!((run.code, scene.served("vol-2")), (1, None));
    // Whoever knows has said so.
    database.run("DELETE FROM nbd_exports WHERE export_name = 'vol-2'; DELETE FROM device_mappings WHERE volume_uuid = 'volume-of-vol-2'");
    scene.reload();
    assert_eq!(scene.served("vol-1"), Some('b'));
    scene.drift(&database, &[]).silent();
    // It is another export's, and the old one's file goes first.
    device.reattach(&scene.disks.join("c"));
    database.clear();
    database.add("vol-3", &path);
    let run = scene.fix(&database, &[]);
    assert_eq!((run.code, scene.served("vol-1"), scene.served("vol-3")), (0, None, Some('c')), "{run:?}");
}
