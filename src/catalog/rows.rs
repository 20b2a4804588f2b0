//! The rows that every store has, and how they are read.

use std::collections::BTreeMap;

use super::read::{Rows, find};
use super::record::{Counters, DocumentRecord, Record, SettingsRecord, SpaceRecord, StoreRecord, TextRecord};
use super::table::Table;
use super::write::WriteTxn;
use crate::codec::{key, key_number};
use crate::error::Result;
use crate::storage::{BlobRecord, OpenFile};

/// Keys of the table `meta`.
const STORE: &[u8] = b"store";
const SETTINGS: &[u8] = b"settings";
const COUNTERS: &[u8] = b"counters";

/// Makes the tables of a new store, in its first commit; with a text index, if `text` says what it is like.
pub(crate) fn initialise(
    file: &OpenFile,
    space: &SpaceRecord,
    index: &str,
    text: Option<&TextRecord>,
) -> Result<()> {
    let txn = WriteTxn::begin(file)?;
    let mut tables = txn.tables()?;
    for table in Table::ALL {
        tables.create(table)?;
    }
    let preamble = file.container.preamble();
    let store = StoreRecord {
        uuid: preamble.uuid.into_bytes(),
        lineage: preamble.lineage.into_bytes(),
        created_by: env!("CARGO_PKG_VERSION").to_owned(),
    };
    tables.put_record(Table::Meta, STORE, &store)?;
    let settings = SettingsRecord { text_index: text.is_some(), index: index.into(), active_space: 0 };
    tables.put_record(Table::Meta, SETTINGS, &settings)?;
    put_counters(&mut tables, &Counters { commit: 1, ..Counters::default() })?;
    tables.put_record(Table::Spaces, &key(0), space)?;
    super::index::create(&mut tables)?;
    if let Some(text) = text {
        super::text::put_text(&mut tables, text)?;
    }
    drop(tables);
    txn.commit()
}

fn meta<T: Record>(rows: &dyn Rows, name: &[u8]) -> Result<T> {
    find(rows, Table::Meta, name)?.ok_or_else(|| Table::Meta.damage(name, "the row is missing"))
}

/// The store's identity.
pub(crate) fn store(rows: &dyn Rows) -> Result<StoreRecord> {
    meta(rows, STORE)
}

/// What was chosen at creation.
pub(crate) fn settings(rows: &dyn Rows) -> Result<SettingsRecord> {
    meta(rows, SETTINGS)
}

/// The counters.
pub(crate) fn counters(rows: &dyn Rows) -> Result<Counters> {
    meta(rows, COUNTERS)
}

/// Writes the counters.
pub(crate) fn put_counters(tables: &mut super::write::Tables<'_>, counters: &Counters) -> Result<()> {
    tables.put_record(Table::Meta, COUNTERS, counters)
}

/// The blob of a number.
pub(crate) fn blob(rows: &dyn Rows, id: u64) -> Result<BlobRecord> {
    let bytes = rows
        .get(Table::Blobs, &key(id))?
        .ok_or_else(|| Table::Blobs.damage(&key(id), "the blob is missing"))?;
    BlobRecord::decode(&bytes)
}

/// All blobs by number.
pub(crate) fn blobs(rows: &dyn Rows) -> Result<BTreeMap<u64, BlobRecord>> {
    let mut all = BTreeMap::new();
    rows.scan(Table::Blobs, &[], &mut |id, value| {
        let number = key_number(id).ok_or_else(|| Table::Blobs.damage(id, "key is no number"))?;
        all.insert(number, BlobRecord::decode(value)?);
        Ok(true)
    })?;
    Ok(all)
}

/// Reads a row of the tail: the values as stored, f32 little-endian.
pub(crate) fn tail_row(row: &[u8], value: &[u8]) -> Result<(u64, Vec<f32>)> {
    let number = key_number(row).ok_or_else(|| Table::Tail.damage(row, "key is no number"))?;
    if !value.len().is_multiple_of(4) {
        return Err(Table::Tail.damage(row, &format!("{} bytes are no vector", value.len())));
    }
    let (values, _) = value.as_chunks();
    let vector = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    Ok((number, vector))
}

/// A vector as the tail stores it.
pub(crate) fn tail_value(vector: &[f32]) -> Vec<u8> {
    vector.iter().map(|value| value.to_le_bytes()).collect::<Vec<_>>().into_flattened()
}

/// Reads the document number of an id.
pub(crate) fn id_row(rows: &dyn Rows, id: &str) -> Result<Option<u64>> {
    match rows.get(Table::Ids, id.as_bytes())? {
        Some(value) => {
            let row = key_number(&value)
                .ok_or_else(|| Table::Ids.damage(id.as_bytes(), "value is no row number"))?;
            Ok(Some(row))
        }
        None => Ok(None),
    }
}

/// At most `limit` documents from row `from` on, with their first rows.
pub(crate) fn documents(rows: &dyn Rows, from: u64, limit: usize) -> Result<Vec<(u64, DocumentRecord)>> {
    let mut page = Vec::new();
    rows.scan(Table::Documents, &key(from), &mut |row, value| {
        let number = key_number(row).ok_or_else(|| Table::Documents.damage(row, "key is no number"))?;
        page.push((number, DocumentRecord::decode(value)?));
        Ok(page.len() < limit)
    })?;
    Ok(page)
}
