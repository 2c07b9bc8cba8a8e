//! A server that is none: what is asked of it is noted, what it answers is told to it beforehand. And a client in plain
//! text, since a library would hide what is tested.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

mod fake;
mod http;

pub use fake::{Fake, export, session};
pub use http::{Connection, Reply};

use control::{Running, Sockets};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use testkit::TempDir;

/// A control thread over a fake, and where it listens.
pub struct Setup {
    pub fake: Arc<Fake>,
    pub socket: PathBuf,
    pub metrics: SocketAddr,
    running: Option<Running>,
    _dir: TempDir,
}

impl Setup {
    pub fn new() -> Self {
        let dir = TempDir::new("control");
        let socket = dir.join("control.sock");
        let fake = Arc::new(Fake::default());
        let control = UnixListener::bind(&socket).expect("the socket can be made");
        let metrics = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let address = metrics.local_addr().expect("it is bound");
        let sockets = Sockets { control: Some(control), metrics: vec![metrics] };
        let running = control::serve(Arc::clone(&fake) as _, sockets).expect("the thread begins");
        Self { fake, socket, metrics: address, running: Some(running), _dir: dir }
    }

    pub fn connect(&self) -> Connection {
        Connection::unix(&self.socket)
    }

    /// One request on a connection of its own.
    pub fn ask(&self, method: &str, target: &str) -> Reply {
        self.connect().ask(method, target)
    }

    /// One request with a body on a connection of its own.
    pub fn send(&self, method: &str, target: &str, kind: &str, body: &str) -> Reply {
        self.connect().send(method, target, kind, body.as_bytes())
    }

    pub fn stop(&mut self) {
        self.running.take().expect("it is stopped once").stop();
    }
}
