//! Which segments get an index, and building them.

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;
use std::sync::Arc;

use super::memory::Component;
use super::view::View;
use super::{Control, Store};
use crate::catalog::{self, SegmentIndexRecord, SegmentRecord, Table};
use crate::codec::{key, to_u64, to_usize};
use crate::error::{Error, Result};
use crate::storage::{BlobDraft, BlobRecord, Container, Naming, Unnamed};
use crate::vector::hnsw::{self, Codes, Params};
use crate::vector::segment::Segment;

/// Segments of fewer rows get no index under `auto`: they are scanned in a millisecond.
const AUTO_ROWS_MIN: u64 = 10_000;
/// Segments of fewer rows get no index under `hnsw`: there would be too few to measure its recall with.
const HNSW_ROWS_MIN: u64 = 1_000;
/// A segment is not made larger than what can be indexed in this part of the memory budget.
const BUDGET_PARTS: u64 = 2;

/// Which segments get an index when they are compacted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexKind {
    /// Those of 10,000 vectors or more. The default.
    #[default]
    Auto,
    /// None: every search is exact.
    Exact,
    /// Those of 1,000 vectors or more get a graph of nearest neighbours.
    Hnsw,
}

impl IndexKind {
    const ALL: [IndexKind; 3] = [IndexKind::Auto, IndexKind::Exact, IndexKind::Hnsw];

    /// Its name: `auto`, `exact` or `hnsw`.
    pub fn name(self) -> &'static str {
        match self {
            IndexKind::Auto => "auto",
            IndexKind::Exact => "exact",
            IndexKind::Hnsw => "hnsw",
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
        known.ok_or_else(|| Error::invalid("index", format!("{name:?} is none of auto, exact, hnsw")))
    }
}

/// What decides whether a segment gets an index, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    pub(super) kind: IndexKind,
    rows_min: Option<u64>,
    /// Bytes of memory that are left for building.
    memory: u64,
    threads: NonZero<usize>,
    codes: Codes,
}

/// The codes of a store of so many values: those that the system is likely to keep in memory beside the budget, for the
/// pages of codes that it drops have to be read again.
fn codes(values: u64, budget: u64) -> Codes {
    if values.saturating_mul(2) <= budget { Codes::F16 } else { Codes::Sq8 }
}

/// The most rows of a segment whose index can be built within a part of the budget.
pub(super) fn rows_max(budget: u64, dim: u64) -> u64 {
    let part = budget / BUDGET_PARTS;
    let params = Params::new(Codes::F32);
    let fits = |rows: u64| to_u64(hnsw::build_bytes(to_usize(rows), to_usize(dim), params, 1)) <= part;
    if !fits(HNSW_ROWS_MIN) {
        // No index at all: nothing to be small for.
        return u64::MAX;
    }
    let (mut low, mut high) = (HNSW_ROWS_MIN, u64::from(i32::MAX.cast_unsigned()));
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
        let rows: u64 = view.segments.iter().map(|segment| segment.count()).sum();
        let values = rows.saturating_mul(to_u64(view.dim().unwrap_or(0)));
        Means {
            kind,
            rows_min: options.index_rows_min,
            memory: store.accountant().left(),
            threads,
            codes: codes(values, options.budget()),
        }
    }

    /// What to build for a segment, and with how many threads; or why nothing.
    pub(super) fn index_for(
        &self,
        rows: u64,
        dim: u64,
    ) -> std::result::Result<(Params, NonZero<usize>), String> {
        let rows_min = match self.kind {
            IndexKind::Exact => return Err("the store was made to search exactly".into()),
            IndexKind::Auto => AUTO_ROWS_MIN,
            IndexKind::Hnsw => HNSW_ROWS_MIN,
        };
        let rows_min = self.rows_min.unwrap_or(rows_min);
        if rows < rows_min {
            return Err(format!("an index is built from {rows_min} rows on"));
        }
        let params = Params::new(self.codes);
        let needs = |threads| to_u64(hnsw::build_bytes(to_usize(rows), to_usize(dim), params, threads));
        let fits = (1..=self.threads.get()).rev().find(|&threads| needs(threads) <= self.memory);
        if let Some(threads) = fits.and_then(NonZero::new) {
            return Ok((params, threads));
        }
        let (what, needs, left) = ("building its index".to_owned(), needs(1), self.memory);
        Err(Error::Memory { what, needs, left }.to_string())
    }
}

/// The kind of index that a store was made for.
pub(super) fn kind(rows: &dyn catalog::Rows) -> Result<IndexKind> {
    let name = catalog::settings(rows)?.index;
    name.parse().map_err(|error: Error| Table::Meta.damage(b"settings", &error.to_string()))
}

/// Builds the indexes that segments should have and have not, or have damaged; returns how many.
///
/// Each is built from a snapshot, without holding up writers, and published in a transaction of its own.
pub(super) fn build_missing(store: &Store, control: &Control) -> Result<u64> {
    let snapshot = store.snapshot()?;
    let kind = kind(snapshot.txn())?;
    let segments: Vec<u64> = snapshot.view().segments.iter().map(|segment| segment.id()).collect();
    drop(snapshot);
    let mut built = 0;
    for id in segments {
        let snapshot = store.snapshot()?;
        let view = snapshot.view();
        let sound = view.indexes.get(&id).is_some_and(|index| index.get().is_ok());
        let Some(segment) = view.segments.iter().find(|segment| segment.id() == id && !sound) else {
            continue;
        };
        let means = Means::of(store, view, kind);
        let Ok((params, threads)) = means.index_for(segment.count(), segment.dim()) else { continue };
        let (rows, dim) = (to_usize(segment.count()), to_usize(segment.dim()));
        let needs = to_u64(hnsw::build_bytes(rows, dim, params, threads.get()));
        // Others may have taken meanwhile what was left.
        let granted = store.accountant().grant(Component::Indexing, "building an index", needs);
        let Ok(_grant) = granted else { continue };
        let total = segment.count();
        let step = |done| control.step("index", done, Some(total));
        let container = Arc::clone(&store.file()?.container);
        let open = |len| BlobDraft::new(&container, len, Naming::AfterSync);
        let draft = hnsw::build(&segment.block()?, view.metric, params, threads, open, &step)?;
        built += u64::from(publish(store, &container, segment, draft)?);
    }
    Ok(built)
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
    let mut txn = store.write()?;
    let named = txn.change(|tables, state| {
        if tables.find::<SegmentRecord>(Table::Segments, &key(segment.id()))?.is_none() {
            return Ok(false);
        }
        state.retired.extend(catalog::drop_index(tables, segment.id())?);
        let index = SegmentIndexRecord { blob: state.counters.next_blob };
        catalog::put_index(tables, segment.id(), &index, &place)?;
        state.counters.next_blob += 1;
        state.counters.segments_changed = state.counters.commit;
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

    fn means(kind: IndexKind, memory: u64, threads: usize) -> Means {
        Means { kind, rows_min: None, memory, threads: NonZero::new(threads).unwrap(), codes: Codes::F16 }
    }

    #[test]
    fn an_index_is_for_segments_that_are_large_enough() {
        let wanted = |kind, rows| means(kind, u64::MAX, 1).index_for(rows, 384).is_ok();
        for (kind, rows_min) in [(IndexKind::Auto, AUTO_ROWS_MIN), (IndexKind::Hnsw, HNSW_ROWS_MIN)] {
            assert!(wanted(kind, rows_min) && !wanted(kind, rows_min - 1), "{kind}");
        }
        assert!(!wanted(IndexKind::Exact, 1_000_000));
    }

    #[test]
    fn threads_are_fewer_when_memory_is_short_and_then_the_reason_is_said() {
        let (params, _) = means(IndexKind::Auto, u64::MAX, 1).index_for(100_000, 384).unwrap();
        let bytes = |threads| to_u64(hnsw::build_bytes(100_000, 384, params, threads));
        let with = |memory| means(IndexKind::Auto, memory, 4).index_for(100_000, 384);
        assert_eq!(with(bytes(4)).unwrap().1.get(), 4);
        assert_eq!(with(bytes(2)).unwrap().1.get(), 2);
        let reason = with(bytes(1) - 1).unwrap_err();
        assert!(reason.starts_with("building its index needs 2"), "{reason}");
    }

    #[test]
    fn codes_are_small_where_the_budget_is() {
        assert_eq!(codes(1_000_000 * 384, 1 << 30), Codes::F16);
        assert_eq!(codes(200_000 * 3072, 512 << 20), Codes::Sq8);
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
        assert!("sq8".parse::<IndexKind>().is_err());
    }
}
