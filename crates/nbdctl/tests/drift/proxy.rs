//! A control socket in front of the real one, so that a test can act between two requests.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use testkit::TempDir;

pub struct Proxy {
    dir: TempDir,
}

impl Proxy {
    /// `before` is told the number of each request, from 0, before it goes on; where it says no, nobody is there.
    pub fn in_front_of(socket: &Path, mut before: impl FnMut(usize) -> bool + Send + 'static) -> Self {
        let proxy = Self { dir: TempDir::new("proxy") };
        let listener = UnixListener::bind(proxy.socket()).expect("a socket");
        let socket = socket.to_path_buf();
        // It ends with the test's process. nbdctl makes a connection for each request, one after the other.
        thread::spawn(move || {
            for (number, client) in listener.incoming().flatten().enumerate() {
                if before(number) {
                    join(client, UnixStream::connect(&socket).expect("the server"));
                }
            }
        });
        proxy
    }

    /// A server that says no to everything.
    pub fn refusing(status: &str, detail: &str) -> Self {
        let proxy = Self { dir: TempDir::new("proxy") };
        let listener = UnixListener::bind(proxy.socket()).expect("a socket");
        let body = format!("{{\"title\":\"\",\"detail\":\"{detail}\"}}");
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let mut request = [0; 4096];
                let _ = client.read(&mut request).and_then(|_| client.write_all(answer.as_bytes()));
            }
        });
        proxy
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }
}

fn join(client: UnixStream, server: UnixStream) {
    let copy = |mut from: UnixStream, mut to: UnixStream| {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    };
    let clone = |stream: &UnixStream| stream.try_clone().expect("a descriptor");
    copy(clone(&client), clone(&server));
    copy(server, client);
}
