//! Whether what was opened is still there, seen through the open descriptor (P4).

use super::FileStore;
use crate::errno::{Medium, cause};
use crate::identity::{DeviceIdentity, same_disks};
use crate::open::Kind;
use crate::{Cause, sys};
use rustix::fs::fstat;

impl FileStore {
    pub(super) fn still_what_was_opened(&self) -> Result<(), Cause> {
        match self.device() {
            Some(device) => self.same_device(device),
            None => self.same_file(),
        }
    }

    fn same_device(&self, device: &DeviceIdentity) -> Result<(), Cause> {
        let size = sys::device_size(&self.fd).unwrap_or(0);
        if size < self.geometry.size {
            let was = self.medium_size;
            return Err(Cause::Lost(format!(
                "the disk is gone or shrank: its size was {was} bytes and is {size}"
            )));
        }
        if let (Some(was), Ok(is)) = (device.diskseq, sys::disk_sequence(&self.fd))
            && was != is
        {
            let why = format!("another disk is behind the open device: diskseq was {was}, is {is}");
            return Err(Cause::Moved(why));
        }
        // Only what stands on other devices can be pointed elsewhere while it is open.
        if !device.lower.is_empty()
            && let Some(lower) = self.sysfs.lower(device.rdev)
            && !same_disks(&device.lower, &lower)
        {
            return Err(Cause::Moved("the device was pointed at other disks while it was open".into()));
        }
        Ok(())
    }

    /// A file that became smaller is a lost disk, also if a write makes it longer again: what was between is zeros then.
    fn same_file(&self) -> Result<(), Cause> {
        let is = fstat(&self.fd).map_err(|errno| cause(errno, Medium::File))?;
        let (was, size) = (self.medium_size, u64::try_from(is.st_size).unwrap_or(0));
        if self.kind == Kind::File && size < was {
            return Err(Cause::Lost(format!(
                "the file became smaller: its size was {was} bytes and is {size}"
            )));
        }
        Ok(())
    }
}
