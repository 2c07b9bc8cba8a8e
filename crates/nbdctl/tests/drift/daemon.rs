//! A database's own server: started by a test, ended with it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{Log, is_root};

/// A database that has just been made may take its time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that is ended by its pid.
pub struct Daemon {
    child: Child,
    log: Log,
}

impl Daemon {
    /// Starts it and waits for the line that says that it is ready.
    pub fn start(mut command: Command, ready: &str) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server of a database");
        let log = Log::new();
        log.follow(child.stdout.take().expect("a pipe was asked for"));
        log.follow(child.stderr.take().expect("a pipe was asked for"));
        let daemon = Self { child, log };
        let found = daemon.log.wait_for(|line| line.contains(ready), PATIENCE);
        assert!(found.is_some(), "{command:?} is not ready:\n{}", daemon.log.lines().join("\n"));
        daemon
    }

    /// Asks it to end with this signal, and has it ended.
    pub fn stop(&mut self, signal: &str) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", signal, &pid]).status();
        let until = Instant::now() + Duration::from_secs(20);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that dies with this test, also where that is killed; as nobody where it will not run as root.
pub fn program(path: impl AsRef<OsStr>, as_nobody: bool) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if as_nobody && is_root() {
        command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]);
    }
    command.arg(path);
    command
}

/// Runs it to its end.
pub fn run(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// Lets nobody have a directory.
pub fn give_to_nobody(dir: &Path) {
    if is_root() {
        let mut command = Command::new("chown");
        command.arg("nobody:nogroup").arg(dir);
        run(command);
    }
}
