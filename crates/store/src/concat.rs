//! Several stores one after the other, as one.

use crate::file::FileStore;
use crate::identity::Identity;
use crate::open::{Opened, failed, open_file, probe_one, unsupported, window};
use crate::{
    Access, Capabilities, Cause, Durability, Extent, Geometry, Layout, Poison, Probe, Spec, Store,
    StoreError, Verb, ZeroHow,
};
use rustix::fs::lstat;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// Stores that follow each other. It can do what all of them can do.
pub struct ConcatStore {
    pieces: Vec<Piece>,
    geometry: Geometry,
    capabilities: Capabilities,
}

struct Piece {
    number: usize,
    store: Arc<dyn Store>,
    start: u64,
    size: u64,
}

/// What of a request lies in one piece.
struct Part<'a> {
    piece: &'a Piece,
    /// From the start of the piece.
    at: u64,
    /// Bytes, never 0.
    len: u64,
    /// Bytes of the request that lie in the pieces before.
    done: usize,
}

impl ConcatStore {
    /// The pieces in their order, and of them as many bytes as `filesize` says, all where it says nothing.
    ///
    /// # Errors
    /// [`Cause::Unsupported`] where they have fewer bytes than that, or a border that no request could meet.
    pub fn new(pieces: Vec<Arc<dyn Store>>, filesize: Option<u64>) -> Result<Self, StoreError> {
        let sizes = pieces.iter().map(|piece| piece.geometry().size);
        let size = window(filesize, total(sizes)?)?;
        let most = |unit: fn(Geometry) -> u32| pieces.iter().map(|piece| unit(piece.geometry())).max();
        let block_min = most(|geometry| geometry.block_min).unwrap_or(1);
        let block_preferred = most(|geometry| geometry.block_preferred).unwrap_or(4096);
        let all = |able: fn(Capabilities) -> bool| pieces.iter().all(|piece| able(piece.capabilities()));
        let capabilities = Capabilities {
            write: all(|able| able.write),
            flush: all(|able| able.flush),
            trim: all(|able| able.trim),
            fast_zero: all(|able| able.fast_zero),
            map: all(|able| able.map),
            multi_conn: all(|able| able.multi_conn),
        };
        let mut start = 0;
        let mut placed = Vec::with_capacity(pieces.len());
        for (number, store) in pieces.into_iter().enumerate() {
            if start % u64::from(block_min.max(1)) != 0 {
                return Err(unsupported(&format!(
                    "piece {number} does not begin at a multiple of {block_min}"
                )));
            }
            let size = store.geometry().size;
            placed.push(Piece { number, store, start, size });
            start += size;
        }
        let geometry = Geometry { size, block_min, block_preferred };
        Ok(Self { pieces: placed, geometry, capabilities })
    }

    fn parts(&self, offset: u64, len: u64) -> impl Iterator<Item = Part<'_>> {
        let end = offset + len;
        let first = self.pieces.partition_point(|piece| piece.start + piece.size <= offset);
        let pieces = self.pieces[first..].iter().take_while(move |piece| piece.start < end);
        pieces.filter_map(move |piece| {
            let (from, until) = (offset.max(piece.start), end.min(piece.start + piece.size));
            let done = usize::try_from(from - offset).ok()?;
            (from < until).then(|| Part { piece, at: from - piece.start, len: until - from, done })
        })
    }

    /// Also where one piece could be written: nothing of it may be touched then.
    fn writable(&self, verb: Verb, offset: u64, len: u64) -> Result<(), StoreError> {
        if self.capabilities.write {
            return Ok(());
        }
        Err(StoreError { verb, offset, len, cause: Cause::Forbidden })
    }
}

impl Piece {
    /// An error of this piece as one of the whole.
    fn told(&self, error: StoreError) -> StoreError {
        let named = |why: String| format!("piece {}: {why}", self.number);
        let cause = match error.cause {
            Cause::Unsupported(why) => Cause::Unsupported(named(why)),
            Cause::Lost(why) => Cause::Lost(named(why)),
            Cause::Moved(why) => Cause::Moved(named(why)),
            Cause::Other(why) => Cause::Other(named(why)),
            cause => cause,
        };
        StoreError { offset: self.start.saturating_add(error.offset), cause, ..error }
    }
}

impl Part<'_> {
    fn of<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        &buf[self.done..self.done + self.len as usize]
    }

    fn of_mut<'b>(&self, buf: &'b mut [u8]) -> &'b mut [u8] {
        &mut buf[self.done..self.done + self.len as usize]
    }

    fn store(&self) -> &dyn Store {
        &*self.piece.store
    }
}

impl Store for ConcatStore {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        self.parts(offset, buf.len() as u64).try_for_each(|part| {
            part.store().read_at(part.of_mut(buf), part.at).map_err(|error| part.piece.told(error))
        })
    }

    /// All of it or nothing: what one piece has at hand is of no use without the rest.
    fn try_read(&self, buf: &mut [u8], offset: u64) -> Result<bool, StoreError> {
        for part in self.parts(offset, buf.len() as u64) {
            let read = part.store().try_read(part.of_mut(buf), part.at);
            if !read.map_err(|error| part.piece.told(error))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn write_at(&self, buf: &[u8], offset: u64, durability: Durability) -> Result<(), StoreError> {
        self.writable(Verb::Write, offset, buf.len() as u64)?;
        self.parts(offset, buf.len() as u64).try_for_each(|part| {
            let written = part.store().write_at(part.of(buf), part.at, durability);
            written.map_err(|error| part.piece.told(error))
        })
    }

    fn zero(&self, offset: u64, len: u64, how: ZeroHow, durability: Durability) -> Result<(), StoreError> {
        self.writable(Verb::Zero, offset, len)?;
        self.parts(offset, len).try_for_each(|part| {
            let zeroed = part.store().zero(part.at, part.len, how, durability);
            zeroed.map_err(|error| part.piece.told(error))
        })
    }

    fn trim(&self, offset: u64, len: u64, durability: Durability) -> Result<(), StoreError> {
        self.writable(Verb::Trim, offset, len)?;
        self.parts(offset, len).try_for_each(|part| {
            let trimmed = part.store().trim(part.at, part.len, durability);
            trimmed.map_err(|error| part.piece.told(error))
        })
    }

    /// Every piece is asked, also after one that failed.
    fn flush(&self) -> Result<(), StoreError> {
        let flush = |piece: &Piece| piece.store.flush().map_err(|error| piece.told(error));
        self.pieces.iter().map(flush).fold(Ok(()), Result::and)
    }

    fn cache(&self, offset: u64, len: u64) -> Result<(), StoreError> {
        self.parts(offset, len).try_for_each(|part| {
            part.store().cache(part.at, part.len).map_err(|error| part.piece.told(error))
        })
    }

    fn map(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<Extent>, StoreError> {
        let extents_max = extents_max.max(1);
        // One more, which may turn out to be the rest of the one before it.
        let ask_for = extents_max.saturating_add(1);
        let mut joined = Vec::new();
        for part in self.parts(offset, len) {
            let (mut at, end) = (part.at, part.at + part.len);
            while at < end && joined.len() < ask_for {
                let found = part.store().map(at, end - at, ask_for - joined.len());
                let found = found.map_err(|error| part.piece.told(error))?;
                if found.is_empty() {
                    break;
                }
                for extent in found {
                    let len = extent.len.min(end - at);
                    Extent { len, ..extent }.append_to(&mut joined);
                    at += len;
                }
            }
            if at < end {
                break;
            }
        }
        joined.truncate(extents_max);
        Ok(joined)
    }

    fn verify(&self) -> Result<(), StoreError> {
        self.pieces.iter().try_for_each(|piece| {
            piece.store.verify().map_err(|error| StoreError { offset: 0, ..piece.told(error) })
        })
    }

    fn is_nameless(&self) -> bool {
        self.pieces.iter().any(|piece| piece.store.is_nameless())
    }

    /// Only one piece begins where the whole begins.
    fn raw_fd(&self) -> Option<BorrowedFd<'_>> {
        match self.pieces.as_slice() {
            [only] => only.store.raw_fd(),
            _ => None,
        }
    }
}

/// Looks at `PATH.0`, `PATH.1` and so on up to the first that is not there.
pub(crate) fn probe_pieces(spec: &Spec) -> Result<Probe, StoreError> {
    let pieces = each_piece(spec, probe_one)?;
    let size = window(spec.filesize, total(pieces.iter().map(|piece| piece.size))?)?;
    let kind = pieces[0].kind;
    Ok(Probe {
        identity: Identity::Several(pieces.into_iter().map(|piece| piece.identity).collect()),
        size,
        kind,
        device: None,
    })
}

/// Opens them. Where one may not be written, none is opened for writing: half a disk is worth nothing.
pub(crate) fn open_pieces(spec: &Spec, poison: &Arc<Poison>) -> Result<Opened, StoreError> {
    let pieces = each_piece(spec, |piece| open_file(piece, poison.clone()))?;
    if spec.write == Access::ReadWrite && pieces.iter().any(FileStore::read_only) {
        drop(pieces);
        return open_pieces(&Spec { write: Access::ReadOnly, ..spec.clone() }, poison);
    }
    let identity = Identity::Several(pieces.iter().map(|piece| piece.identity().clone()).collect());
    let stores = pieces.into_iter().map(|piece| Arc::new(piece) as Arc<dyn Store>).collect();
    Ok(Opened { store: Arc::new(ConcatStore::new(stores, spec.filesize)?), identity })
}

/// Does something with each piece. There is at least one, or an error.
fn each_piece<T>(spec: &Spec, act: impl Fn(&Spec) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
    let mut done = Vec::new();
    loop {
        // Without a size of its own no piece is made or made larger.
        let piece =
            Spec { path: piece_path(spec, done.len()), filesize: None, layout: Layout::One, ..spec.clone() };
        match act(&piece) {
            Ok(one) => done.push(one),
            Err(error) if !done.is_empty() && is_gap(&piece, &error) => return Ok(done),
            Err(error) if done.is_empty() => return Err(error),
            // The path in the log is that of the whole, so the piece has to be named.
            Err(error) => {
                let number = done.len();
                return Err(failed(Cause::Other(format!(
                    "piece {number} cannot be opened: {}",
                    error.cause
                ))));
            }
        }
    }
}

/// Only what is not there at all ends the row. A link that leads nowhere stands for a disk that is away, and a row that
/// ends before it would be a smaller disk.
fn is_gap(piece: &Spec, error: &StoreError) -> bool {
    error.is_missing() && lstat(&piece.path).err() == Some(Errno::NOENT)
}

fn piece_path(spec: &Spec, number: usize) -> PathBuf {
    let mut path = spec.path.clone().into_os_string();
    path.push(format!(".{number}"));
    path.into()
}

fn total(mut sizes: impl Iterator<Item = u64>) -> Result<u64, StoreError> {
    sizes.try_fold(0_u64, u64::checked_add).ok_or_else(|| unsupported("the pieces together are too large"))
}
