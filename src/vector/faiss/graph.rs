//! What calls of a graph of FAISS give and take, apart from the calls.

use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr;

use crate::error::{Error, Result};
use crate::storage::process;
use crate::vector::hnsw::{Shape, WAYS};

/// What a search of a graph finds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::vector) struct Nearest {
    /// Squared L2 or minus the inner product, ascending.
    pub(in crate::vector) distances: Vec<f32>,
    /// The row of each, -1 past the last.
    pub(in crate::vector) rows: Vec<i64>,
    /// How many distances were computed.
    pub(in crate::vector) computed: u64,
}

impl Nearest {
    /// Room for `k` rows, and in it what another search has found, as far as there is room: how many rows.
    pub(super) fn begin(k: usize, above: Option<&Nearest>) -> (Self, usize) {
        let mut new = Nearest { distances: vec![0.0; k], rows: vec![-1; k], computed: 0 };
        let above = above.into_iter().flat_map(Nearest::found);
        let given = above.zip(new.rows.iter_mut().zip(&mut new.distances));
        let starts = given.map(|((row, distance), to)| (*to.0, *to.1) = (row, distance)).count();
        (new, starts)
    }

    /// The rows that were found, with their distances.
    pub(in crate::vector) fn found(&self) -> impl Iterator<Item = (i64, f32)> {
        self.rows.iter().copied().zip(self.distances.iter().copied()).take_while(|&(row, _)| row >= 0)
    }
}

/// The process that opened something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opener(u32);

impl Opener {
    /// This process.
    pub(super) fn this() -> Self {
        Opener(process())
    }

    /// Refuses a forked child: it has one thread, and a lock that another held when it was made is held for ever.
    pub(super) fn check(self) -> Result<()> {
        if process() == self.0 {
            return Ok(());
        }
        Err(Error::Unavailable {
            feature: "an index opened before fork",
            reason: "this process is a child of the one that opened it; open the store again".into(),
        })
    }
}

/// The C type `vdb_hnsw_parts`.
#[repr(C)]
pub(super) struct Parts {
    pub(super) kind: i32,
    pub(super) metric: i32,
    pub(super) dim: usize,
    pub(super) m: i32,
    pub(super) ef_construction: i32,
    pub(super) ways: i32,
    pub(super) entry_point: i32,
    pub(super) max_level: i32,
    pub(super) levels: *const u8,
    pub(super) levels_len: usize,
    pub(super) links: *mut i32,
    pub(super) links_len: usize,
    pub(super) trained: *const f32,
    pub(super) trained_len: usize,
    pub(super) codes: *const u8,
    pub(super) codes_len: usize,
}

pub(super) fn parts(shape: &Shape, levels: &[u8], trained: &[f32], codes: &[u8]) -> Parts {
    Parts {
        kind: shape.codes.number(),
        metric: shape.faiss_metric(),
        dim: shape.dim,
        m: shape.m,
        ef_construction: shape.ef_construction,
        ways: WAYS,
        entry_point: shape.entry_point,
        max_level: shape.max_level,
        levels: levels.as_ptr(),
        levels_len: levels.len(),
        links: ptr::null_mut(),
        links_len: 0,
        trained: trained.as_ptr(),
        trained_len: trained.len(),
        codes: codes.as_ptr(),
        codes_len: codes.len(),
    }
}

/// The C type `vdb_sketches`, made of slices that it borrows.
#[repr(C)]
#[derive(Debug)]
pub(in crate::vector) struct SketchParts<'a> {
    way: c_int,
    dims: usize,
    weights: *const i8,
    weights_len: usize,
    unit: f32,
    biases: *const f32,
    biases_len: usize,
    codes: *const u8,
    codes_len: usize,
    mask: *const u64,
    mask_len: usize,
    slices: PhantomData<&'a [u8]>,
}

impl<'a> SketchParts<'a> {
    /// Names a way to scan and the parts: a weight for each dimension, what a sum of weighted codes counts, what is taken from it for each row, or
    /// nothing, the codes, and the rows that are wanted.
    pub(in crate::vector) fn new(
        way: c_int,
        weights: &'a [i8],
        unit: f32,
        biases: &'a [f32],
        codes: &'a [u8],
        mask: &'a [u64],
    ) -> Self {
        SketchParts {
            way,
            dims: weights.len(),
            weights: weights.as_ptr(),
            weights_len: weights.len(),
            unit,
            biases: biases.as_ptr(),
            biases_len: biases.len(),
            codes: codes.as_ptr(),
            codes_len: codes.len(),
            mask: mask.as_ptr(),
            mask_len: mask.len(),
            slices: PhantomData,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_of_fork_is_refused_with_a_reason() {
        assert!(Opener::this().check().is_ok());
        let error = Opener(process() + 1).check().unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    }
}
