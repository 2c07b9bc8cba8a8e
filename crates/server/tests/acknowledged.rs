//! What the exit status of `nbdctl reload` is worth: with 0 the very next connection sees the new device, and the old one
//! can be detached at that moment. No sleep stands anywhere in here.
#![allow(missing_docs)]

mod common;

use common::{BLOCK, server};
use std::fs;
use std::path::{Path, PathBuf};
use testkit::{LoopDevice, is_root, nbdctl, skip_or_fail};

/// Servers at a time, each with two devices: a reload waits most of its time for files to be left alone.
const SERVERS: usize = 3;
/// Of each: a thousand and two together.
const ROUNDS: usize = 334;

/// An image whose every byte is the same, and the device over it.
struct Disk {
    file: PathBuf,
    device: Option<LoopDevice>,
}

impl Disk {
    fn new(dir: &Path, mark: u8) -> Self {
        let file = dir.join(format!("disk-{mark}"));
        fs::write(&file, vec![mark; 4 * BLOCK]).expect("an image");
        Self { file, device: None }
    }

    fn attach(&mut self) -> PathBuf {
        let device = LoopDevice::attach(&self.file).expect("a loop device");
        let path = device.path().to_path_buf();
        self.device = Some(device);
        path
    }

    fn detach(&mut self) {
        let Some(device) = self.device.take() else { return };
        assert!(device.detach(), "losetup -d failed");
        assert!(!device.is_attached(), "{} is still held", device.path().display());
    }
}

#[test]
fn a_thousand_acknowledged_reloads_mean_what_they_say() {
    let probe = testkit::TempDir::new("acknowledged");
    if !is_root() || LoopDevice::attach(&Disk::new(probe.path(), 1).file).is_none() {
        return skip_or_fail("a_thousand_acknowledged_reloads", "root and loop devices");
    }
    std::thread::scope(|scope| (0..SERVERS).for_each(|_| drop(scope.spawn(swap_and_look))));
}

/// One server, and one export that goes from the one device to the other and back.
fn swap_and_look() {
    let setup = server();
    let mut disks = [1, 2].map(|mark| Disk::new(setup.dir(), mark));
    let server = setup.start();
    for round in 0..ROUNDS {
        let (new, old) = (round % 2, (round + 1) % 2);
        // Whoever is on the old disk, with something written that it does not flush.
        let before = disks[old].device.as_ref().map(|_| {
            let mut client = server.open("vol");
            client.write(0, &vec![old as u8 + 1; BLOCK]).expect("written");
            client
        });
        let path = disks[new].attach();
        server.write_export("vol", &path, "");
        let (code, out, err) = nbdctl(&server.control_path(), &["reload"]);
        assert_eq!(code, 0, "round {round}: {out}{err}");
        let mut client = server.open("vol");
        assert_eq!(client.read(0, 1), Ok(vec![new as u8 + 1]), "round {round}");
        disks[old].detach();
        drop(before);
    }
    for disk in &mut disks {
        let mark = if disk.file.ends_with("disk-1") { 1 } else { 2 };
        assert_eq!(fs::read(&disk.file).expect("an image"), vec![mark; 4 * BLOCK], "nothing went astray");
    }
    drop(server);
}
