//! Which blob is the index of which segment, and what was last found of its recall: rows of the table `meta`.

use std::collections::BTreeMap;

use super::read::Rows;
use super::record::{Record, SampleRecord, SegmentIndexRecord, SegmentRecord};
use super::rows::blob;
use super::table::Table;
use super::write::Tables;
use crate::codec::{key, key_number};
use crate::error::Result;
use crate::storage::{BlobRecord, Run};

/// What the keys begin with; the number of the segment follows.
const PREFIX: &[u8] = b"index/";
const SAMPLES: &[u8] = b"recall/";

fn name(segment: u64) -> Vec<u8> {
    [PREFIX, &key(segment)].concat()
}

fn sample_name(segment: u64) -> Vec<u8> {
    [SAMPLES, &key(segment)].concat()
}

/// The indexes by the number of their segment.
pub(crate) fn indexes(rows: &dyn Rows) -> Result<BTreeMap<u64, SegmentIndexRecord>> {
    let mut all = BTreeMap::new();
    rows.scan(Table::Meta, PREFIX, &mut |name, value| {
        let Some(segment) = name.strip_prefix(PREFIX) else { return Ok(false) };
        let segment = key_number(segment).ok_or_else(|| Table::Meta.damage(name, "it names no segment"))?;
        all.insert(segment, SegmentIndexRecord::decode(value)?);
        Ok(true)
    })?;
    Ok(all)
}

/// What was last found of the recall of indexes, by the number of their segment. What cannot be read was not found.
pub(crate) fn samples(rows: &dyn Rows) -> Result<BTreeMap<u64, SampleRecord>> {
    let mut all = BTreeMap::new();
    rows.scan(Table::Meta, SAMPLES, &mut |name, value| {
        let Some(segment) = name.strip_prefix(SAMPLES) else { return Ok(false) };
        all.extend(key_number(segment).zip(SampleRecord::decode(value).ok()));
        Ok(true)
    })?;
    Ok(all)
}

/// Notes the recall of the index of a segment.
pub(crate) fn put_sample(tables: &mut Tables<'_>, segment: u64, sample: &SampleRecord) -> Result<()> {
    tables.put_record(Table::Meta, &sample_name(segment), sample)
}

/// Names a new blob as the index of a segment that has none.
pub(crate) fn put_index(
    tables: &mut Tables<'_>,
    segment: u64,
    index: &SegmentIndexRecord,
    place: &BlobRecord,
) -> Result<()> {
    tables.put(Table::Blobs, &key(index.blob), place.encode())?;
    tables.put_record(Table::Meta, &name(segment), index)
}

/// Removes the index of a segment; returns the pages that it leaves.
pub(crate) fn drop_index(tables: &mut Tables<'_>, segment: u64) -> Result<Option<Run>> {
    let Some(index) = tables.find::<SegmentIndexRecord>(Table::Meta, &name(segment))? else {
        return Ok(None);
    };
    tables.remove(Table::Meta, &name(segment))?;
    let run = blob(tables, index.blob)?.run();
    tables.remove(Table::Blobs, &key(index.blob))?;
    Ok(Some(run))
}

/// Removes the indexes of segments that are gone, and what is known of their recall; returns the pages that they leave.
pub(crate) fn drop_orphans(tables: &mut Tables<'_>) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for segment in samples(tables)?.into_keys() {
        if tables.find::<SegmentRecord>(Table::Segments, &key(segment))?.is_none() {
            tables.remove(Table::Meta, &sample_name(segment))?;
        }
    }
    for segment in indexes(tables)?.into_keys() {
        if tables.find::<SegmentRecord>(Table::Segments, &key(segment))?.is_none() {
            runs.extend(drop_index(tables, segment)?);
        }
    }
    Ok(runs)
}
