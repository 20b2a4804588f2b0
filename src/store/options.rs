//! How a store is opened, and what is chosen when it is created.

use std::fmt;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::indexing::IndexKind;
use super::{Store, memory};
use crate::catalog;
use crate::embed::{Embedder, ModelIdentity};
use crate::error::{Error, Result};
use crate::limits::{DIM_MAX, MEMORY_BUDGET_MIN, TAIL_BYTES_MAX, TEXT_TAIL_BYTES_MAX};
use crate::metric::Metric;
use crate::storage::{self, Access, Sabotage, Settings};
use crate::text::Language;
use crate::text::analyzer::ANALYZER_VERSION;
use crate::vector::segment::Precision;

/// The most memory for the catalog's page cache, in bytes.
const CACHE_BYTES_MAX: u64 = 64 << 20;
/// What the catalog takes besides its page cache, with the rows of the log, in bytes.
const CATALOG_BYTES: u64 = 2 << 20;
/// Vectors that wait are sealed into a segment before they take a larger part of the budget.
const TAIL_PARTS: u64 = 32;
/// The most bytes, and the largest part of the budget, of changes of the index over metadata that wait.
const CHANGES_BYTES_MAX: u64 = 8 << 20;
const CHANGES_PARTS: u64 = 64;

/// What a commit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// A loss of power: every commit waits for the disk. The default.
    #[default]
    Power,
    /// The death of this process, but not a loss of power, which may then damage the file: no commit waits. For files
    /// that can be made again.
    Process,
}

/// Who merges segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Background {
    /// A thread of the store, started by the first commit after which there may be something to merge, and ended with the
    /// store. The default. While it works and the store is searched, [`Store::write`] waits up to half a second after the write before.
    #[default]
    Thread,
    /// Nobody but [`Store::merge`] and [`Store::compact`]: what they do not merge waits.
    None,
}

/// Options for opening and creating a store.
///
/// # Examples
/// ```
/// use vdb::{Metric, OpenOptions};
/// # fn main() -> vdb::Result<()> {
/// let store = OpenOptions::new().metric(Metric::L2).dim(384).in_memory()?;
/// assert_eq!(store.stats()?.dim, Some(384));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct OpenOptions {
    pub(super) read_only: bool,
    pub(super) memory_budget: Option<u64>,
    pub(super) durability: Durability,
    pub(super) embedder: Option<Arc<dyn Embedder>>,
    pub(super) threads: Option<NonZero<usize>>,
    pub(super) background: Background,
    pub(super) metric: Metric,
    pub(super) precision: Precision,
    pub(super) dim: Option<usize>,
    pub(super) model: Option<ModelIdentity>,
    pub(super) file_mode: u32,
    pub(super) tail_bytes_max: usize,
    pub(super) index: IndexKind,
    pub(super) index_rows_min: Option<u64>,
    pub(super) text: bool,
    pub(super) stem: Option<Language>,
    pub(super) text_tail_bytes_max: u64,
    discards_damaged_log: bool,
    pub(super) sabotage: Sabotage,
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("read_only", &self.read_only)
            .field("memory_budget", &self.memory_budget)
            .field("durability", &self.durability)
            .field("model", &self.embedder.as_ref().map(|e| e.identity().name.clone()))
            .field("metric", &self.metric)
            .field("dim", &self.dim)
            .finish_non_exhaustive()
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions {
            read_only: false,
            memory_budget: None,
            durability: Durability::default(),
            embedder: None,
            threads: None,
            background: Background::default(),
            metric: Metric::default(),
            precision: Precision::default(),
            dim: None,
            model: None,
            file_mode: 0o600,
            tail_bytes_max: TAIL_BYTES_MAX,
            index: IndexKind::default(),
            index_rows_min: None,
            text: true,
            stem: None,
            text_tail_bytes_max: TEXT_TAIL_BYTES_MAX,
            discards_damaged_log: false,
            sabotage: Sabotage::default(),
        }
    }
}

impl OpenOptions {
    /// The defaults: read and write, cosine, any dimension, no model.
    pub fn new() -> Self {
        OpenOptions::default()
    }

    /// Opens without the right to write, beside whoever writes. Default: `false`.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// The memory to stay within, in bytes; at least [`MEMORY_BUDGET_MIN`]. Default: a quarter of what the machine or
    /// its control group has.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = Some(bytes);
        self
    }

    /// Opens a file whose log is damaged, which a writer that was killed has left, as it was before the damage. The commits
    /// from there on are lost, [`RepairReport::discarded_log`](crate::RepairReport::discarded_log) says where that was. Without
    /// this such a file is [`Error::Corrupt`]. Default: `false`.
    #[must_use]
    pub fn discard_damaged_log(mut self, discard: bool) -> Self {
        self.discards_damaged_log = discard;
        self
    }

    /// What a commit survives. Default: [`Durability::Power`].
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Computes the vectors of texts that come without. A store remembers its model and refuses another. Default: none.
    #[must_use]
    pub fn embedder(mut self, embedder: Arc<dyn Embedder>) -> Self {
        self.embedder = Some(embedder);
        self
    }

    /// The most threads that one search, and the building of an index, use. Default: one.
    #[must_use]
    pub fn threads(mut self, threads: NonZero<usize>) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Who merges segments. Default: [`Background::Thread`].
    #[must_use]
    pub fn background(mut self, background: Background) -> Self {
        self.background = background;
        self
    }

    /// At creation: how nearness is measured. Default: cosine.
    #[must_use]
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// At creation: how the values of vectors are stored. Default: [`Precision::F32`].
    #[must_use]
    pub fn vectors(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// At creation: the number of values of a vector. Default: that of the model, else of the first vector.
    #[must_use]
    pub fn dim(mut self, dim: usize) -> Self {
        self.dim = Some(dim);
        self
    }

    /// At creation: the model that given vectors come from. Default: that of the embedder, if there is one.
    #[must_use]
    pub fn model(mut self, model: ModelIdentity) -> Self {
        self.model = Some(model);
        self
    }

    /// At creation: the permission bits of the file. Default: `0o600`.
    #[must_use]
    pub fn file_mode(mut self, mode: u32) -> Self {
        self.file_mode = mode;
        self
    }

    /// At creation: which segments get an index. Default: [`IndexKind::Auto`].
    #[must_use]
    pub fn index(mut self, kind: IndexKind) -> Self {
        self.index = kind;
        self
    }

    /// At creation: whether texts are indexed, so that they can be searched for their words. Default: `true`.
    #[must_use]
    pub fn text(mut self, text: bool) -> Self {
        self.text = text;
        self
    }

    /// At creation: the language whose words are found by their stems, too. Default: none.
    #[must_use]
    pub fn stem(mut self, language: Language) -> Self {
        self.stem = Some(language);
        self
    }

    /// Writes text segments sooner, so that small tests have some. Default: [`TEXT_TAIL_BYTES_MAX`].
    #[doc(hidden)]
    #[must_use]
    pub fn text_tail_bytes_max(mut self, bytes: u64) -> Self {
        self.text_tail_bytes_max = bytes;
        self
    }

    /// Builds indexes of smaller segments, so that small tests have some. Default: what the kind says.
    #[doc(hidden)]
    #[must_use]
    pub fn index_rows_min(mut self, rows: u64) -> Self {
        self.index_rows_min = Some(rows);
        self
    }

    /// Seals segments sooner, so that small tests have some. Default: [`TAIL_BYTES_MAX`].
    #[doc(hidden)]
    #[must_use]
    pub fn tail_bytes_max(mut self, bytes: usize) -> Self {
        self.tail_bytes_max = bytes;
        self
    }

    #[cfg(test)]
    pub(super) fn sabotage(mut self, sabotage: Sabotage) -> Self {
        self.sabotage = sabotage;
        self
    }

    /// Decides the budget where none was given: once, for what is free changes.
    fn decided(mut self) -> Self {
        self.memory_budget.get_or_insert_with(memory::default_budget);
        self
    }

    /// The budget in bytes.
    pub(super) fn budget(&self) -> u64 {
        self.memory_budget.unwrap_or(MEMORY_BUDGET_MIN)
    }

    /// The bytes of the catalog's page cache.
    fn cache_bytes(&self) -> u64 {
        (self.budget() / 8).min(CACHE_BYTES_MAX)
    }

    /// What the catalog takes: the pages in its cache, and what is kept of each and of the transactions.
    pub(super) fn catalog_bytes(&self) -> u64 {
        self.cache_bytes() / 8 * 9 + CATALOG_BYTES
    }

    /// The vectors that wait before they are sealed into a segment, in bytes.
    pub(super) fn tail_max(&self) -> usize {
        self.tail_bytes_max.min(crate::codec::to_usize(self.budget() / TAIL_PARTS))
    }

    /// The changes of the index over metadata that a transaction collects before it writes them, in bytes.
    pub(super) fn changes_max(&self) -> usize {
        crate::codec::to_usize((self.budget() / CHANGES_PARTS).min(CHANGES_BYTES_MAX))
    }

    pub(super) fn settings(&self) -> Result<Settings> {
        crate::vector::faiss::ready()?;
        if let Some(budget) = self.memory_budget.filter(|&budget| budget < MEMORY_BUDGET_MIN) {
            let reason = format!("{budget} bytes are less than the minimum of {MEMORY_BUDGET_MIN}");
            return Err(Error::invalid("memory budget", reason));
        }
        let cache_bytes = crate::codec::to_usize(self.cache_bytes());
        Ok(Settings {
            cache_bytes,
            sync: self.durability == Durability::Power,
            discards_log: self.discards_damaged_log,
            sabotage: self.sabotage,
        })
    }

    /// What a new store begins with: the embedder's model, or the one named, and its dimension.
    fn space(&self) -> Result<catalog::SpaceRecord> {
        let model = self.embedder.as_ref().map(|e| e.identity().clone()).or_else(|| self.model.clone());
        let dim = match (self.dim, model.as_ref().map(|m| m.dim)) {
            (Some(given), Some(of_model)) if given != of_model => {
                return Err(Error::Shape {
                    what: "vector of the model".into(),
                    expected: given,
                    found: of_model,
                });
            }
            (given, of_model) => given.or(of_model),
        };
        if let Some(dim) = dim.filter(|dim| !(1..=DIM_MAX).contains(dim)) {
            let (found, max) = (crate::codec::to_u64(dim), crate::codec::to_u64(DIM_MAX));
            return Err(match dim {
                0 => Error::invalid("dimension", "it is zero"),
                _ => Error::Limit { what: "dimension".into(), found, max },
            });
        }
        Ok(catalog::SpaceRecord {
            model: model.as_ref().map(super::view::model_record),
            dim: dim.and_then(|dim| u32::try_from(dim).ok()),
            metric: self.metric.name().to_owned(),
            vectors: match self.precision {
                Precision::F32 => catalog::VECTORS_F32,
                Precision::F16 => catalog::VECTORS_F16,
            },
        })
    }

    /// What a new store's text index begins with, if it is to have one.
    fn text_record(&self) -> Option<catalog::TextRecord> {
        self.text.then(|| catalog::TextRecord {
            analyzer: ANALYZER_VERSION,
            stem: self.stem.map(|language| language.name().to_owned()),
            ..catalog::TextRecord::default()
        })
    }

    /// Creates a store at `path`, durably and at once: no other process ever sees half of it.
    ///
    /// # Errors
    /// `Exists`; `Io`, for a directory that is missing or cannot be written; `Limit`, `Invalid` for the options.
    pub fn create(self, path: impl AsRef<Path>) -> Result<Store> {
        let (path, options) = (path.as_ref(), self.decided());
        let file = options.create_file(path)?;
        if options.read_only {
            drop(file);
            return options.open(path);
        }
        Store::new(path.to_owned(), options, file)
    }

    fn create_file(&self, path: &Path) -> Result<storage::OpenFile> {
        let (settings, space) = (self.settings()?, self.space()?);
        storage::create_file(path, self.file_mode, settings, |file| {
            catalog::initialise(file, &space, self.index.name(), self.text_record().as_ref())
        })
    }

    /// Opens the store at `path`.
    ///
    /// # Errors
    /// As [`Store::open`]; `Model` when the store belongs to another model than the embedder's.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store> {
        let (path, options) = (path.as_ref(), self.decided());
        let access = if options.read_only { Access::Read } else { Access::Write };
        let file = storage::open_file(path, access, options.settings()?)?;
        Store::new(path.to_owned(), options, file)
    }

    /// Opens the store at `path`, or creates it when there is none.
    ///
    /// # Errors
    /// As [`OpenOptions::open`] and [`OpenOptions::create`].
    pub fn open_or_create(self, path: impl AsRef<Path>) -> Result<Store> {
        match self.clone().open(&path) {
            Err(Error::NotFound { .. }) => {}
            result => return result,
        }
        match self.clone().create(&path) {
            Err(Error::Exists { .. }) => self.open(path),
            result => result,
        }
    }

    /// Makes a store in memory that the system may swap, gone with its last handle.
    ///
    /// # Errors
    /// As [`Store::in_memory`].
    pub fn in_memory(self) -> Result<Store> {
        let options = self.decided();
        let space = options.space()?;
        let file = storage::memory_file(options.settings()?)?;
        catalog::initialise(&file, &space, options.index.name(), options.text_record().as_ref())?;
        Store::new(PathBuf::from(":memory:"), options, file)
    }

    /// Opens a store on any file that the storage layer can use.
    #[cfg(test)]
    pub(super) fn open_raw(self, file: crate::storage::OpenFile) -> Result<Store> {
        Store::new(PathBuf::from(":test:"), self.decided(), file)
    }

    #[cfg(test)]
    pub(super) fn create_raw(self, file: crate::storage::OpenFile) -> Result<Store> {
        catalog::initialise(&file, &self.space()?, self.index.name(), self.text_record().as_ref())?;
        self.open_raw(file)
    }
}
