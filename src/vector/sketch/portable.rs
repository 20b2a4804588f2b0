//! The scan of sketches for processors that the shim has none for.

#![expect(clippy::inline_always, reason = "code is compiled for an instruction set only where it is inlined")]

use fearless_simd::{Level, Simd, dispatch, f32x16, i16x32, i32x16, prelude::*, u8x64, u16x32};

use super::{CHUNK, GROUP, STEP, WORD};

/// The values in half a step: as many are in a number of 16 bits.
const PLANES: usize = STEP / 2;

/// The weights of a step by the place of their codes in a number of 16 bits: a pair, for the first such number of a row and the
/// second.
pub(super) type Planes = [i32; PLANES];

/// What `vdb_sketches` of the shim has, with the weights made ready.
pub(super) struct Parts<'a> {
    pub(super) planes: &'a [Planes],
    pub(super) unit: f32,
    pub(super) biases: &'a [f32],
    pub(super) codes: &'a [u8],
    pub(super) mask: &'a [u64],
}

impl Parts<'_> {
    /// Does what `vdb_sketch_scan` of the shim does: writes wanted rows whose scores are not less than `floor`, with their scores,
    /// from a word of the mask on, and returns how many.
    pub(super) fn scan(&self, floor: f32, word: &mut usize, out: (&mut [f32], &mut [u32])) -> usize {
        dispatch!(Level::new(), simd => self.scan_with(simd, floor, word, out))
    }

    #[inline(always)]
    fn scan_with<S: Simd>(
        &self,
        simd: S,
        floor: f32,
        word: &mut usize,
        (scores, rows): (&mut [f32], &mut [u32]),
    ) -> usize {
        let group_bytes = CHUNK * self.planes.len();
        let mut found = 0;
        while let Some(&wanted) =
            self.mask.get(*word).filter(|_| found + WORD <= scores.len().min(rows.len()))
        {
            for part in (0..WORD / GROUP).filter(|part| wanted >> (part * GROUP) & 0xffff != 0) {
                let group = *word * (WORD / GROUP) + part;
                let codes = self.codes.get(group * group_bytes..).unwrap_or_default();
                for (row, sum) in sums(simd, self.planes, codes).into_iter().enumerate() {
                    let at = group * GROUP + row;
                    let score = sum * self.unit - self.biases.get(at).copied().unwrap_or(0.0);
                    // What is no number is not less.
                    let is_less = score < floor;
                    if wanted >> (part * GROUP + row) & 1 == 1 && !is_less {
                        scores[found] = score;
                        rows[found] = u32::try_from(at).unwrap_or(u32::MAX);
                        found += 1;
                    }
                }
            }
            *word += 1;
        }
        found
    }
}

/// The weights of all steps.
pub(super) fn planes(weights: &[i8]) -> Vec<Planes> {
    // Of the bytes of a row each has a code in its lower half and, sixteen times as large, one in its upper half.
    let pair = |low: i8, high: i8, factor: i16| {
        let [low, high] = [low, high].map(|weight| (factor * i16::from(weight)).to_le_bytes());
        i32::from_le_bytes([low[0], low[1], high[0], high[1]])
    };
    let step = |w: &[i8; STEP]| {
        [pair(w[0], w[2], 16), pair(w[4], w[6], 1), pair(w[1], w[3], 16), pair(w[5], w[7], 1)]
    };
    weights.as_chunks::<STEP>().0.iter().map(step).collect()
}

/// The sums of a group.
#[inline(always)]
fn sums<S: Simd>(simd: S, planes: &[Planes], codes: &[u8]) -> [f32; GROUP] {
    let mut sums = [i32x16::splat(simd, 0); 2];
    for (weights, chunk) in planes.iter().zip(codes.as_chunks::<CHUNK>().0) {
        let first: u16x32<S> = u8x64::load_array_ref(simd, chunk).bitcast();
        let second = first >> 8;
        let parts = [first & 0x0f, first & 0xf0, second & 0x0f, second & 0xf0];
        for (n, (part, &weight)) in parts.into_iter().zip(weights).enumerate() {
            let weight: i16x32<S> = i32x16::splat(simd, weight).bitcast();
            let part: i16x32<S> = part.bitcast();
            sums[n % 2] += part.pairwise_dot_product(weight);
        }
    }
    (f32x16::float_from(sums[0] + sums[1]) * f32x16::splat(simd, 1.0 / 16.0)).into()
}
