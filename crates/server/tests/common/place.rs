//! The program as an operator starts it: in the background from a configuration, or in the foreground.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use testkit::setup::free_port;
use testkit::{Client, TempDir};

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nbd-server"));
    command.stdin(Stdio::null());
    command
}

pub fn run(args: &[&str]) -> Output {
    program().args(args).output().expect("it runs")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory with a disk and a configuration for a free port.
pub struct Place {
    pub dir: TempDir,
    pub port: u16,
}

impl Place {
    pub fn new(generic: &str) -> Self {
        let place = Self { dir: TempDir::new("launch"), port: free_port() };
        fs::write(place.dir.join("disk.img"), [5; 4096]).expect("a disk");
        let text = format!(
            "[generic]\nport = {}\nlistenaddr = 127.0.0.1\ncontrolsock = {}\n{generic}\n[disk]\nexportname = {}\n",
            place.port,
            place.dir.join("control.sock").display(),
            place.dir.join("disk.img").display()
        );
        fs::write(place.dir.join("config"), text).expect("a configuration");
        place
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Starts in the background, as an init script does.
    pub fn launch(&self) -> Output {
        run(&["-C", &self.path("config"), "-p", &self.path("pid")])
    }

    pub fn pid(&self) -> Option<Pid> {
        Pid::from_raw(fs::read_to_string(self.dir.join("pid")).ok()?.trim().parse().ok()?)
    }

    pub fn client(&self) -> Client {
        Client::connect_tcp(self.port).expect("it accepts")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, Signal::TERM);
            wait_until("it ends", || !is_alive(pid));
        }
    }
}

/// A server in the foreground, ended with the test that started it.
pub struct Running(pub Child);

impl Running {
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.0.wait().expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn is_alive(pid: Pid) -> bool {
    Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists()
}

#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !done() {
        if Instant::now() > until {
            // In a drop after a failure there is nothing more to say.
            assert!(std::thread::panicking(), "{what}");
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
