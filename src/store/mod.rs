//! What users hold: a [`Store`], its snapshots and its write transactions.

mod add;
mod background;
mod check;
mod compact;
mod control;
mod embedding;
mod exchange;
mod explain;
mod fields;
mod hit;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod ids;
mod import;
mod indexes;
mod indexing;
mod memory;
mod merge;
mod nearest;
mod options;
mod pace;
mod plan;
mod probe;
mod query;
mod recall;
mod repair;
mod request;
mod search;
mod selection;
mod snapshot;
mod stats;
mod text;
mod together;
mod turns;
mod vectors;
mod view;
mod watch;
mod weight;
mod write;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use crate::catalog::{self, ReadTxn};
use crate::document::{Document, Metadata};
use crate::embed::Embedder;
use crate::error::{Error, Result};
use crate::storage::{Access, Container, OpenFile, hold};

pub use check::{CheckLevel, CheckReport, Damage};
pub use compact::CompactReport;
pub use control::{CancelToken, Control, Progress};
pub use explain::{Explained, Plan, Side, Weighing};
pub use fields::{FieldStats, SortOrder, ValueCount};
pub use hit::{Hit, ScoreParts};
pub use import::{Committed, Import, ImportFormat, ImportSummary, OnError};
pub use indexing::IndexKind;
pub use memory::{MemoryShare, MemoryUse};
pub use merge::{MergeLimits, MergeReport};
pub use options::{Background, Durability, OpenOptions};
#[doc(hidden)]
pub use plan::SearchPath;
pub use query::{Mode, Query};
pub use repair::{RepairMode, RepairReport};
pub use snapshot::{Documents, Snapshot};
pub use stats::{RecallPoint, SegmentStats, Stats, TextStats};
pub use together::Together;
pub use write::{CommitReport, ConflictPolicy, DeleteReport, WriteTxn};

use background::Owner;
use ids::Ids;
use memory::{Accountant, Component, Grant};
use pace::Searches;
use turns::Turns;
use view::View;

/// One open `.vdb` file. Clones share it; it is closed when the last clone and its snapshots are gone.
///
/// Reads never wait for a write. One process writes at a time; others may read meanwhile, and see each commit at their
/// next snapshot.
///
/// # Examples
/// ```
/// use vdb::{Document, Query, Store};
/// # fn main() -> vdb::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("notes.vdb");
/// let store = Store::create(&path)?;
/// store.add([Document::new("red").id("r").vector(vec![1.0, 0.0]), Document::new("blue").id("b").vector(vec![0.0, 1.0])])?;
/// let hits = store.search(&Query::vector(vec![0.9, 0.1]).k(1))?;
/// assert_eq!(hits[0].id, "r");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Store {
    /// Ends with the last clone, before the file; the background has none.
    owner: Option<Arc<Owner>>,
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

/// What clones of a store share.
struct Inner {
    path: PathBuf,
    options: OpenOptions,
    container: Arc<Container>,
    file: RwLock<OpenFile>,
    /// The newest state that a snapshot has seen, which the next builds upon.
    view: Mutex<Option<Arc<View>>>,
    /// Whose turn it is to write.
    turns: Arc<Turns>,
    searches: Searches,
    /// Held by whoever merges or compacts.
    merging: Mutex<()>,
    /// Ids of documents that were found.
    ids: Ids,
    /// What the last look at each index found.
    memory: Arc<Accountant>,
    /// What embedding models were granted, from their first texts on.
    embedding: Mutex<Grant>,
    _catalog: Grant,
}

impl Store {
    /// Creates a store with the defaults of [`OpenOptions`]; the same as `OpenOptions::new().create(path)`.
    ///
    /// # Errors
    /// `Exists` when there is something at `path`; `Io`.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        OpenOptions::new().create(path)
    }

    /// Opens a store to read and write; the same as `OpenOptions::new().open(path)`.
    ///
    /// # Errors
    /// `NotFound`; `Locked` naming the process that writes; `NotAStore`, `Version`, `Corrupt`; `Io`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        OpenOptions::new().open(path)
    }

    /// Opens a store, or creates it when there is none; the loser of a race opens what the winner created.
    ///
    /// # Errors
    /// As [`Store::open`] and [`Store::create`].
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<Self> {
        OpenOptions::new().open_or_create(path)
    }

    /// Makes a store in memory, gone with its last handle; the same as `OpenOptions::new().in_memory()`.
    ///
    /// # Errors
    /// `Io` when the system gives no memory file.
    pub fn in_memory() -> Result<Self> {
        OpenOptions::new().in_memory()
    }

    fn new(path: PathBuf, options: OpenOptions, mut file: OpenFile) -> Result<Self> {
        // What is in the log at rest would all be lost to one damaged byte.
        file.before_close(catalog::fold);
        let memory = Accountant::new(options.budget());
        let catalog =
            memory.grant(Component::Catalog, "the page cache of the catalog", options.catalog_bytes())?;
        let inner = Inner {
            path,
            options,
            container: Arc::clone(&file.container),
            file: RwLock::new(file),
            view: Mutex::new(None),
            turns: Arc::default(),
            searches: Searches::new(),
            merging: Mutex::new(()),
            ids: Ids::default(),
            embedding: Mutex::new(memory.nothing(Component::Embedding)),
            memory,
            _catalog: catalog,
        };
        let store = Store { owner: Some(Owner::new()), inner: Arc::new(inner) };
        store.attach()?;
        Ok(store)
    }

    /// Learns which pages the blobs occupy, so that a writer can use the rest; and that the model fits.
    fn attach(&self) -> Result<()> {
        let snapshot = self.snapshot()?;
        if let Some(embedder) = &self.inner.options.embedder {
            snapshot.view().require_model(embedder.identity())?;
        }
        let file = self.file()?;
        if file.access == Access::Write {
            let runs: Vec<_> = catalog::blobs(snapshot.txn())?.into_values().map(|blob| blob.run()).collect();
            file.container.attach(&runs)?;
        }
        Ok(())
    }

    fn file(&self) -> Result<RwLockReadGuard<'_, OpenFile>> {
        // In a forked child a thread of the parent may hold the lock for ever.
        self.inner.container.check_process()?;
        Ok(self.inner.file.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until nobody else merges, compacts or repairs.
    fn merge_alone(&self) -> Result<MutexGuard<'_, ()>> {
        self.inner.container.check_process()?;
        Ok(hold(&self.inner.merging))
    }

    /// The path that it was opened by; `:memory:` for a store in memory.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Whether this handle can write.
    ///
    /// # Errors
    /// `Unavailable` after a fork.
    pub fn is_writable(&self) -> Result<bool> {
        Ok(self.file()?.access == Access::Write)
    }

    pub(crate) fn options(&self) -> &OpenOptions {
        &self.inner.options
    }

    fn ids(&self) -> &Ids {
        &self.inner.ids
    }

    fn accountant(&self) -> &Arc<Accountant> {
        &self.inner.memory
    }

    /// The memory that the parts of this store are granted, against its budget. Cost: none.
    pub fn memory(&self) -> MemoryUse {
        self.inner.memory.usage()
    }

    fn embedder(&self) -> Option<&dyn Embedder> {
        self.inner.options.embedder.as_deref()
    }

    /// A view of the last commit that stays as it is. Cost: microseconds, and what was added since the last snapshot.
    ///
    /// Keep it no longer than needed: the file cannot reuse the space of what a snapshot sees.
    /// # Errors
    /// `Corrupt`, `Io`; `Unavailable` after a fork; `Invalid` after [`Store::close`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        let txn = ReadTxn::begin(&*self.file()?)?;
        // Held while the view is brought up to date: others want the same, and get it from us.
        let mut known = self.inner.view.lock().unwrap_or_else(PoisonError::into_inner);
        let view = View::refresh(&txn, known.as_ref(), &self.inner.memory)?;
        if known.as_ref().is_none_or(|known| known.commit() < view.commit()) {
            *known = Some(Arc::clone(&view));
        }
        drop(known);
        Ok(Snapshot::new(self.clone(), txn, view))
    }

    /// Begins to write; waits while another transaction of this process is open, and for [`Background::Thread`] if that falls behind while
    /// the store is searched. Dropping it undoes it.
    ///
    /// # Errors
    /// `Unavailable` for a store opened read-only and after a fork; `Poisoned` after a failed write.
    pub fn write(&self) -> Result<WriteTxn> {
        WriteTxn::begin(self, |turns| turns.take(&Control::default()))
    }

    /// Begins to write what merges and the like have made.
    fn publish(&self, control: &Control) -> Result<WriteTxn> {
        WriteTxn::begin(self, |turns| turns.take_first(control))
    }

    /// Adds documents in one transaction, replacing those of the same id.
    ///
    /// # Errors
    /// As [`WriteTxn::add`] and [`WriteTxn::commit`]; nothing is added then.
    pub fn add(&self, documents: impl IntoIterator<Item = Document>) -> Result<CommitReport> {
        let mut txn = self.write()?;
        txn.add(documents)?;
        txn.commit()
    }

    /// Deletes documents by id in one transaction.
    ///
    /// # Errors
    /// As [`WriteTxn::delete`] and [`WriteTxn::commit`]; nothing is deleted then.
    pub fn delete<I: AsRef<str>>(&self, ids: impl IntoIterator<Item = I>) -> Result<DeleteReport> {
        let mut txn = self.write()?;
        let report = txn.delete(ids)?;
        txn.commit()?;
        Ok(report)
    }

    /// Merge-patches the metadata of one document (RFC 7396); its vectors stay.
    ///
    /// # Errors
    /// `NotFound`; as [`WriteTxn::update_metadata`] and [`WriteTxn::commit`].
    pub fn update_metadata(&self, id: &str, patch: &Metadata) -> Result<CommitReport> {
        let mut txn = self.write()?;
        txn.update_metadata(id, patch)?;
        txn.commit()
    }

    /// A document by its id, from the last commit.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub fn get(&self, id: &str) -> Result<Option<Document>> {
        self.snapshot()?.get(id)
    }

    /// The number of documents in the last commit.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub fn count(&self) -> Result<u64> {
        Ok(self.snapshot()?.count())
    }

    /// Searches the last commit.
    ///
    /// # Errors
    /// As [`Snapshot::search`].
    pub fn search(&self, query: &Query) -> Result<Vec<Hit>> {
        self.snapshot()?.search(query)
    }

    /// Numbers about the last commit, the file and the memory in use.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub fn stats(&self) -> Result<Stats> {
        stats::stats(self)
    }

    /// Verifies the last commit. Damage is in the report; an error means that checking itself could not go on.
    ///
    /// # Errors
    /// As [`Store::snapshot`]; `Cancelled`.
    pub fn check(&self, level: CheckLevel, control: &Control) -> Result<CheckReport> {
        check::check(self, level, control)
    }

    /// Merges, in the calling thread, the segments whose merge is due, then builds the indexes that are missing, and those anew whose
    /// recall has fallen, as far as `limits` allow. A store opened with [`Background::Thread`], the default, does so by itself.
    ///
    /// Others read and write meanwhile. Memory: 24 bytes a row, at most an eighth of the budget. Cost: each vector is
    /// written a logarithm of times in all, each time into a segment three times as large.
    /// # Errors
    /// As [`Store::write`] and [`WriteTxn::commit`]; `Corrupt` for a damaged segment; `Io` when the disk is full;
    /// `Cancelled`. What was merged before stays merged, the rest as it was.
    pub fn merge(&self, limits: &MergeLimits, control: &Control) -> Result<MergeReport> {
        merge::merge(self, limits, control)
    }

    /// Makes anew what is derived from documents and vectors and is damaged: the text index, the index over metadata, the indexes
    /// of segments. A text index that another version of vdb made in another way is made anew, too. No document is discarded, whether it
    /// can be read or not.
    ///
    /// Others may read meanwhile. Cost: a deep check before and after, and reading every document for what is made anew.
    /// # Errors
    /// As [`Store::check`], [`Store::write`] and [`WriteTxn::commit`]; `Cancelled`, which leaves what was done.
    pub fn repair(&self, mode: RepairMode, control: &Control) -> Result<RepairReport> {
        repair::repair(self, mode, control)
    }

    /// Merges segments, drops what deleted documents left, and returns space to the file system. Others may read
    /// meanwhile; what they still see is returned at a later call, and reported.
    ///
    /// # Errors
    /// As [`Store::write`] and [`WriteTxn::commit`]; `Cancelled`, which undoes nothing that was committed.
    pub fn compact(&self, control: &Control) -> Result<CompactReport> {
        compact::compact(self, control)
    }

    /// Closes the file and releases its locks, for all clones; snapshots can no longer read. A merge that is going on is
    /// given up.
    ///
    /// # Errors
    /// What the last write of the file says. The store is closed all the same, and is recovered at the next opening.
    /// `Unavailable` while a write transaction is open, whose end then closes the file.
    pub fn close(self) -> Result<()> {
        if let Some(owner) = &self.owner {
            if !owner.is_ours() {
                // The file and its locks are the parent's.
                return Ok(());
            }
            owner.stop();
        }
        let mut file = self.inner.file.write().unwrap_or_else(PoisonError::into_inner);
        file.close()
    }

    pub(crate) fn closed() -> Error {
        Error::invalid("store", "it is closed")
    }
}
