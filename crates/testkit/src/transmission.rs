//! The client's second half: requests, replies simple and structured, and the everyday verbs.

use std::io;

use crate::client::{Client, be16, be32, be64, broken, timed_out};
use crate::spec;

/// Stands where an NBD error number stands when the connection ended instead of an answer. No NBD error has it.
pub const CLOSED: u32 = u32::MAX;

/// Stands where an NBD error number stands when no answer came in time. No NBD error has it.
pub const TIMED_OUT: u32 = u32::MAX - 1;

/// One chunk of a structured reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// `spec::REPLY_FLAG_…`
    pub flags: u16,
    /// `spec::REPLY_TYPE_…`
    pub kind: u16,
    /// What follows the header.
    pub payload: Vec<u8>,
}

/// The whole answer to one request, simple or collected from its chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The request it answers.
    pub cookie: u64,
    /// An NBD error, 0 for success.
    pub error: u32,
    /// The sentence of an error chunk.
    pub message: String,
    /// What was read; empty for other commands and simple errors.
    pub data: Vec<u8>,
    /// For each context its number and its (length, flags) pairs.
    pub extents: Vec<(u32, Vec<(u32, u32)>)>,
    /// The chunks as they came; empty for a simple reply.
    pub chunks: Vec<Chunk>,
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Pending {
    command: u16,
    offset: u64,
    len: u32,
    covered: u64,
    answer: Answer,
}

impl Client {
    /// A cookie not used yet by this handle.
    pub fn next_cookie(&mut self) -> u64 {
        self.cookie_next += 1;
        self.cookie_next - 1
    }

    /// Sends one request, header and payload in one write, and does not wait.
    pub fn send_request(
        &mut self,
        flags: u16,
        command: u16,
        cookie: u64,
        offset: u64,
        len: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        let answer = Answer { cookie, ..Answer::default() };
        let pending = Pending { command, offset, len, covered: 0, answer };
        self.requests().insert(cookie, pending);
        let mut bytes = request_header(flags, command, cookie, offset, len).to_vec();
        bytes.extend(payload);
        self.send_bytes(&bytes)
    }

    /// The next finished answer, whichever request it belongs to.
    ///
    /// # Errors
    /// `InvalidData` where the server breaks the specification: an unknown cookie or magic, a range told twice or not at
    /// all, a chunk outside the request.
    pub fn recv_answer(&mut self) -> io::Result<Answer> {
        if let Some(answer) = self.finished.pop_front() {
            return Ok(answer);
        }
        loop {
            if let Some(answer) = self.recv_piece()? {
                return Ok(answer);
            }
        }
    }

    /// The answer to one request; others that come first are kept for [`Client::recv_answer`].
    pub fn wait_for(&mut self, cookie: u64) -> io::Result<Answer> {
        if let Some(at) = self.finished.iter().position(|answer| answer.cookie == cookie) {
            return Ok(self.finished.remove(at).expect("the position just found"));
        }
        loop {
            match self.recv_piece()? {
                Some(answer) if answer.cookie == cookie => return Ok(answer),
                Some(other) => self.finished.push_back(other),
                None => {}
            }
        }
    }

    /// How many requests have no answer yet.
    pub fn in_flight(&self) -> usize {
        self.requests().len()
    }

    /// Sends one request with the next cookie and waits for its answer.
    pub fn transact(
        &mut self,
        flags: u16,
        command: u16,
        offset: u64,
        len: u32,
        payload: &[u8],
    ) -> io::Result<Answer> {
        let cookie = self.next_cookie();
        self.send_request(flags, command, cookie, offset, len, payload)?;
        self.wait_for(cookie)
    }

    /// READ.
    ///
    /// # Errors
    /// For this and all verbs below: the NBD error, or [`CLOSED`] or [`TIMED_OUT`].
    pub fn read(&mut self, offset: u64, len: u32) -> Result<Vec<u8>, u32> {
        self.act(0, spec::CMD_READ, offset, len, &[]).map(|answer| answer.data)
    }

    /// WRITE.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), u32> {
        self.write_with(0, offset, bytes)
    }

    /// WRITE with flags, such as `spec::CMD_FLAG_FUA`.
    pub fn write_with(&mut self, flags: u16, offset: u64, bytes: &[u8]) -> Result<(), u32> {
        let len = u32::try_from(bytes.len()).expect("a write of less than 4 GiB");
        self.act(flags, spec::CMD_WRITE, offset, len, bytes).map(drop)
    }

    /// FLUSH.
    pub fn flush(&mut self) -> Result<(), u32> {
        self.act(0, spec::CMD_FLUSH, 0, 0, &[]).map(drop)
    }

    /// TRIM.
    pub fn trim(&mut self, offset: u64, len: u32) -> Result<(), u32> {
        self.act(0, spec::CMD_TRIM, offset, len, &[]).map(drop)
    }

    /// WRITE_ZEROES with flags, such as `spec::CMD_FLAG_NO_HOLE`.
    pub fn zero(&mut self, flags: u16, offset: u64, len: u32) -> Result<(), u32> {
        self.act(flags, spec::CMD_WRITE_ZEROES, offset, len, &[]).map(drop)
    }

    /// CACHE.
    pub fn cache(&mut self, offset: u64, len: u32) -> Result<(), u32> {
        self.act(0, spec::CMD_CACHE, offset, len, &[]).map(drop)
    }

    /// BLOCK_STATUS: the (length, flags) pairs of the first context.
    pub fn block_status(&mut self, offset: u64, len: u32) -> Result<Vec<(u32, u32)>, u32> {
        let mut answer = self.act(0, spec::CMD_BLOCK_STATUS, offset, len, &[])?;
        assert!(!answer.extents.is_empty(), "BLOCK_STATUS succeeded without a word about any context");
        Ok(answer.extents.swap_remove(0).1)
    }

    /// DISC: says goodbye, which has no answer.
    pub fn disc(&mut self) -> io::Result<()> {
        self.send_bytes(&request_header(0, spec::CMD_DISC, 0, 0, 0))
    }

    fn act(&mut self, flags: u16, command: u16, offset: u64, len: u32, data: &[u8]) -> Result<Answer, u32> {
        match self.transact(flags, command, offset, len, data) {
            Ok(answer) if answer.error == 0 => Ok(answer),
            Ok(answer) => Err(answer.error),
            Err(error) => Err(error_number(&error)),
        }
    }

    /// Reads a simple reply or one chunk; an answer if that completes one.
    fn recv_piece(&mut self) -> io::Result<Option<Answer>> {
        let magic = self.recv_bytes(4)?;
        match be32(&magic) {
            spec::SIMPLE_REPLY_MAGIC => self.recv_simple().map(Some),
            spec::STRUCTURED_REPLY_MAGIC => self.recv_chunk(),
            other => Err(broken(format!("a reply begins with {other:#010x}"))),
        }
    }

    fn recv_simple(&mut self) -> io::Result<Answer> {
        let rest = self.recv_bytes(12)?;
        let (error, cookie) = (be32(&rest), be64(&rest[4..]));
        let mut pending = self.requests().remove(&cookie).ok_or_else(|| unknown(cookie))?;
        if !pending.answer.chunks.is_empty() {
            return Err(broken(format!("a simple reply ends the chunks of {cookie}")));
        }
        pending.answer.error = error;
        if pending.command == spec::CMD_READ && error == 0 {
            pending.answer.data = self.recv_bytes(pending.len as usize)?;
        }
        Ok(pending.answer)
    }

    fn recv_chunk(&mut self) -> io::Result<Option<Answer>> {
        let rest = self.recv_bytes(16)?;
        let (flags, kind, cookie, len) = (be16(&rest), be16(&rest[2..]), be64(&rest[4..]), be32(&rest[12..]));
        if len > 64 << 20 {
            return Err(broken(format!("a chunk of {len} bytes")));
        }
        let payload = self.recv_bytes(len as usize)?;
        let mut requests = self.requests();
        let pending = requests.get_mut(&cookie).ok_or_else(|| unknown(cookie))?;
        pending.take_in(Chunk { flags, kind, payload })?;
        if flags & spec::REPLY_FLAG_DONE == 0 {
            return Ok(None);
        }
        let pending = requests.remove(&cookie).expect("just found");
        pending.finish().map(Some)
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<u64, Pending>> {
        self.pending.lock().expect("no thread panics while it holds the table of requests")
    }
}

impl Pending {
    fn take_in(&mut self, chunk: Chunk) -> io::Result<()> {
        let body = &chunk.payload;
        let least = match chunk.kind {
            spec::REPLY_TYPE_NONE => 0,
            spec::REPLY_TYPE_OFFSET_DATA => 9,
            spec::REPLY_TYPE_OFFSET_HOLE | spec::REPLY_TYPE_BLOCK_STATUS => 12,
            _ => 6,
        };
        if body.len() < least {
            return Err(broken(format!("a chunk of type {} has only {} bytes", chunk.kind, body.len())));
        }
        match chunk.kind {
            spec::REPLY_TYPE_NONE => {}
            spec::REPLY_TYPE_OFFSET_DATA => self.place(be64(body), &body[8..])?,
            spec::REPLY_TYPE_OFFSET_HOLE => self.place(be64(body), &vec![0; be32(&body[8..]) as usize])?,
            spec::REPLY_TYPE_BLOCK_STATUS => {
                let pairs = body[4..].chunks_exact(8).map(|pair| (be32(pair), be32(&pair[4..])));
                self.answer.extents.push((be32(body), pairs.collect()));
            }
            kind if kind & 1 << 15 != 0 => self.complain(body)?,
            kind => return Err(broken(format!("a chunk of unknown type {kind}"))),
        }
        self.answer.chunks.push(chunk);
        Ok(())
    }

    fn place(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = offset
            .checked_sub(self.offset)
            .map(|start| start as usize..start as usize + bytes.len())
            .filter(|range| self.command == spec::CMD_READ && range.end <= self.len as usize)
            .ok_or_else(|| broken(format!("{} bytes at {offset} were not asked for", bytes.len())))?;
        self.answer.data.resize(self.len as usize, 0);
        self.answer.data[range].copy_from_slice(bytes);
        self.covered += bytes.len() as u64;
        Ok(())
    }

    fn complain(&mut self, body: &[u8]) -> io::Result<()> {
        let len = usize::from(be16(&body[4..]));
        let message = body.get(6..6 + len).ok_or_else(|| broken("an error's sentence is cut".into()))?;
        if be32(body) == 0 {
            return Err(broken("an error chunk with error 0".into()));
        }
        if self.answer.error == 0 {
            self.answer.error = be32(body);
            self.answer.message = String::from_utf8_lossy(message).into_owned();
        }
        Ok(())
    }

    fn finish(self) -> io::Result<Answer> {
        let told = self.covered == u64::from(self.len);
        if self.command == spec::CMD_READ && self.answer.error == 0 && !told {
            return Err(broken(format!("{} of {} bytes were told", self.covered, self.len)));
        }
        Ok(self.answer)
    }
}

/// The 28 bytes of a request, for tests that break them.
pub fn request_header(flags: u16, command: u16, cookie: u64, offset: u64, len: u32) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[..4].copy_from_slice(&spec::REQUEST_MAGIC.to_be_bytes());
    bytes[4..6].copy_from_slice(&flags.to_be_bytes());
    bytes[6..8].copy_from_slice(&command.to_be_bytes());
    bytes[8..16].copy_from_slice(&cookie.to_be_bytes());
    bytes[16..24].copy_from_slice(&offset.to_be_bytes());
    bytes[24..].copy_from_slice(&len.to_be_bytes());
    bytes
}

/// The number that stands for a transport error.
///
/// # Panics
/// For `InvalidData`: a server that breaks the specification fails the test at once.
#[track_caller]
pub(crate) fn error_number(error: &io::Error) -> u32 {
    assert_ne!(error.kind(), io::ErrorKind::InvalidData, "the server breaks the specification: {error}");
    if timed_out(error) { TIMED_OUT } else { CLOSED }
}

fn unknown(cookie: u64) -> io::Error {
    broken(format!("an answer to {cookie:#x}, which nobody asked"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Client, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        (Client::from_unix(ours).expect("a client"), theirs)
    }

    fn chunk(flags: u16, kind: u16, cookie: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = spec::STRUCTURED_REPLY_MAGIC.to_be_bytes().to_vec();
        bytes.extend(flags.to_be_bytes());
        bytes.extend(kind.to_be_bytes());
        bytes.extend(cookie.to_be_bytes());
        bytes.extend((payload.len() as u32).to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn chunks_of_two_requests_may_be_interleaved() {
        let (mut client, mut server) = pair();
        client.send_request(0, spec::CMD_READ, 7, 100, 3, &[]).unwrap();
        client.send_request(0, spec::CMD_FLUSH, 8, 0, 0, &[]).unwrap();
        let hole = [&101_u64.to_be_bytes()[..], &2_u32.to_be_bytes()].concat();
        let data = [&100_u64.to_be_bytes()[..], &[9]].concat();
        server.write_all(&chunk(0, spec::REPLY_TYPE_OFFSET_HOLE, 7, &hole)).unwrap();
        server.write_all(&chunk(1, spec::REPLY_TYPE_NONE, 8, &[])).unwrap();
        server.write_all(&chunk(1, spec::REPLY_TYPE_OFFSET_DATA, 7, &data)).unwrap();

        assert_eq!(client.wait_for(7).unwrap().data, [9, 0, 0]);
        assert_eq!(client.recv_answer().unwrap().cookie, 8);
        assert_eq!(client.in_flight(), 0);
    }

    #[test]
    fn a_reply_that_leaves_bytes_untold_is_no_success() {
        let (mut client, mut server) = pair();
        client.send_request(0, spec::CMD_READ, 7, 100, 3, &[]).unwrap();
        let data = [&100_u64.to_be_bytes()[..], &[9]].concat();
        server.write_all(&chunk(1, spec::REPLY_TYPE_OFFSET_DATA, 7, &data)).unwrap();

        assert_eq!(client.recv_answer().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_server_that_hangs_up_is_told_apart_from_an_error() {
        let (mut client, server) = pair();
        drop(server);
        assert_eq!(client.read(0, 512), Err(CLOSED));
        assert!(client.is_closed());
    }

    #[test]
    fn an_error_chunk_gives_number_and_sentence() {
        let (mut client, mut server) = pair();
        client.send_request(0, spec::CMD_READ, 7, 0, 3, &[]).unwrap();
        let body = [&spec::EIO.to_be_bytes()[..], &4_u16.to_be_bytes(), b"gone"].concat();
        server.write_all(&chunk(1, spec::REPLY_TYPE_ERROR, 7, &body)).unwrap();

        let answer = client.recv_answer().unwrap();
        assert_eq!((answer.error, answer.message.as_str()), (spec::EIO, "gone"));
    }
}
