//! Sets of rows, stored as one bitmap for each block of 65,536 rows.

use roaring::{RoaringBitmap, RoaringTreemap};

use super::read::Rows;
use super::table::Table;
use super::write::Tables;
use crate::codec::{key, key_number};
use crate::error::{Error, Result};

/// A block holds `1 << BLOCK_BITS` rows.
const BLOCK_BITS: u32 = 16;
/// The most memory that a block takes, while it grows to that by doubling.
pub(crate) const BLOCK_BYTES: u64 = (12 << 10) + 128;

/// Reads a stored block.
pub(super) fn decode(bytes: &[u8]) -> Result<RoaringBitmap> {
    let bitmap =
        RoaringBitmap::deserialize_from(bytes).map_err(|e| Error::corrupt("bitmap", 0, e.to_string()))?;
    if bitmap.max().is_some_and(|last| last >> BLOCK_BITS != 0) {
        return Err(Error::corrupt("bitmap", 0, "a row lies outside its block"));
    }
    Ok(bitmap)
}

/// Reads the whole set of `table`, `Dead` or `Continuation`.
pub(crate) fn load_rows(rows: &dyn Rows, table: Table) -> Result<RoaringTreemap> {
    let mut set = RoaringTreemap::new();
    rows.scan(table, &[], &mut |block, value| {
        let first = key_number(block)
            .filter(|&b| b < 1 << (u64::BITS - BLOCK_BITS))
            .ok_or_else(|| table.damage(block, "key is no block number"))?
            << BLOCK_BITS;
        set.extend(decode(value)?.iter().map(|low| first | u64::from(low)));
        Ok(true)
    })?;
    Ok(set)
}

/// The most bytes of memory that the whole set of `table` takes: a block has 8 KiB, or fewer.
pub(crate) fn rows_bytes(rows: &dyn Rows, table: Table) -> Result<u64> {
    let mut bytes = 0;
    rows.scan(table, &[], &mut |_, _| {
        bytes += BLOCK_BYTES;
        Ok(true)
    })?;
    Ok(bytes)
}

/// Adds `rows` to the stored set; writes each block that has one of them.
pub(crate) fn add_rows(tables: &mut Tables<'_>, table: Table, rows: &RoaringTreemap) -> Result<()> {
    let mut iter = rows.iter().peekable();
    while let Some(&row) = iter.peek() {
        let block = row >> BLOCK_BITS;
        let mut bitmap = match super::read::Rows::get(tables, table, &key(block))? {
            Some(bytes) => decode(&bytes)?,
            None => RoaringBitmap::new(),
        };
        while let Some(row) = iter.next_if(|&row| row >> BLOCK_BITS == block) {
            bitmap.insert(u32::try_from(row - (block << BLOCK_BITS)).unwrap_or(u32::MAX));
        }
        bitmap.optimize();
        let mut bytes = Vec::with_capacity(bitmap.serialized_size());
        bitmap.serialize_into(&mut bytes).map_err(|e| Error::invalid("bitmap", e.to_string()))?;
        tables.put(table, &key(block), bytes)?;
    }
    Ok(())
}
