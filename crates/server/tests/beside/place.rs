//! A server in a directory, a port and a mount namespace of its own.

use crate::case::{Case, Serves};
use crate::syslog::Syslog;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use testkit::setup::free_port;
use testkit::{Client, TempDir, spec};

const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(5);

/// Makes a `/dev` of its own with the test's socket as its log, and runs the rest of the command line. The host's
/// `/dev/log` is neither used nor touched, and what 3.24 leaves in `/dev/shm` goes with the namespace. `/run` is its own
/// too, so that each server has its control socket where it is by default.
const INTO_THE_ROOM: &str = r#"
set -e
room=$1; shift
mkdir "$room/dev"
mount -t tmpfs -o mode=755 tmpfs "$room/dev"
for node in null zero full random urandom; do
    : >"$room/dev/$node"
    mount --bind "/dev/$node" "$room/dev/$node"
done
mkdir -m 1777 "$room/dev/shm"
ln -s "$room/log" "$room/dev/log"
mount --move "$room/dev" /dev
mount -t tmpfs -o mode=755 tmpfs /run
umask 022
exec "$@"
"#;

/// Where one server runs.
pub struct Place {
    pub dir: TempDir,
    pub port: u16,
    pub syslog: Syslog,
    program: PathBuf,
    room: TempDir,
    serves: Serves,
    patience: Duration,
}

impl Place {
    /// Makes the files of a case.
    pub fn new(program: &Path, case: &Case) -> Self {
        let (dir, room) = (TempDir::new("beside"), TempDir::new("room"));
        let syslog = Syslog::new(room.join("log"));
        let program = program.to_path_buf();
        let place = Self {
            dir,
            port: free_port(),
            syslog,
            program,
            room,
            serves: case.serves,
            patience: case.patience,
        };
        case.files.iter().for_each(|make| make(place.dir.path()));
        fs::write(place.dir.join("config"), place.fill(&case.config())).expect("a configuration");
        place
    }

    /// Replaces `{dir}` and `{port}`.
    pub fn fill(&self, text: &str) -> String {
        text.replace("{dir}", &self.dir.path().display().to_string())
            .replace("{port}", &self.port.to_string())
    }

    /// Runs the program as an init script does.
    pub fn launch(&self, args: &[String]) -> Output {
        debug_assert_eq!(self.syslog.path(), self.room.join("log"));
        Command::new("unshare")
            .args(["-m", "sh", "-c", INTO_THE_ROOM, "sh"])
            .arg(self.room.path())
            .arg(&self.program)
            .args(args.iter().map(|arg| self.fill(arg)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .expect("unshare runs")
    }

    /// Waits until clients are let in, or nobody is there who could let them in. The original's launcher returns
    /// before it listens.
    pub fn wait(&self) -> bool {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if self.accepts() {
                return true;
            }
            if self.pid().is_some_and(|pid| !is_alive(pid)) {
                return false;
            }
            std::thread::sleep(STEP);
        }
        false
    }

    /// Lets one client come and go, so that the log of the start is complete.
    fn accepts(&self) -> bool {
        let there = match self.serves {
            Serves::Unix => UnixStream::connect(self.dir.join("socket")).is_ok(),
            _ => TcpStream::connect(("127.0.0.1", self.port)).is_ok(),
        };
        there
            && self
                .connect()
                .and_then(|mut client| {
                    client.send_option(spec::OPT_ABORT, &[])?;
                    Ok(client.is_closed())
                })
                .unwrap_or(false)
    }

    /// A client past the greeting.
    pub fn connect(&self) -> std::io::Result<Client> {
        let client = match self.serves {
            Serves::Unix => Client::connect_unix(&self.dir.join("socket")),
            _ => Client::connect_tcp(self.port),
        }?;
        client.set_timeout(Some(self.patience))?;
        Ok(client)
    }

    /// What the pid file says.
    pub fn pid(&self) -> Option<Pid> {
        Pid::from_raw(fs::read_to_string(self.dir.join("pid")).ok()?.trim().parse().ok()?)
    }

    /// Sends a signal to the process of the pid file.
    pub fn signal(&self, signal: Signal) {
        let pid = self.pid().expect("a pid file");
        kill_process(pid, signal).expect("a running server");
    }

    /// Ends the server by its pid and waits. What it leaves in the pid file.
    pub fn stop(&self) -> &'static str {
        let Some(pid) = self.pid().or_else(|| self.processes().first().copied()) else { return "none" };
        let _ = kill_process(pid, Signal::TERM);
        let until = Instant::now() + PATIENCE;
        while is_alive(pid) && Instant::now() < until {
            std::thread::sleep(STEP);
        }
        match fs::read_to_string(self.dir.join("pid")) {
            _ if is_alive(pid) => "does not end",
            Err(_) => "removed",
            Ok(text) if text.is_empty() => "emptied",
            Ok(_) => "left",
        }
    }

    /// Processes whose command line has this place's directory: nobody else's has.
    pub fn processes(&self) -> Vec<Pid> {
        // With the slash: one directory's name may begin another's.
        let dir = format!("{}/", self.dir.path().display());
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let ours = numbers.filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&dir)
        });
        ours.filter_map(Pid::from_raw).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Whether a process runs; one that ended and was not waited for does not.
pub fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}
