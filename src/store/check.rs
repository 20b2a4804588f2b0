//! Verifying a store: whether what the catalog says is there, whole, and agrees.

use super::snapshot::{Snapshot, document_row};
use super::{Control, Store, text};
use crate::catalog::{self, Rows, Table};
use crate::codec::{key_number, to_u64};
use crate::error::{Error, Result};
use crate::json;

/// The rows between two steps of the control.
const STEP_ROWS: u64 = 1024;

/// How thoroughly to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckLevel {
    /// Every row of the catalog, and that everything it names is in its place. The default.
    #[default]
    Quick,
    /// And the checksum of every byte that is in use.
    Deep,
}

/// Something that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The thing: `segment 3`, `row 7 of table documents`.
    pub what: String,
    /// What was expected and what was found.
    pub detail: String,
}

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// The number of things checked: rows, pages, blobs.
    pub objects: u64,
    /// Bytes that the rows of the catalog take, with their keys and checksums. What its pages take beside is room.
    pub catalog_bytes: u64,
    /// What is damaged; empty for a sound store.
    pub damage: Vec<Damage>,
}

impl CheckReport {
    /// Whether nothing is damaged.
    pub fn is_ok(&self) -> bool {
        self.damage.is_empty()
    }

    /// Counts an object, and notes damage; other errors go on to the caller.
    fn note(&mut self, result: Result<()>) -> Result<()> {
        self.objects += 1;
        match result {
            Err(Error::Corrupt { what, detail, offset }) => {
                self.damage.push(Damage { what, detail: format!("{detail} (at byte {offset})") });
                Ok(())
            }
            Err(Error::Version { found, .. }) => {
                self.damage.push(Damage { what: "record".into(), detail: format!("unknown {found}") });
                Ok(())
            }
            other => other,
        }
    }
}

pub(super) fn check(store: &Store, level: CheckLevel, control: &Control) -> Result<CheckReport> {
    let snapshot = store.snapshot()?;
    let mut report = CheckReport::default();
    control.step("check", 0, None)?;
    report.note(identity(&snapshot))?;
    let tables = check_tables(&snapshot, control, &mut report)?;
    if let Some(tables) = &tables {
        let agreement = agree(&snapshot, tables, control);
        report.note(agreement)?;
    }
    if let Some(text) = &snapshot.view().text {
        let (deep, tally) = (level == CheckLevel::Deep, tables.as_ref().map(|tables| &tables.texts));
        text::check(&snapshot, text, tally, deep, &mut |result| {
            control.step("check", report.objects, None)?;
            report.note(result)
        })?;
    }
    if level == CheckLevel::Deep {
        let result = catalog::index::check(snapshot.txn(), &mut |rows| control.step("check", rows, None));
        report.note(result)?;
    }
    let blobs = catalog::blobs(snapshot.txn()).unwrap_or_default();
    let runs: Vec<_> = blobs.values().map(crate::storage::BlobRecord::run).collect();
    report.note(snapshot.txn().container().check_disjoint(&runs))?;
    for segment in snapshot.view().segments.iter() {
        control.step("check", report.objects, None)?;
        let result = if level == CheckLevel::Deep { segment.check() } else { Ok(()) };
        report.note(result)?;
    }
    for index in snapshot.view().indexes.values() {
        control.step("check", report.objects, None)?;
        report.note(index.check(snapshot.txn(), level == CheckLevel::Deep))?;
    }
    if level == CheckLevel::Deep {
        report.note(snapshot.txn().container().check_head())?;
    }
    Ok(report)
}

/// Whether the catalog belongs to this file.
fn identity(snapshot: &Snapshot) -> Result<()> {
    let (store, preamble) = (catalog::store(snapshot.txn())?, snapshot.txn().container().preamble());
    if store.uuid == preamble.uuid.into_bytes() && store.lineage == preamble.lineage.into_bytes() {
        return Ok(());
    }
    Err(Error::corrupt("table meta", 0, format!("the store is not the one of the file {}", preamble.uuid)))
}

/// What the tables say, to be compared.
struct Tally {
    documents: u64,
    parts: u64,
    /// Rows that should have a vector.
    vectors: u64,
    ids: u64,
    tail: u64,
    texts: text::Tally,
}

/// Reads every row of every table; `None` when a table could not be read to its end.
fn check_tables(snapshot: &Snapshot, control: &Control, report: &mut CheckReport) -> Result<Option<Tally>> {
    let texts = text::Tally::new(snapshot);
    let mut tally = Tally { documents: 0, parts: 0, vectors: 0, ids: 0, tail: 0, texts };
    let mut whole = true;
    for table in Table::ALL {
        let (mut rows, mut bytes) = (0, 0);
        let scan = snapshot.txn().scan(table, &[], &mut |key, value| {
            rows += 1;
            bytes += to_u64(key.len() + value.len() + size_of::<u32>());
            if rows % STEP_ROWS == 0 {
                control.step("check", rows, None)?;
            }
            tally.row(table, key, value).map(|()| true)
        });
        report.objects += rows;
        report.catalog_bytes += bytes;
        whole &= scan.is_ok();
        report.note(scan)?;
    }
    Ok(whole.then_some(tally))
}

impl Tally {
    fn row(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<()> {
        match table {
            Table::Documents => {
                let (row, record) = document_row(key, value)?;
                if !record.metadata.starts_with('{') || json::compact(&record.metadata).is_err() {
                    return Err(table.damage(key, "the metadata are no JSON object"));
                }
                self.vectors += to_u64(record.parts.iter().filter(|part| part.vector).count());
                self.texts.document(row, &record)?;
                self.documents += 1;
                self.parts += to_u64(record.parts.len());
            }
            Table::Ids => {
                std::str::from_utf8(key).map_err(|_| table.damage(key, "the id is not UTF-8"))?;
                key_number(value).ok_or_else(|| table.damage(key, "value is no row number"))?;
                self.ids += 1;
            }
            Table::Tail => {
                catalog::tail_row(key, value)?;
                self.tail += 1;
            }
            Table::Postings => catalog::index::check_leaf(key, value)?,
            _ => {}
        }
        Ok(())
    }
}

/// Compares what the tables say of the same things. Reads the documents once more, and the row of each one's id.
fn agree(snapshot: &Snapshot, tally: &Tally, control: &Control) -> Result<()> {
    let (view, txn) = (snapshot.view(), snapshot.txn());
    let counters = &view.counters;
    for (what, expected, found) in [
        ("number of documents", counters.documents, tally.documents),
        ("number of parts", counters.parts, tally.parts),
        ("number of rows in the tail", counters.tail_rows, tally.tail),
        ("number of ids", tally.documents, tally.ids),
    ] {
        same(what, expected, found)?;
    }
    let (mut done, mut next) = (0, 0);
    txn.scan(Table::Documents, &[], &mut |key, value| {
        done += 1;
        if done % STEP_ROWS == 0 {
            control.step("check", done, None)?;
        }
        let (row, record) = document_row(key, value)?;
        if catalog::id_row(txn, &record.id)? != Some(row) {
            return Err(Table::Ids.damage(record.id.as_bytes(), &format!("it does not lead to row {row}")));
        }
        let end = row.saturating_add(to_u64(record.parts.len()));
        if row < next || end > counters.next_row || (row..end).any(|row| view.dead.contains(row)) {
            return Err(Table::Documents.damage(key, "its rows are dead or not its own"));
        }
        next = end;
        Ok(true)
    })?;
    same("number of live vectors", tally.vectors, view.live_rows(txn)?)
}

fn same(what: &str, expected: u64, found: u64) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::corrupt(what, 0, format!("{expected} expected, {found} found")))
}
