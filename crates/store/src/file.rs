//! Regular files and block devices.

mod verify;

use crate::errno::{Medium, cause, not_supported, retry};
use crate::identity::{DeviceIdentity, Identity};
use crate::open::{Kind, Probe};
use crate::scratch::Held;
use crate::sync::{Syncs, Unsynced};
use crate::sysfs::Sysfs;
use crate::{
    Capabilities, Cause, Durability, Extent, Geometry, Poison, Store, StoreError, Verb, ZeroHow, sys,
};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Advice, FallocateFlags, SeekFrom, fadvise, fallocate, fdatasync, fstat, seek};
use rustix::io::{Errno, IoSliceMut, ReadWriteFlags, pread, preadv2, pwrite};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Real zeros are written from here, at most so many at a time.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// Device ranges are handed to the kernel in whole sectors; what sticks out is written.
const SECTOR: u64 = 512;

/// An opened file or device. Shared by all who use it: one descriptor, one cache, so that a flush covers everybody.
#[derive(Debug)]
pub struct FileStore {
    fd: OwnedFd,
    kind: Kind,
    identity: Identity,
    /// Of the medium when it was opened; the window served may be smaller.
    pub(crate) medium_size: u64,
    geometry: Geometry,
    writable: bool,
    /// The system can say "not without waiting". It cannot on every file system, and says so at the first try.
    nowait: AtomicBool,
    syncs: Syncs,
    poison: Arc<Poison>,
    sysfs: Sysfs,
    /// Of a file that is ours alone: what is given back with it.
    pub(crate) held: Option<Held>,
    /// Its bytes go when it is closed.
    pub(crate) passing: bool,
}

impl FileStore {
    pub(crate) fn new(fd: OwnedFd, probe: Probe, writable: bool, block: u32, poison: Arc<Poison>) -> Self {
        let medium_size = match &probe.identity {
            Identity::Device(device) => device.size,
            _ => probe.size,
        };
        let block_preferred = block.max(4096).checked_next_power_of_two().unwrap_or(4096);
        Self {
            fd,
            kind: probe.kind,
            identity: probe.identity,
            medium_size,
            geometry: Geometry { size: probe.size, block_min: 1, block_preferred },
            writable,
            nowait: AtomicBool::new(true),
            syncs: Syncs::default(),
            poison,
            sysfs: Sysfs::default(),
            held: None,
            passing: false,
        }
    }

    /// Which disk or file was opened.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether writes are impossible: as asked for, or because the system allows no more.
    pub fn read_only(&self) -> bool {
        !self.writable
    }

    fn error(&self, verb: Verb, offset: u64, len: u64, errno: Errno) -> StoreError {
        let on = match self.kind {
            Kind::File => Medium::File,
            Kind::Placeholder => Medium::Placeholder,
            Kind::BlockDevice => Medium::Device {
                opened: self.medium_size,
                now: sys::device_size(&self.fd).unwrap_or(0),
                end: offset.saturating_add(len),
            },
        };
        StoreError { verb, offset, len, cause: cause(errno, on) }
    }

    /// The medium ended inside the size: never zeros (P4).
    fn short(&self, verb: Verb, offset: u64, len: u64) -> StoreError {
        let why = match self.kind {
            Kind::File => "the file ends before the export does: it became smaller",
            _ => "the disk ends before the export does: it is gone or became smaller",
        };
        StoreError { verb, offset, len, cause: Cause::Lost(why.into()) }
    }

    fn sync(&self, verb: Verb, offset: u64, len: u64) -> Result<(), StoreError> {
        // Nothing of it is kept, and some of these refuse to be asked.
        if self.kind == Kind::Placeholder {
            return Ok(());
        }
        match self.syncs.run(&self.poison, "fdatasync", || retry(|| fdatasync(&self.fd))) {
            Ok(()) => Ok(()),
            Err(Unsynced::Failed(errno)) => Err(self.error(verb, offset, len, errno)),
            Err(Unsynced::Poisoned) => Err(StoreError { verb, offset, len, cause: Cause::Poisoned }),
        }
    }

    /// A change that has been made is durable when that was asked for.
    fn settle(&self, offset: u64, len: u64, durability: Durability) -> Result<(), StoreError> {
        match durability {
            Durability::Cached => Ok(()),
            Durability::Durable => self.sync(Verb::Flush, offset, len),
        }
    }

    /// With a poisoned export nothing durable is begun.
    fn promise(&self, verb: Verb, offset: u64, len: u64, durability: Durability) -> Result<(), StoreError> {
        if durability == Durability::Durable && self.poison.poisoned() {
            return Err(StoreError { verb, offset, len, cause: Cause::Poisoned });
        }
        Ok(())
    }

    fn write_all(&self, verb: Verb, mut buf: &[u8], mut offset: u64) -> Result<(), StoreError> {
        while !buf.is_empty() {
            let len = buf.len() as u64;
            match retry(|| pwrite(&self.fd, buf, offset)) {
                // Asking again would never end.
                Ok(0) => return Err(self.error(verb, offset, len, Errno::IO)),
                Ok(count) => {
                    buf = &buf[count..];
                    offset += count as u64;
                }
                Err(errno) => return Err(self.error(verb, offset, len, errno)),
            }
        }
        Ok(())
    }

    fn write_zeros(&self, offset: u64, len: u64) -> Result<(), StoreError> {
        let mut at = offset;
        while at < offset + len {
            let part = usize::try_from(offset + len - at).unwrap_or(usize::MAX).min(ZEROS.len());
            self.write_all(Verb::Zero, &ZEROS[..part], at)?;
            at += part as u64;
        }
        Ok(())
    }

    /// Zeros without writing them. `Ok(false)`: the medium has no such way.
    fn zero_quickly(&self, offset: u64, len: u64, how: ZeroHow) -> Result<bool, StoreError> {
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let zero = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        // The kernel zeroes a disk that has no command for it by writing: then that is not quick.
        let by_the_disk = self.device().is_none_or(|device| self.sysfs.write_zeroes_max(device.rdev) > 0);
        for (wanted, mode) in [(how.may_punch, punch), (!how.fast_only || by_the_disk, zero)] {
            if !wanted {
                continue;
            }
            match retry(|| fallocate(&self.fd, mode, offset, len)) {
                Ok(()) => return Ok(true),
                Err(errno) if not_supported(errno) => self.still_there(Verb::Zero, offset, len)?,
                Err(errno) => return Err(self.error(Verb::Zero, offset, len, errno)),
            }
        }
        Ok(false)
    }

    /// "Not supported" from a device that left means something else.
    fn still_there(&self, verb: Verb, offset: u64, len: u64) -> Result<(), StoreError> {
        if self.kind == Kind::BlockDevice && sys::device_size(&self.fd).unwrap_or(0) == 0 {
            return Err(self.error(verb, offset, len, Errno::IO));
        }
        Ok(())
    }

    fn zero_range(&self, offset: u64, len: u64, how: ZeroHow) -> Result<(), StoreError> {
        // The kernel zeroes whole sectors of a device; what sticks out at both ends is little, and is written.
        let (start, end) = self.whole_sectors(offset, len);
        if start >= end {
            return self.write_zeros(offset, len);
        }
        if !self.zero_quickly(start, end - start, how)? {
            if how.fast_only {
                let cause = Cause::Unsupported("zeros would have to be written here".into());
                return Err(StoreError { verb: Verb::Zero, offset, len, cause });
            }
            let emulated =
                self.kind == Kind::BlockDevice && sys::zero_out(&self.fd, start, end - start).is_ok();
            if !emulated {
                self.write_zeros(start, end - start)?;
            }
        }
        self.write_zeros(offset, start - offset)?;
        self.write_zeros(end, offset + len - end)
    }

    fn whole_sectors(&self, offset: u64, len: u64) -> (u64, u64) {
        match self.kind {
            Kind::BlockDevice => (offset.next_multiple_of(SECTOR), (offset + len) / SECTOR * SECTOR),
            _ => (offset, offset + len),
        }
    }

    fn device(&self) -> Option<&DeviceIdentity> {
        match &self.identity {
            Identity::Device(device) => Some(device),
            _ => None,
        }
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        let _ = self.held.take().map(|held| held.let_go(&self.fd));
    }
}

impl Store for FileStore {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn capabilities(&self) -> Capabilities {
        let disk = self.kind != Kind::Placeholder;
        Capabilities {
            write: self.writable,
            flush: true,
            trim: disk && self.writable,
            fast_zero: disk && self.writable,
            map: self.kind == Kind::File,
            multi_conn: true,
        }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), StoreError> {
        let len = buf.len() as u64;
        let mut done = 0;
        while done < buf.len() {
            match retry(|| pread(&self.fd, &mut buf[done..], offset + done as u64)) {
                Ok(0) => return Err(self.short(Verb::Read, offset, len)),
                Ok(count) => done += count,
                Err(errno) => return Err(self.error(Verb::Read, offset, len, errno)),
            }
        }
        Ok(())
    }

    fn try_read(&self, buf: &mut [u8], offset: u64) -> Result<bool, StoreError> {
        if !self.nowait.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let len = buf.len();
        let mut vector = [IoSliceMut::new(buf)];
        match retry(|| preadv2(&self.fd, &mut vector, offset, ReadWriteFlags::NOWAIT)) {
            Ok(count) if count == len => Ok(true),
            // Part of it is at hand, or the file ends here: `read_at` finds out which.
            Ok(_) | Err(Errno::AGAIN) => Ok(false),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.nowait.store(false, Ordering::Relaxed);
                Ok(false)
            }
            Err(errno) => Err(self.error(Verb::Read, offset, len as u64, errno)),
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64, durability: Durability) -> Result<(), StoreError> {
        let len = buf.len() as u64;
        self.promise(Verb::Write, offset, len, durability)?;
        self.write_all(Verb::Write, buf, offset)?;
        self.settle(offset, len, durability)
    }

    fn zero(&self, offset: u64, len: u64, how: ZeroHow, durability: Durability) -> Result<(), StoreError> {
        self.promise(Verb::Zero, offset, len, durability)?;
        if len > 0 {
            self.zero_range(offset, len, how)?;
        }
        self.settle(offset, len, durability)
    }

    fn trim(&self, offset: u64, len: u64, durability: Durability) -> Result<(), StoreError> {
        self.promise(Verb::Trim, offset, len, durability)?;
        let (start, end) = self.whole_sectors(offset, len);
        if start < end {
            let result = match self.kind {
                Kind::BlockDevice => retry(|| sys::discard(&self.fd, start, end - start)),
                _ => {
                    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                    retry(|| fallocate(&self.fd, punch, start, end - start))
                }
            };
            // A hint that is not taken is no error; a disk that fails or left is one.
            match result {
                Err(errno) if !not_supported(errno) => {
                    return Err(self.error(Verb::Trim, offset, len, errno));
                }
                Err(_) => self.still_there(Verb::Trim, offset, len)?,
                Ok(()) => {}
            }
        }
        self.settle(offset, len, durability)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.sync(Verb::Flush, 0, 0)
    }

    fn leave(&self) -> Result<(), StoreError> {
        if self.passing { Ok(()) } else { self.flush() }
    }

    fn cache(&self, offset: u64, len: u64) -> Result<(), StoreError> {
        if let Some(len) = NonZeroU64::new(len) {
            // A hint.
            let _ = fadvise(&self.fd, offset, Some(len), Advice::WillNeed);
        }
        Ok(())
    }

    fn map(&self, offset: u64, len: u64, extents_max: usize) -> Result<Vec<Extent>, StoreError> {
        let data = |len| Extent { len, hole: false, zero: false };
        if self.kind != Kind::File {
            return Ok(vec![data(len)]);
        }
        let failed = |errno| self.error(Verb::Map, offset, len, errno);
        let end = offset + len;
        // Behind the end of a file everything looks like a hole: it is not zeros, it is lost.
        if fstat(&self.fd).map_err(failed)?.st_size < i64::try_from(end).unwrap_or(i64::MAX) {
            return Err(self.short(Verb::Map, offset, len));
        }
        let mut extents = Vec::new();
        let mut at = offset;
        while at < end && extents.len() < extents_max.max(1) {
            let data_at = match retry(|| seek(&self.fd, SeekFrom::Data(at))) {
                Ok(data_at) => data_at.min(end),
                // No data up to the end of the file.
                Err(Errno::NXIO) => end,
                Err(errno) if not_supported(errno) => {
                    extents.push(data(end - at));
                    break;
                }
                Err(errno) => return Err(failed(errno)),
            };
            if data_at > at {
                extents.push(Extent { len: data_at - at, hole: true, zero: true });
                at = data_at;
                continue;
            }
            let hole_at = retry(|| seek(&self.fd, SeekFrom::Hole(at))).map_err(failed)?.min(end);
            // A hole that was made between the two calls begins here: then this is data for one more moment.
            let len = (hole_at - at).max(1);
            extents.push(data(len));
            at += len;
        }
        Ok(extents)
    }

    fn verify(&self) -> Result<(), StoreError> {
        self.still_what_was_opened().map_err(|cause| StoreError {
            verb: Verb::Verify,
            offset: 0,
            len: 0,
            cause,
        })
    }

    fn is_nameless(&self) -> bool {
        // What is ours alone is without a name for as long as we want.
        let named = self.kind == Kind::File && !self.passing && self.held.is_none();
        named && fstat(&self.fd).is_ok_and(|is| is.st_nlink == 0)
    }

    fn raw_fd(&self) -> Option<BorrowedFd<'_>> {
        (self.kind != Kind::Placeholder).then(|| self.fd.as_fd())
    }
}
