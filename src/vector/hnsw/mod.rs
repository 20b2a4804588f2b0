//! Indexed search: graphs of nearest neighbours (HNSW) over codes of a segment's vectors.
//!
//! An index is one blob of aligned sections ([`sections`]), which FAISS's search reads where they lie. It holds codes of
//! the vectors, of unit length under cosine, and never the vectors: what a search of the graph finds is scored again,
//! exactly, from the vectors of the segment. Beside the codes are [sketches](super::sketch), for what the graph does not find.
//!
//! Source: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable
//! Small World graphs", arXiv 1603.09320; FAISS 1.12 `impl/HNSW.cpp`.

mod build;
mod curve;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
#[cfg(any(test, fuzzing))]
pub(crate) mod in_memory;
mod index;
#[doc(hidden)]
pub mod lab;
mod memory;

mod sections;
#[cfg(test)]
mod tests;

pub(crate) use build::build;
pub(crate) use curve::{Curve, PART_BYTES, Point, Sums, sample};
pub(crate) use index::{Index, Near, Wanted};
pub(crate) use memory::{SearchBytes, build_bytes, search_bytes};
pub(crate) use sections::{CURVE_BYTES, MAGIC, Sections, Shape};

/// How the vectors are kept in an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codes {
    /// As f32.
    F32,
    /// As f16, half the size; values beyond 65,504 are lost.
    F16,
    /// Eight bits each, a quarter of the size, over the range of values that each dimension has.
    Sq8,
}

impl Codes {
    /// Every kind.
    pub(crate) const ALL: [Codes; 3] = [Codes::F32, Codes::F16, Codes::Sq8];

    /// Its number in files and in the shim.
    pub(crate) fn number(self) -> i32 {
        match self {
            Codes::F32 => 0,
            Codes::F16 => 1,
            Codes::Sq8 => 2,
        }
    }

    /// The bytes of a vector of `dim` values.
    pub(crate) fn bytes(self, dim: usize) -> usize {
        match self {
            Codes::F32 => dim.saturating_mul(4),
            Codes::F16 => dim.saturating_mul(2),
            Codes::Sq8 => dim,
        }
    }

    /// The values that the quantiser learns for `dim` dimensions: their least values, then the widths of their ranges.
    pub(crate) fn trained(self, dim: usize) -> usize {
        if self == Codes::Sq8 { dim.saturating_mul(2) } else { 0 }
    }

    /// How many rows to score exactly for the best `k`: the coarser the codes, the more of the best are further down.
    pub(crate) fn candidates(self, k: usize) -> usize {
        match self {
            Codes::F32 => k,
            Codes::F16 => k.saturating_add(k.div_ceil(4)),
            Codes::Sq8 => k.saturating_add(k.div_ceil(2)),
        }
    }
}

/// What an index is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Params {
    /// How the vectors are kept.
    pub(crate) codes: Codes,
    /// The links of a row in each level above the lowest, which has twice as many; 2 to 256.
    pub(crate) m: i32,
    /// How many candidates are looked at for the links of a new row.
    pub(crate) ef_construction: i32,
    /// With how many rows a new row goes down to its level: with [`WAYS`], or with one as in FAISS.
    pub(crate) ways: i32,
}

/// With how many rows a search goes down to the lowest level, and a new row to its own.
///
/// With one alone it may end among rows that are near each other and far from it. A new row that does is linked to those, and no search
/// finds it among its neighbours.
pub(crate) const WAYS: i32 = 8;

impl Params {
    /// The usual index: 32 links, 40 candidates. One that was built with others keeps them.
    ///
    /// In the lowest level a row has room for more links than there are candidates, and so keeps all of them at first. Texts lie
    /// close together: chosen from as many candidates as in other libraries, links would be too few to find them.
    pub(crate) fn new(codes: Codes) -> Self {
        Params { codes, m: 32, ef_construction: 40, ways: WAYS }
    }
}
