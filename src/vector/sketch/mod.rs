//! Sketches: a few bits of each vector, which tell what rows are worth to be scored exactly.
//!
//! Most of what tells vectors apart lies in a subspace of few dimensions ([`basis`]). A sketch is the place of a vector there,
//! four bits a value: 24 to 48 bytes for 384 values of f32. A scan of sketches ([`scan`]) reads about as fast as memory gives,
//! whatever rows are wanted, so that a filtered search costs little more where what is near the query is not allowed.
//!
//! In terms of FAISS it is `PCAR64,SQ4`, with rows side by side in groups. Source: Halko, Martinsson and Tropp, "Finding
//! structure with randomness", arXiv 0909.4061, section 4.4 (a subspace found by iteration, from random directions).

mod basis;
mod encode;
mod mask;
mod nearest;
mod portable;
mod scan;
#[cfg(test)]
mod tests;

pub(crate) use basis::Basis;
pub(crate) use encode::encode;
pub(crate) use scan::{Sketches, scratch_bytes};

/// The rows of a group, whose sketches lie side by side: for each eight dimensions four bytes of each row, of which the lower
/// halves are the first four dimensions, the upper halves the others.
pub(crate) const GROUP: usize = 16;
/// The dimensions of a step, and the bytes that a group has of them.
const STEP: usize = 8;
const CHUNK: usize = GROUP * STEP / 2;
/// The rows that a word of a mask tells of. So many are there, if need be of zeros.
const WORD: usize = 64;
/// The greatest value of four bits.
const GREATEST: u8 = 15;
/// Of fewer rows there are no sketches: all of them are scored as soon.
const ROWS_MIN: usize = 1000;
/// The most dimensions.
const DIMS_MAX: usize = 128;

/// The most dimensions of sketches of so many vectors of `dim` values; none where vectors are few, or hardly longer than
/// sketches.
pub(crate) fn dims_max(rows: usize, dim: usize) -> usize {
    if rows < ROWS_MIN || dim < DIMS_MAX { 0 } else { (dim / 4 / 16 * 16).min(DIMS_MAX) }
}

/// The bytes of the sketches of so many rows.
pub(crate) fn bytes(rows: usize, dims: usize) -> usize {
    rows.div_ceil(WORD).saturating_mul(WORD * dims / 2)
}

/// The values that a basis has, as it is stored.
pub(crate) fn basis_values(dim: usize, dims: usize) -> usize {
    if dims == 0 { 0 } else { dims.saturating_mul(dim.saturating_add(1)) }
}

/// The most bytes that making sketches allocates.
pub(crate) fn build_bytes(rows: usize, dim: usize, threads: usize) -> usize {
    let dims = dims_max(rows, dim);
    if dims == 0 {
        return 0;
    }
    // The directions before and after a step, and turned; and each, padded, made ready to be summed with vectors.
    let directions = 4 * size_of::<f32>() * dims.saturating_mul(dim.next_multiple_of(64));
    directions.saturating_add(threads.saturating_mul(encode::thread_bytes(dim, dims)))
}
