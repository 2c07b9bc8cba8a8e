//! A file of SQLite, written by its own shell.

use crate::daemon::run;
use crate::database::{Database, tables};
use std::process::Command;
use testkit::{TempDir, skip_or_fail, tool};

pub struct Sqlite {
    dir: TempDir,
    renamed: bool,
}

impl Sqlite {
    pub fn start() -> Option<Self> {
        if tool("sqlite3").is_none() {
            skip_or_fail("drift with SQLite", "sqlite3");
            return None;
        }
        let database = Self { dir: TempDir::new("sqlite"), renamed: false };
        database.run(&tables("TEXT", "TEXT"));
        Some(database)
    }
}

impl Database for Sqlite {
    fn url(&self) -> String {
        format!("sqlite://{}", self.dir.join("appliance.db").display())
    }

    fn password(&self) -> Option<&str> {
        None
    }

    fn run(&self, sql: &str) {
        self.ask(sql);
    }

    fn ask(&self, sql: &str) -> String {
        let mut shell = Command::new("sqlite3");
        shell.arg("-bail").arg(self.dir.join("appliance.db")).arg(sql);
        run(shell)
    }

    fn is_renamed(&self) -> bool {
        self.renamed
    }

    fn rename(&mut self) {
        self.run("ALTER TABLE nbd_exports RENAME COLUMN volume_id TO volume_uuid");
        self.renamed = true;
    }

    fn stop(&mut self) {
        std::fs::remove_file(self.dir.join("appliance.db")).expect("a file");
    }
}
