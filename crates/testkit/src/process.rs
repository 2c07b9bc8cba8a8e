//! The server as a process: started from a [`Setup`], reloaded, stopped, and killed by pid when the test ends.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;
use crate::control::Control;
use crate::log::{Event, Log, Reloaded};
use crate::setup::{Setup, export};

/// How long a start, a reload or a stop may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
#[derive(Debug)]
pub struct ServerProcess {
    setup: Setup,
    child: Child,
    log: Log,
}

impl ServerProcess {
    /// Starts and waits until the log says `Starting to serve`; gives the setup back with the log where it does not.
    pub(crate) fn spawn(setup: Setup) -> Result<Self, Box<(Setup, String)>> {
        if let Err(error) = std::fs::write(setup.dir.join("config"), setup.text()) {
            let text = format!("cannot write the configuration: {error}");
            return Err(Box::new((setup, text)));
        }
        let log = Log::new();
        let child = match launch(&setup, &log) {
            Ok(child) => child,
            Err(error) => {
                let text = format!("cannot run {}: {error}", setup.binary.display());
                return Err(Box::new((setup, text)));
            }
        };
        let mut server = Self { setup, child, log };
        if server.log.wait_for(serves, PATIENCE).is_some() {
            return Ok(server);
        }
        let ending = match server.wait_exit(Duration::from_millis(200)) {
            Some(status) => format!("it ended with {status}"),
            None => format!("it runs, and did not say `Starting to serve` within {PATIENCE:?}"),
        };
        let text = format!("{}\n{ending}", server.log.lines().join("\n"));
        server.stop_now();
        Err(Box::new((server.setup_back(), text)))
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.setup.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its directory: `config`, `conf.d/`, `pid`, and the test's own files.
    pub fn dir(&self) -> &Path {
        self.setup.dir.path()
    }

    /// The main configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.setup.dir.join("config")
    }

    /// The pid file.
    pub fn pid_path(&self) -> PathBuf {
        self.setup.dir.join("pid")
    }

    /// The Unix socket of [`Setup::unix`].
    pub fn socket(&self) -> PathBuf {
        self.setup.dir.join("socket")
    }

    /// Its control socket.
    pub fn control(&self) -> Control {
        Control::at(self.control_path())
    }

    /// The path of its control socket.
    pub fn control_path(&self) -> PathBuf {
        self.setup.dir.join("control.sock")
    }

    /// A file of `conf.d`.
    pub fn conf(&self, name: &str) -> PathBuf {
        self.setup.dir.join("conf.d").join(name)
    }

    /// Writes a file of `conf.d` anew, in place.
    pub fn write_conf(&self, name: &str, text: &str) {
        let path = self.conf(name);
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Writes `NAME.conf` with one export in it.
    pub fn write_export(&self, name: &str, path: &Path, more: &str) {
        self.write_conf(&format!("{name}.conf"), &export(name, path, more));
    }

    /// Removes a file of `conf.d`.
    pub fn remove_conf(&self, name: &str) {
        let path = self.conf(name);
        std::fs::remove_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// A client past the greeting.
    ///
    /// # Panics
    /// Where the server does not accept, with its log.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect_tcp(self.port())
            .unwrap_or_else(|error| panic!("cannot connect: {error}\n{}", self.log.lines().join("\n")))
    }

    /// A client in transmission on an export.
    #[track_caller]
    pub fn open(&self, export: &str) -> Client {
        let mut client = self.connect();
        let answer = client.go(export);
        assert!(answer.is_ok(), "GO {export}: {answer:?}\n{}", self.log.lines().join("\n"));
        client
    }

    /// Its log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Waits for a line, an old one included.
    pub fn wait_for(&self, wanted: impl FnMut(&str) -> bool, timeout: Duration) -> Option<String> {
        self.log.wait_for(wanted, timeout)
    }

    /// Sends SIGHUP and does not wait.
    pub fn hup(&self) {
        self.signal(Signal::HUP).expect("a running server");
    }

    /// Sends SIGHUP and waits for the next closing line. Tests that send SIGHUP by other ways at the same time may be
    /// handed the end of an earlier reload.
    #[track_caller]
    pub fn reload(&self) -> Reloaded {
        let mark = self.log.mark();
        self.hup();
        self.closing_from(mark)
    }

    /// Waits for the first closing line at or after a mark of the log.
    #[track_caller]
    pub fn closing_from(&self, mark: usize) -> Reloaded {
        let closes = |line: &str| Event::parse(line).is_some_and(|event| event.closing().is_some());
        let Some((at, line)) = self.log.wait_from(mark, closes, PATIENCE) else {
            panic!("no closing line within {PATIENCE:?}:\n{}", self.log.lines()[mark..].join("\n"));
        };
        let mut events = Vec::new();
        for line in &self.log.lines()[mark..=at] {
            events.extend(Event::parse(line));
        }
        let closing = Event::parse(&line).and_then(|event| event.closing());
        Reloaded { closing: closing.expect("the line just found"), events }
    }

    /// What its descriptors lead to (`/proc/PID/fd`), for tests that ask whether a device was let go.
    pub fn open_paths(&self) -> Vec<PathBuf> {
        let dir = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        let links = dir.into_iter().flatten().flatten().map(|entry| entry.path());
        links.filter_map(|link| std::fs::read_link(link).ok()).collect()
    }

    /// Its resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }

    /// Leaves it only this many descriptors from now on, those that it has included.
    pub fn limit_descriptors(&self, count: u64) {
        use rustix::process::{Resource, Rlimit, prlimit};
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let limit = Rlimit { current: Some(count), maximum: Some(count) };
        prlimit(pid, Resource::Nofile, limit).expect("a child's limits may be changed");
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid())).map_or(0, Iterator::count)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// Where it takes more than 10 seconds (the promise is 5).
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        let _ = self.signal(Signal::TERM);
        self.wait_exit(Duration::from_secs(10)).unwrap_or_else(|| {
            panic!("SIGTERM did not end the server within 10 s:\n{}", self.log.lines().join("\n"))
        })
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill9(&mut self) -> ExitStatus {
        let _ = self.child.kill();
        self.child.wait().expect("a child that was killed")
    }

    /// Starts it again after [`ServerProcess::kill9`] or [`ServerProcess::terminate`]: same directory, same port, a log
    /// of its own; the files are left as they are.
    ///
    /// # Panics
    /// Where it does not come up.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(!self.is_running(), "the server still runs");
        self.log = Log::new();
        self.child = launch(&self.setup, &self.log).expect("the program that ran before");
        let ready = self.log.wait_for(serves, PATIENCE);
        assert!(ready.is_some(), "the server did not start again:\n{}", self.log.lines().join("\n"));
    }

    /// Sends any signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a child's pid");
        Ok(kill_process(pid, signal)?)
    }

    fn wait_exit(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + timeout;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                _ => return None,
            }
        }
    }

    fn stop_now(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Takes the setup out; what is left behind has no directory worth keeping.
    fn setup_back(mut self) -> Setup {
        std::mem::replace(&mut self.setup, Setup::new(""))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.stop_now();
        if std::thread::panicking() {
            eprintln!("--- the server's log (pid {}):\n{}", self.pid(), self.log.lines().join("\n"));
        }
    }
}

/// In the foreground, so that the log comes to us and the child is the server.
fn launch(setup: &Setup, log: &Log) -> io::Result<Child> {
    let mut child = Command::new(&setup.binary)
        .arg("-n")
        .arg("-C")
        .arg(setup.dir.join("config"))
        .arg("-p")
        .arg(setup.dir.join("pid"))
        .args(&setup.args)
        .envs(setup.env.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    log.follow(child.stdout.take().expect("a pipe was asked for"));
    log.follow(child.stderr.take().expect("a pipe was asked for"));
    Ok(child)
}

fn serves(line: &str) -> bool {
    line.contains("Starting to serve")
}
