//! An index over vectors in memory, for benchmarks: not part of the interface, and free to change.

use std::num::NonZero;

use super::{Codes, Params, SearchBytes, Wanted, build, search_bytes};
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::storage::{Blob, BlobDraft, BlobWriter, Naming, OpenFile, Settings, memory_file};
use crate::vector::codes::{self, Width};
use crate::vector::exact::{Block, Query, Selection, scan, scan_positions};
use crate::vector::index::{Index, Recipe};
use crate::vector::kernel::inverse_norm;
use crate::vector::rows::Rows;
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
    /// Builds a graph over codes of the kind `f32`, `f16` or `sq8`, or codes to scan, `scan8` or `scan4`. `m24-e80-w1-sq8` is a
    /// graph whose rows have 24 links, chosen from 80 candidates, and went down to their levels with one row.
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
        let settings = Settings::default();
        let file = memory_file(settings)?;
        let place = match recipe(codes)? {
            Recipe::Graph(params) => {
                let open = |len| BlobDraft::new(&file.container, len, Naming::AfterSync);
                build(&block, metric, params, threads, open, &|_| Ok(()))?.finish()?
            }
            Recipe::Codes(width) => {
                let bytes = codes::blob_bytes(block.len(), dim, metric, width)?;
                let mut writer = BlobWriter::new(&file.container, bytes, Naming::AfterSync)?;
                codes::build(&block, metric, width, &|_| Ok(()), &mut |bytes| writer.write(bytes))?;
                writer.finish()?
            }
        };
        let index = Index::open(Blob::open(&file.container, place, "index")?.shared())?;
        Ok(Lab { dim, metric, vectors, norms, index, _file: file })
    }

    /// The rows of the best `k`, found by the index.
    ///
    /// # Errors
    /// As the search.
    pub fn search(&self, query: &[f32], k: usize, effort: usize) -> Result<Vec<u64>> {
        let (query, mut top) = (Query::new(self.metric, query)?, TopK::new(k));
        let mut positions = match &self.index {
            Index::Graph(graph) => {
                let wanted = Wanted { candidates: graph.shape().codes.candidates(k), effort };
                graph.near(&query, wanted)?.0.into_iter().map(|near| near.position).collect()
            }
            Index::Codes(codes) => {
                let one = NonZero::<usize>::MIN;
                codes.nearest(&query, Rows::From(0), &Selection::All, effort, one)?.positions
            }
        };
        // In the order of memory.
        positions.sort_unstable();
        scan_positions(&self.block()?, &query, positions.into_iter(), &|row| row, &mut top)?;
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
        match &self.index {
            Index::Graph(graph) => graph.bytes(),
            Index::Codes(codes) => codes.bytes(),
        }
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
    Ok(recipe(codes)?.build_bytes(rows, dim, threads))
}

/// The memory of searches, in bytes: what is kept from the first on, and what each at a time adds.
pub fn memory_to_search(rows: usize, dim: usize, effort: usize, candidates: usize) -> (usize, usize) {
    let SearchBytes { graph, scratch, queues } = search_bytes(rows, dim, effort, candidates);
    (graph, scratch + queues)
}

/// What a name says: see [`Lab::build`].
fn recipe(name: &str) -> Result<Recipe> {
    let unknown =
        || Error::invalid("kind of index", format!("{name:?} is none of f32, f16, sq8, scan8, scan4"));
    let mut parts = name.rsplit('-');
    let mut params = match parts.next() {
        Some("scan8") => return Ok(Recipe::Codes(Width::Eight)),
        Some("scan4") => return Ok(Recipe::Codes(Width::Four)),
        Some("f32") => Params::new(Codes::F32),
        Some("f16") => Params::new(Codes::F16),
        Some("sq8") => Params::new(Codes::Sq8),
        _ => return Err(unknown()),
    };
    for part in parts {
        let (place, number) = part.split_at_checked(1).ok_or_else(unknown)?;
        let number = number.parse().map_err(|_| unknown())?;
        match place {
            "m" => params.m = number,
            "e" => params.ef_construction = number,
            "w" => params.ways = number,
            _ => return Err(unknown()),
        }
    }
    Ok(Recipe::Graph(params))
}

fn rows(top: TopK) -> Vec<u64> {
    top.into_sorted().into_iter().map(|Best { row, .. }| row).collect()
}
