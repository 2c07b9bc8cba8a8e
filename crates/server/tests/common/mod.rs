//! What the server's stories share.
#![allow(dead_code, reason = "each story uses its part")]

pub mod frozen;
pub mod manager;
pub mod place;
pub mod room;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{LoopDevice, Setup, is_root, pattern, skip_or_fail, tool};

/// A server from the program under test.
pub fn server() -> Setup {
    Setup::new(env!("CARGO_BIN_EXE_nbd-server"))
}

/// A file of 1 MiB that is one byte all over.
pub fn filled(dir: &Path, name: &str, byte: u8) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, vec![byte; 1 << 20]).expect("a file");
    path
}

/// Loop devices over these files, or a word that they are missing.
pub fn loops(test: &str, files: &[&PathBuf]) -> Option<Vec<LoopDevice>> {
    let devices: Option<Vec<LoopDevice>> =
        if is_root() { files.iter().map(|file| LoopDevice::attach(file)).collect() } else { None };
    if devices.is_none() {
        skip_or_fail(test, "root and free loop devices");
    }
    devices
}

/// A volume: a loop device over a file where they are to be had, otherwise the file itself.
pub struct Volume {
    pub number: u64,
    pub file: PathBuf,
    pub device: Option<LoopDevice>,
}

pub const VOLUME_SIZE: u64 = 8 << 20;
pub const BLOCK: usize = 4096;

impl Volume {
    pub fn new(test: &str, dir: &Path, number: u64) -> Self {
        let file = dir.join(format!("volume-{number}.img"));
        fs::File::create(&file).and_then(|file| file.set_len(VOLUME_SIZE)).expect("a file");
        let mut volume = Self { number, file, device: None };
        volume.attach(test);
        volume
    }

    pub fn attach(&mut self, test: &str) {
        self.device = if is_root() { LoopDevice::attach(&self.file) } else { None };
        if self.device.is_none() {
            skip_or_fail(test, "root and a free loop device (a plain file is used instead)");
        }
    }

    /// Detaches. Panics when somebody still holds the device: then it would stay until they let go.
    pub fn detach(&mut self) {
        if let Some(device) = self.device.take() {
            assert!(device.detach(), "losetup -d failed");
            assert!(!device.is_attached(), "{} is still held by somebody", device.path().display());
        }
    }

    pub fn path(&self) -> PathBuf {
        self.device.as_ref().map_or_else(|| self.file.clone(), |device| device.path().to_path_buf())
    }

    /// The bytes on the medium itself. Only after a flush: a loop device has a cache of its own above the file.
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.file).expect("the volume's file")
    }
}

/// The content of a volume after its job of a round.
pub fn image(volume: u64, round: u64) -> Vec<u8> {
    let blocks = VOLUME_SIZE / BLOCK as u64;
    (0..blocks).flat_map(|block| pattern::block(volume, block, round, BLOCK)).collect()
}

/// A link that plays the device path, `/dev/vdX`.
pub fn point(link: &Path, target: &Path) {
    let fresh = link.with_extension("new");
    std::os::unix::fs::symlink(target, &fresh).expect("a link");
    fs::rename(&fresh, link).expect("the link takes its place");
}

/// Replicates an image into an export with a real client.
pub fn nbdcopy(source: &Path, port: u16, export: &str) {
    let Some(nbdcopy) = tool("nbdcopy") else {
        return write_with_our_client(&fs::read(source).expect("the source"), port, export);
    };
    let output = Command::new(nbdcopy)
        .arg("--flush")
        .arg(source)
        .arg(format!("nbd://127.0.0.1:{port}/{export}"))
        .output()
        .expect("nbdcopy runs");
    assert!(output.status.success(), "nbdcopy: {}", String::from_utf8_lossy(&output.stderr));
}

pub fn write_with_our_client(bytes: &[u8], port: u16, export: &str) {
    let mut client = testkit::Client::connect_tcp(port).expect("connected");
    client.go(export).expect("the export");
    for (number, piece) in bytes.chunks(1 << 20).enumerate() {
        client.write((number << 20) as u64, piece).expect("written");
    }
    client.flush().expect("flushed");
    client.disc().expect("left");
}

/// Runs qemu-io commands against an export. `None` where it is missing.
pub fn qemu_io(port: u16, export: &str, commands: &[&str]) -> Option<String> {
    let qemu_io = tool("qemu-io")?;
    let mut command = Command::new(qemu_io);
    command.args(["-f", "raw"]);
    for one in commands {
        command.args(["-c", one]);
    }
    let output = command.arg(format!("nbd://127.0.0.1:{port}/{export}")).output().expect("qemu-io runs");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "qemu-io: {text}");
    Some(text)
}

/// Blocks of a file, without opening it for each.
pub fn read_blocks(path: &Path, first: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count * BLOCK];
    let file = fs::File::open(path).expect("the file");
    file.read_exact_at(&mut bytes, first * BLOCK as u64).expect("read");
    bytes
}
