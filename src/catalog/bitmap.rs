//! Sets of rows, stored as one bitmap for each block of 65,536 rows.

use roaring::{RoaringBitmap, RoaringTreemap};

use super::read::Rows;
use super::table::Table;
use super::write::Tables;
use crate::codec::{key, key_number};
use crate::error::{Error, Result};

/// A block holds `1 << BLOCK_BITS` rows.
const BLOCK_BITS: u32 = 16;
/// The rows of a block.
pub(crate) const BLOCK_ROWS: u64 = 1 << BLOCK_BITS;
/// The last row of the first block.
const BLOCK_LAST: u64 = BLOCK_ROWS - 1;
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

/// Reads the whole set of `table`, `Dead` or `Continuation`. `known` is what it was in a commit before, if that is known: rows are only ever
/// added, so a block of which as many are known has not changed.
pub(crate) fn load_rows(
    rows: &dyn Rows,
    table: Table,
    known: Option<&RoaringTreemap>,
) -> Result<RoaringTreemap> {
    let mut set = known.cloned().unwrap_or_default();
    rows.scan(table, &[], &mut |block, value| {
        let first = key_number(block)
            .filter(|&b| b < 1 << (u64::BITS - BLOCK_BITS))
            .ok_or_else(|| table.damage(block, "key is no block number"))?
            << BLOCK_BITS;
        let block = decode(value)?;
        if set.range_cardinality(first..=first | BLOCK_LAST) == block.len() {
            return Ok(true);
        }
        let mut block = block.iter();
        while let Some(run) = block.next_range() {
            set.insert_range(first | u64::from(*run.start())..=first | u64::from(*run.end()));
        }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::read::Visit;
    use super::*;

    /// The blocks of a set, as they are stored.
    struct Stored(BTreeMap<Vec<u8>, Vec<u8>>);

    impl Stored {
        fn new(set: &RoaringTreemap) -> Self {
            let mut blocks: BTreeMap<u64, RoaringBitmap> = BTreeMap::new();
            for row in set {
                let low = u32::try_from(row & BLOCK_LAST).unwrap();
                blocks.entry(row >> BLOCK_BITS).or_default().insert(low);
            }
            let bytes = |mut block: RoaringBitmap| {
                block.optimize();
                let mut bytes = Vec::new();
                block.serialize_into(&mut bytes).unwrap();
                bytes
            };
            Stored(blocks.into_iter().map(|(number, block)| (key(number).to_vec(), bytes(block))).collect())
        }
    }

    impl Rows for Stored {
        fn get(&self, _: Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
            Ok(self.0.get(key).cloned())
        }

        fn scan(&self, _: Table, _: &[u8], visit: &mut Visit<'_>) -> Result<()> {
            for (key, value) in &self.0 {
                if !visit(key, value)? {
                    break;
                }
            }
            Ok(())
        }

        fn floor(&self, _: Table, _: &[u8]) -> Result<Option<Vec<u8>>> {
            Ok(None)
        }
    }

    #[test]
    fn a_set_is_the_same_whatever_was_known_of_it() {
        let added: [RoaringTreemap; 6] = [
            RoaringTreemap::new(),
            (65_530..65_540).collect(),
            (0..200_000).filter(|row| row % 3 == 1).collect(),
            (131_072..196_608).collect(),
            ((1 << 33) + 5..(1 << 33) + 9).collect(),
            [7, 1 << 40].into_iter().collect(),
        ];
        let mut before = vec![RoaringTreemap::new()];
        for added in added {
            let all = before.last().unwrap() | added;
            let stored = Stored::new(&all);
            let load = |known| load_rows(&stored, Table::Dead, known).unwrap();
            assert_eq!(load(None), all);
            for known in &before {
                assert_eq!(load(Some(known)), all, "{} known of {}", known.len(), all.len());
            }
            before.push(all);
        }
    }
}
