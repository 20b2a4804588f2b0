//! Sums over codes and a query, in whole numbers.
//!
//! A code b of a dimension stands for `least + width (b + 1/2) / greatest`, so the inner product with a query, and all of a
//! squared distance but what depends on the row alone, is a constant and a weighted sum of the codes. The weights are
//! rounded to 14 bits and a sign, which moves a sum far less than the rounding of the values to codes does, and the sum is
//! then exact: 512 products of a weight and a byte fit 32 bits.

#![expect(clippy::inline_always, reason = "code is compiled for an instruction set only where it is inlined")]

use fearless_simd::{Level, Simd, dispatch, i16x16, i32x8, prelude::*, u8x32, u16x16};

use super::Width;
use crate::metric::Metric;
use crate::vector::kernel::narrow;

/// The bytes of codes that are looked at together.
const BLOCK: usize = 32;
/// Weights of a block in one plane.
const LANES: usize = BLOCK / 2;
/// The greatest weight.
const WEIGHT_MAX: f64 = 16_383.0;
/// The values that are summed in 32 bits: `512 * 255 * 16,383 < 2^31`.
const EXACT: usize = 512;

/// The weights of a block, by the place of their codes in a number of 16 bits, the lowest first.
type Weights<const PLANES: usize> = Vec<[[i16; LANES]; PLANES]>;

#[derive(Clone, Debug)]
enum Planes {
    Eight(Weights<2>),
    Four(Weights<4>),
}

/// One query made ready to be compared with codes.
#[derive(Clone, Debug)]
pub(crate) struct CodeQuery {
    level: Level,
    planes: Planes,
    /// What a sum of weights counts.
    unit: f64,
    /// The score of a row whose codes are zero.
    offset: f64,
}

impl CodeQuery {
    /// Prepares a query, of unit length under cosine, for codes over these ranges: least values, then widths.
    pub(crate) fn new(metric: Metric, query: &[f32], width: Width, ranges: &[f32]) -> Self {
        CodeQuery::with_level(Level::new(), metric, query, width, ranges)
    }

    /// Prepares a query for these instructions.
    pub(super) fn with_level(
        level: Level,
        metric: Metric,
        query: &[f32],
        width: Width,
        ranges: &[f32],
    ) -> Self {
        let (least, widths) = ranges.split_at(ranges.len() / 2);
        let mut offset = 0.0;
        let mut weights = Vec::with_capacity(query.len());
        for (&value, (&least, &width_of)) in query.iter().zip(least.iter().zip(widths)) {
            let step = f64::from(width_of) / f64::from(width.greatest());
            let (value, lowest) = (f64::from(value), f64::from(least) + step / 2.0);
            weights.push(match metric {
                Metric::Cosine | Metric::InnerProduct => {
                    offset += value * lowest;
                    value * step
                }
                Metric::L2 => {
                    offset -= (value - lowest) * (value - lowest);
                    2.0 * (value - lowest) * step
                }
            });
        }
        let most = weights.iter().fold(0.0, |most: f64, weight| most.max(weight.abs()));
        let unit = most / WEIGHT_MAX;
        // Not a number becomes zero.
        #[expect(clippy::cast_possible_truncation, reason = "at most the greatest weight")]
        let rounded = |weight: &f64| if unit > 0.0 { (weight / unit).round() as i16 } else { 0 };
        let weights: Vec<i16> = weights.iter().map(rounded).collect();
        let planes = match width {
            Width::Eight => Planes::Eight(planes(&weights)),
            Width::Four => Planes::Four(planes(&weights)),
        };
        CodeQuery { level, planes, unit, offset }
    }

    /// The most by which a score under the inner product differs from that of the values that its code stands for, beside rounding
    /// it to f32: half a unit for each value, times the greatest code.
    pub(crate) fn error(&self, dim: usize) -> f64 {
        let greatest = match self.planes {
            Planes::Eight(_) => Width::Eight.greatest(),
            Planes::Four(_) => Width::Four.greatest(),
        };
        #[expect(clippy::cast_precision_loss, reason = "at most 65,536 values: far below 2^52")]
        let dim = dim as f64;
        self.unit / 2.0 * f64::from(greatest) * dim
    }

    /// Writes the score of each code, in their order: larger is nearer. Under L2 what the row alone adds is left out.
    ///
    /// Shape: every code has the bytes of a vector. Stops at the end of the shorter of `codes` and `scores`.
    pub(crate) fn scores<'c>(&self, codes: impl Iterator<Item = &'c [u8]>, scores: &mut [f32]) {
        match &self.planes {
            Planes::Eight(weights) => dispatch!(self.level, simd => self.each(simd, weights, codes, scores)),
            Planes::Four(weights) => dispatch!(self.level, simd => self.each(simd, weights, codes, scores)),
        }
    }

    #[inline(always)]
    fn each<'c, S: Simd, const PLANES: usize>(
        &self,
        simd: S,
        weights: &[[[i16; LANES]; PLANES]],
        codes: impl Iterator<Item = &'c [u8]>,
        scores: &mut [f32],
    ) {
        for (code, score) in codes.zip(scores) {
            #[expect(clippy::cast_precision_loss, reason = "at most 65,536 values: far below 2^52")]
            let sum = one(simd, weights, code) as f64;
            *score = narrow(self.offset + self.unit * sum);
        }
    }
}

/// Splits weights among the planes, zeros after the last.
fn planes<const PLANES: usize>(weights: &[i16]) -> Weights<PLANES> {
    let block = |some: &[i16]| {
        let mut planes = [[0; LANES]; PLANES];
        for (n, &weight) in some.iter().enumerate() {
            planes[n % PLANES][n / PLANES] = weight;
        }
        planes
    };
    weights.chunks(LANES * PLANES).map(block).collect()
}

#[inline(always)]
fn one<S: Simd, const PLANES: usize>(simd: S, weights: &[[[i16; LANES]; PLANES]], code: &[u8]) -> i64 {
    let (whole, rest) = code.as_chunks::<BLOCK>();
    let together = EXACT / (LANES * PLANES);
    let mut total = 0;
    for (weights, codes) in weights.chunks(together).zip(whole.chunks(together)) {
        let mut sums = [i32x8::splat(simd, 0); PLANES];
        for (weights, codes) in weights.iter().zip(codes) {
            add(simd, weights, codes, &mut sums);
        }
        total += sum(&sums);
    }
    if let (false, Some(weights)) = (rest.is_empty(), weights.get(whole.len())) {
        let mut codes = [0; BLOCK];
        for (to, from) in codes.iter_mut().zip(rest) {
            *to = *from;
        }
        let mut sums = [i32x8::splat(simd, 0); PLANES];
        add(simd, weights, &codes, &mut sums);
        total += sum(&sums);
    }
    total
}

#[inline(always)]
fn add<S: Simd, const PLANES: usize>(
    simd: S,
    weights: &[[i16; LANES]; PLANES],
    codes: &[u8; BLOCK],
    sums: &mut [i32x8<S>; PLANES],
) {
    let pairs: u16x16<S> = u8x32::load_array_ref(simd, codes).bitcast();
    let (bits, mask): (u32, u16) = if PLANES == 2 { (8, 0xff) } else { (4, 0x0f) };
    let mut rest = pairs;
    for (sum, weights) in sums.iter_mut().zip(weights) {
        let codes: i16x16<S> = (rest & mask).bitcast();
        *sum += codes.pairwise_dot_product(i16x16::load_array_ref(simd, weights));
        rest >>= bits;
    }
}

#[inline(always)]
fn sum<S: Simd, const PLANES: usize>(sums: &[i32x8<S>; PLANES]) -> i64 {
    let [first, rest @ ..] = sums.as_slice() else { return 0 };
    i64::from(rest.iter().fold(*first, |total, &sum| total + sum).reduce_sum())
}
