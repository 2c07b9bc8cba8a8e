//! The program under test, and somebody for it to ask.
#![allow(dead_code, reason = "each test takes what it needs")]

pub mod fake;

use control::{Running, Sockets, serve};
use fake::Fake;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use testkit::TempDir;

/// The fake on a socket.
pub struct Server {
    pub fake: Arc<Fake>,
    running: Option<Running>,
    dir: TempDir,
}

impl Server {
    pub fn start() -> Self {
        let (fake, dir) = (Arc::new(Fake::new()), TempDir::new("ctl"));
        let mut server = Self { fake, running: None, dir };
        server.come();
        server
    }

    /// It is there, again.
    pub fn come(&mut self) {
        let _ = std::fs::remove_file(self.socket());
        let control = UnixListener::bind(self.socket()).expect("a socket of ours");
        let sockets = Sockets { control: Some(control), metrics: Vec::new() };
        self.running = Some(serve(self.fake.clone(), sockets).expect("a thread to serve on"));
    }

    /// It is gone, and what it was asked for comes to nothing.
    pub fn go(&mut self) {
        self.running = None;
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("control.sock")
    }

    /// Runs the program and waits for its end.
    pub fn ctl(&self, args: &[&str]) -> Ran {
        ctl(&self.socket(), args)
    }

    /// A body as a client of another make gets it.
    pub fn body(&self, path: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).expect("the fake listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        body.to_owned()
    }
}

/// How the program ended and what it said.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Lines of standard output.
    pub fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("it says UTF-8");
        let code = output.status.code().expect("it ended by itself");
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

/// The program, with a server to ask.
pub fn command(socket: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nbdctl"));
    command.args(args).env("NBDCTL_SOCKET", socket).stdin(Stdio::null());
    command
}

pub fn ctl(socket: &Path, args: &[&str]) -> Ran {
    command(socket, args).output().expect("the program runs").into()
}
