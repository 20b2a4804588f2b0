//! The parts of a committed state that snapshots share: segments, tail, dead rows, counters.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use roaring::RoaringTreemap;

use super::indexes::{Indexes, open_indexes};
use super::memory::{Accountant, Component, Grant};
use super::text::TextView;
use super::vectors::segment_layout;
use crate::catalog::{self, Counters, ModelRecord, ReadTxn, Record, Rows, SegmentRecord, SpaceRecord, Table};
use crate::codec::{key, key_number, to_u64, to_usize};
use crate::embed::ModelIdentity;
use crate::error::{Error, Result};
use crate::limits::DIM_MAX;
use crate::metric::Metric;
use crate::vector::ask::Held;
use crate::vector::segment::{Precision, Segment};
use crate::vector::tail::Tail;
use crate::vector::tiers::Size;

/// So many rows of the tail in memory may be dead whatever their share.
const TAIL_ROWS_STALE: usize = 1024;
/// The rows of the tail that are read at once, in bytes.
const TAIL_READ_BYTES: usize = 1 << 20;

/// A set of rows, and the memory that it was granted.
#[derive(Debug)]
pub(crate) struct RowSet {
    rows: RoaringTreemap,
    _grant: Grant,
}

impl Deref for RowSet {
    type Target = RoaringTreemap;

    fn deref(&self) -> &RoaringTreemap {
        &self.rows
    }
}

/// One committed state. The next is made from it, so that only what changed is read.
///
/// It holds maps of blobs; they may be read only through a [`super::Snapshot`], or what is left of one, whose pin keeps them in place.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) counters: Counters,
    pub(crate) space: SpaceRecord,
    pub(crate) metric: Metric,
    pub(crate) segments: Arc<Vec<Arc<Segment>>>,
    /// The indexes by the number of their segment.
    pub(crate) indexes: Arc<Indexes>,
    /// Read when it is first asked for: see [`View::tail`].
    tail: OnceLock<Tail>,
    /// The tail of an earlier commit, to which the rows since are appended.
    tail_before: Option<Tail>,
    /// The text index, if the store has one.
    pub(super) text: Option<TextView>,
    pub(crate) dead: Arc<RowSet>,
    pub(crate) continuation: Arc<RowSet>,
    memory: Arc<Accountant>,
}

impl View {
    /// The number of the commit.
    pub(crate) fn commit(&self) -> u64 {
        self.counters.commit
    }

    /// The number of values of a vector, once it is known.
    pub(crate) fn dim(&self) -> Option<usize> {
        self.space.dim.map(|dim| to_usize(u64::from(dim)))
    }

    /// Reads the state that `txn` sees, from `known` as far as that is the same.
    pub(crate) fn refresh(
        txn: &ReadTxn,
        known: Option<&Arc<View>>,
        memory: &Arc<Accountant>,
    ) -> Result<Arc<Self>> {
        let counters = catalog::counters(txn)?;
        // An older state than the known one (a snapshot overtaken by another) is read afresh.
        let known = known.filter(|known| known.counters.commit <= counters.commit);
        if let Some(same) = known.filter(|known| known.counters.commit == counters.commit) {
            return Ok(Arc::clone(same));
        }
        let space_id = catalog::settings(txn)?.active_space;
        let space: SpaceRecord = txn
            .find(Table::Spaces, &key(space_id))?
            .ok_or_else(|| Table::Spaces.damage(&key(space_id), "the active space is missing"))?;
        if ![catalog::VECTORS_F32, catalog::VECTORS_F16].contains(&space.vectors) {
            let detail = format!("vectors are of the unknown type {}", space.vectors);
            return Err(Table::Spaces.damage(&key(space_id), &detail));
        }
        let metric =
            space.metric.parse().map_err(|_| Table::Spaces.damage(&key(space_id), "unknown metric"))?;
        let since = known.map_or(0, |known| known.counters.commit);
        let reuse = |changed: u64| known.filter(|_| changed <= since);
        let segments = match reuse(counters.segments_changed) {
            Some(known) => Arc::clone(&known.segments),
            None => Arc::new(open_segments(txn, (space_id, space.precision()), known)?),
        };
        let indexes = match reuse(counters.segments_changed) {
            Some(known) => Arc::clone(&known.indexes),
            None => Arc::new(open_indexes(txn, &segments, metric, known.map(|known| &*known.indexes))?),
        };
        let load = |table: Table, changed: u64, of: fn(&View) -> &Arc<RowSet>| {
            if let Some(known) = reuse(changed) {
                return Ok(Arc::clone(of(known)));
            }
            let bytes = if changed == 0 { 0 } else { catalog::rows_bytes(txn, table)? };
            let grant =
                memory.grant(Component::Rows, "reading which rows are dead or continuations", bytes)?;
            let rows = catalog::load_rows(txn, table, known.map(|known| &of(known).rows))?;
            Ok::<_, Error>(Arc::new(RowSet { rows, _grant: grant }))
        };
        let dead = load(Table::Dead, counters.dead_changed, |view| &view.dead)?;
        let continuation =
            load(Table::Continuation, counters.continuation_changed, |view| &view.continuation)?;
        // Rows that left the tail stay in memory with those that came with them; when they are the most, all is read anew.
        let rows_max = to_usize(counters.tail_rows).saturating_mul(2).saturating_add(TAIL_ROWS_STALE);
        let tail_before = reuse(counters.segments_changed)
            .and_then(|known| known.tail.get().or(known.tail_before.as_ref()))
            .filter(|tail| tail.len() <= rows_max)
            .cloned();
        let text = TextView::refresh(txn, &counters, known.map(|known| &**known))?;
        let tail = OnceLock::new();
        Ok(Arc::new(View {
            counters,
            space,
            metric,
            segments,
            indexes,
            tail,
            tail_before,
            text,
            dead,
            continuation,
            memory: Arc::clone(memory),
        }))
    }

    /// The tail; `txn` must see this state. Absent while the dimension is. Cost: at the first call, the rows that were
    /// added since the state before was asked.
    pub(crate) fn tail(&self, txn: &ReadTxn) -> Result<Option<&Tail>> {
        let Some(dim) = self.dim() else { return Ok(None) };
        if let Some(tail) = self.tail.get() {
            return Ok(Some(tail));
        }
        let before = self.tail_before.clone().unwrap_or_else(|| Tail::new(dim, self.metric));
        let tail = load_tail(txn, before, &self.memory)?;
        Ok(Some(self.tail.get_or_init(|| tail)))
    }

    /// Memory that the tail takes, in bytes.
    pub(crate) fn tail_bytes(&self) -> u64 {
        self.tail.get().or(self.tail_before.as_ref()).map_or(0, Tail::bytes)
    }

    /// The first row of the document that `row` belongs to.
    pub(crate) fn owner(&self, mut row: u64) -> u64 {
        if self.continuation.is_empty() {
            return row;
        }
        while row > 0 && self.continuation.contains(row) {
            row -= 1;
        }
        row
    }

    /// The first rows of all documents.
    pub(crate) fn first_rows(&self) -> RoaringTreemap {
        first_rows(&self.counters, &self.dead, &self.continuation)
    }

    /// Adds the other rows of the documents whose first rows are in `rows`.
    pub(crate) fn add_parts(&self, rows: &mut RoaringTreemap) {
        let mut parts = RoaringTreemap::new();
        if rows.len() < self.continuation.len() {
            for first in rows.iter() {
                let mut end = first + 1;
                while self.continuation.contains(end) {
                    end += 1;
                }
                parts.insert_range(first + 1..end);
            }
        } else {
            for row in self.continuation.iter() {
                if rows.contains(row - 1) || parts.contains(row - 1) {
                    parts.insert(row);
                }
            }
        }
        *rows |= parts;
    }

    /// Calls `visit` with each vector that is not dead, and its row, in the order of the rows.
    pub(crate) fn for_each_live(
        &self,
        txn: &ReadTxn,
        visit: &mut dyn FnMut(u64, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let mut live =
            |row: u64, vector: &[f32]| if self.dead.contains(row) { Ok(()) } else { visit(row, vector) };
        for segment in self.segments.iter() {
            segment.for_each(&mut live)?;
        }
        self.tail(txn)?.map_or(Ok(()), |tail| tail.for_each(&mut live))
    }

    /// The number of vectors that are not dead. Cost: a look at every row.
    pub(crate) fn live_rows(&self, txn: &ReadTxn) -> Result<u64> {
        let mut live = 0;
        self.for_each_live(txn, &mut |_, _| {
            live += 1;
            Ok(())
        })?;
        Ok(live)
    }

    /// The sizes of the segments, in their order.
    pub(crate) fn sizes(&self) -> Vec<Size> {
        let size =
            |segment: &Arc<Segment>| Size { rows: segment.count(), dead: segment.dead_count(&self.dead) };
        self.segments.iter().map(size).collect()
    }

    /// The vector of a row, wherever it is.
    pub(crate) fn vector(&self, txn: &ReadTxn, row: u64) -> Result<Option<Vec<f32>>> {
        for segment in self.segments.iter() {
            if let Some(vector) = segment.vector(row)? {
                return Ok(Some(vector.into_owned()));
            }
        }
        Ok(self.tail(txn)?.and_then(|tail| tail.vector(row)).map(<[f32]>::to_vec))
    }

    /// The model of the store, if it has one.
    pub(crate) fn model(&self) -> Option<ModelIdentity> {
        self.space.model.as_ref().map(|record| ModelIdentity {
            name: record.name.clone(),
            dim: self.dim().unwrap_or(0),
            pooling: record.pooling.clone(),
            normalised: record.normalised,
            weights_sha256: record.weights_sha256.clone(),
            tokenizer_sha256: record.tokenizer_sha256.clone(),
        })
    }

    /// Refuses a model that is not the store's.
    pub(crate) fn require_model(&self, offered: &ModelIdentity) -> Result<()> {
        match self.model() {
            Some(ours) if ours == *offered => Ok(()),
            Some(ours) => Err(Error::Model { expected: ours.to_string(), found: offered.to_string() }),
            None => Err(Error::Model { expected: "no model".into(), found: offered.to_string() }),
        }
    }
}

/// The first rows of all documents.
pub(super) fn first_rows(
    counters: &Counters,
    dead: &RoaringTreemap,
    continuation: &RoaringTreemap,
) -> RoaringTreemap {
    let mut rows = RoaringTreemap::new();
    rows.insert_range(0..counters.next_row);
    rows -= dead;
    rows -= continuation;
    rows
}

impl SpaceRecord {
    /// How the values of its vectors are stored.
    pub(crate) fn precision(&self) -> Precision {
        if self.vectors == catalog::VECTORS_F16 { Precision::F16 } else { Precision::F32 }
    }
}

/// A model's identity as stored.
pub(crate) fn model_record(model: &ModelIdentity) -> ModelRecord {
    ModelRecord {
        name: model.name.clone(),
        pooling: model.pooling.clone(),
        normalised: model.normalised,
        weights_sha256: model.weights_sha256.clone(),
        tokenizer_sha256: model.tokenizer_sha256.clone(),
    }
}

/// Opens the segments of a space; those of `known` are shared.
fn open_segments(
    txn: &ReadTxn,
    (space, precision): (u64, Precision),
    known: Option<&Arc<View>>,
) -> Result<Vec<Arc<Segment>>> {
    let known: BTreeMap<u64, &Arc<Segment>> = known.map_or_else(BTreeMap::new, |known| {
        known.segments.iter().map(|segment| (segment.id(), segment)).collect()
    });
    let mut segments = Vec::new();
    txn.scan(Table::Segments, &[], &mut |id, value| {
        let number = key_number(id).ok_or_else(|| Table::Segments.damage(id, "key is no number"))?;
        let record = SegmentRecord::decode(value)?;
        if record.space != space {
            return Ok(true);
        }
        let blob = catalog::blob(txn, record.blob)?;
        // A segment that compaction moved has the same number and another place.
        let segment = match known.get(&number) {
            Some(same) if same.is_at(&blob) => Arc::clone(same),
            _ => {
                let (container, layout) = (txn.container(), segment_layout(&record, precision));
                Arc::new(Segment::open(container, number, layout, (record.blob, blob))?)
            }
        };
        segments.push(segment);
        Ok(true)
    })?;
    segments.sort_by_key(|segment: &Arc<Segment>| segment.first_row());
    Ok(segments)
}

/// Appends the stored rows that `tail` does not have yet.
fn load_tail(txn: &ReadTxn, mut tail: Tail, memory: &Arc<Accountant>) -> Result<Tail> {
    let from = tail.last_row().map_or(0, |row| row + 1);
    let ask = |bytes| -> Result<Held> {
        Ok(Box::new(memory.grant(Component::Tail, "reading vectors that are in no segment yet", bytes)?))
    };
    let ask_outline = |bytes| memory.outline(bytes);
    // Each row is allocated by itself, so that a short one takes more than its values.
    let _read = ask(to_u64(2 * TAIL_READ_BYTES + 4 * DIM_MAX))?;
    let (mut added, mut bytes) = (Vec::new(), 0);
    txn.scan(Table::Tail, &key(from), &mut |row, value| {
        let read = catalog::tail_row(row, value)?;
        bytes += 4 * read.1.len() + 2 * size_of_val(&read);
        added.push(read);
        if bytes >= TAIL_READ_BYTES {
            tail.append(&added, &ask, &ask_outline)?;
            added.clear();
            bytes = 0;
        }
        Ok(true)
    })?;
    tail.append(&added, &ask, &ask_outline)?;
    Ok(tail)
}
