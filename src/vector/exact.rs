//! Exact search: every wanted row of a block is scored.

use std::hint::black_box;
use std::ops::Range;

use roaring::RoaringTreemap;

use super::kernel::{self, Kernel, Sum};
use super::topk::TopK;
use crate::error::{Error, Result};
use crate::limits::DIM_MAX;
use crate::metric::Metric;

/// The rows that are scored at a time: enough that the choice of instructions costs nothing.
const BATCH: usize = 64;
/// Reads the whole block when at least one row in so many is wanted. Measured: rows picked one by one cost as much as
/// the whole block in order from 25 to 30 % on, at 384 dimensions.
const DENSE: u64 = 4;
/// Inverse norms in this range lose no digits of an f32 score.
pub(crate) const INVERSE_NORMS: Range<f32> = 1e-30..1e30;

/// The ids of the rows of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a> {
    /// Consecutive ids from here.
    From(u64),
    /// These ids, ascending.
    Listed(&'a [u64]),
}

impl Rows<'_> {
    /// The id at a position; of consecutive ids every position has one.
    pub(crate) fn get(&self, position: usize) -> Option<u64> {
        match self {
            Rows::From(first) => first.checked_add(position as u64),
            Rows::Listed(ids) => ids.get(position).copied(),
        }
    }
}

/// Vectors in row order, with their ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    vectors: &'a [f32],
    dim: usize,
    inverse_norms: Option<&'a [f32]>,
    rows: Rows<'a>,
}

impl<'a> Block<'a> {
    /// Views vectors as a block.
    ///
    /// Shape: `vectors` is row-major `[n, dim]`; `inverse_norms`, which cosine needs, has `n` values, each the
    /// [`kernel::inverse_norm`] of its row; a list of rows has `n` ids. That the list ascends is the caller's word: were
    /// it broken, rows would be missed, nothing worse.
    /// # Errors
    /// `Shape` where the lengths disagree; `Invalid` for a dimension of zero and for ids past the largest number.
    pub(crate) fn new(
        vectors: &'a [f32],
        dim: usize,
        inverse_norms: Option<&'a [f32]>,
        rows: Rows<'a>,
    ) -> Result<Self> {
        let shape = |what: &str, expected, found| Error::Shape { what: what.into(), expected, found };
        if dim == 0 {
            return Err(Error::Invalid { what: "dimension".into(), reason: "it is zero".into() });
        }
        let count = vectors.len() / dim;
        if !vectors.len().is_multiple_of(dim) {
            return Err(shape("last vector of a block", dim, vectors.len() % dim));
        }
        if let Some(norms) = inverse_norms.filter(|norms| norms.len() != count) {
            return Err(shape("column of inverse norms", count, norms.len()));
        }
        match rows {
            Rows::Listed(ids) if ids.len() != count => Err(shape("list of rows", count, ids.len())),
            Rows::From(first) if first.checked_add(count as u64).is_none() => Err(Error::Invalid {
                what: format!("first row {first}"),
                reason: format!("{count} rows from there pass the largest id"),
            }),
            _ => Ok(Block { vectors, dim, inverse_norms, rows }),
        }
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.vectors.len() / self.dim
    }

    /// The bytes of one vector.
    pub(crate) fn vector_bytes(&self) -> usize {
        self.dim * size_of::<f32>()
    }

    /// The part of the block at these positions, which must be within it.
    pub(crate) fn slice(&self, positions: Range<usize>) -> Block<'a> {
        Block {
            vectors: &self.vectors[positions.start * self.dim..positions.end * self.dim],
            dim: self.dim,
            inverse_norms: self.inverse_norms.map(|norms| &norms[positions.clone()]),
            rows: match self.rows {
                Rows::From(first) => Rows::From(first + positions.start as u64),
                Rows::Listed(ids) => Rows::Listed(&ids[positions]),
            },
        }
    }

    /// The number of values of a vector.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// The vector at a position.
    pub(crate) fn vector(&self, position: usize) -> &'a [f32] {
        &self.vectors[position * self.dim..][..self.dim]
    }

    /// The factor that makes the vector at a position one long, from the column or computed.
    pub(crate) fn inverse_norm(&self, position: usize) -> f32 {
        self.inverse_norms
            .map_or_else(|| kernel::inverse_norm(self.vector(position)), |norms| norms[position])
    }

    /// The positions of the rows of a set, ascending.
    fn positions<'s>(&'s self, set: &'s RoaringTreemap) -> impl Iterator<Item = usize> + 's {
        Positions { block: self, allowed: set.iter(), next: 0 }
    }

    /// The row at a position.
    pub(crate) fn row(&self, position: usize) -> u64 {
        match self.rows {
            Rows::From(first) => first + position as u64,
            Rows::Listed(ids) => ids[position],
        }
    }

    /// The first position at or after `from` whose row is at least `row`; the length where there is none.
    ///
    /// Cost: the logarithm of the distance walked.
    fn seek(&self, from: usize, row: u64) -> usize {
        match self.rows {
            Rows::From(first) => {
                let position = usize::try_from(row.saturating_sub(first)).unwrap_or(usize::MAX);
                position.clamp(from, self.len())
            }
            Rows::Listed(ids) => {
                let rest = &ids[from..];
                let mut step = 1;
                while rest.get(step - 1).is_some_and(|&id| id < row) {
                    step *= 2;
                }
                // Everything before step / 2 is below `row`; what is at step - 1 is not, if it is there.
                let low = step / 2;
                let high = step.min(rest.len());
                from + low + rest[low..high].partition_point(|&id| id < row)
            }
        }
    }
}

/// Which rows of a block may be found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Selection<'a> {
    /// Every row.
    All,
    /// Every row but these, the dead.
    Except(&'a RoaringTreemap),
    /// These rows.
    Only(&'a RoaringTreemap),
}

impl Selection<'_> {
    /// Whether a row may be found.
    pub(crate) fn contains(&self, row: u64) -> bool {
        match self {
            Selection::All => true,
            Selection::Except(dead) => !dead.contains(row),
            Selection::Only(allowed) => allowed.contains(row),
        }
    }
}

/// A query vector made ready for many blocks.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    metric: Metric,
    kernel: Kernel,
}

impl Query {
    /// Prepares a query; under cosine the vector is made one long.
    ///
    /// # Errors
    /// `Invalid` for a vector that is empty, has a value that is infinite or not a number, or is zero under cosine;
    /// `Limit` past [`DIM_MAX`].
    pub(crate) fn new(metric: Metric, vector: &[f32]) -> Result<Self> {
        let invalid = |reason: String| Err(Error::Invalid { what: "query vector".into(), reason });
        if vector.is_empty() {
            return invalid("it is empty".into());
        }
        if vector.len() > DIM_MAX {
            let (what, found) = ("dimension of the query vector".into(), vector.len() as u64);
            return Err(Error::Limit { what, found, max: DIM_MAX as u64 });
        }
        if let Some((_, column)) = kernel::first_non_finite(vector, vector.len()) {
            return invalid(format!("value {column} is {}, expected a finite number", vector[column]));
        }
        let kernel = match metric {
            Metric::InnerProduct => Kernel::new(Sum::Products, vector),
            Metric::L2 => Kernel::new(Sum::SquaredDifferences, vector),
            Metric::Cosine => {
                let norm = kernel::norm(vector);
                if norm == 0.0 {
                    return invalid("it is zero, which has no direction for the metric cosine".into());
                }
                let unit: Vec<f32> = vector.iter().map(|&x| kernel::narrow(f64::from(x) / norm)).collect();
                Kernel::new(Sum::Products, &unit)
            }
        };
        Ok(Query { metric, kernel })
    }

    fn check_dim(&self, block: &Block<'_>) -> Result<()> {
        let (expected, found) = (block.dim, self.kernel.query().len());
        if expected == found {
            Ok(())
        } else {
            Err(Error::Shape { what: "query vector".into(), expected, found })
        }
    }

    /// The vector as it is compared: of unit length under cosine, else as given.
    pub(crate) fn vector(&self) -> &[f32] {
        self.kernel.query()
    }

    /// Makes scores of the sums of rows with the query, in place; `vector` gives the rows.
    ///
    /// No branch but one for all, so that the compiler makes vector instructions of the loops.
    fn scores<'v>(
        &self,
        sums: &mut [f32],
        inverse_norms: Option<&[f32]>,
        vector: impl Fn(usize) -> &'v [f32],
    ) {
        match (self.metric, inverse_norms) {
            (Metric::InnerProduct, _) => {}
            (Metric::L2, _) => sums.iter_mut().for_each(|sum| *sum = -*sum),
            (Metric::Cosine, None) => sums.fill(f32::NAN),
            (Metric::Cosine, Some(inverse_norms)) => {
                for (sum, inverse) in sums.iter_mut().zip(inverse_norms) {
                    let sound = sum.is_finite() & INVERSE_NORMS.contains(inverse);
                    *sum = if sound { (*sum * inverse).clamp(-1.0, 1.0) } else { f32::NAN };
                }
            }
        }
        if !kernel::all_finite(sums) {
            for (i, sum) in sums.iter_mut().enumerate().filter(|(_, sum)| !sum.is_finite()) {
                *sum = self.score_f64(vector(i));
            }
        }
    }

    /// The score of a row whose values are too large or too small for sums in f32.
    #[cold]
    fn score_f64(&self, row: &[f32]) -> f32 {
        let sum = self.kernel.sum_f64(row);
        match self.metric {
            Metric::InnerProduct => kernel::narrow(sum),
            Metric::L2 => kernel::narrow(-sum),
            Metric::Cosine => {
                let norm = kernel::norm(row);
                if norm == 0.0 { 0.0 } else { kernel::narrow(sum / norm).clamp(-1.0, 1.0) }
            }
        }
    }
}

/// Offers the wanted rows of a block to `top`.
///
/// `owner` gives the document of a row, that is its first row; it is called only for rows that are good enough. A score
/// depends on the row and the query alone. Under cosine a zero row scores 0; a block without inverse norms is searched
/// all the same, in f64 and far slower. Scores beyond f32 are infinite; NaN in a row makes it the worst.
/// Cost: reads the vectors once. `Except`, and `Only` where it holds a quarter of the rows or more, read the whole block in
/// order and test only rows that are good enough; `Only` where it holds fewer reads the rows it holds.
/// # Errors
/// `Shape` if the query has another dimension than the block.
pub(crate) fn scan(
    block: &Block<'_>,
    query: &Query,
    selection: &Selection<'_>,
    owner: &dyn Fn(u64) -> u64,
    top: &mut TopK,
) -> Result<()> {
    query.check_dim(block)?;
    if block.len() == 0 {
        return Ok(());
    }
    match *selection {
        Selection::All => scan_in_order(block, query, |row| Some(owner(row)), top),
        Selection::Except(dead) => {
            scan_in_order(block, query, |row| (!dead.contains(row)).then(|| owner(row)), top);
        }
        Selection::Only(allowed) => {
            let (first, last) = (block.row(0), block.row(block.len() - 1));
            if allowed.range_cardinality(first..=last) >= last.saturating_sub(first) / DENSE {
                scan_in_order(block, query, |row| allowed.contains(row).then(|| owner(row)), top);
            } else {
                scan_picked(block, query, block.positions(allowed), owner, top);
            }
        }
    }
    Ok(())
}

/// Scores every row; `owner` has the last word.
fn scan_in_order(block: &Block<'_>, query: &Query, owner: impl Fn(u64) -> Option<u64>, top: &mut TopK) {
    let mut sums = [0.0; BATCH];
    for start in (0..block.len()).step_by(BATCH) {
        let part = block.slice(start..(start + BATCH).min(block.len()));
        let sums = &mut sums[..part.len()];
        query.kernel.sums(part.vectors.chunks_exact(part.dim), sums);
        query.scores(sums, part.inverse_norms, |i| part.vector(i));
        if top.wants_any(sums) {
            for (i, &score) in sums.iter().enumerate() {
                top.offer(score, part.row(i), &owner);
            }
        }
    }
}

/// Offers the rows at some positions of a block, which must be within it, to `top`.
///
/// Scores and results are those of [`scan`]. Cost: reads the vectors of these rows.
/// # Errors
/// `Shape` if the query has another dimension than the block.
pub(crate) fn scan_positions(
    block: &Block<'_>,
    query: &Query,
    positions: impl Iterator<Item = usize>,
    owner: &dyn Fn(u64) -> u64,
    top: &mut TopK,
) -> Result<()> {
    query.check_dim(block)?;
    scan_picked(block, query, positions, owner, top);
    Ok(())
}

/// Scores the rows at these positions.
fn scan_picked(
    block: &Block<'_>,
    query: &Query,
    mut positions: impl Iterator<Item = usize>,
    owner: &dyn Fn(u64) -> u64,
    top: &mut TopK,
) {
    let mut sums = [0.0; BATCH];
    let mut picked = Vec::with_capacity(BATCH);
    let mut inverse_norms = Vec::with_capacity(BATCH);
    loop {
        picked.clear();
        picked.extend(positions.by_ref().take(BATCH));
        if picked.is_empty() {
            return;
        }
        // One value of each row first: the waits for distant memory then overlap, which saves a third of the time.
        black_box(picked.iter().fold(0, |bits, &position| bits | block.vector(position)[0].to_bits()));
        let sums = &mut sums[..picked.len()];
        query.kernel.sums(picked.iter().map(|&position| block.vector(position)), sums);
        let norms = block.inverse_norms.map(|all| {
            inverse_norms.clear();
            inverse_norms.extend(picked.iter().map(|&position| all[position]));
            &inverse_norms[..]
        });
        query.scores(sums, norms, |i| block.vector(picked[i]));
        for (&position, &score) in picked.iter().zip(&*sums) {
            top.offer(score, block.row(position), |row| Some(owner(row)));
        }
    }
}

/// The positions of a block whose rows are allowed, ascending: the two ascending lists take turns to leap ahead.
struct Positions<'a> {
    block: &'a Block<'a>,
    allowed: roaring::treemap::Iter<'a>,
    next: usize,
}

impl Iterator for Positions<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.next < self.block.len() {
            self.allowed.advance_to(self.block.row(self.next));
            let row = self.allowed.next()?;
            let position = self.block.seek(self.next, row);
            if position == self.block.len() {
                break;
            }
            self.next = position;
            if self.block.row(position) == row {
                self.next += 1;
                return Some(position);
            }
        }
        self.next = self.block.len();
        None
    }
}
