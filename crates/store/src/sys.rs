//! The block device ioctls that have no safe wrapper. The only `unsafe` of the workspace stands here.

use rustix::fd::AsFd;
use rustix::io;
use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

// From linux/fs.h. The kernel encodes BLKGETSIZE64 with `size_t` but always writes 64 bits.
const BLKGETSIZE64: Opcode = opcode::read::<usize>(0x12, 114);
const BLKGETDISKSEQ: Opcode = opcode::read::<u64>(0x12, 128);
const BLKDISCARD: Opcode = opcode::none(0x12, 119);
const BLKZEROOUT: Opcode = opcode::none(0x12, 127);

/// Size of a block device in bytes, as it is now. 0 is what a disk that has left answers.
pub fn device_size(fd: impl AsFd) -> io::Result<u64> {
    // SAFETY: BLKGETSIZE64 writes exactly one u64 through the pointer, and `Getter` passes room for one. On a
    // descriptor that is no block device the call fails without writing.
    unsafe { ioctl(fd, Getter::<BLKGETSIZE64, u64>::new()) }
}

/// Sequence number of the disk behind an open device (or partition): never used twice while the kernel runs.
/// ENOTTY before Linux 5.15.
pub fn disk_sequence(fd: impl AsFd) -> io::Result<u64> {
    // SAFETY: BLKGETDISKSEQ writes exactly one u64 through the pointer, and `Getter` passes room for one. Kernels
    // and descriptors that do not know it fail without writing.
    unsafe { ioctl(fd, Getter::<BLKGETDISKSEQ, u64>::new()) }
}

/// Says that a range is no longer needed. Its content is undefined afterwards.
pub fn discard(fd: impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    // SAFETY: BLKDISCARD reads two u64 (start, length) through the pointer, and `Setter` passes a pointer to exactly
    // that, alive for the call. It touches no memory of this process; what it does to the disk is the caller's wish.
    unsafe { ioctl(fd, Setter::<BLKDISCARD, [u64; 2]>::new([offset, len])) }
}

/// Makes a range read as zeros, by the disk itself or by the kernel writing them.
pub fn zero_out(fd: impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    // SAFETY: as for BLKDISCARD: BLKZEROOUT reads two u64 through a pointer that is alive for the call.
    unsafe { ioctl(fd, Setter::<BLKZEROOUT, [u64; 2]>::new([offset, len])) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    /// The numbers that strace shows and that other programs use.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn numbers_are_the_kernels() {
        assert_eq!(
            [BLKGETSIZE64, BLKGETDISKSEQ, BLKDISCARD, BLKZEROOUT],
            [0x8008_1272, 0x8008_1280, 0x1277, 0x127f]
        );
    }

    #[test]
    fn a_file_is_no_block_device() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(device_size(&file).is_err());
        assert!(disk_sequence(&file).is_err());
        assert_eq!(discard(&file, 0, 512), Err(Errno::NOTTY));
        assert_eq!(zero_out(&file, 0, 512), Err(Errno::NOTTY));
    }
}
