//! A client written from the specification: greeting and haggling here, transmission in the next file.
//!
//! Every read and write has a timeout (20 seconds unless told), so a server that hangs fails a test and does not
//! stop it. Bytes that break the specification are an [`io::ErrorKind::InvalidData`] with a sentence.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::spec;
use crate::stream::{Link, Stream};
use crate::transmission::{Answer, CLOSED, Pending, error_number};

/// How long a client waits for the server before the test fails.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// One connection to a server.
#[derive(Debug)]
pub struct Client {
    pub(crate) stream: Stream,
    /// What the server offered in its greeting (0 before).
    pub server_flags: u16,
    pub(crate) cookie_next: u64,
    pub(crate) pending: Arc<Mutex<HashMap<u64, Pending>>>,
    pub(crate) finished: VecDeque<Answer>,
}

/// What GO, INFO or EXPORT_NAME said about an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportInfo {
    /// Bytes.
    pub size: u64,
    /// Transmission flags, `spec::FLAG_…`.
    pub flags: u16,
    /// Smallest, preferred and largest block, where they were told.
    pub block_sizes: Option<(u32, u32, u32)>,
    /// The canonical name, where it was told.
    pub name: Option<String>,
    /// The description, where it was told.
    pub description: Option<String>,
}

/// One reply to an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionReply {
    /// The option answered.
    pub option: u32,
    /// `spec::REP_…`
    pub kind: u32,
    /// What follows the header.
    pub payload: Vec<u8>,
}

/// An option's error reply: its type and its sentence. The type is [`CLOSED`] where the connection ended instead.
pub type Refused = (u32, String);

impl Client {
    /// Connects to a port of this machine and exchanges greetings.
    pub fn connect_tcp(port: u16) -> io::Result<Self> {
        let mut client = Self::raw_tcp(port)?;
        client.greet()?;
        Ok(client)
    }

    /// Connects to a Unix socket and exchanges greetings.
    pub fn connect_unix(path: &Path) -> io::Result<Self> {
        let mut client = Self::raw_unix(path)?;
        client.greet()?;
        Ok(client)
    }

    /// Connects and says nothing: for tests that speak the greeting themselves, or not at all.
    pub fn raw_tcp(port: u16) -> io::Result<Self> {
        let tcp = TcpStream::connect(("127.0.0.1", port))?;
        tcp.set_nodelay(true)?;
        Self::over(Stream::Tcp(tcp))
    }

    /// Connects to a Unix socket and says nothing.
    pub fn raw_unix(path: &Path) -> io::Result<Self> {
        Self::over(Stream::Unix(UnixStream::connect(path)?))
    }

    /// Takes one end of a socket pair whose other end a session has.
    pub fn from_unix(unix: UnixStream) -> io::Result<Self> {
        Self::over(Stream::Unix(unix))
    }

    /// Takes a connected socket.
    pub fn from_tcp(tcp: TcpStream) -> io::Result<Self> {
        Self::over(Stream::Tcp(tcp))
    }

    /// Goes on over another stream, made of the TCP socket under this client: STARTTLS.
    ///
    /// # Errors
    /// Those of `make`, and `Unsupported` for a client that is not over TCP.
    pub fn upgrade(mut self, make: impl FnOnce(TcpStream) -> io::Result<Box<dyn Link>>) -> io::Result<Self> {
        let Stream::Tcp(tcp) = self.stream else { return Err(io::ErrorKind::Unsupported.into()) };
        self.stream = Stream::Own(make(tcp)?);
        Ok(self)
    }

    fn over(stream: Stream) -> io::Result<Self> {
        stream.set_timeout(Some(TIMEOUT))?;
        let pending = Arc::default();
        Ok(Self { stream, server_flags: 0, cookie_next: 1, pending, finished: VecDeque::new() })
    }

    /// Changes how long reads and writes wait; `None` waits for ever.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_timeout(timeout)
    }

    /// A second handle of the same connection, so that one thread sends and another receives. Requests sent by either
    /// are known to both.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            stream: self.stream.try_clone()?,
            server_flags: self.server_flags,
            cookie_next: self.cookie_next,
            pending: Arc::clone(&self.pending),
            finished: VecDeque::new(),
        })
    }

    /// Reads the server's greeting and answers with fixed newstyle and, if offered, no zeroes.
    pub fn greet(&mut self) -> io::Result<()> {
        let greeting = self.recv_bytes(18)?;
        let magics = (be64(&greeting[..8]), be64(&greeting[8..16]));
        if magics != (spec::GREETING_MAGIC, spec::OPTION_MAGIC) {
            return Err(broken(format!("the greeting begins {magics:#x?}")));
        }
        self.server_flags = be16(&greeting[16..]);
        let answer = u32::from(self.server_flags) & (spec::FLAG_C_FIXED_NEWSTYLE | spec::FLAG_C_NO_ZEROES);
        self.send_bytes(&answer.to_be_bytes())
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Receives exactly `len` bytes.
    pub fn recv_bytes(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Receives whatever is there, at most `len` bytes; empty at the end of the stream.
    pub fn recv_some(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let got = self.stream.read(&mut bytes)?;
        bytes.truncate(got);
        Ok(bytes)
    }

    /// Sends one option.
    pub fn send_option(&mut self, option: u32, payload: &[u8]) -> io::Result<()> {
        let len = u32::try_from(payload.len()).map_err(|_| broken("a payload of over 4 GiB".into()))?;
        let mut bytes = Vec::with_capacity(16 + payload.len());
        bytes.extend(spec::OPTION_MAGIC.to_be_bytes());
        bytes.extend(option.to_be_bytes());
        bytes.extend(len.to_be_bytes());
        bytes.extend(payload);
        self.send_bytes(&bytes)
    }

    /// Reads one reply to an option.
    pub fn read_option_reply(&mut self) -> io::Result<OptionReply> {
        let header = self.recv_bytes(20)?;
        if be64(&header[..8]) != spec::OPTION_REPLY_MAGIC {
            return Err(broken(format!("an option reply begins {:02x?}", &header[..8])));
        }
        let (option, kind, len) = (be32(&header[8..]), be32(&header[12..]), be32(&header[16..]));
        if len > 1 << 20 {
            return Err(broken(format!("an option reply of {len} bytes")));
        }
        let payload = self.recv_bytes(len as usize)?;
        Ok(OptionReply { option, kind, payload })
    }

    /// Sends an option and collects its replies up to the acknowledgement, which is left out.
    ///
    /// # Errors
    /// The error reply, with its sentence.
    pub fn ask(&mut self, option: u32, payload: &[u8]) -> Result<Vec<OptionReply>, Refused> {
        self.send_option(option, payload).map_err(closed)?;
        let mut replies = Vec::new();
        loop {
            let reply = self.read_option_reply().map_err(closed)?;
            assert_eq!(reply.option, option, "the reply belongs to another option: {reply:x?}");
            match reply.kind {
                spec::REP_ACK => return Ok(replies),
                kind if kind & spec::REP_ERR != 0 => {
                    return Err((kind, String::from_utf8_lossy(&reply.payload).into_owned()));
                }
                _ => replies.push(reply),
            }
        }
    }

    /// GO: from here on the connection is in transmission.
    pub fn go(&mut self, name: &str) -> Result<ExportInfo, Refused> {
        self.describe(spec::OPT_GO, name, &[spec::INFO_BLOCK_SIZE])
    }

    /// INFO: the same answer as GO, and the haggling goes on.
    pub fn info(&mut self, name: &str) -> Result<ExportInfo, Refused> {
        self.describe(spec::OPT_INFO, name, &[spec::INFO_BLOCK_SIZE])
    }

    /// GO or INFO, asking for the given items.
    pub fn describe(&mut self, option: u32, name: &str, items: &[u16]) -> Result<ExportInfo, Refused> {
        let mut payload = counted(name);
        payload.extend(be_len16(items.len()));
        items.iter().for_each(|item| payload.extend(item.to_be_bytes()));
        let replies = self.ask(option, &payload)?;
        let mut info = ExportInfo::default();
        let mut sized = false;
        for reply in replies {
            assert_eq!(reply.kind, spec::REP_INFO, "GO and INFO are answered by items: {reply:x?}");
            sized |= info.take_in(&reply.payload);
        }
        assert!(sized, "a successful GO or INFO must carry NBD_INFO_EXPORT");
        Ok(info)
    }

    /// LIST: the names, in the server's order.
    pub fn list(&mut self) -> Result<Vec<String>, Refused> {
        let replies = self.ask(spec::OPT_LIST, &[])?;
        Ok(replies.iter().map(|reply| text(&reply.payload[4..4 + be32(&reply.payload) as usize])).collect())
    }

    /// EXPORT_NAME: into transmission with no chance of a sentence; an unknown name ends the connection.
    pub fn export_name(&mut self, name: &str) -> io::Result<ExportInfo> {
        self.send_option(spec::OPT_EXPORT_NAME, name.as_bytes())?;
        let answer = self.recv_bytes(10)?;
        if self.server_flags & spec::FLAG_NO_ZEROES == 0 {
            let zeroes = self.recv_bytes(124)?;
            assert!(zeroes.iter().all(|byte| *byte == 0), "the 124 reserved bytes are not zero");
        }
        Ok(ExportInfo { size: be64(&answer), flags: be16(&answer[8..]), ..ExportInfo::default() })
    }

    /// STRUCTURED_REPLY: replies come in chunks from here on.
    pub fn structured(&mut self) -> Result<(), Refused> {
        self.ask(spec::OPT_STRUCTURED_REPLY, &[]).map(drop)
    }

    /// SET_META_CONTEXT: the contexts granted, with their numbers.
    pub fn set_meta(&mut self, name: &str, queries: &[&str]) -> Result<Vec<(u32, String)>, Refused> {
        self.meta(spec::OPT_SET_META_CONTEXT, name, queries)
    }

    /// LIST_META_CONTEXT: the contexts on offer.
    pub fn list_meta(&mut self, name: &str, queries: &[&str]) -> Result<Vec<(u32, String)>, Refused> {
        self.meta(spec::OPT_LIST_META_CONTEXT, name, queries)
    }

    fn meta(&mut self, option: u32, name: &str, queries: &[&str]) -> Result<Vec<(u32, String)>, Refused> {
        let mut payload = counted(name);
        payload.extend(be_len(queries.len()));
        queries.iter().for_each(|query| payload.extend(counted(query)));
        let replies = self.ask(option, &payload)?;
        Ok(replies.iter().map(|reply| (be32(&reply.payload), text(&reply.payload[4..]))).collect())
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Waits (within the timeout) for the server to end the connection; what still arrives is thrown away. `false` where
    /// the timeout came first.
    pub fn is_closed(&mut self) -> bool {
        let mut bytes = [0; 65536];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if timed_out(&error) => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
    }

    /// Fails the test unless the next thing from the server is the end of the stream.
    #[track_caller]
    pub fn expect_eof(&mut self) {
        match self.recv_some(4096) {
            Ok(bytes) => assert!(bytes.is_empty(), "the end of the stream was due, these came: {bytes:02x?}"),
            Err(error) => assert!(!timed_out(&error), "the server keeps the connection open"),
        }
    }
}

impl ExportInfo {
    /// Whether all of these transmission flags are set.
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    /// Reads one information item; true for the one that must be there.
    fn take_in(&mut self, item: &[u8]) -> bool {
        let (kind, rest) = (be16(item), &item[2..]);
        match kind {
            spec::INFO_EXPORT => (self.size, self.flags) = (be64(rest), be16(&rest[8..])),
            spec::INFO_NAME => self.name = Some(text(rest)),
            spec::INFO_DESCRIPTION => self.description = Some(text(rest)),
            spec::INFO_BLOCK_SIZE => {
                self.block_sizes = Some((be32(rest), be32(&rest[4..]), be32(&rest[8..])))
            }
            _ => {}
        }
        kind == spec::INFO_EXPORT
    }
}

/// A string behind its 32-bit length.
pub fn counted(name: &str) -> Vec<u8> {
    let mut bytes = be_len(name.len()).to_vec();
    bytes.extend(name.as_bytes());
    bytes
}

pub(crate) fn be16(bytes: &[u8]) -> u16 {
    bytes[..2].iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte))
}

pub(crate) fn be32(bytes: &[u8]) -> u32 {
    bytes[..4].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

pub(crate) fn be64(bytes: &[u8]) -> u64 {
    bytes[..8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

pub(crate) fn broken(sentence: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, sentence)
}

pub(crate) fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn be_len(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("a length that fits its field").to_be_bytes()
}

fn be_len16(len: usize) -> [u8; 2] {
    u16::try_from(len).expect("a count that fits its field").to_be_bytes()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn closed(error: io::Error) -> Refused {
    let number = error_number(&error);
    debug_assert!(number >= CLOSED - 1);
    (number, error.to_string())
}
