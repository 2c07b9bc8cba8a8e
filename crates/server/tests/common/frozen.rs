//! Requests that hang, for real: a file system that is frozen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::{LoopDevice, ServerProcess, TempDir, tool};

/// An ext4 file system in a file, mounted, that can be frozen. Thawed and unmounted at the end.
pub struct Frozen {
    device: LoopDevice,
    dir: TempDir,
}

impl Frozen {
    pub fn new() -> Option<Self> {
        let (mkfs, _) = (tool("mkfs.ext4")?, tool("fsfreeze")?);
        let dir = TempDir::new("frozen");
        let this = Self { device: LoopDevice::attach(&dir.sparse("fs.img", 32 << 20))?, dir };
        let node = this.device.path().to_str()?;
        fs::create_dir(this.mount()).ok()?;
        let made = run(&mkfs, &["-q", node]);
        let mounted = run(Path::new("mount"), &[node, this.mount().to_str()?]);
        (made && mounted).then_some(this)
    }

    pub fn mount(&self) -> PathBuf {
        self.dir.join("mnt")
    }

    pub fn freeze(&self, how: &str) -> bool {
        run(Path::new("fsfreeze"), &[how, self.mount().to_str().expect("UTF-8")])
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.freeze("-u");
        run(Path::new("umount"), &["-l", self.mount().to_str().expect("UTF-8")]);
    }
}

fn run(program: &Path, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

/// Waits until a thread of the server sleeps where no signal reaches it.
pub fn wait_until_stuck(server: &ServerProcess) {
    let until = Instant::now() + Duration::from_secs(10);
    let stuck = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("its threads");
        let stat = |task: fs::DirEntry| fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        tasks.flatten().any(|task| stat(task).rsplit(") ").next().is_some_and(|rest| rest.starts_with('D')))
    };
    while !stuck() {
        assert!(Instant::now() < until, "nothing hangs");
        std::thread::sleep(Duration::from_millis(5));
    }
}
