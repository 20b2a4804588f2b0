//! Verifying the text index: whether it has the texts of the documents, each once.

use roaring::RoaringTreemap;

use super::{TextView, text_bytes};
use crate::catalog::{DocumentRecord, Rows, Table, TextRecord};
use crate::error::{Error, Result};
use crate::store::snapshot::{Snapshot, document_row};
use crate::store::view::View;

/// What the documents say of their texts.
#[derive(Debug, Default)]
pub(in crate::store) struct Tally {
    tail_from: Option<u64>,
    /// Rows with a text that should be in a segment.
    rows: RoaringTreemap,
    /// The bytes of the texts that should be in the tail.
    tail_bytes: u64,
}

impl Tally {
    /// Nothing yet, of a store with this text index, if it has one.
    pub(in crate::store) fn new(record: Option<&TextRecord>) -> Self {
        Tally { tail_from: record.map(|record| record.tail_from), ..Tally::default() }
    }

    /// What the documents of a snapshot say that can be read.
    pub(in crate::store) fn read(snapshot: &Snapshot, text: &TextView) -> Result<Self> {
        let mut tally = Tally::new(Some(&text.record));
        snapshot.txn().scan(Table::Documents, &[], &mut |row, value| {
            let (row, record) = document_row(row, value)?;
            tally.document(row, &record);
            Ok(true)
        })?;
        Ok(tally)
    }

    /// Counts a document.
    pub(in crate::store) fn document(&mut self, row: u64, record: &DocumentRecord) {
        match self.tail_from {
            Some(tail_from) if row >= tail_from => self.tail_bytes += text_bytes(record),
            Some(_) if record.text.is_some() => drop(self.rows.insert(row)),
            Some(_) | None => {}
        }
    }
}

/// Verifies what the catalog says of the text index; if `deep`, every byte of it, and that its rows are those with a text.
/// Calls `note` with the result of each check.
pub(in crate::store) fn check(
    view: &View,
    text: &TextView,
    tally: Option<&Tally>,
    deep: bool,
    note: &mut dyn FnMut(Result<()>) -> Result<()>,
) -> Result<()> {
    if text.damage().is_err() {
        return note(text.damage());
    }
    if let Some(tally) = tally
        && tally.tail_bytes != text.record.tail_bytes
    {
        let (expected, found) = (text.record.tail_bytes, tally.tail_bytes);
        let detail = format!("{expected} bytes of texts expected, {found} found");
        note(Err(Error::corrupt("tail of the text index", 0, detail)))?;
    }
    let mut next = 0;
    for segment in text.segments.iter() {
        let layout = segment.layout();
        let in_order = layout.first_row >= next && layout.last_row < text.record.tail_from;
        let ordered = if in_order { Ok(()) } else { Err(segment.damage("its rows belong to others")) };
        note(ordered)?;
        next = layout.last_row.saturating_add(1);
    }
    if !deep {
        return Ok(());
    }
    let (mut rows, mut whole) = (RoaringTreemap::new(), true);
    for segment in text.segments.iter() {
        let checked = segment.check(&mut rows);
        whole &= checked.is_ok();
        note(checked)?;
    }
    if let Some(tally) = tally.filter(|_| whole) {
        let live = rows - &**view.dead;
        let differ = &live ^ &tally.rows;
        let same = match differ.min() {
            None => Ok(()),
            Some(row) => {
                let detail = format!(
                    "{} rows with a text expected, {} found; row {row} is the first that differs",
                    tally.rows.len(),
                    live.len()
                );
                Err(Error::corrupt("text index", 0, detail))
            }
        };
        note(same)?;
    }
    Ok(())
}
