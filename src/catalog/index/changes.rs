//! What a transaction changes in the index, collected and written in order.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::super::Rows;
use super::super::record::{FieldRecord, IndexRecord};
use super::super::table::Table;
use super::super::write::Tables;
use super::leaf::{self, NewGroup, OwnGroup};
use super::{LEFT_OUT, field, field_key, index, posting_key, put_index};
use crate::error::{Error, Result};
use crate::filter::{Entry, entries};
use crate::json::Fault;
use crate::limits::FIELDS_MAX;

/// One posting comes or goes.
#[derive(Clone, Copy, Debug)]
struct Change {
    field: u32,
    /// Where the key lies in the bytes of all keys.
    start: usize,
    len: usize,
    row: u64,
    is_added: bool,
}

/// A field as this transaction knows it.
#[derive(Debug)]
struct Known {
    record: FieldRecord,
    is_changed: bool,
}

/// What a transaction changes in the index.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Changes that take more bytes are written before the commit.
    bytes_max: usize,
    /// Read at the first change; none in a store without index.
    index: OnceLock<Option<IndexRecord>>,
    index_changed: bool,
    /// `None` for a name that no field has.
    fields: HashMap<String, Option<Known>>,
    keys: Vec<u8>,
    pending: Vec<Change>,
}

impl Changes {
    /// None so far; they are written before they take more than `bytes_max`. Memory: at most three times that, for lists
    /// double when they grow, and are sorted.
    pub(crate) fn within(bytes_max: usize) -> Self {
        Changes {
            bytes_max,
            index: OnceLock::new(),
            index_changed: false,
            fields: HashMap::new(),
            keys: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// A document comes.
    pub(crate) fn add(&mut self, tables: &mut Tables<'_>, row: u64, metadata: &str) -> Result<()> {
        if !self.is_there(tables)? {
            return Ok(());
        }
        let entries = entries(metadata).map_err(|fault| damaged(row, &fault))?;
        self.put(tables, row, entries)
    }

    /// A document goes.
    pub(crate) fn remove(&mut self, tables: &mut Tables<'_>, row: u64, metadata: &str) -> Result<()> {
        if !self.is_there(tables)? {
            return Ok(());
        }
        let entries = entries(metadata).map_err(|fault| damaged(row, &fault))?;
        self.take(tables, row, &entries.unwrap_or_default())
    }

    /// The metadata of a document change.
    pub(crate) fn replace(&mut self, tables: &mut Tables<'_>, row: u64, old: &str, new: &str) -> Result<()> {
        if !self.is_there(tables)? {
            return Ok(());
        }
        let fault = |fault: Fault| damaged(row, &fault);
        let before = entries(old).map_err(fault)?.unwrap_or_default();
        let after = entries(new).map_err(fault)?;
        let is_kept = |entry: &Entry| after.as_ref().is_some_and(|after| after.binary_search(entry).is_ok());
        let gone: Vec<Entry> = before.into_iter().filter(|entry| !is_kept(entry)).collect();
        self.take(tables, row, &gone)?;
        // What stays is added again: the document may have been left out before.
        self.put(tables, row, after)
    }

    fn is_there(&mut self, tables: &Tables<'_>) -> Result<bool> {
        if self.index.get().is_none() {
            let _ = self.index.set(index(tables)?);
        }
        Ok(self.index().is_some())
    }

    fn index(&self) -> Option<&IndexRecord> {
        self.index.get().and_then(Option::as_ref)
    }

    fn index_mut(&mut self) -> Result<&mut IndexRecord> {
        let index = self.index.get_mut().and_then(Option::as_mut);
        index.ok_or_else(|| Error::invalid("index", "the store has none"))
    }

    fn put(&mut self, tables: &mut Tables<'_>, row: u64, entries: Option<Vec<Entry>>) -> Result<()> {
        let Some(entries) = entries else { return self.leave_out(row) };
        let mut numbers = Vec::with_capacity(entries.len());
        for (place, entry) in entries.iter().enumerate() {
            let beside = |place: Option<usize>| {
                place.and_then(|place| entries.get(place)).is_some_and(|e| e.field == entry.field)
            };
            let is_one_of_several = beside(place.checked_sub(1)) || beside(place.checked_add(1));
            match self.number(tables, &entry.field, is_one_of_several)? {
                Some(number) => numbers.push(number),
                None => return self.leave_out(row),
            }
        }
        for (entry, number) in entries.iter().zip(numbers) {
            self.push(number, &entry.key, row, true);
        }
        self.write_when_large(tables)
    }

    fn take(&mut self, tables: &mut Tables<'_>, row: u64, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            if let Some(known) = self.known(tables, &entry.field)? {
                let number = known.record.number;
                self.push(number, &entry.key, row, false);
            }
        }
        if self.index().is_some_and(|index| index.leaves_out) {
            self.push(LEFT_OUT, &[], row, false);
        }
        self.write_when_large(tables)
    }

    fn leave_out(&mut self, row: u64) -> Result<()> {
        let leaves_out = &mut self.index_mut()?.leaves_out;
        let is_changed = !std::mem::replace(leaves_out, true);
        self.index_changed |= is_changed;
        self.push(LEFT_OUT, &[], row, true);
        Ok(())
    }

    fn known(&mut self, tables: &Tables<'_>, name: &str) -> Result<Option<&mut Known>> {
        if !self.fields.contains_key(name) {
            let known = field(tables, name)?.map(|record| Known { record, is_changed: false });
            self.fields.insert(name.to_owned(), known);
        }
        Ok(self.fields.get_mut(name).and_then(Option::as_mut))
    }

    /// The number of a field, a new one if need be; none when there are too many fields.
    fn number(&mut self, tables: &Tables<'_>, name: &str, is_multiple: bool) -> Result<Option<u32>> {
        if let Some(known) = self.known(tables, name)? {
            known.is_changed |= is_multiple && !known.record.is_multiple;
            known.record.is_multiple |= is_multiple;
            return Ok(Some(known.record.number));
        }
        let index = self.index_mut()?;
        if index.next_field > FIELDS_MAX {
            return Ok(None);
        }
        let number = index.next_field;
        index.next_field += 1;
        self.index_changed = true;
        let record = FieldRecord { number, is_multiple };
        self.fields.insert(name.to_owned(), Some(Known { record, is_changed: true }));
        Ok(Some(number))
    }

    fn push(&mut self, field: u32, key: &[u8], row: u64, is_added: bool) {
        self.pending.push(Change { field, start: self.keys.len(), len: key.len(), row, is_added });
        self.keys.extend_from_slice(key);
    }

    fn write_when_large(&mut self, tables: &mut Tables<'_>) -> Result<()> {
        let bytes = self.keys.len() + self.pending.len() * size_of::<Change>();
        if bytes > self.bytes_max { self.write(tables) } else { Ok(()) }
    }

    /// Writes what waits into the tables; after that they show everything.
    pub(crate) fn write(&mut self, tables: &mut Tables<'_>) -> Result<()> {
        if let (true, Some(index)) = (self.index_changed, self.index()) {
            put_index(tables, index)?;
            self.index_changed = false;
        }
        for (name, known) in &mut self.fields {
            if let Some(known) = known.as_mut().filter(|known| known.is_changed) {
                tables.put_record(Table::Fields, name.as_bytes(), &known.record)?;
                known.is_changed = false;
            }
        }
        let (mut pending, keys) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.keys));
        let key = |change: &Change| keys.get(change.start..change.start + change.len).unwrap_or_default();
        let place = |change: &Change| (change.field, key(change), change.row);
        // Stable: of several changes of one posting the last counts.
        pending.sort_by(|a, b| place(a).cmp(&place(b)));
        let mut rest = pending.as_slice();
        while let Some(first) = rest.first() {
            let at = posting_key(first.field, key(first), first.row);
            let target = Target::find(tables, first.field, &at)?;
            let is_inside = |change: &Change| {
                change.field == first.field
                    && target
                        .end
                        .as_ref()
                        .is_none_or(|end| posting_key(change.field, key(change), change.row) < *end)
            };
            let (here, after) = rest.split_at(rest.partition_point(is_inside).max(1));
            let changes = here.iter().map(|change| (key(change), change.row, change.is_added));
            let groups =
                merge(target.leaf.as_deref(), changes).map_err(|error| super::damage(&target.key, &error))?;
            write_leaves(tables, first.field, &target.key, groups, target.leaf.is_some())?;
            rest = after;
        }
        Ok(())
    }
}

fn damaged(row: u64, fault: &Fault) -> Error {
    Table::Documents.damage(
        &crate::codec::key(row),
        &format!("{} at byte {} of its metadata", fault.reason, fault.span.start),
    )
}

/// The leaf that a posting belongs into.
struct Target {
    key: Vec<u8>,
    /// As stored, if there is one.
    leaf: Option<Vec<u8>>,
    /// The key of the next leaf of the field.
    end: Option<Vec<u8>>,
}

impl Target {
    fn find(tables: &Tables<'_>, field: u32, at: &[u8]) -> Result<Self> {
        let prefix = field_key(field);
        let found = tables.floor(Table::Postings, at)?.filter(|key| key.starts_with(&prefix));
        let mut target = Target { key: prefix.to_vec(), leaf: None, end: None };
        if let Some(key) = found {
            target.key = key;
        }
        tables.scan(Table::Postings, &target.key.clone(), &mut |key, value| {
            if key == target.key {
                target.leaf = Some(value.to_vec());
                return Ok(true);
            }
            target.end = Some(key.to_vec()).filter(|key| key.starts_with(&prefix));
            Ok(false)
        })?;
        Ok(target)
    }
}

/// Applies changes in the order of (key, row) to the groups of a leaf. Those that stay are neither read nor written anew.
fn merge<'l, 'k>(
    leaf: Option<&'l [u8]>,
    changes: impl Iterator<Item = (&'k [u8], u64, bool)>,
) -> Result<Vec<NewGroup<'l>>> {
    let groups = leaf.map(leaf::rising).transpose()?.unwrap_or_default();
    let mut merged: Vec<NewGroup<'l>> = Vec::with_capacity(groups.len() + 1);
    let mut groups = groups.into_iter().peekable();
    for (key, row, is_added) in changes {
        if merged.last().is_none_or(|last| last.key() != key) {
            while let Some(group) = groups.next_if(|group| group.key < key) {
                merged.push(NewGroup::Stored(group));
            }
            let rows = groups.next_if(|group| group.key == key).map(|group| group.rows()).transpose()?;
            merged.push(NewGroup::Changed(OwnGroup { key: key.to_vec(), rows: rows.unwrap_or_default() }));
        }
        if let Some(NewGroup::Changed(group)) = merged.last_mut() {
            if is_added {
                group.rows.insert(row);
            } else {
                group.rows.remove(row);
            }
        }
    }
    merged.extend(groups.map(NewGroup::Stored));
    merged.retain(|group| !matches!(group, NewGroup::Changed(group) if group.rows.is_empty()));
    Ok(merged)
}

/// Writes groups in place of the leaf at `key`.
fn write_leaves(
    tables: &mut Tables<'_>,
    field: u32,
    key: &[u8],
    groups: Vec<NewGroup<'_>>,
    exists: bool,
) -> Result<()> {
    if groups.is_empty() {
        return if exists { tables.remove(Table::Postings, key).map(drop) } else { Ok(()) };
    }
    for (place, leaf) in leaf::encode(groups)?.into_iter().enumerate() {
        let own = posting_key(field, &leaf.key, leaf.row);
        tables.put(Table::Postings, if place == 0 { key } else { &own }, leaf.bytes)?;
    }
    Ok(())
}
