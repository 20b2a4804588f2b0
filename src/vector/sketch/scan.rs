//! A scan of sketches for the rows that are likely to be nearest.

use std::ffi::c_int;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::mask::{self, Words};
use super::nearest::Nearest;
use super::portable::Planes;
use super::{DIMS_MAX, WORD, portable};
use crate::error::Result;
use crate::vector::codes::Found;
use crate::vector::exact::{Query, Selection};
use crate::vector::faiss::{SketchParts, sketch_scan, sketch_ways};
use crate::vector::kernel::{Kernel, Sum};
use crate::vector::parallel;
use crate::vector::rows::Rows;

/// The rows that a thread takes at a time: words that are looked up are then looked up once or twice.
const PIECE: usize = 1 << 17;
/// The greatest weight.
const WEIGHT_MAX: f32 = 127.0;
/// The rows that are told of at a time: the floor rises between two of them. So much room is left when some dozens were found.
const TOLD: usize = 256 + 64;

/// The bytes that a thread takes to scan, and a query of so many values.
pub(crate) fn scratch_bytes(dim: usize) -> usize {
    Words::BYTES + PIECE / 8 + 8 * dim + (16 << 10)
}

/// The sketches of a segment's vectors. They may hold anything: a score that is no number is the worst.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sketches<'a> {
    /// The values of a vector.
    pub(crate) dim: usize,
    /// The dimensions of a sketch, a multiple of eight.
    pub(crate) dims: usize,
    /// The distance between two codes.
    pub(crate) step: f32,
    /// Row-major `[dims, dim]`.
    pub(crate) directions: &'a [f32],
    /// Whole groups.
    pub(crate) codes: &'a [u8],
    /// Half of the square of the length of each row, under L2.
    pub(crate) biases: &'a [f32],
    /// How many rows there are.
    pub(crate) count: usize,
}

impl Sketches<'_> {
    /// Finds the `count` rows of a selection that are likely to be nearest to a query, or all that there are.
    ///
    /// `rows` are the ids at the positions. Cost: reads the sketches of all groups that have a row of the selection.
    /// Memory: [`scratch_bytes`] for each thread, and lists of `count`.
    /// # Errors
    /// `Shape` for a query of another size.
    pub(crate) fn nearest(
        &self,
        query: &Query,
        rows: Rows<'_>,
        selection: &Selection<'_>,
        count: usize,
        threads: NonZero<usize>,
    ) -> Result<Found> {
        query.check_dim(self.dim)?;
        let query = self.query(query.vector());
        let pieces: Vec<Range<usize>> =
            (0..self.count).step_by(PIECE).map(|start| start..self.count.min(start + PIECE)).collect();
        let compared = AtomicU64::new(0);
        let empty = || Nearest::new(count);
        let add = |piece: &Range<usize>, nearest: &mut Nearest| {
            let mut mask = vec![0; piece.len().div_ceil(WORD)];
            mask::fill(&mut mask, &mut Words::new(), rows, piece, selection);
            let wanted: u64 = mask.iter().map(|word| u64::from(word.count_ones())).sum();
            compared.fetch_add(wanted, Ordering::Relaxed);
            self.piece(&query, piece.start, &mask, nearest)
        };
        let nearest = parallel::gather(&pieces, threads, &empty, &add, Nearest::merge)?;
        Ok(Found { positions: nearest.into_positions(), compared: compared.into_inner() })
    }

    fn query(&self, vector: &[f32]) -> SketchQuery {
        let mut places = vec![0.0; self.dims];
        Kernel::new(Sum::Products, vector).sums(self.directions.chunks_exact(self.dim), &mut places);
        SketchQuery::new(&places, self.step)
    }

    /// Adds the rows of a mask, which begins at a position, a multiple of a word.
    pub(super) fn piece(
        &self,
        query: &SketchQuery,
        start: usize,
        mask: &[u64],
        nearest: &mut Nearest,
    ) -> Result<()> {
        let codes = self.codes.get(start * self.dims / 2..).unwrap_or_default();
        let biases = self.biases.get(start..).unwrap_or_default();
        let parts = SketchParts::new(query.way, &query.weights, query.unit, biases, codes, mask);
        let (mut word, mut scores, mut rows) = (0, [0.0; TOLD], [0; TOLD]);
        let start = u32::try_from(start).unwrap_or(u32::MAX);
        while word < mask.len() {
            let floor = nearest.floor();
            let found = match &query.planes {
                None => sketch_scan(&parts, floor, &mut word, &mut scores, &mut rows)?,
                Some(planes) => {
                    let parts = portable::Parts { planes, unit: query.unit, biases, codes, mask };
                    parts.scan(floor, &mut word, (&mut scores, &mut rows))
                }
            };
            for (&score, &row) in scores.iter().zip(&rows).take(found) {
                nearest.add(score, start.saturating_add(row));
            }
        }
        Ok(())
    }
}

/// How many ways of the shim there are for sketches of so many dimensions, the last the fastest: files may have wider ones than are made.
pub(super) fn ways(dims: usize) -> c_int {
    if dims <= DIMS_MAX { sketch_ways() } else { 0 }
}

/// A query made ready to be compared with sketches.
#[derive(Debug)]
pub(super) struct SketchQuery {
    /// A weight for each dimension.
    weights: Vec<i8>,
    /// What a sum of weighted codes counts.
    unit: f32,
    /// A way of the shim, or 0.
    way: c_int,
    /// The weights as the portable scan has them, which is the way 0.
    planes: Option<Vec<Planes>>,
}

impl SketchQuery {
    /// Prepares the place of a query in the subspace.
    fn new(places: &[f32], step: f32) -> Self {
        let most = places.iter().fold(0.0_f32, |most, place| most.max(place.abs()));
        let unit = most / WEIGHT_MAX;
        // Not a number becomes zero.
        #[expect(clippy::cast_possible_truncation, reason = "at most the greatest weight")]
        let rounded = |place: &f32| if unit > 0.0 { (place / unit).round() as i8 } else { 0 };
        SketchQuery::of(places.iter().map(rounded).collect(), step * unit, ways(places.len()))
    }

    /// A query of these weights, for a way of the shim, or, by the way 0, for any processor.
    pub(super) fn of(weights: Vec<i8>, unit: f32, way: c_int) -> Self {
        let planes = if way == 0 { Some(portable::planes(&weights)) } else { None };
        SketchQuery { weights, unit, way, planes }
    }
}
