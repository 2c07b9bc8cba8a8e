//! What is asked: the operator's own questions, and what is said where an answer is of no use.

use crate::database::Database;
use crate::mariadb::MariaDb;
use crate::postgres::Postgres;
use crate::scene::{Run, Scene};
use crate::sqlite::Sqlite;

pub fn all(database: &dyn Database) {
    let scene = Scene::new();
    database.clear();
    scene.serve("vol-1", "a");
    database.add_mapped("vol-1", "nonsense", "", "");
    let before = scene.state();
    let asked = |query: &str| scene.fix(database, &["--query", query]);
    let path = scene.disk("a");
    asked(&format!("SELECT export_name, '{path}' FROM nbd_exports")).silent();
    asked(&format!("SELECT export_name, '{path}', NULL FROM nbd_exports")).silent();
    let torn = asked(&format!("SELECT export_name, '{path}', device_path FROM nbd_exports"));
    assert!(torn.code == 1 && torn.out.contains("disagrees with itself"), "{torn:?}");
    let none = asked("SELECT export_name, NULL FROM nbd_exports");
    none.says(1, &["vol-1: the database has no path for it (left: mend the database first)".into()]);
    let two = asked(&format!("SELECT 'vol-1', '{path}' UNION ALL SELECT 'vol-1', '{}'", scene.disk("b")));
    assert!(two.code == 1 && two.out.contains("disagrees with itself"), "{two:?}");

    let refused = |query: &str, why: &str| {
        let run = asked(query);
        assert!(run.code == 3 && run.out.is_empty() && run.err.contains(why), "{query}: {run:?}");
    };
    refused("SELECT export_name FROM nbd_exports", "the query yields 1 column: ");
    refused("SELECT 'a', 'b', 'c', 'd'", "the query yields 4 columns");
    refused("SELECT NULL, '/x' FROM nbd_exports", "a row without a name");
    refused("SELECT export_name, port FROM nbd_exports", "column 2 of the query is INT");
    refused("SELECT export_name, device_path FROM elsewhere", "elsewhere");
    refused("SELEKT", "SELEKT");
    if let Some(password) = database.password() {
        // What a database says back is not to show it either.
        refused(&format!("SELECT 'a', 'b' FROM \"{password}\""), "***");
    }
    // Whatever is asked, nothing is written.
    for query in [
        "DELETE FROM nbd_exports",
        "INSERT INTO device_mappings (volume_uuid, device_path) VALUES ('x', 'y')",
    ] {
        let run = asked(query);
        assert_eq!((run.code, run.out.as_str()), (3, ""), "{run:?}");
    }
    assert_eq!(database.ask("SELECT COUNT(*) FROM nbd_exports").trim(), "1");
    assert_eq!(database.ask("SELECT COUNT(*) FROM device_mappings").trim(), "0");
    assert_eq!(scene.state(), before);
}

/// A query that never comes back is given up.
fn is_late(database: &dyn Database, query: &str) {
    let scene = Scene::new();
    let url = database.url();
    let env: Vec<(&str, &str)> =
        database.password().iter().map(|password| ("NBDCTL_DATABASE_PASSWORD", *password)).collect();
    let run = scene.run(&env, &["--timeout", "0.5", "--database", &url, "--query", query]);
    let late = ["no answer within 500ms", "canceling statement due to statement timeout"];
    assert!(run.code == 3 && late.iter().any(|why| run.err.contains(why)), "{run:?}");
}

pub fn of_mariadb(database: &MariaDb) {
    let scene = Scene::new();
    scene.serve("vol-1", "a");
    let path = scene.disk("a");
    // Types of its own.
    database.run(&format!(
        "CREATE TABLE kinds (v VARBINARY(64), b VARCHAR(64) COLLATE utf8mb4_bin, c CHAR(8), t TEXT, l BLOB, \
         e ENUM('vol-1'), u UUID, p TEXT); \
         INSERT INTO kinds VALUES ('vol-1','vol-1','vol-1','vol-1','vol-1','vol-1', UUID(),'{path}')"
    ));
    for column in ["v", "b", "c", "t", "l", "e", "CONCAT('vol-', 1)"] {
        scene.drift(database, &["--query", &format!("SELECT {column}, p, p FROM kinds")]).silent();
    }
    let run = scene.drift(database, &["--query", "SELECT CAST(u AS CHAR), p FROM kinds"]);
    assert_eq!((run.code, run.out.lines().count()), (1, 2), "{run:?}");
    is_late(database, "SELECT 'a', SLEEP(60)");
}

pub fn of_postgres(database: &Postgres) {
    let scene = Scene::new();
    scene.serve("vol-1", "a");
    let path = scene.disk("a");
    database.run(&format!(
        "CREATE TABLE kinds (v VARCHAR(64), t TEXT, n NAME, b BYTEA, u UUID, p TEXT); \
         INSERT INTO kinds VALUES ('vol-1','vol-1','vol-1','vol-1', gen_random_uuid(),'{path}'); \
         GRANT SELECT ON kinds TO oma"
    ));
    for column in ["v", "t", "n", "b", "'vol-' || 1"] {
        scene.drift(database, &["--query", &format!("SELECT {column}, p FROM kinds")]).silent();
    }
    let run = scene.drift(database, &["--query", "SELECT u, p FROM kinds"]);
    assert!(
        run.code == 3 && run.err.contains("column 1 of the query is UUID and no text: cast it"),
        "{run:?}"
    );
    assert_eq!(scene.drift(database, &["--query", "SELECT u::text, p FROM kinds"]).code, 1);
    is_late(database, "SELECT 'a', pg_sleep(60)::text");
}

pub fn of_sqlite(database: &Sqlite) {
    let scene = Scene::new();
    // Somebody is writing, and has it for himself.
    let run: Run = scene.run(&[], &["--database", "sqlite:///does/not/exist.db"]);
    assert!(run.code == 3 && run.err.contains("sqlite:///does/not/exist.db: "), "{run:?}");
    is_late(
        database,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'a', CAST(SUM(i) AS TEXT) FROM n",
    );
}
