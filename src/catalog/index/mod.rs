//! The index over metadata: which documents have which values of which fields.
//!
//! A *posting* says that a document has a value: (field, key of the value, first row of the document). Postings are in
//! order; the table `postings` holds them in *leaves* of about a kilobyte, each a stretch of that order under a key at or
//! before its first posting. So a value of many documents has leaves of its own, many rare values share one, and a commit
//! rewrites small rows, however many documents there are.

mod changes;
mod check;
mod leaf;

use std::ops::ControlFlow;

use roaring::RoaringTreemap;

use super::read::{Rows, find};
use super::record::{FieldRecord, IndexRecord};
use super::table::Table;
use crate::codec::key;
use crate::error::{Error, Result};

pub(crate) use changes::Changes;
pub(crate) use check::{check, check_leaf};
pub(crate) use leaf::Group;

#[cfg(any(test, fuzzing))]
pub(crate) use leaf::decode as decode_leaf;

/// The key of the index in `meta`.
const INDEX: &[u8] = b"index";
/// The number under which the documents are that the index leaves out.
const LEFT_OUT: u32 = 0;

/// The state of the index; none in a store that has no index.
pub(crate) fn index(rows: &dyn Rows) -> Result<Option<IndexRecord>> {
    find(rows, Table::Meta, INDEX)
}

/// Makes an index without postings, for a store without documents or for one that had no index.
pub(crate) fn create(tables: &mut super::write::Tables<'_>) -> Result<()> {
    put_index(tables, &IndexRecord { next_field: LEFT_OUT + 1, leaves_out: false })
}

/// Writes the state of the index.
fn put_index(tables: &mut super::write::Tables<'_>, record: &IndexRecord) -> Result<()> {
    tables.put_record(Table::Meta, INDEX, record)
}

/// An indexed field; none if no indexed document has it.
pub(crate) fn field(rows: &dyn Rows, name: &str) -> Result<Option<FieldRecord>> {
    find(rows, Table::Fields, name.as_bytes())
}

/// All indexed fields by name.
pub(crate) fn fields(rows: &dyn Rows) -> Result<Vec<(String, FieldRecord)>> {
    let mut all = Vec::new();
    rows.scan(Table::Fields, &[], &mut |name, value| {
        let field = super::record::Record::decode(value)?;
        let name =
            std::str::from_utf8(name).map_err(|_| Table::Fields.damage(name, "the name is not UTF-8"))?;
        all.push((name.to_owned(), field));
        Ok(true)
    })?;
    Ok(all)
}

/// Where the leaves of a field begin.
#[expect(
    clippy::big_endian_bytes,
    reason = "keys sort as bytes, so their order must be the order of numbers"
)]
fn field_key(field: u32) -> [u8; 4] {
    field.to_be_bytes()
}

/// The key of a posting.
fn posting_key(field: u32, value: &[u8], row: u64) -> Vec<u8> {
    [&field_key(field)[..], value, &key(row)].concat()
}

/// Calls `visit` with the groups of a field whose keys are from `from` on, ascending, until it breaks. A value of many
/// documents comes as several groups in a row. Cost: a lookup, then each leaf on the way.
pub(crate) fn for_each_group(
    rows: &dyn Rows,
    field: u32,
    from: &[u8],
    visit: &mut dyn FnMut(Group<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let start = posting_key(field, from, 0);
    let Some(first) = rows.floor(Table::Postings, &start)?.filter(|key| key.starts_with(&field_key(field)))
    else {
        return scan(rows, field, &start, from, visit);
    };
    scan(rows, field, &first, from, visit)
}

fn scan(
    rows: &dyn Rows,
    field: u32,
    start: &[u8],
    from: &[u8],
    visit: &mut dyn FnMut(Group<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let prefix = field_key(field);
    rows.scan(Table::Postings, start, &mut |key, value| {
        if !key.starts_with(&prefix) {
            return Ok(false);
        }
        for group in leaf::groups(value) {
            let group = group.map_err(|error| damage(key, &error))?;
            if group.key >= from && visit(group)?.is_break() {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

fn damage(key: &[u8], error: &Error) -> Error {
    match error {
        Error::Corrupt { detail, .. } => Table::Postings.damage(key, detail),
        other => Table::Postings.damage(key, &other.to_string()),
    }
}

/// First rows of the documents that the index leaves out.
pub(crate) fn left_out(rows: &dyn Rows) -> Result<RoaringTreemap> {
    let mut all = RoaringTreemap::new();
    for_each_group(rows, LEFT_OUT, &[], &mut |group| {
        group.add_to(&mut all)?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(all)
}
