//! The drift matrix: every pair that may disagree, with real databases and the real server. Each database is started once,
//! and asked by all cases.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "a test")]

mod daemon;
mod database;
mod down;
mod mariadb;
mod matrix;
mod memory;
mod postgres;
mod proxy;
mod queries;
mod scene;
mod sqlite;
mod swaps;

use database::Database;

/// Everything that is the same for all databases.
fn all(database: &mut dyn Database) {
    database.clear();
    matrix::all(database);
    swaps::all(database);
    queries::all(database);
    database.rename();
    matrix::renamed(database);
    down::all(database);
}

#[test]
fn with_mariadb_each_disagreement_is_found_named_once_and_mended_where_nobody_has_to_guess() {
    if let Some(mut database) = mariadb::MariaDb::start() {
        queries::of_mariadb(&database);
        all(&mut database);
    }
}

#[test]
fn with_postgresql_each_disagreement_is_found_named_once_and_mended_where_nobody_has_to_guess() {
    if let Some(mut database) = postgres::Postgres::start() {
        queries::of_postgres(&database);
        all(&mut database);
    }
}

#[test]
fn with_sqlite_each_disagreement_is_found_named_once_and_mended_where_nobody_has_to_guess() {
    if let Some(mut database) = sqlite::Sqlite::start() {
        queries::of_sqlite(&database);
        all(&mut database);
    }
}
