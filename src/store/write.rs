//! The write transaction: adding, deleting, updating, committing.

use std::sync::Arc;

use roaring::RoaringTreemap;
use uuid::Uuid;

use super::memory::{Accountant, Component, Grant};
use super::selection;
use super::snapshot::for_each_selected;
use super::text::NewText;
use super::turns::{Turn, Turns};
use super::vectors::NewVectors;
use super::view::first_rows;
use super::{Control, Store};
use crate::catalog::{self, Counters, DocumentRecord, SpaceRecord, Table, Tables};
use crate::codec::{key, to_u64, to_usize};
use crate::document::{Document, Metadata};
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::limits::{BATCH_BYTES, BATCH_DOCUMENTS};
use crate::metric::Metric;
use crate::storage::{Container, Run};

/// What a transaction takes besides what it is given, in bytes.
const TXN_BYTES: u64 = 512 << 10;
/// Documents that are checked and written together take so many times their bytes, with their records and the pages of the catalog that
/// these fill.
const BATCH_TIMES: usize = 4;
/// What the report keeps of a document besides its id, in bytes.
const REPORT_BYTES: usize = 64;

/// What happens to a document whose id exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// It replaces the one that exists. The default.
    #[default]
    Replace,
    /// The one that exists stays.
    Keep,
    /// Adding fails.
    Fail,
}

/// What a transaction has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitReport {
    /// The number of the commit; `None` while it is not committed, or when nothing changed.
    pub commit: Option<u64>,
    /// The ids of the documents added or replaced, in the order given.
    pub ids: Vec<String>,
    /// The number of rows of each of them.
    pub part_counts: Vec<u64>,
    /// Documents that are new.
    pub added: u64,
    /// Documents replaced, or whose metadata changed.
    pub updated: u64,
    /// Documents deleted.
    pub deleted: u64,
    /// Documents left alone because their id existed, under [`ConflictPolicy::Keep`].
    pub skipped: u64,
    /// Rows added.
    pub parts: u64,
    /// Texts that were longer than the model reads, and were cut.
    pub truncated: u64,
    /// Ids given more than once in this transaction; the last document given won.
    pub duplicates: Vec<String>,
}

/// What a deletion has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteReport {
    /// Documents deleted.
    pub deleted: u64,
    /// Ids of which there was no document.
    pub missing: Vec<String>,
}

/// One write transaction. Nothing of it is visible or durable before [`WriteTxn::commit`]; dropping it undoes it.
///
/// After an error the transaction holds what the calls before have done, and of the failed call what its doc says;
/// drop it to undo everything.
///
/// # Examples
/// ```
/// use vdb::{Document, Store};
/// # fn main() -> vdb::Result<()> {
/// let store = Store::in_memory()?;
/// let mut txn = store.write()?;
/// txn.add([Document::new("one").id("1"), Document::new("two").id("2")])?;
/// txn.delete(["1"])?;
/// let report = txn.commit()?;
/// assert_eq!((report.added, report.deleted, store.count()?), (2, 1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WriteTxn {
    pub(super) store: Store,
    /// `None` after the end.
    txn: Option<catalog::WriteTxn>,
    pub(super) state: TxnState,
    pub(super) policy: ConflictPolicy,
    pub(super) control: Control,
    /// Given back last.
    _turn: Turn,
}

/// What the transaction changes.
#[derive(Debug)]
pub(super) struct TxnState {
    pub(super) container: Arc<Container>,
    pub(super) counters: Counters,
    pub(super) first_row: u64,
    pub(super) space_id: u64,
    pub(super) space: SpaceRecord,
    pub(super) metric: Metric,
    pub(super) vectors: Option<NewVectors>,
    pub(super) tail_bytes_max: usize,
    pub(super) memory: Arc<Accountant>,
    /// What grows with the number of documents.
    pub(super) grant: Grant,
    pub(super) dead: RoaringTreemap,
    pub(super) continuation: RoaringTreemap,
    pub(super) index: catalog::index::Changes,
    /// None in a store without a text index.
    pub(super) text: Option<NewText>,
    /// Blobs dropped by this transaction.
    pub(super) retired: Vec<Run>,
    pub(super) report: CommitReport,
    pub(super) changed: bool,
}

impl WriteTxn {
    /// Begins when it is this caller's turn, which `take` waits for.
    pub(super) fn begin(store: &Store, take: impl FnOnce(&Arc<Turns>) -> Result<Turn>) -> Result<Self> {
        // In a forked child the turn may never come.
        drop(store.file()?);
        let turn = take(&store.inner.turns)?;
        let txn = catalog::WriteTxn::begin(&*store.file()?)?;
        let container = Arc::clone(txn.container());
        container.ripen()?;
        let tables = txn.tables()?;
        let mut counters = catalog::counters(&tables)?;
        counters.commit += 1;
        let space_id = catalog::settings(&tables)?.active_space;
        let space: SpaceRecord = tables
            .find(Table::Spaces, &key(space_id))?
            .ok_or_else(|| Table::Spaces.damage(&key(space_id), "the active space is missing"))?;
        let metric =
            space.metric.parse().map_err(|_| Table::Spaces.damage(&key(space_id), "unknown metric"))?;
        let text = NewText::begin(&container, &tables, store.options(), store.accountant())?;
        drop(tables);
        let (options, memory) = (store.options(), store.accountant());
        let changes_max = options.changes_max();
        let needs = 3 * to_u64(changes_max) + TXN_BYTES + to_u64(BATCH_TIMES * BATCH_BYTES);
        let grant = memory.grant(Component::Writing, "a write transaction", needs)?;
        let state = TxnState {
            container,
            first_row: counters.next_row,
            counters,
            space_id,
            space,
            metric,
            vectors: None,
            tail_bytes_max: options.tail_max(),
            memory: Arc::clone(memory),
            grant,
            dead: RoaringTreemap::new(),
            continuation: RoaringTreemap::new(),
            index: catalog::index::Changes::within(changes_max),
            text,
            retired: Vec::new(),
            report: CommitReport::default(),
            changed: false,
        };
        let (policy, control) = (ConflictPolicy::default(), Control::default());
        Ok(WriteTxn { store: store.clone(), txn: Some(txn), state, policy, control, _turn: turn })
    }

    /// What happens to documents whose id exists, from here on. Default: they are replaced.
    pub fn on_conflict(&mut self, policy: ConflictPolicy) -> &mut Self {
        self.policy = policy;
        self
    }

    /// Watches and stops the calls that follow.
    pub fn control(&mut self, control: &Control) -> &mut Self {
        self.control = control.clone();
        self
    }

    /// Gives the open tables and the state to `work`, which changes both.
    pub(super) fn change<T>(
        &mut self,
        work: impl FnOnce(&mut Tables<'_>, &mut TxnState) -> Result<T>,
    ) -> Result<T> {
        let txn = self.txn.as_ref().ok_or_else(|| Error::invalid("transaction", "it has ended"))?;
        let mut tables = txn.tables()?;
        work(&mut tables, &mut self.state)
    }

    /// Lets the transaction be a commit of redb, which takes over what is in the log.
    pub(super) fn write_through(&self) -> Result<()> {
        self.txn.as_ref().ok_or_else(|| Error::invalid("transaction", "it has ended"))?.write_through()
    }

    /// Empties a table, whatever is in it.
    pub(super) fn clear(&mut self, table: Table) -> Result<()> {
        let txn = self.txn.as_ref().ok_or_else(|| Error::invalid("transaction", "it has ended"))?;
        txn.clear(table)
    }

    /// Adds documents, or replaces those of the same id: see [`WriteTxn::on_conflict`]. Of an id given twice, the last
    /// wins. Missing ids are fresh `UUIDv7`s, missing vectors come from the embedder.
    ///
    /// Cost: a few microseconds a document, and embedding. Memory: some hundred documents at a time.
    /// # Errors
    /// `Shape` for a vector of another dimension; `Invalid` for values that are not finite, for a zero vector under
    /// cosine, for a document with neither text nor vector; `Limit`; `Exists` under [`ConflictPolicy::Fail`];
    /// `Cancelled`. The documents before the batch of the failed one (at most some hundred) stay in the transaction.
    pub fn add(&mut self, documents: impl IntoIterator<Item = Document>) -> Result<&mut Self> {
        let mut documents = documents.into_iter();
        let mut done = 0;
        loop {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while batch.len() < BATCH_DOCUMENTS && bytes < BATCH_BYTES {
                let Some(document) = documents.next() else { break };
                bytes += document.bytes();
                batch.push(document);
            }
            if batch.is_empty() {
                return Ok(self);
            }
            let count = to_u64(batch.len());
            let kept =
                batch.iter().map(|document| document.id_ref().map_or(0, str::len) + REPORT_BYTES).sum();
            self.state.grant.grow("a transaction of so many documents", to_u64(kept))?;
            // Only what is more than usual is granted for the batch alone.
            let large = bytes.saturating_sub(BATCH_BYTES).saturating_mul(BATCH_TIMES);
            let memory = &self.state.memory;
            let _large = memory.grant(Component::Writing, "adding so large a document", to_u64(large))?;
            self.add_batch(done, batch)?;
            done += count;
            self.control.step("add", done, None)?;
        }
    }

    /// Deletes documents by id; ids without a document are reported, not an error.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn delete<I: AsRef<str>>(&mut self, ids: impl IntoIterator<Item = I>) -> Result<DeleteReport> {
        self.change(|tables, state| {
            let mut report = DeleteReport::default();
            for id in ids {
                let id = id.as_ref();
                match catalog::id_row(tables, id)? {
                    Some(row) => {
                        state.remove(tables, id, row, &record(tables, row)?)?;
                        report.deleted += 1;
                    }
                    None => report.missing.push(id.to_owned()),
                }
            }
            state.report.deleted += report.deleted;
            Ok(report)
        })
    }

    /// Deletes the documents that match. Cost: reads those, and every document where the index does not answer.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn delete_where(&mut self, filter: &Filter) -> Result<DeleteReport> {
        let (rows, _sets) = self.matching(filter)?;
        self.change(|tables, state| {
            for row in &rows {
                let record = record(tables, row)?;
                state.remove(tables, &record.id, row, &record)?;
            }
            state.report.deleted += rows.len();
            Ok(DeleteReport { deleted: rows.len(), missing: Vec::new() })
        })
    }

    /// The first rows of the documents that match, and the memory of sets of rows.
    fn matching(&mut self, filter: &Filter) -> Result<(RoaringTreemap, Grant)> {
        self.change(|tables, state| {
            state.index.write(tables)?;
            let needs = selection::bytes(state.counters.next_row);
            let sets = state.memory.grant(Component::Writing, "changing the documents that match", needs)?;
            let selection = selection::select(tables, &|| state.first_rows(tables), filter)?;
            let mut rows = RoaringTreemap::new();
            for_each_selected(tables, filter, &selection, 0, &mut |row, _| {
                rows.insert(row);
                Ok(true)
            })?;
            Ok((rows, sets))
        })
    }

    /// Merge-patches the metadata of one document (RFC 7396); its text and vectors stay.
    ///
    /// # Errors
    /// `NotFound`; `Limit` when the metadata grow too long.
    pub fn update_metadata(&mut self, id: &str, patch: &Metadata) -> Result<&mut Self> {
        let row = self.row(id)?;
        self.edit(row, |metadata| metadata.patch(patch))
    }

    /// Replaces the metadata of one document; its text and vectors stay.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn replace_metadata(&mut self, id: &str, metadata: &Metadata) -> Result<&mut Self> {
        let row = self.row(id)?;
        self.edit(row, |_| Ok(metadata.clone()))
    }

    /// Merge-patches the metadata of the documents that match; returns how many. Cost: as
    /// [`WriteTxn::delete_where`].
    ///
    /// # Errors
    /// As [`WriteTxn::update_metadata`].
    pub fn update_metadata_where(&mut self, filter: &Filter, patch: &Metadata) -> Result<u64> {
        let (rows, _sets) = self.matching(filter)?;
        for row in &rows {
            self.edit(row, |metadata| metadata.patch(patch))?;
        }
        Ok(rows.len())
    }

    /// Replaces the text of one document, which is embedded anew; its metadata stay.
    ///
    /// # Errors
    /// `NotFound`; as [`WriteTxn::add`].
    pub fn update_text(&mut self, id: &str, text: impl Into<String>) -> Result<&mut Self> {
        let row = self.row(id)?;
        let metadata = self.change(|tables, _| Ok(Metadata::stored(record(tables, row)?.metadata)))?;
        let policy = std::mem::replace(&mut self.policy, ConflictPolicy::Replace);
        let result = self.add([Document::new(text).id(id).with_metadata(metadata)]).map(drop);
        self.policy = policy;
        result?;
        Ok(self)
    }

    /// The first row of a document.
    fn row(&mut self, id: &str) -> Result<u64> {
        self.change(|tables, _| catalog::id_row(tables, id)?.ok_or_else(|| missing(id)))
    }

    fn edit(&mut self, row: u64, change: impl FnOnce(Metadata) -> Result<Metadata>) -> Result<&mut Self> {
        self.change(|tables, state| {
            let mut record = record(tables, row)?;
            let changed = change(Metadata::stored(record.metadata.clone()))?;
            state.index.replace(tables, row, &record.metadata, changed.as_json())?;
            changed.as_json().clone_into(&mut record.metadata);
            tables.put_record(Table::Documents, &key(row), &record)?;
            state.report.updated += 1;
            state.changed = true;
            Ok(())
        })?;
        Ok(self)
    }

    /// Makes everything durable, and visible to every snapshot taken from now on. Cost: one sync of a
    /// record in the log; one of the file where that is full or there is much to commit, two if it seals a segment or the file grows.
    ///
    /// # Errors
    /// `Io` when the disk fails or is full, after which the store is `Poisoned` until it is opened again. Then the
    /// transaction is either wholly there or not at all.
    pub fn commit(mut self) -> Result<CommitReport> {
        self.state.container.check_process()?;
        if self.state.changed {
            self.change(|tables, state| state.store(tables))?;
            let txn = self.txn.take().ok_or_else(Store::closed)?;
            let result = txn.commit();
            if result.is_err() {
                // Whether the commit is durable is not known: what it wrote must not be used again by this handle.
                (self.state.vectors, self.state.text) = (None, None);
            }
            result?;
            for run in self.state.retired.drain(..) {
                self.state.container.retire(run);
            }
            self.state.report.commit = Some(self.state.counters.commit);
            self.state.vectors = None;
            let text_changed = self.state.text.take().is_some_and(|text| text.is_changed());
            let has_died = self.state.counters.next_blob > 0 && !self.state.dead.is_empty();
            let segments_changed = self.state.counters.segments_changed == self.state.counters.commit;
            self.store.follow(segments_changed, text_changed || has_died);
        }
        Ok(std::mem::take(&mut self.state.report))
    }
}

impl Drop for WriteTxn {
    fn drop(&mut self) {
        // Undo first, so that nothing names the blobs; then their pages can be given back.
        self.txn = None;
        let vectors = self.state.vectors.take();
        let text = self.state.text.take();
        let runs = vectors.iter().flat_map(NewVectors::runs).chain(text.iter().flat_map(NewText::runs));
        for run in runs {
            self.state.container.release(run);
        }
    }
}

fn missing(id: &str) -> Error {
    Error::NotFound { what: "document", name: id.to_owned() }
}

/// The document whose first row is `row`, which must exist.
pub(super) fn record(tables: &Tables<'_>, row: u64) -> Result<DocumentRecord> {
    tables
        .find(Table::Documents, &key(row))?
        .ok_or_else(|| Table::Documents.damage(&key(row), "the row is missing"))
}

/// A fresh id that sorts by the time of its making.
pub(super) fn fresh_id() -> String {
    Uuid::now_v7().to_string()
}

impl TxnState {
    /// The dimension, once it is known.
    pub(super) fn dim(&self) -> Option<usize> {
        self.space.dim.map(|dim| to_usize(u64::from(dim)))
    }

    /// Removes the document `id`, whose first row is `row`.
    pub(super) fn remove(
        &mut self,
        tables: &mut Tables<'_>,
        id: &str,
        row: u64,
        record: &DocumentRecord,
    ) -> Result<()> {
        let parts = to_u64(record.parts.len());
        self.index.remove(tables, row, &record.metadata)?;
        if let Some(text) = &mut self.text {
            text.removed(row, record);
        }
        for (n, _) in record.parts.iter().enumerate().filter(|(_, part)| part.vector) {
            // What is not in a segment yet need not get into one.
            if self.counters.tail_rows > 0 && tables.remove(Table::Tail, &key(row + to_u64(n)))? {
                self.counters.tail_rows -= 1;
            }
        }
        tables.remove(Table::Documents, &key(row))?;
        tables.remove(Table::Ids, id.as_bytes())?;
        self.dead.insert_range(row..row + parts);
        self.counters.documents = self.counters.documents.saturating_sub(1);
        self.counters.parts = self.counters.parts.saturating_sub(parts);
        self.changed = true;
        Ok(())
    }

    /// The first rows of all documents.
    fn first_rows(&self, tables: &Tables<'_>) -> Result<RoaringTreemap> {
        let dead = catalog::load_rows(tables, Table::Dead, None)? | &self.dead;
        let continuation = catalog::load_rows(tables, Table::Continuation, None)? | &self.continuation;
        Ok(first_rows(&self.counters, &dead, &continuation))
    }

    /// Writes everything that waits into the catalog.
    fn store(&mut self, tables: &mut Tables<'_>) -> Result<()> {
        if let Some(vectors) = &mut self.vectors {
            vectors.store(tables, &mut self.counters, &self.dead)?;
        }
        if let Some(text) = &mut self.text {
            text.store(tables, &mut self.counters)?;
        }
        if !self.dead.is_empty() {
            catalog::add_rows(tables, Table::Dead, &self.dead)?;
            self.counters.dead_changed = self.counters.commit;
        }
        if !self.continuation.is_empty() {
            catalog::add_rows(tables, Table::Continuation, &self.continuation)?;
            self.counters.continuation_changed = self.counters.commit;
        }
        self.index.write(tables)?;
        let stored: Option<SpaceRecord> = tables.find(Table::Spaces, &key(self.space_id))?;
        if stored.as_ref() != Some(&self.space) {
            tables.put_record(Table::Spaces, &key(self.space_id), &self.space)?;
        }
        if self.counters.segments_changed == self.counters.commit {
            self.retired.extend(catalog::drop_orphans(tables)?);
        }
        catalog::put_counters(tables, &self.counters)
    }
}
