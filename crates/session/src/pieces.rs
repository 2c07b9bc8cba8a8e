//! Requests too large to be held: served piece by piece, so that a length in a header never costs memory.

use crate::ending::Ending;
use crate::refusal::Refusal;
use crate::transmission::Transmission;
use std::sync::atomic::Ordering;
use std::time::Instant;
use store::Durability;
use wire::Cookie;

impl Transmission<'_> {
    /// A write too large to be held: received and written piece by piece. After a failure the rest is received and
    /// thrown away, so that the stream stays in step.
    pub(crate) fn write_in_pieces(
        &mut self,
        cookie: Cookie,
        offset: u64,
        len: usize,
        durability: Durability,
    ) -> Result<(), Ending> {
        let mut piece = self.line.spare(self.limits.piece_len);
        let mut outcome = Ok(());
        let mut at = 0;
        while at < len {
            piece.clear();
            let part = self.limits.piece_len.min(len - at);
            self.receive_payload(&mut piece, part)?;
            if outcome.is_ok() {
                outcome = self.write_piece(offset + at as u64, piece.as_slice());
            }
            at += part;
        }
        self.line.recycle(piece);
        if outcome.is_ok() && durability == Durability::Durable {
            outcome = self.enter_to_change().and_then(|()| self.export.store.flush().map_err(Refusal::from));
        }
        match outcome {
            Ok(()) => {
                self.tally.bytes(len as u64);
                if durability == Durability::Cached {
                    self.line.unflushed.store(true, Ordering::SeqCst);
                }
                self.record_reply(cookie, wire::ErrorNumber::OK);
                self.style.done(cookie, &mut self.out);
            }
            Err(refusal) => {
                if let Refusal::Store(error) = &refusal {
                    self.export.guard.store_failed(error);
                }
                self.refuse(cookie, &refusal);
            }
        }
        Ok(())
    }

    fn write_piece(&mut self, offset: u64, piece: &[u8]) -> Result<(), Refusal> {
        self.enter_to_change()?;
        let began = Instant::now();
        let result = self.export.store.write_at(piece, offset, Durability::Cached);
        self.export.note_pace(began.elapsed(), piece.len());
        self.line.unflushed.store(true, Ordering::SeqCst);
        // Left at once: between pieces this thread waits for the client, and the fence must not wait for that.
        self.leave();
        Ok(result?)
    }

    /// A read too large to be held. Its length is promised before its data is read, so a failure in the middle can
    /// only be told by an error chunk or, in simple replies, by ending the connection.
    pub(crate) fn read_in_pieces(&mut self, cookie: Cookie, offset: u64, len: u32) -> Result<(), Ending> {
        self.send_batch();
        self.wait_until_quiet()?;
        let piece_len = u32::try_from(self.limits.piece_len).unwrap_or(u32::MAX);
        if !self.style.structured {
            self.out.extend(&wire::SimpleReply { error: wire::ErrorNumber::OK, cookie }.encode());
        }
        let (mut at, mut left) = (offset, len);
        while left > 0 {
            let part = left.min(piece_len);
            left -= part;
            let start = self.out.len();
            if self.style.structured {
                self.out.extend(&wire::offset_data_header(cookie, left == 0, at, part));
            }
            if !self.enter() {
                return self.break_promise(cookie, start, Refusal::Fenced);
            }
            if let Err(error) = self.export.store.read_at(self.out.tail(part as usize), at) {
                return self.break_promise(cookie, start, error.into());
            }
            self.tally.bytes(part.into());
            if left == 0 {
                self.record_reply(cookie, wire::ErrorNumber::OK);
                self.tally.answered();
            }
            self.send_batch();
            self.still_connected()?;
            at += u64::from(part);
        }
        Ok(())
    }

    fn break_promise(&mut self, cookie: Cookie, start: usize, refusal: Refusal) -> Result<(), Ending> {
        self.out.truncate(start);
        if let Refusal::Store(error) = &refusal {
            self.export.guard.store_failed(error);
        }
        if self.style.structured {
            self.refuse(cookie, &refusal);
            return Ok(());
        }
        self.record_reply(cookie, refusal.number());
        self.out.clear();
        Err(match refusal {
            Refusal::Store(error) => Ending::BrokenPromise(error),
            _ => Ending::Fenced,
        })
    }
}
