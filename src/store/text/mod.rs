//! The text index of a store: what a transaction adds to it, what a snapshot sees of it, and merging its segments.

mod check;
pub(super) mod merge;
mod view;
pub(super) mod write;

pub(super) use check::{Tally, check};
pub(super) use view::{TellingParts, TextView};
pub(super) use write::NewText;

use crate::catalog::{DocumentRecord, TextRecord, TextSegmentRecord};
use crate::codec::{to_u64, to_usize};
use crate::error::Result;
use crate::text::Language;
use crate::text::analyzer::{ANALYZER_VERSION, Analyzer};
use crate::text::segment::Layout;

/// The way in which the store cuts texts; `None` if this version cuts them in another.
pub(super) fn analyzer(record: &TextRecord) -> Option<Analyzer> {
    let language = record.stem.as_deref().map(str::parse::<Language>).transpose().ok()?;
    (record.analyzer == ANALYZER_VERSION).then(|| Analyzer::new(language))
}

/// The texts of the parts of a document, each with its place among them.
fn parts(record: &DocumentRecord) -> impl Iterator<Item = (u64, String)> {
    let text = record.text.as_deref();
    let part = move |(n, part): (usize, &crate::catalog::PartRecord)| {
        let span = to_usize(part.start.into())..to_usize(part.end.into());
        Some((to_u64(n), text?.get(span)?.to_owned()))
    };
    record.parts.iter().enumerate().filter_map(part)
}

/// The bytes of the text of a document.
fn text_bytes(record: &DocumentRecord) -> u64 {
    record.text.as_ref().map_or(0, |text| to_u64(text.len()))
}

/// A segment as the catalog stores it.
fn segment_record(layout: &Layout, blob: u64) -> TextSegmentRecord {
    let Layout { rows, first_row, last_row, positions, ref ends } = *layout;
    TextSegmentRecord {
        blob,
        rows,
        first_row,
        last_row,
        positions,
        ends: ends.clone(),
        analyzer: ANALYZER_VERSION,
        tantivy: tantivy::version_string().to_owned(),
    }
}

/// A segment as the text engine reads it.
fn layout(record: &TextSegmentRecord) -> Layout {
    let TextSegmentRecord { rows, first_row, last_row, positions, ref ends, .. } = *record;
    Layout { rows, first_row, last_row, positions, ends: ends.clone() }
}

/// The language of a record, for those who read it.
pub(super) fn language(record: &TextRecord) -> Result<Option<Language>> {
    record.stem.as_deref().map(str::parse).transpose()
}
