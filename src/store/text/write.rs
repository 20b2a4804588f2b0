//! The texts of one write transaction on their way into the text index.
//!
//! While they are few nothing is written: the documents themselves are the tail of the index, and who searches reads those
//! that are new. When the tail is full, it goes into a segment with all that the transaction adds.

use std::sync::Arc;

use super::{analyzer, segment_record, text_bytes};
use crate::catalog::{self, Counters, DocumentRecord, Rows, Table, Tables, TextRecord};
use crate::codec::key;
use crate::error::{Error, Result};
use crate::limits::TEXT_TAIL_ROWS_MAX;
use crate::storage::{BlobRecord, Container, Naming, Run};
use crate::store::OpenOptions;
use crate::store::memory::{Accountant, Component, Grant};
use crate::store::snapshot::document_row;
use crate::text::analyzer::{ANALYZER_VERSION, Analyzer};
use crate::text::segment::Layout;
use crate::text::{Postings, memory, write};

/// What a transaction changes in the text index.
#[derive(Debug)]
pub(in crate::store) struct NewText {
    container: Arc<Container>,
    stored: TextRecord,
    pub(super) record: TextRecord,
    /// None where this version must not write: then everything stays in the tail.
    analyzer: Option<Analyzer>,
    tail_bytes_max: u64,
    postings_max: u64,
    postings: Postings,
    /// There is a part of a text in the postings.
    is_broken: bool,
    finished: Vec<(Layout, BlobRecord)>,
    /// What postings and a segment take, from the first on that is made.
    grant: Grant,
}

impl NewText {
    /// Nothing so far; `None` in a store without a text index.
    pub(in crate::store) fn begin(
        container: &Arc<Container>,
        tables: &Tables<'_>,
        options: &OpenOptions,
        accountant: &Arc<Accountant>,
    ) -> Result<Option<Self>> {
        let record = match catalog::text(tables) {
            Ok(Some(record)) => record,
            // A repair makes it anew from the documents; until then they come and go without it.
            Ok(None) | Err(Error::Corrupt { .. } | Error::Version { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(NewText {
            container: Arc::clone(container),
            analyzer: analyzer(&record),
            stored: record.clone(),
            record,
            tail_bytes_max: options.text_tail_bytes_max,
            postings_max: memory::postings_max(options.budget()),
            postings: Postings::default(),
            is_broken: false,
            finished: Vec::new(),
            grant: accountant.nothing(Component::Text),
        }))
    }

    /// A document came, and is in its table; `counters` count its rows.
    pub(in crate::store) fn added(
        &mut self,
        tables: &Tables<'_>,
        counters: &Counters,
        document: &DocumentRecord,
    ) -> Result<()> {
        self.record.tail_bytes += text_bytes(document);
        let rows = counters.next_row - self.record.tail_from;
        if self.record.tail_bytes >= self.tail_bytes_max || rows >= TEXT_TAIL_ROWS_MAX {
            self.take_tail(tables, counters)?;
        }
        Ok(())
    }

    /// A document goes, whose first row is `row`.
    pub(in crate::store) fn removed(&mut self, row: u64, document: &DocumentRecord) {
        if row >= self.record.tail_from {
            self.record.tail_bytes = self.record.tail_bytes.saturating_sub(text_bytes(document));
        }
    }

    /// Whether there are texts in no segment that can be brought into one.
    pub(in crate::store) fn has_tail(&self) -> bool {
        self.record.tail_bytes > 0 && self.analyzer.is_some()
    }

    /// Moves the tail into the segment that is being made.
    pub(in crate::store) fn take_tail(&mut self, tables: &Tables<'_>, counters: &Counters) -> Result<()> {
        if self.analyzer.is_none() {
            return Ok(());
        }
        if self.record.tail_bytes > 0 {
            self.grant.resize("indexing texts", memory::write_bytes(self.postings_max))?;
            tables.scan(Table::Documents, &key(self.record.tail_from), &mut |row, value| {
                let (row, record) = document_row(row, value)?;
                self.take(row, &record).map(|()| true)
            })?;
        }
        (self.record.tail_from, self.record.tail_bytes) = (counters.next_row, 0);
        Ok(())
    }

    /// An index that has nothing yet, for a store whose text segments are gone.
    pub(in crate::store) fn anew(
        container: &Arc<Container>,
        stem: Option<String>,
        options: &OpenOptions,
        accountant: &Arc<Accountant>,
    ) -> Result<Self> {
        let record = TextRecord { analyzer: ANALYZER_VERSION, stem, ..TextRecord::default() };
        let postings_max = memory::postings_max(options.budget());
        let mut grant = accountant.nothing(Component::Text);
        grant.resize("indexing texts", memory::write_bytes(postings_max))?;
        Ok(NewText {
            container: Arc::clone(container),
            analyzer: analyzer(&record),
            stored: TextRecord::default(),
            record,
            tail_bytes_max: options.text_tail_bytes_max,
            postings_max,
            postings: Postings::default(),
            is_broken: false,
            finished: Vec::new(),
            grant,
        })
    }

    /// Takes the text of a document whose first row is `row`, which is greater than those before.
    pub(in crate::store) fn take(&mut self, row: u64, document: &DocumentRecord) -> Result<()> {
        let (Some(analyzer), Some(text)) = (&self.analyzer, &document.text) else { return Ok(()) };
        let grant = &mut self.grant;
        let mut room = |bytes: u64| {
            let more = bytes + bytes / 4;
            grant.resize("indexing so long a text", memory::write_bytes(more))?;
            Ok(more)
        };
        let added = self.postings.add_within(analyzer, row, text, self.postings_max, &mut room);
        self.is_broken |= added.is_err();
        added?;
        if self.postings.is_full(self.postings_max) {
            let postings = std::mem::take(&mut self.postings);
            self.finished.extend(write::write(&postings, &self.container, Naming::InThisCommit)?);
            self.grant.resize("indexing texts", memory::write_bytes(self.postings_max))?;
        }
        Ok(())
    }

    /// Everything up to the next row was taken.
    pub(in crate::store) fn took_all(&mut self, counters: &Counters, next_segment: u64) {
        (self.record.tail_from, self.record.tail_bytes) = (counters.next_row, 0);
        (self.record.next_segment, self.record.changed) = (next_segment, counters.commit);
    }

    /// Writes everything that waits, and names the segments in the catalog.
    pub(in crate::store) fn store(&mut self, tables: &mut Tables<'_>, counters: &mut Counters) -> Result<()> {
        if self.is_broken {
            let reason = "it has a text that did not fit into the memory: it can only be undone";
            return Err(Error::invalid("transaction", reason));
        }
        self.finished.extend(write::write(&self.postings, &self.container, Naming::InThisCommit)?);
        self.postings = Postings::default();
        name(tables, counters, &mut self.record, &self.finished)?;
        if self.record.tail_from != self.stored.tail_from {
            self.record.changed = counters.commit;
        }
        if self.record != self.stored {
            catalog::put_text(tables, &self.record)?;
        }
        Ok(())
    }

    /// Whether the list of segments is another one.
    pub(in crate::store) fn is_changed(&self) -> bool {
        self.record.changed != self.stored.changed
    }

    /// The pages written so far, to be given back when the transaction is undone.
    pub(in crate::store) fn runs(&self) -> impl Iterator<Item = Run> {
        self.finished.iter().map(|(_, blob)| blob.run())
    }
}

/// Names finished segments in the catalog.
pub(super) fn name(
    tables: &mut Tables<'_>,
    counters: &mut Counters,
    record: &mut TextRecord,
    finished: &[(Layout, BlobRecord)],
) -> Result<()> {
    for (layout, blob) in finished {
        let segment = segment_record(layout, counters.next_blob);
        counters.next_blob += 1;
        catalog::put_text_segment(tables, record.next_segment, &segment, blob)?;
        record.next_segment += 1;
        record.changed = counters.commit;
    }
    Ok(())
}
