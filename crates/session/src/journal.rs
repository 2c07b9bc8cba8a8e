//! The record of what a session was asked and what it answered, for an operator who wants one.
//!
//! Requests are told as they came, replies as simple replies, also where they went out as chunks: so one reader
//! understands the record of any session. Each record is told whole. A WRITE whose payload is wanted is told once the
//! payload has arrived, so that a client that stops in the middle of it holds nobody else's records up.

use std::sync::Arc;
use wire::{Command, Cookie, ErrorNumber, Request, SimpleReply};

/// Takes the records of one session, in the order in which things were done. Called by the session's own thread and
/// by the workers. It has no way to fail: a session goes on without its record.
pub trait Journal: Send + Sync {
    /// Whether what a WRITE carries is wanted behind its header. Asked once.
    fn wants_payloads(&self) -> bool;

    /// A request: its header as it came, refused ones and DISC included. `payload` is what a WRITE carries, if that
    /// is wanted, and as long as the header says; otherwise empty.
    fn request(&self, header: &[u8; Request::SIZE], payload: &[u8]);

    /// The answer to one request: what a simple reply would say. Told before the answer leaves.
    fn reply(&self, reply: &[u8; SimpleReply::SIZE]);
}

/// A record that belongs to no session and tells a reader (`nbd-trdump`) whether payloads stand behind the headers of
/// the WRITEs that follow. Where there is none, they do not.
///
/// Shape: as [`Request`], big-endian: magic `25609514`, type 1 in 4 bytes, 8 zeros, `4A93BA39A54F31B6`, and 1 for yes
/// or 0 for no in 4 bytes. Not in the specification: the original's own.
#[must_use]
pub fn payloads_follow(yes: bool) -> [u8; Request::SIZE] {
    let mut bytes = [0; Request::SIZE];
    bytes[..4].copy_from_slice(&0x2560_9514_u32.to_be_bytes());
    bytes[4..8].copy_from_slice(&1_u32.to_be_bytes());
    bytes[16..24].copy_from_slice(&0x4A93_BA39_A54F_31B6_u64.to_be_bytes());
    bytes[24..].copy_from_slice(&u32::from(yes).to_be_bytes());
    bytes
}

/// A session's end of its journal.
pub(crate) struct Recorder {
    journal: Arc<dyn Journal>,
    payloads: bool,
    /// The longest payload of one record. A client that keeps to what was offered never crosses it.
    payload_max: usize,
    /// A WRITE whose payload has not been told yet: what is still to come of it, and of that what has arrived.
    write: Option<(Request, Vec<u8>)>,
}

impl Recorder {
    pub(crate) fn new(journal: Arc<dyn Journal>, payload_max: u32) -> Self {
        let payloads = journal.wants_payloads();
        Self { journal, payloads, payload_max: payload_max as usize, write: None }
    }

    /// For a worker, which has only a reply to tell.
    pub(crate) fn journal(&self) -> Arc<dyn Journal> {
        self.journal.clone()
    }

    pub(crate) fn request(&mut self, request: &Request) {
        if self.payloads && request.command == Command::WRITE && request.length > 0 {
            self.write = Some((*request, Vec::new()));
        } else {
            self.journal.request(&request.encode(), &[]);
        }
    }

    /// The next bytes of the WRITE at hand, in the order of the stream; refused or not.
    pub(crate) fn payload(&mut self, mut bytes: &[u8]) {
        while let Some((request, arrived)) = &mut self.write
            && !bytes.is_empty()
        {
            let len = (request.length as usize).min(self.payload_max);
            let (part, rest) = bytes.split_at(bytes.len().min(len - arrived.len()));
            bytes = rest;
            if part.len() == len {
                // As always but for large ones: nothing has to be kept.
                self.tell(part);
            } else {
                arrived.extend_from_slice(part);
                if arrived.len() == len {
                    let arrived = std::mem::take(arrived);
                    self.tell(&arrived);
                }
            }
        }
    }

    /// The payload at hand, if there is one, ends here: the client has gone. What has arrived of it is told, because what
    /// is written in pieces has changed the disk up to there.
    pub(crate) fn finish(&mut self) {
        if let Some((_, arrived)) = &mut self.write {
            let arrived = std::mem::take(arrived);
            self.tell(&arrived);
            self.write = None;
        }
    }

    /// One record for as much of the WRITE at hand as `payload` is long.
    fn tell(&mut self, payload: &[u8]) {
        let Some((request, _)) = &mut self.write else { return };
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.journal.request(&Request { length: len, ..*request }.encode(), payload);
        // Where a refused one ends is the client's affair, and may be anywhere.
        request.offset = request.offset.wrapping_add(len.into());
        request.length -= len;
        if request.length == 0 {
            self.write = None;
        }
    }

    pub(crate) fn reply(&mut self, cookie: Cookie, error: ErrorNumber) {
        // No answer stands before its request.
        self.finish();
        tell_reply(&*self.journal, cookie, error);
    }
}

pub(crate) fn tell_reply(journal: &dyn Journal, cookie: Cookie, error: ErrorNumber) {
    journal.reply(&SimpleReply { error, cookie }.encode());
}
