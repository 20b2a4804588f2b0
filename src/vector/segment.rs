//! A segment: vectors exactly as given, in one immutable blob.
//!
//! The blob holds the vectors (f32 or f16, row-major), then for cosine the inverse norms (f32), then the row numbers (u64) unless
//! they are consecutive; each section begins at a multiple of 64 bytes.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use roaring::RoaringTreemap;

use super::ask::Ask;
use super::exact::{Block, Values};
use super::kernel::{halved, inverse_norm};
use super::outline::{Drawing, Outlined};
use super::rows::Rows;
use crate::codec::{to_u64, to_usize};
use crate::error::{Error, Result};
use crate::limits::DIM_MAX;
use crate::metric::Metric;
use crate::storage::{Blob, BlobRecord, BlobWriter, Container, Naming, Run};

const _: () = assert!(cfg!(target_endian = "little"), "sections are mapped as they are stored");

/// The alignment of sections.
const ALIGNMENT: u64 = 64;

/// How the values of vectors are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precision {
    /// As f32: exactly as given. The default.
    #[default]
    F32,
    /// As f16, in half the space: rounded to 11 significant bits when they are added; beyond 65,504 they are refused.
    F16,
}

impl Precision {
    /// Its name: `f32` or `f16`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
        }
    }

    /// The bytes of a value.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Precision::F32 => size_of::<f32>(),
            Precision::F16 => size_of::<u16>(),
        }
    }
}

impl std::str::FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = [Precision::F32, Precision::F16].into_iter().find(|precision| precision.name() == name);
        known.ok_or_else(|| Error::invalid("type of vectors", format!("{name:?} is neither f32 nor f16")))
    }
}

/// What a segment holds and where. Offsets are bytes in the blob, multiples of 64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// How values are stored.
    pub(crate) precision: Precision,
    /// The number of values of a vector.
    pub(crate) dim: u32,
    /// The number of rows.
    pub(crate) count: u64,
    /// The least row.
    pub(crate) first_row: u64,
    /// The greatest row.
    pub(crate) last_row: u64,
    /// Where the inverse norms (f32) begin, for cosine.
    pub(crate) norms_offset: Option<u64>,
    /// Where the row numbers (u64) begin, unless they are consecutive.
    pub(crate) rows_offset: Option<u64>,
}

/// Writes one segment, row by row.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    blob: BlobWriter,
    dim: usize,
    precision: Precision,
    metric: Metric,
    rows: Vec<u64>,
    norms: Vec<f32>,
    rows_max: usize,
}

impl SegmentWriter {
    /// The memory of a row: its number and its norm.
    pub(crate) const ROW_BYTES: usize = size_of::<u64>() + size_of::<f32>();

    /// The most memory that a writer of so many rows takes: theirs, one chunk of the blob, and checksums.
    pub(crate) fn memory(rows_max: usize) -> usize {
        Self::ROW_BYTES.saturating_mul(rows_max).saturating_add(BlobWriter::MEMORY)
    }

    /// Reserves room for `most` rows, or, where that fits between what the file has, for fewer: for `least` at any rate. Memory:
    /// [`SegmentWriter::memory`].
    pub(crate) fn new(
        container: &Arc<Container>,
        (dim, precision): (usize, Precision),
        metric: Metric,
        (least, most): (usize, usize),
        naming: Naming,
    ) -> Result<Self> {
        let row = to_u64(precision.bytes() * dim + Self::ROW_BYTES);
        let bytes = |rows| to_u64(rows) * row + 2 * ALIGNMENT;
        let blob = BlobWriter::within(container, bytes(least), bytes(most), naming)?;
        let rows_max = to_usize((blob.room() - 2 * ALIGNMENT) / row).min(most);
        let (rows, norms) = (list(rows_max)?, list(if metric == Metric::Cosine { rows_max } else { 0 })?);
        Ok(SegmentWriter { blob, dim, precision, metric, rows, norms, rows_max })
    }

    /// Whether the reservation is used up.
    pub(crate) fn is_full(&self) -> bool {
        self.room() == 0
    }

    /// How many more rows fit.
    pub(crate) fn room(&self) -> usize {
        self.rows_max.saturating_sub(self.rows.len())
    }

    /// Appends a row, which must be greater than the last. With f16, its values must be such.
    pub(crate) fn push(&mut self, row: u64, vector: &[f32]) -> Result<()> {
        if self.metric == Metric::Cosine {
            self.norms.push(inverse_norm(vector));
        }
        self.rows.push(row);
        match self.precision {
            Precision::F32 => self.blob.write(bytemuck::cast_slice(vector)),
            Precision::F16 => {
                let halves: Vec<u16> = halved(vector).collect();
                self.blob.write(bytemuck::cast_slice(&halves))
            }
        }
    }

    /// Writes the columns; `None` when no row was appended.
    pub(crate) fn finish(mut self) -> Result<Option<(Layout, BlobRecord)>> {
        let (Some(&first_row), Some(&last_row)) = (self.rows.first(), self.rows.last()) else {
            return Ok(None);
        };
        let mut norms_offset = None;
        if self.metric == Metric::Cosine {
            self.blob.align(ALIGNMENT)?;
            norms_offset = Some(self.blob.len());
            self.blob.write(bytemuck::cast_slice(&self.norms))?;
        }
        let mut rows_offset = None;
        let count = to_u64(self.rows.len());
        if last_row - first_row + 1 != count {
            self.blob.align(ALIGNMENT)?;
            rows_offset = Some(self.blob.len());
            self.blob.write(bytemuck::cast_slice(&self.rows))?;
        }
        let layout = Layout {
            precision: self.precision,
            dim: u32::try_from(self.dim).unwrap_or(u32::MAX),
            count,
            first_row,
            last_row,
            norms_offset,
            rows_offset,
        };
        Ok(Some((layout, self.blob.finish()?)))
    }
}

/// Room for exactly so many, so that it never moves.
fn list<T>(count: usize) -> Result<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|error| Error::Unavailable {
        feature: "writing a segment",
        reason: format!("the system gives no memory for {count} rows: {error}"),
    })?;
    Ok(list)
}

/// A segment of the store, mapped. Read it only under a snapshot that names it.
#[derive(Debug)]
pub(crate) struct Segment {
    id: u64,
    blob_id: u64,
    layout: Layout,
    blob: Blob,
    /// The rows as a set, made when it is first asked for.
    row_set: OnceLock<RoaringTreemap>,
    outline: Drawing,
}

impl Segment {
    /// Maps a segment; checks bounds, reads no vector.
    pub(crate) fn open(
        container: &Container,
        id: u64,
        layout: Layout,
        (blob_id, blob): (u64, BlobRecord),
    ) -> Result<Self> {
        let blob = Blob::open(container, blob, format!("segment {id}"))?;
        let (row_set, outline) = (OnceLock::new(), Drawing::default());
        let segment = Segment { id, blob_id, layout, blob, row_set, outline };
        let layout = &segment.layout;
        let dim = to_usize(u64::from(layout.dim));
        let vectors = layout.count.checked_mul(segment.vector_bytes());
        let len = to_u64(segment.blob.len());
        let fits = |offset: u64, width: u64| {
            let end = layout.count.checked_mul(width).and_then(|n| n.checked_add(offset));
            offset.is_multiple_of(ALIGNMENT) && Some(offset) >= vectors && end.is_some_and(|end| end <= len)
        };
        let span = layout.last_row.checked_sub(layout.first_row);
        let sound = (1..=DIM_MAX).contains(&dim)
            && layout.count > 0
            && vectors.is_some_and(|end| end <= len)
            && layout.norms_offset.is_none_or(|offset| fits(offset, 4))
            && match layout.rows_offset {
                Some(offset) => fits(offset, 8) && span.is_some_and(|span| span >= layout.count),
                None => span == Some(layout.count - 1),
            };
        if sound {
            return Ok(segment);
        }
        Err(segment.damage(format!("its sections do not fit a blob of {len} bytes")))
    }

    fn damage(&self, detail: String) -> Error {
        Error::corrupt(format!("segment {}", self.id), 0, detail)
    }

    /// Its number.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The number of its blob.
    pub(crate) fn blob_id(&self) -> u64 {
        self.blob_id
    }

    /// Its least row.
    pub(crate) fn first_row(&self) -> u64 {
        self.layout.first_row
    }

    /// The number of values of a vector.
    pub(crate) fn dim(&self) -> u64 {
        u64::from(self.layout.dim)
    }

    /// The bytes of a vector.
    pub(crate) fn vector_bytes(&self) -> u64 {
        to_u64(self.layout.precision.bytes()) * self.dim()
    }

    /// Its rows, and perhaps others between them.
    pub(crate) fn span(&self) -> std::ops::RangeInclusive<u64> {
        self.layout.first_row..=self.layout.last_row
    }

    /// The number of its rows.
    pub(crate) fn count(&self) -> u64 {
        self.layout.count
    }

    /// How many of its rows are in `dead`. Rows that cannot be read count as if they followed each other.
    pub(crate) fn dead_count(&self, dead: &RoaringTreemap) -> u64 {
        let within = dead.range_cardinality(self.layout.first_row..=self.layout.last_row);
        let listed = if within > 0 { self.rows().ok().flatten() } else { None };
        match listed {
            Some(rows) => self.row_set.get_or_init(|| rows.iter().copied().collect()).intersection_len(dead),
            None => within.min(self.layout.count),
        }
    }

    /// Whether it is mapped from where `blob` says.
    pub(crate) fn is_at(&self, blob: &BlobRecord) -> bool {
        self.blob.record() == blob
    }

    /// The pages of its blob.
    pub(crate) fn run(&self) -> Run {
        self.blob.record().run()
    }

    /// The bytes of its blob.
    pub(crate) fn bytes(&self) -> u64 {
        to_u64(self.blob.len())
    }

    fn section<T: bytemuck::AnyBitPattern>(&self, offset: u64, values: u64) -> Result<&[T]> {
        let bytes = values.saturating_mul(to_u64(size_of::<T>()));
        let range = to_usize(offset)..to_usize(offset.saturating_add(bytes));
        bytemuck::try_cast_slice(self.blob.bytes(range)?).map_err(|e| self.damage(e.to_string()))
    }

    /// The vectors at some positions.
    fn values(&self, position: u64, count: u64) -> Result<Values<'_>> {
        let start = position.saturating_mul(self.vector_bytes());
        let end = start.saturating_add(count.saturating_mul(self.vector_bytes()));
        self.cast(self.blob.bytes(to_usize(start)..to_usize(end))?)
    }

    fn cast<'a>(&self, bytes: &'a [u8]) -> Result<Values<'a>> {
        let values = match self.layout.precision {
            Precision::F32 => bytemuck::try_cast_slice(bytes).map(Values::Whole),
            Precision::F16 => bytemuck::try_cast_slice(bytes).map(Values::Half),
        };
        values.map_err(|e| self.damage(e.to_string()))
    }

    /// Its rows as a block for the exact search. Cost: at the first call in a process, the checksums of everything.
    pub(crate) fn block(&self) -> Result<Block<'_>> {
        let layout = &self.layout;
        let vectors = self.values(0, layout.count)?;
        let norms = layout.norms_offset.map(|offset| self.section(offset, layout.count)).transpose()?;
        Block::of(vectors, to_usize(u64::from(layout.dim)), norms, self.row_numbers()?)
    }

    /// As [`Segment::block`], with an outline once that is likely to be worth it; `ask` grants its memory.
    pub(crate) fn outlined(&self, metric: Metric, ask: Ask<'_>) -> Result<Outlined<'_>> {
        Ok(self.outline.outlined(self.block()?, metric, ask))
    }

    /// Does what the first scans would do: reads and verifies everything, and draws an outline if `ask` grants its memory.
    pub(crate) fn prepare(&self, metric: Metric, ask: Ask<'_>) -> Result<()> {
        self.outline.draw(&self.block()?, metric, &[], ask);
        Ok(())
    }

    /// Its rows as a block of which only the vectors at some positions are verified; they must be within it.
    ///
    /// Cost: at the first call in a process, the checksums of norms and row numbers; then of what is asked for.
    pub(crate) fn block_at(&self, positions: &[usize]) -> Result<Block<'_>> {
        let (layout, dim) = (&self.layout, u64::from(self.layout.dim));
        for &position in positions {
            self.values(to_u64(position), 1)?;
        }
        let bytes = self.blob.unverified().get(..to_usize(layout.count.saturating_mul(self.vector_bytes())));
        let vectors = self.cast(bytes.unwrap_or_default())?;
        let norms = layout.norms_offset.map(|offset| self.section(offset, layout.count)).transpose()?;
        Block::of(vectors, to_usize(dim), norms, self.row_numbers()?)
    }

    /// The row at each position.
    pub(crate) fn row_numbers(&self) -> Result<Rows<'_>> {
        Ok(match self.rows()? {
            Some(rows) => Rows::Listed(rows),
            None => Rows::From(self.layout.first_row),
        })
    }

    fn rows(&self) -> Result<Option<&[u64]>> {
        self.layout.rows_offset.map(|offset| self.section(offset, self.layout.count)).transpose()
    }

    /// The vector of a row, if the segment has it.
    pub(crate) fn vector(&self, row: u64) -> Result<Option<Cow<'_, [f32]>>> {
        let layout = &self.layout;
        if row < layout.first_row || row > layout.last_row {
            return Ok(None);
        }
        let position = match self.rows()? {
            Some(rows) => rows.binary_search(&row).ok().map(to_u64),
            None => Some(row - layout.first_row),
        };
        let Some(position) = position else { return Ok(None) };
        Ok(Some(self.values(position, 1)?.widened()))
    }

    /// Calls `visit` with each row and its vector, in order.
    pub(crate) fn for_each(&self, visit: &mut dyn FnMut(u64, &[f32]) -> Result<()>) -> Result<()> {
        let (layout, rows) = (&self.layout, self.rows()?);
        for position in 0..layout.count {
            let row = match rows {
                Some(rows) => rows.get(to_usize(position)).copied().unwrap_or(u64::MAX),
                None => layout.first_row + position,
            };
            visit(row, &self.values(position, 1)?.widened())?;
        }
        Ok(())
    }

    /// Reads and verifies everything.
    pub(crate) fn check(&self) -> Result<()> {
        self.blob.check()?;
        if let Some(rows) = self.rows()? {
            let bounds = (rows.first().copied(), rows.last().copied());
            let expected = (Some(self.layout.first_row), Some(self.layout.last_row));
            if bounds != expected || !rows.is_sorted_by(|a, b| a < b) {
                return Err(self.damage("its rows do not ascend between the first and the last".into()));
            }
        }
        Ok(())
    }
}
