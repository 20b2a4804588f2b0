//! The fixed places of the file and the page that identifies it.

use std::io::ErrorKind;
use std::path::Path;

use uuid::Uuid;

use super::file::RawFile;
use crate::checksum::crc32;
use crate::codec::{Reader, to_u64, u32_at};
use crate::error::{Error, Result};

/// The unit of allocation, in bytes.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// The same for slices.
pub(crate) const PAGE_LEN: usize = 4096;
/// The oldest file format that this version reads.
pub const FORMAT_OLDEST: u32 = 1;
/// The file format that this version writes, and the newest that it reads.
pub const FORMAT_NEWEST: u32 = 1;

/// Where the preamble lies.
pub(crate) const PREAMBLE_OFFSET: u64 = 0;
/// Where the writer notice lies.
pub(crate) const NOTICE_OFFSET: u64 = PREAMBLE_OFFSET + PAGE_BYTES;
/// Where superblock A lies; pages 2 and 3 before it are zero.
pub(crate) const SUPERBLOCK_A_OFFSET: u64 = 4 * PAGE_BYTES;
/// The size of each superblock slot.
pub(crate) const SUPERBLOCK_LEN: usize = 16 * PAGE_LEN;
/// Where superblock B lies.
pub(crate) const SUPERBLOCK_B_OFFSET: u64 = SUPERBLOCK_A_OFFSET + SUPERBLOCK_LEN as u64;
/// The first page that extents and blobs may use.
pub(crate) const DATA_OFFSET: u64 = SUPERBLOCK_B_OFFSET + SUPERBLOCK_LEN as u64;
/// The number of that page.
pub(crate) const DATA_PAGE: u64 = DATA_OFFSET / PAGE_BYTES;

/// The first bytes of every file: a byte that no text has, the name, and line ends that a text transfer would change.
pub(crate) const PREAMBLE_MAGIC: [u8; 8] = *b"\x89VDB\r\n\x1a\n";
const LAYOUT_OFFSET: usize = PREAMBLE_MAGIC.len();
const PAGE_SIZE_OFFSET: usize = LAYOUT_OFFSET + size_of::<u32>();
const UUID_OFFSET: usize = PAGE_SIZE_OFFSET + size_of::<u32>();
const LINEAGE_OFFSET: usize = UUID_OFFSET + size_of::<Uuid>();
const PREAMBLE_END: usize = LINEAGE_OFFSET + size_of::<Uuid>();
const PREAMBLE_CRC_OFFSET: usize = PAGE_LEN - size_of::<u32>();

/// What identifies a file; written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preamble {
    /// This file alone.
    pub(crate) uuid: Uuid,
    /// This file and its backups.
    pub(crate) lineage: Uuid,
}

impl Preamble {
    /// A file that descends from no other.
    pub(crate) fn fresh() -> Self {
        Preamble { uuid: Uuid::new_v4(), lineage: Uuid::new_v4() }
    }

    /// The page as stored.
    #[expect(clippy::indexing_slicing, reason = "all offsets are constants within the page")]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut page = vec![0; PAGE_LEN];
        page[..LAYOUT_OFFSET].copy_from_slice(&PREAMBLE_MAGIC);
        page[LAYOUT_OFFSET..PAGE_SIZE_OFFSET].copy_from_slice(&FORMAT_NEWEST.to_le_bytes());
        page[PAGE_SIZE_OFFSET..UUID_OFFSET].copy_from_slice(&4096_u32.to_le_bytes());
        page[UUID_OFFSET..LINEAGE_OFFSET].copy_from_slice(self.uuid.as_bytes());
        page[LINEAGE_OFFSET..PREAMBLE_END].copy_from_slice(self.lineage.as_bytes());
        let crc = crc32(&[&page[..PREAMBLE_CRC_OFFSET]]);
        page[PREAMBLE_CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
        page
    }

    /// Reads the page; a wrong magic is not told apart here, see [`read_preamble`].
    pub(crate) fn decode(page: &[u8]) -> Result<Self> {
        let damaged = |offset: usize, detail: String| Error::corrupt("preamble", to_u64(offset), detail);
        let stored = u32_at(page, PREAMBLE_CRC_OFFSET)
            .ok_or_else(|| damaged(page.len(), format!("{PAGE_LEN} bytes expected, {} found", page.len())))?;
        let computed = crc32(&[page.get(..PREAMBLE_CRC_OFFSET).unwrap_or_default()]);
        if stored != computed {
            return Err(damaged(
                PREAMBLE_CRC_OFFSET,
                format!("checksum {stored:#010x} expected, {computed:#010x} found"),
            ));
        }
        let mut reader = Reader::new("preamble", page);
        if reader.array::<8>()? != PREAMBLE_MAGIC {
            return Err(damaged(0, "magic bytes differ".into()));
        }
        let layout = reader.u32()?;
        if !(FORMAT_OLDEST..=FORMAT_NEWEST).contains(&layout) {
            return Err(Error::Version {
                found: layout.to_string(),
                oldest: FORMAT_OLDEST,
                newest: FORMAT_NEWEST,
            });
        }
        let page_size = reader.u32()?;
        if u64::from(page_size) != PAGE_BYTES {
            return Err(damaged(
                PAGE_SIZE_OFFSET,
                format!("page size {PAGE_BYTES} expected, {page_size} found"),
            ));
        }
        Ok(Preamble { uuid: Uuid::from_bytes(reader.array()?), lineage: Uuid::from_bytes(reader.array()?) })
    }
}

/// Reads the preamble of `file`, or says what else the file is.
pub(crate) fn read_preamble(file: &dyn RawFile, path: &Path) -> Result<Preamble> {
    let io = |source| Error::Io { op: "read", path: path.to_owned(), source };
    let len = file.len().map_err(io)?;
    if len == 0 {
        return Err(Error::NotAStore { path: path.to_owned(), found: "it is empty".into() });
    }
    let mut page = vec![0; PAGE_LEN.min(crate::codec::to_usize(len))];
    match file.read_at(&mut page, PREAMBLE_OFFSET) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(io(error)),
    }
    if page.starts_with(&PREAMBLE_MAGIC) {
        if len < DATA_OFFSET {
            let detail = format!("at least {DATA_OFFSET} bytes expected, {len} found");
            return Err(Error::corrupt(format!("file {}", path.display()), len, detail));
        }
        return Preamble::decode(&page);
    }
    // One flipped byte in the magic must not turn a store into "some other file": the checksum still tells.
    let mut repaired = page.clone();
    if let Some(magic) = repaired.get_mut(..LAYOUT_OFFSET).filter(|_| len >= DATA_OFFSET) {
        magic.copy_from_slice(&PREAMBLE_MAGIC);
        if Preamble::decode(&repaired).is_ok() {
            return Err(Error::corrupt("preamble", 0, "magic bytes differ"));
        }
    }
    Err(Error::NotAStore { path: path.to_owned(), found: foreign(&page) })
}

/// Names the kind of a file by its first bytes.
fn foreign(start: &[u8]) -> String {
    let found = if start.starts_with(b"redb\x1a\n") {
        "it is a bare redb database"
    } else if start.starts_with(&[0x20, 0x42, 0x44, 0x56]) {
        "it is an OpenVDB volume, a format for 3D grids that has the same extension"
    } else if start.starts_with(b"SQLite format 3\0") {
        "it is an SQLite database"
    } else if start.starts_with(b"Ix") || start.starts_with(b"IH") || start.starts_with(b"Iw") {
        "it looks like a FAISS index"
    } else if start.iter().all(|&b| b == 0) {
        "it begins with zeros"
    } else if std::str::from_utf8(start).is_ok_and(|s| !s.contains('\0'))
        || start.iter().all(|&b| b >= b' ' || matches!(b, b'\n' | b'\r' | b'\t'))
    {
        "it looks like text"
    } else {
        "its first bytes are unknown"
    };
    found.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preamble_survives_and_every_flip_is_seen() {
        let preamble = Preamble::fresh();
        let page = preamble.encode();
        assert_eq!(Preamble::decode(&page).unwrap(), preamble);
        for at in 0..page.len() {
            let mut bad = page.clone();
            bad[at] ^= 0x10;
            assert!(Preamble::decode(&bad).is_err(), "flip at {at}");
        }
        assert!(Preamble::decode(&page[..100]).is_err());
    }

    #[test]
    fn other_files_are_named() {
        assert!(foreign(b"hello\n").contains("text"));
        assert!(foreign(&[0x20, 0x42, 0x44, 0x56, 0, 0, 0, 0]).contains("OpenVDB"));
        assert!(foreign(b"redb\x1a\n\xa9\r\n").contains("redb"));
    }
}
