//! The way through the vectors of a view: graphs where the planner says so, scans of all else.

use std::num::NonZero;
use std::time::Instant;

use super::Store;
use super::explain::Plan;
use super::indexes::{Damage, SegmentIndex};
use super::memory::{Component, Grant, THREAD_BYTES};
use super::plan::{Facts, Known, SearchPath, Seen, Way, way};
use super::snapshot::{Blobs, Snapshot};
use crate::codec::{to_u64, to_usize};
use crate::error::{Error, Result};
use crate::vector::exact::{Query, Selection, scan_positions};
use crate::vector::hnsw::{self, Wanted};
use crate::vector::index::Index;
use crate::vector::outline::Outlined;
use crate::vector::parallel::scan_parallel;
use crate::vector::segment::Segment;
use crate::vector::sketch::scratch_bytes;
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
    /// The only way to go, where it can be gone.
    pub(super) path: Option<SearchPath>,
}

/// Finds the best documents of a snapshot, and notes how in `plan`.
pub(super) fn nearest(snapshot: &Snapshot, search: &Search<'_>, plan: &mut Plan) -> Result<TopK> {
    let view = snapshot.view();
    snapshot.store().inner.searches.note();
    let mut top = TopK::new(search.k);
    let mut scanned: Vec<&Segment> = Vec::new();
    let (started, mut used) = (Instant::now(), Used::default());
    let (threads, _grant) = threads(snapshot.blobs(), search.k)?;
    for segment in view.segments.iter() {
        plan.segments += 1;
        let found = match view.indexes.get(&segment.id()) {
            Some(index) => ByIndex { blobs: snapshot.blobs(), segment, index, search, threads }
                .nearest(&mut used, plan)?,
            None => None,
        };
        match found {
            Some(found) => top.merge(found),
            None => scanned.push(segment),
        }
    }
    plan.graph_time = started.elapsed().saturating_sub(plan.codes_time + plan.rescore_time);
    let started = Instant::now();
    let mut blocks: Vec<Outlined<'_>> = Vec::new();
    let ask = |bytes| snapshot.store().accountant().outline(bytes);
    for segment in &scanned {
        blocks.push(match view.indexes.get(&segment.id()) {
            Some(_) => segment.block()?.into(),
            None => segment.outlined(view.metric, &ask)?,
        });
    }
    for block in view.tail(snapshot.txn())?.into_iter().flat_map(|tail| tail.blocks(&ask)) {
        blocks.push(block?);
    }
    plan.candidates += blocks.iter().map(|block| to_u64(block.block().len())).sum::<u64>();
    let owner = |row| view.owner(row);
    let top = scan_parallel(&blocks, search.query, &search.selection, &owner, top, threads)?;
    plan.scan_time = started.elapsed();
    if used.graphs + used.codes > 0 {
        plan.path = match (used.graphs, used.codes, scanned.len()) {
            (_, 0, 0) => "hnsw",
            (0, _, 0) => "codes",
            _ => "mixed",
        };
        // As it was written, not as f32 has it.
        plan.recall_promised = (f64::from(search.recall) * 1e6).round() / 1e6;
    }
    Ok(top)
}

/// Does what the first searches of new segments would do, where there are searches by vectors: reads and verifies everything, and draws
/// outlines.
///
/// # Errors
/// As [`Store::snapshot`]; `Corrupt` for a segment that is damaged.
pub(super) fn prepare(store: &Store) -> Result<()> {
    if !store.inner.searches.go_on() {
        return Ok(());
    }
    let blobs = store.snapshot()?.into_blobs();
    let view = blobs.view();
    let ask = |bytes| store.accountant().outline(bytes);
    for segment in view.segments.iter() {
        match view.indexes.get(&segment.id()) {
            Some(index) => drop(index.whole(NonZero::<usize>::MIN)),
            None => segment.prepare(view.metric, &ask)?,
        }
    }
    Ok(())
}

/// How many threads scan, as many as wanted that there is memory for, and that memory.
fn threads(blobs: &Blobs, k: usize) -> Result<(NonZero<usize>, Grant)> {
    let (store, parts) = (blobs.store(), blobs.view().counters.parts);
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

/// How many segments were searched by their graphs, and how many by their codes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    graphs: usize,
    codes: usize,
}

/// What a graph gave.
struct Nearest {
    /// The positions of the nearest rows that are allowed, at most as many as are scored.
    positions: Vec<usize>,
    seen: Seen,
}

/// A segment that has an index, and what is wanted of it.
pub(super) struct ByIndex<'a> {
    pub(super) blobs: &'a Blobs,
    pub(super) segment: &'a Segment,
    pub(super) index: &'a SegmentIndex,
    pub(super) search: &'a Search<'a>,
    pub(super) threads: NonZero<usize>,
}

impl ByIndex<'_> {
    /// Finds the best documents of a segment by its index; `None` when it is to be scanned.
    pub(super) fn nearest(&self, used: &mut Used, plan: &mut Plan) -> Result<Option<TopK>> {
        let (view, segment, search) = (self.blobs.view(), self.segment, self.search);
        let parts = view.counters.parts.div_ceil(view.counters.documents.max(1)).max(1);
        let mut facts = Facts {
            rows: segment.count(),
            allowed: allowed(segment, &search.selection),
            seen: None,
            dim: segment.dim(),
            bytes: segment.vector_bytes(),
            wanted: search.k.saturating_mul(to_usize(parts)),
            recall: search.recall,
            index: None,
            forced: search.path,
        };
        loop {
            let (opened, way) = match self.way(facts) {
                Ok(chosen) => chosen,
                Err(damage) => {
                    plan.notes.push(damage.to_string());
                    return Ok(None);
                }
            };
            let (positions, is_all, count) = match way {
                Way::Exact => return Ok(None),
                Way::Codes { rescored } => {
                    let started = Instant::now();
                    let (_, _grant) = threads(self.blobs, rescored)?;
                    let positions = self.by_codes(opened, rescored, plan)?;
                    plan.codes_time += started.elapsed();
                    let is_all = positions.len() < rescored;
                    (positions, is_all, &mut used.codes)
                }
                Way::Graph { wanted, rescored, turns_back } => {
                    let Index::Graph(graph) = opened else { return Ok(None) };
                    // Damage that only the search finds is told at the next turn.
                    let near = match self.by_graph(graph, wanted, rescored, turns_back, plan) {
                        Ok(Some(near)) => near,
                        Ok(None) => continue,
                        // A scan needs hardly any.
                        Err(error @ Error::Memory { .. }) => {
                            plan.notes.push(error.to_string());
                            return Ok(None);
                        }
                        Err(error) => return Err(error),
                    };
                    facts.seen = Some(near.seen);
                    if near.seen.allowed < rescored {
                        continue;
                    }
                    (near.positions, false, &mut used.graphs)
                }
            };
            let started = Instant::now();
            let scored = self.score(positions, is_all, plan)?;
            plan.rescore_time += started.elapsed();
            if let Some(top) = scored {
                *count += 1;
                return Ok(Some(top));
            }
            facts.wanted = facts.wanted.saturating_mul(MORE);
        }
    }

    /// The way to go, and the index, of which all was checked that it needs.
    fn way(&self, facts: Facts<'_>) -> std::result::Result<(&Index, Way), &Damage> {
        let index = self.index.planned()?;
        let known = Known { recipe: index.recipe(), curve: index.curve(), sketches: index.sketches() };
        match way(&Facts { index: Some(known), ..facts }) {
            Way::Exact => Ok((index, Way::Exact)),
            way => Ok((self.index.whole(self.threads)?, way)),
        }
    }

    /// The positions of the rows whose codes are nearest.
    fn by_codes(&self, index: &Index, rescored: usize, plan: &mut Plan) -> Result<Vec<usize>> {
        let (query, rows) = (self.search.query, self.segment.row_numbers()?);
        let found = match index {
            Index::Graph(graph) => {
                let scratch = scratch_bytes(to_usize(self.segment.dim())).saturating_mul(self.threads.get());
                let memory = self.blobs.store().accountant();
                let _grant = memory.grant(Component::Queries, "a search", to_u64(scratch))?;
                graph.scan(query, rows, &self.search.selection, rescored, self.threads)?
            }
            Index::Codes(codes) => {
                codes.nearest(query, rows, &self.search.selection, rescored, self.threads)?
            }
        };
        plan.candidates += found.compared;
        Ok(found.positions)
    }

    /// The nearest rows that are allowed, at most `rescored`.
    fn by_graph(
        &self,
        graph: &hnsw::Index,
        wanted: Wanted,
        rescored: usize,
        turns_back: bool,
        plan: &mut Plan,
    ) -> Result<Option<Nearest>> {
        let rows = self.segment.row_numbers()?;
        let is_allowed = |position| rows.get(position).is_some_and(|row| self.search.selection.contains(row));
        let tells = if turns_back { Some(&is_allowed as &dyn Fn(usize) -> bool) } else { None };
        let memory = self.blobs.store().accountant();
        let Some((near, computed)) = self.index.near(graph, self.search.query, wanted, tells, memory)? else {
            return Ok(None);
        };
        plan.candidates += computed;
        let nearest = near.len();
        let allowed = near.into_iter().map(|near| near.position).filter(|&position| is_allowed(position));
        let mut positions = Vec::with_capacity(rescored.min(nearest));
        positions.extend(allowed.take(rescored));
        let seen = Seen { wanted, nearest, allowed: positions.len() };
        Ok(Some(Nearest { positions, seen }))
    }

    /// The best documents of the rows at some positions. `None` if there are fewer than are wanted, and might be more.
    fn score(&self, mut positions: Vec<usize>, is_all: bool, plan: &mut Plan) -> Result<Option<TopK>> {
        // In the order of the file.
        positions.sort_unstable();
        let (block, owner) = (self.segment.block_at(&positions)?, |row| self.blobs.view().owner(row));
        plan.rescored += to_u64(positions.len());
        if !is_all {
            let rows = positions.iter().filter_map(|&position| block.rows().get(position));
            let mut documents = Vec::with_capacity(positions.len());
            documents.extend(rows.map(owner));
            // Rows ascend with their positions, and documents with their rows.
            documents.dedup();
            if documents.len() < self.search.k {
                return Ok(None);
            }
        }
        let mut top = TopK::new(self.search.k);
        scan_positions(&block, self.search.query, positions.into_iter(), &owner, &mut top)?;
        Ok(Some(top))
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
