//! Merging text segments: built from the blobs of a snapshot beside whoever writes, published in one short transaction.

use std::sync::Arc;

use super::write::name;
use crate::catalog::{self, Table, TextRecord, TextSegmentRecord};
use crate::codec::key;
use crate::error::Result;
use crate::storage::{BlobRecord, Unnamed};
use crate::store::memory::Component;
use crate::store::merge::Goal;
use crate::store::snapshot::Blobs;
use crate::store::{Control, OpenOptions, Store};
use crate::text::memory;
use crate::text::segment::{Layout, ROWS_MAX, Segment};
use crate::text::write::merge;
use crate::vector::tiers::{Size, Tiers};

/// A text of so many bytes makes about one byte of a segment.
const TEXT_PER_SEGMENT_BYTE: u64 = 2;

/// The bounds of the segments of a store, in bytes.
pub(in crate::store) fn bounds(options: &OpenOptions) -> Tiers {
    let rows_min = (options.text_tail_bytes_max / TEXT_PER_SEGMENT_BYTE).max(1);
    Tiers { rows_min, rows_max: memory::segment_max(options.budget()).max(rows_min) }
}

/// The sizes of the text segments in bytes, in their order; of the dead rows their share of the bytes.
pub(in crate::store) fn sizes(blobs: &Blobs) -> Vec<Size> {
    let view = blobs.view();
    let size = |segment: &Arc<Segment>| {
        let (bytes, rows) = (segment.bytes(), segment.layout().rows.max(1));
        let dead = segment.dead_count(&view.dead);
        Size { rows: bytes, dead: if dead == rows { bytes } else { bytes / rows * dead } }
    };
    view.text.iter().flat_map(|text| text.segments.iter()).map(size).collect()
}

/// The next merge towards `goal`: its segments, and the bytes that it is likely to write.
pub(in crate::store) fn next(blobs: &Blobs, goal: Goal) -> Option<(Vec<Arc<Segment>>, u64)> {
    let sizes = sizes(blobs);
    let range = goal.next(bounds(blobs.store().options()), &sizes)?;
    let bytes = sizes.get(range.clone()).map_or(0, crate::vector::tiers::live);
    let segments = blobs.view().text.as_ref()?.segments.get(range)?.to_vec();
    let rows = segments.iter().map(|segment| segment.layout().rows).sum::<u64>();
    (rows <= ROWS_MAX).then_some((segments, bytes))
}

/// Merges segments into one; `false`, and nothing is changed, if one of them is gone by then.
pub(in crate::store) fn merge_some(
    store: &Store,
    blobs: Blobs,
    sources: &[Arc<Segment>],
    control: &Control,
    step: &dyn Fn(u64) -> Result<()>,
) -> Result<bool> {
    let container = Arc::clone(blobs.container());
    let (rows, bytes) = sources
        .iter()
        .fold((0, 0), |(rows, bytes), source| (rows + source.layout().rows, bytes + source.bytes()));
    let needs = memory::merge_bytes(rows, bytes);
    let grant = store.accountant().grant(Component::Text, "merging text segments", needs)?;
    let built = merge(sources, &blobs.view().dead, &container, step)?;
    drop(grant);
    let mut unnamed = Unnamed::new(&container);
    if let Some((_, place)) = &built {
        unnamed.add(place);
        // Not under the lock of the writers: the commit that names it has little left to sync.
        container.sync_blobs()?;
    }
    // The pages of the sources are free the sooner.
    drop(blobs);
    let is_published = publish(store, sources, built.as_slice(), unnamed, control)?;
    container.trim()?;
    Ok(is_published)
}

/// Puts what was built into the place of `sources`, unless one of them was replaced meanwhile.
fn publish(
    store: &Store,
    sources: &[Arc<Segment>],
    built: &[(Layout, BlobRecord)],
    unnamed: Unnamed,
    control: &Control,
) -> Result<bool> {
    let mut txn = store.publish(control)?;
    let is_published = txn.change(|tables, state| {
        for source in sources {
            let found: Option<TextSegmentRecord> = tables.find(Table::TextSegments, &key(source.id()))?;
            if found.is_none_or(|record| record.blob != source.blob_id()) {
                return Ok(false);
            }
        }
        let Some(text) = &mut state.text else { return Ok(false) };
        for source in sources {
            // It may have moved.
            state.retired.extend(catalog::drop_text_segment(tables, source.id())?);
        }
        let record: &mut TextRecord = &mut text.record;
        name(tables, &mut state.counters, record, built)?;
        record.changed = state.counters.commit;
        state.changed = true;
        Ok(true)
    })?;
    if is_published {
        unnamed.name();
        txn.commit()?;
    }
    Ok(is_published)
}

/// Rows of segments, for reports.
pub(in crate::store) fn rows(sources: &[Arc<Segment>]) -> u64 {
    sources.iter().map(|segment| segment.layout().rows).sum()
}
