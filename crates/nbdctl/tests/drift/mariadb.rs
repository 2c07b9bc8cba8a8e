//! A MariaDB of our own.

use crate::daemon::{Daemon, program, run};
use crate::database::{Database, tables};
use std::process::Command;
use testkit::setup::free_port;
use testkit::{TempDir, is_root, skip_or_fail, tool};

/// With characters that mean something in a URL.
const PASSWORD: &str = "s3cret/of:oma@%";

pub struct MariaDb {
    daemon: Daemon,
    port: u16,
    dir: TempDir,
    renamed: bool,
}

impl MariaDb {
    pub fn start() -> Option<Self> {
        if tool("mariadbd").is_none() || tool("mariadb").is_none() {
            skip_or_fail("drift with MariaDB", "mariadbd (package mariadb-server)");
            return None;
        }
        let dir = TempDir::new("mariadb");
        let common = |command: &mut Command| {
            command.arg("--no-defaults").arg(format!("--datadir={}", dir.join("data").display()));
            // It does not run as root unless it is told to.
            if is_root() {
                command.arg("--user=root");
            }
        };
        let mut install = Command::new("mariadb-install-db");
        common(&mut install);
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        run(install);
        let port = free_port();
        let mut serve = program(tool("mariadbd")?, false);
        common(&mut serve);
        serve
            .arg(format!("--socket={}", dir.join("socket").display()))
            .arg(format!("--pid-file={}", dir.join("pid").display()))
            .arg(format!("--port={port}"))
            .args(["--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve"]);
        let daemon = Daemon::start(serve, "ready for connections");
        let database = Self { daemon, port, dir, renamed: false };
        let tables = tables("ENUM('pending','active','failed')", "ENUM('oma','failover')");
        let user = "'oma'@'127.0.0.1'";
        database.owner(
            "mysql",
            &format!(
                "CREATE DATABASE appliance; CREATE USER {user} IDENTIFIED BY '{PASSWORD}'; \
             GRANT ALL ON appliance.* TO {user}; USE appliance; {tables}"
            ),
        );
        Some(database)
    }

    fn owner(&self, database: &str, sql: &str) -> String {
        let mut client = Command::new("mariadb");
        client.arg("--no-defaults").arg(format!("--socket={}", self.dir.join("socket").display())).args([
            "--user=root",
            "--batch",
            "--skip-column-names",
            database,
            "--execute",
            sql,
        ]);
        run(client)
    }
}

impl Database for MariaDb {
    fn url(&self) -> String {
        format!("mysql://oma@127.0.0.1:{}/appliance", self.port)
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
        self.daemon.stop("TERM");
    }
}
