//! What a path leads to on this host, and what that lies on.

use rustix::fs::{major, makedev, minor};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Devices that lie on one another; more is a loop.
const DEPTH_MAX: usize = 8;

/// The end of a path, behind all its links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A block device or a regular file.
    Disk {
        /// Two device files may lead to one disk: its number counts.
        itself: Id,
        /// What it lies on: the whole disk of a partition, the disks of a mapping, the file of a loop device.
        under: BTreeSet<Id>,
    },
    /// Nothing that could be served, and why.
    Nothing(String),
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Id {
    /// A block device, by its number.
    Device(u64),
    /// A regular file, by file system and inode.
    File(u64, u64),
}

impl Node {
    /// Looks.
    pub fn at(path: &str) -> Self {
        if !Path::new(path).is_absolute() {
            return Self::Nothing("is no absolute path".into());
        }
        match fs::metadata(path) {
            Ok(found) if found.file_type().is_block_device() => {
                let mut under = BTreeSet::new();
                collect_under(found.rdev(), &mut under, DEPTH_MAX);
                Self::Disk { itself: Id::Device(found.rdev()), under }
            }
            Ok(found) if found.is_file() => Self::alone(Id::File(found.dev(), found.ino())),
            Ok(_) => Self::Nothing("is neither a block device nor a file".into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Self::Nothing("is not there".into())
            }
            Err(error) => Self::Nothing(format!("cannot be looked at: {error}")),
        }
    }

    /// A disk that lies on nothing.
    pub fn alone(itself: Id) -> Self {
        Self::Disk { itself, under: BTreeSet::new() }
    }

    /// Both are there, and are one.
    pub fn is(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Disk { itself: a, .. }, Self::Disk { itself: b, .. }) if a == b)
    }

    /// What is written to one may be read from the other: one lies on the other, or both on one file. Two partitions or two
    /// mappings on one disk are disks of their own.
    pub fn touches(&self, other: &Self) -> bool {
        let (Self::Disk { itself: a, under: below_a }, Self::Disk { itself: b, under: below_b }) =
            (self, other)
        else {
            return false;
        };
        let file = below_a.intersection(below_b).any(|id| matches!(id, Id::File(..)));
        a == b || below_a.contains(b) || below_b.contains(a) || file
    }
}

/// What every path leads to: the file system, or a table in a test.
pub type Nodes<'a> = &'a dyn Fn(&str) -> Node;

/// Two paths agree when they are the same text, or lead to one disk.
pub fn same(one: &str, other: &str, nodes: Nodes<'_>) -> bool {
    one == other || nodes(one).is(&nodes(other))
}

/// Two paths may not be given to two exports when they are the same text, or touch one disk.
pub fn clash(one: &str, other: &str, nodes: Nodes<'_>) -> bool {
    one == other || nodes(one).touches(&nodes(other))
}

/// What the kernel says that a device lies on.
fn collect_under(device: u64, under: &mut BTreeSet<Id>, depth: usize) {
    let Some(depth) = depth.checked_sub(1) else { return };
    let dir = PathBuf::from(format!("/sys/dev/block/{}:{}", major(device), minor(device)));
    let whole = dir.join("partition").exists().then(|| fs::canonicalize(&dir).ok()).flatten();
    let whole = whole.and_then(|dir| number(dir.parent()?));
    let slaves = fs::read_dir(dir.join("slaves")).into_iter().flatten().flatten();
    for below in whole.into_iter().chain(slaves.filter_map(|slave| number(&slave.path()))) {
        if under.insert(Id::Device(below)) {
            collect_under(below, under, depth);
        }
    }
    let backing = fs::read_to_string(dir.join("loop/backing_file")).ok();
    let file = backing.and_then(|path| fs::metadata(path.trim_end_matches('\n')).ok());
    under.extend(file.map(|file| Id::File(file.dev(), file.ino())));
}

/// `MAJOR:MINOR` in a directory of the kernel's.
fn number(dir: &Path) -> Option<u64> {
    let text = fs::read_to_string(dir.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use testkit::{LoopDevice, TempDir, skip_or_fail};

    #[test]
    fn a_link_and_what_it_leads_to_are_one_and_nothing_is_never_the_same_as_nothing() {
        let dir = TempDir::new("node");
        let path = |name: &str| dir.join(name).display().to_string();
        dir.sparse("a", 512);
        dir.sparse("b", 512);
        symlink(dir.join("a"), dir.join("link")).unwrap();
        symlink(dir.join("gone"), dir.join("dangling")).unwrap();
        let same = |one: &str, other: &str| same(&path(one), &path(other), &Node::at);
        assert!(same("a", "link") && !same("a", "b") && !same("link", "b"));
        assert!(!same("dangling", "gone"), "nobody knows what either will be");
        assert!(same("gone", "gone"), "the same text");
        assert!(matches!(Node::at("/dev/null"), Node::Nothing(_)), "a character device");
        assert!(matches!(Node::at("remote-vm-1"), Node::Nothing(_)));
        assert!(matches!(Node::at("/"), Node::Nothing(_)));
    }

    #[test]
    fn one_disk_under_two_names_is_written_by_both() {
        let device = |number| Id::Device(number);
        let on = |itself, under: &[Id]| Node::Disk { itself, under: under.iter().copied().collect() };
        let (whole, part, other) =
            (Node::alone(device(1)), on(device(2), &[device(1)]), on(device(3), &[device(1)]));
        assert!(whole.touches(&part) && part.touches(&whole) && !part.is(&whole));
        assert!(!part.touches(&other), "two partitions");
        let file = Id::File(1, 2);
        assert!(on(device(7), &[file]).touches(&on(device(8), &[file])), "two loop devices on one file");
        assert!(!Node::Nothing(String::new()).touches(&Node::Nothing(String::new())));
    }

    #[test]
    fn a_loop_device_lies_on_its_file() {
        let dir = TempDir::new("node");
        let file = dir.sparse("disk", 1 << 20);
        let Some(device) = LoopDevice::attach(&file) else {
            return skip_or_fail("a_loop_device_lies_on_its_file", "loop devices");
        };
        let at = |path: &Path| Node::at(&path.display().to_string());
        let (device, file) = (at(device.path()), at(&file));
        assert!(device.touches(&file) && file.touches(&device) && !device.is(&file));
        assert!(!device.touches(&at(&dir.sparse("other", 512))));
    }

    #[test]
    fn device_numbers_are_written_as_the_kernel_does() {
        // makedev(8, 1), makedev(259, 300), makedev(7, 0)
        for (number, wanted) in [(0x801, (8, 1)), (0x0011_032c, (259, 300)), (0x700, (7, 0))] {
            assert_eq!((major(number), minor(number)), wanted);
        }
    }
}
