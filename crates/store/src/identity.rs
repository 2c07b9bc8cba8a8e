//! Which disk or file something is, whatever its path (P4). A path is a name, not a disk, and neither is a device
//! node: removed and made anew it may have the same inode number for another disk.

use std::fmt;

/// What was found at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A regular file.
    File {
        /// Its file system.
        dev: u64,
        /// Its inode; 0 when the file is not there yet and will be created by opening it.
        ino: u64,
    },
    /// A block device.
    Device(DeviceIdentity),
    /// Something without content of its own (`/dev/null`, a FIFO).
    Placeholder {
        /// Major and minor number.
        rdev: (u32, u32),
    },
    /// The files or devices that follow each other, in order.
    Several(Vec<Identity>),
    /// A directory that holds a disk as a tree of files.
    Directory {
        /// Its file system.
        dev: u64,
        /// Its inode.
        ino: u64,
    },
}

/// What tells one block device from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// Major and minor number: a place, not a disk.
    pub rdev: (u32, u32),
    /// Bytes.
    pub size: u64,
    /// The disk's sequence number, never used twice while the kernel runs; none before Linux 5.15.
    pub diskseq: Option<u64>,
    /// The disk's serial number.
    pub serial: Option<String>,
    /// The disk's world-wide name.
    pub wwid: Option<String>,
    /// Which part of the disk this is, if not the whole.
    pub partition: Option<Partition>,
    /// Major and minor number of the disk that this is a part of; none for a whole disk, or where it is not told.
    pub whole: Option<(u32, u32)>,
    /// What a device-mapper or md device stands on, sorted by device number.
    pub lower: Vec<DeviceIdentity>,
}

/// A partition's place on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// As in the partition table, from 1.
    pub number: u64,
    /// Bytes from the start of the disk.
    pub start: u64,
}

/// Which disk it must be, as an operator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The disk with this serial number.
    Serial(String),
    /// The disk with this world-wide name.
    Wwid(String),
    /// The disk with this sequence number, until the next boot.
    Diskseq(u64),
}

impl Identity {
    /// Whether `now` is what `self` was. For files: same file system and inode, and a file that was not there yet is
    /// the one that was then made. For devices see [`DeviceIdentity::same_disk`].
    #[must_use]
    pub fn same_disk(&self, now: &Self) -> bool {
        match (self, now) {
            (Self::File { ino: 0, .. }, Self::File { .. }) => true,
            (Self::Device(was), Self::Device(is)) => was.same_disk(is),
            (Self::Several(was), Self::Several(are)) => {
                was.len() == are.len() && was.iter().zip(are).all(|(was, is)| was.same_disk(is))
            }
            (was, is) => was == is,
        }
    }

    /// Whether `now` ends earlier than `self`, since a piece of it is not there.
    #[must_use]
    pub fn lost_pieces(&self, now: &Self) -> bool {
        matches!((self, now), (Self::Several(was), Self::Several(are)) if are.len() < was.len())
    }

    /// Nothing is there yet; opening makes a file.
    #[must_use]
    pub fn to_be_created(&self) -> bool {
        matches!(self, Self::File { ino: 0, .. })
    }

    /// Whether it is nothing but what its path leads to: another file there is the export's new file (P4), while another
    /// device is another disk.
    #[must_use]
    pub fn follows_its_path(&self) -> bool {
        match self {
            Self::File { .. } | Self::Directory { .. } => true,
            Self::Device(_) | Self::Placeholder { .. } => false,
            Self::Several(pieces) => pieces.iter().all(Self::follows_its_path),
        }
    }

    /// What tells this disk from others for as long as it is one, also after the next boot: its serial number or world-wide
    /// name, and which part of it. Empty where it has neither; a file has none.
    #[must_use]
    pub fn lasting(&self) -> String {
        match self {
            Self::Device(device) => device.lasting().unwrap_or_default(),
            Self::Several(pieces) => {
                let names: Vec<String> = pieces.iter().map(Self::lasting).collect();
                if names.iter().any(String::is_empty) { String::new() } else { names.join(";") }
            }
            Self::File { .. } | Self::Directory { .. } | Self::Placeholder { .. } => String::new(),
        }
    }

    /// Whether this is the disk that an operator named.
    ///
    /// # Errors
    /// A sentence with what is wanted and what is there.
    pub fn matches(&self, wanted: &Wanted) -> Result<(), String> {
        match self {
            Self::Device(device) => device.matches(wanted),
            Self::File { .. } => Err(format!("{wanted} is wanted, but a regular file is there")),
            Self::Placeholder { .. } => Err(format!("{wanted} is wanted, but no disk is there")),
            Self::Several(_) => Err(format!(
                "{wanted} is wanted, but several pieces are there, and one identity names one disk"
            )),
            Self::Directory { .. } => Err(format!("{wanted} is wanted, but a directory is there")),
        }
    }
}

impl DeviceIdentity {
    /// Whether both are one disk: the same part of it, over the same devices, and then
    /// serial and wwid, as far as both have them; where they have neither in common, the disk sequence number with
    /// the device number; and on kernels without one, device number and size.
    ///
    /// So the same serial under another device number is the same disk come back. A device-mapper device has no
    /// serial and keeps its sequence number when it is pointed at another disk: what is below it must agree too.
    #[must_use]
    pub fn same_disk(&self, other: &Self) -> bool {
        if self.partition != other.partition || !same_disks(&self.lower, &other.lower) {
            return false;
        }
        let serials = both(&self.serial, &other.serial);
        let wwids = both(&self.wwid, &other.wwid);
        match (serials, wwids, self.diskseq, other.diskseq) {
            (Some(false), ..) | (_, Some(false), ..) => false,
            (Some(true), ..) | (_, Some(true), ..) => true,
            (None, None, Some(was), Some(is)) => was == is && self.rdev == other.rdev,
            (None, None, None, None) => self.rdev == other.rdev && self.size == other.size,
            // One knows and the other does not: better a question too many than a write to another disk.
            (None, None, ..) => false,
        }
    }

    fn lasting(&self) -> Option<String> {
        let own = self.serial.as_ref().map(|serial| format!("serial={}", Word(serial)));
        let own = own.or_else(|| self.wwid.as_ref().map(|wwid| format!("wwid={}", Word(wwid))));
        // What it stands on is no name for it: two volumes of one disk stand on the same.
        let name = own?;
        Some(match self.partition {
            Some(part) => format!("{name},partition={}", part.number),
            None => name,
        })
    }

    /// A device over exactly one other (a volume on a disk) is also known by that one's serial or wwid.
    fn matches(&self, wanted: &Wanted) -> Result<(), String> {
        let (fits, there) = match wanted {
            Wanted::Serial(serial) => (self.serial.as_ref() == Some(serial), &self.serial),
            Wanted::Wwid(wwid) => (self.wwid.as_ref() == Some(wwid), &self.wwid),
            Wanted::Diskseq(diskseq) if self.diskseq == Some(*diskseq) => return Ok(()),
            Wanted::Diskseq(_) => return Err(format!("{wanted} is wanted, but {self} is there")),
        };
        match (fits, there, self.lower.as_slice()) {
            (true, ..) => Ok(()),
            (false, None, [only]) => only.matches(wanted),
            _ => Err(format!("{wanted} is wanted, but {self} is there")),
        }
    }
}

/// Equal, where both have one.
fn both(a: &Option<String>, b: &Option<String>) -> Option<bool> {
    Some(a.as_ref()? == b.as_ref()?)
}

/// Whether two sets of lower devices are the same disks, in whatever order their numbers put them. A disk may be there
/// more than once: one path of several to it can be lost and come back.
pub(crate) fn same_disks(a: &[DeviceIdentity], b: &[DeviceIdentity]) -> bool {
    a.is_empty() == b.is_empty()
        && a.iter().all(|x| b.iter().any(|y| x.same_disk(y)))
        && b.iter().all(|y| a.iter().any(|x| x.same_disk(y)))
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { dev, ino: 0 } => write!(f, "fs={},inode=none", Number(split(*dev))),
            Self::File { dev, ino } => write!(f, "fs={},inode={ino}", Number(split(*dev))),
            Self::Device(device) => device.fmt(f),
            Self::Placeholder { rdev } => write!(f, "char={}", Number(*rdev)),
            Self::Several(pieces) => {
                for (n, piece) in pieces.iter().enumerate() {
                    write!(f, "{}{piece}", if n == 0 { "pieces=[" } else { ";" })?;
                }
                f.write_str(if pieces.is_empty() { "pieces=[]" } else { "]" })
            }
            Self::Directory { dev, ino } => write!(f, "fs={},directory={ino}", Number(split(*dev))),
        }
    }
}

/// One word, without blanks: it stands as a value in log lines.
impl fmt::Display for DeviceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(serial) = &self.serial {
            write!(f, "serial={},", Word(serial))?;
        }
        if let Some(wwid) = &self.wwid {
            write!(f, "wwid={},", Word(wwid))?;
        }
        if let Some(diskseq) = self.diskseq {
            write!(f, "diskseq={diskseq},")?;
        }
        if let Some(partition) = &self.partition {
            write!(f, "partition={},start={},", partition.number, partition.start)?;
        }
        write!(f, "dev={}", Number(self.rdev))?;
        for (n, lower) in self.lower.iter().enumerate() {
            write!(f, "{}{lower}", if n == 0 { ",over=[" } else { ";" })?;
        }
        if self.lower.is_empty() { Ok(()) } else { f.write_str("]") }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(serial) => write!(f, "serial={}", Word(serial)),
            Self::Wwid(wwid) => write!(f, "wwid={}", Word(wwid)),
            Self::Diskseq(diskseq) => write!(f, "diskseq={diskseq}"),
        }
    }
}

struct Number((u32, u32));

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.0, self.0.1)
    }
}

/// A disk's own words may hold blanks, commas and control characters; a log line may not.
struct Word<'a>(&'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let harmless = |c: char| c.is_ascii_graphic() && !matches!(c, ',' | ';' | '[' | ']' | '"' | '=');
        self.0.chars().try_for_each(|c| fmt::Write::write_char(f, if harmless(c) { c } else { '_' }))
    }
}

pub(crate) fn split(dev: u64) -> (u32, u32) {
    (rustix::fs::major(dev), rustix::fs::minor(dev))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(number: u32, wwid: &str) -> DeviceIdentity {
        DeviceIdentity { rdev: (8, number), wwid: Some(wwid.into()), ..DeviceIdentity::default() }
    }

    /// Numbers that change at a boot are no names; of a part the whole is named too.
    #[test]
    fn a_disk_has_a_lasting_name_where_it_has_a_serial_or_a_wide_name() {
        let named = |device: DeviceIdentity| Identity::Device(device).lasting();
        let serial = DeviceIdentity { serial: Some("S 1".into()), diskseq: Some(7), ..disk(0, "w") };
        assert_eq!(named(serial.clone()), "serial=S_1");
        let part = Partition { number: 2, start: 4096 };
        assert_eq!(
            named(DeviceIdentity { partition: Some(part), ..serial.clone() }),
            "serial=S_1,partition=2"
        );
        let mapper = |lower| DeviceIdentity { rdev: (253, 0), lower, ..DeviceIdentity::default() };
        assert_eq!(named(mapper(vec![serial])), "", "two volumes of one disk are two");
        assert_eq!(named(DeviceIdentity { diskseq: Some(7), ..DeviceIdentity::default() }), "");
        assert_eq!(Identity::File { dev: 1, ino: 2 }.lasting(), "");
    }

    /// All that makes it another disk is told, or a log line says that a disk was replaced by itself.
    #[test]
    fn a_partition_that_was_moved_is_told_from_the_one_before() {
        let at = |start| DeviceIdentity { partition: Some(Partition { number: 1, start }), ..disk(1, "w") };
        assert_eq!(at(1 << 20).to_string(), "wwid=w,partition=1,start=1048576,dev=8:1");
        assert!(!at(1 << 20).same_disk(&at(1 << 21)) && at(1 << 20).to_string() != at(1 << 21).to_string());
    }

    /// A path to a disk that is lost, or comes back, is no other disk; a disk that is another one, or is missing, is.
    #[test]
    fn a_disk_with_one_path_less_is_the_same_disk() {
        let both = [disk(0, "a"), disk(16, "a")];
        assert!(same_disks(&both, &both[..1]) && same_disks(&both[1..], &both));
        let two = [disk(0, "a"), disk(16, "b")];
        assert!(!same_disks(&two, &two[..1]) && !same_disks(&both, &two) && !same_disks(&two, &[]));
        assert!(same_disks(&two, &[disk(32, "b"), disk(48, "a")]));
    }

    fn file(ino: u64) -> Identity {
        Identity::File { dev: 0x801, ino }
    }

    /// Pieces in another order, or one more or less, are another disk: every byte behind them is elsewhere.
    #[test]
    fn several_pieces_are_the_same_only_in_the_same_order() {
        let both = Identity::Several(vec![file(5), Identity::Device(disk(0, "a"))]);
        let other_path = Identity::Several(vec![file(5), Identity::Device(disk(16, "a"))]);
        assert!(both.same_disk(&both) && both.same_disk(&other_path));
        let swapped = Identity::Several(vec![Identity::Device(disk(0, "a")), file(5)]);
        let fewer = Identity::Several(vec![file(5)]);
        assert!(both.lost_pieces(&fewer) && !fewer.lost_pieces(&both) && !both.lost_pieces(&swapped));
        for other in [swapped, fewer, file(5), Identity::Several(vec![file(5), file(6)])] {
            assert!(!both.same_disk(&other) && !other.same_disk(&both), "{other}");
        }
    }

    #[test]
    fn pieces_and_trees_have_their_places_and_one_word() {
        let tree = Identity::Directory { dev: 0x801, ino: 7 };
        let pieces = Identity::Several(vec![file(5), Identity::Device(disk(16, "a b")), file(6)]);
        assert_eq!(pieces.to_string(), "pieces=[fs=8:1,inode=5;wwid=a_b,dev=8:16;fs=8:1,inode=6]");
        assert_eq!(tree.to_string(), "fs=8:1,directory=7");
        assert_eq!(pieces.places().len(), 3);
        assert_eq!(pieces.places()[2], file(6).places()[0]);
        assert_eq!((tree.places().len(), file(0).places().len()), (1, 0));
        // Another disk among the pieces is another disk, but files follow their path.
        assert!(tree.follows_its_path() && Identity::Several(vec![file(5), file(6)]).follows_its_path());
        assert!(!pieces.follows_its_path());
        assert!(!tree.same_disk(&file(7)) && tree.same_disk(&tree));
        let wanted = Wanted::Serial("S".into());
        assert!(pieces.matches(&wanted).unwrap_err().contains("several pieces"));
        assert!(tree.matches(&wanted).unwrap_err().contains("a directory"));
    }
}
