//! Compaction: merges segments, packs the catalog, moves what lies at the end into free space, trims.

use std::sync::Arc;

use super::vectors::NewVectors;
use super::{Control, Store, WriteTxn};
use crate::catalog::{self, Table};
use crate::codec::{key, to_u64};
use crate::error::Result;
use crate::storage::{Access, BlobRecord, DATA_PAGE, Db, PAGE_BYTES, guarded};

/// How often the end of the file is moved down and trimmed; each round frees what the round before left.
const ROUNDS_MAX: usize = 8;
/// Rows between two looks at the cancel token.
const STEP_ROWS: u64 = 4096;

/// What a compaction has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// The length of the file before, in bytes.
    pub bytes_before: u64,
    /// The length of the file after, in bytes.
    pub bytes_after: u64,
    /// The number of segments before.
    pub segments_before: u64,
    /// The number of segments after.
    pub segments_after: u64,
    /// Bytes that could not be returned because snapshots of this or another process still see them; run it again
    /// when they are gone.
    pub bytes_held: u64,
    /// Whether the catalog was packed, too. It is not while anyone reads.
    pub catalog_packed: bool,
}

pub(super) fn compact(store: &Store, control: &Control) -> Result<CompactReport> {
    let mut report = CompactReport::default();
    let container = Arc::clone(&store.file()?.container);
    report.bytes_before = container.occupancy()?.file;
    report.segments_before = to_u64(store.snapshot()?.view().segments.len());
    merge(store, control)?;
    report.catalog_packed = pack_catalog(store)?;
    for round in 0..ROUNDS_MAX {
        control.step("move", to_u64(round), None)?;
        let before = container.occupancy()?.file;
        let moved = move_down(store)?;
        container.trim()?;
        if !moved && container.occupancy()?.file == before {
            break;
        }
    }
    let after = container.occupancy()?;
    report.bytes_after = after.file;
    report.bytes_held = after.pending;
    report.segments_after = to_u64(store.snapshot()?.view().segments.len());
    Ok(report)
}

/// Writes all live vectors into as few segments as possible, unless they are there already.
fn merge(store: &Store, control: &Control) -> Result<()> {
    let mut txn = store.write()?;
    let snapshot = store.snapshot()?;
    let view = snapshot.view();
    let live = view.live_rows()?;
    let stored: u64 = view.segments.iter().map(|segment| segment.count()).sum();
    let per_segment = view.dim().map_or(1, |dim| (crate::limits::SEGMENT_BYTES_MAX / (4 * dim)).max(1));
    let fewest = live.div_ceil(to_u64(per_segment));
    let packed = stored == live && to_u64(view.segments.len()) <= fewest && view.counters.tail_rows == 0;
    let Some(dim) = view.dim().filter(|_| !packed) else { return Ok(()) };
    txn.change(|tables, state| {
        let mut vectors =
            NewVectors::new(&state.container, state.space_id, dim, state.metric, state.tail_bytes_max)
                .expect_rows(live);
        let mut done = 0;
        view.for_each_live(&mut |row, vector| {
            done += 1;
            if done % STEP_ROWS == 0 {
                control.step("merge", done, Some(live))?;
            }
            vectors.write(row, vector)
        })?;
        for segment in view.segments.iter() {
            tables.remove(Table::Segments, &key(segment.id()))?;
            tables.remove(Table::Blobs, &key(segment.blob_id()))?;
            state.retired.push(segment.run());
        }
        for row in catalog::keys(tables, Table::Tail)? {
            tables.remove(Table::Tail, &row)?;
        }
        state.counters.tail_rows = 0;
        state.counters.segments_changed = state.counters.commit;
        state.vectors = Some(vectors);
        state.changed = true;
        Ok(())
    })?;
    drop(snapshot);
    txn.commit().map(drop)
}

/// Lets redb pack its pages, if nobody reads. A kill in the midst makes the next opening read the whole catalog once.
fn pack_catalog(store: &Store) -> Result<bool> {
    let Ok(mut file) = store.inner.file.try_write() else { return Ok(false) };
    let container = Arc::clone(&file.container);
    container.check_process()?;
    let (Access::Write, Db::Writer(db)) = (file.access, file.db_mut()?) else { return Ok(false) };
    let packed = guarded(&container, "compact", || match db.compact() {
        Ok(_) => Ok(true),
        Err(redb::CompactionError::TransactionInProgress) => Ok(false),
        Err(error) => Err(error),
    })?;
    container.note_commit();
    Ok(packed)
}

/// Moves blobs and extents that lie past the end of a tight file into free space before them; `false` when nothing
/// could move.
fn move_down(store: &Store) -> Result<bool> {
    let mut txn = store.write()?;
    let container = Arc::clone(&txn.state.container);
    container.ripen()?;
    let moved = txn.change(|tables, state| {
        let blobs = catalog::blobs(tables)?;
        let used: u64 = blobs.values().map(|blob| blob.run().pages).sum();
        let limit = DATA_PAGE + used + container.occupancy()?.stream / PAGE_BYTES;
        let mut last_first: Vec<(u64, BlobRecord)> =
            blobs.into_iter().filter(|(_, blob)| blob.run().end() > limit).collect();
        last_first.sort_by_key(|(_, blob)| std::cmp::Reverse(blob.start));
        let mut moved = false;
        for (id, blob) in last_first {
            let run = blob.run();
            let Some(to) = container.allocate_below(run.pages, run.start) else { continue };
            let copy = container.copy_blob(&blob, to)?;
            tables.put(Table::Blobs, &key(id), copy.encode())?;
            state.retired.push(run);
            state.counters.segments_changed = state.counters.commit;
            moved = true;
        }
        // The commit that follows waits for readers that have read the old map and not yet said what they read.
        moved |= container.move_extents_below(limit)? > 0;
        state.changed = moved;
        Ok(moved)
    })?;
    txn.commit()?;
    if moved {
        // What the commit before dropped is free once a commit after it is durable.
        touch(store)?;
    }
    Ok(moved)
}

/// Commits nothing but the number of the commit.
fn touch(store: &Store) -> Result<()> {
    let mut txn: WriteTxn = store.write()?;
    txn.state.changed = true;
    txn.commit().map(drop)
}
