//! The indexes of the segments of a view.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

use super::memory::{Accountant, Component, Grant};
use crate::catalog::{self, ReadTxn, SampleRecord};
use crate::codec::to_u64;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::storage::{Blob, BlobRecord, hold, process};
use crate::vector::exact::Query;
use crate::vector::hnsw::{self, Near, SearchBytes, Wanted, search_bytes};
use crate::vector::index::Index;
use crate::vector::parallel;
use crate::vector::segment::Segment;

/// The bytes of an index that a thread checks at a time.
const PIECE_BYTES: usize = 8 << 20;

/// Indexes by the number of their segment.
pub(crate) type Indexes = BTreeMap<u64, Arc<SegmentIndex>>;

/// The index of a segment, as far as it is sound. Search it only under a snapshot that names it.
#[derive(Debug)]
pub(crate) struct SegmentIndex {
    segment: u64,
    /// The number of its blob, and where that is.
    blob: u64,
    place: BlobRecord,
    /// What was last found of its recall.
    sample: Mutex<Option<SampleRecord>>,
    /// Or what is wrong with it.
    opened: std::result::Result<Opened, Damage>,
    /// What was found wrong later.
    damage: OnceLock<Damage>,
    searches: Mutex<Searches>,
    process: u32,
}

/// An index whose blob is there and begins as one.
#[derive(Debug)]
struct Opened {
    index: Index,
    blob: Blob,
    /// Set when the checksums of what searches are planned by were looked at, and when all were.
    planned: OnceLock<()>,
    whole: OnceLock<()>,
}

/// What is wrong with an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    segment: u64,
    offset: u64,
    detail: String,
}

impl Damage {
    /// Of an error that names damage, or a version that is unknown; others are given back.
    fn of(segment: u64, error: Error) -> Result<Self> {
        match error {
            Error::Corrupt { offset, detail, .. } => Ok(Damage { segment, offset, detail }),
            Error::Version { .. } => Ok(Damage { segment, offset: 0, detail: error.to_string() }),
            other => Err(other),
        }
    }

    fn error(&self) -> Error {
        Error::corrupt(name(self.segment), self.offset, self.detail.clone())
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error().fmt(f)
    }
}

/// What errors call an index.
fn name(segment: u64) -> String {
    format!("index of segment {segment}")
}

/// What was granted for the graph and its searches.
#[derive(Debug, Default)]
struct Searches {
    grant: Option<Grant>,
    /// Searches that have had scratch memory at once; FAISS keeps that for the next.
    most: usize,
    now: usize,
}

/// A search that is going on.
struct Going<'a>(&'a SegmentIndex);

impl Drop for Going<'_> {
    fn drop(&mut self) {
        hold(&self.0.searches).now -= 1;
    }
}

impl SegmentIndex {
    fn open(
        txn: &ReadTxn,
        segment: &Segment,
        metric: Metric,
        (number, place): (u64, BlobRecord),
    ) -> Result<Self> {
        let id = segment.id();
        let opened = Blob::open(txn.container(), place.clone(), name(id)).and_then(|blob| {
            let index = Index::open(blob.shared())?;
            fits(&index, segment, metric)?;
            Ok(Opened { index, blob, planned: OnceLock::new(), whole: OnceLock::new() })
        });
        let opened = match opened {
            Ok(opened) => Ok(opened),
            Err(error) => Err(Damage::of(id, error)?),
        };
        let (damage, searches) = (OnceLock::new(), Mutex::default());
        let sample = Mutex::default();
        Ok(SegmentIndex {
            segment: id,
            blob: number,
            place,
            sample,
            opened,
            damage,
            searches,
            process: process(),
        })
    }

    /// The index, or what is known to be wrong with it.
    pub(crate) fn get(&self) -> std::result::Result<&Index, &Damage> {
        let opened = self.opened.as_ref()?;
        self.damage.get().map_or(Ok(&opened.index), Err)
    }

    /// The index, to plan a search by. Cost: at the first call, the checksums of some megabytes.
    pub(crate) fn planned(&self) -> std::result::Result<&Index, &Damage> {
        let opened = self.opened.as_ref()?;
        self.once(&opened.planned, || {
            let read = |range| opened.blob.bytes(range).map(drop);
            opened.index.planned_by().into_iter().try_for_each(read)
        });
        self.get()
    }

    /// The index, to search it. Cost: at the first call, the checksums of all of its bytes, by up to `threads` threads, the
    /// caller's being one.
    pub(crate) fn whole(&self, threads: NonZero<usize>) -> std::result::Result<&Index, &Damage> {
        let opened = self.opened.as_ref()?;
        self.once(&opened.whole, || {
            let len = opened.blob.len();
            let pieces: Vec<_> =
                (0..len).step_by(PIECE_BYTES).map(|at| at..len.min(at + PIECE_BYTES)).collect();
            let read = |piece: &Range<usize>, (): &mut ()| opened.blob.bytes(piece.clone()).map(drop);
            parallel::gather(&pieces, threads, &|| (), &read, |(), ()| ())
        });
        self.get()
    }

    /// Looks for damage once, and remembers it.
    fn once(&self, done: &OnceLock<()>, look: impl FnOnce() -> Result<()>) {
        // In a forked child another thread of the parent may be at it for ever.
        if process() == self.process {
            done.get_or_init(|| self.note(look()));
        }
    }

    /// Remembers damage.
    fn note(&self, found: Result<()>) {
        if let Some(Ok(damage)) = found.err().map(|error| Damage::of(self.segment, error)) {
            let _ = self.damage.set(damage);
        }
    }

    /// The number of its blob.
    pub(crate) fn blob(&self) -> u64 {
        self.blob
    }

    /// What was last found of its recall.
    pub(crate) fn sample(&self) -> Option<SampleRecord> {
        *hold(&self.sample)
    }

    /// Takes what was found of its recall, or of that of another index.
    pub(crate) fn set_sample(&self, sample: Option<SampleRecord>) {
        *hold(&self.sample) = sample.filter(|sample| sample.blob == self.blob);
    }

    /// The bytes of its blob.
    pub(crate) fn bytes(&self) -> u64 {
        self.place.len
    }

    /// Asks for the memory of a search, and, at the first, for that of the graph.
    fn begin(&self, bytes: SearchBytes, memory: &Arc<Accountant>) -> Result<Going<'_>> {
        let mut searches = hold(&self.searches);
        let graph = if searches.grant.is_none() { bytes.graph } else { 0 };
        if searches.now == searches.most {
            let grant = searches.grant.get_or_insert_with(|| memory.nothing(Component::Graphs));
            grant.grow("searching an index", to_u64(graph + bytes.scratch))?;
            searches.most += 1;
        }
        searches.now += 1;
        Ok(Going(self))
    }

    /// Searches its graph as [`hnsw::Index::near_if`] does; `None` when it turns out to be damaged, which is remembered.
    ///
    /// # Errors
    /// As [`hnsw::Index::near_if`]; `Memory`.
    pub(crate) fn near(
        &self,
        graph: &hnsw::Index,
        query: &Query,
        wanted: Wanted,
        is_allowed: Option<&dyn Fn(usize) -> bool>,
        memory: &Arc<Accountant>,
    ) -> Result<Option<(Vec<Near>, u64)>> {
        let shape = graph.shape();
        let bytes = search_bytes(shape.rows, shape.dim, wanted.effort, wanted.candidates);
        // In a forked child another thread of the parent may hold the lock for ever.
        let is_ours = process() == self.process;
        let _going = if is_ours { Some(self.begin(bytes, memory)?) } else { None };
        let _queues = memory.grant(Component::Graphs, "searching an index", to_u64(bytes.queues))?;
        match graph.near_if(query, wanted, is_allowed) {
            Err(error @ Error::Corrupt { .. }) => {
                self.note(Err(error));
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// Names damage: of the header, or, if `deep`, of any byte and any link.
    pub(crate) fn check(&self, txn: &ReadTxn, deep: bool) -> Result<()> {
        if deep {
            Blob::open(txn.container(), self.place.clone(), name(self.segment))?.check()?;
        }
        let index = self.get().map_err(Damage::error)?;
        let checked = if deep { index.check() } else { Ok(()) };
        checked.map_err(|error| Error::corrupt(name(self.segment), 0, error.to_string()))
    }
}

fn fits(index: &Index, segment: &Segment, metric: Metric) -> Result<()> {
    let (rows, dim, found_metric) = index.fitting();
    let found = (crate::codec::to_u64(rows), crate::codec::to_u64(dim), found_metric);
    let expected = (segment.count(), segment.dim(), metric);
    if found == expected {
        return Ok(());
    }
    let detail = format!("rows, dimension and metric {expected:?} expected, {found:?} found");
    Err(Error::corrupt(name(segment.id()), 0, detail))
}

/// Opens the indexes of segments; those of `known` are shared.
pub(crate) fn open_indexes(
    txn: &ReadTxn,
    segments: &[Arc<Segment>],
    metric: Metric,
    known: Option<&Indexes>,
) -> Result<Indexes> {
    let mut indexes = Indexes::new();
    let (records, samples) = (catalog::indexes(txn)?, catalog::samples(txn)?);
    for segment in segments {
        let Some(record) = records.get(&segment.id()) else { continue };
        let place = catalog::blob(txn, record.blob)?;
        let index = match known.and_then(|known| known.get(&segment.id())) {
            // A damaged one may have been built anew, and moved to the same place.
            Some(same) if same.place == place && same.get().is_ok() => Arc::clone(same),
            _ => Arc::new(SegmentIndex::open(txn, segment, metric, (record.blob, place))?),
        };
        index.set_sample(samples.get(&segment.id()).copied());
        indexes.insert(segment.id(), index);
    }
    Ok(indexes)
}
