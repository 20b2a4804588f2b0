//! The tail: vectors of rows not yet in a segment, shared by the snapshots that see them.

use std::sync::Arc;

use super::ask::{Ask, Held};
use super::exact::Block;
use super::kernel::inverse_norm;
use super::outline::{Drawing, Outlined};
use super::rows::Rows;
use crate::codec::to_u64;
use crate::error::{Error, Result};
use crate::metric::Metric;

/// The bytes of vectors of a chunk, unless more were added at once: as much as may be copied for a search, and as is new to it.
const CHUNK_BYTES: usize = 256 << 10;

/// Some rows of the tail; never changed once shared.
#[derive(Debug)]
struct Chunk {
    rows: Vec<u64>,
    vectors: Vec<f32>,
    norms: Vec<f32>,
    outline: Drawing,
    _held: Held,
}

impl Chunk {
    /// Room for exactly so many rows.
    fn new(rows: usize, dim: usize, ask: Ask<'_>) -> Result<Self> {
        let held = ask(to_u64(rows) * row_bytes(dim))?;
        let (vectors, norms) = (Vec::with_capacity(rows * dim), Vec::with_capacity(rows));
        let outline = Drawing::default();
        Ok(Chunk { rows: Vec::with_capacity(rows), vectors, norms, outline, _held: held })
    }

    fn block(&self, dim: usize, metric: Metric) -> Result<Block<'_>> {
        let norms = (metric == Metric::Cosine).then_some(self.norms.as_slice());
        Block::new(&self.vectors, dim, norms, Rows::Listed(&self.rows))
    }
}

/// The memory of a row.
fn row_bytes(dim: usize) -> u64 {
    4 * to_u64(dim) + 12
}

/// The tail as one snapshot sees it. A clone shares the chunks.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    dim: usize,
    metric: Metric,
    /// Full ones, then larger before smaller, so that there are few: appending joins neighbours as a binary counter carries.
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
        to_u64(self.len()) * row_bytes(self.dim)
    }

    /// Appends rows in ascending order, each with its vector; amortized, a row is copied a logarithm of times. Where rows before have
    /// outlines, so have these, if `ask_outline` grants their memory.
    ///
    /// # Errors
    /// `Shape` for a vector of another dimension; what `ask` returned.
    pub(crate) fn append(
        &mut self,
        added: &[(u64, Vec<f32>)],
        ask: Ask<'_>,
        ask_outline: Ask<'_>,
    ) -> Result<()> {
        for (row, vector) in added {
            if vector.len() != self.dim {
                let what = format!("vector of row {row}");
                return Err(Error::Shape { what, expected: self.dim, found: vector.len() });
            }
        }
        if added.is_empty() {
            return Ok(());
        }
        let (mut rows, mut kept) = (added.len(), self.chunks.len());
        let rows_max = CHUNK_BYTES / (4 * self.dim);
        let fits = |last: usize, rows: usize| last <= rows && last + rows <= rows_max;
        while let Some(last) = self.chunks[..kept].last().filter(|last| fits(last.rows.len(), rows)) {
            (rows, kept) = (rows + last.rows.len(), kept - 1);
        }
        let mut chunk = Chunk::new(rows, self.dim, ask)?;
        let is_outlined = self.chunks.iter().any(|chunk| chunk.outline.get().is_some());
        let joined: Vec<_> = self.chunks.drain(kept..).collect();
        for joined in &joined {
            chunk.rows.extend_from_slice(&joined.rows);
            chunk.vectors.extend_from_slice(&joined.vectors);
            chunk.norms.extend_from_slice(&joined.norms);
        }
        for (row, vector) in added {
            if self.metric == Metric::Cosine {
                chunk.norms.push(inverse_norm(vector));
            }
            chunk.rows.push(*row);
            chunk.vectors.extend_from_slice(vector);
        }
        if is_outlined {
            let known: Vec<_> = joined.iter().map_while(|joined| joined.outline.get()).collect();
            chunk.outline.draw(&chunk.block(self.dim, self.metric)?, self.metric, &known, ask_outline);
        }
        self.chunks.push(Arc::new(chunk));
        Ok(())
    }

    /// Its rows as blocks for the exact search, with outlines where that is likely to be worth it; `ask` grants their memory.
    pub(crate) fn blocks<'a>(&'a self, ask: Ask<'a>) -> impl Iterator<Item = Result<Outlined<'a>>> {
        self.chunks.iter().map(move |chunk| {
            Ok(chunk.outline.outlined(chunk.block(self.dim, self.metric)?, self.metric, ask))
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
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const GRANTED: Ask<'static> = &|_| Ok(Box::new(()));

    #[test]
    fn many_small_appends_make_few_chunks_and_older_views_stay() {
        let mut tail = Tail::new(2, Metric::Cosine);
        let mut old = None;
        for row in 0..1000_u16 {
            tail.append(&[(u64::from(row), vec![f32::from(row), 1.0])], GRANTED, GRANTED).unwrap();
            if row == 499 {
                old = Some(tail.clone());
            }
        }
        assert!(tail.chunks.len() <= 10);
        assert_eq!((tail.len(), tail.last_row()), (1000, Some(999)));
        assert_eq!(tail.vector(700), Some([700.0, 1.0].as_slice()));
        let old = old.unwrap();
        assert_eq!((old.len(), old.vector(700)), (500, None));
        assert!(tail.append(&[(1000, vec![1.0])], GRANTED, GRANTED).is_err());
    }

    struct Part(Arc<AtomicU64>, u64);

    impl Drop for Part {
        fn drop(&mut self) {
            self.0.fetch_sub(self.1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_asked_for_is_what_is_allocated_and_goes_with_the_chunks() {
        let held = Arc::new(AtomicU64::new(0));
        let ask = |bytes| -> Result<Held> {
            held.fetch_add(bytes, Ordering::Relaxed);
            Ok(Box::new(Part(Arc::clone(&held), bytes)))
        };
        let mut tail = Tail::new(3, Metric::Cosine);
        for row in 0..100_u16 {
            tail.append(&[(u64::from(row), vec![1.0, 2.0, f32::from(row)])], &ask, GRANTED).unwrap();
            let allocated = |chunk: &Arc<Chunk>| {
                8 * chunk.rows.capacity() + 4 * (chunk.vectors.capacity() + chunk.norms.capacity())
            };
            assert_eq!(held.load(Ordering::Relaxed), to_u64(tail.chunks.iter().map(allocated).sum()));
        }
        drop(tail);
        assert_eq!(held.load(Ordering::Relaxed), 0);
        let refused = |_| Err(Error::Memory { what: "the tail".into(), needs: 24, left: 0 });
        assert!(Tail::new(3, Metric::L2).append(&[(1, vec![0.0; 3])], &refused, GRANTED).is_err());
    }

    #[test]
    fn new_rows_have_outlines_where_those_before_have() {
        let row = |row: u16| (u64::from(row), vec![f32::from(row).sin(), f32::from(row).cos(), 1.0]);
        let drawn = |tail: &Tail| -> Vec<_> {
            tail.chunks
                .iter()
                .map(|chunk| chunk.outline.get().map(|outline| format!("{outline:?}")))
                .collect()
        };
        let mut tail = Tail::new(3, Metric::L2);
        tail.append(&(0..100).map(row).collect::<Vec<_>>(), GRANTED, GRANTED).unwrap();
        assert_eq!(drawn(&tail), [None], "nobody has scanned it");
        for _ in 0..2 {
            assert!(tail.blocks(GRANTED).all(|block| block.is_ok()));
        }
        let refused = |bytes| Err(Error::Memory { what: "an outline".into(), needs: bytes, left: 0 });
        let mut without = tail.clone();
        without.append(&(100..200).map(row).collect::<Vec<_>>(), GRANTED, &refused).unwrap();
        assert_eq!(drawn(&without), [None], "there is no memory for it");
        // A few rows join those before, and many; each time all have the outline that would be drawn of them at once.
        let mut from = 100;
        for rows in [100, 40, 7, 200] {
            tail.append(&(from..from + rows).map(row).collect::<Vec<_>>(), GRANTED, GRANTED).unwrap();
            from += rows;
            let mut at_once = Tail::new(3, Metric::L2);
            for chunk in &tail.chunks {
                let rows = chunk.rows.iter().copied().zip(chunk.vectors.chunks(3).map(<[f32]>::to_vec));
                let rows: Vec<_> = rows.collect();
                let mut one = Tail::new(3, Metric::L2);
                one.append(&rows, GRANTED, GRANTED).unwrap();
                for _ in 0..2 {
                    assert!(one.blocks(GRANTED).all(|block| block.is_ok()));
                }
                at_once.chunks.extend(one.chunks);
            }
            assert_eq!(drawn(&tail), drawn(&at_once), "{rows} more");
        }
        assert_eq!(tail.len(), usize::from(from));
    }
}
