//! A store for a file that is not there yet.

use crate::overlay::layer::Layer;
use crate::{Capabilities, Durability, Extent, Geometry, Store, StoreError, ZeroHow};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, TryLockError};

/// Takes whole pages of 4096 bytes (the last one may be shorter) until its file is there, then merges them into it and
/// is that file.
///
/// Until then what was written can be read; everything else, and a change of a part of a page that nobody wrote, fails
/// with [`crate::Cause::Other`]: nobody knows yet what is there.
pub struct WaitingStore {
    state: RwLock<State>,
    geometry: Geometry,
    capabilities: Capabilities,
}

enum State {
    Waiting(Layer),
    There(Arc<dyn Store>),
}

impl WaitingStore {
    /// Waits for a file of `size` bytes. `upper` has at least as many; what is there now means nothing.
    ///
    /// # Errors
    /// [`crate::Cause::Unsupported`] where `upper` is smaller.
    pub fn new(upper: Arc<dyn Store>, size: u64) -> Result<Self, StoreError> {
        let geometry = Geometry { size, ..upper.geometry() };
        // Whoever comes is told the same as long as the store lives. A flush of one says nothing of another's pages.
        let capabilities = Capabilities { trim: true, multi_conn: false, ..upper.capabilities() };
        let state = RwLock::new(State::Waiting(Layer::new(None, upper, size)?));
        Ok(Self { state, geometry, capabilities })
    }

    /// The file is there: merges the pages into it, flushes it, lets go of the upper store, and is the file from now on.
    /// How many pages there were. Operations under way end before, those that come meanwhile wait. Where the file is
    /// already in use, nothing is done.
    ///
    /// # Errors
    /// [`crate::Cause::Unsupported`] for a file that is too small, [`crate::Cause::Forbidden`] where there are pages and it
    /// cannot be written, and what reading or writing says. The store then waits on, with every page, and this can be
    /// called again.
    pub fn switch(&self, file: Arc<dyn Store>) -> Result<u64, StoreError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State::Waiting(layer) = &*state else { return Ok(0) };
        let merged = layer.merge_into(&*file)?;
        *state = State::There(file);
        Ok(merged)
    }

    /// Whether the file is not there yet, as far as anybody said.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(*self.state(), State::Waiting(_))
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for WaitingStore {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        match &*self.state() {
            State::Waiting(layer) => layer.read(buf, offset),
            State::There(file) => file.read_at(buf, offset),
        }
    }

    fn try_read(&self, buf: &mut [u8], offset: u64) -> Result<bool, StoreError> {
        let state = match self.state.try_read() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            // The pages are being merged.
            Err(TryLockError::WouldBlock) => return Ok(false),
        };
        match &*state {
            State::Waiting(layer) => layer.try_read(buf, offset),
            State::There(file) => file.try_read(buf, offset),
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64, durability: Durability) -> Result<(), StoreError> {
        match &*self.state() {
            State::Waiting(layer) => layer.write(buf, offset, durability),
            State::There(file) => file.write_at(buf, offset, durability),
        }
    }

    fn zero(&self, offset: u64, len: u64, how: ZeroHow, durability: Durability) -> Result<(), StoreError> {
        match &*self.state() {
            State::Waiting(layer) => layer.zero(offset..offset + len, how, durability),
            State::There(file) => file.zero(offset, len, how, durability),
        }
    }

    fn trim(&self, offset: u64, len: u64, durability: Durability) -> Result<(), StoreError> {
        match &*self.state() {
            State::Waiting(layer) => layer.trim(offset..offset + len, durability),
            State::There(file) => file.trim(offset, len, durability),
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        match &*self.state() {
            State::Waiting(layer) => layer.sync(),
            State::There(file) => file.flush(),
        }
    }

    fn leave(&self) -> Result<(), StoreError> {
        match &*self.state() {
            State::Waiting(_) => Ok(()),
            State::There(file) => file.leave(),
        }
    }

    fn cache(&self, offset: u64, len: u64) -> Result<(), StoreError> {
        match &*self.state() {
            State::Waiting(layer) => layer.cache(offset..offset + len),
            State::There(file) => file.cache(offset, len),
        }
    }

    fn map(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<Extent>, StoreError> {
        match &*self.state() {
            State::Waiting(layer) => layer.map(offset..offset + len, extents_max),
            State::There(file) => file.map(offset, len, extents_max),
        }
    }

    fn verify(&self) -> Result<(), StoreError> {
        match &*self.state() {
            State::Waiting(layer) => layer.upper.verify(),
            State::There(file) => file.verify(),
        }
    }

    fn is_nameless(&self) -> bool {
        match &*self.state() {
            State::Waiting(_) => false,
            State::There(file) => file.is_nameless(),
        }
    }
}
