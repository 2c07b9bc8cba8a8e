//! Copy on write: a store of which only the changed pages are kept, beside one that is never written.

mod bitmap;
pub(crate) mod file;
pub(crate) mod layer;
mod pages;

use crate::overlay::bitmap::file_size;
use crate::overlay::layer::Layer;
use crate::{Capabilities, Durability, Extent, Geometry, Store, StoreError, ZeroHow};
use std::sync::Arc;

/// A base that is only read, and the pages of 4096 bytes that were changed, in another store.
///
/// A page goes to the upper store when it is first changed, with what the change left out copied from the base. A trim
/// makes whole pages holes, where that is quickly done, and does nothing else.
pub struct OverlayStore {
    layer: Layer,
    base: Arc<dyn Store>,
    kept: bool,
}

impl OverlayStore {
    /// An overlay of one user, which is gone with the store: which pages were changed is known in memory alone. `upper`
    /// is at least as large as `base`; each page has the same place in both, and what is there now means nothing.
    ///
    /// # Errors
    /// [`crate::Cause::Unsupported`] where `upper` is smaller.
    pub fn private(base: Arc<dyn Store>, upper: Arc<dyn Store>) -> Result<Self, StoreError> {
        let layer = Layer::new(Some(base.clone()), upper, base.geometry().size)?;
        Ok(Self { layer, base, kept: false })
    }

    /// An overlay that stays, for any number of users. `upper` has at least [`OverlayStore::kept_size`] bytes. Where it
    /// begins with a page of zeros it becomes a new, empty overlay.
    ///
    /// After a loss of power everything is there that was flushed or written with [`Durability::Durable`], and nothing of
    /// the base is hidden by anything that was not written.
    ///
    /// # Errors
    /// [`crate::Cause::Unsupported`], in words, where `upper` is too small, is not an overlay, is one of a newer version, or
    /// was made for a base of another size; and what reading or writing it says.
    pub fn kept(base: Arc<dyn Store>, upper: Arc<dyn Store>) -> Result<Self, StoreError> {
        Self::kept_over(base, "", upper)
    }

    /// The same over a base that has a name of its own ([`crate::Identity::lasting`]), which is remembered: over another
    /// disk of the same size it is refused.
    ///
    /// # Errors
    /// As above, and [`crate::Cause::Unsupported`] with both names.
    pub fn kept_over(base: Arc<dyn Store>, name: &str, upper: Arc<dyn Store>) -> Result<Self, StoreError> {
        let layer = Layer::kept(base.clone(), name, upper)?;
        Ok(Self { layer, base, kept: true })
    }

    /// Bytes that `upper` must have for an overlay that stays over a base of so many bytes. Most of it is never written.
    #[must_use]
    pub fn kept_size(base_size: u64) -> u64 {
        file_size(base_size)
    }

    /// Writes every changed page into the base, which must be open for writing, and flushes it: the number of pages.
    /// Afterwards the base has what the overlay shows, and the upper store can go. Nothing may be written meanwhile. What
    /// is interrupted, by an error or the loss of power, is done again from the beginning: the overlay shows the same as
    /// before, and so does the base through it.
    ///
    /// # Errors
    /// What reading the pages or writing the base says; also where the pages themselves cannot be brought to stable
    /// storage, because then they are not to be trusted.
    pub fn commit(&self) -> Result<u64, StoreError> {
        self.layer.sync()?;
        self.layer.merge_into(&*self.base)
    }
}

impl Store for OverlayStore {
    fn geometry(&self) -> Geometry {
        let (base, upper) = (self.base.geometry(), self.layer.upper.geometry());
        Geometry {
            size: base.size,
            block_min: base.block_min.max(upper.block_min),
            block_preferred: base.block_preferred.max(upper.block_preferred),
        }
    }

    fn capabilities(&self) -> Capabilities {
        let upper = self.layer.upper.capabilities();
        Capabilities {
            write: upper.write,
            flush: upper.flush,
            trim: upper.write,
            fast_zero: upper.fast_zero,
            map: upper.map && self.base.capabilities().map,
            // Each connection has a private overlay of its own.
            multi_conn: self.kept && upper.multi_conn,
        }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        self.layer.read(buf, offset)
    }

    fn try_read(&self, buf: &mut [u8], offset: u64) -> Result<bool, StoreError> {
        self.layer.try_read(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64, durability: Durability) -> Result<(), StoreError> {
        self.layer.write(buf, offset, durability)
    }

    fn zero(&self, offset: u64, len: u64, how: ZeroHow, durability: Durability) -> Result<(), StoreError> {
        self.layer.zero(offset..offset + len, how, durability)
    }

    fn trim(&self, offset: u64, len: u64, durability: Durability) -> Result<(), StoreError> {
        self.layer.trim(offset..offset + len, durability)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.layer.sync()
    }

    fn leave(&self) -> Result<(), StoreError> {
        if self.kept { self.flush() } else { Ok(()) }
    }

    fn cache(&self, offset: u64, len: u64) -> Result<(), StoreError> {
        self.layer.cache(offset..offset + len)
    }

    fn map(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<Extent>, StoreError> {
        self.layer.map(offset..offset + len, extents_max)
    }

    fn verify(&self) -> Result<(), StoreError> {
        self.base.verify()?;
        self.layer.upper.verify()
    }

    fn is_nameless(&self) -> bool {
        self.base.is_nameless()
    }
}
