//! The fields of metadata: which there are, how many documents have each value, documents in the order of a field.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use roaring::RoaringTreemap;

use super::memory::{Component, Grant};
use super::selection::{self, Selection};
use super::snapshot::{Snapshot, for_each_selected};
use crate::catalog::{BLOCK_ROWS, Table, index};
use crate::codec::{key, to_u64, to_usize};
use crate::error::{Error, Result};
use crate::filter::value::{self, Type};
use crate::filter::{self, Filter, Literal};

/// A field of the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldStats {
    /// The name by which filters reach it.
    pub name: String,
    /// Documents that have it.
    pub documents: u64,
    /// Documents of which it has the value null, or an element that is null.
    pub nulls: u64,
    /// Documents of which it has a boolean, or an element that is one.
    pub booleans: u64,
    /// Documents of which it has a number, or an element that is one.
    pub numbers: u64,
    /// Documents of which it has a string, or an element that is one.
    pub strings: u64,
    /// Documents of which it has neither, as an object or an empty array.
    pub others: u64,
    /// Different values, elements of arrays included. Those that share their first 256 bytes or digits are one.
    pub values: u64,
}

/// A value of a field and how many documents have it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ValueCount {
    /// The value as JSON: a scalar. Of numbers that are written differently and equal, one.
    pub value: String,
    /// Documents that have the value, or an array with it.
    pub count: u64,
}

/// The order of a sorted list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// Least values first; of an array the least element counts. The default.
    #[default]
    Ascending,
    /// Greatest values first; of an array the greatest element counts.
    Descending,
}

/// What a field of documents that the index does not have takes, or a value of theirs, besides its name or key; in bytes.
const VALUE_BYTES: usize = 1 << 10;
/// What a row takes in the set of such a value, and a block of rows.
const ROW_BYTES: usize = 8;
const BLOCK_BYTES: usize = 128;
/// What a value takes that is longer than the keys of the index, besides twice its length.
const WHOLE_BYTES: usize = 512;
/// What a value takes in a list that grows by a quarter, while that is copied or sorted.
const LISTED_BYTES: usize = size_of::<ValueCount>() * 9 / 4;

/// Values and documents that the index does not have: key of the value -> first rows.
type Values = BTreeMap<Vec<u8>, RoaringTreemap>;

impl Snapshot {
    /// The fields of the metadata, by name. Cost: the whole index, and reads the documents that it leaves out.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn fields(&self) -> Result<Vec<FieldStats>> {
        const WHAT: &str = "the fields of so many documents";
        // Of the documents of each type, of all, and of what is made of these.
        let _sets = [(); 3].map(|()| self.sets(WHAT)).into_iter().collect::<Result<Vec<_>>>()?;
        let mut grant = self.store().accountant().nothing(Component::Queries);
        let mut unindexed = self.unindexed(None, WHAT, &mut grant)?;
        for (name, _) in index::fields(self.txn())? {
            unindexed.entry(name).or_default();
        }
        let mut fields = Vec::new();
        for (name, values) in unindexed {
            let (mut all, mut distinct) = (RoaringTreemap::new(), 0);
            let mut of_type = [(); 5].map(|()| RoaringTreemap::new());
            self.for_each_value(&name, &values, &mut |key, rows| {
                let kind = value::type_of(key);
                distinct += u64::from(kind != Type::Other);
                if let Some(documents) = of_type.get_mut(kind as usize) {
                    *documents |= &rows;
                }
                all |= rows;
                Ok(())
            })?;
            let scalars = of_type.iter().skip(1).fold(RoaringTreemap::new(), |sum, rows| sum | rows);
            let [_, nulls, booleans, numbers, strings] = of_type.map(|rows| rows.len());
            let (documents, others) = (all.len(), (all - scalars).len());
            if documents > 0 {
                let values = distinct;
                fields.push(FieldStats {
                    name,
                    documents,
                    nulls,
                    booleans,
                    numbers,
                    strings,
                    others,
                    values,
                });
            }
        }
        Ok(fields)
    }

    /// The values of a field, and of how many documents each is, among those that match; the most frequent first, equally
    /// frequent ones in the order of filters. Documents without a scalar value are in none. Cost: the postings of the
    /// field, and what [`Snapshot::count_where`] costs. Memory: that of the list.
    ///
    /// # Errors
    /// `Invalid` for a name that begins with `$`; `Filter`, `Corrupt`, `Io`; `Memory` for more values than fit into the budget.
    pub fn count_by(&self, field: &str, filter: &Filter) -> Result<Vec<ValueCount>> {
        const WHAT: &str = "counting by so many values";
        require_name(field)?;
        let _sets = self.sets(WHAT)?;
        let mut grant = self.store().accountant().nothing(Component::Queries);
        let matching = if filter.is_empty() { None } else { Some(self.matching_documents(filter)?) };
        let unindexed = self.unindexed(Some(field), WHAT, &mut grant)?.remove(field).unwrap_or_default();
        let mut counts = Vec::new();
        self.for_each_value(field, &unindexed, &mut |key, mut rows| {
            if let Some(matching) = &matching {
                rows &= matching;
            }
            match value::to_json(key) {
                _ if rows.is_empty() => {}
                Some(value) => {
                    grant.grow(WHAT, to_u64(LISTED_BYTES + value.capacity()))?;
                    if counts.len() == counts.capacity() {
                        counts.reserve_exact(counts.len() / 4 + 1);
                    }
                    counts.push(ValueCount { value, count: rows.len() });
                }
                None if value::is_cut(key) => {
                    let mut whole: BTreeMap<Literal, ValueCount> = BTreeMap::new();
                    for row in rows {
                        for (literal, value) in self.whole_values(row, field, key)? {
                            if !whole.contains_key(&literal) {
                                grant.grow(WHAT, to_u64(WHOLE_BYTES + 2 * value.len()))?;
                            }
                            whole.entry(literal).or_insert(ValueCount { value, count: 0 }).count += 1;
                        }
                    }
                    counts.extend(whole.into_values());
                }
                None => {}
            }
            Ok(())
        })?;
        counts.sort_by_key(|value| std::cmp::Reverse(value.count));
        Ok(counts)
    }

    /// The first rows of the documents that match.
    fn matching_documents(&self, filter: &Filter) -> Result<RoaringTreemap> {
        let mut selection = self.select(filter)?;
        let mut rows = selection.take_sure().unwrap_or_default();
        for_each_selected(self.txn(), filter, &selection, 0, &mut |row, _| {
            rows.insert(row);
            Ok(true)
        })?;
        Ok(rows)
    }

    /// The first rows of the documents that match, by the value of a field: null, booleans, numbers, strings; equal ones
    /// and, at the end, those without a scalar value in the order in which they were added.
    pub(super) fn sorted(&self, field: &str, order: SortOrder, filter: &Filter) -> Result<Sorted> {
        require_name(field)?;
        let _sets = self.sets(Sorted::WHAT)?;
        let matching =
            if filter.is_empty() { self.view().first_rows() } else { self.matching_documents(filter)? };
        let mut grant = self.store().accountant().nothing(Component::Queries);
        let unindexed =
            self.unindexed(Some(field), Sorted::WHAT, &mut grant)?.remove(field).unwrap_or_default();
        let rows = self.store().accountant().nothing(Component::Queries);
        let mut sorted = Sorted { rows: Vec::new(), left: matching, order, grant: rows };
        sorted.make_room(to_usize(sorted.left.len()))?;
        self.for_each_value(field, &unindexed, &mut |key, mut found| {
            if value::type_of(key) == Type::Other {
                return Ok(());
            }
            found &= &sorted.left;
            if !value::is_cut(key) {
                return sorted.equal(found.iter());
            }
            let before = grant.bytes();
            let mut whole: BTreeMap<Literal, RoaringTreemap> = BTreeMap::new();
            for row in found {
                for (literal, value) in self.whole_values(row, field, key)? {
                    let needs = set_bytes(whole.get(&literal), 2 * value.len(), row);
                    grant.grow(Sorted::WHAT, to_u64(needs))?;
                    whole.entry(literal).or_default().insert(row);
                }
            }
            for equal in whole.values() {
                sorted.equal(equal.iter())?;
            }
            drop(whole);
            grant.resize(Sorted::WHAT, before)
        })?;
        sorted.finish();
        Ok(sorted)
    }

    /// The memory of the sets of rows that are needed at once.
    pub(super) fn sets(&self, what: &str) -> Result<Grant> {
        let needs = selection::bytes(self.view().counters.next_row);
        self.store().accountant().grant(Component::Queries, what, needs)
    }

    /// The values of a document that have this key, whole.
    fn whole_values(&self, row: u64, field: &str, wanted: &[u8]) -> Result<BTreeMap<Literal, String>> {
        let record = self.record(row)?;
        let values = filter::values(&record.metadata, field)
            .map_err(|fault| Table::Documents.damage(&key(row), &fault.reason))?;
        let of_key = values.iter().filter(|value| value::key_of(value).as_deref() == Some(wanted));
        Ok(of_key.filter_map(|&json| Some((Literal::read(json)?, json.to_owned()))).collect())
    }

    /// The values of the documents that the index does not have: of all fields, or of one. Their memory is granted for `what`.
    fn unindexed(
        &self,
        field: Option<&str>,
        what: &str,
        grant: &mut Grant,
    ) -> Result<BTreeMap<String, Values>> {
        let mut fields: BTreeMap<String, Values> = BTreeMap::new();
        let selection = match index::index(self.txn())? {
            None => Selection::Scan,
            Some(state) if !state.leaves_out => return Ok(fields),
            Some(_) => Selection::Rows { sure: index::left_out(self.txn())?, unsure: RoaringTreemap::new() },
        };
        for_each_selected(self.txn(), &Filter::all(), &selection, 0, &mut |row, record| {
            let entries = filter::all_entries(&record.metadata)
                .map_err(|fault| Table::Documents.damage(&key(row), &fault.reason))?;
            for entry in entries.into_iter().filter(|entry| field.is_none_or(|field| field == entry.field)) {
                let values = fields.get(&entry.field);
                let of_field = if values.is_none() { VALUE_BYTES + entry.field.len() } else { 0 };
                let rows = values.and_then(|values| values.get(&entry.key));
                grant.grow(what, to_u64(of_field + set_bytes(rows, entry.key.len(), row)))?;
                fields.entry(entry.field).or_default().entry(entry.key).or_default().insert(row);
            }
            Ok(true)
        })?;
        Ok(fields)
    }

    /// Calls `visit` with each value of a field, in order, and its documents: those of the index and `unindexed` ones.
    fn for_each_value(
        &self,
        field: &str,
        unindexed: &Values,
        visit: &mut dyn FnMut(&[u8], RoaringTreemap) -> Result<()>,
    ) -> Result<()> {
        let mut others = unindexed.iter().peekable();
        let mut current: Option<(Vec<u8>, RoaringTreemap)> = None;
        let mut emit = |value: Option<(Vec<u8>, RoaringTreemap)>| {
            let Some((key, mut rows)) = value else { return Ok(()) };
            while let Some((other, more)) = others.next_if(|(other, _)| **other <= key) {
                if *other == key {
                    rows |= more;
                } else {
                    visit(other, more.clone())?;
                }
            }
            visit(&key, rows)
        };
        if let Some(field) = index::field(self.txn(), field)? {
            index::for_each_group(self.txn(), field.number, &[], &mut |group| {
                match &mut current {
                    Some((key, rows)) if key == group.key => group.add_to(rows)?,
                    _ => emit(current.replace((group.key.to_vec(), group.rows()?)))?,
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        emit(current.take())?;
        for (key, rows) in others {
            visit(key, rows.clone())?;
        }
        Ok(())
    }
}

/// What a row adds to the set of a value, of which there is none before its first row; rows come in order.
fn set_bytes(rows: Option<&RoaringTreemap>, key_bytes: usize, row: u64) -> usize {
    match rows.and_then(RoaringTreemap::max) {
        None => VALUE_BYTES + key_bytes,
        Some(last) if last / BLOCK_ROWS != row / BLOCK_ROWS => BLOCK_BYTES,
        Some(_) => ROW_BYTES,
    }
}

/// First rows of documents in the order of a list.
#[derive(Debug)]
pub(super) struct Sorted {
    pub(super) rows: Vec<u64>,
    /// Those that are not in their place yet.
    left: RoaringTreemap,
    order: SortOrder,
    grant: Grant,
}

impl Sorted {
    const WHAT: &str = "sorting so many documents";

    /// Takes the documents of the next value, ascending. A document of several values comes several times: of a descending list the last
    /// counts, so they are kept, all in reverse.
    fn equal(&mut self, rows: impl DoubleEndedIterator<Item = u64>) -> Result<()> {
        match self.order {
            SortOrder::Ascending => self.rows.extend(rows.filter(|&row| self.left.remove(row))),
            SortOrder::Descending => {
                for row in rows.rev() {
                    if self.rows.len() == self.rows.capacity() {
                        self.make_room(self.rows.len())?;
                    }
                    self.rows.push(row);
                }
            }
        }
        Ok(())
    }

    /// Makes room for more rows. While the list grows, it is there twice.
    fn make_room(&mut self, rows: usize) -> Result<()> {
        let bytes = to_u64((self.rows.len() + rows).saturating_mul(size_of::<u64>()));
        self.grant.grow(Self::WHAT, bytes)?;
        self.rows.reserve_exact(rows);
        self.grant.resize(Self::WHAT, bytes)
    }

    /// Puts the documents without a value at the end.
    fn finish(&mut self) {
        if self.order == SortOrder::Descending {
            self.rows.reverse();
            self.rows.retain(|&row| self.left.remove(row));
        }
        self.rows.extend(std::mem::take(&mut self.left));
    }
}

/// Refuses the pseudo-fields.
fn require_name(field: &str) -> Result<()> {
    if field.starts_with('$') {
        return Err(Error::invalid(format!("field {field:?}"), "it is no field of the metadata"));
    }
    Ok(())
}
