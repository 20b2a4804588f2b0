//! Repair: what is derived from documents and vectors is made anew where it is damaged; they themselves are left alone.

use std::collections::BTreeSet;

use super::merge::{Allowance, MergeLimits, MergeReport};
use super::snapshot::document_row;
use super::text::{self, NewText};
use super::{CheckLevel, Control, Damage, Snapshot, Store, indexing};
use crate::catalog::{self, DocumentRecord, Table, Tables};
use crate::codec::{key, to_u64};
use crate::error::{Error, Result};
use crate::limits::{BATCH_BYTES, BATCH_DOCUMENTS};
use crate::storage::Run;

/// Whether to repair, or only to tell what a repair would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RepairMode {
    /// Repairs. The default.
    #[default]
    Repair,
    /// Changes nothing.
    DryRun,
}

/// What a repair has done, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// Everything that was damaged before.
    pub found: Vec<Damage>,
    /// What is damaged after a repair: documents and vectors, which only a backup brings back.
    pub left: Vec<Damage>,
    /// What was wrong with the log, if the commits from there on were discarded when the store was opened: see
    /// [`OpenOptions::discard_damaged_log`](crate::OpenOptions::discard_damaged_log).
    pub discarded_log: Option<String>,
    /// Documents that can be read.
    pub documents: u64,
    /// Documents that cannot. They stay as they are.
    pub unreadable: u64,
    /// Whether the text index was made anew.
    pub text: bool,
    /// Whether the index over metadata was made anew.
    pub metadata: bool,
    /// The segments whose indexes were damaged and made anew.
    pub indexes: u64,
}

/// What is to be made anew.
struct Needs {
    text: bool,
    metadata: bool,
    /// Segments.
    indexes: Vec<u64>,
}

pub(super) fn repair(store: &Store, mode: RepairMode, control: &Control) -> Result<RepairReport> {
    let _alone = store.merge_alone()?;
    let found = store.check(CheckLevel::Deep, control)?.damage;
    let snapshot = store.snapshot()?;
    let needs = Needs::of(&snapshot, control)?;
    let mut report = RepairReport {
        left: Vec::new(),
        text: needs.text,
        metadata: needs.metadata,
        indexes: to_u64(needs.indexes.len()),
        discarded_log: store.file()?.discarded.clone(),
        found,
        ..RepairReport::default()
    };
    (report.documents, report.unreadable) = count(&snapshot)?;
    drop(snapshot);
    if mode == RepairMode::DryRun {
        report.left.clone_from(&report.found);
        return Ok(report);
    }
    if needs.text {
        make_text(store, control)?;
    }
    if needs.metadata {
        make_metadata(store, control)?;
    }
    if !needs.indexes.is_empty() {
        drop_indexes(store, &needs.indexes, control)?;
        let all = Allowance::new(&MergeLimits::default());
        indexing::build_missing(store, u64::MAX, all, &mut MergeReport::default(), control)?;
    }
    report.left = store.check(CheckLevel::Deep, control)?.damage;
    Ok(report)
}

/// The documents that can be read, and those that cannot.
fn count(snapshot: &Snapshot) -> Result<(u64, u64)> {
    let (mut readable, mut unreadable) = (0, 0);
    snapshot.txn().scan_all(Table::Documents, &[], &mut |row, value| {
        let is_readable = value.and_then(|value| document_row(row, value)).is_ok();
        readable += u64::from(is_readable);
        unreadable += u64::from(!is_readable);
        Ok(true)
    })?;
    Ok((readable, unreadable))
}

/// Damage is what is asked for; other errors go on to the caller.
fn is_damaged(result: Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(false),
        Err(Error::Corrupt { .. } | Error::Version { .. }) => Ok(true),
        Err(other) => Err(other),
    }
}

impl Needs {
    fn of(snapshot: &Snapshot, control: &Control) -> Result<Self> {
        let view = snapshot.view();
        let mut text = false;
        if let Some(index) = &view.text {
            text = !index.is_current();
            let tally = text::Tally::read(snapshot)?;
            text::check(snapshot, index, Some(&tally), true, &mut |result| {
                control.step("check", 0, None)?;
                text |= is_damaged(result)?;
                Ok(())
            })?;
        }
        let step = &mut |rows| control.step("check", rows, None);
        let metadata = is_damaged(catalog::index::check(snapshot.txn(), step))?;
        let mut indexes = Vec::new();
        for (&segment, index) in view.indexes.iter() {
            if is_damaged(index.check(snapshot.txn(), true))? {
                indexes.push(segment);
            }
        }
        Ok(Needs { text, metadata, indexes })
    }
}

/// Calls `visit` with each document that can be read.
fn for_each_document(
    tables: &mut Tables<'_>,
    control: &Control,
    visit: &mut dyn FnMut(&mut Tables<'_>, u64, &DocumentRecord) -> Result<()>,
) -> Result<()> {
    let (mut from, mut done) = (Some(Vec::new()), 0);
    while let Some(start) = from.take() {
        let (mut page, mut bytes) = (Vec::new(), 0);
        tables.scan_all(Table::Documents, &start, &mut |row, value| {
            if page.len() == BATCH_DOCUMENTS || bytes >= BATCH_BYTES {
                from = Some(row.to_vec());
                return Ok(false);
            }
            bytes += value.as_ref().map_or(0, |value| value.len());
            match value.and_then(|value| document_row(row, value)) {
                Ok(document) => page.push(document),
                Err(Error::Corrupt { .. } | Error::Version { .. }) => {}
                Err(other) => return Err(other),
            }
            Ok(true)
        })?;
        done += to_u64(page.len());
        for (row, record) in &page {
            visit(tables, *row, record)?;
        }
        control.step("repair", done, None)?;
    }
    Ok(())
}

/// Makes the text index from the documents.
fn make_text(store: &Store, control: &Control) -> Result<()> {
    let mut txn = store.publish(control)?;
    // Of a record that is damaged the language of the stems is lost.
    let stored = txn.change(|tables, _| Ok(catalog::text(tables).ok().flatten()))?;
    txn.clear(Table::TextSegments)?;
    let (options, accountant) = (store.options().clone(), std::sync::Arc::clone(store.accountant()));
    txn.change(|tables, state| {
        state.retired.extend(drop_unnamed(tables)?);
        let stem = stored.as_ref().and_then(|record| record.stem.clone());
        let text = state.text.insert(NewText::anew(&state.container, stem, &options, &accountant)?);
        for_each_document(tables, control, &mut |_, row, record| text.take(row, record))?;
        text.took_all(&state.counters, stored.map_or(0, |record| record.next_segment));
        // The blobs are others, whatever the segments are.
        state.counters.segments_changed = state.counters.commit;
        state.changed = true;
        Ok(())
    })?;
    txn.commit().map(drop)
}

/// Removes the blobs that neither a segment of vectors nor an index is in; returns their pages.
fn drop_unnamed(tables: &mut Tables<'_>) -> Result<Vec<Run>> {
    let mut named: BTreeSet<u64> = catalog::indexes(tables)?.into_values().map(|index| index.blob).collect();
    catalog::Rows::scan(tables, Table::Segments, &[], &mut |_, value| {
        let record: catalog::SegmentRecord = catalog::Record::decode(value)?;
        named.insert(record.blob);
        Ok(true)
    })?;
    let mut runs = Vec::new();
    for (number, blob) in catalog::blobs(tables)?.into_iter().filter(|(number, _)| !named.contains(number)) {
        tables.remove(Table::Blobs, &key(number))?;
        runs.push(blob.run());
    }
    Ok(runs)
}

/// Makes the index over metadata from the documents.
fn make_metadata(store: &Store, control: &Control) -> Result<()> {
    let mut txn = store.publish(control)?;
    txn.clear(Table::Postings)?;
    txn.clear(Table::Fields)?;
    txn.change(|tables, state| {
        catalog::index::create(tables)?;
        for_each_document(tables, control, &mut |tables, row, record| {
            state.index.add(tables, row, &record.metadata)
        })?;
        state.changed = true;
        Ok(())
    })?;
    txn.commit().map(drop)
}

/// Drops the indexes of segments, to be built anew.
fn drop_indexes(store: &Store, segments: &[u64], control: &Control) -> Result<()> {
    let mut txn = store.publish(control)?;
    txn.change(|tables, state| {
        for &segment in segments {
            state.retired.extend(catalog::drop_index(tables, segment)?);
        }
        state.counters.segments_changed = state.counters.commit;
        state.changed = true;
        Ok(())
    })?;
    txn.commit().map(drop)
}
