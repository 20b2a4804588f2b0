//! Numbers about a store.

use super::Store;
use crate::codec::to_u64;
use crate::embed::ModelIdentity;
use crate::error::Result;
use crate::metric::Metric;
use crate::storage::{DATA_PAGE, FORMAT_NEWEST, Occupancy, PAGE_BYTES};

/// A segment of vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentStats {
    /// Its number.
    pub id: u64,
    /// Its vectors, dead ones included.
    pub rows: u64,
    /// The bytes of its blob.
    pub bytes: u64,
    /// The kind of its index.
    pub index: &'static str,
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
    /// The number of values of a vector; `None` before the first.
    pub dim: Option<usize>,
    /// How nearness is measured.
    pub metric: Metric,
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
    /// Bytes of all blobs.
    pub blob_bytes: u64,
    /// Memory that the tail takes, in bytes.
    pub tail_bytes: u64,
    /// Memory that sets of rows take, in bytes.
    pub row_set_bytes: u64,
    /// The memory to stay within, in bytes.
    pub memory_budget: u64,
}

pub(super) fn stats(store: &Store) -> Result<Stats> {
    let snapshot = store.snapshot()?;
    let view = snapshot.view();
    let container = std::sync::Arc::clone(&store.file()?.container);
    let segments = view.segments.iter().map(|segment| SegmentStats {
        id: segment.id(),
        rows: segment.count(),
        bytes: segment.bytes(),
        index: "exact",
    });
    let set_bytes = |set: &roaring::RoaringTreemap| to_u64(set.serialized_size());
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
        dim: view.dim(),
        metric: view.metric,
        model: view.model(),
        commit: view.commit(),
        format: FORMAT_NEWEST,
        uuid: container.preamble().uuid.to_string(),
        occupancy,
        blob_bytes: blobs.values().map(|blob| blob.len).sum(),
        tail_bytes: view.tail_bytes(),
        row_set_bytes: set_bytes(&view.dead) + set_bytes(&view.continuation),
        memory_budget: store.options().budget(),
    })
}

/// The memory of this machine or of its control group, whichever is less, in bytes.
pub(super) fn memory_limit() -> u64 {
    let info = rustix::system::sysinfo();
    let unit = u64::from(info.mem_unit).max(1);
    let physical = info.totalram.saturating_mul(unit);
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = groups.iter().find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    limit.map_or(physical, |limit| limit.min(physical))
}
