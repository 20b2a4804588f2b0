//! Sums over pairs of f32 vectors, in the widest instructions that the processor has.
//!
//! One row is summed in 64 fixed lanes, whatever the width of a register: lane `i` takes the elements `i`, `i + 64`, ...
//! in order, each by one fused multiply-add, then the lanes are added pairwise. So a score has the same bits at every
//! address, beside every neighbour, and on every processor with fused multiply-add: x86-64 since 2013, all 64-bit Arm.
//! Others round the product too, and may differ in the last digit.
//!
//! Error: with `u = 2^-24` and `m = ceil(dim / 64)`, the inner product is within `(m + 7) u * sum |q_i v_i|` of the true
//! one and the squared distance within `(m + 9) u` of itself, relatively: 7.8e-7 and 9.0e-7 at 384 dimensions. (Higham,
//! "Accuracy and Stability of Numerical Algorithms", section 4.2: each term passes through at most so many roundings.)

#![expect(clippy::inline_always, reason = "code is compiled for an instruction set only where it is inlined")]

#[cfg(target_arch = "x86_64")]
use fearless_simd::u16x8;
use fearless_simd::{Level, Simd, dispatch, f32x8, prelude::*};
use half::f16;

/// The lanes that one row is summed in.
const LANES: usize = 64;
/// The lanes of one vector type; a row has `LANES / WIDTH` sums. Registers of sixteen lanes read memory slower than these
/// by a tenth (measured on AMD Zen 4) and cached vectors no faster.
const WIDTH: usize = 8;

/// What is summed over the elements of a row and the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    /// The products.
    Products,
    /// The squared differences.
    SquaredDifferences,
}

/// One query made ready to be summed with many rows.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    level: Level,
    sum: Sum,
    dim: usize,
    /// The query, zeros up to a multiple of `LANES`: zeros add nothing to either sum.
    query: Vec<[f32; LANES]>,
}

impl Kernel {
    /// Prepares a query.
    ///
    /// Cost: a copy of `query`. The processor is asked for its instructions once in a process.
    pub(crate) fn new(sum: Sum, query: &[f32]) -> Self {
        Kernel::with_level(Level::new(), sum, query)
    }

    /// Prepares a query for these instructions.
    pub(crate) fn with_level(level: Level, sum: Sum, query: &[f32]) -> Self {
        let (whole, rest) = query.as_chunks::<LANES>();
        let mut padded = whole.to_vec();
        if !rest.is_empty() {
            padded.push(zero_padded(rest));
        }
        Kernel { level, sum, dim: query.len(), query: padded }
    }

    /// The query.
    pub(crate) fn query(&self) -> &[f32] {
        &self.query.as_flattened()[..self.dim]
    }

    /// Writes the sum of each row with the query, in the order of the rows.
    ///
    /// Shape: every row has the dimension of the query. Stops at the end of the shorter of `rows` and `sums`.
    /// Cost: the reading of the rows; in memory beyond the caches, the bandwidth of one core.
    pub(crate) fn sums<'v>(&self, rows: impl Iterator<Item = &'v [f32]>, sums: &mut [f32]) {
        match self.sum {
            Sum::Products => dispatch!(self.level, simd => each::<_, false>(simd, &self.query, rows, sums)),
            Sum::SquaredDifferences => {
                dispatch!(self.level, simd => each::<_, true>(simd, &self.query, rows, sums));
            }
        }
    }

    /// The sum of one row with the query.
    pub(crate) fn sum(&self, row: &[f32]) -> f32 {
        let mut sum = [0.0];
        self.sums(std::iter::once(row), &mut sum);
        sum[0]
    }

    /// As [`Kernel::sums`], of rows in half precision: the same bits as of their values in f32.
    pub(crate) fn half_sums<'v>(&self, rows: impl Iterator<Item = &'v [u16]>, sums: &mut [f32]) {
        match self.sum {
            Sum::Products => {
                dispatch!(self.level, simd => each_half::<_, false>(simd, &self.query, rows, sums));
            }
            Sum::SquaredDifferences => {
                dispatch!(self.level, simd => each_half::<_, true>(simd, &self.query, rows, sums));
            }
        }
    }

    /// The sum of one row in f64, for rows whose f32 sum overflows or loses digits.
    ///
    /// Squares of f32 reach from 2e-90 to 1.2e77, so that nothing overflows or vanishes.
    pub(crate) fn sum_f64(&self, row: &[f32]) -> f64 {
        let pairs = self.query().iter().zip(row).map(|(&q, &v)| (f64::from(q), f64::from(v)));
        match self.sum {
            Sum::Products => pairs.map(|(q, v)| q * v).sum(),
            Sum::SquaredDifferences => pairs.map(|(q, v)| (q - v) * (q - v)).sum(),
        }
    }
}

#[inline(always)]
fn each<'v, S: Simd, const SQUARED: bool>(
    simd: S,
    query: &[[f32; LANES]],
    rows: impl Iterator<Item = &'v [f32]>,
    sums: &mut [f32],
) {
    for (row, sum) in rows.zip(sums) {
        *sum = one::<S, SQUARED>(simd, query, row);
    }
}

#[inline(always)]
fn one<S: Simd, const SQUARED: bool>(simd: S, query: &[[f32; LANES]], row: &[f32]) -> f32 {
    let mut sums = [f32x8::splat(simd, 0.0); LANES / WIDTH];
    let (whole, rest) = row.as_chunks::<LANES>();
    for (q, v) in query.iter().zip(whole) {
        add::<S, SQUARED>(simd, &mut sums, q, v);
    }
    if let (false, Some(q)) = (rest.is_empty(), query.get(whole.len())) {
        add::<S, SQUARED>(simd, &mut sums, q, &zero_padded(rest));
    }
    total(sums)
}

#[inline(always)]
fn total<S: Simd>(sums: [f32x8<S>; LANES / WIDTH]) -> f32 {
    let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
    (((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))).reduce_sum()
}

#[inline(always)]
fn each_half<'v, S: Simd, const SQUARED: bool>(
    simd: S,
    query: &[[f32; LANES]],
    rows: impl Iterator<Item = &'v [u16]>,
    sums: &mut [f32],
) {
    for (row, sum) in rows.zip(sums) {
        let mut parts = [f32x8::splat(simd, 0.0); LANES / WIDTH];
        let (whole, rest) = row.as_chunks::<LANES>();
        for (q, v) in query.iter().zip(whole) {
            add::<S, SQUARED>(simd, &mut parts, q, &widen(simd, v));
        }
        if let (false, Some(q)) = (rest.is_empty(), query.get(whole.len())) {
            add::<S, SQUARED>(simd, &mut parts, q, &widen(simd, &zero_padded(rest)));
        }
        *sum = total(parts);
    }
}

#[inline(always)]
fn widen<S: Simd>(simd: S, values: &[u16; LANES]) -> [f32; LANES] {
    let mut wide = [0.0; LANES];
    for (to, from) in wide.as_chunks_mut::<WIDTH>().0.iter_mut().zip(values.as_chunks::<WIDTH>().0) {
        *to = widen_some(simd, from);
    }
    wide
}

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    #[inline(always)]
    fn widen_avx2(token: Avx2, values: &[u16; WIDTH]) -> [f32; WIDTH] {
        let values: u16x8<_> = u16x8::load_array_ref(token, values);
        let wide: f32x8<_> = std::arch::x86_64::_mm256_cvtph_ps(values.into()).simd_into(token);
        *wide
    }
);

/// The values in f32, which holds each of them.
#[inline(always)]
fn widen_some<S: Simd>(simd: S, values: &[u16; WIDTH]) -> [f32; WIDTH] {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = simd.level().as_avx2() {
        return widen_avx2(avx2, values);
    }
    let _ = simd;
    values.map(|bits| f16::from_bits(bits).to_f32())
}

/// The values of half precision in f32.
pub(crate) fn widened(values: &[u16]) -> Vec<f32> {
    values.iter().map(|&bits| f16::from_bits(bits).to_f32()).collect()
}

/// The nearest values of half precision: infinite beyond 65,519.
pub(crate) fn halved(values: &[f32]) -> impl Iterator<Item = u16> {
    values.iter().map(|&value| f16::from_f32(value).to_bits())
}

#[inline(always)]
fn add<S: Simd, const SQUARED: bool>(
    simd: S,
    sums: &mut [f32x8<S>; LANES / WIDTH],
    q: &[f32; LANES],
    v: &[f32; LANES],
) {
    let (q, v) = (q.as_chunks::<WIDTH>().0, v.as_chunks::<WIDTH>().0);
    for (sum, (q, v)) in sums.iter_mut().zip(q.iter().zip(v)) {
        let (q, v) = (f32x8::load_array_ref(simd, q), f32x8::load_array_ref(simd, v));
        *sum = if SQUARED { (q - v).mul_add(q - v, *sum) } else { q.mul_add(v, *sum) };
    }
}

/// The values, and zeros after them.
#[inline(always)]
pub(super) fn zero_padded<T: Copy + Default, const N: usize>(rest: &[T]) -> [T; N] {
    let mut padded = [T::default(); N];
    for (to, from) in padded.iter_mut().zip(rest) {
        *to = *from;
    }
    padded
}

/// The Euclidean norm, summed in f64: nothing that f32 can hold overflows or vanishes on the way.
pub(crate) fn norm(v: &[f32]) -> f64 {
    // Eight sums, as one would wait for each addition; f64 has digits to spare for any order of f32 squares.
    let (whole, rest) = v.as_chunks::<8>();
    let mut sums = [0.0_f64; 8];
    for chunk in whole {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    let rest: f64 = rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    (sums.iter().sum::<f64>() + rest).sqrt()
}

/// `1 / |v|`, the factor that makes a vector one long, as the column of inverse norms stores it.
///
/// Zero for the zero vector, which has no direction; `f32::MAX` where the norm is below 2.9e-39. NaN only of NaN.
/// Cost: one pass in f64.
pub(crate) fn inverse_norm(v: &[f32]) -> f32 {
    let norm = norm(v);
    if norm == 0.0 { 0.0 } else { narrow((1.0 / norm).min(f64::from(f32::MAX))) }
}

/// The nearest f32; infinite when beyond its range.
#[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is the purpose")]
pub(crate) fn narrow(x: f64) -> f32 {
    x as f32
}

/// Whether no value is infinite or not a number.
pub(crate) fn all_finite(values: &[f32]) -> bool {
    // No early end, so that the compiler makes vector instructions of the loop.
    values.iter().fold(true, |finite, x| finite & x.is_finite())
}

/// The row and column of the first value that is infinite or not a number.
///
/// Shape: `vectors` is row-major, `dim` values a row. Cost: one pass, about as fast as memory.
pub(crate) fn first_non_finite(vectors: &[f32], dim: usize) -> Option<(usize, usize)> {
    let (at, chunk) = vectors.chunks(LANES).enumerate().find(|(_, chunk)| !all_finite(chunk))?;
    let position = at * LANES + chunk.iter().position(|x| !x.is_finite())?;
    Some((position / dim.max(1), position % dim.max(1)))
}
