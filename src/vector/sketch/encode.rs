//! Makes the sketches of a block.

use std::num::NonZero;

use super::{Basis, CHUNK, GREATEST, GROUP, STEP, WORD};
use crate::error::Result;
use crate::metric::Metric;
use crate::vector::exact::Block;
use crate::vector::kernel::{Kernel, narrow};
use crate::vector::pieces;

/// The bytes of vectors that a thread encodes at a time, or those of a word's rows.
const PIECE_BYTES: usize = 128 << 10;

/// What is made, each part with the position of its first row, a multiple of a word's rows.
pub(crate) struct Content<'a> {
    /// Position of the first row.
    pub(crate) first: usize,
    /// Sketches, rows beyond the last being zeros.
    pub(crate) sketches: &'a [u8],
    /// Under L2, half of the square of the length of each row.
    pub(crate) biases: &'a [f32],
}

/// The most bytes that a thread allocates: vectors, their places, and what they become.
pub(super) fn thread_bytes(dim: usize, dims: usize) -> usize {
    let vector = 4 * dim + 4 * dims + dims / 2 + 4;
    // And, as it learns, directions ready to be summed with vectors, and what they turn to.
    piece_rows(dim).saturating_mul(vector).saturating_add(3 * 8 * 4 * dim.next_multiple_of(64))
}

fn piece_rows(dim: usize) -> usize {
    (PIECE_BYTES / (4 * dim)).max(1).next_multiple_of(WORD)
}

/// Gives `write` the sketches of all rows, in pieces, from any of the threads.
///
/// Cost: for each row as many sums as the basis has dimensions: some 1.5 microseconds for 64 of 384.
/// # Errors
/// What `write` returned.
pub(crate) fn encode(
    block: &Block<'_>,
    metric: Metric,
    basis: &Basis,
    threads: NonZero<usize>,
    write: &(dyn Fn(&Content<'_>) -> Result<()> + Sync),
) -> Result<()> {
    let (rows, kernels) = (piece_rows(basis.dim), basis.kernels());
    pieces::for_each(block.len().div_ceil(rows), threads, &|piece| {
        let first = piece * rows;
        let count = rows.min(block.len() - first);
        let mut vectors = vec![0.0; count * basis.dim];
        for (row, vector) in vectors.chunks_exact_mut(basis.dim).enumerate() {
            block.indexed(metric, first + row, vector);
        }
        let mut biases = Vec::new();
        if metric == Metric::L2 {
            biases.extend(vectors.chunks_exact(basis.dim).map(bias));
        }
        let sketches = sketches(basis, &kernels, &vectors);
        write(&Content { first, sketches: &sketches, biases: &biases })
    })
}

/// Half of the square of the length.
fn bias(vector: &[f32]) -> f32 {
    let square: f64 = vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    narrow(square / 2.0).min(f32::MAX)
}

fn sketches(basis: &Basis, kernels: &[Kernel], vectors: &[f32]) -> Vec<u8> {
    let count = vectors.len() / basis.dim;
    let mut sketches = vec![0; super::bytes(count, basis.dims)];
    let (mut places, inverse) = (vec![0.0; count], basis.step.recip());
    for (dimension, (kernel, &centre)) in kernels.iter().zip(basis.centres()).enumerate() {
        kernel.sums(vectors.chunks_exact(basis.dim), &mut places);
        for (row, place) in places.iter().enumerate() {
            let code = ((place - centre) * inverse + 8.0).clamp(0.0, f32::from(GREATEST));
            // What is no number becomes zero.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 15")]
            let code = code as u8;
            let (byte, shift) = place_of(row, dimension, basis.dims);
            if let Some(byte) = sketches.get_mut(byte) {
                *byte |= code << shift;
            }
        }
    }
    sketches
}

/// Where the code of a dimension of a row is: the byte, and the lowest of its bits.
pub(super) fn place_of(row: usize, dimension: usize, dims: usize) -> (usize, u32) {
    let (group, step, within) = (row / GROUP, dimension / STEP, dimension % STEP);
    let place = group * (GROUP * dims / 2) + step * CHUNK + row % GROUP * (STEP / 2) + within % (STEP / 2);
    (place, if within < STEP / 2 { 0 } else { 4 })
}
