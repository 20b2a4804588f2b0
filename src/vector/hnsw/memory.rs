//! How much anonymous memory building and searching an index takes, known before it is allocated.

use super::build::{PIECE_ROWS, encode_bytes};
use super::{Params, curve};
use crate::vector::sketch;
use crate::vector::topk::TopK;

/// What the structures of a graph take besides the arrays counted below: FAISS's tables, and locks.
const GRAPH_BYTES: usize = 128 << 10;
/// What a thread takes for its stack and its share of the allocator, as far as it touches them.
const THREAD_BYTES: usize = 256 << 10;
/// What a thread keeps for each value of a query, and of a row that is compared with others: numbers of the codes, and weights.
const QUERY_VALUE_BYTES: usize = 28;
/// The bytes of an entry of FAISS's queues, in a vector that may have doubled to twice what it needs.
const QUEUE_BYTES: usize = 2 * 8;

/// The most bytes that a build allocates at once. The codes are not among them: they are written to the file.
///
/// The number of links is drawn at random; this counts eight standard deviations more than their mean.
pub(crate) fn build_bytes(rows: usize, dim: usize, params: Params, threads: usize) -> usize {
    let m = usize::try_from(params.m).unwrap_or(0).max(2);
    let effort = usize::try_from(params.ef_construction).unwrap_or(0);
    // A row has a level more with the chance 1 / m: the sum has the mean rows / (m - 1), the variance below twice that.
    let mean = rows / (m - 1);
    let links = m * (2 * rows + mean + 8 * (2 * mean).isqrt() + 64);
    let (levels, order, places) = (rows, 4 * rows, place_bytes(rows));
    // The ranges of the quantiser, and FAISS's copies of them.
    let trained = 3 * 4 * params.codes.trained(dim);
    // Vectors of a piece; or the queries of a group, padded, with what is kept for each.
    let piece =
        (PIECE_ROWS * 4 * dim).max(curve::GROUP * (4 * dim + 256 + 2048)).max(encode_bytes(params, dim));
    // A queue of candidates that may hold every neighbour of all that were followed, another of results, and links.
    let queues = QUEUE_BYTES * (effort * (2 * m + 1) + effort + 8 * m) + search_queue(512, 20);
    let sketches = TopK::bytes(curve::RESCORED_MAX) + sketch::scratch_bytes(dim);
    let thread = THREAD_BYTES + rows + piece + queues + sketches;
    let held_out = 32 * curve::sample(rows);
    let arrays = 4 * links + levels + order + places + trained + GRAPH_BYTES + held_out;
    arrays + threads * thread + sketch::build_bytes(rows, dim, threads)
}

/// The bytes that searches of an index take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SearchBytes {
    /// Kept from the first search on.
    pub(crate) graph: usize,
    /// For each search at a time, and then kept for the next.
    pub(crate) scratch: usize,
    /// For each search, while it goes on.
    pub(crate) queues: usize,
}

/// The bytes that searches of so many candidates take.
pub(crate) fn search_bytes(rows: usize, dim: usize, effort: usize, candidates: usize) -> SearchBytes {
    let (effort, candidates) = (effort.min(rows), candidates.min(rows));
    SearchBytes {
        graph: place_bytes(rows) + GRAPH_BYTES + 16 * dim,
        scratch: rows + QUERY_VALUE_BYTES * dim + (8 << 10),
        queues: search_queue(effort.max(candidates), candidates),
    }
}

/// Where the links of each row are: two bytes a row, and eight for each of some dozens.
fn place_bytes(rows: usize) -> usize {
    2 * (rows + 1) + 8 * (rows / 128 + 1)
}

/// The candidates, and the rows that are found: distance, row, and as [`super::index::Near`].
fn search_queue(effort: usize, candidates: usize) -> usize {
    8 * effort + (4 + 8 + 16) * candidates + (8 << 10)
}
