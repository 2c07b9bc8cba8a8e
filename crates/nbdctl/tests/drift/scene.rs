//! A server with its files and its disks, and `nbdctl drift` against it.

use crate::database::Database;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::{Control, ServerProcess, Setup, TempDir, program};

/// What tells one disk from another when it is read.
pub const BLOCK: usize = 4096;

/// The server that is tested, started from a configuration as the appliance ships it.
fn start(disks: &TempDir) -> ServerProcess {
    // Exports of the main file are always there, and are not a database's business.
    let setup = Setup::new(program("nbd-server"));
    setup
        .export("dummy", Path::new("/dev/null"), "readonly = true")
        .export("main", &disks.join("main"), "")
        .start()
}

pub struct Scene {
    pub server: ServerProcess,
    pub disks: TempDir,
}

/// What one run came to.
#[derive(Clone, Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Scene {
    /// A server with no files yet; disks `a` to `f` are there.
    pub fn new() -> Self {
        let disks = TempDir::new("disks");
        for name in ["main", "a", "b", "c", "d", "e", "f"] {
            fs::write(disks.join(name), [name.as_bytes()[0]; 4 * BLOCK]).expect("a disk");
        }
        Self { server: start(&disks), disks }
    }

    pub fn control(&self) -> Control {
        self.server.control()
    }

    /// The path of a disk, as a text.
    pub fn disk(&self, name: &str) -> String {
        self.disks.join(name).display().to_string()
    }

    /// A file as the Volume Daemon writes it.
    pub fn write(&self, export: &str, path: &str, more: &str) {
        let text = format!(
            "[{export}]\nexportname = {path}\nreadonly = false\nmultifile = false\ncopyonwrite = false\n{more}"
        );
        self.server.write_conf(&format!("{export}.conf"), &text);
    }

    /// The same, followed.
    pub fn serve(&self, export: &str, disk: &str) {
        self.write(export, &self.disk(disk), "");
        self.reload();
    }

    pub fn reload(&self) {
        self.server.reload().expect_complete();
    }

    /// `nbdctl drift` without a database.
    pub fn alone(&self, args: &[&str]) -> Run {
        self.run(&[], args)
    }

    /// `nbdctl drift` with one, whose password it knows from its environment and never shows.
    pub fn drift(&self, database: &dyn Database, args: &[&str]) -> Run {
        let url = database.url();
        let mut all = vec!["--database", &url];
        all.extend(args);
        let password = database.password();
        let env: Vec<(&str, &str)> =
            password.iter().map(|password| ("NBDCTL_DATABASE_PASSWORD", *password)).collect();
        let run = self.run(&env, &all);
        if let Some(password) = password {
            assert!(!run.out.contains(password) && !run.err.contains(password), "{run:?}");
        }
        run
    }

    /// `--fix` at once.
    pub fn fix(&self, database: &dyn Database, args: &[&str]) -> Run {
        let mut all = vec!["--fix", "--settle", "0"];
        all.extend(args);
        self.drift(database, &all)
    }

    pub fn run(&self, env: &[(&str, &str)], args: &[&str]) -> Run {
        nbdctl_drift(&self.server.control_path(), env, args)
    }

    /// Every file of the configuration with its text.
    pub fn files(&self) -> BTreeMap<PathBuf, String> {
        let dir = fs::read_dir(self.server.conf("")).expect("conf.d").flatten().map(|entry| entry.path());
        let paths = dir.chain([self.server.config_path()]);
        paths.map(|path| (path.clone(), fs::read_to_string(&path).expect("a file"))).collect()
    }

    /// Files, and the generation of what is served: whoever changes anything changes this.
    pub fn state(&self) -> (BTreeMap<PathBuf, String>, String) {
        let status = self.control().get("/v1/status");
        let generation = status.split("\"generation\":").nth(1).and_then(|rest| rest.split(',').next());
        (self.files(), generation.expect("a generation").into())
    }

    /// The first byte that a client reads: which disk it is.
    pub fn served(&self, export: &str) -> Option<char> {
        let mut client = self.server.connect();
        client.go(export).ok()?;
        client.read(0, 1).ok().map(|bytes| char::from(bytes[0]))
    }
}

pub fn nbdctl_drift(socket: &Path, env: &[(&str, &str)], args: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nbdctl"));
    command.arg("--socket").arg(socket).arg("drift").args(args).stdin(Stdio::null());
    command.env_remove("NBDCTL_DATABASE").env_remove("NBDCTL_DATABASE_PASSWORD").envs(env.iter().copied());
    let output = command.output().expect("nbdctl runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("an exit code");
    Run { code, out: text(&output.stdout), err: text(&output.stderr) }
}

impl Run {
    /// All agree, and nothing is said.
    #[track_caller]
    pub fn silent(&self) {
        assert_eq!((self.code, self.out.as_str(), self.err.as_str()), (0, "", ""));
    }

    /// These lines and no others, in this order, and this exit code.
    #[track_caller]
    pub fn says(&self, code: i32, lines: &[String]) {
        let said: Vec<&str> = self.out.lines().collect();
        assert_eq!(
            (self.code, &said[..]),
            (code, &lines.iter().map(String::as_str).collect::<Vec<_>>()[..]),
            "{self:?}"
        );
    }
}
