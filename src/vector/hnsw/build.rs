//! Builds an index: codes first, then the graph over them, row by row, in memory of the exact size.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::MmapMut;

use super::sections::{Sections, Shape, Writable};
use super::{Params, curve, pieces};
use crate::codec::to_u64;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::storage::Bytes;
use crate::vector::exact::{Block, INVERSE_NORMS};
use crate::vector::faiss::{self, GraphBuilder};
use crate::vector::kernel;

/// The rows that a thread encodes or links at a time; between two such pieces it can be stopped.
pub(super) const PIECE_ROWS: usize = 16;

/// Called now and then with the number of rows that are done, from any of the threads; an error stops the build.
pub(crate) type Step<'a> = &'a (dyn Fn(u64) -> Result<()> + Sync);

/// Builds the index of a block, as one blob.
///
/// Under cosine it is made of unit vectors. With one thread the graph is the one that FAISS builds with one thread; with
/// more it depends on their turns. Some rows are held out until the others are linked, to measure recall with.
/// Memory: [`super::build_bytes`], all of it anonymous. Cost: some 3,000 rows of 384 values a second and thread.
/// # Errors
/// `Invalid` for parameters out of range; `Unavailable` when memory is short; what `step` returned.
pub(crate) fn build(
    block: &Block<'_>,
    metric: Metric,
    params: Params,
    threads: NonZero<usize>,
    step: Step<'_>,
) -> Result<Bytes> {
    faiss::ready()?;
    let rows = block.len();
    let mut shape = Shape {
        codes: params.codes,
        metric,
        dim: block.dim(),
        rows,
        m: params.m,
        ef_construction: params.ef_construction,
        entry_point: if rows == 0 { -1 } else { 0 },
        max_level: if rows == 0 { -1 } else { 0 },
    };
    shape.check().map_err(|reason| Error::invalid("index", reason))?;
    let (mut levels, mut order) = (zeros::<u8>(rows)?, zeros::<i32>(rows)?);
    faiss::hnsw_plan(params.m, &mut levels, &mut order)?;
    if let Some(&first) = order.first() {
        shape.entry_point = first;
        shape.max_level = levels.iter().max().map_or(-1, |&most| i32::from(most) - 1);
    }
    let sections = Sections::plan(shape, &levels)?;
    let mut map = anonymous(sections.len())?;
    let mut parts = sections.write(&mut map)?;
    parts.levels.copy_from_slice(&levels);
    drop(levels);
    let work = Work { block, metric, threads, step, done: AtomicU64::new(0) };
    work.fill(sections.shape(), &mut parts, &order)?;
    map.make_read_only().map(Bytes::Mapped).map_err(|error| no_memory(sections.len(), &error))
}

/// So many zeros, in no more memory than they take.
fn zeros<T: Clone + Default>(count: usize) -> Result<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(count).map_err(|error| no_memory(count * size_of::<T>(), &error))?;
    all.resize(count, T::default());
    Ok(all)
}

/// Zero bytes that go back to the system when they are dropped.
fn anonymous(bytes: usize) -> Result<MmapMut> {
    MmapMut::map_anon(bytes).map_err(|error| no_memory(bytes, &error))
}

fn no_memory(bytes: usize, cause: &dyn std::fmt::Display) -> Error {
    let reason = format!("{bytes} bytes of memory cannot be had: {cause}");
    Error::Unavailable { feature: "building an index", reason }
}

struct Work<'a> {
    block: &'a Block<'a>,
    metric: Metric,
    threads: NonZero<usize>,
    step: Step<'a>,
    done: AtomicU64,
}

impl Work<'_> {
    /// Fills the sections; `order` is that in which rows are linked.
    fn fill(&self, shape: &Shape, parts: &mut Writable<'_>, order: &[i32]) -> Result<()> {
        parts.links.fill(-1);
        self.train(parts.ranges);
        self.encode(shape, parts.ranges, parts.codes)?;
        let Some((_, rest)) = order.split_first() else { return Ok(()) };
        let mut graph = GraphBuilder::new(shape, parts.levels, parts.ranges, parts.links, parts.codes)?;
        // The last of the order are rows of the lowest level, shuffled: a fair sample that costs nothing.
        let (linked, held_out) = rest.split_at(rest.len() - curve::sample(order.len()));
        self.link(&graph, linked)?;
        let measured = curve::measure(
            &curve::Measure { block: self.block, metric: self.metric, codes: shape.codes, held_out },
            graph.searcher(),
            self.threads,
            &|| (self.step)(self.done.load(Ordering::Relaxed)),
        )?;
        measured.encode(parts.curve);
        self.link(&graph, held_out)
    }

    /// Writes the vector at a position as the index has it.
    fn vector(&self, position: usize, out: &mut [f32]) {
        let vector = self.block.vector(position);
        if self.metric != Metric::Cosine {
            out.copy_from_slice(vector);
            return;
        }
        let inverse = self.block.inverse_norm(position);
        if INVERSE_NORMS.contains(&inverse) {
            for (to, from) in out.iter_mut().zip(vector) {
                *to = from * inverse;
            }
            return;
        }
        let norm = kernel::norm(vector);
        for (to, from) in out.iter_mut().zip(vector) {
            *to = if norm == 0.0 { 0.0 } else { kernel::narrow(f64::from(*from) / norm) };
        }
    }

    /// Finds the range of values of each dimension: least values, then widths. Empty `ranges` ask for none.
    ///
    /// Source: FAISS `train_NonUniform`, `RS_minmax`.
    fn train(&self, ranges: &mut [f32]) {
        let (least, most) = ranges.split_at_mut(ranges.len() / 2);
        if least.is_empty() || self.block.len() == 0 {
            return;
        }
        let mut vector = vec![0.0; self.block.dim()];
        for position in 0..self.block.len() {
            self.vector(position, &mut vector);
            if position == 0 {
                least.copy_from_slice(&vector);
                most.copy_from_slice(&vector);
            }
            for ((least, most), &value) in least.iter_mut().zip(most.iter_mut()).zip(&vector) {
                *least = if value < *least { value } else { *least };
                *most = if value > *most { value } else { *most };
            }
        }
        for (least, most) in least.iter().zip(most) {
            *most -= least;
        }
    }

    fn encode(&self, shape: &Shape, ranges: &[f32], codes: &mut [u8]) -> Result<()> {
        let (dim, bytes) = (shape.dim, shape.codes.bytes(shape.dim));
        let pieces = shape.rows.div_ceil(PIECE_ROWS);
        let parts = Mutex::new(codes.chunks_mut(PIECE_ROWS * bytes).enumerate());
        pieces::for_each(pieces, self.threads, &|_| {
            let next = parts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
            let Some((piece, codes)) = next else { return Ok(()) };
            let mut vectors = vec![0.0; codes.len() / bytes * dim];
            for (row, vector) in vectors.chunks_exact_mut(dim).enumerate() {
                self.vector(piece * PIECE_ROWS + row, vector);
            }
            if piece % 64 == 0 {
                (self.step)(0)?;
            }
            faiss::encode(shape.codes.number(), dim, ranges, &vectors, codes)
        })
    }

    /// Links rows that are not linked yet.
    fn link(&self, graph: &GraphBuilder<'_>, order: &[i32]) -> Result<()> {
        let dim = self.block.dim();
        pieces::for_each(order.len().div_ceil(PIECE_ROWS), self.threads, &|piece| {
            let end = order.len().min((piece + 1) * PIECE_ROWS);
            let rows = &order[piece * PIECE_ROWS..end];
            let mut vectors = vec![0.0; rows.len() * dim];
            for (&row, vector) in rows.iter().zip(vectors.chunks_exact_mut(dim)) {
                self.vector(usize::try_from(row).unwrap_or(usize::MAX), vector);
            }
            graph.add(rows, &vectors)?;
            let added = to_u64(rows.len());
            (self.step)(self.done.fetch_add(added, Ordering::Relaxed) + added)
        })
    }
}
