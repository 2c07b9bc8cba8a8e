//! Bytes that are used again: a received stretch of the stream, and a reply being put together.

use std::ops::Range;

/// A growing buffer whose memory is cleared once, when it grows, and not for each reply: a READ is read straight into
/// its tail. (`Vec::resize` for every reply would clear memory that the store overwrites at once.)
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

impl Buffer {
    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.filled = self.filled.min(len);
    }

    pub(crate) fn extend(&mut self, more: &[u8]) {
        self.tail(more.len()).copy_from_slice(more);
    }

    /// Appends `len` bytes of no particular value, to be overwritten.
    pub(crate) fn tail(&mut self, len: usize) -> &mut [u8] {
        let start = self.filled;
        let end = start + len;
        if self.bytes.len() < end {
            // Doubling by hand: `resize` alone grows to exactly `end`, again and again.
            let target = end.max(self.bytes.len().saturating_mul(2)).max(4096);
            if start == 0 {
                self.bytes = vec![0; target];
            } else {
                self.bytes.resize(target, 0);
            }
        }
        self.filled = end;
        &mut self.bytes[start..end]
    }
}

/// The received part of the stream that has not been understood yet.
#[derive(Debug)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    held: Range<usize>,
}

impl Input {
    /// One receive fills at most this much: sixteen small writes of 4 KiB with their headers.
    const CAPACITY: usize = 66 << 10;

    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; Self::CAPACITY], held: 0..0 }
    }

    pub(crate) fn held(&self) -> &[u8] {
        &self.bytes[self.held.clone()]
    }

    /// The next `N` bytes, if that many have arrived. They stay until [`Input::consume`].
    pub(crate) fn peek<const N: usize>(&self) -> Option<&[u8; N]> {
        self.held().first_chunk()
    }

    pub(crate) fn consume(&mut self, len: usize) {
        debug_assert!(len <= self.held.len());
        self.held.start += len;
        if self.held.is_empty() {
            self.held = 0..0;
        }
    }

    /// Room to receive into; what is held moves to the front when the rear is used up.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.bytes.len() - self.held.end < Self::CAPACITY / 2 && self.held.start > 0 {
            self.bytes.copy_within(self.held.clone(), 0);
            self.held = 0..self.held.len();
        }
        &mut self.bytes[self.held.end..]
    }

    pub(crate) fn received(&mut self, len: usize) {
        self.held.end += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_follows_what_was_there() {
        let mut buffer = Buffer::default();
        buffer.extend(b"head");
        buffer.tail(5000).fill(7);
        buffer.extend(b"end");
        assert_eq!(buffer.len(), 5007);
        assert_eq!(&buffer.as_slice()[..5], b"head\x07");
        assert_eq!(&buffer.as_slice()[5004..], b"end");
        buffer.truncate(4);
        assert_eq!(buffer.as_slice(), b"head");
    }

    #[test]
    fn what_is_held_survives_making_room() {
        let mut input = Input::new();
        let full = input.room().len();
        input.room().fill(1);
        input.received(full);
        input.bytes[full - 2..].copy_from_slice(b"xy");
        input.consume(full - 2);
        assert_eq!(input.room().len(), full - 2);
        assert_eq!(input.held(), b"xy");
        assert_eq!(input.peek::<3>(), None);
        assert_eq!(input.peek::<2>(), Some(b"xy"));
    }
}
