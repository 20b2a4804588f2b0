//! The way through the vectors of a view: graphs where the planner says so, scans of all else.

use std::collections::HashSet;
use std::num::NonZero;
use std::time::Instant;

use super::explain::Plan;
use super::indexes::SegmentIndex;
use super::memory::{Component, Grant, THREAD_BYTES};
use super::plan::{Facts, Way, way};
use super::snapshot::Snapshot;
use crate::codec::{to_u64, to_usize};
use crate::error::{Error, Result};
use crate::vector::exact::{Block, Query, Selection, scan_positions};
use crate::vector::parallel::scan_parallel;
use crate::vector::segment::Segment;
use crate::vector::tail::Tail;
use crate::vector::topk::TopK;

/// When the graph found too few documents, so many times as many rows are asked for.
const MORE: usize = 4;

/// What is wanted.
pub(super) struct Search<'a> {
    pub(super) query: &'a Query,
    pub(super) selection: Selection<'a>,
    /// How many documents.
    pub(super) k: usize,
    /// The part of the nearest that should be found; 1 for a scan of everything.
    pub(super) recall: f32,
}

/// Finds the best documents of a snapshot, and notes how in `plan`.
pub(super) fn nearest(snapshot: &Snapshot, search: &Search<'_>, plan: &mut Plan) -> Result<TopK> {
    let view = snapshot.view();
    let mut top = TopK::new(search.k);
    let mut scanned: Vec<&Segment> = Vec::new();
    let started = Instant::now();
    for segment in view.segments.iter() {
        plan.segments += 1;
        let found = match view.indexes.get(&segment.id()) {
            Some(index) => by_graph(snapshot, segment, index, search, plan)?,
            None => None,
        };
        match found {
            Some(found) => top.merge(found),
            None => scanned.push(segment),
        }
    }
    let by_graph = plan.segments - scanned.len();
    plan.graph_time = started.elapsed();
    let started = Instant::now();
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for segment in &scanned {
        blocks.push(segment.block()?);
    }
    for block in view.tail(snapshot.txn())?.into_iter().flat_map(Tail::blocks) {
        blocks.push(block?);
    }
    plan.candidates += blocks.iter().map(|block| to_u64(block.len())).sum::<u64>();
    let (threads, _grant) = threads(snapshot, search.k)?;
    let owner = |row| view.owner(row);
    top.merge(scan_parallel(&blocks, search.query, &search.selection, &owner, search.k, threads)?);
    plan.scan_time = started.elapsed();
    if by_graph > 0 {
        plan.path = if scanned.is_empty() { "hnsw" } else { "mixed" };
        // As it was written, not as f32 has it.
        plan.recall_promised = (f64::from(search.recall) * 1e6).round() / 1e6;
    }
    Ok(top)
}

/// How many threads scan, as many as wanted that there is memory for, and that memory.
fn threads(snapshot: &Snapshot, k: usize) -> Result<(NonZero<usize>, Grant)> {
    let (store, parts) = (snapshot.store(), snapshot.view().counters.parts);
    let list = to_u64(TopK::bytes(k.min(to_usize(parts))));
    let mut threads = store.options().threads.unwrap_or(NonZero::<usize>::MIN);
    loop {
        let others = to_u64(threads.get() - 1);
        // The list of all, that of the segments before, and one for each thread.
        let needs = (others + 3).saturating_mul(list).saturating_add(others * THREAD_BYTES);
        match (
            store.accountant().grant(Component::Queries, "a search", needs),
            NonZero::new(threads.get() - 1),
        ) {
            (Ok(grant), _) => return Ok((threads, grant)),
            (Err(_), Some(fewer)) => threads = fewer,
            (Err(error), None) => return Err(error),
        }
    }
}

/// Finds the best documents of a segment by its index; `None` when it is to be scanned.
fn by_graph(
    snapshot: &Snapshot,
    segment: &Segment,
    index: &SegmentIndex,
    search: &Search<'_>,
    plan: &mut Plan,
) -> Result<Option<TopK>> {
    let view = snapshot.view();
    let mut wanted = search
        .k
        .saturating_mul(to_usize(view.counters.parts.div_ceil(view.counters.documents.max(1)).max(1)));
    loop {
        let opened = match index.get() {
            Ok(opened) => opened,
            Err(damage) => {
                plan.notes.push(damage.to_owned());
                return Ok(None);
            }
        };
        let facts = Facts {
            rows: segment.count(),
            allowed: allowed(segment, &search.selection),
            dim: segment.dim(),
            wanted,
            recall: search.recall,
            index: Some((opened.shape().codes, opened.curve())),
        };
        let Way::Graph { wanted: asked, rescored } = way(&facts) else { return Ok(None) };
        // Damage that only the search finds is told at the next turn.
        let (near, computed) = match index.near(search.query, asked, snapshot.store().accountant()) {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            // A scan needs hardly any.
            Err(error @ Error::Memory { .. }) => {
                plan.notes.push(error.to_string());
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        plan.candidates += computed;
        let rows = segment.row_numbers()?;
        let mut positions: Vec<usize> = Vec::with_capacity(rescored);
        let mut documents = HashSet::new();
        for near in near {
            let Some(row) = rows.get(near.position) else { continue };
            if positions.len() < rescored && search.selection.contains(row) {
                positions.push(near.position);
                documents.insert(view.owner(row));
            }
        }
        if positions.len() < rescored {
            return Ok(None);
        }
        if documents.len() < search.k {
            wanted = wanted.saturating_mul(MORE);
            continue;
        }
        // In the order of the file.
        positions.sort_unstable();
        let block = segment.block_at(&positions)?;
        plan.rescored += to_u64(positions.len());
        let mut top = TopK::new(search.k);
        scan_positions(&block, search.query, positions.into_iter(), &|row| view.owner(row), &mut top)?;
        return Ok(Some(top));
    }
}

/// How many rows of a segment may be found, or somewhat more.
fn allowed(segment: &Segment, selection: &Selection<'_>) -> u64 {
    let (rows, span) = (segment.count(), segment.span());
    match selection {
        Selection::All => rows,
        Selection::Only(set) => set.range_cardinality(span).min(rows),
        Selection::Except(dead) => {
            // Rows between the first and the last that the segment has not may be dead, too.
            let holes = (span.end() - span.start() + 1).saturating_sub(rows);
            rows.saturating_sub(dead.range_cardinality(span).saturating_sub(holes))
        }
    }
}
