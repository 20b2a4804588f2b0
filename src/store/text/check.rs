//! Verifying the text index: whether it has the texts of the documents, each once.

use roaring::RoaringTreemap;

use super::{TextView, text_bytes};
use crate::catalog::{BLOCK_BYTES, BLOCK_ROWS, DocumentRecord, Rows, Table};
use crate::error::{Error, Result};
use crate::store::memory::{Component, Grant};
use crate::store::snapshot::{Snapshot, document_row};
use crate::text::segment::{Layout, Segment};

/// A row is in a set, and perhaps in the difference of two.
const SETS: u64 = 2;
/// What needs them.
const WHAT: &str = "checking the text index";

/// What the documents say of their texts.
#[derive(Debug)]
pub(in crate::store) struct Tally {
    tail_from: Option<u64>,
    /// Rows with a text that should be in a segment.
    rows: RoaringTreemap,
    /// The bytes of the texts that should be in the tail.
    tail_bytes: u64,
    /// The memory of the sets.
    grant: Grant,
}

impl Tally {
    /// Nothing yet.
    pub(in crate::store) fn new(snapshot: &Snapshot) -> Self {
        let text = snapshot.view().text.as_ref();
        let grant = snapshot.store().accountant().nothing(Component::Rows);
        let tail_from = text.map(|text| text.record.tail_from);
        Tally { tail_from, rows: RoaringTreemap::new(), tail_bytes: 0, grant }
    }

    /// What the documents of a snapshot say that can be read.
    pub(in crate::store) fn read(snapshot: &Snapshot) -> Result<Self> {
        let mut tally = Tally::new(snapshot);
        snapshot.txn().scan(Table::Documents, &[], &mut |row, value| {
            let (row, record) = document_row(row, value)?;
            tally.document(row, &record).map(|()| true)
        })?;
        Ok(tally)
    }

    /// Counts a document; they come in the order of their rows.
    ///
    /// # Errors
    /// `Memory`.
    pub(in crate::store) fn document(&mut self, row: u64, record: &DocumentRecord) -> Result<()> {
        match self.tail_from {
            Some(tail_from) if row >= tail_from => self.tail_bytes += text_bytes(record),
            Some(_) if record.text.is_some() => {
                if self.rows.max().is_none_or(|last| last / BLOCK_ROWS != row / BLOCK_ROWS) {
                    self.grant.grow(WHAT, SETS * BLOCK_BYTES)?;
                }
                self.rows.insert(row);
            }
            Some(_) | None => {}
        }
        Ok(())
    }
}

/// Verifies what the catalog says of the text index; if `deep`, every byte of it, and that its rows are those with a text.
/// Calls `note` with the result of each check.
pub(in crate::store) fn check(
    snapshot: &Snapshot,
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
    let mut grant = snapshot.store().accountant().nothing(Component::Rows);
    for segment in text.segments.iter() {
        grant.grow(WHAT, SETS.saturating_mul(blocks_max(segment)).saturating_mul(BLOCK_BYTES))?;
        let checked = segment.check(&mut rows);
        whole &= checked.is_ok();
        note(checked)?;
    }
    if let Some(tally) = tally.filter(|_| whole) {
        let live = rows - &**snapshot.view().dead;
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

/// The most blocks that the rows of a segment are in. Each row has a byte in its blob, whatever the catalog says.
fn blocks_max(segment: &Segment) -> u64 {
    let &Layout { rows, first_row, last_row, .. } = segment.layout();
    let between = (last_row / BLOCK_ROWS).saturating_sub(first_row / BLOCK_ROWS).saturating_add(1);
    between.min(rows).min(segment.bytes())
}
