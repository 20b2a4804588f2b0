//! The text index: its state, a row of the table `meta`, and its segments.

use std::collections::BTreeMap;

use super::read::{Rows, find};
use super::record::{Record, TextRecord, TextSegmentRecord};
use super::rows::blob;
use super::table::Table;
use super::write::Tables;
use crate::codec::{key, key_number};
use crate::error::Result;
use crate::storage::{BlobRecord, Run};

const TEXT: &[u8] = b"text";

/// The state of the text index; `None` in a store without one.
pub(crate) fn text(rows: &dyn Rows) -> Result<Option<TextRecord>> {
    find(rows, Table::Meta, TEXT)
}

/// Writes the state of the text index.
pub(crate) fn put_text(tables: &mut Tables<'_>, record: &TextRecord) -> Result<()> {
    tables.put_record(Table::Meta, TEXT, record)
}

/// The text segments by their numbers.
pub(crate) fn text_segments(rows: &dyn Rows) -> Result<BTreeMap<u64, TextSegmentRecord>> {
    let mut all = BTreeMap::new();
    rows.scan(Table::TextSegments, &[], &mut |id, value| {
        let number = key_number(id).ok_or_else(|| Table::TextSegments.damage(id, "key is no number"))?;
        all.insert(number, TextSegmentRecord::decode(value)?);
        Ok(true)
    })?;
    Ok(all)
}

/// Names a new text segment and its blob.
pub(crate) fn put_text_segment(
    tables: &mut Tables<'_>,
    number: u64,
    segment: &TextSegmentRecord,
    place: &BlobRecord,
) -> Result<()> {
    tables.put(Table::Blobs, &key(segment.blob), place.encode())?;
    tables.put_record(Table::TextSegments, &key(number), segment)
}

/// Removes a text segment and its blob, if it is there; returns the pages that it leaves.
pub(crate) fn drop_text_segment(tables: &mut Tables<'_>, number: u64) -> Result<Option<Run>> {
    let Some(segment) = tables.find::<TextSegmentRecord>(Table::TextSegments, &key(number))? else {
        return Ok(None);
    };
    tables.remove(Table::TextSegments, &key(number))?;
    let run = blob(tables, segment.blob)?.run();
    tables.remove(Table::Blobs, &key(segment.blob))?;
    Ok(Some(run))
}
