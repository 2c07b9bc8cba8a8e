//! WRITE: inline while the medium is quick, by a worker otherwise.

use crate::buffer::Buffer;
use crate::ending::Ending;
use crate::execute::perform_write;
use crate::refusal::Refusal;
use crate::transmission::{Load, Transmission, outcome};
use std::sync::atomic::Ordering;
use std::time::Instant;
use store::{Durability, StoreError};
use wire::Cookie;

impl Transmission<'_> {
    pub(crate) fn write(
        &mut self,
        cookie: Cookie,
        offset: u64,
        len: u32,
        durability: Durability,
    ) -> Result<(), Ending> {
        let len = len as usize;
        if !self.ask_guard() {
            let skipped = self.skip(len as u64);
            self.refuse(cookie, &Refusal::Fenced);
            return skipped;
        }
        if len > self.limits.piece_len {
            return self.write_in_pieces(cookie, offset, len, durability);
        }
        let inline =
            durability == Durability::Cached && self.export.writes_are_quick() && self.may_overtake();
        if inline && self.input.held().len() >= len {
            if let Some(recorder) = &mut self.recorder {
                recorder.payload(&self.input.held()[..len]);
            }
            match self.enter_to_change() {
                Ok(()) => {
                    let result = self.timed_write(offset, None, len, cookie);
                    self.wrote(cookie, len, result);
                }
                Err(refusal) => self.refuse(cookie, &refusal),
            }
            self.input.consume(len);
            return Ok(());
        }
        let mut payload = self.line.spare(len);
        self.receive_payload(&mut payload, len)?;
        if let Err(refusal) = self.enter_to_change() {
            self.refuse(cookie, &refusal);
        } else if inline {
            let result = self.timed_write(offset, Some(payload.as_slice()), len, cookie);
            self.wrote(cookie, len, result);
        } else {
            self.submit_write(cookie, offset, payload, durability);
            return Ok(());
        }
        self.line.recycle(payload);
        Ok(())
    }

    /// A buffered write on the session's own thread; the payload is `apart`, or at the head of the input.
    fn timed_write(
        &mut self,
        offset: u64,
        apart: Option<&[u8]>,
        len: usize,
        cookie: Cookie,
    ) -> Result<(), StoreError> {
        let payload = apart.unwrap_or_else(|| &self.input.held()[..len]);
        let began = Instant::now();
        let cached = Durability::Cached;
        let result = perform_write(&self.export, offset, payload, cached, cookie, self.style, &mut self.out);
        self.export.note_pace(began.elapsed(), len);
        result
    }

    fn wrote(&mut self, cookie: Cookie, len: usize, result: Result<(), StoreError>) {
        self.record_reply(cookie, outcome(result.as_ref().err()));
        match result {
            Ok(()) => {
                self.tally.bytes(len as u64);
                self.line.unflushed.store(true, Ordering::SeqCst);
            }
            Err(error) => self.failed(&error),
        }
    }

    fn submit_write(&mut self, cookie: Cookie, offset: u64, payload: Buffer, durability: Durability) {
        let style = self.style;
        let load = Load { bytes: payload.len() as u64, held: payload.capacity(), changes: true };
        self.hand_over(cookie, load, move |export, line| {
            let mut reply = line.spare(0);
            let began = Instant::now();
            let result =
                perform_write(export, offset, payload.as_slice(), durability, cookie, style, &mut reply);
            if durability == Durability::Cached {
                export.note_pace(began.elapsed(), payload.len());
            }
            if result.is_ok() && durability == Durability::Cached {
                line.unflushed.store(true, Ordering::SeqCst);
            }
            line.recycle(payload);
            (reply, result.err())
        });
    }

    /// Before the first change of a connection: is this still the disk that was meant (P4)? `false`: it is not; the
    /// request is to be refused as fenced, and so are all later ones.
    pub(crate) fn ask_guard(&mut self) -> bool {
        if self.guarded {
            return true;
        }
        match self.export.guard.check() {
            Ok(()) => {
                self.guarded = true;
                true
            }
            Err(why) => {
                let gone = self.export.seats.revoke();
                self.export.guard.wrong_disk(&why, &gone);
                self.wrong_disk = Some(why);
                false
            }
        }
    }
}
