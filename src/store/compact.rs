//! Compaction: merges segments, packs the catalog, moves what lies at the end into free space, trims.

use std::ops::Range;
use std::sync::Arc;

use super::vectors::NewVectors;
use super::{Control, Store, WriteTxn};
use crate::catalog::{self, Table};
use crate::codec::{key, to_u64};
use crate::error::Result;
use crate::storage::{Access, BlobRecord, Container, DATA_PAGE, Db, PAGE_BYTES, Run, guarded};

/// How often things are moved and the end of the file is trimmed; each round frees what the round before left.
const ROUNDS_MAX: u64 = 24;
/// How often room is made for what fits nowhere.
const EVICTIONS_MAX: u64 = 4;
/// Room is made when the file is longer than needed by more than one part in so many.
const LOOSE_PARTS: u64 = 32;
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
    tighten(store, control)?;
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
    let live = view.live_rows(snapshot.txn())?;
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
        view.for_each_live(snapshot.txn(), &mut |row, vector| {
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

/// Moves what lies at the end of the file into free space before it, makes room for what does not fit, and trims.
fn tighten(store: &Store, control: &Control) -> Result<()> {
    let container = Arc::clone(&store.file()?.container);
    let mut evictions = 0;
    for round in 0..ROUNDS_MAX {
        control.step("move", round, None)?;
        let before = container.occupancy()?.file;
        let moved = relocate(store, Step::Down)?;
        container.trim()?;
        if moved || container.occupancy()?.file != before {
            continue;
        }
        evictions += 1;
        if evictions > EVICTIONS_MAX || !relocate(store, Step::MakeRoom)? {
            break;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// What lies past the end of a tight file goes into free space before it.
    Down,
    /// What stands between free runs goes to the end of the file, so that something larger fits there.
    MakeRoom,
}

/// Moves blobs and extents; `false` when nothing was to be moved, or nothing could be.
fn relocate(store: &Store, step: Step) -> Result<bool> {
    let mut txn = store.write()?;
    let container = Arc::clone(&txn.state.container);
    container.ripen()?;
    let moved = txn.change(|tables, state| {
        let mut blobs: Vec<(u64, BlobRecord)> = catalog::blobs(tables)?.into_iter().collect();
        // The largest first: what is small fits into what they leave.
        blobs.sort_by_key(|(_, blob)| std::cmp::Reverse(blob.len));
        let runs: Vec<Run> = blobs.iter().map(|(_, blob)| blob.run()).collect();
        let occupancy = container.occupancy()?;
        let limit = DATA_PAGE + runs.iter().map(|run| run.pages).sum::<u64>() + occupancy.stream / PAGE_BYTES;
        let room = match step {
            Step::Down => Room::default(),
            Step::MakeRoom if occupancy.file / PAGE_BYTES <= limit + limit / LOOSE_PARTS => return Ok(false),
            Step::MakeRoom => room(&container, &runs, limit)?,
        };
        let place = |run: Run| match step {
            Step::Down if run.end() > limit => Ok(container.allocate_below(run.pages, run.start)),
            Step::MakeRoom if room.contains(&run.start) => container.allocate_at_end(run.pages).map(Some),
            _ => Ok(None),
        };
        let mut moved = false;
        for (id, blob) in blobs {
            let Some(to) = place(blob.run())? else { continue };
            let copy = container.copy_blob(&blob, to)?;
            tables.put(Table::Blobs, &key(id), copy.encode())?;
            state.retired.push(blob.run());
            state.counters.segments_changed = state.counters.commit;
            moved = true;
        }
        // The commit that follows waits for readers that have read the old map and not yet said what they read.
        moved |= container.move_extents(&place)? > 0;
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

/// Pages of the file.
type Room = Range<u64>;

/// The lowest pages that would hold the largest run that ends past `limit`, if everything movable left them.
fn room(container: &Container, blobs: &[Run], limit: u64) -> Result<Room> {
    let mut movable = container.movable_extents()?;
    movable.extend(blobs);
    let Some(needed) = movable.iter().filter(|run| run.end() > limit).map(|run| run.pages).max() else {
        return Ok(Room::default());
    };
    let mut runs: Vec<(Run, bool)> = movable.into_iter().map(|run| (run, false)).collect();
    runs.extend(container.free_runs().into_iter().map(|run| (run, true)));
    runs.sort_unstable();
    let mut room = Room::default();
    for (run, free) in runs {
        if room.end != run.start || room.is_empty() {
            // Whatever lies between cannot be moved. Room begins with a free run, else everything would move.
            room = if free { run.start..run.end() } else { Room::default() };
        } else {
            room.end = run.end();
        }
        if !room.is_empty() && room.end - room.start >= needed {
            return Ok(room);
        }
    }
    Ok(Room::default())
}

/// Commits nothing but the number of the commit.
fn touch(store: &Store) -> Result<()> {
    let mut txn: WriteTxn = store.write()?;
    txn.state.changed = true;
    txn.commit().map(drop)
}
