//! Loop devices: disks that come, go and change under the same path, as root only.
//!
//! There are few nodes and tests run side by side, so each node in use is held by a lock on a file in the system's
//! temporary directory, from attaching until the owner is dropped. In between, the owner may detach and attach at will.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::need::{is_root, tool};

const NODES: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(30);

/// A loop device that no other test touches.
#[derive(Debug)]
pub struct LoopDevice {
    number: u32,
    path: PathBuf,
    _lock: File,
}

impl LoopDevice {
    /// Attaches a file to a free node. `None` where loop devices are not to be had: no root, no `losetup`, no nodes, or
    /// none free for 30 seconds.
    pub fn attach(file: &Path) -> Option<Self> {
        if !is_root() || tool("losetup").is_none() || !Path::new("/dev/loop-control").exists() {
            return None;
        }
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(device) = (0..NODES).rev().find_map(|number| Self::claim(number, file)) {
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
        let path = PathBuf::from(format!("/dev/loop{number}"));
        if !path.exists() {
            return None;
        }
        let lock = std::env::temp_dir().join(format!("nbd-test-loop{number}.lock"));
        let lock = File::options().create(true).truncate(false).write(true).open(lock).ok()?;
        lock.try_lock().ok()?;
        // What is attached without our lock is somebody else's, and no `Self` is made whose drop would detach it.
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

/// Exists while a file is behind the node.
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
}
