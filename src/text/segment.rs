//! A segment: the postings of some rows in one blob, the files of tantivy packed behind the numbers of the rows.

use std::ops::{Range, RangeInclusive};
use std::sync::{Arc, OnceLock};

use roaring::RoaringTreemap;
use tantivy::directory::{CompositeFile, OwnedBytes};
use tantivy::index::{InvertedIndexReader, SegmentComponent, SegmentId};
use tantivy::postings::TermInfo;
use tantivy::{Index, SegmentReader, TantivyError};

use super::directory::Packed;
use super::postings::length;
use super::shape::{FILES, Shape, index_settings, reading};
use crate::codec::{to_u64, to_usize, u64_at};
use crate::error::{Error, Result};
use crate::storage::{Blob, BlobRecord, Container, SharedBytes};

/// Sections begin at multiples of this.
pub(super) const ALIGNMENT: u64 = 64;
/// A stretch of rows: the place of its first row in the segment, and the row, u64 each.
pub(super) const STRETCH_BYTES: usize = 16;
/// Lists of rows come after the number of all positions, u64.
const LISTS_AT: usize = 8;
/// Segments of more rows would be past what tantivy can number.
pub(crate) const ROWS_MAX: u64 = 1 << 30;

/// What the catalog says of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The number of rows.
    pub(crate) rows: u64,
    pub(crate) first_row: u64,
    pub(crate) last_row: u64,
    /// The lengths of all rows, as stored, added up.
    pub(crate) positions: u64,
    /// Where the sections end: the stretches of rows, then the files.
    pub(crate) ends: Vec<u64>,
}

impl Layout {
    /// The sections, if they lie in `len` bytes one after the other.
    fn sections(&self, len: usize) -> Option<Vec<Range<usize>>> {
        let mut sections = Vec::with_capacity(self.ends.len());
        let mut before = 0_u64;
        for &end in &self.ends {
            let start = before.checked_next_multiple_of(ALIGNMENT)?;
            if end < start || end > to_u64(len) {
                return None;
            }
            sections.push(to_usize(start)..to_usize(end));
            before = end;
        }
        let stretches = sections.first()?.len();
        let fits = sections.len() == 1 + FILES.len() && stretches.is_multiple_of(STRETCH_BYTES);
        let counts = (1..=ROWS_MAX).contains(&self.rows) && self.first_row <= self.last_row;
        (fits && counts).then_some(sections)
    }
}

/// The rows of a segment, by their places.
#[derive(Clone)]
pub(super) struct Rows {
    stretches: OwnedBytes,
    count: u32,
}

impl Rows {
    /// Reads the stretches, which must be in order and end at `last_row`.
    fn open(stretches: OwnedBytes, layout: &Layout) -> Option<Self> {
        let rows = Rows { stretches, count: u32::try_from(layout.rows).ok()? };
        let mut before: Option<(u64, u64)> = None;
        for n in 0..rows.stretch_count() {
            let (doc, row) = rows.stretch(n)?;
            let in_order = match before {
                None => doc == 0 && row == layout.first_row,
                Some((doc_before, row_before)) => {
                    doc > doc_before && doc < layout.rows && row > row_before.checked_add(doc - doc_before)?
                }
            };
            if !in_order {
                return None;
            }
            before = Some((doc, row));
        }
        let (doc, row) = before?;
        (row.checked_add(layout.rows - 1 - doc)? == layout.last_row).then_some(rows)
    }

    fn stretch_count(&self) -> usize {
        self.stretches.len() / STRETCH_BYTES
    }

    fn stretch(&self, n: usize) -> Option<(u64, u64)> {
        let at = n * STRETCH_BYTES;
        Some((u64_at(&self.stretches, at)?, u64_at(&self.stretches, at + STRETCH_BYTES / 2)?))
    }

    /// The last stretch for which `is_before` holds.
    fn search(&self, is_before: impl Fn((u64, u64)) -> bool) -> Option<(u64, u64)> {
        let (mut low, mut high) = (0, self.stretch_count());
        while low < high {
            let middle = low.midpoint(high);
            if self.stretch(middle).is_some_and(&is_before) { low = middle + 1 } else { high = middle }
        }
        self.stretch(low.checked_sub(1)?)
    }

    /// The row at a place.
    pub(super) fn row(&self, doc: u32) -> u64 {
        let doc = u64::from(doc);
        self.search(|(first, _)| first <= doc).map_or(u64::MAX, |(first, row)| row + (doc - first))
    }

    /// How many they are.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The place of a row, if the segment has it.
    pub(super) fn doc(&self, row: u64) -> Option<u32> {
        let (first, start) = self.search(|(_, start)| start <= row)?;
        let doc = u32::try_from(first.checked_add(row - start)?).ok()?;
        (doc < self.count && self.row(doc) == row).then_some(doc)
    }

    /// Calls `visit` with each stretch of consecutive rows.
    pub(super) fn for_each(&self, visit: &mut dyn FnMut(Range<u64>)) {
        for n in 0..self.stretch_count() {
            let Some((doc, row)) = self.stretch(n) else { return };
            let end = self.stretch(n + 1).map_or(u64::from(self.count), |(next, _)| next);
            visit(row..row + (end - doc));
        }
    }
}

/// A segment that is ready to be searched.
pub(super) struct Opened {
    pub(super) reader: SegmentReader,
    pub(super) inverted: Arc<InvertedIndexReader>,
    lists: OwnedBytes,
    /// The lengths of the rows, as they are stored.
    pub(super) norms: OwnedBytes,
    /// Of all rows, dead ones included.
    pub(super) average_length: f64,
    pub(super) rows: Rows,
}

impl Opened {
    /// The bytes of the list of a term.
    pub(super) fn list(&self, term: &TermInfo) -> &[u8] {
        self.lists
            .get(LISTS_AT..)
            .and_then(|lists| lists.get(term.postings_range.clone()))
            .unwrap_or_default()
    }
}

/// A segment in the file. Search it only under a snapshot that names it.
pub(crate) struct Segment {
    id: u64,
    name: String,
    layout: Layout,
    blob_id: u64,
    place: BlobRecord,
    container: Arc<Container>,
    /// Or what is wrong with it; known at the first search.
    opened: OnceLock<std::result::Result<Opened, String>>,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("id", &self.id).field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Segment {
    /// A segment of this number in this blob. Nothing is read yet.
    pub(crate) fn new(
        container: &Arc<Container>,
        id: u64,
        layout: Layout,
        (blob_id, place): (u64, BlobRecord),
    ) -> Self {
        let (container, name) = (Arc::clone(container), format!("text segment {id}"));
        Segment { id, name, layout, blob_id, place, container, opened: OnceLock::new() }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn blob_id(&self) -> u64 {
        self.blob_id
    }

    /// Whether it lies there, and is not known to be damaged.
    pub(crate) fn is_at(&self, place: &BlobRecord) -> bool {
        self.place == *place && !matches!(self.opened.get(), Some(Err(_)))
    }

    /// The bytes of its blob.
    pub(crate) fn bytes(&self) -> u64 {
        self.place.len
    }

    fn span(&self) -> RangeInclusive<u64> {
        self.layout.first_row..=self.layout.last_row
    }

    /// How many of its rows are in `dead`. Cost: that of counts in a bitmap. Of a segment that was not searched yet, rows between its first
    /// and its last that it has not are taken for dead, so there may be more.
    pub(crate) fn dead_count(&self, dead: &RoaringTreemap) -> u64 {
        if let Some(Ok(opened)) = self.opened.get() {
            let mut count = 0;
            opened.rows.for_each(&mut |stretch| count += dead.range_cardinality(stretch));
            return count;
        }
        let holes = (self.layout.last_row - self.layout.first_row + 1).saturating_sub(self.layout.rows);
        let within = dead.range_cardinality(self.span());
        // Rows that left before it was written are dead, too.
        within.saturating_sub(holes).min(self.layout.rows)
    }

    /// Verifies every byte at the first call and opens it.
    ///
    /// # Errors
    /// `Corrupt`, at every call.
    pub(super) fn opened(&self) -> Result<&Opened> {
        if self.opened.get().is_none() {
            let opened = match self.open() {
                Ok(opened) => Ok(opened),
                Err(Error::Corrupt { detail, .. }) => Err(detail),
                // Not of the file, so it may go by.
                Err(other) => return Err(other),
            };
            let _ = self.opened.set(opened);
        }
        match self.opened.get() {
            Some(Ok(opened)) => Ok(opened),
            Some(Err(detail)) => Err(self.damage(detail)),
            None => Err(self.damage("it cannot be opened")),
        }
    }

    /// An error that names it.
    pub(crate) fn damage(&self, detail: &str) -> Error {
        Error::corrupt(&*self.name, self.place.start * crate::storage::PAGE_BYTES, detail)
    }

    /// What runs over its bytes; whatever goes wrong is damage.
    pub(super) fn reading<T>(&self, call: impl FnOnce() -> tantivy::Result<T>) -> Result<T> {
        reading(&self.name, call)
    }

    fn open(&self) -> Result<Opened> {
        let blob = Blob::open(&self.container, self.place.clone(), &*self.name)?;
        let len = blob.len();
        // Of flipped bytes tantivy notices few: it gets none that was not verified.
        blob.bytes(0..len)?;
        let sections = self.layout.sections(len);
        let sections = sections.ok_or_else(|| self.damage("its sections do not lie in its blob"))?;
        let bytes = OwnedBytes::new(SharedBytes::new(blob.shared()));
        let mut ranges = sections.into_iter();
        let stretches = ranges.next().unwrap_or_default();
        let rows = Rows::open(bytes.slice(stretches), &self.layout);
        let rows = rows.ok_or_else(|| self.damage("its rows are out of order"))?;
        let shape = Shape::get()?;
        let (reader, inverted, lists, norms) = self.reading(|| {
            let packed = Packed::new(bytes, FILES.into_iter().zip(ranges).collect());
            let index = Index::create(packed, shape.schema.clone(), index_settings())?;
            let segment = index.segment(index.new_segment_meta(SegmentId::generate_random(), rows.count));
            let reader = SegmentReader::open(&segment)?;
            let inverted = reader.inverted_index(shape.text)?;
            let bytes_of = |component| {
                let file = CompositeFile::open(&segment.open_read(component)?)?.open_read(shape.text);
                Ok::<_, TantivyError>(
                    file.map(|file| file.read_bytes()).transpose()?.unwrap_or_else(OwnedBytes::empty),
                )
            };
            let norms = bytes_of(SegmentComponent::FieldNorms)?;
            Ok((reader, inverted, bytes_of(SegmentComponent::Postings)?, norms))
        })?;
        if to_u64(norms.len()) != u64::from(rows.count) {
            return Err(self.damage("its lengths are not those of its rows"));
        }
        #[expect(clippy::cast_precision_loss, reason = "an average of lengths, for a bound")]
        let average_length = self.layout.positions as f64 / self.layout.rows as f64;
        Ok(Opened { reader, inverted, lists, norms, average_length, rows })
    }

    /// Reads and verifies everything; adds its rows to `rows`.
    pub(crate) fn check(&self, rows: &mut RoaringTreemap) -> Result<()> {
        Blob::open(&self.container, self.place.clone(), &*self.name)?.check()?;
        let opened = self.opened()?;
        opened.rows.for_each(&mut |stretch| {
            rows.insert_range(stretch);
        });
        let positions: u64 = opened.norms.iter().map(|&norm| length(norm)).sum();
        if positions != self.layout.positions {
            let detail = format!("{} positions expected, {positions} found", self.layout.positions);
            return Err(self.damage(&detail));
        }
        Ok(())
    }
}
