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
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The way through the vectors: `exact`.
    pub path: &'static str,
    /// The segments that were searched, beside the tail.
    pub segments: usize,
    /// The rows that the filter allows; without a filter all that are not dead.
    pub allowed: u64,
    /// The vectors that were looked through, those not allowed included.
    pub candidates: u64,
    /// The vectors that were scored a second time, with more digits.
    pub rescored: u64,
    /// The part of the true best that is certain to be found: 1 when search is exact.
    pub recall_promised: f64,
    /// To get the vector to search for.
    pub target_time: Duration,
    /// To evaluate the filter.
    pub filter_time: Duration,
    /// To score the vectors.
    pub scan_time: Duration,
    /// To read the documents that were found.
    pub fetch_time: Duration,
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
            scan_time: Duration::ZERO,
            fetch_time: Duration::ZERO,
        }
    }
}
