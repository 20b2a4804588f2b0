//! An index over vectors in memory, for benchmarks: not part of the interface, and free to change.

use std::num::NonZero;

use super::{Codes, Index, Params, SearchBytes, Wanted, build, build_bytes, search_bytes};
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::storage::{Blob, BlobDraft, Naming, OpenFile, Sabotage, Settings, memory_file};
use crate::vector::exact::{Block, Query, Rows, Selection, scan, scan_positions};
use crate::vector::kernel::inverse_norm;
use crate::vector::topk::{Best, TopK};

/// Vectors and an index of them.
#[derive(Debug)]
pub struct Lab {
    dim: usize,
    metric: Metric,
    vectors: Vec<f32>,
    norms: Vec<f32>,
    index: Index,
    /// Where the index is: a file without a name, whose pages are not anonymous memory.
    _file: OpenFile,
}

impl Lab {
    /// Builds an index with 32 links over codes of the kind `f32`, `f16` or `sq8`.
    ///
    /// # Errors
    /// `Invalid` for another kind; as the build.
    pub fn build(
        vectors: Vec<f32>,
        dim: usize,
        metric: Metric,
        codes: &str,
        threads: NonZero<usize>,
    ) -> Result<Self> {
        let norms: Vec<f32> = vectors.chunks_exact(dim).map(inverse_norm).collect();
        let block = Block::new(&vectors, dim, Some(&norms), Rows::From(0))?;
        let settings = Settings { cache_bytes: 0, sync: false, sabotage: Sabotage::default() };
        let file = memory_file(settings)?;
        let open = |len| BlobDraft::new(&file.container, len, Naming::AfterSync);
        let draft = build(&block, metric, params(codes)?, threads, open, &|_| Ok(()))?;
        let blob = Blob::open(&file.container, draft.finish()?, "index")?;
        let index = Index::open(blob.into_bytes())?;
        Ok(Lab { dim, metric, vectors, norms, index, _file: file })
    }

    /// The rows of the best `k`, found by the index.
    ///
    /// # Errors
    /// As the search.
    pub fn search(&self, query: &[f32], k: usize, effort: usize) -> Result<Vec<u64>> {
        let (query, mut top) = (Query::new(self.metric, query)?, TopK::new(k));
        let wanted = Wanted { candidates: self.index.shape().codes.candidates(k), effort };
        let (mut near, _) = self.index.near(&query, wanted)?;
        // In the order of memory.
        near.sort_unstable_by_key(|near| near.position);
        let positions = near.iter().map(|near| near.position);
        scan_positions(&self.block()?, &query, positions, &|row| row, &mut top)?;
        Ok(rows(top))
    }

    /// The rows of the best `k`.
    ///
    /// # Errors
    /// As the search.
    pub fn exact(&self, query: &[f32], k: usize) -> Result<Vec<u64>> {
        let mut top = TopK::new(k);
        scan(&self.block()?, &Query::new(self.metric, query)?, &Selection::All, &|row| row, &mut top)?;
        Ok(rows(top))
    }

    /// Efforts with the recall that was measured at each when the index was built.
    pub fn curve(&self) -> Vec<(u32, f32)> {
        self.index.curve().points.iter().map(|point| (point.effort, point.recall)).collect()
    }

    /// The effort for a recall.
    pub fn effort_for(&self, recall: f32) -> Option<usize> {
        self.index.curve().effort_for(recall)
    }

    /// The length of the index.
    pub fn blob_bytes(&self) -> usize {
        self.index.bytes()
    }

    fn block(&self) -> Result<Block<'_>> {
        Block::new(&self.vectors, self.dim, Some(&self.norms), Rows::From(0))
    }
}

/// The most memory that a build takes, in bytes.
///
/// # Errors
/// `Invalid` for an unknown kind of codes.
pub fn memory_to_build(rows: usize, dim: usize, codes: &str, threads: usize) -> Result<usize> {
    Ok(build_bytes(rows, dim, params(codes)?, threads))
}

/// The memory of searches, in bytes: what is kept from the first on, and what each at a time adds.
pub fn memory_to_search(rows: usize, dim: usize, effort: usize, candidates: usize) -> (usize, usize) {
    let SearchBytes { graph, scratch, queues } = search_bytes(rows, dim, effort, candidates);
    (graph, scratch + queues)
}

fn params(codes: &str) -> Result<Params> {
    let known = [("f32", Codes::F32), ("f16", Codes::F16), ("sq8", Codes::Sq8)];
    let found = known.into_iter().find(|(name, _)| *name == codes);
    found
        .map(|(_, codes)| Params::new(codes))
        .ok_or_else(|| Error::invalid("kind of codes", format!("{codes:?} is none of f32, f16, sq8")))
}

fn rows(top: TopK) -> Vec<u64> {
    top.into_sorted().into_iter().map(|Best { row, .. }| row).collect()
}
