//! Loop devices: disks that come, go and change under the same path, as root only.
//!
//! Nodes are shared with whatever else runs on the machine, and tests run side by side, so each node in use is held by a
//! lock on a file in the system's temporary directory, from attaching until the owner is dropped. In between, the owner
//! may detach and attach at will. What a killed test left attached has no lock any more, and is taken over.

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::need::{is_root, tool};

/// More than a kernel makes by itself, for machines where others have taken those.
const NODES: u32 = 32;
/// The kernel's major number for loop devices.
const MAJOR: u32 = 7;
const PATIENCE: Duration = Duration::from_secs(30);

/// A loop device that no other test touches.
#[derive(Debug)]
pub struct LoopDevice {
    number: u32,
    path: PathBuf,
    _lock: File,
}

impl LoopDevice {
    /// Attaches a file to a free node, one that is there before one that has to be made. `None` where loop devices are not
    /// to be had: no root, no `losetup`, or no node free for 30 seconds.
    pub fn attach(file: &Path) -> Option<Self> {
        if !is_root() || tool("losetup").is_none() || !Path::new("/dev/loop-control").exists() {
            return None;
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let mut numbers: Vec<u32> = (0..NODES).rev().collect();
            numbers.sort_by_key(|number| !node(*number).exists());
            if let Some(device) = numbers.into_iter().find_map(|number| Self::claim(number, file)) {
                return Some(device);
            }
            if Instant::now() > until {
                eprintln!("no loop device was free for {PATIENCE:?}");
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn claim(number: u32, file: &Path) -> Option<Self> {
        let lock = std::env::temp_dir().join(format!("nbd-test-loop{number}.lock"));
        let lock = File::options().create(true).truncate(false).write(true).open(lock).ok()?;
        lock.try_lock().ok()?;
        Self::take(number, file, lock)
    }

    /// What a claim does once it has the node's lock.
    fn take(number: u32, file: &Path, lock: File) -> Option<Self> {
        let path = node(number);
        if !path.exists() {
            let device = makedev(MAJOR, number);
            mknodat(CWD, &path, FileType::BlockDevice, Mode::RUSR | Mode::WUSR, device).ok()?;
        }
        // What is attached without our lock is somebody else's, and no `Self` is made whose drop would detach it.
        if is_left_over(number) {
            losetup(&["-d".as_ref(), &path]).ok()?;
        }
        if backing(number).exists() || losetup(&[&path, file]).is_err() {
            return None;
        }
        Some(Self { number, path, _lock: lock })
    }

    /// The node, `/dev/loopN`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk sequence number, which rises with every attach and detach.
    pub fn diskseq(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/sys/block/loop{}/diskseq", self.number)).ok()?;
        text.trim().parse().ok()
    }

    /// Whether a file is behind the node. After [`LoopDevice::detach`] that is so for as long as somebody has it open.
    pub fn is_attached(&self) -> bool {
        backing(self.number).exists()
    }

    /// Detaches, without waiting for those who have it open. True where the node is free at once, which is what a
    /// fence promises.
    pub fn detach(&self) -> bool {
        let _ = losetup(&["-d".as_ref(), &self.path]);
        !self.is_attached()
    }

    /// Puts another file behind the same node: another disk under the same path.
    ///
    /// # Panics
    /// Where the node does not come free, or does not take the file, within 30 seconds.
    #[track_caller]
    pub fn reattach(&self, file: &Path) {
        let until = Instant::now() + PATIENCE;
        loop {
            if self.is_attached() {
                self.detach();
            }
            match self.try_reattach(file) {
                Ok(()) => return,
                Err(error) => assert!(Instant::now() < until, "{}: {error}", self.path.display()),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Attaches a file to the node, which must be free.
    ///
    /// # Errors
    /// What `losetup` says.
    pub fn try_reattach(&self, file: &Path) -> Result<(), String> {
        losetup(&[&self.path, file])
    }

    /// Tells the kernel that the file behind the node has another size now.
    ///
    /// # Errors
    /// What `losetup` says.
    pub fn resized(&self) -> Result<(), String> {
        losetup(&["-c".as_ref(), &self.path])
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // Until the last opener is gone the node is not free, and whoever claims it next must not wait for ours.
        let until = Instant::now() + Duration::from_secs(5);
        while self.is_attached() && !self.detach() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn node(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

/// Whether a file of a [`TempDir`](crate::TempDir) is behind the node. Asked by who has the node's lock: whose file it was
/// is gone.
fn is_left_over(number: u32) -> bool {
    let file = std::fs::read_to_string(backing(number)).unwrap_or_default();
    Path::new(&file).components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"nbd-test-"))
}

/// Exists while a file is behind the node, and says which.
fn backing(number: u32) -> PathBuf {
    PathBuf::from(format!("/sys/block/loop{number}/loop/backing_file"))
}

fn losetup(args: &[&Path]) -> Result<(), String> {
    let program = tool("losetup").ok_or("losetup is not installed")?;
    let output = Command::new(program).args(args).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TempDir, skip_or_fail};
    use std::io::Read;

    #[test]
    fn another_disk_comes_under_the_same_node() {
        let dir = TempDir::new("loop");
        let files = [1_u8, 2].map(|byte| {
            let file = dir.join(&format!("disk{byte}"));
            std::fs::write(&file, vec![byte; 1 << 20]).unwrap();
            file
        });
        let Some(device) = LoopDevice::attach(&files[0]) else {
            return skip_or_fail("another_disk_comes_under_the_same_node", "loop devices");
        };
        let first = |device: &LoopDevice| {
            let mut byte = [0];
            File::open(device.path()).unwrap().read_exact(&mut byte).unwrap();
            byte[0]
        };
        let (before, sequence) = (first(&device), device.diskseq());
        device.reattach(&files[1]);
        assert_eq!((before, first(&device)), (1, 2));
        assert!(device.diskseq() > sequence);
    }

    #[test]
    fn what_a_killed_test_left_is_taken_over_and_what_is_somebody_elses_is_not() {
        let dir = TempDir::new("loop");
        let (mine, left) = (dir.sparse("mine", 1 << 20), dir.sparse("left", 1 << 20));
        let elsewhere = std::env::temp_dir().join(format!("loop-elsewhere-{}", std::process::id()));
        std::fs::write(&elsewhere, [0; 4096]).unwrap();
        let Some(device) = LoopDevice::attach(&mine) else {
            return skip_or_fail("what_a_killed_test_left_is_taken_over", "loop devices");
        };
        for (file, taken) in [(&left, true), (&elsewhere, false)] {
            device.reattach(file);
            assert_eq!(is_left_over(device.number), taken, "{}", file.display());
        }
        std::fs::remove_file(&elsewhere).unwrap();
        // As if its owner had been killed: nothing has detached the file.
        device.reattach(&left);
        let (number, lock) = (device.number, device._lock.try_clone().unwrap());
        std::mem::forget(device);
        let next = LoopDevice::take(number, &mine, lock);
        assert!(next.is_some(), "/dev/loop{number} was not taken over");
    }
}
