//! Builds an index of codes: one pass for the ranges, one for the codes and the recall curve, written as they come.

use roaring::RoaringTreemap;

use super::kernel::CodeQuery;
use super::sections::{Sections, Shape};
use super::{Width, index};
use crate::codec::{to_u64, to_usize};
use crate::error::Result;
use crate::metric::Metric;
use crate::vector::exact::{Block, Query, Selection, scan, scan_positions};
use crate::vector::hnsw::{CURVE_BYTES, Curve, PART_BYTES, Sums, sample};
use crate::vector::table::ALIGNMENT;
use crate::vector::topk::TopK;

/// The nearest rows that are wanted of each search.
const K: usize = Curve::NEAREST;
/// The numbers of rows to score exactly at which recall is measured.
const EFFORTS: [u32; 13] = [10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384];
/// The most of them.
const EFFORT_MAX: usize = 384;

/// What a build calls to write, piece by piece.
type Write<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// The length of the index of a block.
pub(crate) fn blob_bytes(rows: usize, dim: usize, metric: Metric, width: Width) -> Result<u64> {
    Ok(to_u64(Sections::plan(Shape { width, metric, dim, rows })?.len()))
}

/// The most bytes that a build allocates at once.
pub(crate) fn build_bytes(rows: usize, dim: usize) -> usize {
    let part = PART_BYTES.max(4 * dim);
    // Of each query that recall is measured with: vectors, weights and ranges; the lists of both searches, which double as they grow.
    let query = 4 * 4 * dim + 2 * (2 * EFFORT_MAX + 16 + 2 * K + 16) * 24;
    // Squared lengths double as they grow, too.
    2 * 4 * rows + part + 16 * dim + sample(rows) * (query + 64)
}

/// Writes the index of a block. Under cosine it is made of unit vectors.
///
/// `step` is called now and then with the number of rows that are done; an error stops the build. Cost: two passes over the
/// vectors, and comparing them with 200 of themselves, in the caches, by both searches.
/// # Errors
/// `Invalid` for more rows than an index can have; what `step` and `write` returned.
pub(crate) fn build(
    block: &Block<'_>,
    metric: Metric,
    width: Width,
    step: &dyn Fn(u64) -> Result<()>,
    write: Write<'_>,
) -> Result<()> {
    let sections = Sections::plan(Shape { width, metric, dim: block.dim(), rows: block.len() })?;
    let mut out = Aligned { write, len: 0 };
    out.put(&sections.header())?;
    let ranges = train(block, metric, step)?;
    out.section(bytemuck::cast_slice(&ranges))?;
    let mut work = Work::new(block, metric, width, &ranges);
    let rows = (PART_BYTES / block.vector_bytes()).max(1);
    out.align()?;
    for start in (0..block.len()).step_by(rows) {
        step(to_u64(start))?;
        let end = block.len().min(start + rows);
        work.encode(start..end);
        out.put(&work.codes)?;
        work.compare(start..end)?;
    }
    out.section(bytemuck::cast_slice(&work.squares))?;
    let mut curve = vec![0; CURVE_BYTES];
    work.curve()?.encode(&mut curve);
    out.section(&curve)
}

/// Writes sections at multiples of [`ALIGNMENT`].
struct Aligned<'a> {
    write: Write<'a>,
    len: u64,
}

impl Aligned<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.len += to_u64(bytes.len());
        (self.write)(bytes)
    }

    fn align(&mut self) -> Result<()> {
        let missing = self.len.next_multiple_of(to_u64(ALIGNMENT)) - self.len;
        self.put(&vec![0; to_usize(missing)])
    }

    fn section(&mut self, bytes: &[u8]) -> Result<()> {
        self.align()?;
        self.put(bytes)
    }
}

/// The least value of each dimension, then the width of the range of each.
///
/// Source: FAISS `train_NonUniform`, `RS_minmax`.
fn train(block: &Block<'_>, metric: Metric, step: &dyn Fn(u64) -> Result<()>) -> Result<Vec<f32>> {
    let mut ranges = vec![0.0; 2 * block.dim()];
    let (least, most) = ranges.split_at_mut(block.dim());
    let mut vector = vec![0.0; block.dim()];
    for position in 0..block.len() {
        if position % 1024 == 0 {
            step(0)?;
        }
        block.indexed(metric, position, &mut vector);
        if position == 0 {
            least.copy_from_slice(&vector);
            most.copy_from_slice(&vector);
        }
        for ((least, most), &value) in least.iter_mut().zip(most.iter_mut()).zip(&vector) {
            *least = if value < *least { value } else { *least };
            *most = if value > *most { value } else { *most };
        }
    }
    for (least, most) in least.iter().zip(most) {
        *most -= least;
    }
    Ok(ranges)
}

/// The code of a value.
///
/// Source: FAISS `QuantizerTemplate::encode_vector`, `Codec8bit`, `Codec4bit`.
fn code(value: f32, least: f32, width_of: f32, width: Width) -> u8 {
    let part = if width_of == 0.0 { 0.0 } else { ((value - least) / width_of).clamp(0.0, 1.0) };
    // Not a number becomes zero.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 255")]
    match width {
        Width::Eight => (255.0 * part) as u8,
        Width::Four => (f64::from(part) * 15.0) as u8,
    }
}

/// A row that recall is measured with.
struct Held {
    query: Query,
    codes: CodeQuery,
    exact: TopK,
    approximate: TopK,
}

struct Work<'a> {
    block: &'a Block<'a>,
    metric: Metric,
    width: Width,
    ranges: &'a [f32],
    vector: Vec<f32>,
    /// The codes of the rows that are being written.
    codes: Vec<u8>,
    squares: Vec<f32>,
    held: Vec<Held>,
    held_rows: RoaringTreemap,
}

impl<'a> Work<'a> {
    fn new(block: &'a Block<'a>, metric: Metric, width: Width, ranges: &'a [f32]) -> Self {
        let count = sample(block.len());
        let positions: Vec<usize> = (0..count).map(|n| n * (block.len() / count.max(1))).collect();
        let held_rows = positions.iter().map(|&position| block.row(position)).collect();
        // A vector that no query can be, as zero under cosine, is left out.
        let queries =
            positions.iter().filter_map(|&position| Query::new(metric, &block.vector(position)).ok());
        let held = queries.map(|query| Held {
            codes: CodeQuery::new(metric, query.vector(), width, ranges),
            query,
            exact: TopK::new(K),
            approximate: TopK::new(EFFORT_MAX),
        });
        let held = held.collect();
        let (vector, codes) = (vec![0.0; block.dim()], Vec::new());
        Work { block, metric, width, ranges, vector, codes, squares: Vec::new(), held, held_rows }
    }

    fn encode(&mut self, positions: std::ops::Range<usize>) {
        let (least, widths) = self.ranges.split_at(self.block.dim());
        self.codes.clear();
        for position in positions {
            self.block.indexed(self.metric, position, &mut self.vector);
            let start = self.codes.len();
            let parts = self.vector.iter().zip(least.iter().zip(widths));
            let mut values = parts.map(|(&value, (&least, &width))| code(value, least, width, self.width));
            match self.width {
                Width::Eight => self.codes.extend(values),
                Width::Four => {
                    while let Some(low) = values.next() {
                        self.codes.push(low | values.next().unwrap_or(0) << 4);
                    }
                }
            }
            if self.metric == Metric::L2 {
                self.squares.push(index::square(&self.codes[start..], self.width, widths));
            }
        }
    }

    /// Offers the rows at some positions, whose codes were just made, to each list.
    fn compare(&mut self, positions: std::ops::Range<usize>) -> Result<()> {
        let (part, bytes) = (self.block.slice(positions.clone()), self.width.bytes(self.block.dim()));
        let mut scores = vec![0.0; part.len()];
        for held in &mut self.held {
            scan(&part, &held.query, &Selection::Except(&self.held_rows), &|row| row, &mut held.exact)?;
            held.codes.scores(self.codes.chunks_exact(bytes), &mut scores);
            if let Some(squares) = self.squares.get(positions.clone()) {
                scores.iter_mut().zip(squares).for_each(|(score, square)| *score -= square);
            }
            for (position, &score) in positions.clone().zip(&scores) {
                let row = self.block.row(position);
                held.approximate.offer(score, to_u64(position), |position| {
                    (!self.held_rows.contains(row)).then_some(position)
                });
            }
        }
        Ok(())
    }

    fn curve(self) -> Result<Curve> {
        let (queries, wanted) =
            (to_u64(self.held.len()), K.min(self.block.len() - to_usize(self.held_rows.len())));
        if queries == 0 || wanted == 0 {
            return Ok(Curve::default());
        }
        let mut sums = [Sums::default(); EFFORTS.len()];
        for held in self.held {
            let exact = held.exact.into_sorted();
            // Rows as near as the last are as good: of duplicates any will do.
            let last = exact.last().map_or(f32::INFINITY, |best| best.score);
            let mut good = Vec::with_capacity(EFFORT_MAX);
            let approximate = held.approximate.into_sorted();
            self.block.fetch(approximate.iter().map(|best| to_usize(best.row)));
            for best in approximate {
                let mut top = TopK::new(1);
                let position = std::iter::once(to_usize(best.row));
                scan_positions(self.block, &held.query, position, &|row| row, &mut top)?;
                good.push(top.into_sorted().first().is_some_and(|best| best.score >= last));
            }
            for (sums, effort) in sums.iter_mut().zip(EFFORTS) {
                let found = good.iter().take(to_usize(u64::from(effort))).filter(|&&good| good).count();
                sums.note(to_u64(found.min(wanted)), u64::from(effort));
            }
        }
        let point = |(&effort, sums): (&u32, &Sums)| sums.point(effort, queries, to_u64(wanted));
        let points = EFFORTS.iter().zip(&sums).map(point).collect();
        Ok(Curve { queries: u32::try_from(queries).unwrap_or(u32::MAX), points })
    }
}
