//! Merging segments: built from the blobs of a snapshot beside whoever writes, published in one short transaction.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::indexing::Built;
use super::memory::Component;
use super::snapshot::Blobs;
use super::text;
use super::vectors::name;
use super::view::View;
use super::{Control, OpenOptions, Store, indexing, recall};
use crate::catalog::{self, SegmentRecord, Table};
use crate::codec::{key, to_u64, to_usize};
use crate::error::{Error, Result};
use crate::limits::SEGMENT_BYTES_MAX;
use crate::storage::{BlobRecord, Container, Naming, Unnamed};
use crate::vector::segment::{Layout, Segment, SegmentWriter};
use crate::vector::tiers::{self, Size, Tiers};

/// Rows between two looks at the cancel token.
const STEP_ROWS: u64 = 1024;
/// A merge takes at most this part of the memory budget.
const BUDGET_PARTS: u64 = 8;
/// The bytes of vectors that a merge is taken to write in a millisecond, cautiously.
const BYTES_PER_MS: u64 = (128 << 20) / 1000;
/// And those of text segments.
const TEXT_BYTES_PER_MS: u64 = (8 << 20) / 1000;

/// How much a call may merge and index. The default is all that is due.
///
/// A merge that is due is done if it and those before write no more than `rows` rows, or if it is likely to be done before
/// `time` has passed since the call. One that turns out to take longer is given up, and waits. So it is with the indexes
/// of segments, once no merge waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeLimits {
    /// Rows to write, whatever time it takes.
    pub rows: u64,
    /// The time for merges beyond these rows.
    pub time: Duration,
}

impl Default for MergeLimits {
    fn default() -> Self {
        MergeLimits { rows: u64::MAX, time: Duration::MAX }
    }
}

/// What a call has merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergeReport {
    /// Merges done.
    pub merges: u64,
    /// Rows that they wrote.
    pub rows: u64,
    /// Merges that are due and wait.
    pub waiting: u64,
    /// Indexes built.
    pub indexes: u64,
    /// Segments that are to have an index and wait for it.
    pub indexes_waiting: u64,
}

/// What is left of [`MergeLimits`] while a call works.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    rows: u64,
    deadline: Option<Instant>,
}

impl Allowance {
    pub(super) fn new(limits: &MergeLimits) -> Self {
        Allowance { rows: limits.rows, deadline: Instant::now().checked_add(limits.time) }
    }

    fn is_unlimited(self) -> bool {
        self.deadline.is_none()
    }

    /// What something may take that writes so many rows, after `done` rows; `None` if it is likely to take too long.
    pub(super) fn of(self, done: u64, rows: u64, expected: Duration) -> Option<Due> {
        let is_paid = done.saturating_add(rows) <= self.rows;
        let due = Due { deadline: self.deadline.filter(|_| !is_paid) };
        if due.is_late(expected) { None } else { Some(due) }
    }
}

/// When something has to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    deadline: Option<Instant>,
}

impl Due {
    fn is_late(self, expected: Duration) -> bool {
        self.deadline.is_some_and(|deadline| deadline.saturating_duration_since(Instant::now()) < expected)
    }

    /// `Cancelled` when it is too late.
    pub(super) fn step(self) -> Result<()> {
        if self.is_late(Duration::from_nanos(1)) { Err(Error::Cancelled) } else { Ok(()) }
    }
}

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// No merge is due.
    Tiers,
    /// No segment is to be written anew because it is mostly dead.
    Alive,
    /// As few segments as possible.
    Packed,
}

impl Goal {
    pub(super) fn next(self, tiers: Tiers, sizes: &[tiers::Size]) -> Option<Range<usize>> {
        match self {
            Goal::Tiers => tiers.next(sizes),
            Goal::Alive => tiers.sparse(sizes),
            Goal::Packed => tiers.pack(sizes),
        }
    }
}

/// The bounds of the segments of a store; `None` while it has no vector.
pub(super) fn bounds(view: &View, options: &OpenOptions) -> Option<Tiers> {
    let vector_bytes = 4 * view.dim()?;
    let by_size = to_u64(SEGMENT_BYTES_MAX / vector_bytes);
    let part = to_usize(options.budget() / BUDGET_PARTS);
    let by_memory = to_u64(part.saturating_sub(SegmentWriter::memory(0)) / SegmentWriter::ROW_BYTES);
    let by_index = indexing::rows_max(options.budget(), to_u64(vector_bytes / 4));
    let rows_min = to_u64(options.tail_max() / vector_bytes).max(1);
    Some(Tiers { rows_min, rows_max: by_size.min(by_memory).min(by_index).max(1) })
}

/// What is to be written anew by now because most of its rows are dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sparse {
    /// This segment, and perhaps others.
    This,
    /// Another one.
    Other,
    /// None.
    None,
}

/// Looks at this segment and at all that there are.
pub(super) fn sparse(store: &Store, this: &Segment) -> Result<Sparse> {
    let blobs = store.snapshot()?.into_blobs();
    let view = blobs.view();
    let tiers = bounds(view, store.options());
    let size = Size { rows: this.count(), dead: this.dead_count(&view.dead) };
    if tiers.is_some_and(|tiers| tiers.is_sparse(&size)) {
        return Ok(Sparse::This);
    }
    let is_other = tiers.is_some_and(|tiers| tiers.sparse(&view.sizes()).is_some())
        || text::merge::next(&blobs, Goal::Alive).is_some();
    Ok(if is_other { Sparse::Other } else { Sparse::None })
}

/// Merges what is due, builds the indexes that are missing, looks whether the others are as good as they were, and builds those anew that
/// are not.
pub(super) fn merge(store: &Store, limits: &MergeLimits, control: &Control) -> Result<MergeReport> {
    let _alone = store.merge_alone()?;
    let allowance = Allowance::new(limits);
    let (mut report, mut has_looked) = (MergeReport::default(), false);
    loop {
        report = run(store, Goal::Tiers, allowance, report, control)?;
        if report.waiting > 0 {
            return Ok(report);
        }
        if indexing::build_missing(store, u64::MAX, allowance, &mut report, control)? == Built::UntilMerged {
            continue;
        }
        if has_looked || !recall::look(store, allowance, report.rows, control)? {
            return Ok(report);
        }
        has_looked = true;
    }
}

/// Merges towards `goal`, and adds that to `report`. The caller keeps others from merging.
pub(super) fn run(
    store: &Store,
    goal: Goal,
    allowance: Allowance,
    report: MergeReport,
    control: &Control,
) -> Result<MergeReport> {
    let mut run = Run { store, goal, allowance, control, report };
    let result = run.vectors().and_then(|()| run.texts());
    if result.is_err()
        && let Ok(file) = store.file()
    {
        // What was written may have made the file longer.
        let _ = file.container.trim();
    }
    result.map(|()| run.report)
}

/// One call that merges.
struct Run<'a> {
    store: &'a Store,
    goal: Goal,
    allowance: Allowance,
    control: &'a Control,
    report: MergeReport,
}

impl Run<'_> {
    fn vectors(&mut self) -> Result<()> {
        loop {
            self.control.step("merge", self.report.rows, None)?;
            let blobs = self.store.snapshot()?.into_blobs();
            let (view, sizes) = (blobs.view(), blobs.view().sizes());
            let Some(tiers) = bounds(view, self.store.options()) else { return Ok(()) };
            let Some(range) = self.goal.next(tiers, &sizes) else { return Ok(()) };
            let rows = sizes.get(range.clone()).map_or(0, tiers::live);
            let bytes = rows.saturating_mul(4 * to_u64(view.dim().unwrap_or(0)));
            let (store, control) = (self.store, self.control);
            let sources = view.segments.get(range).unwrap_or_default().to_vec();
            let (rows_max, mut indexes) = (rows.min(tiers.rows_max), 0);
            // Not where the space of what is dead is waited for, or where time is short.
            let with_index =
                self.goal == Goal::Tiers && self.allowance.is_unlimited() && tiers.sparse(&sizes).is_none();
            let merged = self.attempt(rows, bytes / BYTES_PER_MS, |step| {
                let merged = merge_some(store, blobs, &sources, (rows_max, with_index), control, step)?;
                indexes = merged.unwrap_or(0);
                Ok(merged.is_some())
            })?;
            self.report.indexes += indexes;
            if !merged {
                self.report.waiting += tiers.due(&sizes).0;
                return Ok(());
            }
        }
    }

    fn texts(&mut self) -> Result<()> {
        loop {
            self.control.step("merge", self.report.rows, None)?;
            let blobs = self.store.snapshot()?.into_blobs();
            let Some((sources, bytes)) = text::merge::next(&blobs, self.goal) else { return Ok(()) };
            let waiting = text::merge::bounds(self.store.options()).due(&text::merge::sizes(&blobs)).0;
            let (store, control) = (self.store, self.control);
            let merged = self.attempt(text::merge::rows(&sources), bytes / TEXT_BYTES_PER_MS, |step| {
                text::merge::merge_some(store, blobs, &sources, control, step)
            })?;
            if !merged {
                self.report.waiting += waiting;
                return Ok(());
            }
        }
    }

    /// Does a merge that writes `rows` rows and should take so many milliseconds; `false` if it has to wait.
    fn attempt(
        &mut self,
        rows: u64,
        expected_ms: u64,
        merge: impl FnOnce(&dyn Fn(u64) -> Result<()>) -> Result<bool>,
    ) -> Result<bool> {
        let expected = Duration::from_millis(expected_ms);
        let Some(due) = self.allowance.of(self.report.rows, rows, expected) else { return Ok(false) };
        let (control, before) = (self.control, self.report.rows);
        let step = |done: u64| control.step("merge", before + done, None).and_then(|()| due.step());
        match merge(&step) {
            Ok(true) => {
                (self.report.merges, self.report.rows) = (self.report.merges + 1, self.report.rows + rows);
                Ok(true)
            }
            Ok(false) => Ok(true),
            // Too late; or others have the memory now.
            Err(Error::Cancelled | Error::Memory { .. }) if !control.is_cancelled() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Segments that are written and not named yet, and the indexes that some have.
struct Written {
    segments: Vec<(Layout, BlobRecord)>,
    indexes: Vec<Option<BlobRecord>>,
    unnamed: Unnamed,
    /// What was done meanwhile.
    meanwhile: MergeReport,
}

impl Written {
    fn add(&mut self, segment: Option<(Layout, BlobRecord)>) {
        if let Some((_, blob)) = &segment {
            self.unnamed.add(blob);
        }
        self.segments.extend(segment);
    }

    /// Builds the indexes that the segments are to have.
    fn index(&mut self, store: &Store, container: &Arc<Container>, control: &Control) -> Result<()> {
        for (layout, blob) in &self.segments {
            let number = store.snapshot()?.view().counters.next_segment;
            let segment = Segment::open(container, number, layout.clone(), (0, blob.clone()))?;
            let index = indexing::build_ahead(store, container, &segment, &mut self.meanwhile, control)?;
            if let Some(place) = &index {
                self.unnamed.add(place);
            }
            self.indexes.push(index);
        }
        Ok(())
    }
}

/// Merges segments into as few as their bound allows, with the indexes that these are to have if so wanted; returns how many those
/// are. Nothing is changed if one of the segments is gone by then.
pub(super) fn merge_some(
    store: &Store,
    blobs: Blobs,
    sources: &[Arc<Segment>],
    (rows_max, with_index): (u64, bool),
    control: &Control,
    step: &dyn Fn(u64) -> Result<()>,
) -> Result<Option<u64>> {
    let rows_max = to_usize(rows_max.max(1));
    let needs = to_u64(SegmentWriter::memory(rows_max));
    let grant = store.accountant().grant(Component::Merging, "merging segments", needs)?;
    let mut built = build(&blobs, sources, rows_max, step)?;
    drop(grant);
    let container = Arc::clone(blobs.container());
    // The pages of the sources are free the sooner.
    drop(blobs);
    if with_index {
        built.index(store, &container, control)?;
    }
    if !built.segments.is_empty() {
        // Not under the lock of the writers: the commit that names them has little left to sync.
        container.sync_blobs()?;
    }
    let indexes = to_u64(built.indexes.iter().flatten().count()) + built.meanwhile.indexes;
    let is_published = publish(store, sources, built, control)?;
    container.trim()?;
    Ok(is_published.then_some(indexes))
}

/// Writes the live rows of `sources` into new segments of at most `rows_max` rows.
fn build(
    blobs: &Blobs,
    sources: &[Arc<Segment>],
    rows_max: usize,
    step: &dyn Fn(u64) -> Result<()>,
) -> Result<Written> {
    let (view, container) = (blobs.view(), blobs.container());
    let unnamed = Unnamed::new(container);
    let (segments, indexes, meanwhile) = (Vec::new(), Vec::new(), MergeReport::default());
    let mut built = Written { segments, indexes, unnamed, meanwhile };
    let mut writer: Option<SegmentWriter> = None;
    let mut done = 0;
    for source in sources {
        source.for_each(&mut |row, vector| {
            if view.dead.contains(row) {
                return Ok(());
            }
            if writer.as_ref().is_some_and(SegmentWriter::is_full)
                && let Some(full) = writer.take()
            {
                built.add(full.finish()?);
            }
            let open = match &mut writer {
                Some(open) => open,
                none => none.insert(SegmentWriter::new(
                    container,
                    (vector.len(), view.space.precision()),
                    view.metric,
                    (rows_max, rows_max),
                    Naming::AfterSync,
                )?),
            };
            open.push(row, vector)?;
            done += 1;
            if done % STEP_ROWS == 0 { step(done) } else { Ok(()) }
        })?;
    }
    if let Some(last) = writer {
        built.add(last.finish()?);
    }
    Ok(built)
}

/// Puts what was built into the place of `sources`, unless one of them was replaced meanwhile.
fn publish(store: &Store, sources: &[Arc<Segment>], built: Written, control: &Control) -> Result<bool> {
    let mut txn = store.publish(control)?;
    let is_published = txn.change(|tables, state| {
        let mut runs = Vec::new();
        let mut space = None;
        for source in sources {
            let found: Option<SegmentRecord> = tables.find(Table::Segments, &key(source.id()))?;
            let Some(record) = found.filter(|record| record.blob == source.blob_id()) else {
                return Ok(false);
            };
            // It may have moved.
            runs.push(catalog::blob(tables, record.blob)?.run());
            space = Some(record.space);
        }
        for source in sources {
            tables.remove(Table::Segments, &key(source.id()))?;
            tables.remove(Table::Blobs, &key(source.blob_id()))?;
        }
        state.retired.extend(runs);
        state.counters.segments_changed = state.counters.commit;
        let first = state.counters.next_segment;
        name(tables, &mut state.counters, space.unwrap_or(state.space_id), &built.segments)?;
        for (segment, index) in (first..).zip(&built.indexes) {
            if let Some(place) = index {
                indexing::name(tables, &mut state.counters, segment, place)?;
            }
        }
        state.changed = true;
        Ok(true)
    })?;
    if is_published {
        built.unnamed.name();
        txn.commit()?;
    }
    Ok(is_published)
}
