//! Numbers about a store.

use roaring::RoaringTreemap;

use super::indexing::{IndexKind, Means};
use super::snapshot::Snapshot;
use super::text::{self, TextView};
use super::view::View;
use super::{MemoryUse, Store, recall};
use crate::codec::to_u64;
use crate::embed::ModelIdentity;
use crate::error::Result;
use crate::metric::Metric;
use crate::storage::{DATA_PAGE, FORMAT_NEWEST, Occupancy, PAGE_BYTES};
use crate::text::Language;
use crate::text::segment::Segment;
use crate::vector::hnsw::Point;
use crate::vector::segment::{Precision, Segment as VectorSegment};

/// How good and how dear searches of an index were, on average, when it was built.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RecallPoint {
    /// The candidates that a search of a graph followed, or the rows of a scan of codes that were scored exactly.
    pub effort: u32,
    /// The part of the ten nearest that it found.
    pub recall: f32,
    /// The standard error of that.
    pub error: f32,
    /// How many distances it computed.
    pub computed: f32,
}

/// A segment of vectors.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SegmentStats {
    /// Its number.
    pub id: u64,
    /// Its vectors, dead ones included.
    pub rows: u64,
    /// The dead ones: they go when it is merged.
    pub dead: u64,
    /// The bytes of its blob.
    pub bytes: u64,
    /// How it is searched: `exact`, or by its index: `hnsw`, `hnsw-sq8`, `hnsw-f32`, `sq8` or `sq4`.
    pub index: &'static str,
    /// The bytes of its index.
    pub index_bytes: u64,
    /// What was measured of the index when it was built, by ascending effort; empty without one.
    pub recall: Vec<RecallPoint>,
    /// What the index was found to find when this process last looked: searches for a few of its rows, at a promise of 0.95.
    pub sampled_recall: Option<f32>,
    /// Why it has no index, or what is or was wrong with it.
    pub note: Option<String>,
}

/// The text index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextStats {
    /// The language whose words are found by their stems.
    pub stem: Option<Language>,
    /// Its segments.
    pub segments: u64,
    /// The rows in them, dead ones included.
    pub rows: u64,
    /// The dead ones: they go when their segments are merged.
    pub dead: u64,
    /// Bytes of the segments.
    pub bytes: u64,
    /// Bytes of the texts that are in no segment yet.
    pub tail_bytes: u64,
    /// Memory that these take once they were searched, in bytes.
    pub tail_memory: u64,
}

/// Numbers about the last commit, the file and the memory in use.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Documents.
    pub documents: u64,
    /// Their parts.
    pub parts: u64,
    /// Rows of deleted and replaced documents.
    pub dead: u64,
    /// Vectors not yet in a segment.
    pub tail_rows: u64,
    /// The segments.
    pub segments: Vec<SegmentStats>,
    /// Merges of segments that are due and not done yet.
    pub merges_due: u64,
    /// Rows that they will write.
    pub merge_rows: u64,
    /// Segments that are to have an index and have none, or one that is no good.
    pub indexes_due: u64,
    /// Why the background could not merge when it last tried.
    pub merge_failure: Option<String>,
    /// The number of values of a vector; `None` before the first.
    pub dim: Option<usize>,
    /// How nearness is measured.
    pub metric: Metric,
    /// How the values of vectors are stored.
    pub vectors: Precision,
    /// Which segments get an index.
    pub index: IndexKind,
    /// The text index, if there is one.
    pub text: Option<TextStats>,
    /// The model, if the store has one.
    pub model: Option<ModelIdentity>,
    /// The number of the commit.
    pub commit: u64,
    /// The file format.
    pub format: u32,
    /// The uuid of the file.
    pub uuid: String,
    /// How the file is used.
    pub occupancy: Occupancy,
    /// Bytes of the blobs of indexes.
    pub index_bytes: u64,
    /// Bytes of all blobs, those of indexes included.
    pub blob_bytes: u64,
    /// Memory that the tail takes, in bytes.
    pub tail_bytes: u64,
    /// Memory that sets of rows take, in bytes.
    pub row_set_bytes: u64,
    /// The memory that each part of the store is granted, against the budget.
    pub memory: MemoryUse,
}

pub(super) fn stats(store: &Store) -> Result<Stats> {
    let snapshot = store.snapshot()?;
    let view = snapshot.view();
    let container = std::sync::Arc::clone(&store.file()?.container);
    let index = super::indexing::kind(snapshot.txn())?;
    let means = Means::of(store, view, index);
    let sizes = view.sizes();
    let (merges_due, merge_rows) =
        super::merge::bounds(view, store.options()).map_or((0, 0), |tiers| tiers.due(&sizes));
    let merges_due =
        merges_due + text::merge::bounds(store.options()).due(&text::merge::sizes(snapshot.blobs())).0;
    let segments = view.segments.iter().zip(&sizes);
    let segments = segments.map(|(segment, size)| segment_stats(&snapshot, segment, size.dead, &means));
    let set_bytes = |set: &RoaringTreemap| to_u64(set.serialized_size());
    let blobs = crate::catalog::blobs(snapshot.txn())?;
    let mut occupancy = container.occupancy()?;
    if !store.is_writable()? {
        // Only the writer keeps account of free pages; for others free is what nothing they see occupies.
        let blob_pages: u64 = blobs.values().map(|blob| blob.run().pages).sum();
        let used = (DATA_PAGE + blob_pages) * PAGE_BYTES + occupancy.stream;
        occupancy.free = occupancy.file.saturating_sub(used);
    }
    Ok(Stats {
        documents: view.counters.documents,
        parts: view.counters.parts,
        dead: view.dead.len(),
        tail_rows: view.counters.tail_rows,
        segments: segments.collect(),
        merges_due,
        indexes_due: super::indexing::due(snapshot.blobs(), &means),
        merge_rows,
        merge_failure: store.owner.as_ref().and_then(|owner| owner.failure()),
        dim: view.dim(),
        metric: view.metric,
        vectors: view.space.precision(),
        index,
        text: view.text.as_ref().map(|text| text_stats(view, text)).transpose()?,
        model: view.model(),
        commit: view.commit(),
        format: FORMAT_NEWEST,
        uuid: container.preamble().uuid.to_string(),
        occupancy,
        index_bytes: view.indexes.values().map(|index| index.bytes()).sum(),
        blob_bytes: blobs.values().map(|blob| blob.len).sum(),
        tail_bytes: view.tail_bytes(),
        row_set_bytes: set_bytes(&view.dead) + set_bytes(&view.continuation),
        memory: store.memory(),
    })
}

fn text_stats(view: &View, text: &TextView) -> Result<TextStats> {
    let sum = |of: &dyn Fn(&Segment) -> u64| text.segments.iter().map(|segment| of(segment)).sum();
    Ok(TextStats {
        stem: text::language(&text.record)?,
        segments: to_u64(text.segments.len()),
        rows: sum(&|segment| segment.layout().rows),
        dead: sum(&|segment| segment.dead_count(&view.dead)),
        bytes: sum(&|segment| segment.bytes()),
        tail_bytes: text.record.tail_bytes,
        tail_memory: text.tail_bytes(),
    })
}

fn segment_stats(snapshot: &Snapshot, segment: &VectorSegment, dead: u64, means: &Means) -> SegmentStats {
    let (id, rows, bytes) = (segment.id(), segment.count(), segment.bytes());
    let index = snapshot.view().indexes.get(&id);
    let sample = index.and_then(|index| index.sample());
    let stats = SegmentStats {
        id,
        rows,
        dead,
        bytes,
        index: "exact",
        index_bytes: index.map_or(0, |index| index.bytes()),
        recall: Vec::new(),
        sampled_recall: None,
        note: None,
    };
    match index.map(|index| index.get()) {
        Some(Ok(index)) => {
            let point = |point: &Point| {
                let Point { effort, recall, error, computed } = *point;
                RecallPoint { effort, recall, error, computed }
            };
            let recall = index.curve().points.iter().map(point).collect();
            let (sampled_recall, note) =
                (sample.map(|sample| sample.recall), sample.and_then(|sample| recall::note(&sample)));
            SegmentStats { index: index.recipe().name(), recall, sampled_recall, note, ..stats }
        }
        Some(Err(damage)) => SegmentStats { note: Some(damage.to_string()), ..stats },
        None => {
            let built = |_| "its index waits to be built".to_owned();
            SegmentStats {
                note: Some(means.index_for(rows, segment.dim()).map_or_else(|why| why, built)),
                ..stats
            }
        }
    }
}
