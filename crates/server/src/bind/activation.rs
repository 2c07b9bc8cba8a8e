//! Sockets that were opened before this process was started: systemd's socket activation (`LISTEN_FDS`).

use super::unix::{SocketFile, UnixSocket};
use super::{BindError, Bound};
use config::{ControlSocket, Generic};
use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use std::env;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

/// Variables of the protocol: what is started by this server is not meant by them.
pub const VARIABLES: [&str; 4] = [PID, COUNT, NAMES, "LISTEN_PIDFDID"];
/// Whom the sockets are for.
pub const PID: &str = "LISTEN_PID";
const COUNT: &str = "LISTEN_FDS";
const NAMES: &str = "LISTEN_FDNAMES";
/// The name of the one on which the server is asked.
const CONTROL: &str = "control";
/// The name of those for metrics.
const METRICS: &str = "metrics";

/// What was passed to this process.
#[derive(Debug, Default)]
pub struct Activated {
    /// For clients.
    pub tcp: Vec<TcpListener>,
    /// For clients.
    pub unix: Vec<UnixSocket>,
    /// The one named `control`.
    pub control: Option<UnixSocket>,
    /// Those named `metrics`.
    pub metrics: Vec<TcpListener>,
}

/// How many descriptors, from 3 on, are passed to this process. The launching command leaves out whom they are for, since
/// it cannot know the number of the process that it starts: in the background they are then for us.
#[must_use]
pub fn announced(background: bool) -> usize {
    let ours = match env::var(PID) {
        Ok(pid) => pid.parse() == Ok(std::process::id()),
        Err(_) => background,
    };
    let count = env::var(COUNT).ok().filter(|_| ours);
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

impl Activated {
    /// Takes what was passed. To be called once, and before the first thread: it changes the environment.
    ///
    /// # Errors
    /// One of them is nothing that a server can accept connections on.
    pub fn take(background: bool) -> Result<Self, BindError> {
        let count = announced(background);
        if count == 0 {
            return Ok(Self::default());
        }
        let names = names(env::var(NAMES).ok().as_deref(), count)?;
        let mut passed = ListenFd::from_env();
        let mut taken = Self::default();
        for (number, name) in names.iter().enumerate() {
            let failed =
                |why: &str| BindError(format!("socket {} of those passed ({COUNT}): {why}", number + 1));
            let socket = socket(&mut passed, number).map_err(|why| failed(&why))?;
            taken.add(name, socket).map_err(|why| failed(&why))?;
        }
        Ok(taken)
    }

    fn add(&mut self, name: &str, socket: Socket) -> Result<(), String> {
        match (name, socket) {
            (CONTROL, Socket::Unix(_)) if self.control.is_some() => {
                Err(format!("two are named {CONTROL}, and there can be one"))
            }
            (CONTROL, Socket::Unix(listener)) => {
                self.control = Some(not_ours(listener));
                Ok(())
            }
            (CONTROL, Socket::Tcp(_)) => Err(format!("what is named {CONTROL} must be a Unix socket")),
            (METRICS, Socket::Tcp(listener)) => {
                self.metrics.push(listener);
                Ok(())
            }
            (METRICS, Socket::Unix(_)) => Err(format!("what is named {METRICS} must be a TCP socket")),
            (_, Socket::Tcp(listener)) => {
                self.tcp.push(listener);
                Ok(())
            }
            (_, Socket::Unix(listener)) => {
                self.unix.push(not_ours(listener));
                Ok(())
            }
        }
    }

    /// What the log says of it, with the keys that say where to listen and are not followed; none where nothing was passed.
    #[must_use]
    pub fn note(&self, generic: &Generic, on_command_line: bool) -> Option<String> {
        let (clients, control) = (!self.tcp.is_empty() || !self.unix.is_empty(), self.control.is_some());
        let metrics = !self.metrics.is_empty();
        let unused = [
            ("listenaddr", clients && generic.listenaddr_given),
            ("port", clients && generic.port_given),
            ("unixsock", clients && generic.unixsock.is_some()),
            ("the address of the command line", clients && on_command_line),
            ("controlsock", control && generic.control.socket != ControlSocket::Default),
            ("metrics_listen", metrics && generic.control.metrics.is_some()),
        ];
        let unused: Vec<&str> =
            unused.into_iter().filter(|(_, unused)| *unused).map(|(what, _)| what).collect();
        let words = format!("sockets that were passed are used ({COUNT})");
        (clients || control || metrics).then(|| match unused.is_empty() {
            true => words,
            false => format!("{words}, and not: {}", unused.join(", ")),
        })
    }

    /// Those for clients; none where only others were passed.
    pub fn bound(&mut self) -> Option<Bound> {
        let (tcp, unix) = (std::mem::take(&mut self.tcp), std::mem::take(&mut self.unix));
        let some = !tcp.is_empty() || !unix.is_empty();
        some.then_some(Bound { tcp, unix, warnings: Vec::new() })
    }
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

fn socket(passed: &mut ListenFd, number: usize) -> Result<Socket, String> {
    let socket = match passed.take_unix_listener(number) {
        Ok(Some(listener)) => Socket::Unix(listener),
        _ => match passed.take_tcp_listener(number) {
            Ok(Some(listener)) => Socket::Tcp(listener),
            _ => return Err("it is neither a TCP socket nor a Unix stream socket".into()),
        },
    };
    let fd = match &socket {
        Socket::Tcp(listener) => listener.as_fd(),
        Socket::Unix(listener) => listener.as_fd(),
    };
    match socket_acceptconn(fd) {
        Ok(true) => Ok(socket),
        _ => Err("it does not listen; a socket unit needs Accept=no, or port = 0 for one client".into()),
    }
}

/// Whoever made it takes it away.
fn not_ours(listener: UnixListener) -> UnixSocket {
    let file = SocketFile::of_somebody_else(&listener);
    UnixSocket { listener, file }
}

/// The names, one for each; without any they have none.
fn names(text: Option<&str>, count: usize) -> Result<Vec<String>, BindError> {
    let Some(text) = text else { return Ok(vec![String::new(); count]) };
    let names: Vec<String> = text.split(':').map(Into::into).collect();
    if names.len() == count {
        return Ok(names);
    }
    Err(BindError(format!("{count} sockets were passed ({COUNT}), and {} names ({NAMES})", names.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_has_a_name_or_none_has() {
        assert_eq!(names(None, 2), Ok(vec![String::new(); 2]));
        assert_eq!(names(Some("a:control"), 2), Ok(vec!["a".into(), "control".into()]));
        assert_eq!(names(Some("a::b"), 3), Ok(vec!["a".into(), String::new(), "b".into()]));
        assert!(names(Some("a"), 2).is_err_and(|error| error.to_string().contains("2 sockets")));
    }

    #[test]
    fn each_name_stands_for_its_kind_of_socket() {
        let tcp = || Socket::Tcp(TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let path =
            |number: u32| std::env::temp_dir().join(format!("nbd-given-{number}-{}", std::process::id()));
        let unix = |number: u32| {
            let _ = std::fs::remove_file(path(number));
            Socket::Unix(UnixListener::bind(path(number)).expect("bound"))
        };
        let mut activated = Activated::default();
        assert!(activated.bound().is_none(), "nothing was passed");
        assert_eq!(activated.add("control", unix(1)), Ok(()));
        assert_eq!(activated.add("metrics", tcp()), Ok(()));
        assert!(activated.bound().is_none(), "clients come to neither");
        assert!(activated.add("control", unix(2)).is_err_and(|why| why.contains("two")));
        assert!(activated.add("control", tcp()).is_err(), "never on the network");
        assert!(activated.add("metrics", unix(3)).is_err());
        for (name, socket) in [("nbd.socket", tcp()), ("", unix(4)), ("unknown", unix(5))] {
            assert_eq!(activated.add(name, socket), Ok(()), "{name}");
        }
        let bound = activated.bound().expect("three are for clients");
        assert_eq!((bound.tcp.len(), bound.unix.len()), (1, 2));
        assert!(bound.listening()[1].ends_with(&path(4).display().to_string()), "{:?}", bound.listening());
        bound.remove();
        assert!(path(4).exists(), "who made it takes it away");
        (1..=5).for_each(|number| drop(std::fs::remove_file(path(number))));
    }
}
