//! HTTP as it stands on the line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Nothing in here takes this long, so it is an error, not a pace.
const LONG: Duration = Duration::from_secs(60);

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection.
pub struct Connection(BufReader<Box<dyn Stream>>);

/// One answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Connection {
    pub fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the control socket can be connected to");
        stream.set_read_timeout(Some(LONG)).expect("a timeout can be set");
        stream.set_write_timeout(Some(LONG)).expect("a timeout can be set");
        Self(BufReader::new(Box::new(stream)))
    }

    pub fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the address can be connected to");
        stream.set_read_timeout(Some(LONG)).expect("a timeout can be set");
        stream.set_write_timeout(Some(LONG)).expect("a timeout can be set");
        Self(BufReader::new(Box::new(stream)))
    }

    /// Sends bytes as they are. An end that is closed already shows in what is read.
    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.0.get_mut().write_all(bytes);
    }

    pub fn ask(&mut self, method: &str, target: &str) -> Reply {
        self.raw(format!("{method} {target} HTTP/1.1\r\nhost: control\r\n\r\n").as_bytes());
        self.reply_to(method)
    }

    pub fn send(&mut self, method: &str, target: &str, kind: &str, body: &[u8]) -> Reply {
        let length = body.len();
        self.raw(
            format!(
                "{method} {target} HTTP/1.1\r\nhost: control\r\ncontent-type: {kind}\r\n\
                 content-length: {length}\r\n\r\n"
            )
            .as_bytes(),
        );
        self.raw(body);
        self.reply_to(method)
    }

    pub fn reply(&mut self) -> Reply {
        self.reply_to("GET")
    }

    fn reply_to(&mut self, method: &str) -> Reply {
        let mut reply = self.head();
        let length =
            reply.header("content-length").map(|length| length.parse().expect("a length is a number"));
        let mut body = vec![0; length.unwrap_or(0)];
        if method != "HEAD" {
            self.0.read_exact(&mut body).expect("the body is as long as was said");
            reply.body = String::from_utf8(body).expect("a body is UTF-8");
        }
        reply
    }

    /// An answer without its body.
    pub fn head(&mut self) -> Reply {
        let first = self.text_line();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {first:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.text_line();
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Reply { status, headers, body: String::new() }
    }

    /// The next piece of a body that is sent in pieces; empty at its end.
    pub fn chunk(&mut self) -> String {
        let length = usize::from_str_radix(self.text_line().trim(), 16).expect("a piece has a length");
        let mut piece = vec![0; length + 2];
        self.0.read_exact(&mut piece).expect("the piece is as long as was said");
        piece.truncate(length);
        String::from_utf8(piece).expect("a body is UTF-8")
    }

    /// Reads whatever still comes, until the other end closes.
    pub fn until_closed(&mut self) {
        let ended = self.0.read_to_end(&mut Vec::new());
        let late = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!late, "the connection is still open");
    }

    /// Whether the other end has closed, and had nothing more to say.
    pub fn is_closed(&mut self) -> bool {
        self.0.fill_buf().map_or(true, <[u8]>::is_empty)
    }

    fn text_line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer comes within a minute");
        line.trim_end().to_owned()
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
}
