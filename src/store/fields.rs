//! The fields of metadata: which there are, how many documents have each value, documents in the order of a field.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use roaring::RoaringTreemap;

use super::selection::Selection;
use super::snapshot::{Snapshot, for_each_selected};
use crate::catalog::{Table, index};
use crate::codec::key;
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

/// Values and documents that the index does not have: key of the value -> first rows.
type Values = BTreeMap<Vec<u8>, RoaringTreemap>;

impl Snapshot {
    /// The fields of the metadata, by name. Cost: the whole index, and reads the documents that it leaves out.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn fields(&self) -> Result<Vec<FieldStats>> {
        let mut unindexed = self.unindexed(None)?;
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
    /// field, and what [`Snapshot::count_where`] costs.
    ///
    /// # Errors
    /// `Invalid` for a name that begins with `$`; `Filter`, `Corrupt`, `Io`.
    pub fn count_by(&self, field: &str, filter: &Filter) -> Result<Vec<ValueCount>> {
        require_name(field)?;
        let matching = if filter.is_empty() { None } else { Some(self.matching_documents(filter)?) };
        let unindexed = self.unindexed(Some(field))?.remove(field).unwrap_or_default();
        let mut counts = Vec::new();
        self.for_each_value(field, &unindexed, &mut |key, mut rows| {
            if let Some(matching) = &matching {
                rows &= matching;
            }
            match value::to_json(key) {
                _ if rows.is_empty() => {}
                Some(value) => counts.push(ValueCount { value, count: rows.len() }),
                None if value::is_cut(key) => {
                    let mut whole: BTreeMap<Literal, ValueCount> = BTreeMap::new();
                    for row in rows {
                        for (literal, value) in self.whole_values(row, field, key)? {
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
    pub(super) fn sorted(&self, field: &str, order: SortOrder, filter: &Filter) -> Result<Vec<u64>> {
        require_name(field)?;
        let matching =
            if filter.is_empty() { self.view().first_rows() } else { self.matching_documents(filter)? };
        let unindexed = self.unindexed(Some(field))?.remove(field).unwrap_or_default();
        // One value after the other, and where each ends. A document of several values is there several times.
        let (mut rows, mut ends) = (Vec::new(), Vec::new());
        self.for_each_value(field, &unindexed, &mut |key, found| {
            let found = found & &matching;
            if value::type_of(key) == Type::Other {
                return Ok(());
            }
            if !value::is_cut(key) {
                rows.extend(found);
                ends.push(rows.len());
                return Ok(());
            }
            let mut whole: BTreeMap<Literal, Vec<u64>> = BTreeMap::new();
            for row in found {
                for (literal, _) in self.whole_values(row, field, key)? {
                    whole.entry(literal).or_default().push(row);
                }
            }
            for equal in whole.into_values() {
                rows.extend(equal);
                ends.push(rows.len());
            }
            Ok(())
        })?;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let mut values: Vec<_> = starts.zip(&ends).filter_map(|(start, &end)| rows.get(start..end)).collect();
        if order == SortOrder::Descending {
            values.reverse();
        }
        let mut left = matching;
        let mut sorted: Vec<u64> = values.concat().into_iter().filter(|&row| left.remove(row)).collect();
        sorted.extend(left);
        Ok(sorted)
    }

    /// The values of a document that have this key, whole.
    fn whole_values(&self, row: u64, field: &str, wanted: &[u8]) -> Result<BTreeMap<Literal, String>> {
        let record = self.record(row)?;
        let values = filter::values(&record.metadata, field)
            .map_err(|fault| Table::Documents.damage(&key(row), &fault.reason))?;
        let of_key = values.iter().filter(|value| value::key_of(value).as_deref() == Some(wanted));
        Ok(of_key.filter_map(|&json| Some((Literal::read(json)?, json.to_owned()))).collect())
    }

    /// The values of the documents that the index does not have: of all fields, or of one.
    fn unindexed(&self, field: Option<&str>) -> Result<BTreeMap<String, Values>> {
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

/// Refuses the pseudo-fields.
fn require_name(field: &str) -> Result<()> {
    if field.starts_with('$') {
        return Err(Error::invalid(format!("field {field:?}"), "it is no field of the metadata"));
    }
    Ok(())
}
