//! A container that runs until it is dropped.

use crate::engine::Engine;
use crate::ran::{Ran, wait_until};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;
use testkit::Client;

/// A running container.
#[derive(Debug)]
pub struct Container<'a> {
    engine: &'a Engine,
    id: String,
}

impl<'a> Container<'a> {
    /// `docker run --detach` with these arguments, the image and its command among them.
    ///
    /// # Panics
    /// Where it does not start.
    #[track_caller]
    pub fn run(engine: &'a Engine, args: &[&str]) -> Self {
        let id = engine.docker(&[&["run", "--detach"], args].concat()).ok();
        Self { engine, id }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Runs a program in it.
    pub fn exec(&self, args: &[&str]) -> Ran {
        self.engine.docker(&[&["exec", &self.id], args].concat())
    }

    /// Runs a line of shell in it, which stops at its first failure.
    pub fn sh(&self, text: &str) -> Ran {
        self.exec(&["sh", "-euc", text])
    }

    /// Copies a file or a directory into it.
    ///
    /// # Panics
    /// Where that fails.
    #[track_caller]
    pub fn copy_in(&self, from: &Path, to: &str) {
        self.engine.docker(&["cp", &from.display().to_string(), &format!("{}:{to}", self.id)]).ok();
    }

    /// Writes a file in it.
    ///
    /// # Panics
    /// Where that fails.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        let dir = testkit::TempDir::new("into-container");
        let file = dir.join("file");
        std::fs::write(&file, text).expect("a new directory can be written");
        self.copy_in(&file, path);
    }

    /// What the engine knows of it, by a Go template.
    pub fn inspect(&self, template: &str) -> String {
        self.engine.docker(&["inspect", "--format", template, &self.id]).ok()
    }

    /// What it printed so far.
    pub fn logs(&self) -> String {
        let ran = self.engine.docker(&["logs", &self.id]);
        ran.out + &ran.err
    }

    /// A client past the greeting, in the container's own network.
    ///
    /// # Errors
    /// Where nobody listens there.
    ///
    /// # Panics
    /// Where the network cannot be entered.
    pub fn connect(&self, port: u16) -> std::io::Result<Client> {
        let network = format!("/proc/{}/ns/net", self.inspect("{{.State.Pid}}"));
        let network = File::open(&network).unwrap_or_else(|error| panic!("{network}: {error}"));
        // A thread goes in and ends there; the socket that it opened comes out.
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter");
                Client::connect_tcp(port)
            });
            inside.join().expect("it has entered")
        })
    }

    /// The number that a program's process has outside.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn host_pid(&self, program: &str) -> u32 {
        let table = self.engine.docker(&["top", &self.id, "-eo", "pid,comm"]).ok();
        let mut rows = table.lines().filter_map(|row| row.trim().split_once(' '));
        let pid = rows.find(|(_, name)| name.trim() == program).and_then(|(pid, _)| pid.parse().ok());
        pid.unwrap_or_else(|| panic!("{program} does not run:\n{table}"))
    }

    /// Sends a signal to its first process.
    #[track_caller]
    pub fn kill(&self, signal: &str) {
        self.engine.docker(&["kill", "--signal", signal, &self.id]).ok();
    }

    /// Asks in the container until a line of shell succeeds.
    ///
    /// # Panics
    /// Where it does not in time; with the container's log.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let (mut last, patience) = (String::new(), Duration::from_secs(60));
        let holds = || {
            let ran = self.sh(text);
            last = ran.to_string();
            ran.is_ok()
        };
        let until = std::panic::AssertUnwindSafe(|| wait_until(text, patience, holds));
        if std::panic::catch_unwind(until).is_err() {
            panic!("{last}\n--- the container's log:\n{}", self.logs());
        }
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the container's log:\n{}", self.logs());
        }
        self.engine.docker(&["rm", "--force", "--volumes", &self.id]);
    }
}
