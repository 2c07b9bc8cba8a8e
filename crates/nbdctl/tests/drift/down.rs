//! Whoever cannot be asked, and passwords.

use crate::database::Database;
use crate::scene::{Run, Scene, nbdctl_drift};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

pub fn all(database: &mut dyn Database) {
    database.clear();
    let mut scene = Scene::new();
    scene.serve("vol-1", "a");
    database.add("vol-1", &scene.disk("b"));
    passwords(&scene, database);
    a_server_that_is_down(&mut scene, database);
    a_database_that_is_down(&scene, database);
}

fn passwords(scene: &Scene, database: &dyn Database) {
    let Some(password) = database.password() else { return };
    let url = database.url();
    let hidden = |run: &Run, words: &str| {
        assert!(!run.out.contains(words) && !run.err.contains(words), "{words}: {run:?}");
    };
    let file = scene.disks.join("password");
    fs::write(&file, format!("{password}\n")).expect("a file");
    let path = file.display().to_string();
    let by_file = || scene.run(&[], &["--database", &url, "--password-file", &path]);
    fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("its mode");
    let run = by_file();
    assert_eq!((run.code, run.err.as_str()), (1, ""), "{run:?}");
    fs::set_permissions(&file, Permissions::from_mode(0o604)).expect("its mode");
    let run = by_file();
    assert!(run.code == 3 && run.err.contains("others may use it") && run.out.is_empty(), "{run:?}");
    hidden(&run, password);

    // In the URL, as it has to be written there.
    let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let with_password = url.replace("oma@", &format!("oma:{encoded}@"));
    let run = scene.run(&[], &["--database", &with_password]);
    assert!(run.code == 1 && run.err.contains("can be seen in the list of processes"), "{run:?}");
    hidden(&run, &encoded);
    let run = scene.run(&[("NBDCTL_DATABASE", &with_password)], &[]);
    assert_eq!((run.code, run.err.as_str()), (1, ""), "nobody sees the environment");
    let run = scene.run(&[], &[&with_password]);
    assert_eq!(run.code, 64);
    hidden(&run, &encoded);

    // A wrong one, and none.
    let before = scene.state();
    let run =
        scene.run(&[("NBDCTL_DATABASE_PASSWORD", "wr0ng")], &["--database", &url, "--fix", "--settle", "0"]);
    assert!(run.code == 3 && run.out.is_empty() && run.err.contains(&format!("{url}: ")), "{run:?}");
    hidden(&run, "wr0ng");
    let run =
        scene.run(&[], &["--database", &with_password.replace(&encoded, "wr0ng"), "--fix", "--settle", "0"]);
    assert!(run.code == 3 && run.err.contains("oma:***@"), "{run:?}");
    hidden(&run, "wr0ng");
    assert_eq!(scene.state(), before);
}

fn a_server_that_is_down(scene: &mut Scene, database: &dyn Database) {
    let files = scene.files();
    scene.server.terminate();
    let run = scene.fix(database, &[]);
    assert!(run.code == 3 && run.out.is_empty() && run.err.contains("no server"), "{run:?}");
    assert_eq!(scene.files(), files);
    scene.server.restart();
}

fn a_database_that_is_down(scene: &Scene, database: &mut dyn Database) {
    let before = scene.state();
    database.stop();
    for args in [&[][..], &["--allow-empty"]] {
        let run = scene.fix(database, args);
        assert_eq!((run.code, run.out.as_str()), (3, ""), "{run:?}");
        assert!(run.err.contains(&database.url()), "{run:?}");
    }
    assert_eq!(scene.state(), before);
    assert_eq!(scene.served("vol-1"), Some('a'));
}

#[test]
fn what_makes_no_sense_is_said_without_the_password() {
    let nowhere = std::path::Path::new("/does/not/exist");
    let run = |args: &[&str]| nbdctl_drift(nowhere, &[], args);
    for args in [
        &["--database", "mysqll://oma:s3cret@db/x"][..],
        &["--database", "sqlite://s3cret"],
        &["--query", "SELECT 1"],
        &["--allow-empty", "--fix"],
        &["--allow-empty", "--database", "sqlite:///s3cret"],
        &["--settle", "soon"],
        &["mysql://oma:s3cret@db/x"],
    ] {
        let run = run(args);
        assert_eq!((run.code, run.out.as_str()), (64, ""), "{args:?}: {run:?}");
        assert!(!run.err.contains("s3cret") || args.contains(&"sqlite:///s3cret"), "{run:?}");
    }
    assert_eq!(run(&[]).code, 3);
}
