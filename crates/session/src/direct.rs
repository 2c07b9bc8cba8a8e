//! Large reads out of the page cache, sent without a copy. The copy is what a large read costs.

use crate::channel::Channel;
use crate::ending::Ending;
use crate::line::send_rest;
use crate::transmission::Transmission;
use store::StoreError;
use wire::{Cookie, ErrorNumber, SimpleReply};

/// From this length on. Below it one send for many replies is worth more than the copy it takes.
const DIRECT_MIN: u32 = 32 << 10;
/// The system reads ahead in such steps, so where one byte is at hand its neighbours are.
const STEP: usize = 128 << 10;

impl Transmission<'_> {
    /// Sends what is in the batch, and the reply to this read behind it. `false`: it has to be done in another way;
    /// nothing has happened then. The caller is inside the turnstile.
    ///
    /// # Errors
    /// [`Ending::BrokenPromise`]: the reply is on its way, and its data cannot be read.
    pub(crate) fn send_directly(
        &mut self,
        offset: u64,
        len: u32,
        whole: bool,
        cookie: Cookie,
    ) -> Result<bool, Ending> {
        if !self.line.channel().sends_files() {
            return Ok(false);
        }
        let export = self.export.clone();
        let Some(file) = export.store.raw_fd() else { return Ok(false) };
        let suits = (DIRECT_MIN..=self.limits.payload_len_max).contains(&len);
        if !suits || !self.is_cached(offset, len) || self.has_holes(offset, len, whole) || !self.line.claim()
        {
            return Ok(false);
        }
        if self.style.structured {
            self.out.extend(&wire::offset_data_header(cookie, true, offset, len));
        } else {
            self.out.extend(&SimpleReply { error: ErrorNumber::OK, cookie }.encode());
        }
        self.record_reply(cookie, ErrorNumber::OK);
        self.tally.bytes(len.into());
        self.tally.answered();
        self.settle();
        // From here on it waits for the client, and changes nothing: neither a fence nor a reload has to wait with it.
        self.leave();
        let sent = self.line.channel().send_file(self.out.as_slice(), file, offset, len as usize);
        self.out.clear();
        let rest = match sent {
            Ok(sent) => self.send_copied(offset + sent as u64, len as usize - sent),
            // Whoever waits for the client's next words learns of it there.
            Err(_) => Ok(false),
        };
        self.line.release(!matches!(rest, Ok(true)));
        match rest {
            Ok(_) => Ok(true),
            Err(error) => {
                self.failed(&error);
                Err(Ending::BrokenPromise(error))
            }
        }
    }

    /// What could not be sent from the file. `Ok(false)`: nothing can be sent any more.
    fn send_copied(&mut self, offset: u64, len: usize) -> Result<bool, StoreError> {
        let (mut at, mut left) = (offset, len);
        while left > 0 {
            let part = left.min(self.limits.piece_len);
            let mut piece = self.line.spare(part);
            self.export.store.read_at(piece.tail(part), at)?;
            let send = |channel: &dyn Channel, bytes: &[u8]| channel.send(bytes);
            if send_rest(self.line.channel(), piece.as_slice(), &mut 0, &send).is_err() {
                return Ok(false);
            }
            self.line.recycle(piece);
            at += part as u64;
            left -= part;
        }
        Ok(true)
    }

    /// Whether the range is at hand, as far as a look here and there can tell. If not, a worker waits for it.
    fn is_cached(&self, offset: u64, len: u32) -> bool {
        let last = offset + u64::from(len) - 1;
        let mut looks = (offset..last).step_by(STEP).chain([last]);
        looks.all(|at| matches!(self.export.store.try_read(&mut [0], at), Ok(true)))
    }

    /// Holes travel as chunks without data, which is better still.
    fn has_holes(&self, offset: u64, len: u32, whole: bool) -> bool {
        let store = &*self.export.store;
        let looks = self.style.structured && !whole && store.capabilities().map;
        looks
            && !store.map(offset, u64::from(len), 1).is_ok_and(|extents| {
                extents.first().is_some_and(|first| !first.zero && first.len >= u64::from(len))
            })
    }
}
