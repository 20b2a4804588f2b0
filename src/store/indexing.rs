//! Which segments get an index, and building them.

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::memory::Component;
use super::merge::{Allowance, MergeReport};
use super::recall::is_worn;
use super::snapshot::Blobs;
use super::view::View;
use super::watch::Watch;
use super::{Control, OpenOptions, Store};
use crate::catalog::{self, Counters, SegmentIndexRecord, SegmentRecord, Table, Tables};
use crate::codec::{key, to_u64, to_usize};
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::storage::{BlobDraft, BlobRecord, Container, Naming, Unnamed};
use crate::vector::codes::{self, Width};
use crate::vector::hnsw::{self, Codes, Params};
use crate::vector::index::Recipe;
use crate::vector::segment::Segment;

/// Stores of fewer rows in segments get no index under `auto`: they are scanned in a millisecond.
const AUTO_ROWS_MIN: u64 = 10_000;
/// In others, segments of fewer rows.
const AUTO_SEGMENT_ROWS_MIN: u64 = 5_000;
/// Segments of fewer rows get no index of a kind that was chosen: there would be too few to measure its recall with.
const CHOSEN_ROWS_MIN: u64 = 1_000;
/// A segment is not made larger than what can be indexed in this part of the memory budget.
const BUDGET_PARTS: u64 = 2;
/// This part of the memory budget is not taken for building.
const SPARE_PARTS: u64 = 4;
/// The values of vectors that are taken to be indexed in a millisecond.
const GRAPH_VALUES_PER_MS: u64 = 1_500;
const CODE_VALUES_PER_MS: u64 = 10_000;

/// Which index segments get.
///
/// An index is derived from the vectors and decides only which of them are looked at: what it finds is scored again from
/// them. Sizes are those of a vector of `dim` values beside the vector itself; a graph has some 280 bytes of links more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexKind {
    /// In a store of 10,000 vectors or more, from 5,000 in a segment on `hnsw-sq8`; `sq4` where the memory budget does not allow to build a
    /// graph. The default.
    #[default]
    Auto,
    /// None: every search is exact.
    Exact,
    /// A scan of codes of eight bits for each value: `dim` bytes.
    Sq8,
    /// A scan of codes of four bits for each value: `dim / 2` bytes.
    Sq4,
    /// A graph of nearest neighbours over vectors of half precision: `2 dim` bytes.
    Hnsw,
    /// A graph over codes of eight bits: `dim` bytes.
    HnswSq8,
    /// A graph over the values as they are: `4 dim` bytes.
    HnswF32,
}

impl IndexKind {
    /// Every kind.
    pub const ALL: [IndexKind; 7] = [
        IndexKind::Auto,
        IndexKind::Exact,
        IndexKind::Sq8,
        IndexKind::Sq4,
        IndexKind::Hnsw,
        IndexKind::HnswSq8,
        IndexKind::HnswF32,
    ];

    /// Its name: `auto`, `exact`, `sq8`, `sq4`, `hnsw`, `hnsw-sq8` or `hnsw-f32`.
    pub fn name(self) -> &'static str {
        match self.recipe() {
            Some(recipe) => recipe.name(),
            None if self == IndexKind::Exact => "exact",
            None => "auto",
        }
    }

    /// Segments of fewer rows get no index, in a store of so many; nothing where none does.
    fn rows_min(self, all: u64) -> Option<u64> {
        match self {
            IndexKind::Exact => None,
            IndexKind::Auto if all < AUTO_ROWS_MIN => Some(AUTO_ROWS_MIN),
            IndexKind::Auto => Some(AUTO_SEGMENT_ROWS_MIN),
            _ => Some(CHOSEN_ROWS_MIN),
        }
    }

    /// What is built for this kind; `None` where it depends or nothing is.
    fn recipe(self) -> Option<Recipe> {
        match self {
            IndexKind::Auto | IndexKind::Exact => None,
            IndexKind::Sq8 => Some(Recipe::Codes(Width::Eight)),
            IndexKind::Sq4 => Some(Recipe::Codes(Width::Four)),
            IndexKind::Hnsw => Some(Recipe::Graph(Params::new(Codes::F16))),
            IndexKind::HnswSq8 => Some(Recipe::Graph(Params::new(Codes::Sq8))),
            IndexKind::HnswF32 => Some(Recipe::Graph(Params::new(Codes::F32))),
        }
    }
}

impl fmt::Display for IndexKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for IndexKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = IndexKind::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| {
            let names = IndexKind::ALL.map(IndexKind::name).join(", ");
            Error::invalid("kind of index", format!("{name:?} is none of {names}"))
        })
    }
}

/// What decides whether a segment gets an index, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    pub(super) kind: IndexKind,
    /// The rows from which on; nothing where no segment gets one.
    rows_min: Option<u64>,
    /// Bytes of memory that are left for building.
    memory: u64,
    threads: NonZero<usize>,
}

/// The most rows of a segment whose index can be built within a part of the budget.
pub(super) fn rows_max(budget: u64, dim: u64) -> u64 {
    let part = budget / BUDGET_PARTS;
    let params = Params::new(Codes::F32);
    let fits = |rows: u64| to_u64(hnsw::build_bytes(to_usize(rows), to_usize(dim), params, 1)) <= part;
    if !fits(CHOSEN_ROWS_MIN) {
        // No index at all: nothing to be small for.
        return u64::MAX;
    }
    let (mut low, mut high) = (CHOSEN_ROWS_MIN, u64::from(i32::MAX.cast_unsigned()));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        (low, high) = if fits(middle) { (middle, high) } else { (low, middle - 1) };
    }
    low
}

impl Means {
    /// What a store has to build indexes with.
    pub(super) fn of(store: &Store, view: &View, kind: IndexKind) -> Self {
        let options = store.options();
        let threads = options.threads.unwrap_or(NonZero::<usize>::MIN);
        // While an index is built others write and search, and are not to be refused for it.
        let memory = store.accountant().left().saturating_sub(options.budget() / SPARE_PARTS);
        Means { kind, rows_min: rows_min(kind, view, options), memory, threads }
    }

    /// What to build for a segment, and with how many threads; or why nothing.
    pub(super) fn index_for(
        &self,
        rows: u64,
        dim: u64,
    ) -> std::result::Result<(Recipe, NonZero<usize>), String> {
        let Some(rows_min) = self.rows_min else {
            return Err("the store was made to search exactly".into());
        };
        if rows < rows_min {
            return Err(format!("an index is built from {rows_min} rows on"));
        }
        let chosen = self.kind.recipe();
        let recipe = chosen.unwrap_or(Recipe::Graph(Params::new(Codes::Sq8)));
        let spare = if chosen.is_none() { Some(Recipe::Codes(Width::Four)) } else { None };
        let fitting = |recipe| self.threads_for(recipe, rows, dim).map(|threads| (recipe, threads));
        fitting(recipe).or_else(|| spare.and_then(fitting)).ok_or_else(|| {
            let needed = recipe.build_bytes(to_usize(rows), to_usize(dim), 1);
            let (what, needs, left) = ("building its index".to_owned(), to_u64(needed), self.memory);
            Error::Memory { what, needs, left }.to_string()
        })
    }

    /// With how many threads an index can be built.
    fn threads_for(&self, recipe: Recipe, rows: u64, dim: u64) -> Option<NonZero<usize>> {
        let needs = |threads| to_u64(recipe.build_bytes(to_usize(rows), to_usize(dim), threads));
        (1..=self.threads.get()).rev().find(|&threads| needs(threads) <= self.memory).and_then(NonZero::new)
    }
}

/// The rows from which on segments of a view get an index; nothing where none does.
pub(super) fn rows_min(kind: IndexKind, view: &View, options: &OpenOptions) -> Option<u64> {
    let all = view.segments.iter().map(|segment| segment.count()).sum();
    kind.rows_min(all).map(|rows| options.index_rows_min.unwrap_or(rows))
}

/// The kind of index that a store was made for.
pub(super) fn kind(rows: &dyn catalog::Rows) -> Result<IndexKind> {
    let name = catalog::settings(rows)?.index;
    name.parse().map_err(|error: Error| Table::Meta.damage(b"settings", &error.to_string()))
}

/// Builds the indexes that segments of at most `rows_max` rows should have and have not, or have damaged or worn, and adds them to
/// `report`.
///
/// Each is built from the blobs of a snapshot, without holding up writers, and published in a transaction of its own.
pub(super) fn build_missing(
    store: &Store,
    rows_max: u64,
    allowance: Allowance,
    report: &mut MergeReport,
    control: &Control,
) -> Result<Built> {
    report.indexes_waiting = 0;
    let snapshot = store.snapshot()?;
    let kind = kind(snapshot.txn())?;
    let segments = snapshot.view().segments.iter().filter(|segment| segment.count() <= rows_max);
    let segments: Vec<u64> = segments.map(|segment| segment.id()).collect();
    drop(snapshot);
    for id in segments {
        let blobs = store.snapshot()?.into_blobs();
        let means = Means::of(store, blobs.view(), kind);
        let Some((segment, recipe, threads)) = wanted(&blobs, id, &means) else { continue };
        let rows = segment.count();
        let Some(due) = allowance.of(report.rows, rows, time(&segment, recipe, threads)) else {
            report.indexes_waiting += 1;
            continue;
        };
        let (container, metric) = (Arc::clone(blobs.container()), blobs.view().metric);
        // Building takes long: it holds the pages that it reads, and not whatever is deleted meanwhile.
        let _held = container.hold_blob(segment.run());
        drop(blobs);
        let watch = Watch::new(store, &segment, control);
        let step = |done| {
            control.step("index", done, Some(rows))?;
            due.step()?;
            watch.step()
        };
        let result = build(store, &container, (&segment, metric), (recipe, threads), &step);
        watch.add_to(report);
        let draft = match result {
            Ok(Some(draft)) => draft,
            Ok(None) => continue,
            Err(Error::Cancelled) if !control.is_cancelled() => {
                if watch.is_sparse() {
                    return Ok(Built::UntilMerged);
                }
                report.indexes_waiting += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        report.indexes += u64::from(publish(store, &container, &segment, draft)?);
        report.rows += rows;
    }
    Ok(Built::All)
}

/// Builds the index that a segment is to have before it is published: those that it takes the place of are searched by theirs
/// meanwhile. Nothing where it is to have none, and where it has to be published before, whatever the reason: what hinders its
/// building is told when it is built after that.
pub(super) fn build_ahead(
    store: &Store,
    container: &Arc<Container>,
    segment: &Segment,
    report: &mut MergeReport,
    control: &Control,
) -> Result<Option<BlobRecord>> {
    let snapshot = store.snapshot()?;
    let (means, metric) = (Means::of(store, snapshot.view(), kind(snapshot.txn())?), snapshot.view().metric);
    drop(snapshot);
    let rows = segment.count();
    let Ok(how) = means.index_for(rows, segment.dim()) else { return Ok(None) };
    let watch = Watch::ahead(store, segment, control);
    let step = |done| control.step("index", done, Some(rows)).and_then(|()| watch.step());
    let built = build(store, container, (segment, metric), how, &step);
    watch.add_to(report);
    Ok(built.ok().flatten().and_then(|draft| draft.finish().ok()))
}

/// How far the building of indexes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Built {
    /// All that the limits allow are there.
    All,
    /// While one was built, most of its segment died: it is to be merged first.
    UntilMerged,
}

/// How many segments should have a sound index and have not.
pub(super) fn due(blobs: &Blobs, means: &Means) -> u64 {
    let segments = blobs.view().segments.iter();
    to_u64(segments.filter(|segment| wanted(blobs, segment.id(), means).is_some()).count())
}

/// What to build for a segment, if it has no sound index and should have one.
fn wanted(blobs: &Blobs, id: u64, means: &Means) -> Option<(Arc<Segment>, Recipe, NonZero<usize>)> {
    let view = blobs.view();
    let is_sound = view
        .indexes
        .get(&id)
        .is_some_and(|index| index.get().is_ok() && !index.sample().is_some_and(|sample| is_worn(&sample)));
    let segment = view.segments.iter().find(|segment| segment.id() == id && !is_sound)?;
    let (recipe, threads) = means.index_for(segment.count(), segment.dim()).ok()?;
    Some((Arc::clone(segment), recipe, threads))
}

/// How long building is taken to need, cautiously.
fn time(segment: &Segment, recipe: Recipe, threads: NonZero<usize>) -> Duration {
    let per_ms = match recipe {
        Recipe::Graph(_) => GRAPH_VALUES_PER_MS.saturating_mul(to_u64(threads.get())),
        Recipe::Codes(_) => CODE_VALUES_PER_MS,
    };
    Duration::from_millis(segment.count().saturating_mul(segment.dim()) / per_ms)
}

/// Builds an index; nothing where others have taken the memory that was left.
fn build(
    store: &Store,
    container: &Arc<Container>,
    (segment, metric): (&Segment, Metric),
    (recipe, threads): (Recipe, NonZero<usize>),
    step: &(dyn Fn(u64) -> Result<()> + Sync),
) -> Result<Option<BlobDraft>> {
    let (rows, dim) = (to_usize(segment.count()), to_usize(segment.dim()));
    let needs = to_u64(recipe.build_bytes(rows, dim, threads.get()));
    let granted = store.accountant().grant(Component::Indexing, "building an index", needs);
    let Ok(_grant) = granted else { return Ok(None) };
    write(container, (segment, metric), recipe, threads, step).map(Some)
}

/// Builds an index into a blob of its own.
fn write(
    container: &Arc<Container>,
    (segment, metric): (&Segment, Metric),
    recipe: Recipe,
    threads: NonZero<usize>,
    step: &(dyn Fn(u64) -> Result<()> + Sync),
) -> Result<BlobDraft> {
    let block = segment.block()?;
    match recipe {
        Recipe::Graph(params) => {
            let open = |len| BlobDraft::new(container, len, Naming::AfterSync);
            hnsw::build(&block, metric, params, threads, open, step)
        }
        Recipe::Codes(width) => {
            let bytes = codes::blob_bytes(block.len(), block.dim(), metric, width)?;
            let draft = BlobDraft::new(container, bytes, Naming::AfterSync)?;
            let mut end = 0;
            codes::build(&block, metric, width, step, &mut |bytes| {
                draft.write_at(bytes, end)?;
                end += to_u64(bytes.len());
                Ok(())
            })?;
            Ok(draft)
        }
    }
}

/// Names the index of a segment in the catalog.
pub(super) fn name(
    tables: &mut Tables<'_>,
    counters: &mut Counters,
    segment: u64,
    place: &BlobRecord,
) -> Result<()> {
    let index = SegmentIndexRecord { blob: counters.next_blob };
    catalog::put_index(tables, segment, &index, place)?;
    counters.next_blob += 1;
    counters.segments_changed = counters.commit;
    Ok(())
}

/// Names an index, unless its segment is gone meanwhile.
pub(super) fn publish(
    store: &Store,
    container: &Arc<Container>,
    segment: &Segment,
    draft: BlobDraft,
) -> Result<bool> {
    let place: BlobRecord = draft.finish()?;
    let mut unnamed = Unnamed::new(container);
    unnamed.add(&place);
    // Before the lock of the writers: the commit that names it has little left to sync.
    container.sync_blobs()?;
    let mut txn = store.publish(&Control::default())?;
    let named = txn.change(|tables, state| {
        if tables.find::<SegmentRecord>(Table::Segments, &key(segment.id()))?.is_none() {
            return Ok(false);
        }
        state.retired.extend(catalog::drop_index(tables, segment.id())?);
        name(tables, &mut state.counters, segment.id(), &place)?;
        state.changed = true;
        Ok(true)
    })?;
    if named {
        unnamed.name();
        txn.commit()?;
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a store of 20,000 rows has.
    fn means(kind: IndexKind, memory: u64, threads: usize) -> Means {
        Means { kind, rows_min: kind.rows_min(20_000), memory, threads: NonZero::new(threads).unwrap() }
    }

    #[test]
    fn an_index_is_for_segments_that_are_large_enough() {
        let wanted = |kind, rows| means(kind, u64::MAX, 1).index_for(rows, 384).is_ok();
        for (kind, rows_min) in [(IndexKind::Auto, AUTO_SEGMENT_ROWS_MIN), (IndexKind::Sq8, CHOSEN_ROWS_MIN)]
        {
            assert!(wanted(kind, rows_min) && !wanted(kind, rows_min - 1), "{kind}");
        }
        assert!(!wanted(IndexKind::Exact, 1_000_000));
        assert_eq!(
            IndexKind::Auto.rows_min(AUTO_ROWS_MIN - 1),
            Some(AUTO_ROWS_MIN),
            "a small store is scanned"
        );
    }

    #[test]
    fn threads_are_fewer_when_memory_is_short_and_then_the_reason_is_said() {
        let (recipe, _) = means(IndexKind::Hnsw, u64::MAX, 1).index_for(100_000, 384).unwrap();
        let bytes = |threads| to_u64(recipe.build_bytes(100_000, 384, threads));
        let with = |kind, memory| means(kind, memory, 4).index_for(100_000, 384);
        assert_eq!(with(IndexKind::Hnsw, bytes(4)).unwrap().1.get(), 4);
        assert_eq!(with(IndexKind::Hnsw, bytes(2)).unwrap().1.get(), 2);
        let reason = with(IndexKind::Hnsw, bytes(1) - 1).unwrap_err();
        assert!(reason.starts_with("building its index needs 2"), "{reason}");
        // Where the kind is left to us, one that takes less.
        let graph = IndexKind::HnswSq8.recipe().unwrap();
        let least = to_u64(graph.build_bytes(100_000, 384, 1));
        assert_eq!(with(IndexKind::Auto, least).unwrap().0, graph);
        assert_eq!(with(IndexKind::Auto, least - 1).unwrap().0, Recipe::Codes(Width::Four));
    }

    #[test]
    fn segments_are_no_larger_than_what_can_be_indexed() {
        for (budget, dim) in [(32 << 20, 384), (512 << 20, 3072), (1 << 30, 65_536)] {
            let rows = rows_max(budget, dim);
            let params = Params::new(Codes::F16);
            let bytes = |rows| to_u64(hnsw::build_bytes(to_usize(rows), to_usize(dim), params, 1));
            assert!(bytes(rows) <= budget / 2 && rows > 10_000, "{rows} rows of {dim}");
            assert!(bytes(rows + rows / 64) > budget / 2, "{rows} rows of {dim}");
        }
        assert_eq!(rows_max(0, 384), u64::MAX);
    }

    #[test]
    fn kinds_have_names() {
        for kind in IndexKind::ALL {
            assert_eq!(kind.name().parse::<IndexKind>().unwrap(), kind);
        }
        let error = "ivf".parse::<IndexKind>().unwrap_err().to_string();
        assert!(error.contains("auto, exact, sq8, sq4, hnsw, hnsw-sq8, hnsw-f32"), "{error}");
    }
}
