//! Outlines: the vectors of a block again, a byte for each value, with the most by which a score can differ.
//!
//! A scan reads the outline, a quarter of the vectors, and scores exactly whatever may be among the best. So it finds what a scan of
//! the vectors finds, to the bit. A row x is taken for `scale * (b - 127)`, where the greatest of its values has 127 steps. With
//! the query q, and r the length of what is left of x, the inner product differs by at most `|q| r` from that of the bytes
//! (Cauchy and Schwarz); under L2 twice that, where `|q|^2` and `|x|^2` are known; under cosine x is of unit length.

#![expect(clippy::inline_always, reason = "code is compiled for an instruction set only where it is inlined")]

use std::cmp::Ordering::Less;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use fearless_simd::{Level, Simd, dispatch};

use super::ask::{Ask, Held};
use super::codes::{CodeQuery, Width};
use super::exact::{Block, Query, Selection, scan, scan_positions};
use super::kernel::{narrow, norm, zero_padded};
use super::topk::TopK;
use crate::codec::to_u64;
use crate::error::Result;
use crate::metric::Metric;

/// The rows whose outlines are compared at a time.
const BATCH: usize = 64;
/// The steps from zero to the greatest value of a row, and the byte that stands for zero.
const STEPS: f32 = 127.0;
/// A float of this size has a step of one, and is more than all that is added to it: its last bits are the nearest whole number.
const WHOLE: f32 = 12_582_912.0;
/// Values that are summed side by side.
const LANES: usize = 16;
/// Lengths whose products and squares are numbers of full precision.
const LENGTHS: Range<f64> = 1e-15..1e15;
/// Fewer rows get no outline.
const ROWS_MIN: usize = 32;
/// An outline saves nothing where more than one row in so many is wanted, unless there are as many already.
const FEW: usize = 16;

/// What is known of a row. Its score is at most `scale * (s + e) + |q| * error - less - l`, where s is the inner product of its bytes and the
/// query, e how much that can be too small, and l what the query alone takes away.
#[derive(Clone, Copy, Debug)]
struct Row {
    scale: f32,
    error: f32,
    less: f32,
}

/// The outline of a block.
#[derive(Debug)]
pub(crate) struct Outline {
    dim: usize,
    codes: Vec<u8>,
    rows: Vec<Row>,
    _held: Held,
}

impl Outline {
    /// The memory that drawing and keeping one takes, in bytes.
    pub(crate) fn bytes(rows: usize, dim: usize) -> usize {
        rows.saturating_mul(dim + size_of::<Row>()).saturating_add(size_of::<f32>() * dim)
    }

    /// Draws the outline of a block, of whose first rows there are some already; `held` stands for its memory. Cost: reads the other
    /// vectors once.
    pub(crate) fn draw(block: &Block<'_>, metric: Metric, known: &[&Outline], held: Held) -> Self {
        let (len, dim) = (block.len(), block.dim());
        let (codes, rows) = (Vec::with_capacity(len * dim), Vec::with_capacity(len));
        let mut outline = Outline { dim, codes, rows, _held: held };
        for known in known {
            outline.codes.extend_from_slice(&known.codes);
            outline.rows.extend_from_slice(&known.rows);
        }
        let first = outline.rows.len();
        outline.codes.resize(len * dim, 0);
        let mut vector = vec![0.0; dim];
        let level = Level::new();
        for (position, code) in outline.codes.chunks_exact_mut(dim).enumerate().skip(first) {
            block.indexed(metric, position, &mut vector);
            let drawn = dispatch!(level, simd => encode(simd, &vector, code));
            outline.rows.push(Row::new(metric, &drawn, dim));
        }
        outline
    }
}

/// The outline of a block that does not change, drawn when it is scanned again.
#[derive(Debug, Default)]
pub(crate) struct Drawing {
    outline: OnceLock<Outline>,
    scans: AtomicU32,
}

impl Drawing {
    /// The block, which must be the same at each call, for a scan: with an outline from the second call on if it has rows enough and `ask`
    /// grants the memory. If not, that is asked again after twice as many calls. Cost: at that call a look at all vectors.
    pub(crate) fn outlined<'a>(&'a self, block: Block<'a>, metric: Metric, ask: Ask<'_>) -> Outlined<'a> {
        if self.outline.get().is_none() && block.len() >= ROWS_MIN {
            let scans = self.scans.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            if scans > 1 && scans.is_power_of_two() {
                self.draw(&block, metric, &[], ask);
            }
        }
        Outlined::new(block, self.outline.get())
    }

    /// Draws the outline of the block now, from those of its first rows that are known, if it has rows enough and `ask` grants the memory.
    pub(crate) fn draw(&self, block: &Block<'_>, metric: Metric, known: &[&Outline], ask: Ask<'_>) {
        let bytes = to_u64(Outline::bytes(block.len(), block.dim()));
        if self.outline.get().is_none()
            && block.len() >= ROWS_MIN
            && let Ok(held) = ask(bytes)
        {
            // Of two that are drawn at once, one is enough.
            let _ = self.outline.set(Outline::draw(block, metric, known, held));
        }
    }

    /// The outline, if there is one.
    pub(crate) fn get(&self) -> Option<&Outline> {
        self.outline.get()
    }
}

/// What the bytes of a row do not tell: its greatest value, and the squares of the lengths of the row and of what they leave of it.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    most: f32,
    square: f32,
    rest: f32,
}

/// Writes the bytes of a vector.
#[inline(always)]
fn encode<S: Simd>(_: S, vector: &[f32], code: &mut [u8]) -> Drawn {
    let (whole, last) = vector.as_chunks::<LANES>();
    let padded = [zero_padded(last)];
    // Side by side, so that the compiler makes vector instructions.
    let (mut most, mut squares, mut rests) = ([0.0_f32; LANES], [0.0_f32; LANES], [0.0_f32; LANES]);
    for some in whole.iter().chain(&padded) {
        for ((most, square), value) in most.iter_mut().zip(&mut squares).zip(some) {
            *most = if value.abs() > *most { value.abs() } else { *most };
            *square += value * value;
        }
    }
    let most = most.into_iter().fold(0.0, f32::max);
    let step = most / STEPS;
    let inverse = if step.is_normal() { 1.0 / step } else { 0.0 };
    let mut bytes = |some: &[f32; LANES]| {
        let mut bytes = [0; LANES];
        for ((&value, byte), rest) in some.iter().zip(&mut bytes).zip(&mut rests) {
            let near = value * inverse + (WHOLE + STEPS);
            *byte = near.to_bits().to_le_bytes()[0];
            let left = value - (near - (WHOLE + STEPS)) * step;
            *rest += left * left;
        }
        bytes
    };
    let (codes, end) = code.as_chunks_mut::<LANES>();
    for (some, code) in whole.iter().zip(codes) {
        *code = bytes(some);
    }
    end.copy_from_slice(&bytes(&padded[0])[..last.len()]);
    Drawn { most, square: squares.iter().sum(), rest: rests.iter().sum() }
}

/// The part of a length or a square that the roundings of all sums of `dim` values stay below, with much to spare.
fn rounding(dim: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 65,536 values")]
    let terms = dim as f64 / 64.0 + 16.0;
    4.0 * terms * f64::from(f32::EPSILON)
}

impl Row {
    fn new(metric: Metric, drawn: &Drawn, dim: usize) -> Self {
        let (small, square) = (rounding(dim), f64::from(drawn.square));
        let (length, rest) = (square.sqrt(), f64::from(drawn.rest).sqrt());
        // What sums of other lengths lose cannot be said: such a row is always scored.
        let sound = drawn.most == 0.0 || LENGTHS.contains(&length);
        let error = if sound { rest * (1.0 + small) + small * length } else { f64::INFINITY };
        let scale = drawn.most / STEPS * (f32::from(Width::Eight.greatest()) / 2.0);
        let (times, less) = match metric {
            Metric::InnerProduct | Metric::Cosine => (1.0, 0.0),
            Metric::L2 => (2.0, square * (1.0 - small)),
        };
        Row { scale: narrow(times) * scale, error: narrow(times * error).next_up(), less: narrow(less) }
    }
}

/// A query made ready to be compared with outlines.
#[derive(Debug)]
pub(crate) struct OutlineQuery {
    codes: CodeQuery,
    length: f32,
    /// How much a product with bytes can be too small.
    error: f32,
    less: f32,
}

impl OutlineQuery {
    /// Prepares a query; nothing for one so long or so short that sums in f32 lose digits.
    pub(crate) fn new(query: &Query) -> Option<Self> {
        let vector = query.vector();
        let (dim, length) = (vector.len(), norm(vector));
        if !LENGTHS.contains(&length) {
            return None;
        }
        // A byte b stands for (b - 127) / 127.5.
        let ranges: Vec<f32> = [[-1.0].repeat(dim), [2.0].repeat(dim)].concat();
        let codes = CodeQuery::new(Metric::InnerProduct, vector, Width::Eight, &ranges);
        let small = rounding(dim);
        let sum: f64 = vector.iter().map(|&value| f64::from(value.abs())).sum();
        let less = match query.metric() {
            Metric::InnerProduct | Metric::Cosine => 0.0,
            Metric::L2 => length * length * (1.0 - small),
        };
        let error = codes.error(dim) + small * sum;
        Some(OutlineQuery {
            codes,
            length: narrow(length).next_up(),
            error: narrow(error).next_up(),
            less: narrow(less),
        })
    }

    /// Writes the highest score that each row can have.
    fn highest(&self, codes: &[u8], rows: &[Row], dim: usize, scores: &mut [f32]) {
        self.codes.scores(codes.chunks_exact(dim), scores);
        for (score, row) in scores.iter_mut().zip(rows) {
            *score = row.scale * (*score + self.error) + self.length * row.error - row.less - self.less;
        }
    }
}

/// A block, and its outline if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlined<'a> {
    block: Block<'a>,
    outline: Option<&'a Outline>,
}

impl<'a> From<Block<'a>> for Outlined<'a> {
    fn from(block: Block<'a>) -> Self {
        Outlined { block, outline: None }
    }
}

impl<'a> Outlined<'a> {
    /// A block with the outline that was drawn of it.
    pub(crate) fn new(block: Block<'a>, outline: Option<&'a Outline>) -> Self {
        let fits = |outline: &&Outline| outline.rows.len() == block.len() && outline.dim == block.dim();
        Outlined { block, outline: outline.filter(fits) }
    }

    /// The vectors.
    pub(crate) fn block(&self) -> &Block<'a> {
        &self.block
    }

    /// The highest score that each row can have.
    #[cfg(test)]
    pub(super) fn highest(&self, query: &Query) -> Vec<f32> {
        let (outline, query) = (self.outline.unwrap(), OutlineQuery::new(query).unwrap());
        let mut highest = vec![0.0; outline.rows.len()];
        query.highest(&outline.codes, &outline.rows, outline.dim, &mut highest);
        highest
    }

    /// Whether it has an outline.
    pub(crate) fn has_outline(&self) -> bool {
        self.outline.is_some()
    }

    /// Offers the wanted rows at some positions to `top`, as [`scan`] does. With an outline, and a query that is `prepared` for it, those
    /// that cannot be among the best are left out, if that is likely to save anything.
    ///
    /// # Errors
    /// As [`scan`].
    pub(crate) fn scan(
        &self,
        positions: Range<usize>,
        (query, prepared): (&Query, Option<&OutlineQuery>),
        selection: &Selection<'_>,
        owner: &dyn Fn(u64) -> u64,
        top: &mut TopK,
    ) -> Result<()> {
        let block = &self.block;
        let is_few = match selection {
            Selection::Only(allowed) => !block.rows().is_dense(positions.clone(), allowed),
            Selection::All | Selection::Except(_) => false,
        };
        let is_worth = !is_few && (top.is_full() || top.k() <= block.len() / FEW);
        let (Some(outline), Some(prepared), true) = (self.outline, prepared, is_worth) else {
            return scan(&block.slice(positions), query, selection, owner, top);
        };
        query.check_dim(block.dim())?;
        let (mut highest, mut wanted) = ([0.0; BATCH], Vec::with_capacity(BATCH));
        for start in positions.clone().step_by(BATCH) {
            let batch = start..(start + BATCH).min(positions.end);
            let highest = &mut highest[..batch.len()];
            let codes = &outline.codes[batch.start * outline.dim..batch.end * outline.dim];
            prepared.highest(codes, &outline.rows[batch.clone()], outline.dim, highest);
            if !top.wants_any(highest) {
                continue;
            }
            let floor = top.floor();
            let may_be = |&(_, highest): &(usize, &f32)| highest.partial_cmp(&floor) != Some(Less);
            wanted.extend(batch.zip(&*highest).filter(may_be).map(|(position, _)| position));
            wanted.retain(|&position| selection.contains(block.row(position)));
            scan_positions(block, query, wanted.drain(..), owner, top)?;
        }
        Ok(())
    }
}
