//! Writing segments: from postings in memory, or from other segments without their dead rows.

use std::sync::Arc;

use roaring::RoaringTreemap;
use tantivy::columnar::ColumnarWriter;
use tantivy::directory::TerminatingWrite;
use tantivy::fieldnorm::{FieldNormReader, FieldNormsSerializer};
use tantivy::index::SegmentComponent;
use tantivy::postings::{FieldSerializer, InvertedIndexSerializer, Postings as _};
use tantivy::schema::IndexRecordOption;
use tantivy::store::{Compressor, StoreWriter};
use tantivy::termdict::TermMerger;
use tantivy::{DocSet, Index, TERMINATED};

use super::directory::{Pieces, Scratch};
use super::postings::{Postings, length};
use super::segment::{ALIGNMENT, Layout, Opened, ROWS_MAX, STRETCH_BYTES, Segment};
use super::shape::{FILES, Shape, index_settings, native};
use crate::codec::{to_u64, to_usize};
use crate::error::{Error, Result};
use crate::storage::{BlobRecord, BlobWriter, Container, Naming};

/// Terms between two looks whether a merge is still wanted.
const STEP_TERMS: u64 = 4096;
/// Merged into nothing: a row that is dead.
const GONE: u32 = u32::MAX;

/// The rows of a segment in the making, as stretches of consecutive numbers.
#[derive(Default)]
struct Stretches {
    bytes: Vec<u8>,
    count: u64,
    first: Option<u64>,
    last: u64,
}

impl Stretches {
    fn push(&mut self, row: u64) {
        if self.first.is_none() || row != self.last + 1 {
            self.bytes.extend_from_slice(&self.count.to_le_bytes());
            self.bytes.extend_from_slice(&row.to_le_bytes());
            self.first.get_or_insert(row);
        }
        self.count += 1;
        self.last = row;
    }
}

/// Writes the terms in their order.
type WriteTerms<'t> = dyn FnMut(&mut FieldSerializer<'_>) -> tantivy::Result<()> + 't;

/// What a segment is made of, before it is in a blob.
struct Made {
    stretches: Stretches,
    positions: u64,
    files: Vec<Pieces>,
}

/// Makes the files of a segment.
fn make(stretches: Stretches, norms: Vec<u8>, terms: &mut WriteTerms<'_>) -> Result<Made> {
    let shape = Shape::get()?;
    let rows = u32::try_from(stretches.count).unwrap_or(u32::MAX);
    let positions = norms.iter().map(|&norm| length(norm)).sum();
    let scratch = Scratch::default();
    native(|| {
        let index = Index::create(scratch.clone(), shape.schema.clone(), index_settings())?;
        let segment = index.new_segment();
        let mut lengths =
            FieldNormsSerializer::from_write(segment.open_write(SegmentComponent::FieldNorms)?)?;
        lengths.serialize_field(shape.text, &norms)?;
        lengths.close()?;
        let norms = FieldNormReader::open(norms.into())?;
        let mut serializer = InvertedIndexSerializer::open(&segment)?;
        let mut field = serializer.new_field(shape.text, positions, Some(norms))?;
        terms(&mut field)?;
        field.close()?;
        serializer.close()?;
        // Neither columns nor stored documents: files that only say so.
        let mut columns = segment.open_write(SegmentComponent::FastFields)?;
        ColumnarWriter::default().serialize(rows, None, &mut columns)?;
        columns.terminate()?;
        StoreWriter::new(segment.open_write(SegmentComponent::Store)?, Compressor::None, 0, false)?
            .close()?;
        Ok(())
    })?;
    let missing = |name| Error::Native { call: "tantivy", message: format!("it wrote no file .{name}") };
    let files = FILES.into_iter().map(|name| scratch.take(name).ok_or_else(|| missing(name)));
    Ok(Made { stretches, positions, files: files.collect::<Result<_>>()? })
}

impl Made {
    /// Writes everything into a blob.
    fn store(self, container: &Arc<Container>, naming: Naming) -> Result<(Layout, BlobRecord)> {
        let len = |pieces: &Pieces| pieces.iter().map(|piece| to_u64(piece.len())).sum::<u64>();
        let sections = to_u64(1 + FILES.len());
        let bytes = to_u64(self.stretches.bytes.len()) + self.files.iter().map(len).sum::<u64>();
        let mut writer = BlobWriter::new(container, bytes + sections * ALIGNMENT, naming)?;
        let mut ends = Vec::with_capacity(to_usize(sections));
        writer.write(&self.stretches.bytes)?;
        ends.push(writer.len());
        for file in self.files {
            writer.align(ALIGNMENT)?;
            for piece in file {
                writer.write(&piece)?;
            }
            ends.push(writer.len());
        }
        let Stretches { count, first, last, .. } = self.stretches;
        let layout = Layout {
            rows: count,
            first_row: first.unwrap_or(0),
            last_row: last,
            positions: self.positions,
            ends,
        };
        Ok((layout, writer.finish()?))
    }
}

/// Writes a segment of all that `postings` has; `None` if they have no row.
///
/// Memory: [`super::memory::write_bytes`].
pub(crate) fn write(
    postings: &Postings,
    container: &Arc<Container>,
    naming: Naming,
) -> Result<Option<(Layout, BlobRecord)>> {
    if postings.len() == 0 {
        return Ok(None);
    }
    let mut stretches = Stretches::default();
    postings.rows().iter().for_each(|&row| stretches.push(row));
    let made = make(stretches, postings.norms().to_vec(), &mut |field| {
        let mut places = Vec::new();
        for (term, list) in postings.sorted() {
            field.new_term(term.as_bytes(), list.count, true)?;
            let mut cursor = list.cursor();
            while let Some(doc) = cursor.advance(&mut places) {
                field.write_doc(doc, u32::try_from(places.len()).unwrap_or(u32::MAX), &places);
            }
            field.close_term()?;
        }
        Ok(())
    })?;
    made.store(container, naming).map(Some)
}

/// A segment that is merged: where its rows go.
struct Source<'a> {
    opened: &'a Opened,
    /// The new place of each row, or [`GONE`].
    places: Vec<u32>,
    is_whole: bool,
}

/// Writes the live rows of `sources`, which are in the order of their rows, into one segment; `None` if all are dead.
///
/// `step` is called now and then with the number of terms done, and may give up. Memory: [`super::memory::merge_bytes`].
pub(crate) fn merge(
    sources: &[Arc<Segment>],
    dead: &RoaringTreemap,
    container: &Arc<Container>,
    step: &dyn Fn(u64) -> Result<()>,
) -> Result<Option<(Layout, BlobRecord)>> {
    let (mut stretches, mut norms, mut merged) = (Stretches::default(), Vec::new(), Vec::new());
    for segment in sources {
        let opened = segment.opened()?;
        let mut places = Vec::with_capacity(to_usize(segment.layout().rows));
        opened.rows.for_each(&mut |rows| {
            for row in rows {
                let Some(&norm) = opened.norms.get(places.len()) else { return };
                if dead.contains(row) {
                    places.push(GONE);
                } else {
                    places.push(u32::try_from(stretches.count).unwrap_or(GONE));
                    norms.push(norm);
                    stretches.push(row);
                }
            }
        });
        let is_whole = !places.contains(&GONE);
        merged.push(Source { opened, places, is_whole });
    }
    if stretches.count > ROWS_MAX {
        return Err(Error::Limit {
            what: "rows of a text segment".into(),
            found: stretches.count,
            max: ROWS_MAX,
        });
    }
    if stretches.count == 0 {
        return Ok(None);
    }
    let mut given_up = None;
    let made = make(stretches, norms, &mut |field| match write_merged(&merged, field, step) {
        Ok(()) => Ok(()),
        Err(Stopped::Tantivy(error)) => Err(error),
        Err(Stopped::Ours(error)) => {
            given_up = Some(error);
            Err(tantivy::TantivyError::InternalError("given up".into()))
        }
    });
    match given_up {
        Some(error) => Err(error),
        None => made?.store(container, Naming::AfterSync).map(Some),
    }
}

/// Why terms were not written to the end.
enum Stopped {
    Tantivy(tantivy::TantivyError),
    Ours(Error),
}

impl<E: Into<tantivy::TantivyError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Stopped::Tantivy(error.into())
    }
}

fn write_merged(
    sources: &[Source<'_>],
    field: &mut FieldSerializer<'_>,
    step: &dyn Fn(u64) -> Result<()>,
) -> std::result::Result<(), Stopped> {
    let streams = sources.iter().map(|source| source.opened.inverted.terms().stream());
    let mut terms = TermMerger::new(streams.collect::<std::io::Result<Vec<_>>>()?);
    let (mut done, mut places) = (0, Vec::new());
    while terms.advance() {
        let mut count = 0;
        let mut having = Vec::new();
        for (n, info) in terms.current_segment_ords_and_term_infos() {
            let Some(source) = sources.get(n) else { continue };
            count += source.live(&info)?;
            having.push((n, source, info));
        }
        having.sort_unstable_by_key(|(n, ..)| *n);
        if count > 0 {
            field.new_term(terms.key(), count, true)?;
            for (_, source, info) in having {
                let mut postings = source
                    .opened
                    .inverted
                    .read_postings_from_terminfo(&info, IndexRecordOption::WithFreqsAndPositions)?;
                while postings.doc() != TERMINATED {
                    if let Some(doc) = source.place(postings.doc()) {
                        postings.positions(&mut places);
                        for n in (1..places.len()).rev() {
                            places[n] -= places[n - 1];
                        }
                        field.write_doc(doc, u32::try_from(places.len()).unwrap_or(u32::MAX), &places);
                    }
                    postings.advance();
                }
            }
            field.close_term()?;
        }
        done += 1;
        if done % STEP_TERMS == 0 {
            step(done).map_err(Stopped::Ours)?;
        }
    }
    Ok(())
}

impl Source<'_> {
    /// Where a row goes, unless it is dead.
    fn place(&self, doc: u32) -> Option<u32> {
        self.places.get(to_usize(doc.into())).copied().filter(|&place| place != GONE)
    }

    /// The live rows that have a term.
    fn live(&self, info: &tantivy::postings::TermInfo) -> std::io::Result<u32> {
        if self.is_whole {
            return Ok(info.doc_freq);
        }
        let mut postings =
            self.opened.inverted.read_postings_from_terminfo(info, IndexRecordOption::Basic)?;
        let mut count = 0;
        while postings.doc() != TERMINATED {
            count += u32::from(self.place(postings.doc()).is_some());
            postings.advance();
        }
        Ok(count)
    }
}

const _: () = assert!(STRETCH_BYTES == 2 * size_of::<u64>());
