//! The tables, their names, and the checksum that ends every value.

use redb::TableDefinition;

use crate::checksum::crc32;
use crate::codec::u32_at;
use crate::error::{Error, Result};

/// A table of the catalog. Keys and values are bytes; numbers in keys are big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub(crate) enum Table {
    /// Name -> the store's identity, settings and counters. Never empty.
    Meta,
    /// Space id -> model identity, dimension, metric.
    Spaces,
    /// First row of a document -> the document.
    Documents,
    /// Document id -> first row.
    Ids,
    /// Row -> vector, for rows not yet in a segment.
    Tail,
    /// Segment id -> what it holds and in which blob.
    Segments,
    /// Row >> 16 -> bitmap of dead rows.
    Dead,
    /// Row >> 16 -> bitmap of rows that are not their document's first.
    Continuation,
    /// Blob id -> place, length, checksums.
    Blobs,
    /// Name of a metadata field -> its number in the index.
    Fields,
    /// Number of the field, key of a value, row -> a leaf of postings from there on.
    Postings,
    /// Full-text segment id -> blob, statistics.
    TextSegments,
    /// Backup policy.
    Policy,
}

impl Table {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Table; 13] = [
        Table::Meta,
        Table::Spaces,
        Table::Documents,
        Table::Ids,
        Table::Tail,
        Table::Segments,
        Table::Dead,
        Table::Continuation,
        Table::Blobs,
        Table::Fields,
        Table::Postings,
        Table::TextSegments,
        Table::Policy,
    ];

    /// The name in the file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Spaces => "spaces",
            Table::Documents => "documents",
            Table::Ids => "ids",
            Table::Tail => "tail",
            Table::Segments => "segments",
            Table::Dead => "dead",
            Table::Continuation => "continuation",
            Table::Blobs => "blobs",
            Table::Fields => "fields",
            Table::Postings => "postings",
            Table::TextSegments => "text_segments",
            Table::Policy => "policy",
        }
    }

    /// The number in the log.
    #[expect(clippy::cast_possible_truncation, reason = "there are few")]
    pub(super) fn number(self) -> u8 {
        self as usize as u8
    }

    /// Whether its rows name blobs, whose pages are used and given back by commits of redb.
    pub(super) fn names_blobs(self) -> bool {
        matches!(self, Table::Blobs | Table::Segments | Table::TextSegments)
    }

    pub(super) fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(self.name())
    }

    /// The value as stored: with its checksum.
    pub(super) fn seal(self, key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
        let crc = self.crc(key, &value);
        value.extend_from_slice(&crc.to_le_bytes());
        value
    }

    /// The value without its checksum, which must be right.
    pub(super) fn unseal<'a>(self, key: &[u8], stored: &'a [u8]) -> Result<&'a [u8]> {
        let split = stored
            .len()
            .checked_sub(size_of::<u32>())
            .ok_or_else(|| self.damage(key, "value is too short"))?;
        let (value, _) = stored.split_at(split);
        let (expected, found) = (u32_at(stored, split), self.crc(key, value));
        if expected == Some(found) {
            return Ok(value);
        }
        Err(self
            .damage(key, &format!("checksum {:#010x} expected, {found:#010x} found", expected.unwrap_or(0))))
    }

    fn crc(self, key: &[u8], value: &[u8]) -> u32 {
        crc32(&[self.name().as_bytes(), &[0], key, &[0], value])
    }

    /// An error about the row of `key`.
    pub(crate) fn damage(self, key: &[u8], detail: &str) -> Error {
        let key = match crate::codec::key_number(key) {
            Some(number) => number.to_string(),
            None => format!("{:?}", String::from_utf8_lossy(key)),
        };
        Error::corrupt(format!("row {key} of table {}", self.name()), 0, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places() {
        for (n, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(table as usize, n);
        }
    }

    #[test]
    fn a_value_belongs_to_its_table_and_key() {
        let stored = Table::Ids.seal(b"a", b"value".to_vec());
        assert_eq!(Table::Ids.unseal(b"a", &stored).unwrap(), b"value");
        assert!(Table::Ids.unseal(b"b", &stored).is_err());
        assert!(Table::Meta.unseal(b"a", &stored).is_err());
        for at in 0..stored.len() {
            let mut bad = stored.clone();
            bad[at] ^= 4;
            assert!(Table::Ids.unseal(b"a", &bad).is_err());
        }
        assert!(Table::Ids.unseal(b"a", b"abc").is_err());
    }
}
