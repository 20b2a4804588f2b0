//! Reading one committed state.

use std::collections::VecDeque;
use std::sync::Arc;

use roaring::RoaringTreemap;

use super::Store;
use super::fields::{SortOrder, Sorted};
use super::memory::Grant;
use super::selection::{self, Selection};
use super::view::View;
use crate::catalog::{self, DocumentRecord, ReadTxn, Record, Rows, Table};
use crate::codec::{key, key_number, to_u64, to_usize};
use crate::document::{Document, Metadata, Part};
use crate::error::{Error, Result};
use crate::filter::{Candidate, Filter};
use crate::limits::BATCH_BYTES;
use crate::storage::{Container, Pin};

/// Documents read at a time by an iterator, or fewer if they are large.
const PAGE: usize = 256;

/// One committed state: everything read through it belongs to the same commit, whatever is written meanwhile.
#[derive(Debug)]
pub struct Snapshot {
    txn: ReadTxn,
    blobs: Blobs,
}

/// What a snapshot has without the catalog: the view, and the pages of the blobs that its maps show.
///
/// For work that takes long. While a transaction reads the catalog, no page that a commit frees is used again, and each
/// commit makes the file longer.
#[derive(Debug)]
pub(super) struct Blobs {
    view: Arc<View>,
    store: Store,
    pin: Arc<Pin>,
}

impl Blobs {
    pub(super) fn view(&self) -> &View {
        &self.view
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn container(&self) -> &Arc<Container> {
        self.pin.container()
    }
}

impl Snapshot {
    pub(super) fn new(store: Store, txn: ReadTxn, view: Arc<View>) -> Self {
        let blobs = Blobs { view, store, pin: Arc::clone(txn.pin()) };
        Snapshot { txn, blobs }
    }

    pub(super) fn view(&self) -> &View {
        &self.blobs.view
    }

    pub(super) fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Ends reading the catalog.
    pub(super) fn into_blobs(self) -> Blobs {
        self.blobs
    }

    pub(super) fn txn(&self) -> &ReadTxn {
        &self.txn
    }

    pub(super) fn store(&self) -> &Store {
        &self.blobs.store
    }

    /// The number of the commit: rises by one with each.
    pub fn commit(&self) -> u64 {
        self.view().commit()
    }

    /// A document by its id. Cost: two lookups.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn get(&self, id: &str) -> Result<Option<Document>> {
        let Some(row) = catalog::id_row(&self.txn, id)? else { return Ok(None) };
        let record = self.record(row)?;
        if record.id != id {
            let detail = format!("it leads to the document {:?}", record.id);
            return Err(Table::Ids.damage(id.as_bytes(), &detail));
        }
        Ok(Some(document(record)))
    }

    /// A document by its id, with the vectors of its parts as they were given.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn get_with_vectors(&self, id: &str) -> Result<Option<Document>> {
        let Some(row) = catalog::id_row(&self.txn, id)? else { return Ok(None) };
        Ok(Some(self.with_vectors(row, self.record(row)?)?))
    }

    fn with_vectors(&self, row: u64, record: DocumentRecord) -> Result<Document> {
        let mut parts = Vec::with_capacity(record.parts.len());
        for (n, part) in record.parts.iter().enumerate() {
            let vector = if part.vector { Some(self.row_vector(row + to_u64(n))?) } else { None };
            parts.push(Part { span: to_usize(part.start.into())..to_usize(part.end.into()), vector });
        }
        Ok(Document::stored(record.id, record.text, Metadata::stored(record.metadata), parts))
    }

    pub(super) fn row_vector(&self, row: u64) -> Result<Vec<f32>> {
        self.view()
            .vector(&self.txn, row)?
            .ok_or_else(|| Error::corrupt(format!("vector of row {row}"), 0, "it is missing"))
    }

    /// The document whose first row is `row`, which must exist.
    pub(super) fn record(&self, row: u64) -> Result<DocumentRecord> {
        self.txn
            .find(Table::Documents, &key(row))?
            .ok_or_else(|| Table::Documents.damage(&key(row), "the row is missing"))
    }

    /// The id of the document whose first row is `row`, which must exist.
    pub(super) fn document_id(&self, row: u64) -> Result<String> {
        self.store().ids().get(row, self.store().accountant(), || {
            let found = self.txn.get(Table::Documents, &key(row))?;
            DocumentRecord::id_of(
                &found.ok_or_else(|| Table::Documents.damage(&key(row), "the row is missing"))?,
            )
        })
    }

    /// All documents, in the order in which they were added. [`Documents::filter`] chooses among them.
    ///
    /// # Examples
    /// ```
    /// use vdb::{Document, Filter, Store};
    /// # fn main() -> vdb::Result<()> {
    /// let store = Store::in_memory()?;
    /// store.add((0..5).map(|n| Document::new("text").id(format!("{n}")).metadata_json(&format!(r#"{{"n":{n}}}"#)).unwrap()))?;
    /// let snapshot = store.snapshot()?;
    /// let ids: Vec<String> = snapshot
    ///     .documents()
    ///     .filter(&Filter::field("n").gte(3))
    ///     .map(|document| document.map(|d| d.id_ref().unwrap_or_default().to_owned()))
    ///     .collect::<vdb::Result<_>>()?;
    /// assert_eq!(ids, ["3", "4"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn documents(&self) -> Documents<'_> {
        Documents {
            snapshot: self,
            filter: Filter::all(),
            selection: None,
            sort: None,
            sorted: None,
            next: 0,
            vectors: false,
            page: VecDeque::new(),
            done: false,
        }
    }

    /// The number of documents. Cost: none.
    pub fn count(&self) -> u64 {
        self.view().counters.documents
    }

    /// The number of documents that match. Cost: where the index over metadata answers, as for equality and ranges, what
    /// it has of the values in question, and no document is read; otherwise reads every document.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn count_where(&self, filter: &Filter) -> Result<u64> {
        if let Some(count) = selection::count(&self.txn, filter)? {
            return Ok(count);
        }
        let _sets = self.sets("counting documents")?;
        let mut selection = self.select(filter)?;
        let mut count = selection.take_sure().map_or(0, |sure| sure.len());
        for_each_selected(&self.txn, filter, &selection, 0, &mut |_, _| {
            count += 1;
            Ok(true)
        })?;
        Ok(count)
    }

    /// The documents that match, as far as the index tells.
    pub(super) fn select(&self, filter: &Filter) -> Result<Selection> {
        selection::select(&self.txn, &|| Ok(self.view().first_rows()), filter)
    }

    /// The rows of the matching documents, and by which way they were found.
    pub(super) fn matching_rows(&self, filter: &Filter) -> Result<(RoaringTreemap, &'static str)> {
        let mut selection = self.select(filter)?;
        let path = selection.path();
        let mut rows = selection.take_sure().unwrap_or_default();
        self.view().add_parts(&mut rows);
        for_each_selected(&self.txn, filter, &selection, 0, &mut |row, record| {
            rows.insert_range(row..row + to_u64(record.parts.len()));
            Ok(true)
        })?;
        Ok((rows, path))
    }
}

/// Calls `visit` with each matching document from row `from` on and its first row, in order, until it answers `false`.
/// Reads the documents that `selection` has.
pub(super) fn for_each_selected(
    rows: &dyn Rows,
    filter: &Filter,
    selection: &Selection,
    from: u64,
    visit: &mut dyn FnMut(u64, DocumentRecord) -> Result<bool>,
) -> Result<()> {
    let Selection::Rows { sure, unsure } = selection else {
        return rows.scan(Table::Documents, &key(from), &mut |row, value| {
            let (number, record) = document_row(row, value)?;
            if filter.matches(&candidate(&record))? { visit(number, record) } else { Ok(true) }
        });
    };
    let (mut certain, mut open) = (sure.iter(), unsure.iter());
    certain.advance_to(from);
    open.advance_to(from);
    let (mut certain, mut open) = (certain.peekable(), open.peekable());
    loop {
        let (row, is_sure) = match (certain.peek(), open.peek()) {
            (Some(&a), Some(&b)) if a < b => (a, true),
            (_, Some(&b)) => (b, false),
            (Some(&a), None) => (a, true),
            (None, None) => return Ok(()),
        };
        if is_sure {
            certain.next()
        } else {
            open.next()
        };
        let value = rows
            .get(Table::Documents, &key(row))?
            .ok_or_else(|| Table::Documents.damage(&key(row), "the row is missing, and the index has it"))?;
        let (_, record) = document_row(&key(row), &value)?;
        if (is_sure || filter.matches(&candidate(&record))?) && !visit(row, record)? {
            return Ok(());
        }
    }
}

/// Reads a row of the table of documents.
pub(super) fn document_row(row: &[u8], value: &[u8]) -> Result<(u64, DocumentRecord)> {
    let number = key_number(row).ok_or_else(|| Table::Documents.damage(row, "key is no number"))?;
    let record = DocumentRecord::decode(value)?;
    let text = record.text.as_deref().unwrap_or_default();
    let sound = |part: &catalog::PartRecord| {
        text.get(to_usize(part.start.into())..to_usize(part.end.into())).is_some()
    };
    if record.parts.is_empty() || !record.parts.iter().all(sound) {
        return Err(Table::Documents.damage(row, "its parts do not fit its text"));
    }
    Ok((number, record))
}

/// A document as filters see it.
pub(super) fn candidate(record: &DocumentRecord) -> Candidate<'_> {
    Candidate { id: &record.id, text: record.text.as_deref(), metadata: &record.metadata }
}

/// A document as users see it, without vectors.
pub(super) fn document(record: DocumentRecord) -> Document {
    let parts = record
        .parts
        .iter()
        .map(|part| Part { span: to_usize(part.start.into())..to_usize(part.end.into()), vector: None })
        .collect();
    Document::stored(record.id, record.text, Metadata::stored(record.metadata), parts)
}

/// An iterator over documents, in the order in which they were added.
#[derive(Debug)]
#[must_use = "an iterator reads nothing until it is asked"]
pub struct Documents<'s> {
    snapshot: &'s Snapshot,
    filter: Filter,
    /// Made when the first document is asked for, with its memory.
    selection: Option<(Selection, Option<Grant>)>,
    sort: Option<(String, SortOrder)>,
    /// Made when the first document is asked for.
    sorted: Option<Sorted>,
    next: u64,
    vectors: bool,
    page: VecDeque<(u64, DocumentRecord)>,
    done: bool,
}

impl Documents<'_> {
    /// Only documents that match. Replaces the filter before.
    pub fn filter(mut self, filter: &Filter) -> Self {
        self.filter = filter.clone();
        (self.selection, self.sorted) = (None, None);
        self
    }

    /// Only documents after the one where an earlier iterator stood: see [`Documents::cursor`]. Replaces.
    pub fn after(mut self, cursor: u64) -> Self {
        self.next = cursor;
        self
    }

    /// Documents in the order of a field: null, `false`, `true`, numbers, strings. Equal ones, and at the end those without
    /// such a value, come in the order in which they were added. Replaces the order before. Cost, at the first document:
    /// the postings of the field, and eight bytes of the memory budget for each document; [`Error::Memory`] where they do not fit.
    ///
    /// A cursor is then a place in this order, good for the same order and filter while the store stays as it is.
    pub fn sort(mut self, field: impl Into<String>, order: SortOrder) -> Self {
        self.sort = Some((field.into(), order));
        self.sorted = None;
        self
    }

    /// Documents come with their vectors. Default: without.
    pub fn with_vectors(mut self) -> Self {
        self.vectors = true;
        self
    }

    /// Where the iterator stands: pass it to [`Documents::after`], in this or a later snapshot, to go on from here.
    pub fn cursor(&self) -> u64 {
        match self.sort {
            Some(_) => self.next - to_u64(self.page.len()),
            None => self.page.front().map_or(self.next, |(row, _)| *row),
        }
    }

    fn fill(&mut self) -> Result<()> {
        if let Some((field, order)) = &self.sort {
            let sorted = match self.sorted.take() {
                Some(sorted) => sorted,
                None => self.snapshot.sorted(field, *order, &self.filter)?,
            };
            let mut bytes = 0;
            for &row in sorted.rows.iter().skip(to_usize(self.next)).take(PAGE) {
                let record = self.snapshot.record(row)?;
                bytes += record.bytes();
                self.page.push_back((row, record));
                if bytes >= BATCH_BYTES {
                    break;
                }
            }
            self.next += to_u64(self.page.len());
            self.done = self.next >= to_u64(sorted.rows.len());
            self.sorted = Some(sorted);
            return Ok(());
        }
        let selection = match self.selection.take() {
            Some(selection) => selection,
            None if self.filter.is_empty() => (Selection::Scan, None),
            None => {
                let sets = self.snapshot.sets("reading the documents that match")?;
                (self.snapshot.select(&self.filter)?, Some(sets))
            }
        };
        let (mut page, mut next, mut done) = (VecDeque::new(), self.next, true);
        let mut bytes = 0;
        for_each_selected(&self.snapshot.txn, &self.filter, &selection.0, self.next, &mut |row, record| {
            next = row + 1;
            bytes += record.bytes();
            page.push_back((row, record));
            done = page.len() < PAGE && bytes < BATCH_BYTES;
            Ok(done)
        })?;
        self.selection = Some(selection);
        (self.page, self.next, self.done) = (page, next, done);
        Ok(())
    }
}

impl Iterator for Documents<'_> {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && !self.done
            && let Err(error) = self.fill()
        {
            self.done = true;
            return Some(Err(error));
        }
        let (row, record) = self.page.pop_front()?;
        if self.vectors { Some(self.snapshot.with_vectors(row, record)) } else { Some(Ok(document(record))) }
    }
}
