//! Exact search: every wanted row of a block is scored.

use std::borrow::Cow;
use std::hint::black_box;
use std::ops::Range;

use roaring::RoaringTreemap;

use super::kernel::{self, Kernel, Sum};
use super::rows::Rows;
use super::topk::TopK;
use crate::error::{Error, Result};
use crate::limits::DIM_MAX;
use crate::metric::Metric;
use crate::storage::fetch;

/// The rows that are scored at a time: enough that the choice of instructions costs nothing.
const BATCH: usize = 64;
/// Inverse norms in this range lose no digits of an f32 score.
pub(crate) const INVERSE_NORMS: Range<f32> = 1e-30..1e30;

/// Vectors, row-major.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values<'a> {
    /// As they are.
    Whole(&'a [f32]),
    /// In half precision.
    Half(&'a [u16]),
}

impl<'a> Values<'a> {
    fn len(&self) -> usize {
        match self {
            Values::Whole(values) => values.len(),
            Values::Half(values) => values.len(),
        }
    }

    fn slice(&self, range: Range<usize>) -> Values<'a> {
        match self {
            Values::Whole(values) => Values::Whole(&values[range]),
            Values::Half(values) => Values::Half(&values[range]),
        }
    }

    /// The values as f32.
    pub(crate) fn widened(&self) -> Cow<'a, [f32]> {
        match self {
            Values::Whole(values) => Cow::Borrowed(values),
            Values::Half(values) => Cow::Owned(kernel::widened(values)),
        }
    }
}

/// Vectors in row order, with their ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    vectors: Values<'a>,
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
        Block::of(Values::Whole(vectors), dim, inverse_norms, rows)
    }

    /// As [`Block::new`], with values of any precision.
    pub(crate) fn of(
        vectors: Values<'a>,
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
        match self.vectors {
            Values::Whole(_) => self.dim * size_of::<f32>(),
            Values::Half(_) => self.dim * size_of::<u16>(),
        }
    }

    /// The part of the block at these positions, which must be within it.
    pub(crate) fn slice(&self, positions: Range<usize>) -> Block<'a> {
        Block {
            vectors: self.vectors.slice(positions.start * self.dim..positions.end * self.dim),
            dim: self.dim,
            inverse_norms: self.inverse_norms.map(|norms| &norms[positions.clone()]),
            rows: self.rows.slice(positions),
        }
    }

    /// The number of values of a vector.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// The vector at a position.
    pub(crate) fn vector(&self, position: usize) -> Cow<'a, [f32]> {
        self.vectors.slice(position * self.dim..(position + 1) * self.dim).widened()
    }

    /// Has the vectors at these positions read from the disk, where they are mapped and not in memory, without waiting for them.
    /// For vectors in no order: each that is merely touched would be read with as many of its neighbours as the device reads ahead.
    pub(crate) fn fetch(&self, positions: impl Iterator<Item = usize>) {
        for position in positions {
            match self.slice(position..position + 1).vectors {
                Values::Whole(values) => fetch(bytemuck::cast_slice(values)),
                Values::Half(values) => fetch(bytemuck::cast_slice(values)),
            }
        }
    }

    /// Bits of the vector at a position: where they come from distant memory, asking for them fetches them.
    fn touch(&self, position: usize) -> u32 {
        match self.vectors {
            Values::Whole(values) => values[position * self.dim].to_bits(),
            Values::Half(values) => u32::from(values[position * self.dim]),
        }
    }

    /// Writes the sum of each of these rows with a query.
    fn sums(&self, kernel: &Kernel, positions: impl Iterator<Item = usize>, sums: &mut [f32]) {
        match self.vectors {
            Values::Whole(values) => {
                kernel.sums(positions.map(|position| &values[position * self.dim..][..self.dim]), sums);
            }
            Values::Half(values) => {
                kernel.half_sums(positions.map(|position| &values[position * self.dim..][..self.dim]), sums);
            }
        }
    }

    /// The factor that makes the vector at a position one long, from the column or computed.
    pub(crate) fn inverse_norm(&self, position: usize) -> f32 {
        self.inverse_norms
            .map_or_else(|| kernel::inverse_norm(&self.vector(position)), |norms| norms[position])
    }

    /// The ids.
    pub(crate) fn rows(&self) -> Rows<'a> {
        self.rows
    }

    /// Writes the vector at a position as indexes have it: of unit length under cosine.
    pub(crate) fn indexed(&self, metric: Metric, position: usize, out: &mut [f32]) {
        let vector = self.vector(position);
        if metric != Metric::Cosine {
            out.copy_from_slice(&vector);
            return;
        }
        let inverse = self.inverse_norm(position);
        if INVERSE_NORMS.contains(&inverse) {
            for (to, from) in out.iter_mut().zip(&*vector) {
                *to = from * inverse;
            }
            return;
        }
        let norm = kernel::norm(&vector);
        for (to, from) in out.iter_mut().zip(&*vector) {
            *to = if norm == 0.0 { 0.0 } else { kernel::narrow(f64::from(*from) / norm) };
        }
    }

    /// The row at a position.
    pub(crate) fn row(&self, position: usize) -> u64 {
        self.rows.at(position)
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

    /// Refuses vectors of so many values unless the query has as many.
    ///
    /// # Errors
    /// `Shape`.
    pub(crate) fn check_dim(&self, expected: usize) -> Result<()> {
        let found = self.kernel.query().len();
        if expected == found {
            Ok(())
        } else {
            Err(Error::Shape { what: "query vector".into(), expected, found })
        }
    }

    /// How vectors are compared.
    pub(crate) fn metric(&self) -> Metric {
        self.metric
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
        vector: impl Fn(usize) -> Cow<'v, [f32]>,
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
                *sum = self.score_f64(&vector(i));
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
    query.check_dim(block.dim)?;
    if block.len() == 0 {
        return Ok(());
    }
    match *selection {
        Selection::All => scan_in_order(block, query, |row| Some(owner(row)), top),
        Selection::Except(dead) => {
            scan_in_order(block, query, |row| (!dead.contains(row)).then(|| owner(row)), top);
        }
        Selection::Only(allowed) => {
            if block.rows.is_dense(0..block.len(), allowed) {
                scan_in_order(block, query, |row| allowed.contains(row).then(|| owner(row)), top);
            } else {
                scan_picked(block, query, block.rows.positions(0..block.len(), allowed), owner, top);
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
        part.sums(&query.kernel, 0..part.len(), sums);
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
    query.check_dim(block.dim)?;
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
        black_box(picked.iter().fold(0, |bits, &position| bits | block.touch(position)));
        let sums = &mut sums[..picked.len()];
        block.sums(&query.kernel, picked.iter().copied(), sums);
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
