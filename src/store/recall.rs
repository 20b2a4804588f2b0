//! Whether indexes still keep what was measured when they were built: a few of their rows are searched for.

use std::num::NonZero;
use std::time::Duration;

use roaring::RoaringTreemap;

use super::explain::Plan;
use super::memory::Component;
use super::merge::Allowance;
use super::nearest::{ByIndex, Search, Used};
use super::plan::SearchPath;
use super::snapshot::Blobs;
use super::{Control, Store, selection};
use crate::catalog::{self, SampleRecord};
use crate::codec::{to_u64, to_usize};
use crate::error::{Error, Result};
use crate::vector::exact::{Query, Selection, scan};
use crate::vector::hnsw::{Curve, PART_BYTES};
use crate::vector::index::Recipe;
use crate::vector::segment::Segment;
use crate::vector::topk::TopK;

/// The rows that are searched for, and those where these leave it in doubt whether the recall has fallen.
const QUERIES: [u64; 2] = [32, 256];
/// What searches promise unless told otherwise; with it the index is looked at.
const PROMISED: f32 = 0.95;
/// An index whose recall has fallen so far below its promise is built anew.
const FALLEN: f32 = 0.02;
/// So many times its standard error, a recall may be other than it is by chance.
const ERRORS: f32 = 2.0;
/// The bytes of vectors that are taken to be compared in a millisecond, cautiously.
const BYTES_PER_MS: u64 = (4 << 30) / 1000;
/// A segment is looked at again when one more in so many of its rows has died.
const DEAD_PARTS: u64 = 10;

/// Called with the rows that are done.
type Step<'a> = &'a dyn Fn(u64) -> Result<()>;

/// Whether an index of which this was found should be built anew. It is only once: what then is no better has no better.
pub(super) fn is_worn(sample: &SampleRecord) -> bool {
    sample.before.is_none() && sample.recall < PROMISED - FALLEN
}

/// What to say of an index of which this was found.
pub(super) fn note(sample: &SampleRecord) -> Option<String> {
    if is_worn(sample) {
        let recall = sample.recall;
        return Some(format!(
            "its recall has fallen to {recall:.2} where {PROMISED} is promised: it is built anew"
        ));
    }
    sample.before.map(|recall| format!("built anew, because its recall had fallen to {recall:.2}"))
}

/// Looks at each index that was not looked at since it was built, or since many of its rows died, and keeps what it finds in
/// the file; returns whether one is worn, or damaged. What `allowance` does not allow after `done` rows is left for another time.
///
/// Cost: the checksums of each index, once in a process; 32 exact searches, in the caches, and as many by the index; eight
/// times as many in doubt. Durable: as any commit.
pub(super) fn look(store: &Store, allowance: Allowance, done: u64, control: &Control) -> Result<bool> {
    let snapshot = store.snapshot()?;
    let before = catalog::samples(snapshot.txn())?;
    let blobs = snapshot.into_blobs();
    let view = blobs.view();
    let mut found = Vec::new();
    for segment in view.segments.iter() {
        control.step("recall", 0, None)?;
        let Some(index) = view.indexes.get(&segment.id()) else { continue };
        if index.whole(NonZero::<usize>::MIN).is_err() {
            continue;
        }
        let dead = segment.dead_count(&view.dead);
        let more = index.sample().map(|known| dead.saturating_sub(known.dead));
        if more.is_some_and(|more| more < segment.count().div_ceil(DEAD_PARTS)) {
            continue;
        }
        let Some(due) = allowance.of(done, segment.count(), time(segment)) else { continue };
        let known = before.get(&segment.id()).filter(|known| known.blob != index.blob());
        let before = known.and_then(|known| if is_worn(known) { Some(known.recall) } else { known.before });
        let step = |done| {
            control.step("recall", done, Some(segment.count()))?;
            due.step()
        };
        match measure(&blobs, segment, &step) {
            Ok(Some(recall)) => {
                found.push((segment.id(), SampleRecord { blob: index.blob(), dead, recall, before }));
            }
            Ok(None) => {}
            // Too late.
            Err(Error::Cancelled) if !control.is_cancelled() => {}
            Err(error) => return Err(error),
        }
    }
    keep(store, &found)?;
    for (segment, sample) in found {
        if let Some(index) = view.indexes.get(&segment) {
            index.set_sample(Some(sample));
        }
    }
    Ok(view
        .indexes
        .values()
        .any(|index| index.get().is_err() || index.sample().is_some_and(|sample| is_worn(&sample))))
}

/// How long a look is taken to need, cautiously.
fn time(segment: &Segment) -> Duration {
    let bytes = QUERIES[0].saturating_mul(segment.count()).saturating_mul(segment.vector_bytes());
    Duration::from_millis(bytes / BYTES_PER_MS)
}

/// Writes what was found, unless an index is another by now.
fn keep(store: &Store, found: &[(u64, SampleRecord)]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let mut txn = store.publish(&Control::default())?;
    txn.change(|tables, state| {
        let indexes = catalog::indexes(tables)?;
        for (segment, sample) in found {
            if indexes.get(segment).is_some_and(|index| index.blob == sample.blob) {
                catalog::put_sample(tables, *segment, sample)?;
                state.changed = true;
            }
        }
        Ok(())
    })?;
    txn.commit().map(drop)
}

/// The part of the ten nearest that the index of a segment finds; nothing where it promises none.
fn measure(blobs: &Blobs, segment: &Segment, step: Step<'_>) -> Result<Option<f32>> {
    let mut measured = None;
    for queries in QUERIES {
        let Some((recall, error)) = measure_by(blobs, segment, queries, step)? else { break };
        measured = Some(recall);
        if (recall - (PROMISED - FALLEN)).abs() > ERRORS * error {
            break;
        }
    }
    Ok(measured)
}

/// As [`measure`], by so many of its rows, with the standard error.
fn measure_by(blobs: &Blobs, segment: &Segment, queries: u64, step: Step<'_>) -> Result<Option<(f32, f32)>> {
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
    let one = 4 * segment.dim().next_multiple_of(64)
        + to_u64(size_of::<(u64, Query)>() + TopK::bytes(Curve::NEAREST));
    let needs = (2 * queries).saturating_mul(one) + selection::bytes(view.counters.next_row);
    // Where the budget has no room, nothing is found for now.
    let Ok(_grant) = blobs.store().accountant().grant(Component::Queries, "a look at a recall", needs) else {
        return Ok(None);
    };
    let apart = (segment.count() / queries).max(1);
    let live = (0..segment.count()).step_by(to_usize(apart)).map(to_usize);
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
        step(to_u64(start))?;
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
        let by_index = ByIndex { blobs, segment, index, search: &search, threads: NonZero::<usize>::MIN };
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
