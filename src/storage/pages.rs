//! The map of redb's stream: which page of the file holds which page of the stream; pure.

use std::collections::BTreeMap;

use super::extents::{Run, sort_disjoint};
use super::layout::{DATA_PAGE, PAGE_BYTES};
use super::superblock::{Extent, Superblock};
use crate::error::{Error, Result};

/// Pages of the stream from here on hold checksums of the pages below, 1024 each.
pub(crate) const SUMS_BASE: u64 = 1 << 31;
/// Pages of the stream from here on are the write-ahead log: one extent, far past the checksums that a stream can have.
pub(crate) const WAL_BASE: u64 = 3 << 30;
/// Checksums in one page.
pub(crate) const SUMS_PER_PAGE: u64 = PAGE_BYTES / 4;
/// The least and the most pages of a new extent: 64 KiB and 16 MiB.
const EXTENT_PAGES_MIN: u64 = 16;
const EXTENT_PAGES_MAX: u64 = 4096;
/// A new extent is at most one part in so many of what is mapped: redb begins some at a time, and uses few of their
/// pages for long.
const EXTENT_PARTS: u64 = 32;

/// Where a page of the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At this page of the file, and so are the next `left - 1`.
    Mapped { physical: u64, left: u64 },
    /// Nowhere, like the next `left - 1`: it reads as zeros.
    Hole { left: u64 },
}

/// One state of the map; shared by readers while the writer makes the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamMap {
    /// The length of the stream in bytes.
    pub(crate) len: u64,
    /// Logical page -> (physical page, pages).
    extents: BTreeMap<u64, (u64, u64)>,
}

impl StreamMap {
    /// Takes the map out of a superblock and refuses one that contradicts itself.
    pub(crate) fn from_superblock(block: &Superblock) -> Result<Self> {
        let damaged = |detail: String| Err(Error::corrupt("superblock", 0, detail));
        if !block.stream_len.is_multiple_of(PAGE_BYTES) || block.stream_len / PAGE_BYTES > SUMS_BASE {
            return damaged(format!("stream length {} is not possible", block.stream_len));
        }
        let mut extents = BTreeMap::new();
        let mut next = 0;
        for extent in &block.extents {
            let (logical, pages) = (u64::from(extent.logical), u64::from(extent.pages));
            if logical < next
                || logical + pages > 2 * SUMS_BASE
                || (logical < SUMS_BASE && logical + pages > SUMS_BASE)
            {
                return damaged(format!("extent of {pages} pages at stream page {logical} is out of order"));
            }
            if u64::from(extent.physical) < DATA_PAGE {
                return damaged(format!("extent at page {} lies in the head of the file", extent.physical));
            }
            next = logical + pages;
            extents.insert(logical, (u64::from(extent.physical), pages));
        }
        let map = StreamMap { len: block.stream_len, extents };
        sort_disjoint(&mut map.runs().into_iter().map(|run| (run, "superblock")).collect::<Vec<_>>())?;
        Ok(map)
    }

    /// The extents as a superblock holds them.
    pub(crate) fn extents(&self) -> Vec<Extent> {
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        self.extents
            .iter()
            .map(|(&logical, &(physical, pages))| Extent {
                logical: narrow(logical),
                physical: narrow(physical),
                pages: narrow(pages),
            })
            .collect()
    }

    /// The pages of the file that the stream uses.
    pub(crate) fn runs(&self) -> Vec<Run> {
        self.extents.values().map(|&(start, pages)| Run { start, pages }).collect()
    }

    /// The runs that may lie elsewhere: all but that of page 0, where followers find redb's header whatever map they
    /// hold.
    pub(crate) fn movable(&self) -> Vec<Run> {
        self.extents.range(1..).map(|(_, &(start, pages))| Run { start, pages }).collect()
    }

    /// The number of pages mapped.
    pub(crate) fn mapped_pages(&self) -> u64 {
        self.extents.values().map(|&(_, pages)| pages).sum()
    }

    /// Where `page` of the stream is.
    pub(crate) fn find(&self, page: u64) -> Place {
        if let Some((&logical, &(physical, pages))) = self.extents.range(..=page).next_back()
            && page < logical + pages
        {
            return Place::Mapped { physical: physical + (page - logical), left: logical + pages - page };
        }
        let next = self.extents.range(page..).next().map_or(2 * SUMS_BASE, |(&logical, _)| logical);
        let border = if page < SUMS_BASE { SUMS_BASE } else { 2 * SUMS_BASE };
        Place::Hole { left: next.min(border) - page }
    }

    /// The stream pages of a new extent that holds the unmapped `page`: a power of two that grows with the stream, on a
    /// border of its own size, clipped to the gap. So a large stream has some hundred extents, and a small one wastes little.
    pub(crate) fn window(&self, page: u64) -> Run {
        let size = (self.mapped_pages() / EXTENT_PARTS)
            .clamp(EXTENT_PAGES_MIN, EXTENT_PAGES_MAX)
            .next_power_of_two();
        let floor = if page < SUMS_BASE { 0 } else { SUMS_BASE };
        let gap_start =
            self.extents.range(..page).next_back().map_or(floor, |(&l, &(_, pages))| (l + pages).max(floor));
        let gap_end = match self.find(page) {
            Place::Hole { left } => page + left,
            Place::Mapped { .. } => page,
        };
        let start = (page / size * size).max(gap_start);
        let end = (page / size * size + size).min(gap_end);
        Run { start, pages: end.saturating_sub(start) }
    }

    /// Maps `run.pages` stream pages from `logical` on, which must be a hole.
    pub(crate) fn insert(&mut self, logical: u64, run: Run) {
        if let Some((&left, &(physical, pages))) = self.extents.range(..logical).next_back()
            && left + pages == logical
            && physical + pages == run.start
            && logical != SUMS_BASE
        {
            self.extents.insert(left, (physical, pages + run.pages));
        } else {
            self.extents.insert(logical, (run.start, run.pages));
        }
    }

    /// Points an extent somewhere else; returns where it was.
    pub(crate) fn relocate(&mut self, logical: u64, to: u64) -> Option<Run> {
        let (physical, pages) = self.extents.get_mut(&logical)?;
        Some(Run { start: std::mem::replace(physical, to), pages: *pages })
    }

    /// Unmaps everything from stream page `from` on, below the checksums; returns the runs that held it.
    pub(crate) fn cut(&mut self, from: u64) -> Vec<Run> {
        let mut removed = Vec::new();
        if let Some((&logical, &(physical, pages))) = self.extents.range(..from).next_back()
            && logical + pages > from
        {
            let keep = from - logical;
            self.extents.insert(logical, (physical, keep));
            removed.push(Run { start: physical + keep, pages: pages - keep });
        }
        let gone: Vec<u64> = self.extents.range(from..SUMS_BASE).map(|(&logical, _)| logical).collect();
        for logical in gone {
            if let Some((start, pages)) = self.extents.remove(&logical) {
                removed.push(Run { start, pages });
            }
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thin_stream_of_gigabytes_has_few_extents_and_little_waste() {
        let mut map = StreamMap::default();
        let mut end = DATA_PAGE;
        for page in 0..300_000 {
            if matches!(map.find(page), Place::Hole { .. }) {
                let window = map.window(page);
                assert!(window.start <= page && page < window.end());
                // Something else takes the pages between, so that neighbours do not join.
                end += 1;
                map.insert(window.start, Run { start: end, pages: window.pages });
                end += window.pages;
            }
        }
        assert!(map.extents().len() < 330, "{} extents", map.extents().len());
        assert!(map.mapped_pages() < 300_000 + EXTENT_PAGES_MAX);
    }

    #[test]
    fn cutting_and_growing_again() {
        let mut map = StreamMap { len: 100 * PAGE_BYTES, ..StreamMap::default() };
        map.insert(0, Run { start: 50, pages: 20 });
        map.insert(30, Run { start: 80, pages: 10 });
        map.insert(SUMS_BASE, Run { start: 200, pages: 16 });
        assert_eq!(map.find(5), Place::Mapped { physical: 55, left: 15 });
        assert_eq!(map.find(20), Place::Hole { left: 10 });
        assert_eq!(map.cut(15), [Run { start: 65, pages: 5 }, Run { start: 80, pages: 10 }]);
        assert_eq!(map.find(15), Place::Hole { left: SUMS_BASE - 15 });
        assert_eq!(map.find(SUMS_BASE), Place::Mapped { physical: 200, left: 16 });
        assert_eq!(map.window(16), Run { start: 16, pages: 16 });
        assert_eq!(map.relocate(0, 300), Some(Run { start: 50, pages: 15 }));
        assert_eq!(map.find(3), Place::Mapped { physical: 303, left: 12 });
    }

    #[test]
    fn a_map_that_contradicts_itself_is_refused() {
        let good = Superblock {
            generation: 1,
            uuid: uuid::Uuid::nil(),
            stream_len: 1 << 20,
            txn_floor: 0,
            features: super::super::superblock::Features::default(),
            extents: vec![
                Extent { logical: 0, physical: 40, pages: 16 },
                Extent { logical: 16, physical: 60, pages: 16 },
            ],
        };
        assert!(StreamMap::from_superblock(&good).is_ok());
        let bad = |change: &dyn Fn(&mut Superblock)| {
            let mut block = good.clone();
            change(&mut block);
            assert!(matches!(StreamMap::from_superblock(&block), Err(Error::Corrupt { .. })));
        };
        bad(&|b| b.stream_len = 5);
        bad(&|b| b.stream_len = u64::MAX - 4095);
        bad(&|b| b.extents[1].logical = 15);
        bad(&|b| b.extents[1].physical = 50);
        bad(&|b| b.extents[1].physical = 3);
        bad(&|b| b.extents[1].pages = 0);
        bad(&|b| b.extents[1].pages = u32::MAX);
    }
}
