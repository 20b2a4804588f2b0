//! Whether indexes still keep what was measured when they were built: a few of their rows are searched for.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use super::Control;
use super::explain::Plan;
use super::nearest::{ByIndex, Search, Used};
use super::plan::SearchPath;
use super::snapshot::Blobs;
use crate::codec::{to_u64, to_usize};
use crate::error::Result;
use crate::storage::hold;
use crate::vector::exact::{Query, Selection, scan};
use crate::vector::hnsw::{Curve, PART_BYTES};
use crate::vector::index::Recipe;
use crate::vector::segment::Segment;
use crate::vector::topk::TopK;

/// The rows that are searched for.
const QUERIES: u64 = 32;
/// What searches promise unless told otherwise; with it the index is looked at.
const PROMISED: f32 = 0.95;
/// An index whose recall has fallen so far below its promise is built anew.
const FALLEN: f32 = 0.02;
/// So many times its standard error, a recall may be too low by chance.
const ERRORS: f32 = 2.0;
/// A segment is looked at again when one more in so many of its rows has died.
const DEAD_PARTS: u64 = 10;

/// What was found at the last look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Where the index was.
    start: u64,
    dead: u64,
    pub(super) recall: f32,
    error: f32,
    /// Whether the index before this one was worn, and its recall.
    pub(super) before: Option<f32>,
}

impl Sample {
    /// Whether this is of the index at that page, which should be built anew. It is only once: what then is no better has
    /// no better.
    pub(super) fn is_worn(&self, start: u64) -> bool {
        self.start == start && self.before.is_none() && self.recall + ERRORS * self.error < PROMISED - FALLEN
    }

    /// Whether it is of the index at that page.
    pub(super) fn is_of(&self, start: u64) -> bool {
        self.start == start
    }

    /// What to say of it.
    pub(super) fn note(&self) -> Option<String> {
        if self.is_worn(self.start) {
            let recall = self.recall;
            return Some(format!(
                "its recall has fallen to {recall:.2} where {PROMISED} is promised: it is built anew"
            ));
        }
        self.before.map(|recall| format!("built anew, because its recall had fallen to {recall:.2}"))
    }
}

/// Samples by the number of the segment.
pub(super) type Samples = BTreeMap<u64, Sample>;

/// Looks at each index that was not looked at since it was built, or since many of its rows died; returns whether one is worn.
///
/// Cost: 32 exact searches, in the caches, and as many by the index.
pub(super) fn look(blobs: &Blobs, control: &Control) -> Result<bool> {
    let (view, inner) = (blobs.view(), &blobs.store().inner);
    hold(&inner.samples).retain(|id, _| view.segments.iter().any(|segment| segment.id() == *id));
    for segment in view.segments.iter() {
        control.step("recall", 0, None)?;
        let Some(index) = view.indexes.get(&segment.id()) else { continue };
        let (start, dead) = (index.start(), segment.dead_count(&view.dead));
        let known = hold(&inner.samples).get(&segment.id()).copied();
        let more = known.map(|known| dead.saturating_sub(known.dead));
        let is_fresh = known.is_some_and(|known| known.start == start)
            && more.is_some_and(|more| more < segment.count().div_ceil(DEAD_PARTS));
        if is_fresh {
            continue;
        }
        let before = known
            .filter(|known| known.start != start)
            .and_then(|known| if known.is_worn(known.start) { Some(known.recall) } else { known.before });
        if let Some((recall, error)) = measure(blobs, segment, control)? {
            hold(&inner.samples).insert(segment.id(), Sample { start, dead, recall, error, before });
        }
    }
    let samples = hold(&inner.samples);
    Ok(view
        .indexes
        .iter()
        .any(|(id, index)| samples.get(id).is_some_and(|sample| sample.is_worn(index.start()))))
}

/// The part of the ten nearest that the index of a segment finds, with its standard error; nothing where it promises none.
fn measure(blobs: &Blobs, segment: &Segment, control: &Control) -> Result<Option<(f32, f32)>> {
    let view = blobs.view();
    let Some(index) = view.indexes.get(&segment.id()) else { return Ok(None) };
    let Ok(opened) = index.get() else { return Ok(None) };
    if opened.curve().effort_for(PROMISED).is_none() {
        return Ok(None);
    }
    let path = match opened.recipe() {
        Recipe::Graph(_) => SearchPath::Graph,
        Recipe::Codes(_) => SearchPath::Codes,
    };
    let block = segment.block()?;
    let step = (segment.count() / QUERIES).max(1);
    let live = (0..segment.count()).step_by(to_usize(step)).map(to_usize);
    let live = live.filter(|&position| !view.dead.contains(block.row(position)));
    // A vector that no query can be, as zero under cosine, is left out.
    let queries: Vec<(u64, Query)> = live
        .filter_map(|position| {
            Some((block.row(position), Query::new(view.metric, &block.vector(position)).ok()?))
        })
        .collect();
    let mut without: RoaringTreemap = (**view.dead).clone();
    without.extend(queries.iter().map(|(row, _)| *row));
    let selection = Selection::Except(&without);
    let mut exact = vec![TopK::new(Curve::NEAREST); queries.len()];
    let rows = (PART_BYTES / block.vector_bytes()).max(1);
    for start in (0..block.len()).step_by(rows) {
        control.step("recall", to_u64(start), Some(segment.count()))?;
        let part = block.slice(start..block.len().min(start + rows));
        for ((_, query), top) in queries.iter().zip(&mut exact) {
            scan(&part, query, &selection, &|row| view.owner(row), top)?;
        }
    }
    let mut parts = Vec::with_capacity(queries.len());
    for ((_, query), exact) in queries.iter().zip(exact) {
        let exact = exact.into_sorted();
        let Some(last) = exact.last() else { continue };
        let search = Search { query, selection, k: exact.len(), recall: PROMISED, path: Some(path) };
        let by_index =
            ByIndex { blobs, segment, index, search: &search, threads: std::num::NonZero::<usize>::MIN };
        let Some(found) = by_index.nearest(&mut Used::default(), &mut Plan::default())? else { continue };
        // Documents as near as the last are as good: of duplicates any will do.
        let good = found.into_sorted().iter().filter(|best| best.score >= last.score).count();
        parts.push(part(good, exact.len()));
    }
    Ok(average(&parts))
}

#[expect(clippy::cast_precision_loss, reason = "at most ten")]
fn part(found: usize, wanted: usize) -> f32 {
    found as f32 / wanted as f32
}

/// The mean of some numbers, and its standard error.
#[expect(clippy::cast_precision_loss, reason = "some dozens of numbers")]
fn average(parts: &[f32]) -> Option<(f32, f32)> {
    let count = parts.len() as f32;
    let mean = parts.iter().sum::<f32>() / count;
    let variance = parts.iter().map(|part| (part - mean) * (part - mean)).sum::<f32>() / count;
    (!parts.is_empty()).then(|| (mean, (variance / count).sqrt()))
}
