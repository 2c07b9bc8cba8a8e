//! Disks that change hands: nobody is given one that another still has, and a reload blesses nothing that is not certain.

use crate::database::Database;
use crate::scene::Scene;
use std::fs;

pub fn all(database: &dyn Database) {
    let cases: [fn(&Scene, &dyn Database); 5] = [
        two_exports_swap_their_disks,
        a_disk_goes_to_the_next_export_when_the_last_one_is_removed,
        a_swap_of_which_one_file_cannot_be_written_is_not_begun,
        a_reload_that_would_follow_a_doubtful_path_is_not_asked_for,
        a_broken_file_is_left_to_whoever_writes_it,
    ];
    for case in cases {
        database.clear();
        case(&Scene::new(), database);
    }
}

fn two_exports_swap_their_disks(scene: &Scene, database: &dyn Database) {
    scene.serve("vol-1", "a");
    scene.serve("vol-2", "b");
    database.add("vol-1", &scene.disk("b"));
    database.add("vol-2", &scene.disk("a"));
    let generation = || scene.state().1.parse::<u64>().expect("a number");
    let before = generation();
    assert_eq!(scene.fix(database, &[]).code, 0);
    assert_eq!(generation(), before + 1, "both files, and then one reload");
    assert_eq!((scene.served("vol-1"), scene.served("vol-2")), (Some('b'), Some('a')));
    scene.drift(database, &[]).silent();
}

fn a_disk_goes_to_the_next_export_when_the_last_one_is_removed(scene: &Scene, database: &dyn Database) {
    scene.serve("vol-1", "a");
    database.add("vol-2", &scene.disk("a"));
    assert_eq!(scene.fix(database, &[]).code, 0);
    assert_eq!((scene.served("vol-1"), scene.served("vol-2")), (None, Some('a')));
}

fn a_swap_of_which_one_file_cannot_be_written_is_not_begun(scene: &Scene, database: &dyn Database) {
    // vol-2 shares its file with vol-3: the server does not write it.
    scene.serve("vol-1", "a");
    let section = |name: &str, disk: &str| format!("[{name}]\nexportname = {}\n", scene.disk(disk));
    scene.server.write_conf("two.conf", &(section("vol-2", "b") + &section("vol-3", "c")));
    scene.reload();
    database.add("vol-1", &scene.disk("b"));
    database.add("vol-2", &scene.disk("a"));
    database.add("vol-3", &scene.disk("c"));
    database.add("vol-4", &scene.disk("d"));
    let run = scene.fix(database, &[]);
    assert_eq!((run.code, run.out.lines().count()), (2, 3), "{run:?}");
    assert_eq!(run.out.matches("two.conf describes ").count(), 2, "{run:?}");
    let served = ["vol-1", "vol-2", "vol-3", "vol-4"].map(|name| scene.served(name));
    assert_eq!(served, [Some('a'), Some('b'), Some('c'), Some('d')], "what can be done apart is done");
    let text = fs::read_to_string(scene.server.conf("vol-1.conf")).expect("its file");
    assert!(text.contains(&format!("exportname = {}\n", scene.disk("a"))), "{text}");
    // What is tried again in vain has changed nothing.
    let run = scene.fix(database, &[]);
    assert_eq!((run.code, run.out.lines().count()), (1, 2), "{run:?}");
}

fn a_reload_that_would_follow_a_doubtful_path_is_not_asked_for(scene: &Scene, database: &dyn Database) {
    scene.serve("vol-1", "a");
    // Somebody has written the file, and one half of the database.
    scene.write("vol-1", &scene.disk("b"), "");
    database.add_mapped("vol-1", &scene.disk("b"), &scene.disk("a"), "oma");
    database.add("vol-2", &scene.disk("c"));
    let before = scene.state();
    let run = scene.fix(database, &[]);
    assert_eq!((run.code, run.out.lines().count()), (1, 3), "{run:?}");
    assert!(run.err.contains("nothing is mended: a reload would let vol-1 serve"), "{run:?}");
    assert_eq!(scene.state(), before);
    // The database has made up its mind.
    database.run(&format!(
        "UPDATE device_mappings SET device_path = '{}' WHERE volume_uuid = 'volume-of-vol-1'",
        scene.disk("b")
    ));
    assert_eq!(scene.fix(database, &[]).code, 0);
    assert_eq!((scene.served("vol-1"), scene.served("vol-2")), (Some('b'), Some('c')));
}

fn a_broken_file_is_left_to_whoever_writes_it(scene: &Scene, database: &dyn Database) {
    scene.serve("vol-1", "a");
    scene.serve("vol-2", "b");
    // As it is while the appliance writes it.
    scene.server.write_conf("vol-1.conf", "");
    database.add("vol-1", &scene.disk("c"));
    database.add("vol-2", &scene.disk("d"));
    let run = scene.fix(database, &[]);
    assert_eq!((run.code, run.out.lines().count()), (2, 3), "{run:?}");
    let told = format!(
        "vol-1: the database says {}, the server has {} (left: mend its file first)",
        scene.disk("c"),
        scene.disk("a")
    );
    assert!(
        run.out.contains(&told) && run.out.contains("vol-1: the files cannot be followed here: "),
        "{run:?}"
    );
    assert_eq!(fs::read_to_string(scene.server.conf("vol-1.conf")).expect("its file"), "");
    assert_eq!((scene.served("vol-1"), scene.served("vol-2")), (Some('a'), Some('d')));
}
