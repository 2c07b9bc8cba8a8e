//! A service manager: the socket that it hears its services on, and what they say, with who said it.

use rustix::net::sockopt::{Timeout, set_socket_passcred, set_socket_timeout};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its lines.
    pub lines: Vec<String>,
    /// Who, as the kernel says.
    pub pid: i32,
}

impl Said {
    pub fn has(&self, line: &str) -> bool {
        self.lines.iter().any(|one| one == line)
    }

    /// What stands behind `KEY=`.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    }

    pub fn status(&self) -> &str {
        self.value("STATUS").unwrap_or_default()
    }
}

impl Manager {
    pub fn at(path: PathBuf) -> Self {
        let socket = UnixDatagram::bind(&path).expect("bound");
        set_socket_passcred(&socket, true).expect("set");
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).expect("set");
        Self { socket, path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn receive(&self, flags: RecvFlags) -> Option<Said> {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags).ok()?;
        let pid = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(who) => Some(who.pid.as_raw_nonzero().get()),
            _ => None,
        });
        let text = String::from_utf8(bytes[..received.bytes].to_vec()).expect("UTF-8");
        Some(Said { lines: text.lines().map(Into::into).collect(), pid: pid.expect("it was asked for") })
    }

    /// The next message.
    #[track_caller]
    pub fn hear(&self) -> Said {
        self.receive(RecvFlags::empty()).expect("a message")
    }

    /// All messages up to the first that is wanted.
    #[track_caller]
    pub fn hear_until(&self, what: &str, wanted: impl Fn(&Said) -> bool) -> Vec<Said> {
        let mut heard = Vec::new();
        loop {
            let Some(said) = self.receive(RecvFlags::empty()) else { panic!("{what}, after {heard:#?}") };
            let found = wanted(&said);
            heard.push(said);
            if found {
                return heard;
            }
        }
    }

    /// What has come and was not heard yet.
    pub fn rest(&self) -> Vec<Said> {
        std::iter::from_fn(|| self.receive(RecvFlags::DONTWAIT)).collect()
    }

    /// Lets nothing more in, until it is heard.
    pub fn fill(&self) {
        let filler = UnixDatagram::unbound().expect("a socket");
        filler.set_nonblocking(true).expect("set");
        while filler.send_to(b"FILLER=1\n", &self.path).is_ok() {}
    }
}
