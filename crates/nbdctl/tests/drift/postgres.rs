//! A PostgreSQL of our own.

use crate::daemon::{Daemon, give_to_nobody, program, run};
use crate::database::{Database, tables};
use std::path::PathBuf;
use std::process::Command;
use testkit::setup::free_port;
use testkit::{TempDir, skip_or_fail, tool};

const PASSWORD: &str = "s3cret of oma";

pub struct Postgres {
    daemon: Daemon,
    port: u16,
    dir: TempDir,
    renamed: bool,
}

impl Postgres {
    pub fn start() -> Option<Self> {
        let (Some(initdb), Some(postgres)) = (server_program("initdb"), server_program("postgres")) else {
            skip_or_fail("drift with PostgreSQL", "postgres (package postgresql)");
            return None;
        };
        let dir = TempDir::new("postgres");
        // It does not run as root at all.
        give_to_nobody(dir.path());
        let data = dir.join("data");
        let mut init = program(initdb, true);
        init.arg("-D").arg(&data).args(["-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]);
        init.args(["--auth-local=trust", "--auth-host=scram-sha-256"]);
        run(init);
        let port = free_port();
        let mut serve = program(postgres, true);
        serve.arg("-D").arg(&data).arg("-k").arg(dir.path()).args(["-p", &port.to_string(), "-F"]);
        serve.args(["-c", "listen_addresses=127.0.0.1"]);
        let daemon = Daemon::start(serve, "ready to accept connections");
        let database = Self { daemon, port, dir, renamed: false };
        database.owner("postgres", &format!("CREATE USER oma PASSWORD '{PASSWORD}'"));
        database.owner("postgres", "CREATE DATABASE appliance OWNER oma");
        let tables = tables("export_status", "TEXT");
        database.owner("appliance", &format!(
            "SET ROLE oma; SET search_path = public; RESET ROLE; GRANT ALL ON SCHEMA public TO oma; SET ROLE oma; \
             CREATE TYPE export_status AS ENUM ('pending','active','failed'); {tables}"
        ));
        Some(database)
    }

    fn owner(&self, database: &str, sql: &str) -> String {
        let mut client = Command::new("psql");
        client.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database]);
        client.arg("-h").arg(self.dir.path()).args(["-p", &self.port.to_string(), "-c", sql]);
        run(client)
    }
}

impl Database for Postgres {
    fn url(&self) -> String {
        format!("postgres://oma@127.0.0.1:{}/appliance", self.port)
    }

    fn password(&self) -> Option<&str> {
        Some(PASSWORD)
    }

    fn run(&self, sql: &str) {
        self.owner("appliance", sql);
    }

    fn ask(&self, sql: &str) -> String {
        self.owner("appliance", sql)
    }

    fn is_renamed(&self) -> bool {
        self.renamed
    }

    fn rename(&mut self) {
        self.run("ALTER TABLE nbd_exports RENAME COLUMN volume_id TO volume_uuid");
        self.renamed = true;
    }

    fn stop(&mut self) {
        // Connections that are there are cut off.
        self.daemon.stop("INT");
    }
}

/// Debian keeps them by version, out of everybody's way.
fn server_program(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.is_file()).collect();
    found.sort();
    found.pop().or_else(|| tool(name))
}
