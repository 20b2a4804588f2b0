//! How a search was done: what it looked at, and how long that took.

use std::time::Duration;

use super::search::Hit;

/// The result of [`super::Snapshot::explain`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explained {
    /// The documents that were found, best first.
    pub hits: Vec<Hit>,
    /// How.
    pub plan: Plan,
}

/// How a search was done. All numbers are zero when there was nothing to search.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The way through the vectors: `exact`, `hnsw` where every segment was searched by its graph, `codes` where the codes
    /// of every segment were scanned, else `mixed`. The tail is always scanned.
    pub path: &'static str,
    /// The segments that were searched, beside the tail.
    pub segments: usize,
    /// The rows that the filter allows; without a filter all that are not dead.
    pub allowed: u64,
    /// The vectors and codes that were compared with the query, in scans and in graphs, those not allowed included.
    pub candidates: u64,
    /// The vectors that indexes gave and that were scored again, exactly.
    pub rescored: u64,
    /// The part of the true best that is found, on average: 1 when search is exact.
    pub recall_promised: f64,
    /// To get the vector to search for.
    pub target_time: Duration,
    /// To evaluate the filter.
    pub filter_time: Duration,
    /// To search graphs, and to score what indexes gave.
    pub graph_time: Duration,
    /// To scan codes.
    pub codes_time: Duration,
    /// To scan vectors.
    pub scan_time: Duration,
    /// To read the documents that were found.
    pub fetch_time: Duration,
    /// What is wrong with indexes that were therefore not used.
    pub notes: Vec<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            path: "exact",
            segments: 0,
            allowed: 0,
            candidates: 0,
            rescored: 0,
            recall_promised: 1.0,
            target_time: Duration::ZERO,
            filter_time: Duration::ZERO,
            graph_time: Duration::ZERO,
            codes_time: Duration::ZERO,
            scan_time: Duration::ZERO,
            fetch_time: Duration::ZERO,
            notes: Vec::new(),
        }
    }
}
