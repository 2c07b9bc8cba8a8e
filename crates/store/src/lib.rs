//! Where bytes live. A [`Store`] offers plain blocking verbs on `&self` with an explicit offset, and one that never
//! blocks ([`Store::try_read`]). It knows nothing of NBD, of export names or of who is asking.
#![deny(unsafe_code)]

mod concat;
mod errno;
mod error;
mod file;
mod identity;
mod open;
mod overlay;
mod place;
mod poison;
mod scratch;
mod sync;
#[allow(unsafe_code)]
mod sys;
mod sysfs;
mod temporary;
#[cfg(test)]
mod testing;
mod tree;
mod waiting;

pub use concat::ConcatStore;
pub use error::{Cause, StoreError, Verb};
pub use file::FileStore;
pub use identity::{DeviceIdentity, Identity, Partition, Wanted};
pub use open::{Access, Kind, Layout, Opened, Probe, Spec, open, open_file, probe};
pub use overlay::OverlayStore;
pub use overlay::file::{forget_overlay, open_overlay, remove_overlay};
pub use place::{Ground, Place};
pub use poison::Poison;
pub use scratch::scratch;
pub use temporary::open_temporary;
pub use tree::TreeStore;
pub use waiting::WaitingStore;

use std::os::fd::BorrowedFd;

/// Bytes that can be read and written by many threads at once.
///
/// Ranges handed to any verb lie inside `geometry().size`: the caller has judged them. A range that the medium can no
/// longer serve (a file that shrank, a disk that left) is an error, never zeros.
pub trait Store: Send + Sync {
    /// Size and block sizes, fixed when the store was opened.
    fn geometry(&self) -> Geometry;

    /// What this store can do.
    fn capabilities(&self) -> Capabilities;

    /// Fills `buf` from `offset`, waiting for the medium.
    ///
    /// # Errors
    /// Also when fewer bytes exist than asked for: a short read inside the size is [`Cause::Lost`] or [`Cause::Io`].
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError>;

    /// Fills `buf` from `offset` if that can be done without waiting. `Ok(false)`: it cannot (or the system cannot
    /// tell); `buf` then holds nothing of worth and the caller uses [`Store::read_at`] where waiting is allowed.
    ///
    /// # Errors
    /// As [`Store::read_at`], except that "would block" and "not supported" are `Ok(false)`.
    fn try_read(&self, buf: &mut [u8], offset: u64) -> Result<bool, StoreError>;

    /// Writes all of `buf` at `offset`. With [`Durability::Durable`] returns after the bytes survive a power cut.
    fn write_at(&self, buf: &[u8], offset: u64, durability: Durability) -> Result<(), StoreError>;

    /// Makes the range read as zeros.
    fn zero(&self, offset: u64, len: u64, how: ZeroHow, durability: Durability) -> Result<(), StoreError>;

    /// Says that the range's content is no longer needed. A hint: refusal by the medium is not an error.
    fn trim(&self, offset: u64, len: u64, durability: Durability) -> Result<(), StoreError>;

    /// Returns when every write answered before the call survives a power cut.
    ///
    /// # Errors
    /// After one failed sync every later one fails too ([`Cause::Poisoned`]): the kernel reports a lost page once.
    fn flush(&self) -> Result<(), StoreError>;

    /// What a user owes that wrote and goes without a flush: as [`Store::flush`], except where the bytes go with the user
    /// and nobody can ask for them again.
    ///
    /// # Errors
    /// As [`Store::flush`].
    fn leave(&self) -> Result<(), StoreError> {
        self.flush()
    }

    /// Asks for the range to be brought near (page cache). A hint.
    fn cache(&self, offset: u64, len: u64) -> Result<(), StoreError>;

    /// Describes the range from `offset`, at most `extents_max` extents, without gaps, the first starting at `offset`.
    /// May describe less than `len`, never nothing.
    fn map(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<Extent>, StoreError>;

    /// Whether what was opened is still there and still the same disk, as seen through the open descriptor.
    ///
    /// # Errors
    /// [`Cause::Lost`] (a device whose size became 0, anything that became smaller) or [`Cause::Moved`] (other device sequence number, other
    /// lower devices), each with a sentence.
    fn verify(&self) -> Result<(), StoreError>;

    /// Whether the file has no name any more: it was deleted, or replaced by another one, and its bytes go with its last
    /// user. Which of the two, only who knows its path can tell.
    fn is_nameless(&self) -> bool {
        false
    }

    /// The descriptor to send file pages from without copying, where the range on the medium is the range of the store.
    fn raw_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Size and block sizes of a store, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes that can be addressed.
    pub size: u64,
    /// Smallest unit a client may use. 1 where the kernel's page cache takes any offset and length.
    pub block_min: u32,
    /// Unit that works without read-modify-write below (file system block, physical sector), a power of two.
    pub block_preferred: u32,
}

/// What a store can do; what is not here is refused before it reaches the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Writes, zeroes and trims reach the medium.
    pub write: bool,
    /// `flush` and [`Durability::Durable`] are real.
    pub flush: bool,
    /// `trim` may free space.
    pub trim: bool,
    /// `zero` with [`ZeroHow::fast_only`] can answer at once whether it is quick.
    pub fast_zero: bool,
    /// `map` tells more than "all data".
    pub map: bool,
    /// One descriptor or cache serves every user, so a flush by one covers the writes of all.
    pub multi_conn: bool,
}

/// Whether a write is answered from the cache or after it is on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In the page cache.
    Cached,
    /// On stable storage.
    Durable,
}

/// How zeros may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroHow {
    /// The range may become a hole. Without it the space stays (or becomes) allocated.
    pub may_punch: bool,
    /// Fail with [`Cause::Unsupported`] at once rather than writing real zeros.
    pub fast_only: bool,
}

/// A run of bytes with one status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes, never 0.
    pub len: u64,
    /// No space is allocated.
    pub hole: bool,
    /// Reads as zeros.
    pub zero: bool,
}

impl Extent {
    /// Puts it at the end of a list, as more of the last one where both have one status.
    pub(crate) fn append_to(self, list: &mut Vec<Self>) {
        match list.last_mut() {
            Some(last) if (last.hole, last.zero) == (self.hole, self.zero) => last.len += self.len,
            _ if self.len > 0 => list.push(self),
            _ => {}
        }
    }
}
