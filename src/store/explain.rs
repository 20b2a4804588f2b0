//! How a search was done: what it looked at, and how long that took.

use std::time::Duration;

use super::hit::Hit;
use super::query::Mode;
use crate::fusion::Fusion;

/// The result of [`super::Snapshot::explain`] and [`super::Together::explain`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explained {
    /// The documents that were found, best first.
    pub hits: Vec<Hit>,
    /// Of each hit the place of its store among those that were searched: 0 unless there were several.
    pub sources: Vec<usize>,
    /// How.
    pub plan: Plan,
}

/// How a search was done. All numbers are zero when there was nothing to search.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// What documents were compared by; never [`Mode::Auto`].
    pub mode: Mode,
    /// The way through the vectors: `exact`, `hnsw` where every segment was searched by its graph, `codes` where the codes
    /// of every segment were scanned, else `mixed`; `none` where no vectors were searched. The tail is always scanned.
    pub path: &'static str,
    /// The segments whose vectors were searched, beside the tail.
    pub segments: usize,
    /// How the documents that the filter allows were found: `none` without a filter, `index`, `index and documents` where some had to
    /// be read, `documents` where all had to be.
    pub filter_path: &'static str,
    /// The rows that the filter and the query text allow; without either all that are not dead.
    pub allowed: u64,
    /// The vectors and codes that were compared with the query, in scans and in graphs, those not allowed included.
    pub candidates: u64,
    /// The vectors that indexes gave and that were scored again, exactly.
    pub rescored: u64,
    /// The part of the true best that is found, on average: 1 when search is exact.
    pub recall_promised: f64,
    /// The terms that were searched for; a prefix with its star.
    pub terms: Vec<String>,
    /// What the vectors gave, if they were searched.
    pub vector: Option<Side>,
    /// What the words gave, if they were searched.
    pub text: Option<Side>,
    /// How both became one ranking.
    pub fusion: Fusion,
    /// How much each of both counted, if they did.
    pub weighing: Option<Weighing>,
    /// To get the vector to search for, and to understand the text.
    pub target_time: Duration,
    /// To evaluate the filter.
    pub filter_time: Duration,
    /// To choose the ways through segments with an index, and to search graphs.
    pub graph_time: Duration,
    /// To scan codes, or sketches.
    pub codes_time: Duration,
    /// To score again, exactly, what indexes gave.
    pub rescore_time: Duration,
    /// To scan vectors.
    pub scan_time: Duration,
    /// To search words.
    pub text_time: Duration,
    /// To choose among the documents that were found, and to read them.
    pub fetch_time: Duration,
    /// What is wrong with indexes that were therefore not used, and what else was not done as it might be expected.
    pub notes: Vec<String>,
}

/// What the vectors or the words gave.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Side {
    /// The documents that were found and taken into account.
    pub found: usize,
    /// The score that counts as 1 in a weighted sum: the best.
    pub best: f32,
    /// The score that counts as 0: the hundredth, or the last.
    pub least: f32,
}

/// How much words count beside vectors.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Weighing {
    /// The part of words, in `[0, 1]`.
    pub text_weight: f64,
    /// Why.
    pub reason: String,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            mode: Mode::Vector,
            path: "exact",
            segments: 0,
            filter_path: "none",
            allowed: 0,
            candidates: 0,
            rescored: 0,
            recall_promised: 1.0,
            terms: Vec::new(),
            vector: None,
            text: None,
            fusion: Fusion::default(),
            weighing: None,
            target_time: Duration::ZERO,
            filter_time: Duration::ZERO,
            graph_time: Duration::ZERO,
            codes_time: Duration::ZERO,
            rescore_time: Duration::ZERO,
            scan_time: Duration::ZERO,
            text_time: Duration::ZERO,
            fetch_time: Duration::ZERO,
            notes: Vec::new(),
        }
    }
}
