//! What the blobs of all kinds of indexes have: a header that says what the index is and where its sections are, which begin at
//! multiples of 64 bytes.
#![deny(clippy::indexing_slicing)]

use std::ops::Range;

use crate::codec::{to_u64, u32_at, u64_at};
use crate::error::{Error, Result};

const _: () = assert!(cfg!(target_endian = "little"), "sections are mapped as they are stored");

/// Sections begin at multiples of this.
pub(super) const ALIGNMENT: usize = 64;
/// A section in the table: its offset and its length, u64 each.
const ENTRY_BYTES: usize = 16;

/// Something is wrong at an offset of an index.
pub(super) fn corrupt(offset: usize, detail: impl Into<String>) -> Error {
    Error::corrupt("index", to_u64(offset), detail)
}

/// The numbers of a header.
#[derive(Clone, Copy)]
pub(super) struct Header<'a> {
    bytes: &'a [u8],
}

impl<'a> Header<'a> {
    /// Reads how a blob begins: the magic, then the version.
    ///
    /// # Errors
    /// `Corrupt`; `Version`.
    pub(super) fn open(bytes: &'a [u8], magic: &[u8], version: u32) -> Result<Self> {
        if bytes.get(..magic.len()) != Some(magic) {
            return Err(corrupt(0, "it does not begin as an index"));
        }
        let header = Header { bytes };
        let found = header.number(magic.len())?;
        if found != version {
            return Err(Error::Version { found: format!("index {found}"), oldest: version, newest: version });
        }
        Ok(header)
    }

    /// The number at an offset.
    ///
    /// # Errors
    /// `Corrupt` if the blob ends before it.
    pub(super) fn number(self, offset: usize) -> Result<u32> {
        let ends = || corrupt(offset, format!("it ends at byte {}", self.bytes.len()));
        u32_at(self.bytes, offset).ok_or_else(ends)
    }
}

/// Where the sections of an index are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table<const N: usize> {
    ranges: [Range<usize>; N],
}

impl<const N: usize> Table<N> {
    /// Lays out sections of these lengths behind a header.
    pub(super) fn lay_out(header_bytes: usize, lengths: [usize; N]) -> Self {
        let mut end = header_bytes;
        let ranges = lengths.map(|length| {
            let start = end.next_multiple_of(ALIGNMENT);
            end = start.saturating_add(length);
            start..end
        });
        Table { ranges }
    }

    /// Checks that the table at `offset` of a blob says the same of the first `count` sections, and that these lie in the blob.
    ///
    /// # Errors
    /// `Corrupt` naming the section, what was expected and what was found.
    pub(super) fn check(&self, bytes: &[u8], offset: usize, count: usize) -> Result<()> {
        for (place, range) in self.ranges.iter().enumerate().take(count) {
            let at = offset + ENTRY_BYTES * place;
            let found = (u64_at(bytes, at), u64_at(bytes, at + ENTRY_BYTES / 2));
            let expected = (to_u64(range.start), to_u64(range.len()));
            if found != (Some(expected.0), Some(expected.1)) || range.end > bytes.len() {
                let len = bytes.len();
                let detail =
                    format!("section {place} is at {found:?}, expected {expected:?} of {len} bytes in all");
                return Err(corrupt(at, detail));
            }
        }
        Ok(())
    }

    /// The length of a section that a blob with its table at `offset` claims to have.
    pub(super) fn claimed(bytes: &[u8], offset: usize, place: usize) -> Option<u64> {
        u64_at(bytes, offset + ENTRY_BYTES * place + ENTRY_BYTES / 2)
    }

    /// Adds the table of the first `count` sections to a header.
    pub(super) fn write(&self, header: &mut Vec<u8>, count: usize) {
        for range in self.ranges.iter().take(count) {
            header.extend_from_slice(&to_u64(range.start).to_le_bytes());
            header.extend_from_slice(&to_u64(range.len()).to_le_bytes());
        }
    }

    /// Where a section is.
    pub(super) fn range(&self, place: usize) -> Range<usize> {
        self.ranges.get(place).cloned().unwrap_or_default()
    }

    /// The sections, in their order.
    pub(super) fn ranges(&self) -> &[Range<usize>; N] {
        &self.ranges
    }

    /// The length of the blob.
    pub(super) fn len(&self) -> usize {
        self.ranges.last().map_or(0, |range| range.end)
    }

    /// A section.
    ///
    /// # Errors
    /// `Corrupt` for a blob that is shorter.
    pub(super) fn section<'a, T: bytemuck::AnyBitPattern>(
        &self,
        bytes: &'a [u8],
        place: usize,
    ) -> Result<&'a [T]> {
        let found = self.ranges.get(place).and_then(|range| bytes.get(range.clone()));
        let section =
            found.ok_or_else(|| corrupt(0, format!("section {place} is past its {} bytes", bytes.len())))?;
        bytemuck::try_cast_slice(section).map_err(|error| corrupt(0, error.to_string()))
    }
}
