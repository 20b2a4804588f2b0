//! Which segments are merged: decided by their sizes alone.
//!
//! Segments stand in the order of their rows, and only neighbours are merged, so that rows keep ascending. Two things make a
//! merge due. A segment of which more than half is dead is written anew, which writes fewer rows than were deleted. And
//! neighbours of like size are merged: at least [`NEIGHBOURS_MIN`] of them, of which the largest is at most a third of all.
//! So each row comes into a segment at least three times as large, and is written again at most a logarithm of times.

use std::ops::Range;

use crate::codec::to_u64;

/// Fewer neighbours than these are left alone.
const NEIGHBOURS_MIN: usize = 4;
/// All together are at least so many times the largest.
const GROWTH: u64 = 3;
/// A segment is not written anew for fewer dead rows than this part of a full tail, unless all its rows are dead.
const SPARSE_PARTS: u64 = 8;

/// The size of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Its rows.
    pub(crate) rows: u64,
    /// Those of them that are dead.
    pub(crate) dead: u64,
}

impl Size {
    /// The rows that a merge writes.
    pub(crate) fn live(self) -> u64 {
        self.rows.saturating_sub(self.dead)
    }
}

/// The rows that merging a range of segments writes.
pub(crate) fn live(segments: &[Size]) -> u64 {
    segments.iter().map(|size| size.live()).sum()
}

/// The bounds of segments, in rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiers {
    /// The rows of a full tail: smaller segments count as if they had so many.
    pub(crate) rows_min: u64,
    /// The most rows of a merged segment.
    pub(crate) rows_max: u64,
}

impl Tiers {
    /// The next merge that is due, if any: neighbours that are to become one segment.
    pub(crate) fn next(&self, segments: &[Size]) -> Option<Range<usize>> {
        self.sparse(segments).or_else(|| self.crowded(segments))
    }

    /// The merges that are due, one after the other: how many, and the rows that they write.
    pub(crate) fn due(&self, segments: &[Size]) -> (u64, u64) {
        let mut segments = segments.to_vec();
        let (mut merges, mut written) = (0, 0);
        while let Some(range) = self.next(&segments) {
            let rows = segments.get(range.clone()).map_or(0, live);
            segments.splice(range, (rows > 0).then_some(Size { rows, dead: 0 }));
            (merges, written) = (merges + 1, written + rows);
        }
        (merges, written)
    }

    /// The next merge on the way to as few segments as there can be, without dead rows.
    pub(crate) fn pack(&self, segments: &[Size]) -> Option<Range<usize>> {
        let mut start = 0;
        while let Some(first) = segments.get(start) {
            let end = self.fitting(segments, start, |_| true);
            if end - start > 1 || first.dead > 0 {
                return Some(start..end);
            }
            start = end;
        }
        None
    }

    /// The end of the neighbours from `start` on that are wanted and fit into one segment; the first is among them.
    fn fitting(&self, segments: &[Size], start: usize, wanted: impl Fn(&Size) -> bool) -> usize {
        let mut rows = 0;
        let fits = |size: &&Size| {
            rows += size.live();
            wanted(size) && rows <= self.rows_max
        };
        start + segments.iter().skip(start).take_while(fits).count().max(1)
    }

    /// Whether so much of a segment is dead that it is written anew.
    pub(crate) fn is_sparse(&self, size: &Size) -> bool {
        let worth = size.dead == size.rows || size.dead >= self.rows_min / SPARSE_PARTS;
        size.dead > size.rows / 2 && worth
    }

    /// The next segments, neighbours, that are written anew because most of their rows are dead.
    pub(crate) fn sparse(&self, segments: &[Size]) -> Option<Range<usize>> {
        let start = segments.iter().position(|size| self.is_sparse(size))?;
        Some(start..self.fitting(segments, start, |size| self.is_sparse(size)))
    }

    /// Of the neighbours of like size those that cost the fewest rows for each segment that goes away.
    fn crowded(&self, segments: &[Size]) -> Option<Range<usize>> {
        let mut best: Option<(u64, Range<usize>)> = None;
        for start in 0..segments.len() {
            let (mut rows, mut weight, mut largest) = (0, 0, 0);
            for (n, size) in segments.iter().enumerate().skip(start) {
                let own = size.live().max(self.rows_min);
                (rows, weight, largest) = (rows + size.live(), weight + own, largest.max(own));
                if rows > self.rows_max {
                    break;
                }
                let gone = n - start;
                if gone + 1 < NEIGHBOURS_MIN || largest > weight / GROWTH {
                    continue;
                }
                let cost = weight / to_u64(gone);
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, start..n + 1));
                }
            }
        }
        best.map(|(_, range)| range)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIERS: Tiers = Tiers { rows_min: 100, rows_max: 100_000 };

    fn sizes(rows: &[u64]) -> Vec<Size> {
        rows.iter().map(|&rows| Size { rows, dead: 0 }).collect()
    }

    #[test]
    fn neighbours_of_like_size_are_merged_and_a_large_one_beside_them_is_not() {
        assert_eq!(TIERS.next(&sizes(&[100, 100, 100])), None);
        assert_eq!(TIERS.next(&sizes(&[100, 100, 100, 100])), Some(0..4));
        assert_eq!(TIERS.next(&sizes(&[9000, 100, 100, 100])), None);
        assert_eq!(TIERS.next(&sizes(&[9000, 100, 100, 100, 100])), Some(1..5));
        assert_eq!(
            TIERS.next(&sizes(&[9000, 3, 1, 100, 2, 9000])),
            Some(1..5),
            "tiny ones count as full tails"
        );
    }

    #[test]
    fn segments_that_are_full_are_left_alone() {
        assert_eq!(TIERS.next(&sizes(&[60_000; 20])), None);
        assert_eq!(TIERS.next(&sizes(&[25_000; 5])), Some(0..4));
    }

    #[test]
    fn sparse_segments_are_written_anew_together() {
        let size = |rows, dead| Size { rows, dead };
        assert_eq!(TIERS.next(&[size(1000, 500)]), None);
        assert_eq!(TIERS.next(&[size(5000, 10), size(1000, 501), size(200, 200), size(9, 0)]), Some(1..3));
        assert_eq!(TIERS.next(&[size(10, 9)]), None, "not worth a commit");
        assert_eq!(TIERS.next(&[size(10, 10)]), Some(0..1));
        // Larger than a merge may make them: alone.
        assert_eq!(TIERS.next(&[size(400_000, 250_000), size(400_000, 250_000)]), Some(0..1));
    }

    #[test]
    fn packing_ends_with_few_full_segments() {
        let size = |rows, dead| Size { rows, dead };
        assert_eq!(TIERS.pack(&[]), None);
        assert_eq!(TIERS.pack(&[size(100_000, 0), size(7, 0)]), None);
        assert_eq!(TIERS.pack(&[size(7, 1)]), Some(0..1));
        assert_eq!(TIERS.pack(&[size(99_000, 0), size(1000, 0), size(1, 0)]), Some(0..2));
        assert_eq!(TIERS.pack(&[size(99_000, 0), size(1001, 0), size(1, 0)]), Some(1..3));
    }

    /// What a store does, in sizes: seals, deletions, and each merge as soon as it is due.
    #[derive(Default)]
    struct Simulated {
        segments: Vec<Size>,
        added: u64,
        deleted: u64,
        written: u64,
    }

    impl Simulated {
        fn seal(&mut self, rows: u64) {
            self.segments.push(Size { rows, dead: 0 });
            self.added += rows;
        }

        fn delete(&mut self, at: usize, rows: u64) {
            let count = self.segments.len().max(1);
            if let Some(size) = self.segments.get_mut(at % count) {
                let rows = rows.min(size.live());
                size.dead += rows;
                self.deleted += rows;
            }
        }

        fn settle(&mut self, tiers: Tiers) {
            while let Some(range) = tiers.next(&self.segments) {
                let rows = live(&self.segments[range.clone()]);
                self.segments.splice(range, (rows > 0).then_some(Size { rows, dead: 0 }));
                self.written += rows;
            }
        }
    }

    #[test]
    fn appending_writes_each_row_a_logarithm_of_times_and_leaves_few_segments() {
        let mut store = Simulated::default();
        let mut most = 0;
        for _ in 0..4096 {
            store.seal(100);
            store.settle(Tiers { rows_min: 100, rows_max: u64::MAX });
            most = most.max(store.segments.len());
        }
        // 4,096 tails are between seven and eight powers of three.
        assert!(store.written <= 8 * store.added, "{} of {}", store.written, store.added);
        assert!(most <= 3 * 8, "{most} segments");
    }

    proptest! {
        #[test]
        fn merging_is_bounded_whatever_is_deleted(
            steps in prop::collection::vec((100_u64..160, any::<usize>(), 0_u64..200), 1..400),
        ) {
            let mut store = Simulated::default();
            for (rows, at, dead) in steps {
                store.seal(rows);
                store.delete(at, dead);
                store.delete(at / 7, dead / 2);
                store.settle(TIERS);
                prop_assert_eq!(TIERS.due(&store.segments), (0, 0));
                for size in &store.segments {
                    prop_assert!(size.rows <= TIERS.rows_max);
                    prop_assert!(size.dead <= size.rows / 2 || size.dead < 100 / SPARSE_PARTS, "{:?}", size);
                }
            }
            let times = 2 + u64::from(store.added.ilog(GROWTH));
            prop_assert!(store.written <= store.added * times + store.deleted);
            let all: u64 = store.segments.iter().map(|size| size.live().max(100)).sum();
            // A large one keeps those on both sides of it apart, and so on: a power below two thirds.
            let (count, tails) = (to_u64(store.segments.len()), all / 100);
            prop_assert!(count.saturating_sub(4).pow(3) <= 64 * tails.pow(2), "{} segments", count);
        }

        #[test]
        fn packing_ends(rows in prop::collection::vec((0_u64..150_000, 0_u64..100_000), 0..40)) {
            let mut segments: Vec<Size> =
                rows.into_iter().map(|(rows, dead)| Size { rows: rows.max(1), dead: dead.min(rows) }).collect();
            for _ in 0..100 {
                let Some(range) = TIERS.pack(&segments) else { break };
                let mut rows = live(&segments[range.clone()]);
                let mut pieces = Vec::new();
                while rows > 0 {
                    pieces.push(Size { rows: rows.min(TIERS.rows_max), dead: 0 });
                    rows -= rows.min(TIERS.rows_max);
                }
                segments.splice(range, pieces);
            }
            prop_assert_eq!(TIERS.pack(&segments), None);
            prop_assert!(segments.iter().all(|size| size.dead == 0));
            for pair in segments.windows(2) {
                prop_assert!(pair[0].rows + pair[1].rows > TIERS.rows_max);
            }
        }
    }
}
