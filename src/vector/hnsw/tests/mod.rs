//! Tests of indexed search against the exact search.

mod exchange;
mod hostile;
mod search;

use std::num::NonZero;

use memmap2::MmapMut;

use super::in_memory::build_in_memory;
use super::*;
use crate::error::Result;
use crate::metric::Metric;
use crate::storage::Bytes;
use crate::vector::exact::{Block, Query, Selection, scan, scan_positions};
use crate::vector::kernel::inverse_norm;
use crate::vector::rows::Rows;
use crate::vector::tests::numbers;
use crate::vector::topk::TopK;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::L2];

/// Vectors around some centres, with what a block needs.
struct Data {
    dim: usize,
    vectors: Vec<f32>,
    norms: Vec<f32>,
}

impl Data {
    fn new(dim: usize, vectors: Vec<f32>) -> Self {
        let norms = vectors.chunks_exact(dim).map(inverse_norm).collect();
        Data { dim, vectors, norms }
    }

    fn clustered(seed: u32, rows: usize, dim: usize) -> Self {
        Self::in_clusters(20, 0.4, seed, rows, dim)
    }

    fn in_clusters(clusters: usize, width: f32, seed: u32, rows: usize, dim: usize) -> Self {
        // The centres are the same for every seed, so that queries are near the rows.
        let centres = numbers(77, clusters * dim);
        let noise = numbers(seed, rows * dim);
        let row = |(n, noise): (usize, &[f32])| -> Vec<f32> {
            let centre = &centres[n * 7 % clusters * dim..][..dim];
            centre.iter().zip(noise).map(|(c, x)| c + width * x).collect()
        };
        Data::new(dim, noise.chunks_exact(dim).enumerate().flat_map(row).collect())
    }

    fn block(&self) -> Block<'_> {
        Block::new(&self.vectors, self.dim, Some(&self.norms), Rows::From(1000)).unwrap()
    }

    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.vectors.chunks_exact(self.dim)
    }

    fn build(&self, metric: Metric, params: Params, threads: usize) -> Result<Bytes> {
        let threads = NonZero::new(threads).unwrap();
        build_in_memory(&self.block(), metric, params, threads, &|_| Ok(()))
    }

    fn index(&self, metric: Metric, codes: Codes) -> Index {
        Index::open(self.build(metric, Params::new(codes), 1).unwrap()).unwrap()
    }

    /// The rows of the best `k`, found by the index.
    fn search(&self, index: &Index, query: &[f32], k: usize, effort: usize) -> Vec<u64> {
        let (query, mut top) = (Query::new(index.shape().metric, query).unwrap(), TopK::new(k));
        let wanted = Wanted { candidates: index.shape().codes.candidates(k), effort };
        let (near, _) = index.near(&query, wanted).unwrap();
        let positions = near.iter().map(|near| near.position);
        scan_positions(&self.block(), &query, positions, &|row| row, &mut top).unwrap();
        top.into_sorted().iter().map(|best| best.row).collect()
    }

    /// The rows of the best `k`.
    fn exact(&self, metric: Metric, query: &[f32], k: usize) -> Vec<u64> {
        let (query, mut top) = (Query::new(metric, query).unwrap(), TopK::new(k));
        scan(&self.block(), &query, &Selection::All, &|row| row, &mut top).unwrap();
        top.into_sorted().iter().map(|best| best.row).collect()
    }

    /// The part of the ten nearest of each query that the index finds.
    fn recall(&self, index: &Index, queries: &Data, effort: usize) -> f64 {
        let (mut found, mut wanted) = (0.0, 0.0);
        for query in queries.rows() {
            let exact = self.exact(index.shape().metric, query, 10);
            let near = self.search(index, query, 10, effort);
            wanted += f64::from(u32::try_from(exact.len()).unwrap());
            found += f64::from(u32::try_from(exact.iter().filter(|row| near.contains(row)).count()).unwrap());
        }
        found / wanted
    }
}

/// These bytes as a blob.
fn blob(bytes: &[u8]) -> Bytes {
    let mut map = MmapMut::map_anon(bytes.len().max(1)).unwrap();
    map[..bytes.len()].copy_from_slice(bytes);
    Bytes::Mapped(map.make_read_only().unwrap())
}
