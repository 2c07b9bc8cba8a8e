//! The one place where an error number of the system becomes a [`Cause`].

use crate::Cause;
use rustix::io::Errno;

/// What the call was made on, with what is needed to judge its error.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Medium {
    /// A regular file.
    File,
    /// A block device.
    Device {
        /// Bytes when it was opened.
        opened: u64,
        /// Bytes now; 0 when it cannot say.
        now: u64,
        /// First byte after the range of the call.
        end: u64,
    },
    /// Something without content: a character device or a FIFO.
    Placeholder,
    /// A path, while opening.
    Path,
}

/// Sorts an error number by what follows from it. A disk that left answers with numbers that mean something else
/// (ENOSPC for writes, EINVAL for fallocate), so on a device the size as it is now speaks first.
pub(crate) fn cause(errno: Errno, on: Medium) -> Cause {
    if let Medium::Device { opened, now: 0, .. } = on {
        return Cause::Lost(format!("the disk is gone: its size was {opened} bytes and is 0 now ({errno})"));
    }
    match (errno, on) {
        (Errno::PERM | Errno::ACCESS | Errno::ROFS, _) => Cause::Forbidden,
        (Errno::NOMEM, _) => Cause::NoMemory,
        (Errno::NOSPC | Errno::DQUOT | Errno::FBIG, Medium::File | Medium::Path) => Cause::NoSpace,
        (Errno::NOSPC | Errno::DQUOT | Errno::FBIG, Medium::Device { opened, now, end }) => {
            if now == opened && end > opened {
                Cause::NoSpace
            } else {
                Cause::Lost(format!(
                    "the device says \"no space\" inside its size (was {opened} bytes, is {now}): \
                     a lost disk or a full thin pool"
                ))
            }
        }
        (Errno::NXIO | Errno::NODEV | Errno::NOMEDIUM, Medium::Device { .. } | Medium::Path) => {
            Cause::Lost(format!("no disk is there ({errno})"))
        }
        (other, _) => Cause::Io(other.raw_os_error()),
    }
}

/// Whether a call was refused because this medium or kernel does not know it, so that another way may be tried.
/// Never true of an error that says something about the disk or its space.
pub(crate) fn not_supported(errno: Errno) -> bool {
    matches!(errno, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NOTTY)
}

/// Again, where a signal came in between.
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn device(now: u64, end: u64) -> Medium {
        Medium::Device { opened: MIB, now, end }
    }

    #[test]
    fn denied_is_forbidden() {
        for errno in [Errno::PERM, Errno::ACCESS, Errno::ROFS] {
            for on in [Medium::File, device(MIB, 1), Medium::Placeholder, Medium::Path] {
                assert_eq!(cause(errno, on), Cause::Forbidden);
            }
        }
    }

    #[test]
    fn no_memory_is_no_memory() {
        assert_eq!(cause(Errno::NOMEM, Medium::File), Cause::NoMemory);
    }

    #[test]
    fn a_full_file_system_is_no_space() {
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            assert_eq!(cause(errno, Medium::File), Cause::NoSpace);
        }
    }

    #[test]
    fn a_device_has_no_space_only_past_its_unchanged_end() {
        assert_eq!(cause(Errno::NOSPC, device(MIB, MIB + 1)), Cause::NoSpace);
        assert!(matches!(cause(Errno::NOSPC, device(MIB, MIB)), Cause::Lost(_)));
        assert!(matches!(cause(Errno::NOSPC, device(MIB / 2, MIB + 1)), Cause::Lost(_)));
    }

    #[test]
    fn no_space_without_a_medium_is_only_an_error() {
        assert_eq!(cause(Errno::NOSPC, Medium::Placeholder), Cause::Io(28));
    }

    #[test]
    fn a_device_without_size_is_lost_whatever_the_number_says() {
        for errno in [Errno::NOSPC, Errno::IO, Errno::INVAL, Errno::ROFS, Errno::NXIO] {
            assert!(matches!(cause(errno, device(0, 1)), Cause::Lost(_)), "{errno}");
        }
    }

    #[test]
    fn no_device_behind_the_node_is_lost() {
        for errno in [Errno::NXIO, Errno::NODEV, Errno::NOMEDIUM] {
            assert!(matches!(cause(errno, Medium::Path), Cause::Lost(_)));
            assert!(matches!(cause(errno, device(MIB, 1)), Cause::Lost(_)));
        }
        assert_eq!(cause(Errno::NXIO, Medium::File), Cause::Io(6));
    }

    #[test]
    fn everything_else_keeps_its_number() {
        for errno in [Errno::IO, Errno::INVAL, Errno::TIMEDOUT, Errno::STALE, Errno::BADF, Errno::AGAIN] {
            for on in [Medium::File, device(MIB, 1), Medium::Placeholder, Medium::Path] {
                assert_eq!(cause(errno, on), Cause::Io(errno.raw_os_error()));
            }
        }
    }

    #[test]
    fn another_way_is_tried_only_where_the_first_is_unknown() {
        for errno in [Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL, Errno::NOTTY] {
            assert!(not_supported(errno));
        }
        for errno in
            [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::PERM, Errno::ROFS, Errno::NOMEM, Errno::BUSY]
        {
            assert!(!not_supported(errno), "{errno}");
        }
    }
}
