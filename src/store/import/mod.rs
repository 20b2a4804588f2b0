//! Bulk import: many documents from files, committed batch by batch, so that it can be stopped and run again.

mod directory;
mod jsonl;
mod npy;

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::memory::{Component, Grant};
use super::{ConflictPolicy, Control, Snapshot, Store, WriteTxn};
use crate::codec::{to_u64, to_usize};
use crate::document::{Document, JsonFields};
use crate::error::{Error, Result};
use crate::limits::{BATCH_BYTES, LINE_BYTES_MAX};

/// A batch becomes durable after so long, or after so many documents.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
const COMMIT_DOCUMENTS: u64 = 20_000;
/// Documents checked and written together; fewer when each has to be embedded, and when they are large.
const BATCH: usize = 512;
const BATCH_TO_EMBED: usize = 64;
/// What a batch takes for each of its bytes: as it was read, and as it is added.
const BATCH_TIMES: u64 = 3;
/// What reading takes besides, in bytes.
const READER_BYTES: u64 = 2 << 20;
/// A line takes at most one part in so many of the memory that is left.
const LINE_PARTS: u64 = 8;
/// With less memory left than this, what was read is committed, which gives back what a transaction keeps.
const LEFT_MIN: u64 = 1 << 20;
/// What is kept of each document until the commit, besides its id.
const CHANGED_BYTES: usize = 96;

/// What the sources are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportFormat {
    /// A directory is a directory, a file whose name ends in `.npy` an array, anything else JSON Lines. The default.
    #[default]
    Auto,
    /// One document in JSON a line.
    Jsonl,
    /// A directory of `.txt` and `.md` files: one document a file, with its path as id, and size and time as metadata.
    Directory,
    /// An array of NumPy (`.npy`, version 1 to 3) of f2, f4 or f8, little-endian: a document a row. The file of the same name
    /// that ends in `.jsonl`, if there is one, has a line for each row with its id, text and metadata.
    Npy,
}

/// What happens to a document that cannot be read or added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The import stops there; the documents before it stay. The default.
    #[default]
    Stop,
    /// It is left out and counted.
    Skip,
    /// It is left out, counted, and written to this file with the reason, one JSON object a line.
    Collect(PathBuf),
}

/// A durable step of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// Documents added, updated and skipped so far; all of them are durable.
    pub documents: u64,
    /// Lines or files read so far.
    pub row: u64,
}

/// What an import has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportSummary {
    /// Documents that are new.
    pub added: u64,
    /// Documents replaced because they differ.
    pub updated: u64,
    /// Documents that were there already, the same or under [`ConflictPolicy::Keep`].
    pub skipped: u64,
    /// Documents left out because of an error.
    pub failed: u64,
    /// Documents that gave way to a later one of the same id in the same commit.
    pub duplicates: u64,
    /// Rows added.
    pub parts: u64,
    /// Texts that were longer than the model reads, and were cut.
    pub truncated: u64,
}

/// Loads documents in bulk. Documents that are in the store already, the same, are skipped without being embedded again;
/// a document without an id gets one made of its content and its place: so a second run goes on where the first stopped,
/// and adds nothing after it has ended.
///
/// # Examples
/// ```
/// use vdb::{Import, Store};
/// # fn main() -> vdb::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("documents.jsonl");
/// std::fs::write(&path, "{\"id\": 1, \"text\": \"one\"}\n{\"id\": 2, \"text\": \"two\"}\n").unwrap();
/// let store = Store::in_memory()?;
/// let first = Import::new().run(&store, &[&path], |_| {})?;
/// let second = Import::new().run(&store, &[&path], |_| {})?;
/// assert_eq!((first.added, second.added, second.skipped), (2, 0, 2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "an import does nothing until it is run"]
pub struct Import {
    format: ImportFormat,
    policy: ConflictPolicy,
    on_error: OnError,
    fields: JsonFields,
    commit_every: Option<u64>,
    control: Control,
}

impl Import {
    /// The defaults: format by what a source is, existing documents are replaced, the first error stops.
    pub fn new() -> Self {
        Import::default()
    }

    /// What the sources are.
    pub fn format(mut self, format: ImportFormat) -> Self {
        self.format = format;
        self
    }

    /// What happens to documents whose id exists with another content.
    pub fn on_conflict(mut self, policy: ConflictPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// What happens to a document that cannot be read or added.
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    /// Which keys of a JSON line mean what.
    pub fn fields(mut self, fields: JsonFields) -> Self {
        self.fields = fields;
        self
    }

    /// Commits after so many documents that are new or differ, and after a second, whichever comes first; 0 counts as 1.
    /// Default: 20,000. Replaces what was set before.
    pub fn commit_every(mut self, documents: u64) -> Self {
        self.commit_every = Some(documents.max(1));
        self
    }

    /// Watches and stops the import. What was committed stays.
    pub fn control(mut self, control: &Control) -> Self {
        self.control = control.clone();
        self
    }

    /// Imports the sources in their order; calls `committed` after each durable batch.
    ///
    /// Memory: one batch. Durable: what `committed` was told of, whatever happens afterwards.
    /// # Errors
    /// `Row`, naming file and line, whose cause says why; `NotFound` for a source; `Cancelled`; as [`WriteTxn::commit`].
    pub fn run(
        &self,
        store: &Store,
        sources: &[impl AsRef<Path>],
        committed: impl FnMut(Committed),
    ) -> Result<ImportSummary> {
        let mut run = Run::new(self, store, committed)?;
        for source in sources {
            let result = run.source(source.as_ref());
            if result.is_err() {
                // The good documents before the fault stay; of two errors the first counts.
                let _ = run.finish();
            }
            result?;
        }
        run.finish()?;
        Ok(run.summary)
    }

    /// Tries the first document of the sources on `store`, and undoes it: fails where [`Import::run`] would fail without
    /// having added anything. Meant for a store in memory, before a file is made that would stay empty. What can be read
    /// only once, such as a pipe, is left alone.
    ///
    /// # Errors
    /// As [`Import::run`].
    pub fn rehearse(&self, store: &Store, sources: &[impl AsRef<Path>]) -> Result<()> {
        for path in sources.iter().map(AsRef::as_ref) {
            if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
                return Ok(());
            }
            let Some(row) = self.rows(path, line_max(store))?.next().transpose()? else { continue };
            let fault = match row.document {
                Err(fault) => fault,
                Ok(document) => match store.write()?.add([document]) {
                    Ok(_) => return Ok(()),
                    Err(fault) if is_fault_of_a_document(&fault) => fault,
                    Err(other) => return Err(other),
                },
            };
            if self.on_error == OnError::Stop {
                return Err(Error::Row { path: path.to_owned(), line: row.number, source: Box::new(fault) });
            }
            return Ok(());
        }
        Ok(())
    }

    /// The documents of a source, whose lines or files may have so many bytes.
    fn rows<'a>(
        &'a self,
        path: &'a Path,
        line_max: u64,
    ) -> Result<Box<dyn Iterator<Item = Result<Row>> + 'a>> {
        let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => {
                Error::NotFound { what: "source", name: path.display().to_string() }
            }
            _ => Error::Io { op: "read", path: path.to_owned(), source },
        })?;
        let is_array = path.extension().is_some_and(|extension| extension == "npy");
        let format = match self.format {
            ImportFormat::Auto if metadata.is_dir() => ImportFormat::Directory,
            ImportFormat::Auto if is_array => ImportFormat::Npy,
            ImportFormat::Auto => ImportFormat::Jsonl,
            given => given,
        };
        Ok(match format {
            ImportFormat::Directory => Box::new(directory::rows(path, line_max)),
            ImportFormat::Npy => npy::rows(path, &self.fields, line_max)?,
            ImportFormat::Auto | ImportFormat::Jsonl => Box::new(jsonl::rows(path, &self.fields, line_max)?),
        })
    }
}

/// The longest line or file that can be added with the memory that is left.
fn line_max(store: &Store) -> u64 {
    to_u64(LINE_BYTES_MAX).min(store.accountant().left() / LINE_PARTS)
}

/// One document of a source, or why it is none.
struct Row {
    /// The line, from 1; of a directory, the number of the file; of an array, the row.
    number: u64,
    /// What it was read from, for [`OnError::Collect`].
    raw: String,
    document: Result<Document>,
}

impl Row {
    fn bytes(&self) -> usize {
        self.raw.len() + self.document.as_ref().map_or(0, Document::bytes)
    }
}

/// An import that is going on.
struct Run<'a, F> {
    import: &'a Import,
    store: &'a Store,
    committed: F,
    txn: Option<WriteTxn>,
    /// The last commit, in which documents are looked up.
    before: Snapshot,
    /// The ids that `txn` changes.
    changed: HashSet<String>,
    batch: Vec<Row>,
    path: PathBuf,
    rows: u64,
    waiting: u64,
    since: Instant,
    collected: Option<File>,
    summary: ImportSummary,
    /// What reading and a batch take, and besides that the ids in `changed`.
    grant: Grant,
    grant_before: u64,
}

impl<'a, F: FnMut(Committed)> Run<'a, F> {
    fn new(import: &'a Import, store: &'a Store, committed: F) -> Result<Self> {
        let collected = match &import.on_error {
            OnError::Collect(path) => {
                let io = |source| Error::Io { op: "create", path: path.clone(), source };
                Some(File::create(path).map_err(io)?)
            }
            OnError::Stop | OnError::Skip => None,
        };
        let needs = BATCH_TIMES * to_u64(BATCH_BYTES) + READER_BYTES;
        Ok(Run {
            import,
            store,
            committed,
            txn: None,
            before: store.snapshot()?,
            changed: HashSet::new(),
            batch: Vec::new(),
            path: PathBuf::new(),
            rows: 0,
            waiting: 0,
            since: Instant::now(),
            collected,
            summary: ImportSummary::default(),
            grant: store.accountant().grant(Component::Importing, "an import", needs)?,
            grant_before: needs,
        })
    }

    fn source(&mut self, path: &Path) -> Result<()> {
        path.clone_into(&mut self.path);
        let batch = if self.store.embedder().is_some() { BATCH_TO_EMBED } else { BATCH };
        let batch_max = batch.min(to_usize(self.commit_every()));
        let import = self.import;
        let mut bytes = 0;
        for row in import.rows(path, line_max(self.store))? {
            let mut row = row?;
            bytes += row.bytes();
            let large = BATCH_TIMES * to_u64(bytes.saturating_sub(BATCH_BYTES));
            let memory = self.store.accountant();
            let granted = memory.grant(Component::Importing, "importing so large a document", large);
            let _granted = match granted {
                Ok(grant) => Some(grant),
                Err(fault) => {
                    bytes -= row.bytes();
                    row = Row { number: row.number, raw: String::new(), document: Err(fault) };
                    None
                }
            };
            self.batch.push(row);
            if self.batch.len() >= batch_max || bytes >= BATCH_BYTES {
                self.flush()?;
                bytes = 0;
            }
        }
        self.flush()
    }

    fn commit_every(&self) -> u64 {
        self.import.commit_every.unwrap_or(COMMIT_DOCUMENTS)
    }

    /// Adds the batch, and commits when it is time.
    fn flush(&mut self) -> Result<()> {
        let mut documents = Vec::new();
        for row in std::mem::take(&mut self.batch) {
            self.rows += 1;
            match row.document {
                Ok(document) => {
                    let document = named(document, row.number);
                    if self.is_known(&document)? {
                        self.summary.skipped += 1;
                    } else {
                        if let Some(id) = document.id_ref().filter(|&id| !self.changed.contains(id)) {
                            self.grant.grow("an import", to_u64(id.len() + CHANGED_BYTES))?;
                            self.changed.insert(id.to_owned());
                        }
                        documents.push((row.number, row.raw, document));
                    }
                }
                Err(error) => {
                    // Those before it come first.
                    self.add(std::mem::take(&mut documents))?;
                    self.fault(row.number, &row.raw, error)?;
                }
            }
        }
        self.add(documents)?;
        self.import.control.step("import", self.rows, None)?;
        let is_short = self.waiting > 0 && self.store.accountant().left() < LEFT_MIN;
        if is_short || self.since.elapsed() >= COMMIT_EVERY || self.waiting >= self.commit_every() {
            self.commit()?;
        }
        Ok(())
    }

    /// Whether the store has this very document, and will have it after the commit.
    fn is_known(&self, document: &Document) -> Result<bool> {
        let id = document.id_ref().unwrap_or_default();
        if self.changed.contains(id) {
            return Ok(false);
        }
        let Some(known) = self.before.get(id)? else { return Ok(false) };
        if known.text() != document.text() || known.metadata_ref() != document.metadata_ref() {
            return Ok(false);
        }
        if document.parts().iter().all(|part| part.vector.is_none()) {
            return Ok(true);
        }
        let known = self.before.get_with_vectors(id)?;
        Ok(known.is_some_and(|known| known.parts() == document.parts()))
    }

    /// Adds documents; one that is refused does not keep the others out.
    fn add(&mut self, documents: Vec<(u64, String, Document)>) -> Result<()> {
        if documents.is_empty() {
            return Ok(());
        }
        let all: Vec<Document> = documents.iter().map(|(.., document)| document.clone()).collect();
        self.waiting += to_u64(all.len());
        match self.txn()?.add(all) {
            Ok(_) => return Ok(()),
            Err(error) if !is_fault_of_a_document(&error) => return Err(error),
            Err(_) => {}
        }
        for (number, raw, document) in documents {
            match self.txn()?.add([document.clone()]) {
                Ok(_) => {}
                Err(error) if is_fault_of_a_document(&error) => {
                    let raw = if raw.is_empty() { document.to_json(true) } else { raw };
                    self.fault(number, &raw, error)?;
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn txn(&mut self) -> Result<&mut WriteTxn> {
        let txn = if let Some(txn) = self.txn.take() {
            txn
        } else {
            let mut txn = self.store.write()?;
            txn.on_conflict(self.import.policy);
            txn
        };
        Ok(self.txn.insert(txn))
    }

    /// Stops at a document that cannot be had, or leaves it out.
    fn fault(&mut self, number: u64, raw: &str, error: Error) -> Result<()> {
        if self.import.on_error == OnError::Stop {
            return Err(Error::Row { path: self.path.clone(), line: number, source: Box::new(error) });
        }
        self.summary.failed += 1;
        if let (Some(file), OnError::Collect(path)) = (&mut self.collected, &self.import.on_error) {
            let fault = serde_json::json!({
                "path": self.path.to_string_lossy(), "line": number, "error": error.to_string(), "input": raw,
            });
            writeln!(file, "{fault}").map_err(|source| Error::Io {
                op: "write",
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        self.since = Instant::now();
        self.waiting = 0;
        if let Some(txn) = self.txn.take() {
            let report = txn.commit()?;
            self.summary.added += report.added;
            self.summary.updated += report.updated;
            self.summary.skipped += report.skipped;
            self.summary.duplicates += to_u64(report.duplicates.len());
            self.summary.parts += report.parts;
            self.summary.truncated += report.truncated;
            self.before = self.store.snapshot()?;
            self.changed = HashSet::new();
            self.grant.resize("an import", self.grant_before)?;
        }
        let documents = self.summary.added + self.summary.updated + self.summary.skipped;
        (self.committed)(Committed { documents, row: self.rows });
        Ok(())
    }

    /// Commits what waits; the rows after a fault are not among it.
    fn finish(&mut self) -> Result<()> {
        self.batch.clear();
        if self.txn.is_some() { self.commit() } else { Ok(()) }
    }
}

/// A document without an id gets the same one in every run.
fn named(document: Document, number: u64) -> Document {
    if document.id_ref().is_some() {
        return document;
    }
    let name = format!("{number}\n{}", document.to_json(true));
    document.id(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).to_string())
}

/// Whether the document is at fault, and not the store, the machine or the model.
fn is_fault_of_a_document(error: &Error) -> bool {
    matches!(error, Error::Invalid { .. } | Error::Shape { .. } | Error::Limit { .. } | Error::Exists { .. })
}
