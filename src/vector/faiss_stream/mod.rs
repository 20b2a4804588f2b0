//! Speaks FAISS's own index file format, in safe Rust.
//!
//! FAISS itself neither writes nor parses these bytes in a program of ours: the writer is proved equal to FAISS's by
//! tests, and the reader trusts nothing. All numbers are little-endian and nothing is aligned.
//!
//! ```text
//! index header    4 name | 4 dim, i32 | 8 rows, i64 | 8 + 8 unused | 1 trained | 4 metric, i32      37 bytes
//! flat index      header "IxFI" (inner product), "IxF2" (L2) or "IxFl" (either)
//!                 | 8 values = rows * dim, u64 | values * 4, f32 row-major
//! id map          header "IxMp", or "IxM2" for one that also maps back | an index | 8 ids = rows, u64 | ids * 8, i64
//! graph           header "IHNf" (over a flat index) or "IHNs" (over a scalar quantiser)
//!                 | chances f64, widths i32, levels i32, offsets u64, links i32: each 8 count, then values
//!                 | entry point, highest level, ef construction, ef search, 1: i32 each | an index
//! quantiser       header "IxSQ" | kind, range rule: i32 | f32 | 8 dim | 8 bytes of a code | 8 count, ranges f32
//!                 | 8 bytes | codes
//! lists           header "IwFl" | 8 lists | 8 probes | a flat index of centres | 1 kind, 8 count, direct map
//!                 | "ilar" | 8 lists | 8 bytes of a vector | "full" or "sprs" | 8 count, sizes u64
//!                 | for each list that is not empty: vectors, ids i64
//! ```
//!
//! Source: FAISS 1.12 `impl/index_write.cpp`, `write_index`, and `impl/index_read.cpp`, `read_index`; files of
//! faiss-cpu 1.15.1 are the same.

mod fields;
mod graph;
mod kinds;
mod read;
#[cfg(test)]
pub(super) mod tests;
mod write;

pub(crate) use graph::{Quantised, write_codes, write_graph};
pub(crate) use read::FlatReader;
pub(crate) use write::{FlatWriter, Scaling};

use crate::metric::Metric;

/// Bytes of an index header.
const HEADER_BYTES: u64 = 37;
/// Bytes of the count before an array.
const COUNT_BYTES: u64 = 8;
/// Bytes of a value of a vector.
const VALUE_BYTES: u64 = 4;
/// Bytes of an id.
const ID_BYTES: u64 = 8;
/// What FAISS writes in the two unused fields of a header.
const UNUSED: i64 = 1 << 20;
/// The most bytes of vectors or ids held in memory at once, unless one vector is longer.
const CHUNK_BYTES: usize = 64 << 10;

/// What a stream with flat vectors holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlatHeader {
    /// How FAISS compares the vectors.
    pub(crate) metric: StreamMetric,
    /// Values of a vector, in `[1, DIM_MAX]`.
    pub(crate) dim: usize,
    /// Number of vectors.
    pub(crate) rows: u64,
    /// How vectors are named.
    pub(crate) naming: Naming,
}

/// How the vectors of a stream are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// By their position, from 0.
    Position,
    /// By one 64-bit id each, after the vectors: FAISS's `IndexIDMap`.
    Ids,
}

/// The metrics of FAISS that have one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamMetric {
    /// `METRIC_INNER_PRODUCT`. Of unit vectors it is the cosine.
    InnerProduct,
    /// `METRIC_L2`: the squared distance.
    L2,
}

impl StreamMetric {
    const ALL: [StreamMetric; 2] = [StreamMetric::InnerProduct, StreamMetric::L2];

    /// FAISS's number for it.
    fn number(self) -> i32 {
        match self {
            StreamMetric::InnerProduct => 0,
            StreamMetric::L2 => 1,
        }
    }

    /// The name of a flat index with it.
    fn flat_name(self) -> [u8; 4] {
        match self {
            StreamMetric::InnerProduct => *b"IxFI",
            StreamMetric::L2 => *b"IxF2",
        }
    }
}

impl From<Metric> for StreamMetric {
    /// The metric under which FAISS orders results as `metric` does; [`Metric::Cosine`] needs [`Scaling::Unit`] too.
    fn from(metric: Metric) -> Self {
        match metric {
            Metric::Cosine | Metric::InnerProduct => StreamMetric::InnerProduct,
            Metric::L2 => StreamMetric::L2,
        }
    }
}

impl FlatHeader {
    /// The exact size of the stream in bytes, or `None` if it passes `u64`.
    pub(crate) fn stream_bytes(&self) -> Option<u64> {
        let vectors = self.rows.checked_mul(widen(self.dim))?.checked_mul(VALUE_BYTES)?;
        let flat = vectors.checked_add(HEADER_BYTES + COUNT_BYTES)?;
        match self.naming {
            Naming::Position => Some(flat),
            Naming::Ids => {
                let ids = self.rows.checked_mul(ID_BYTES)?;
                flat.checked_add(ids)?.checked_add(HEADER_BYTES + COUNT_BYTES)
            }
        }
    }
}

/// Widens a size: no target of Rust has more than 64 bits.
fn widen(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// The smaller of the two, which is a `usize` as `count` is one.
fn at_most(count: usize, left: u64) -> usize {
    usize::try_from(left).map_or(count, |left| left.min(count))
}
