//! Where in a tree the bytes of a disk are: which page, and which file that is. Arithmetic alone.

use std::fmt::Write;
use std::ops::Range;

/// Bytes of a page, and of its file.
pub(super) const PAGE: u64 = 4096;
/// Entries of a directory.
const FAN: u64 = 1024;

/// The form of one tree. It follows from its size alone, so a tree must be opened with the size that it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Bytes.
    pub size: u64,
    /// Directories above each page.
    levels: u32,
}

/// What of a range lies in one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Counted from the start of the disk.
    pub page: u64,
    /// First byte, from the start of the page.
    pub within: u64,
    /// Bytes, never 0.
    pub len: u64,
}

impl Shape {
    pub fn new(size: u64) -> Self {
        let (mut levels, mut rest) = (0, size);
        while rest >= PAGE * FAN {
            rest /= FAN;
            levels += 1;
        }
        Self { size, levels }
    }

    /// The file of a page below the tree's directory.
    pub fn file(self, page: u64) -> String {
        let mut path = self.directory(page, self.levels);
        if !path.is_empty() {
            path.push('/');
        }
        path + &name(page)
    }

    /// The directory that holds the page's file; empty for the tree's own.
    pub fn leaf(self, page: u64) -> String {
        self.directory(page, self.levels)
    }

    /// The directories down to the page, the uppermost first.
    pub fn directories(self, page: u64) -> impl Iterator<Item = String> {
        (1..=self.levels).map(move |depth| self.directory(page, depth))
    }

    /// The page after the last one that is below the same directory, the `depth`-th from above (0: the tree's own).
    pub fn end_below(self, page: u64, depth: u32) -> u64 {
        let pages = self.size.div_ceil(PAGE);
        match FAN.checked_pow(self.levels + 1 - depth) {
            Some(below) => (page / below + 1).saturating_mul(below).min(pages),
            None => pages,
        }
    }

    /// The page after the last one in the same leaf directory.
    pub fn end_of_leaf(self, page: u64) -> u64 {
        self.end_below(page, self.levels)
    }

    /// A range page by page.
    pub fn parts(self, offset: u64, len: u64) -> impl Iterator<Item = Part> {
        let end = offset + len;
        let mut at = offset;
        std::iter::from_fn(move || {
            let (page, within) = (at / PAGE, at % PAGE);
            let part = Part { page, within, len: (PAGE - within).min(end - at) };
            at += part.len;
            (part.len > 0).then_some(part)
        })
    }

    /// The pages that lie wholly inside a range. The last one of the disk ends where the disk ends.
    pub fn whole(self, offset: u64, len: u64) -> Range<u64> {
        let end = offset + len;
        let last = if end == self.size { end.div_ceil(PAGE) } else { end / PAGE };
        offset.div_ceil(PAGE)..last.max(offset.div_ceil(PAGE))
    }

    fn directory(self, page: u64, depth: u32) -> String {
        let mut path = String::new();
        for level in 0..depth {
            // The leaf directory's number is the page's divided by 1024 once.
            let number = (0..self.levels - level).fold(page, |rest, _| rest / FAN) % FAN;
            let slash = if path.is_empty() { "" } else { "/" };
            // Writing into a String cannot fail.
            let _ = write!(path, "{slash}TREE{number:04X}");
        }
        path
    }
}

/// A page's file in its directory.
pub(super) fn name(page: u64) -> String {
    format!("FILE{:04X}", page % FAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const TIB: u64 = 1 << 40;

    /// C-191, and C-190's names. Each column was looked up in a tree that nbd-server 3.24 made.
    #[test]
    fn a_page_has_the_file_that_the_original_gives_it() {
        let table = [
            (1, 0, "FILE0000"),
            (4 * MIB - 1, 1023, "FILE03FF"),
            (4 * MIB, 0, "TREE0000/FILE0000"),
            (4 * MIB, 1023, "TREE0000/FILE03FF"),
            (4 * MIB + 1, 1024, "TREE0001/FILE0000"),
            (4096 * MIB - 1, (1 << 20) - 1, "TREE03FF/FILE03FF"),
            (4096 * MIB, (1 << 20) - 1, "TREE0000/TREE03FF/FILE03FF"),
            (TIB, (1 << 27) + 5, "TREE0080/TREE0000/FILE0005"),
            (4 * TIB - 1, (1 << 30) - 1, "TREE03FF/TREE03FF/FILE03FF"),
            (4 * TIB, 0xABCDE, "TREE0000/TREE0000/TREE02AF/FILE00DE"),
            (i64::MAX as u64, 1 << 50, "TREE0001/TREE0000/TREE0000/TREE0000/TREE0000/FILE0000"),
        ];
        for (size, page, file) in table {
            assert_eq!(Shape::new(size).file(page), file, "page {page} of {size} bytes");
        }
    }

    #[test]
    fn the_directories_lead_down_to_the_leaf() {
        let shape = Shape::new(TIB);
        let page = (1 << 27) + (7 << 10) + 5;
        assert_eq!(shape.directories(page).collect::<Vec<_>>(), ["TREE0080", "TREE0080/TREE0007"]);
        assert_eq!((shape.leaf(page), name(page)), ("TREE0080/TREE0007".into(), "FILE0005".into()));
        assert_eq!(Shape::new(MIB).directories(3).count(), 0);
        let ends = [0, 1, 2].map(|depth| shape.end_below(page, depth));
        assert_eq!(ends, [1 << 28, (1 << 27) + (1 << 20), (1 << 27) + (8 << 10)]);
        assert_eq!(shape.end_of_leaf(page), ends[2]);
        assert_eq!(Shape::new(u64::MAX).end_below(page, 0), u64::MAX.div_ceil(PAGE));
        assert_eq!(Shape::new(5000).end_of_leaf(0), 2, "and no further than the disk");
    }

    #[test]
    fn a_range_falls_into_parts_and_whole_pages() {
        let shape = Shape::new(3 * PAGE + 100);
        let part = |page, within, len| Part { page, within, len };
        let parts = |offset, len| shape.parts(offset, len).collect::<Vec<_>>();
        assert_eq!(parts(4095, 4098), [part(0, 4095, 1), part(1, 0, 4096), part(2, 0, 1)]);
        assert_eq!(parts(4096, 0), []);
        assert_eq!(parts(shape.size, 0), []);
        assert_eq!(shape.whole(4095, 4098), 1..2);
        assert_eq!(shape.whole(4097, 4096), 2..2);
        assert_eq!(shape.whole(3 * PAGE, 99), 3..3);
        assert_eq!(shape.whole(3 * PAGE, 100), 3..4, "the end of the disk ends its last page");
        assert_eq!(shape.whole(3 * PAGE + 1, 99), 4..4);
        assert_eq!(shape.whole(0, shape.size), 0..4);
    }
}
