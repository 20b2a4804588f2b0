//! Builds an index: codes first, into the file, then the graph over them, row by row, in memory of the exact size.

use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::sections::{CURVE_BYTES, Content, Sections, Shape, basis_section};
use super::{Params, curve};
use crate::codec::{to_u64, to_usize};
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::storage::{BlobDraft, Bytes, PAGE_BYTES};
use crate::vector::exact::Block;
use crate::vector::faiss::{self, GraphBuilder};
use crate::vector::pieces;
use crate::vector::sketch::{self, Basis, Sketches};

/// The rows that a thread links at a time; between two such pieces it can be stopped.
pub(super) const PIECE_ROWS: usize = 4;
/// The bytes of vectors that a thread encodes at a time.
const ENCODE_BYTES: usize = 256 << 10;

/// Called now and then with the number of rows that are done, from any of the threads; an error stops the build.
pub(crate) type Step<'a> = &'a (dyn Fn(u64) -> Result<()> + Sync);

/// Where an index is written, in any order, and its codes are read from while the graph is built.
pub(crate) trait Draft: Sync {
    /// Writes at an offset. Threads do so at once.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()>;

    /// What was written to a range that begins at a page, and is not written while it is held.
    fn map(&self, range: Range<u64>) -> Result<Bytes>;
}

impl Draft for BlobDraft {
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        BlobDraft::write_at(self, bytes, offset)
    }

    fn map(&self, range: Range<u64>) -> Result<Bytes> {
        BlobDraft::map(self, range)
    }
}

/// Builds the index of a block, into a draft that `open` makes of the length that it is given.
///
/// Under cosine it is made of unit vectors. With one thread the graph is the same each time, and that of FAISS if new rows go
/// down with one; with more threads it depends on their turns. Some rows are held out until the others are linked, to measure recall with.
/// Memory: [`super::build_bytes`], all of it anonymous; codes are in the draft alone. Cost: some 3,000 rows of 384 values a
/// second and thread.
/// # Errors
/// `Invalid` for parameters out of range; `Unavailable` when memory is short; what the draft and `step` returned.
pub(crate) fn build<D: Draft>(
    block: &Block<'_>,
    metric: Metric,
    params: Params,
    threads: NonZero<usize>,
    open: impl FnOnce(u64) -> Result<D>,
    step: Step<'_>,
) -> Result<D> {
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
        sketch_dims: 0,
    };
    shape.check().map_err(|reason| Error::invalid("index", reason))?;
    let (mut levels, mut order) = (filled(rows, 0_u8)?, filled(rows, 0_i32)?);
    faiss::hnsw_plan(params.m, &mut levels, &mut order)?;
    if let Some(&first) = order.first() {
        shape.entry_point = first;
        shape.max_level = levels.iter().max().map_or(-1, |&most| i32::from(most) - 1);
    }
    let basis = match sketch::dims_max(rows, block.dim()) {
        0 => None,
        most => Some(Basis::learn(block, metric, most, threads, &|| step(0))?),
    };
    shape.sketch_dims = basis.as_ref().map_or(0, Basis::dims);
    let sections = Sections::plan(shape, &levels)?;
    let draft = open(to_u64(sections.len()))?;
    let work = Work { block, metric, threads, step, done: AtomicU64::new(0), basis, ways: params.ways };
    work.fill(&sections, &draft, &levels, &order)?;
    Ok(draft)
}

/// So many equal values, in no more memory than they take.
fn filled<T: Clone>(count: usize, value: T) -> Result<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(count).map_err(|error| Error::Unavailable {
        feature: "building an index",
        reason: format!("{} bytes of memory cannot be had: {error}", count.saturating_mul(size_of::<T>())),
    })?;
    all.resize(count, value);
    Ok(all)
}

/// The most bytes that a thread takes to encode rows: their vectors and codes.
pub(super) fn encode_bytes(params: Params, dim: usize) -> usize {
    encode_rows(dim) * (4 * dim + params.codes.bytes(dim))
}

fn encode_rows(dim: usize) -> usize {
    (ENCODE_BYTES / (4 * dim)).max(1)
}

/// A section that was written.
struct Mapped {
    map: Bytes,
    /// Where it begins in the map.
    at: usize,
    len: usize,
}

impl Mapped {
    fn new(draft: &dyn Draft, section: Range<usize>) -> Result<Self> {
        let at = section.start % to_usize(PAGE_BYTES);
        let map = draft.map(to_u64(section.start - at)..to_u64(section.end))?;
        Ok(Mapped { map, at, len: section.len() })
    }

    fn bytes(&self) -> &[u8] {
        self.map.get(self.at..).and_then(|bytes| bytes.get(..self.len)).unwrap_or_default()
    }
}

/// Sketches that were written.
struct Sketched<'a> {
    basis: &'a Basis,
    rows: usize,
    codes: Mapped,
    biases: Option<Mapped>,
}

impl Sketched<'_> {
    fn sketches(&self) -> Sketches<'_> {
        let biases = self.biases.as_ref().map_or(&[][..], Mapped::bytes);
        self.basis.sketches(
            self.rows,
            self.codes.bytes(),
            bytemuck::try_cast_slice(biases).unwrap_or_default(),
        )
    }
}

/// What a graph is made of besides its links.
struct Graph<'a> {
    sections: &'a Sections,
    ranges: &'a [f32],
    levels: &'a [u8],
    sketched: Option<&'a Sketched<'a>>,
}

/// The recall curves, as stored.
struct Curves {
    graph: [u8; CURVE_BYTES],
    sketch: [u8; CURVE_BYTES],
}

struct Work<'a> {
    block: &'a Block<'a>,
    metric: Metric,
    threads: NonZero<usize>,
    step: Step<'a>,
    done: AtomicU64,
    /// That of sketches, if there are to be any.
    basis: Option<Basis>,
    ways: i32,
}

impl Work<'_> {
    /// Fills the sections; `order` is that in which rows are linked.
    fn fill(&self, sections: &Sections, draft: &dyn Draft, levels: &[u8], order: &[i32]) -> Result<()> {
        let shape = sections.shape();
        let mut ranges = filled(shape.codes.trained(shape.dim), 0.0)?;
        self.train(&mut ranges);
        self.encode(sections, &ranges, draft)?;
        self.sketch(sections, draft)?;
        let mut links = filled(sections.link_count(), -1)?;
        let mut curves = Curves { graph: [0; CURVE_BYTES], sketch: [0; CURVE_BYTES] };
        if let Some((_, rest)) = order.split_first() {
            let sketched = self.sketched(sections, draft)?;
            let graph = Graph { sections, ranges: &ranges, levels, sketched: sketched.as_ref() };
            self.link_all(&graph, draft, &mut links, rest, &mut curves)?;
        }
        let basis = self.basis.as_ref();
        let basis = basis.map(|basis| basis_section(&curves.sketch, basis)).unwrap_or_default();
        let content = Content { levels, links: &links, ranges: &ranges, curve: &curves.graph, basis: &basis };
        sections.write(&content, &mut |piece, at| {
            (self.step)(self.done.load(Ordering::Relaxed))?;
            draft.write_at(piece, at)
        })
    }

    /// Links all rows but the first, and measures the recall among the way.
    fn link_all(
        &self,
        parts: &Graph<'_>,
        draft: &dyn Draft,
        links: &mut [i32],
        rest: &[i32],
        curves: &mut Curves,
    ) -> Result<()> {
        let (shape, codes) = (parts.sections.shape(), Mapped::new(draft, parts.sections.codes_range())?);
        let mut graph =
            GraphBuilder::new(shape, parts.levels, parts.ranges, links, codes.bytes(), self.ways)?;
        // The last of the order are rows of the lowest level, shuffled: a fair sample that costs nothing.
        let (linked, held_out) = rest.split_at(rest.len() - curve::sample(rest.len() + 1));
        self.link(&graph, linked)?;
        let sketches = parts.sketched.map(Sketched::sketches);
        let measured = curve::measure(
            &curve::Measure {
                block: self.block,
                metric: self.metric,
                codes: shape.codes,
                held_out,
                sketches,
            },
            graph.searcher(),
            self.threads,
            &|| (self.step)(self.done.load(Ordering::Relaxed)),
        )?;
        measured.graph.encode(&mut curves.graph);
        measured.sketches.encode(&mut curves.sketch);
        self.link(&graph, held_out)
    }

    /// Writes the sketches of all rows, if there are to be any.
    fn sketch(&self, sections: &Sections, draft: &dyn Draft) -> Result<()> {
        let Some(basis) = &self.basis else { return Ok(()) };
        let (sketches, biases) = (sections.sketches_range().start, sections.biases_range().start);
        sketch::encode(self.block, self.metric, basis, self.threads, &|content| {
            (self.step)(0)?;
            let at = sketches + sketch::bytes(content.first, basis.dims());
            draft.write_at(content.sketches, to_u64(at))?;
            if content.biases.is_empty() {
                return Ok(());
            }
            let at = biases + size_of::<f32>() * content.first;
            draft.write_at(bytemuck::cast_slice(content.biases), to_u64(at))
        })
    }

    fn sketched(&self, sections: &Sections, draft: &dyn Draft) -> Result<Option<Sketched<'_>>> {
        let Some(basis) = &self.basis else { return Ok(None) };
        let biases = sections.biases_range();
        Ok(Some(Sketched {
            basis,
            rows: self.block.len(),
            codes: Mapped::new(draft, sections.sketches_range())?,
            biases: if biases.is_empty() { None } else { Some(Mapped::new(draft, biases)?) },
        }))
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
            self.block.indexed(self.metric, position, &mut vector);
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

    fn encode(&self, sections: &Sections, ranges: &[f32], draft: &dyn Draft) -> Result<()> {
        let (shape, begin) = (sections.shape(), sections.codes_range().start);
        let (dim, bytes, rows) = (shape.dim, shape.codes.bytes(shape.dim), encode_rows(shape.dim));
        pieces::for_each(shape.rows.div_ceil(rows), self.threads, &|piece| {
            (self.step)(0)?;
            let first = piece * rows;
            let count = rows.min(shape.rows - first);
            let (mut vectors, mut codes) = (vec![0.0; count * dim], vec![0; count * bytes]);
            for (row, vector) in vectors.chunks_exact_mut(dim).enumerate() {
                self.block.indexed(self.metric, first + row, vector);
            }
            faiss::encode(shape.codes.number(), dim, ranges, &vectors, &mut codes)?;
            draft.write_at(&codes, to_u64(begin + first * bytes))
        })
    }

    /// Links rows that are not linked yet.
    fn link(&self, graph: &GraphBuilder<'_>, order: &[i32]) -> Result<()> {
        let dim = self.block.dim();
        pieces::for_each(order.len().div_ceil(PIECE_ROWS), self.threads, &|piece| {
            let end = order.len().min((piece + 1) * PIECE_ROWS);
            let rows = &order[piece * PIECE_ROWS..end];
            let mut vectors = vec![0.0; rows.len() * dim];
            let positions = rows.iter().map(|&row| usize::try_from(row).unwrap_or(usize::MAX));
            self.block.fetch(positions.clone());
            for (position, vector) in positions.zip(vectors.chunks_exact_mut(dim)) {
                self.block.indexed(self.metric, position, vector);
            }
            graph.add(rows, &vectors)?;
            let added = to_u64(rows.len());
            (self.step)(self.done.fetch_add(added, Ordering::Relaxed) + added)
        })
    }
}
