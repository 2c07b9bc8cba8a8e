//! As much of an NBD client as it takes to see what a server serves: names, sizes, and whether bytes come.
//!
//! 3.24 loses step after a GO that it refused, so each question has a connection of its own.

use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use wire::{
    ClientFlags, Command, CommandFlags, Cookie, ErrorNumber, Greeting, Info, InfoRequest, InfoType,
    OptionHeader, OptionKind, OptionReplyHeader, OptionReplyKind, Request, ServerReply, SimpleReply,
    append_option,
};

/// What an answer may take. A server that is well takes microseconds, a disk that turns itself on again some seconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// No answer to an option is longer.
const PAYLOAD_MAX: u32 = 1 << 20;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// Host and port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What LIST was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum List {
    /// The names, in the server's order.
    Names(Vec<String>),
    /// It may not be told.
    Denied(String),
    /// Not without TLS.
    WantsTls,
}

/// Why an export was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The server says no, in its words.
    Refused(String),
    /// Not without TLS.
    WantsTls,
    /// There is nobody, or nobody who speaks.
    Broken(String),
}

impl Address {
    /// Each that a name stands for: a server listens at all of them.
    pub fn each(self) -> Vec<Self> {
        let Self::Tcp(host, port) = &self else { return vec![self] };
        match (host.as_str(), *port).to_socket_addrs() {
            Ok(all) => all.map(|one| Self::Tcp(one.ip().to_string(), one.port())).collect(),
            Err(_) => vec![self],
        }
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A connection.
pub struct Connection {
    stream: Box<dyn Stream>,
    peer: String,
}

/// An export that was opened.
pub struct Opened {
    connection: Connection,
    /// Bytes.
    pub size: u64,
    /// Who we are at the server's end, as `clients.rs` names it.
    pub peer: String,
}

/// Names of all exports.
///
/// # Errors
/// Nobody listens, or it is no NBD server.
pub fn list(address: &Address) -> Result<List, String> {
    let mut connection = Connection::to(address)?;
    connection.send(OptionKind::LIST, &[])?;
    let mut names = Vec::new();
    loop {
        let (reply, payload) = connection.answer()?;
        match reply {
            OptionReplyKind::SERVER => {
                let export = ServerReply::decode(&payload).map_err(|why| format!("LIST: {why}"))?;
                names.push(String::from_utf8_lossy(export.name).into_owned());
            }
            OptionReplyKind::ACK => break,
            OptionReplyKind::ERR_TLS_REQD => return Ok(List::WantsTls),
            refused if refused.is_error() => return Ok(List::Denied(words(refused, &payload))),
            other => return Err(format!("LIST was answered with {other}")),
        }
    }
    let _ = connection.send(OptionKind::ABORT, &[]);
    Ok(List::Names(names))
}

/// Opens an export. The server opens its disk now.
///
/// # Errors
/// It is not to be had.
pub fn open(address: &Address, name: &str) -> Result<Opened, Closed> {
    let mut connection = Connection::to(address).map_err(Closed::Broken)?;
    let wanted = InfoRequest { name: name.as_bytes(), wanted: vec![InfoType::EXPORT] }.encode();
    connection.send(OptionKind::GO, &wanted).map_err(Closed::Broken)?;
    let mut size = None;
    loop {
        let (reply, payload) = connection.answer().map_err(Closed::Broken)?;
        match reply {
            OptionReplyKind::INFO => match Info::decode(&payload) {
                Ok(Info::Export { size: bytes, .. }) => size = Some(bytes),
                Ok(_) => {}
                Err(why) => return Err(Closed::Broken(format!("GO: {why}"))),
            },
            OptionReplyKind::ACK => break,
            OptionReplyKind::ERR_TLS_REQD => return Err(Closed::WantsTls),
            refused if refused.is_error() => return Err(Closed::Refused(words(refused, &payload))),
            other => return Err(Closed::Broken(format!("GO was answered with {other}"))),
        }
    }
    let size = size.ok_or_else(|| Closed::Broken("GO was answered without a size".into()))?;
    Ok(Opened { peer: connection.peer.clone(), connection, size })
}

impl Opened {
    /// Bytes of the export.
    ///
    /// # Errors
    /// The server cannot read them, or did not answer.
    pub fn read(&mut self, offset: u64, length: u32) -> Result<Vec<u8>, String> {
        let cookie = Cookie(offset);
        let request = Request { flags: CommandFlags::NONE, command: Command::READ, cookie, offset, length };
        let stream = &mut self.connection.stream;
        stream.write_all(&request.encode()).map_err(said)?;
        let mut header = [0; SimpleReply::SIZE];
        stream.read_exact(&mut header).map_err(said)?;
        let reply = SimpleReply::decode(&header).map_err(|why| format!("READ: {why}"))?;
        if reply.error != ErrorNumber::OK {
            return Err(format!("READ at {offset} ended with {}", reply.error));
        }
        if reply.cookie != cookie {
            return Err("READ was answered with another request's reply".into());
        }
        let length = usize::try_from(length).map_err(|_| "more than fits into memory".to_owned())?;
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).map_err(said)?;
        Ok(bytes)
    }
}

impl Drop for Opened {
    /// The client leaves as it should: 3.24 logs an error for those who do not.
    fn drop(&mut self) {
        let request = Request {
            flags: CommandFlags::NONE,
            command: Command::DISC,
            cookie: Cookie(0),
            offset: 0,
            length: 0,
        };
        let _ = self.connection.stream.write_all(&request.encode());
        // Until the server has closed it: whoever counts connections afterwards does not count this one.
        let _ = self.connection.stream.read(&mut [0]);
    }
}

impl Connection {
    fn to(address: &Address) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{address}: {error}");
        let (stream, peer): (Box<dyn Stream>, String) = match address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(failed)?;
                stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
                stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
                (Box::new(stream), format!("somebody on {}", path.display()))
            }
            Address::Tcp(host, port) => {
                let mut all = (host.as_str(), *port).to_socket_addrs().map_err(failed)?;
                let one = all.next().ok_or_else(|| format!("{address}: no such host"))?;
                let stream = TcpStream::connect_timeout(&one, PATIENCE).map_err(failed)?;
                stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
                stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
                let peer = stream.local_addr().map_err(failed)?.to_string();
                (Box::new(stream), peer)
            }
        };
        let mut connection = Self { stream, peer };
        let mut greeting = [0; Greeting::SIZE];
        connection.stream.read_exact(&mut greeting).map_err(failed)?;
        Greeting::decode(&greeting).map_err(|why| format!("{address} does not speak NBD: {why}"))?;
        let flags = ClientFlags::FIXED_NEWSTYLE | ClientFlags::NO_ZEROES;
        connection.stream.write_all(&flags.encode()).map_err(failed)?;
        Ok(connection)
    }

    fn send(&mut self, kind: OptionKind, data: &[u8]) -> Result<(), String> {
        let mut bytes = Vec::with_capacity(OptionHeader::SIZE + data.len());
        append_option(&mut bytes, kind, data);
        self.stream.write_all(&bytes).map_err(said)
    }

    fn answer(&mut self) -> Result<(OptionReplyKind, Vec<u8>), String> {
        let mut header = [0; OptionReplyHeader::SIZE];
        self.stream.read_exact(&mut header).map_err(said)?;
        let header = OptionReplyHeader::decode(&header).map_err(|why| format!("the answer: {why}"))?;
        if header.length > PAYLOAD_MAX {
            return Err(format!("an answer of {} bytes", header.length));
        }
        let mut payload = vec![0; header.length as usize];
        self.stream.read_exact(&mut payload).map_err(said)?;
        Ok((header.reply, payload))
    }
}

fn words(kind: OptionReplyKind, payload: &[u8]) -> String {
    match String::from_utf8_lossy(payload) {
        text if text.is_empty() => kind.to_string(),
        text => text.into_owned(),
    }
}

fn said(error: std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            format!("no answer within {} s", PATIENCE.as_secs())
        }
        std::io::ErrorKind::UnexpectedEof => "the server closed the connection".into(),
        _ => error.to_string(),
    }
}
