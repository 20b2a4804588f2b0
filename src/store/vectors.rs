//! The vectors of one write transaction on their way: into the tail, or by streams into segments.

use std::sync::Arc;

use roaring::RoaringTreemap;

use super::indexing;
use super::memory::{Accountant, Component, Grant};
use crate::catalog::{self, Counters, Rows, SegmentRecord, Table, Tables};
use crate::codec::{key, to_u64, to_usize};
use crate::error::Result;
use crate::limits::BULK_SEGMENT_TAILS;
use crate::metric::Metric;
use crate::storage::{BlobRecord, Container, Naming, Run};
use crate::vector::segment::{Layout, Precision, SegmentWriter};

/// A segment as the catalog stores it.
fn segment_record(layout: &Layout, space: u64, blob: u64) -> SegmentRecord {
    let Layout { dim, count, first_row, last_row, norms_offset, rows_offset, .. } = *layout;
    SegmentRecord { space, blob, dim, count, first_row, last_row, norms_offset, rows_offset }
}

/// A segment as the vector engine reads it.
pub(super) fn segment_layout(record: &SegmentRecord, precision: Precision) -> Layout {
    let SegmentRecord { dim, count, first_row, last_row, norms_offset, rows_offset, .. } = *record;
    Layout { precision, dim, count, first_row, last_row, norms_offset, rows_offset }
}

/// Names finished segments in the catalog.
pub(super) fn name(
    tables: &mut Tables<'_>,
    counters: &mut Counters,
    space: u64,
    finished: &[(Layout, BlobRecord)],
) -> Result<()> {
    for (layout, blob) in finished {
        let record = segment_record(layout, space, counters.next_blob);
        counters.next_blob += 1;
        tables.put(Table::Blobs, &key(record.blob), blob.encode())?;
        tables.put_record(Table::Segments, &key(counters.next_segment), &record)?;
        counters.next_segment += 1;
        counters.segments_changed = counters.commit;
    }
    Ok(())
}

/// Rows of the tail that are read at once when it becomes a segment, in bytes.
const TAIL_PAGE_BYTES: usize = 1 << 20;
/// Waiting vectors have room for so many bytes first, then for all that may wait.
const FIRST_BYTES: usize = 64 << 10;
/// Rows that a segment has no room for go to the tail if they are fewer than this part of a full one; else to another segment.
const FEW_PARTS: usize = 8;

/// What a transaction adds: the first bytes wait in memory, and once there are too many for the tail, they and the tail
/// become a segment, whose further rows are written as they come.
#[derive(Debug)]
pub(super) struct NewVectors {
    container: Arc<Container>,
    space: u64,
    dim: usize,
    precision: Precision,
    metric: Metric,
    tail_bytes_max: usize,
    rows_max: usize,
    /// The most rows of a segment that is written while rows come in.
    bulk_max: usize,
    rows: Vec<u64>,
    values: Vec<f32>,
    /// How many rows are being moved into segments.
    moving: usize,
    segment: Option<SegmentWriter>,
    finished: Vec<(Layout, BlobRecord)>,
    _grant: Grant,
}

impl NewVectors {
    pub(super) fn new(
        container: &Arc<Container>,
        space: u64,
        (dim, precision): (usize, Precision),
        metric: Metric,
        tail_bytes_max: usize,
        memory: &Arc<Accountant>,
    ) -> Result<Self> {
        // No more rows than can be indexed, and whose numbers take no more than the vectors that wait.
        let bulk_max = to_usize(indexing::rows_max(memory.budget(), to_u64(dim)))
            .min(tail_bytes_max / size_of::<u64>())
            .min(BULK_SEGMENT_TAILS * tail_bytes_max / (4 * dim))
            .max(1);
        // Twice what the tail held is likely enough; a bulk load soon has larger ones.
        let rows_max = (2 * tail_bytes_max / (4 * dim)).clamp(1, bulk_max);
        let waiting = Self::waiting_rows(tail_bytes_max, dim) * (4 * dim + size_of::<u64>()) + FIRST_BYTES;
        let page = 2 * TAIL_PAGE_BYTES + 4 * dim;
        let needs = waiting + page + SegmentWriter::memory(bulk_max);
        Ok(NewVectors {
            container: Arc::clone(container),
            space,
            dim,
            precision,
            metric,
            tail_bytes_max,
            rows_max,
            bulk_max,
            rows: Vec::new(),
            values: Vec::new(),
            moving: 0,
            segment: None,
            finished: Vec::new(),
            _grant: memory.grant(Component::Writing, "adding vectors", to_u64(needs))?,
        })
    }

    /// How many rows may wait: those that reach the bound, the last among them.
    fn waiting_rows(tail_bytes_max: usize, dim: usize) -> usize {
        tail_bytes_max / (4 * dim) + 1
    }

    fn waiting_bytes(&self) -> usize {
        4 * self.values.len()
    }

    /// Makes room for another row without ever having more than is needed.
    fn make_room(&mut self) {
        if self.rows.len() < self.rows.capacity() && self.values.len() + self.dim <= self.values.capacity() {
            return;
        }
        let all = Self::waiting_rows(self.tail_bytes_max, self.dim).max(self.rows.len() + 1);
        let first = (FIRST_BYTES / (4 * self.dim + size_of::<u64>())).max(1);
        let rows = if self.rows.len() < first { first.min(all) } else { all };
        self.rows.reserve_exact(rows - self.rows.len());
        self.values.reserve_exact(rows * self.dim - self.values.len());
    }

    /// Takes the vector of a new row, which is greater than every row before. `dead` are the rows that this transaction
    /// has deleted.
    pub(super) fn push(
        &mut self,
        tables: &mut Tables<'_>,
        counters: &mut Counters,
        dead: &RoaringTreemap,
        row: u64,
        vector: &[f32],
    ) -> Result<()> {
        self.make_room();
        self.rows.push(row);
        self.values.extend_from_slice(vector);
        let tail_bytes = to_usize(counters.tail_rows) * 4 * self.dim;
        if self.waiting_bytes() + tail_bytes >= self.tail_bytes_max {
            self.seal(tables, counters, dead)?;
        }
        Ok(())
    }

    /// Moves the tail and what waits into the segment being written, but for rows that died while they waited.
    pub(super) fn seal(
        &mut self,
        tables: &mut Tables<'_>,
        counters: &mut Counters,
        dead: &RoaringTreemap,
    ) -> Result<()> {
        let (mut page, mut bytes, mut done) = (Vec::new(), 0, 0);
        self.moving = to_usize(counters.tail_rows) + self.rows.len();
        while counters.tail_rows > to_u64(done) {
            tables.scan(Table::Tail, &[], &mut |row, value| {
                let read = catalog::tail_row(row, value)?;
                bytes += 4 * read.1.len() + 2 * size_of_val(&read);
                page.push(read);
                Ok(bytes < TAIL_PAGE_BYTES)
            })?;
            if page.is_empty() {
                break;
            }
            done += page.len();
            for (row, vector) in page.drain(..) {
                tables.remove(Table::Tail, &key(row))?;
                self.write(row, &vector)?;
            }
            bytes = 0;
        }
        counters.tail_rows = 0;
        let (rows, values) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.values));
        let waiting = rows.iter().zip(values.chunks_exact(self.dim));
        for (&row, vector) in waiting.filter(|&(&row, _)| !dead.contains(row)) {
            self.write(row, vector)?;
        }
        // Keep the room for what comes next.
        (self.rows, self.values) = (rows, values);
        self.rows.clear();
        self.values.clear();
        Ok(())
    }

    /// Appends a row to the segment being written, or to a new one.
    fn write(&mut self, row: u64, vector: &[f32]) -> Result<()> {
        if self.segment.as_ref().is_some_and(SegmentWriter::is_full) {
            self.finish_segment()?;
        }
        // More may come: as many again, or a bulk load.
        let rows = (self.moving.clamp(1, self.rows_max), self.rows_max);
        self.moving = self.moving.saturating_sub(1);
        let (container, dim, metric) = (&self.container, (self.dim, self.precision), self.metric);
        let segment = match &mut self.segment {
            Some(segment) => segment,
            none => none.insert(SegmentWriter::new(container, dim, metric, rows, Naming::InThisCommit)?),
        };
        segment.push(row, vector)
    }

    fn finish_segment(&mut self) -> Result<()> {
        if let Some(segment) = self.segment.take()
            && let Some(finished) = segment.finish()?
        {
            self.finished.push(finished);
            self.rows_max = (2 * self.rows_max).min(self.bulk_max);
        }
        Ok(())
    }

    /// Writes everything that waits, and names the segments in the catalog.
    pub(super) fn store(
        &mut self,
        tables: &mut Tables<'_>,
        counters: &mut Counters,
        dead: &RoaringTreemap,
    ) -> Result<()> {
        let is_few = self.rows.len() < Self::waiting_rows(self.tail_bytes_max, self.dim) / FEW_PARTS;
        if self.segment.as_ref().is_some_and(|segment| segment.room() >= self.rows.len() || !is_few) {
            // What waits belongs to the end of the segment that is open, for the tail is empty.
            self.seal(tables, counters, dead)?;
        }
        for (row, vector) in self.rows.drain(..).zip(self.values.chunks_exact(self.dim)) {
            if !dead.contains(row) {
                tables.put(Table::Tail, &key(row), catalog::tail_value(vector))?;
                counters.tail_rows += 1;
            }
        }
        self.values.clear();
        self.finish_segment()?;
        name(tables, counters, self.space, &self.finished)
    }

    /// The pages written so far, to be given back when the transaction is undone.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> {
        self.finished.iter().map(|(_, blob)| blob.run())
    }
}
