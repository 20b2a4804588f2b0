//! The recall curve of an index: how many of the nearest rows a search finds at each effort, measured when it is built.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use std::num::NonZero;
use std::sync::Mutex;

use roaring::RoaringTreemap;

use super::Codes;
use crate::codec::{Reader, to_u64, to_usize};
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::vector::exact::{Block, Query, Selection, scan, scan_positions};
use crate::vector::faiss::Searcher;
use crate::vector::pieces;
use crate::vector::sketch::Sketches;
use crate::vector::topk::{Best, TopK};

/// The rows held out, at most.
const SAMPLE_MAX: usize = 200;
/// One row in so many is held out, at most.
const SAMPLE_SHARE: usize = 8;
/// The queries that a thread takes at a time.
pub(super) const GROUP: usize = 25;
/// The bytes of vectors that stay in a cache while they are compared with a group.
pub(crate) const PART_BYTES: usize = 256 << 10;
/// The nearest rows that are wanted of each search.
const K: usize = 10;
/// The efforts at which recall is measured. Less than the first could not find as many as are wanted.
const EFFORTS: [u32; 13] = [10, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];

/// How many rows are scored exactly after a scan of sketches, where recall is measured.
const RESCORED: [u32; 14] = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048];
/// The most of them.
pub(super) const RESCORED_MAX: usize = {
    let [.., most] = RESCORED;
    most as usize
};

/// How many rows of an index are held out.
pub(crate) fn sample(rows: usize) -> usize {
    (rows / SAMPLE_SHARE).min(SAMPLE_MAX)
}

/// What was measured at one effort.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// The candidates that a search follows.
    pub(crate) effort: u32,
    /// The part of the ten nearest that was found, on average.
    pub(crate) recall: f32,
    /// The standard error of that average.
    pub(crate) error: f32,
    /// How many distances a search computed, on average.
    pub(crate) computed: f32,
}

/// Recall at ten by effort, for queries that are like the vectors of the segment; no points where nothing was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Curve {
    /// How many queries it was measured with.
    pub(crate) queries: u32,
    /// Ascending by effort.
    pub(crate) points: Vec<Point>,
}

impl Curve {
    /// The nearest rows of which recall was measured.
    pub(crate) const NEAREST: usize = K;

    /// The least effort at which the recall, less its standard error, is what is wanted; between two measured efforts the
    /// one in proportion. `None` if no measured effort reaches it.
    pub(crate) fn effort_for(&self, recall: f32) -> Option<usize> {
        let sure = |point: &Point| point.recall - point.error;
        let after = self.points.iter().position(|point| sure(point) >= recall)?;
        let high = self.points.get(after)?;
        let low = after.checked_sub(1).and_then(|before| self.points.get(before));
        let effort = match low {
            Some(low) => {
                let part = (recall - sure(low)) / (sure(high) - sure(low));
                let step =
                    f64::from(high.effort.saturating_sub(low.effort)) * f64::from(part.clamp(0.0, 1.0));
                (f64::from(low.effort) + step).ceil()
            }
            None => f64::from(high.effort),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between two efforts, u32"
        )]
        Some(effort as usize)
    }

    /// Writes it into its section, of [`super::sections::CURVE_BYTES`].
    pub(crate) fn encode(&self, section: &mut [u8]) {
        let points = u32::try_from(self.points.len()).unwrap_or(0);
        let head = [self.queries, u32::try_from(K).unwrap_or(0), points, 0];
        let fields = head.into_iter().chain(self.points.iter().flat_map(|point| {
            [point.effort, point.recall.to_bits(), point.error.to_bits(), point.computed.to_bits()]
        }));
        for (to, from) in section.chunks_exact_mut(4).zip(fields) {
            to.copy_from_slice(&from.to_le_bytes());
        }
    }

    /// Reads what [`Curve::encode`] wrote.
    ///
    /// # Errors
    /// `Corrupt` for efforts that do not ascend and for numbers that cannot be.
    pub(crate) fn decode(section: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("recall curve of an index", section);
        let (queries, _, count, _) = (reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?);
        let mut points: Vec<Point> = Vec::new();
        for _ in 0..count {
            let effort = reader.u32()?;
            let mut float = || reader.u32().map(f32::from_bits);
            let point = Point { effort, recall: float()?, error: float()?, computed: float()? };
            let ascends = points.last().map_or(0, |last| last.effort) < effort;
            let sound = [point.recall, point.error].iter().all(|part| (0.0..=1.0).contains(part));
            if !ascends || !sound || !point.computed.is_finite() {
                let at = to_u64(16 + 16 * points.len());
                return Err(Error::corrupt("recall curve of an index", at, format!("{point:?} cannot be")));
            }
            points.push(point);
        }
        Ok(Curve { queries, points })
    }
}

/// What is measured.
pub(super) struct Measure<'a> {
    pub(super) block: &'a Block<'a>,
    pub(super) metric: Metric,
    pub(super) codes: Codes,
    /// Positions of rows that the graph does not have yet.
    pub(super) held_out: &'a [i32],
    /// Of all rows, if there are any.
    pub(super) sketches: Option<Sketches<'a>>,
}

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) graph: Curve,
    /// The efforts are numbers of rows to score exactly.
    pub(super) sketches: Curve,
}

/// What searches of one effort have found. Whole numbers, so that the sums do not depend on the order of the threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    found: u64,
    found_squared: u64,
    computed: u64,
}

impl Sums {
    /// Adds a search.
    pub(crate) fn note(&mut self, found: u64, computed: u64) {
        self.found += found;
        self.found_squared += found * found;
        self.computed += computed;
    }

    /// The averages over `queries` searches, each of which could find `wanted` rows; neither is zero.
    #[expect(clippy::cast_precision_loss, reason = "sums over some hundred queries")]
    pub(crate) fn point(&self, effort: u32, queries: u64, wanted: u64) -> Point {
        let (queries, wanted) = (queries as f64, wanted as f64);
        let mean = self.found as f64 / queries;
        let variance = (self.found_squared as f64 / queries - mean * mean).max(0.0);
        let narrow = crate::vector::kernel::narrow;
        Point {
            effort,
            recall: narrow(mean / wanted).min(1.0),
            error: narrow((variance / queries).sqrt() / wanted).min(1.0),
            computed: narrow(self.computed as f64 / queries),
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    queries: u64,
    wanted: u64,
    sums: [Sums; EFFORTS.len()],
    sketches: [Sums; RESCORED.len()],
}

/// Searches for rows that the graph has not, and compares with the exact search among those that it has.
///
/// Cost: for each of the rows held out, an exact search, within the caches for the most part, and one search of the graph
/// at each effort.
/// # Errors
/// As the searches; what `step` returned.
pub(super) fn measure(
    measure: &Measure<'_>,
    searcher: Searcher<'_>,
    threads: NonZero<usize>,
    step: &(dyn Fn() -> Result<()> + Sync),
) -> Result<Measured> {
    let position = |row: i32| usize::try_from(row).unwrap_or(usize::MAX);
    let held_out: RoaringTreemap =
        measure.held_out.iter().map(|&row| measure.block.row(position(row))).collect();
    let linked = measure.block.len().saturating_sub(measure.held_out.len());
    let tally = Mutex::new(Tally { wanted: to_u64(K.min(linked)), ..Tally::default() });
    pieces::for_each(measure.held_out.len().div_ceil(GROUP), threads, &|piece| {
        let group = measure.held_out.chunks(GROUP).nth(piece).unwrap_or_default();
        // A vector that no query can be, as zero under cosine, is left out.
        let queries: Vec<Query> = group
            .iter()
            .filter_map(|&row| Query::new(measure.metric, &measure.block.vector(position(row))).ok())
            .collect();
        let exact = measure.exact(&queries, &held_out, step)?;
        for (query, exact) in queries.iter().zip(exact) {
            step()?;
            let exact = exact.into_sorted();
            // Rows as near as the last are as good: of duplicates any will do.
            let last = exact.last().map_or(f32::INFINITY, |best| best.score);
            let sums = measure.by_graph(query, searcher, last)?;
            let sketches = measure.by_sketches(query, &Selection::Except(&held_out), &exact)?;
            let mut tally = tally.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            tally.queries += 1;
            for (total, one) in tally.sums.iter_mut().zip(sums) {
                total.note(one.found, one.computed);
            }
            for (total, found) in tally.sketches.iter_mut().zip(sketches) {
                total.note(found, 0);
            }
        }
        Ok(())
    })?;
    let tally = tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let sketches = measure.sketches.map_or(&[][..], |_| &tally.sketches);
    Ok(Measured { graph: tally.curve(&EFFORTS, &tally.sums), sketches: tally.curve(&RESCORED, sketches) })
}

impl Measure<'_> {
    /// The best rows of each query among those that are not held out, by looking at all of them: for all queries at one
    /// part of the block after the other, so that the vectors come from memory once.
    fn exact(
        &self,
        queries: &[Query],
        held_out: &RoaringTreemap,
        step: &(dyn Fn() -> Result<()> + Sync),
    ) -> Result<Vec<TopK>> {
        let mut tops = vec![TopK::new(K); queries.len()];
        let rows = (PART_BYTES / self.block.vector_bytes()).max(1);
        for start in (0..self.block.len()).step_by(rows) {
            step()?;
            let part = self.block.slice(start..self.block.len().min(start + rows));
            for (query, top) in queries.iter().zip(&mut tops) {
                scan(&part, query, &Selection::Except(held_out), &|row| row, top)?;
            }
        }
        Ok(tops)
    }

    fn by_graph(&self, query: &Query, searcher: Searcher<'_>, last: f32) -> Result<[Sums; EFFORTS.len()]> {
        let mut sums = [Sums::default(); EFFORTS.len()];
        for (sums, effort) in sums.iter_mut().zip(EFFORTS) {
            let effort = to_usize(u64::from(effort));
            let candidates = self.codes.candidates(K).min(effort);
            let nearest = searcher.search(query.vector(), None, candidates, effort)?;
            let positions = nearest.rows.iter().map_while(|&row| usize::try_from(row).ok());
            self.block.fetch(positions.clone());
            let mut top = TopK::new(K);
            scan_positions(self.block, query, positions, &|row| row, &mut top)?;
            *sums = Sums { found: as_good(top, last), found_squared: 0, computed: nearest.computed };
        }
        Ok(sums)
    }

    /// How many of the nearest are among so many rows whose sketches are nearest.
    fn by_sketches(
        &self,
        query: &Query,
        selection: &Selection<'_>,
        exact: &[Best],
    ) -> Result<[u64; RESCORED.len()]> {
        let mut found = [0; RESCORED.len()];
        let Some(sketches) = self.sketches else { return Ok(found) };
        let (rows, one) = (self.block.rows(), NonZero::<usize>::MIN);
        let positions = sketches.nearest(query, rows, selection, RESCORED_MAX, one)?.positions;
        let is_near = |position: &usize| exact.iter().any(|best| best.row == self.block.row(*position));
        for (place, _) in positions.iter().enumerate().filter(|(_, position)| is_near(position)) {
            for (found, _) in
                found.iter_mut().zip(RESCORED).filter(|(_, count)| to_u64(place) < (*count).into())
            {
                *found += 1;
            }
        }
        Ok(found)
    }
}

/// How many of the rows found score as high as the last of those wanted.
fn as_good(top: TopK, last: f32) -> u64 {
    to_u64(top.into_sorted().iter().filter(|best| best.score >= last).count())
}

impl Tally {
    fn curve(&self, efforts: &[u32], sums: &[Sums]) -> Curve {
        if self.queries == 0 {
            return Curve::default();
        }
        let point = |(&effort, sums): (&u32, &Sums)| sums.point(effort, self.queries, self.wanted);
        let points = efforts.iter().zip(sums).map(point).collect();
        Curve { queries: u32::try_from(self.queries).unwrap_or(u32::MAX), points }
    }
}
