//! What `/sys` tells of a block device. It is read, never trusted alone: where the open descriptor can say the disk
//! sequence number, a `/sys` entry with another number belongs to another disk.

use crate::identity::{DeviceIdentity, Partition};
use std::fs;
use std::path::{Path, PathBuf};

/// Layers of device-mapper over md over device-mapper that are followed. More is no set-up that anybody has.
const DEPTH_MAX: u32 = 8;

/// A mounted `/sys`, or a likeness of it.
#[derive(Clone, Debug)]
pub(crate) struct Sysfs {
    /// `/sys/dev/block`, whose entries are named `MAJOR:MINOR`.
    pub by_number: PathBuf,
}

impl Default for Sysfs {
    fn default() -> Self {
        Self { by_number: PathBuf::from("/sys/dev/block") }
    }
}

impl Sysfs {
    /// All that can be read about a device; only its number where nothing can. Size 0 where it is not told.
    pub fn device(&self, rdev: (u32, u32)) -> DeviceIdentity {
        self.device_at_depth(rdev, 0)
    }

    /// The devices below (`slaves/`), sorted by number, each with its own. `None`: there is no such entry.
    pub fn lower(&self, rdev: (u32, u32)) -> Option<Vec<DeviceIdentity>> {
        let entry = self.entry(rdev)?;
        Some(self.lower_of(&entry, 0))
    }

    /// Bytes that one "write zeroes" command of the disk can cover; 0: it has no such command.
    pub fn write_zeroes_max(&self, rdev: (u32, u32)) -> u64 {
        let Some(entry) = self.entry(rdev) else { return 0 };
        number(&disk_of(&entry).join("queue/write_zeroes_max_bytes")).unwrap_or(0)
    }

    fn entry(&self, (major, minor): (u32, u32)) -> Option<PathBuf> {
        // Resolved, because a partition's disk is the directory above the real one.
        fs::canonicalize(self.by_number.join(format!("{major}:{minor}"))).ok()
    }

    fn device_at_depth(&self, rdev: (u32, u32), depth: u32) -> DeviceIdentity {
        let mut identity = DeviceIdentity { rdev, ..DeviceIdentity::default() };
        let Some(entry) = self.entry(rdev) else { return identity };
        let disk = disk_of(&entry);
        identity.size = number(&entry.join("size")).unwrap_or(0).saturating_mul(512);
        identity.partition = number(&entry.join("partition")).map(|number| Partition {
            number,
            start: self::number(&entry.join("start")).unwrap_or(0).saturating_mul(512),
        });
        identity.whole = identity.partition.and_then(|_| device_number(&text(&disk.join("dev"))?));
        identity.diskseq = number(&disk.join("diskseq"));
        identity.serial = serial(&disk);
        identity.wwid = text(&disk.join("wwid")).or_else(|| text(&disk.join("device/wwid")));
        identity.lower = self.lower_of(&entry, depth);
        identity
    }

    fn lower_of(&self, entry: &Path, depth: u32) -> Vec<DeviceIdentity> {
        if depth >= DEPTH_MAX {
            return Vec::new();
        }
        let Ok(entries) = fs::read_dir(entry.join("slaves")) else { return Vec::new() };
        let mut lower: Vec<_> = entries
            .filter_map(Result::ok)
            .filter_map(|slave| device_number(&text(&slave.path().join("dev"))?))
            .map(|rdev| self.device_at_depth(rdev, depth + 1))
            .collect();
        lower.sort_by_key(|device| device.rdev);
        lower
    }
}

/// The whole disk of a partition; any other device itself.
fn disk_of(entry: &Path) -> PathBuf {
    match entry.parent() {
        Some(parent) if entry.join("partition").exists() => parent.to_owned(),
        _ => entry.to_owned(),
    }
}

/// virtio and zoned kinds have `serial`, NVMe and MMC `device/serial`, SCSI page 0x80 of its product data.
fn serial(disk: &Path) -> Option<String> {
    text(&disk.join("serial"))
        .or_else(|| text(&disk.join("device/serial")))
        .or_else(|| clean(fs::read(disk.join("device/vpd_pg80")).ok()?.get(4..)?))
        .filter(|serial| !names_a_slot(serial))
}

/// QEMU numbers IDE, SATA and SCSI disks without a serial by their place in the machine (`QM00001`). Another volume in
/// the same place gets the same one: it names a slot, not a disk.
fn names_a_slot(serial: &str) -> bool {
    serial.strip_prefix("QM").is_some_and(|rest| rest.len() == 5 && rest.bytes().all(|b| b.is_ascii_digit()))
}

fn text(path: &Path) -> Option<String> {
    clean(&fs::read(path).ok()?)
}

/// Without the blanks and zero bytes that pad these fields. What is left empty counts as absent.
fn clean(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

fn number(path: &Path) -> Option<u64> {
    text(path)?.parse().ok()
}

fn device_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    /// A likeness of `/sys`: `devices/NAME` with attribute files, `dev/block/M:m` pointing there.
    struct Likeness {
        dir: TempDir,
    }

    impl Likeness {
        fn new() -> Self {
            let dir = TempDir::new("sysfs");
            fs::create_dir_all(dir.path().join("dev/block")).unwrap();
            Self { dir }
        }

        fn device(&self, number: &str, name: &str, attributes: &[(&str, &str)]) -> &Self {
            let device = self.dir.path().join("devices").join(name);
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("dev"), format!("{number}\n")).unwrap();
            for (attribute, value) in attributes {
                let file = device.join(attribute);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, value).unwrap();
            }
            std::os::unix::fs::symlink(&device, self.dir.path().join("dev/block").join(number)).unwrap();
            self
        }

        fn below(&self, upper: &str, lower: &str) -> &Self {
            let devices = self.dir.path().join("devices");
            let slaves = devices.join(upper).join("slaves");
            fs::create_dir_all(&slaves).unwrap();
            let link = slaves.join(Path::new(lower).file_name().unwrap());
            std::os::unix::fs::symlink(devices.join(lower), link).unwrap();
            self
        }

        fn sysfs(&self) -> Sysfs {
            Sysfs { by_number: self.dir.path().join("dev/block") }
        }
    }

    #[test]
    fn a_virtio_disk_has_its_serial_beside_its_size() {
        let sys = Likeness::new();
        sys.device("254:16", "vdb", &[("serial", "vol-0001\n"), ("size", "2048\n"), ("diskseq", "27\n")]);
        let device = sys.sysfs().device((254, 16));
        assert_eq!(device.serial.as_deref(), Some("vol-0001"));
        assert_eq!((device.size, device.diskseq, device.partition), (1 << 20, Some(27), None));
    }

    #[test]
    fn a_scsi_disk_has_its_serial_in_page_80_and_its_wwid_below_device() {
        let sys = Likeness::new();
        let page = "\0\u{1}\0\u{6}  AB12";
        sys.device("8:0", "sda", &[("device/vpd_pg80", page), ("device/wwid", "naa.5000c500\n")]);
        let device = sys.sysfs().device((8, 0));
        assert_eq!(device.serial.as_deref(), Some("AB12"));
        assert_eq!(device.wwid.as_deref(), Some("naa.5000c500"));
    }

    #[test]
    fn a_serial_that_names_a_slot_or_nothing_does_not_count() {
        let sys = Likeness::new();
        sys.device("8:0", "sda", &[("serial", "QM00003\n")]).device("8:16", "sdb", &[("serial", " \0\n")]);
        assert_eq!(sys.sysfs().device((8, 0)).serial, None);
        assert_eq!(sys.sysfs().device((8, 16)).serial, None);
        assert!(!names_a_slot("QM0000A") && !names_a_slot("QM000001") && !names_a_slot("vol-QM00001"));
    }

    #[test]
    fn a_partition_has_its_disks_attributes_and_its_own_place() {
        let sys = Likeness::new();
        sys.device(
            "254:16",
            "vdb",
            &[("serial", "S"), ("diskseq", "9"), ("queue/write_zeroes_max_bytes", "512")],
        )
        .device("254:17", "vdb/vdb1", &[("partition", "1"), ("start", "2048"), ("size", "8")]);
        let device = sys.sysfs().device((254, 17));
        assert_eq!((device.serial.as_deref(), device.diskseq, device.size), (Some("S"), Some(9), 4096));
        assert_eq!(device.partition, Some(Partition { number: 1, start: 1 << 20 }));
        assert_eq!((device.whole, sys.sysfs().device((254, 16)).whole), (Some((254, 16)), None));
        assert_eq!(sys.sysfs().write_zeroes_max((254, 17)), 512);
    }

    #[test]
    fn a_mapped_device_lists_what_is_below_it_down_to_the_disks() {
        let sys = Likeness::new();
        sys.device("253:0", "dm-0", &[("diskseq", "5")])
            .device("253:1", "dm-1", &[("diskseq", "6")])
            .device("8:16", "sdb", &[("serial", "B")])
            .device("8:0", "sda", &[("serial", "A")])
            .below("dm-0", "dm-1")
            .below("dm-0", "sdb")
            .below("dm-1", "sda");
        let device = sys.sysfs().device((253, 0));
        assert_eq!(device.lower.iter().map(|d| d.rdev).collect::<Vec<_>>(), [(8, 16), (253, 1)]);
        assert_eq!(device.lower[1].lower[0].serial.as_deref(), Some("A"));
        assert_eq!(sys.sysfs().lower((253, 0)), Some(device.lower));
    }

    #[test]
    fn a_device_below_itself_ends() {
        let sys = Likeness::new();
        sys.device("253:0", "dm-0", &[]).below("dm-0", "dm-0");
        assert_eq!(sys.sysfs().device((253, 0)).lower.len(), 1);
    }

    #[test]
    fn without_an_entry_only_the_number_is_known() {
        let sys = Likeness::new();
        assert_eq!(sys.sysfs().lower((1, 2)), None);
        let device = sys.sysfs().device((1, 2));
        assert_eq!(device, DeviceIdentity { rdev: (1, 2), ..DeviceIdentity::default() });
        assert_eq!(sys.sysfs().write_zeroes_max((1, 2)), 0);
    }
}
