//! The tail: vectors of rows not yet in a segment, shared by the snapshots that see them.

use std::sync::Arc;

use super::exact::{Block, Rows};
use super::kernel::inverse_norm;
use crate::codec::to_u64;
use crate::error::{Error, Result};
use crate::metric::Metric;

/// Some rows of the tail; never changed once shared.
#[derive(Clone, Debug, Default)]
struct Chunk {
    rows: Vec<u64>,
    vectors: Vec<f32>,
    norms: Vec<f32>,
}

/// The tail as one snapshot sees it. A clone shares the chunks.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    dim: usize,
    metric: Metric,
    /// Larger before smaller, so that there are few: appending joins neighbours as a binary counter carries.
    chunks: Vec<Arc<Chunk>>,
}

impl Tail {
    /// No rows yet.
    pub(crate) fn new(dim: usize, metric: Metric) -> Self {
        Tail { dim, metric, chunks: Vec::new() }
    }

    /// The greatest row.
    pub(crate) fn last_row(&self) -> Option<u64> {
        self.chunks.last().and_then(|chunk| chunk.rows.last().copied())
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.rows.len()).sum()
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        to_u64(self.len()) * (4 * to_u64(self.dim) + 12)
    }

    /// Appends rows in ascending order, each with its vector; amortized, a row is copied a logarithm of times.
    pub(crate) fn append(&mut self, added: Vec<(u64, Vec<f32>)>) -> Result<()> {
        let mut chunk = Chunk::default();
        for (row, vector) in added {
            if vector.len() != self.dim {
                let what = format!("vector of row {row}");
                return Err(Error::Shape { what, expected: self.dim, found: vector.len() });
            }
            if self.metric == Metric::Cosine {
                chunk.norms.push(inverse_norm(&vector));
            }
            chunk.rows.push(row);
            chunk.vectors.extend_from_slice(&vector);
        }
        if chunk.rows.is_empty() {
            return Ok(());
        }
        while let Some(last) = self.chunks.pop_if(|last| last.rows.len() <= chunk.rows.len()) {
            let mut joined = Arc::unwrap_or_clone(last);
            joined.rows.append(&mut chunk.rows);
            joined.vectors.append(&mut chunk.vectors);
            joined.norms.append(&mut chunk.norms);
            chunk = joined;
        }
        self.chunks.push(Arc::new(chunk));
        Ok(())
    }

    /// Its rows as blocks for the exact search.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Result<Block<'_>>> {
        self.chunks.iter().map(|chunk| {
            let norms = (self.metric == Metric::Cosine).then_some(chunk.norms.as_slice());
            Block::new(&chunk.vectors, self.dim, norms, Rows::Listed(&chunk.rows))
        })
    }

    /// Calls `visit` with each row and its vector, in order.
    pub(crate) fn for_each(&self, visit: &mut dyn FnMut(u64, &[f32]) -> Result<()>) -> Result<()> {
        for chunk in &self.chunks {
            for (&row, vector) in chunk.rows.iter().zip(chunk.vectors.chunks_exact(self.dim)) {
                visit(row, vector)?;
            }
        }
        Ok(())
    }

    /// The vector of a row, if the tail has it.
    pub(crate) fn vector(&self, row: u64) -> Option<&[f32]> {
        self.chunks.iter().find_map(|chunk| {
            let at = chunk.rows.binary_search(&row).ok()?;
            chunk.vectors.get(at * self.dim..(at + 1) * self.dim)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_appends_make_few_chunks_and_older_views_stay() {
        let mut tail = Tail::new(2, Metric::Cosine);
        let mut old = None;
        for row in 0..1000_u16 {
            tail.append(vec![(u64::from(row), vec![f32::from(row), 1.0])]).unwrap();
            if row == 499 {
                old = Some(tail.clone());
            }
        }
        assert!(tail.chunks.len() <= 10);
        assert_eq!((tail.len(), tail.last_row()), (1000, Some(999)));
        assert_eq!(tail.vector(700), Some([700.0, 1.0].as_slice()));
        let old = old.unwrap();
        assert_eq!((old.len(), old.vector(700)), (500, None));
        assert!(tail.append(vec![(1000, vec![1.0])]).is_err());
    }
}
