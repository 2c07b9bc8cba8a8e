//! Each pair that may disagree, alone: found, named once, and mended where it can be.

use crate::database::{Database, mapping};
use crate::scene::Scene;
use std::fs;
use std::os::unix::fs::symlink;
use std::slice::from_ref;

/// The same by the other name of the column.
pub fn renamed(database: &dyn Database) {
    for case in
        [an_export_that_the_files_do_not_have_is_put, a_database_that_disagrees_with_itself_is_left_alone]
    {
        database.clear();
        case(&Scene::new(), database);
    }
}

pub fn all(database: &dyn Database) {
    let cases: [fn(&Scene, &dyn Database); 16] = [
        agreement_is_silent,
        an_export_that_the_files_do_not_have_is_put,
        an_export_that_the_database_does_not_have_is_removed,
        another_path_is_followed_and_other_keys_stay,
        files_that_are_not_followed_are_followed,
        a_disk_that_has_grown_is_seen,
        a_disk_that_is_gone_is_named_and_cannot_be_mended,
        a_database_that_disagrees_with_itself_is_left_alone,
        a_disk_that_is_given_twice_is_left_alone,
        a_disk_that_is_mapped_to_another_volume_is_left_alone,
        what_has_failed_and_is_in_use_goes_on,
        half_a_file_is_not_overwritten,
        a_path_that_leads_nowhere_is_not_written,
        an_empty_database_removes_nothing_by_itself,
        a_prefix_narrows_both_sides,
        what_has_failed_or_is_attached_elsewhere_is_not_wanted,
    ];
    for case in cases {
        database.clear();
        case(&Scene::new(), database);
    }
}

fn agreement_is_silent(scene: &Scene, database: &dyn Database) {
    scene.drift(database, &[]).silent();
    scene.serve("vol-1", "a");
    database.add("vol-1", &scene.disk("a"));
    // The same disk by another name.
    symlink(scene.disks.join("b"), scene.disks.join("by-id")).expect("a link");
    scene.serve("vol-2", "by-id");
    database.add_mapped("vol-2", &scene.disk("b"), &scene.disk("by-id"), "oma");
    scene.drift(database, &[]).silent();
    scene.fix(database, &[]).silent();
    scene.drift(database, &["-v"]).says(0, &["all agree: 4 exports, 2 of them in the database".into()]);
    let json = scene.drift(database, &["--json"]);
    assert!(json.code == 0 && json.out.starts_with("{\"agree\":true,\"disagreements\":[]"), "{json:?}");
}

fn an_export_that_the_files_do_not_have_is_put(scene: &Scene, database: &dyn Database) {
    database.add("vol-1", &scene.disk("a"));
    let line = format!("vol-1: the database says {}, the files do not have it", scene.disk("a"));
    let before = scene.state();
    scene.drift(database, &[]).says(1, from_ref(&line));
    assert_eq!(scene.state(), before, "asking changes nothing");
    scene.fix(database, &[]).says(0, &[format!("mended: {line}")]);
    scene.drift(database, &[]).silent();
    assert_eq!(scene.served("vol-1"), Some('a'));
    let text = fs::read_to_string(scene.server.conf("vol-1.conf")).expect("its file");
    for key in ["readonly = false", "multifile = false", "copyonwrite = false"] {
        assert!(text.contains(key), "{text}");
    }
}

fn an_export_that_the_database_does_not_have_is_removed(scene: &Scene, database: &dyn Database) {
    scene.serve("vol-1", "a");
    scene.serve("vol-2", "b");
    database.add("vol-1", &scene.disk("a"));
    let line = format!("vol-2: the files say {}, the database does not have it", scene.disk("b"));
    scene.drift(database, &[]).says(1, from_ref(&line));
    scene.fix(database, &[]).says(0, &[format!("mended: {line}")]);
    scene.drift(database, &[]).silent();
    assert_eq!((scene.served("vol-1"), scene.served("vol-2")), (Some('a'), None));
    assert_eq!(scene.served("main"), Some('m'), "the main file is not the database's business");
}

fn another_path_is_followed_and_other_keys_stay(scene: &Scene, database: &dyn Database) {
    scene.write("vol-1", &scene.disk("a"), "maxconnections = 3\nflush = false\n");
    scene.reload();
    database.add("vol-1", &scene.disk("b"));
    let line = format!("vol-1: the database says {}, the files say {}", scene.disk("b"), scene.disk("a"));
    scene.drift(database, &[]).says(1, from_ref(&line));
    scene.fix(database, &[]).says(0, &[format!("mended: {line}")]);
    scene.drift(database, &[]).silent();
    assert_eq!(scene.served("vol-1"), Some('b'));
    let text = fs::read_to_string(scene.server.conf("vol-1.conf")).expect("its file");
    assert!(text.contains("maxconnections = 3") && text.contains("flush = false"), "{text}");
    // Keys that nothing runs with yet are kept as well.
    scene.write("vol-1", &scene.disk("b"), "maxconnections = 7\n");
    scene.write("vol-2", &scene.disk("c"), "readonly = true\n");
    database.clear();
    database.add("vol-1", &scene.disk("a"));
    database.add("vol-2", &scene.disk("d"));
    assert_eq!(scene.fix(database, &[]).code, 0);
    let text = fs::read_to_string(scene.server.conf("vol-1.conf")).expect("its file");
    assert!(text.contains("maxconnections = 7"), "{text}");
    let text = fs::read_to_string(scene.server.conf("vol-2.conf")).expect("its file");
    assert!(text.contains("readonly = true"), "{text}");
}

fn files_that_are_not_followed_are_followed(scene: &Scene, database: &dyn Database) {
    for (name, disk) in [("vol-1", "a"), ("vol-2", "b"), ("vol-3", "c")] {
        scene.serve(name, disk);
    }
    scene.write("vol-1", &scene.disk("d"), "");
    scene.write("vol-2", &scene.disk("b"), "maxconnections = 5\n");
    scene.server.remove_conf("vol-3.conf");
    scene.write("vol-4", &scene.disk("e"), "");
    for (name, disk) in [("vol-1", "d"), ("vol-2", "b"), ("vol-4", "e")] {
        database.add(name, &scene.disk(disk));
    }
    let lines = [
        format!("vol-1: the files say {}, the server has {}", scene.disk("d"), scene.disk("a")),
        "vol-2: the files say maxconnections = 5, the server has maxconnections = 0".into(),
        format!("vol-4: the files say {}, the server does not have it", scene.disk("e")),
        format!("vol-3: the files do not have it, the server has {}", scene.disk("c")),
    ];
    scene.drift(database, &[]).says(1, &lines);
    scene.alone(&[]).says(1, &lines);
    scene.fix(database, &[]).says(0, &lines.map(|line| format!("mended: {line}")));
    scene.drift(database, &[]).silent();
    assert_eq!((scene.served("vol-1"), scene.served("vol-3")), (Some('d'), None));
}

fn a_disk_that_has_grown_is_seen(scene: &Scene, database: &dyn Database) {
    scene.serve("vol-1", "a");
    database.add("vol-1", &scene.disk("a"));
    let disk = fs::File::options().write(true).open(scene.disks.join("a")).expect("a disk");
    disk.set_len(65536).expect("it grows");
    let line = format!("vol-1: {} has 65536 bytes, the server has it with 16384", scene.disk("a"));
    scene.drift(database, &[]).says(1, from_ref(&line));
    scene.fix(database, &[]).says(0, &[format!("mended: {line}")]);
    scene.drift(database, &[]).silent();
}

fn a_disk_that_is_gone_is_named_and_cannot_be_mended(scene: &Scene, database: &dyn Database) {
    scene.serve("vol-1", "a");
    scene.serve("vol-2", "b");
    database.add("vol-1", &scene.disk("a"));
    database.add("vol-2", &scene.disk("c"));
    fs::remove_file(scene.disks.join("a")).expect("it goes");
    let run = scene.drift(database, &[]);
    let gone = run.out.lines().find(|line| line.starts_with("vol-1: ")).expect("it is named").to_owned();
    assert!(gone.starts_with(&format!("vol-1: it cannot be served: {}: ", scene.disk("a"))), "{gone}");
    assert_eq!((run.code, run.out.lines().count()), (1, 2), "{run:?}");
    // What can be mended is mended, and the rest is said once more.
    let line = format!("vol-2: the database says {}, the files say {}", scene.disk("c"), scene.disk("b"));
    scene.fix(database, &[]).says(2, &[format!("mended: {line}"), gone.clone()]);
    let before = scene.state();
    scene.fix(database, &[]).says(1, &[gone]);
    assert_eq!(scene.state(), before, "a timer that runs again does not reload again");
}

fn a_database_that_disagrees_with_itself_is_left_alone(scene: &Scene, database: &dyn Database) {
    scene.serve("vol-1", "a");
    scene.serve("vol-2", "b");
    database.add_mapped("vol-1", &scene.disk("c"), &scene.disk("d"), "oma");
    database.add("vol-2", &scene.disk("e"));
    let torn =
        format!("vol-1: the database disagrees with itself: {} and {}", scene.disk("c"), scene.disk("d"));
    let other = format!("vol-2: the database says {}, the files say {}", scene.disk("e"), scene.disk("b"));
    scene.drift(database, &[]).says(1, &[torn.clone(), other.clone()]);
    let torn = format!("{torn} (left: mend the database first)");
    scene.fix(database, &[]).says(2, &[format!("mended: {other}"), torn.clone()]);
    let before = scene.state();
    scene.fix(database, &[]).says(1, &[torn]);
    assert_eq!(scene.state(), before);
    assert_eq!((scene.served("vol-1"), scene.served("vol-2")), (Some('a'), Some('e')));
    // A disk that is mapped to another volume is given to nobody.
    database.add_mapped("vol-3", &scene.disk("d"), "", "");
    let run = scene.fix(database, &[]);
    let line = "vol-3: the database disagrees with itself: its path is mapped to another volume (left: mend the database first)";
    assert!(run.out.lines().any(|one| one == line), "{run:?}");
    assert_eq!((run.code, scene.served("vol-3")), (1, None));
}

/// An old row, and the disk has been given to a volume that has no export yet.
fn a_disk_that_is_mapped_to_another_volume_is_left_alone(scene: &Scene, database: &dyn Database) {
    scene.serve("vol-1", "a");
    database.add("vol-1", &scene.disk("a"));
    database.add_mapped("vol-old", &scene.disk("b"), "", "");
    symlink(scene.disks.join("b"), scene.disks.join("by-id")).expect("a link");
    let by_id = scene.disk("by-id");
    for path in [scene.disk("b"), by_id] {
        database.run(&format!(
            "DELETE FROM device_mappings WHERE volume_uuid = 'new'; {}",
            mapping("new", &path, "oma")
        ));
        let before = scene.state();
        let run = scene.fix(database, &[]);
        assert_eq!((run.code, run.out.lines().count()), (1, 1), "{run:?}");
        assert!(run.out.starts_with("vol-old: the database disagrees with itself: "), "{run:?}");
        assert_eq!((scene.state(), scene.served("vol-old")), (before, None));
    }
    // Its own volume, in words; and the other one by another name of the disk.
    database.run(&mapping("volume-of-vol-old", &scene.disk("b"), "oma"));
    let run = scene.fix(database, &[]);
    assert!(run.code == 1 && run.out.contains("to another volume too)"), "{run:?}");
    assert_eq!(scene.served("vol-old"), None);
}

fn what_has_failed_and_is_in_use_goes_on(scene: &Scene, database: &dyn Database) {
    scene.serve("vol-1", "a");
    scene.serve("vol-2", "b");
    database.add("vol-1", &scene.disk("a"));
    database.run("UPDATE nbd_exports SET status = 'failed'");
    database.add("vol-3", &scene.disk("c"));
    let (mut failed, mut extra) = (scene.server.open("vol-1"), scene.server.open("vol-2"));
    let run = scene.fix(database, &[]);
    let line = format!(
        "vol-1: the files say {}, the database has it as failed (left: it has failed, see to it)",
        scene.disk("a")
    );
    assert!(run.code == 2 && run.out.lines().any(|one| one == line), "{run:?}");
    assert!(failed.read(0, 1).is_ok(), "nobody gave its client up");
    assert!(extra.read(0, 1).is_err());
    assert_eq!(run.err, "nbdctl: vol-2: 1 session is cut off\n", "said before it is done");
    assert_eq!(scene.served("vol-3"), Some('c'));
}

fn half_a_file_is_not_overwritten(scene: &Scene, database: &dyn Database) {
    scene.serve("vol-1", "a");
    database.add("vol-1", &scene.disk("b"));
    let half = "[vol-1]\nexportname = ";
    scene.server.write_conf("vol-1.conf", half);
    let run = scene.fix(database, &[]);
    assert!(run.code == 1 && run.out.contains("(left: mend its file first)"), "{run:?}");
    assert_eq!(fs::read_to_string(scene.server.conf("vol-1.conf")).expect("its file"), half);
    assert_eq!(scene.served("vol-1"), Some('a'));
}

fn a_disk_that_is_given_twice_is_left_alone(scene: &Scene, database: &dyn Database) {
    scene.serve("vol-1", "a");
    symlink(scene.disks.join("b"), scene.disks.join("by-id")).expect("a link");
    database.add("vol-1", &scene.disk("b"));
    database.add("vol-2", &scene.disk("by-id"));
    let before = scene.state();
    let run = scene.fix(database, &[]);
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!((run.code, lines.len()), (1, 3), "{run:?}");
    assert_eq!(lines[0], format!("vol-1, vol-2: the database gives {} to both", scene.disk("b")));
    assert!(lines[1..].iter().all(|line| line.contains("(not written: the database gives ")), "{run:?}");
    assert_eq!(scene.state(), before);
}

fn a_path_that_leads_nowhere_is_not_written(scene: &Scene, database: &dyn Database) {
    scene.serve("vol-1", "a");
    database.add("vol-1", "remote-vm-4711");
    database.add("vol-2", &scene.disk("gone"));
    database.add("vol-3", "/dev/null");
    let before = scene.state();
    let run = scene.fix(database, &[]);
    let told = |export: &str, why: &str| {
        let line = run.out.lines().find(|line| line.starts_with(export)).unwrap_or_default();
        assert!(line.contains(why), "{export} {why}: {run:?}");
    };
    told("vol-1", "(not written: remote-vm-4711 is no absolute path)");
    told("vol-2", &format!("(not written: {} is not there)", scene.disk("gone")));
    told("vol-3", "(not written: /dev/null is neither a block device nor a file)");
    assert_eq!((run.code, run.out.lines().count()), (1, 3));
    assert_eq!(scene.state(), before);
}

fn an_empty_database_removes_nothing_by_itself(scene: &Scene, database: &dyn Database) {
    scene.serve("vol-1", "a");
    scene.serve("vol-2", "b");
    let before = scene.state();
    let run = scene.fix(database, &[]);
    assert_eq!((run.code, run.out.lines().count(), scene.state()), (1, 2, before), "{run:?}");
    assert!(run.out.lines().all(|line| line.contains("--allow-empty")), "{run:?}");
    let run = scene.fix(database, &["--allow-empty"]);
    assert_eq!((run.code, run.out.lines().count()), (0, 2), "{run:?}");
    assert_eq!((scene.served("vol-1"), scene.served("main")), (None, Some('m')));
}

fn a_prefix_narrows_both_sides(scene: &Scene, database: &dyn Database) {
    scene.serve("mig-1", "a");
    scene.serve("other-1", "b");
    database.add("mig-1", &scene.disk("a"));
    database.add("backup-1", &scene.disk("c"));
    scene.drift(database, &["--prefix", "mig-"]).silent();
    assert_eq!(scene.drift(database, &[]).out.lines().count(), 2);
    let before = scene.state();
    scene.fix(database, &["--prefix", "mig-"]).silent();
    assert_eq!(scene.state(), before);
    // A disk of somebody with another name is not free.
    database.add("mig-2", &scene.disk("b"));
    let run = scene.fix(database, &["--prefix", "mig-"]);
    assert!(
        run.code == 1 && run.out.contains(&format!("(not written: other-1 has {})", scene.disk("b"))),
        "{run:?}"
    );
    assert_eq!(scene.state(), before);
}

fn what_has_failed_or_is_attached_elsewhere_is_not_wanted(scene: &Scene, database: &dyn Database) {
    for (name, disk, mode) in [("vol-1", "a", "oma"), ("vol-2", "b", "failover"), ("vol-3", "c", "")] {
        database.add_mapped(name, &scene.disk(disk), &scene.disk(disk), mode);
    }
    database.run("UPDATE nbd_exports SET status = 'failed' WHERE export_name = 'vol-3'");
    // The mapping's lasting name is the same word.
    database.run(&format!(
        "UPDATE device_mappings SET symlink_path = '{}', device_path = '/dev/vdx' WHERE volume_uuid = 'volume-of-vol-1'",
        scene.disk("a")
    ));
    let run = scene.fix(database, &[]);
    assert_eq!((run.code, run.out.lines().count()), (0, 1), "{run:?}");
    let served = ["vol-1", "vol-2", "vol-3"].map(|name| scene.served(name));
    assert_eq!(served, [Some('a'), None, None]);
}
