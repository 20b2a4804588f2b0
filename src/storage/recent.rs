//! Rows that are written and not yet in redb: what the write-ahead log holds, in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::codec::{Reader, to_u64, to_usize};
use crate::error::{Error, Result};

/// A row as written: its value, or that there is none any more.
pub(crate) type Entry = Option<Arc<[u8]>>;

const REMOVED: u8 = 0;
const VALUE: u8 = 1;
/// What a row takes besides its key and its value, in the log as in memory, in bytes.
const ROW_BYTES: usize = 96;

/// Rows of numbered tables, newer than what redb has; a removed row hides the one below.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    tables: BTreeMap<u8, BTreeMap<Box<[u8]>, Entry>>,
    bytes: usize,
}

impl Recent {
    /// No row.
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The memory that was taken for rows, in bytes; what a later row replaced counts, too.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets a row.
    pub(crate) fn set(&mut self, table: u8, key: &[u8], entry: Entry) {
        self.bytes += ROW_BYTES + key.len() + entry.as_ref().map_or(0, |value| value.len());
        self.tables.entry(table).or_default().insert(key.into(), entry);
    }

    /// What is known of a row; `None` if nothing is.
    pub(crate) fn get(&self, table: u8, key: &[u8]) -> Option<&Entry> {
        self.tables.get(&table)?.get(key)
    }

    /// The rows of a table within bounds, in the order of their keys.
    pub(crate) fn range<'r>(
        &'r self,
        table: u8,
        bounds: (Bound<&'r [u8]>, Bound<&'r [u8]>),
    ) -> impl DoubleEndedIterator<Item = (&'r [u8], &'r Entry)> {
        let rows = self.tables.get(&table).into_iter();
        rows.flat_map(move |rows| rows.range::<[u8], _>(bounds)).map(|(key, entry)| (&**key, entry))
    }

    /// All rows, by table and key.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (u8, &[u8], &Entry)> {
        self.tables
            .iter()
            .flat_map(|(&table, rows)| rows.iter().map(move |(key, entry)| (table, &**key, entry)))
    }

    /// Takes over the rows of `newer`.
    pub(crate) fn extend(&mut self, newer: &Recent) {
        for (table, key, entry) in newer.rows() {
            self.set(table, key, entry.clone());
        }
    }

    /// The rows as the log stores them, after what `out` has already.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for (table, key, entry) in self.rows() {
            let value = entry.as_deref().unwrap_or_default();
            out.extend([table, if entry.is_some() { VALUE } else { REMOVED }]);
            for len in [key.len(), value.len()] {
                out.extend_from_slice(&to_u64(len).to_le_bytes());
            }
            out.extend_from_slice(key);
            out.extend_from_slice(value);
        }
    }

    /// Reads what [`Recent::encode`] made; later rows replace earlier.
    pub(super) fn decode(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let mut reader = Reader::new("record of the log", bytes);
            let [table, kind] = reader.array()?;
            let (key_len, value_len) = (to_usize(reader.u64()?), to_usize(reader.u64()?));
            let (key, value) = (reader.bytes(key_len)?, reader.bytes(value_len)?);
            let entry = match kind {
                VALUE => Some(Arc::from(value)),
                REMOVED if value.is_empty() => None,
                _ => return Err(Error::corrupt("record of the log", 1, format!("row of the kind {kind}"))),
            };
            self.set(table, key, entry);
            bytes = bytes.get(2 + 16 + key_len + value_len..).unwrap_or_default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Recent {
        let mut recent = Recent::default();
        recent.set(3, b"b", Some(Arc::from(&b"two"[..])));
        recent.set(3, b"a", Some(Arc::from(&b""[..])));
        recent.set(0, b"", None);
        recent.set(3, b"b", Some(Arc::from(&b"three"[..])));
        recent
    }

    #[test]
    fn rows_are_read_as_written() {
        let recent = sample();
        let mut bytes = Vec::new();
        recent.encode(&mut bytes);
        let mut again = Recent::default();
        again.decode(&bytes).unwrap();
        assert!(recent.rows().eq(again.rows()));
        assert_eq!(again.get(3, b"b").unwrap().as_deref(), Some(&b"three"[..]));
        assert_eq!(again.get(0, b""), Some(&None));
        assert_eq!(again.get(3, b"c"), None);
        let keys: Vec<_> =
            again.range(3, (Bound::Excluded(b"a"), Bound::Unbounded)).map(|(key, _)| key).collect();
        assert_eq!(keys, [b"b"]);
        for cut in 1..bytes.len() {
            let mut part = Recent::default();
            let result = part.decode(&bytes[..cut]);
            assert!(result.is_err() || part.rows().count() < recent.rows().count(), "cut at {cut}");
        }
    }

    #[test]
    fn no_bytes_make_decoding_panic() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        for at in 0..bytes.len() {
            for mask in [1, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] ^= mask;
                let _ = Recent::default().decode(&bad);
            }
        }
    }
}
