//! Compaction: merges segments, packs the catalog, moves what lies at the end into free space, trims.

use std::ops::Range;
use std::sync::Arc;

use super::merge::{self, Allowance, Goal, MergeLimits, MergeReport};
use super::vectors::NewVectors;
use super::{Control, Store, indexing, recall};
use crate::catalog::{self, Table};
use crate::codec::{key, to_u64};
use crate::error::Result;
use crate::limits::BATCH_DOCUMENTS;
use crate::storage::{Access, BlobRecord, Container, DATA_PAGE, Db, PAGE_BYTES, Run, guarded};

/// How often things are moved and the end of the file is trimmed; each round frees what the round before left.
const ROUNDS_MAX: u64 = 24;
/// How often room is made for what fits nowhere.
const EVICTIONS_MAX: u64 = 4;
/// Room is made when the file is longer than needed by more than one part in so many.
const LOOSE_PARTS: u64 = 32;

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
    /// The indexes of segments that were built.
    pub indexes_built: u64,
    /// Bytes that could not be returned because snapshots of this or another process still see them; run it again
    /// when they are gone.
    pub bytes_held: u64,
    /// Whether the catalog was packed, too. It is not while anyone reads.
    pub catalog_packed: bool,
}

pub(super) fn compact(store: &Store, control: &Control) -> Result<CompactReport> {
    let mut report = CompactReport::default();
    let _alone = store.merge_alone()?;
    let container = Arc::clone(&store.file()?.container);
    report.bytes_before = container.occupancy()?.file;
    report.segments_before = to_u64(store.snapshot()?.view().segments.len());
    build_index(store, control)?;
    seal(store)?;
    let all = Allowance::new(&MergeLimits::default());
    let mut merged = merge::run(store, Goal::Packed, all, MergeReport::default(), control)?;
    recall::look(store, all, merged.rows, control)?;
    indexing::build_missing(store, u64::MAX, all, &mut merged, control)?;
    report.indexes_built = merged.indexes;
    catalog::fold(&*store.file()?)?;
    report.catalog_packed = pack_catalog(store)?;
    tighten(store, control)?;
    let after = container.occupancy()?;
    report.bytes_after = after.file;
    report.bytes_held = after.pending;
    report.segments_after = to_u64(store.snapshot()?.view().segments.len());
    Ok(report)
}

/// Makes the index over metadata in a store that has none, for it was written by a version without.
fn build_index(store: &Store, control: &Control) -> Result<()> {
    let mut txn = store.publish(&Control::default())?;
    let is_built = txn.change(|tables, state| {
        if catalog::index::index(tables)?.is_some() {
            return Ok(false);
        }
        catalog::index::create(tables)?;
        let (mut done, documents) = (0, state.counters.documents);
        let mut from = 0;
        loop {
            let page = catalog::documents(tables, from, BATCH_DOCUMENTS)?;
            let Some((last, _)) = page.last() else { break };
            from = last + 1;
            for (row, record) in &page {
                state.index.add(tables, *row, &record.metadata)?;
            }
            done += to_u64(page.len());
            control.step("index", done, Some(documents))?;
        }
        state.changed = true;
        Ok(true)
    })?;
    if is_built { txn.commit().map(drop) } else { Ok(()) }
}

/// Makes segments of the tails.
fn seal(store: &Store) -> Result<()> {
    let mut txn = store.publish(&Control::default())?;
    txn.change(|tables, state| {
        if let Some(text) = state.text.as_mut().filter(|text| text.has_tail()) {
            text.take_tail(tables, &state.counters)?;
            state.changed = true;
        }
        let Some(dim) = state.dim().filter(|_| state.counters.tail_rows > 0) else { return Ok(()) };
        let mut vectors = NewVectors::new(
            &state.container,
            state.space_id,
            (dim, state.space.precision()),
            state.metric,
            state.tail_bytes_max,
            &state.memory,
        )?;
        vectors.seal(tables, &mut state.counters, &state.dead)?;
        state.vectors = Some(vectors);
        state.changed = true;
        Ok(())
    })?;
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
    let mut txn = store.publish(&Control::default())?;
    txn.write_through()?;
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

/// Commits nothing but the number of the commit, and what is in the log, to redb.
fn touch(store: &Store) -> Result<()> {
    let mut txn = store.publish(&Control::default())?;
    txn.write_through()?;
    txn.state.changed = true;
    txn.commit().map(drop)
}
