//! A mount namespace whose log is the test's: `/run` and `/dev` are its own, so that neither the journal nor the syslog of
//! the machine is used or touched.

use rustix::fs::Mode;
use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::{TempDir, is_root, skip_or_fail, tool};

const PATIENCE: Duration = Duration::from_secs(20);

const INTO_THE_ROOM: &str = r#"
set -e
room=$1; log=$2; shift 2
mkdir -p "$room/dev"
mount -t tmpfs -o mode=755 tmpfs "$room/dev"
for node in null zero full random urandom; do
    : >"$room/dev/$node"
    mount --bind "/dev/$node" "$room/dev/$node"
done
ln -s "$log" "$room/dev/log"
mount --move "$room/dev" /dev
mount --bind "$room/run" /run
exec "$@"
"#;

/// Where `/dev/log` leads under systemd.
pub const DEV_LOG: &str = "/run/systemd/journal/dev-log";

pub struct Room {
    dir: TempDir,
}

impl Room {
    /// `None` where there is none to be had, which is said.
    pub fn new(test: &str) -> Option<Self> {
        if !is_root() || tool("unshare").is_none() {
            skip_or_fail(test, "root and unshare");
            return None;
        }
        let room = Self { dir: TempDir::new("room") };
        std::fs::create_dir_all(room.dir.join("run/systemd/journal")).expect("a new directory");
        Some(room)
    }

    /// Runs the server in it; `log` is where its `/dev/log` leads.
    pub fn server(&self, log: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", INTO_THE_ROOM, "sh"]).arg(self.dir.path()).arg(log);
        command.arg(env!("CARGO_BIN_EXE_nbd-server")).stdin(Stdio::null());
        command
    }

    /// Listens at a path of its `/run`, as the journal does.
    pub fn listen(&self, path: &str) -> Listener {
        let path = self.dir.join(path.trim_start_matches('/'));
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("bound");
        rustix::fs::chmod(&path, Mode::from_raw_mode(0o666)).expect("ours");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        Listener { socket, path }
    }
}

/// What the server sends its lines to. Away when it is dropped.
pub struct Listener {
    socket: UnixDatagram,
    path: PathBuf,
}

/// The fields of one line.
pub type Entry = BTreeMap<String, String>;

impl Listener {
    fn receive(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 1 << 16];
        let len = self.socket.recv(&mut bytes).ok()?;
        bytes.truncate(len);
        Some(bytes)
    }

    /// Lines with fields, up to the first whose message has these words.
    #[track_caller]
    pub fn entries_until(&self, words: &str) -> Vec<Entry> {
        let mut entries = Vec::new();
        loop {
            let Some(bytes) = self.receive() else { panic!("no {words:?} in {entries:#?}") };
            entries.push(parse(&bytes));
            if entries[entries.len() - 1]["MESSAGE"].contains(words) {
                return entries;
            }
        }
    }

    /// Lines as they are, up to the first that has these words.
    #[track_caller]
    pub fn lines_until(&self, words: &str) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        loop {
            let Some(bytes) = self.receive() else { panic!("no {words:?} in {lines:#?}") };
            lines.push(String::from_utf8(bytes).expect("text"));
            if lines[lines.len() - 1].contains(words) {
                return lines;
            }
        }
    }

    /// Lets nothing more in, until it is read.
    pub fn fill(&self) {
        let filler = UnixDatagram::unbound().expect("a socket");
        filler.set_nonblocking(true).expect("set");
        while filler.send_to(b"MESSAGE=filler\n", &self.path).is_ok() {}
    }

    /// Nothing has come that was not asked for.
    pub fn is_empty(&self) -> bool {
        self.socket.set_nonblocking(true).expect("set");
        let empty = self.socket.recv(&mut [0; 1]).is_err();
        self.socket.set_nonblocking(false).expect("set");
        empty
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The journal's native protocol: `KEY=VALUE` and a newline; or `KEY`, a newline, eight bytes of length, little end first,
/// that many bytes, and a newline.
fn parse(mut bytes: &[u8]) -> Entry {
    let mut entry = Entry::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|&c| c == b'\n').expect("a newline");
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        let (key, value, rest) = match line.iter().position(|&c| c == b'=') {
            Some(at) => (&line[..at], &line[at + 1..], rest),
            None => {
                let len = u64::from_le_bytes(rest[..8].try_into().expect("eight bytes")) as usize;
                assert_eq!(rest[8 + len], b'\n');
                (line, &rest[8..8 + len], &rest[9 + len..])
            }
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let known = |c: &u8| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == b'_';
        assert!(key.iter().all(known) && key[0] != b'_' && key.len() <= 64, "{}", text(key));
        assert_eq!(entry.insert(text(key), text(value)), None, "{} stands twice", text(key));
        bytes = rest;
    }
    entry
}
