//! Which pages of a layer are there: one bit for each page, and no memory for what was never touched.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Bytes of a page, the unit in which a layer takes the place of what is below it.
pub(crate) const PAGE: u64 = 4096;
/// Pages of one leaf of the table: 2 MiB of the store.
pub(crate) const LEAF: u64 = WORD * WORDS as u64;

const WORD: u64 = u64::BITS as u64;
const WORDS: usize = 8;

/// The bits of a leaf, the first page lowest.
pub(crate) type Leaf = [u64; WORDS];

/// The table. A page that was marked stays so.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    leaves: RwLock<BTreeMap<u64, Leaf>>,
}

impl Pages {
    /// Says of a range of pages that they are there. Whoever sees the mark sees what was done before it.
    pub fn mark(&self, pages: Range<u64>) {
        let mut leaves = self.leaves.write().unwrap_or_else(PoisonError::into_inner);
        let mut page = pages.start;
        while page < pages.end {
            let until = ((page / WORD + 1) * WORD).min(pages.end);
            let bits = u64::MAX >> (WORD - (until - page)) << (page % WORD);
            leaves.entry(page / LEAF).or_default()[word(page)] |= bits;
            page = until;
        }
    }

    /// Whether the first page of a range is there, and up to where its followers are like it. The range is not empty,
    /// and neither is the answer.
    pub fn run(&self, pages: Range<u64>) -> (bool, u64) {
        let leaves = self.leaves();
        let first = leaves.get(&(pages.start / LEAF)).map_or(0, |leaf| leaf[word(pages.start)]);
        let present = first >> (pages.start % WORD) & 1 == 1;
        let mut page = pages.start;
        while page < pages.end {
            match leaves.get(&(page / LEAF)) {
                Some(leaf) => {
                    let bits = if present { !leaf[word(page)] } else { leaf[word(page)] };
                    let others = bits >> (page % WORD);
                    if others != 0 {
                        page += u64::from(others.trailing_zeros());
                        break;
                    }
                    page = (page / WORD + 1) * WORD;
                }
                None if present => break,
                // Most of a large store: one step over all of it.
                None => {
                    let next = leaves.range(page / LEAF..).next();
                    page = next.map_or(pages.end, |(leaf, _)| leaf * LEAF);
                }
            }
        }
        (present, page.min(pages.end))
    }

    /// The bits of one leaf.
    pub fn leaf(&self, leaf: u64) -> Leaf {
        self.leaves().get(&leaf).copied().unwrap_or_default()
    }

    fn leaves(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Leaf>> {
        self.leaves.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn word(page: u64) -> usize {
    (page % LEAF / WORD) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(pages: &Pages, all: Range<u64>) -> Vec<Range<u64>> {
        let (mut found, mut page) = (Vec::new(), all.start);
        while page < all.end {
            let (present, until) = pages.run(page..all.end);
            assert!(until > page, "an answer is never empty");
            found.extend(present.then_some(page..until));
            page = until;
        }
        found
    }

    #[test]
    fn runs_are_what_was_marked_over_words_and_leaves() {
        let marked = [0..1, 63..65, 100..700, 1023..1025, 4096..4608, 9999..10_000];
        let pages = Pages::default();
        for range in &marked {
            pages.mark(range.clone());
        }
        assert_eq!(runs(&pages, 0..20_000), marked);
        assert_eq!(runs(&pages, 150..1024), [150..700, 1023..1024], "cut to what is asked");
        pages.mark(1..63);
        pages.mark(5..5);
        assert_eq!(runs(&pages, 0..100), [Range { start: 0, end: 65 }]);
    }

    #[test]
    fn every_single_page_is_told_from_its_neighbours() {
        for page in 0..2 * LEAF {
            let pages = Pages::default();
            pages.mark(page..page + 1);
            assert_eq!(runs(&pages, 0..3 * LEAF), [Range { start: page, end: page + 1 }]);
        }
    }

    /// A table of 2^52 pages costs what was touched of it, in memory and in time.
    #[test]
    fn what_was_never_touched_costs_nothing() {
        let (pages, far) = (Pages::default(), 1 << 51);
        pages.mark(7..8);
        pages.mark(far..far + 1);
        assert_eq!(pages.leaves().len(), 2);
        assert_eq!(runs(&pages, 0..1 << 52), [7..8, far..far + 1]);
    }
}
