//! A client of the control socket, written from HTTP's specification (RFC 9112) with nothing but a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The control socket of one server. A connection for each request.
#[derive(Clone, Debug)]
pub struct Control {
    socket: PathBuf,
}

impl Control {
    /// At this path.
    #[must_use]
    pub fn at(socket: impl AsRef<Path>) -> Self {
        Self { socket: socket.as_ref().into() }
    }

    /// Status and body of the answer. A body is sent as JSON.
    ///
    /// # Panics
    /// When there is no server, or its answer is no HTTP.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.send(method, path, "application/json", body)
    }

    /// Status and body of the answer to a text.
    ///
    /// # Panics
    /// As [`Control::ask`].
    #[must_use]
    pub fn post_text(&self, path: &str, text: &str) -> (u16, String) {
        self.send("POST", path, "text/plain", text)
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(&self.socket).expect("a control socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let kind = if body.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{kind}Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + body).as_bytes()).expect("it listens");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        parse(&String::from_utf8(answer).expect("text"))
    }

    /// The body of what must be 200.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn get(&self, path: &str) -> String {
        let (status, body) = self.ask("GET", path, "");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }
}

/// What happens, line by line.
#[derive(Debug)]
pub struct EventStream {
    lines: std::io::Lines<BufReader<UnixStream>>,
}

impl Control {
    /// Everything that happens from now on. Once this returns the server has begun to tell.
    ///
    /// # Panics
    /// When there is no server, or it does not tell.
    #[must_use]
    pub fn listen(&self) -> EventStream {
        let mut stream = UnixStream::connect(&self.socket).expect("a control socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it listens");
        let mut lines = BufReader::new(stream).lines();
        let head = lines.next().expect("an answer").expect("a line");
        assert!(head.contains("200"), "{head}");
        // Its header ends with an empty line, and the first line of the stream is empty too.
        let empty = |line: Result<String, std::io::Error>| line.expect("a line").is_empty();
        assert!(lines.any(empty) && lines.any(empty), "it goes on");
        EventStream { lines }
    }
}

/// Each event as its JSON.
impl Iterator for EventStream {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        // Between them stand the lengths of chunks, and an empty line now and then where nothing happens.
        let until = Instant::now() + PATIENCE;
        let lines = self.lines.by_ref().map_while(Result::ok).take_while(|_| Instant::now() < until);
        lines.into_iter().find(|line| line.starts_with('{'))
    }
}

fn parse(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    (status, if chunked { unchunked(body) } else { body.to_owned() })
}

/// Each chunk has its length in hexadecimal before it; one of no length ends it (RFC 9112, "Chunked Transfer Coding").
fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((len, rest)) = body.split_once("\r\n") {
        let len = usize::from_str_radix(len.trim(), 16).expect("a length");
        if len == 0 {
            break;
        }
        text.push_str(&rest[..len]);
        body = rest[len..].trim_start_matches("\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_tell_a_length_are_understood() {
        let plain = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
        assert_eq!(parse(plain), (404, "no".into()));
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(parse(chunked), (200, "abc0123456789".into()));
    }
}
