//! Where the bytes of something are, so that two who write to one disk are told, also where one has the whole of it and
//! the other a part, or a volume that stands on it.

use crate::{DeviceIdentity, Identity};

/// A stretch of one disk or file. Two that [overlap](Place::overlaps) share bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    on: Ground,
    /// Bytes, from and up to.
    from: u64,
    to: u64,
    /// Reached through a device that stands on it. Which of its bytes is not known.
    through: bool,
}

/// What a place is a stretch of. Only places on the same ground can overlap, so it is the key to look them up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ground {
    /// An inode of a file system.
    File(u64, u64),
    /// A device number.
    Number((u32, u32)),
    /// A disk sequence number, which a disk has in common with its partitions.
    Sequence(u64),
}

impl Place {
    /// What it is a stretch of.
    #[must_use]
    pub fn ground(&self) -> Ground {
        self.on
    }

    /// Whether both have bytes in common. Two devices that stand on one disk have each a part of it: two volumes of one
    /// group are two disks.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.on == other.on
            && !(self.through && other.through)
            && self.from < other.to
            && other.from < self.to
    }

    fn whole(on: Ground) -> Self {
        Self { on, from: 0, to: u64::MAX, through: false }
    }
}

impl Identity {
    /// Where its bytes are: two exports of which places overlap write to one disk. Empty: nowhere yet, or nothing with
    /// bytes.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        match self {
            Self::File { ino: 0, .. } | Self::Placeholder { .. } => Vec::new(),
            Self::File { dev, ino } | Self::Directory { dev, ino } => {
                vec![Place::whole(Ground::File(*dev, *ino))]
            }
            Self::Device(device) => device.places(),
            Self::Several(pieces) => pieces.iter().flat_map(Self::places).collect(),
        }
    }

    /// Whether both have bytes in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let others = other.places();
        self.places().iter().any(|place| others.iter().any(|other| place.overlaps(other)))
    }
}

impl DeviceIdentity {
    fn places(&self) -> Vec<Place> {
        let mut places = vec![Place::whole(Ground::Number(self.rdev))];
        let disk = self.diskseq.map(Ground::Sequence).into_iter().chain(self.whole.map(Ground::Number));
        let (from, to) = match self.partition {
            // Of unknown size it has its first byte at least.
            Some(part) => (part.start, part.start.saturating_add(self.size.max(1))),
            None => (0, u64::MAX),
        };
        places.extend(disk.map(|on| Place { on, from, to, through: false }));
        let below = self.lower.iter().flat_map(Self::places);
        places.extend(below.map(|place| Place { through: true, ..place }));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Partition;

    const DISK: (u32, u32) = (8, 0);

    fn disk(diskseq: Option<u64>) -> DeviceIdentity {
        DeviceIdentity { rdev: DISK, size: 1 << 30, diskseq, ..DeviceIdentity::default() }
    }

    fn part(number: u32, diskseq: Option<u64>) -> DeviceIdentity {
        let partition = Some(Partition { number: number.into(), start: u64::from(number) << 20 });
        let rdev = (DISK.0, DISK.1 + number);
        DeviceIdentity { rdev, size: 1 << 20, diskseq, whole: Some(DISK), partition, ..Default::default() }
    }

    fn mapped(minor: u32, lower: &[DeviceIdentity]) -> DeviceIdentity {
        let (rdev, diskseq) = ((253, minor), Some(100 + u64::from(minor)));
        DeviceIdentity { rdev, diskseq, lower: lower.to_vec(), ..DeviceIdentity::default() }
    }

    fn overlap(one: &DeviceIdentity, other: &DeviceIdentity) -> bool {
        let [one, other] = [one, other].map(|device| Identity::Device(device.clone()));
        assert_eq!(one.overlaps(&other), other.overlaps(&one), "{one} and {other}");
        one.overlaps(&other)
    }

    #[test]
    fn a_whole_disk_overlaps_its_partitions_and_they_not_each_other() {
        for diskseq in [None, Some(7)] {
            let (whole, one, two) = (disk(diskseq), part(1, diskseq), part(2, diskseq));
            assert!(overlap(&whole, &one) && overlap(&two, &whole), "{diskseq:?}");
            assert!(!overlap(&one, &two) && overlap(&one, &one));
            let wide = DeviceIdentity { size: 3 << 19, ..one };
            assert!(overlap(&wide, &two), "tables can be wrong");
        }
        // Partitions beyond the fifteenth have numbers of their own, and the disk's sequence number.
        let far = DeviceIdentity { rdev: (259, 0), whole: None, ..part(16, Some(7)) };
        assert!(overlap(&far, &disk(Some(7))) && !overlap(&far, &part(1, Some(7))));
        let elsewhere = DeviceIdentity { rdev: (8, 16), ..disk(Some(8)) };
        assert!(!overlap(&elsewhere, &part(1, Some(7))) && !overlap(&elsewhere, &disk(Some(7))));
    }

    #[test]
    fn a_mapped_device_overlaps_what_it_stands_on_and_not_its_sisters() {
        let (whole, one, two) = (disk(Some(7)), part(1, Some(7)), part(2, Some(7)));
        let (volume, sister) = (mapped(0, std::slice::from_ref(&one)), mapped(1, std::slice::from_ref(&one)));
        assert!(overlap(&volume, &one) && overlap(&volume, &whole) && !overlap(&volume, &two));
        assert!(!overlap(&volume, &sister) && overlap(&volume, &volume));
        let above = mapped(2, std::slice::from_ref(&volume));
        assert!(overlap(&above, &volume) && overlap(&above, &one) && !overlap(&above, &sister));
    }
}
