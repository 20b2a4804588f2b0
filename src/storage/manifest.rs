//! Publishing a commit with one sync: redb's header, and beside it the manifest of the pages that it relies on.
//!
//! redb syncs twice in a commit: the pages, then the header that makes them count. When a commit wrote few pages and
//! nothing else, the first sync is left out, and the header goes to the disk together with a list of those pages and their
//! checksums. If the power fails before all of it is there, whoever recovers the file finds a page that is not what the
//! manifest says, and withdraws the commit, which nobody was told of.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use super::blob::Naming;
use super::container::{Container, Role, Sabotage, hold};
use super::header::{HEADER_LEN, awaits_publication, is_unclean, withdrawn};
use super::layout::{PAGE_BYTES, PAGE_LEN};
use super::pages::{Place, StreamMap};
use super::stream::{corrupt, page_sum};
use crate::checksum::crc32;
use crate::codec::{to_usize, u32_at};

/// One sector holds redb's header and, at its end, a checksum: a torn write leaves the old or the new.
const SECTOR_LEN: usize = 512;
const MANIFEST_COUNT_OFFSET: usize = HEADER_LEN;
const MANIFEST_CRC_OFFSET: usize = MANIFEST_COUNT_OFFSET + size_of::<u32>();
const HEADER_CRC_OFFSET: usize = SECTOR_LEN - size_of::<u32>();
/// An entry is the number of a page and its checksum.
const ENTRY_LEN: usize = 8;
const ENTRIES_MAX: usize = (PAGE_LEN - SECTOR_LEN) / ENTRY_LEN;

/// What was written since the last sync.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Stream page -> checksum, as long as a manifest can hold them.
    pages: BTreeMap<u32, u32>,
    /// More than that was written.
    more: bool,
    /// A commit was written into the slot of the header that does not count yet.
    awaiting: bool,
    /// redb was told that it is durable; the next header carries the manifest.
    promised: bool,
}

impl Unsynced {
    /// Notes that a page of the stream was written.
    pub(super) fn note(&mut self, page: u64, sum: u32) {
        match u32::try_from(page) {
            Ok(page) if !self.more => drop(self.pages.insert(page, sum)),
            _ => self.more = true,
        }
        if self.pages.len() > ENTRIES_MAX {
            self.note_other();
        }
    }

    /// Notes that something was written that a manifest cannot tell of.
    pub(super) fn note_other(&mut self) {
        self.more = true;
        self.pages.clear();
    }

    /// Tells whether the sync that redb asks for can be left to the next, because the header before it will carry the
    /// manifest.
    pub(super) fn promise(&mut self) -> bool {
        let possible = self.awaiting && !self.promised && !self.more;
        self.promised |= possible;
        possible
    }

    /// Forgets everything: it was synced.
    pub(super) fn clear(&mut self) {
        *self = Unsynced::default();
    }
}

/// The first page of the stream as far as it is used: the header's sector, then the entries.
fn encode(header: &[u8; HEADER_LEN], entries: &BTreeMap<u32, u32>) -> Vec<u8> {
    let list: Vec<u8> =
        entries.iter().flat_map(|(page, sum)| [page.to_le_bytes(), sum.to_le_bytes()].concat()).collect();
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let list_crc = if list.is_empty() { 0 } else { crc32(&[&list]) };
    let mut page = Vec::with_capacity(SECTOR_LEN + list.len());
    page.extend_from_slice(header);
    page.extend_from_slice(&count.to_le_bytes());
    page.extend_from_slice(&list_crc.to_le_bytes());
    page.resize(HEADER_CRC_OFFSET, 0);
    page.extend_from_slice(&page_sum(&page).to_le_bytes());
    page.extend_from_slice(&list);
    page
}

/// redb's header, from what begins with its sector, which must be whole.
fn header_of(head: &[u8]) -> io::Result<[u8; HEADER_LEN]> {
    let (covered, rest) = head.split_first_chunk::<HEADER_CRC_OFFSET>().ok_or(ErrorKind::InvalidData)?;
    let stored = u32_at(rest, 0).unwrap_or(0);
    if stored != page_sum(covered) && (stored != 0 || covered.iter().any(|&b| b != 0)) {
        return Err(corrupt(0, "checksum of the header differs".into()));
    }
    covered.first_chunk().copied().ok_or_else(|| ErrorKind::InvalidData.into())
}

/// The entries beside a header whose sector is whole; `None` if they are not whole themselves.
fn entries_of(page: &[u8; PAGE_LEN]) -> Option<Vec<(u64, u32)>> {
    let count = to_usize(u64::from(u32_at(page, MANIFEST_COUNT_OFFSET)?));
    let list = page.get(SECTOR_LEN..SECTOR_LEN + count.checked_mul(ENTRY_LEN)?)?;
    if count > 0 && u32_at(page, MANIFEST_CRC_OFFSET) != Some(crc32(&[list])) {
        return None;
    }
    list.chunks_exact(ENTRY_LEN)
        .map(|entry| Some((u64::from(u32_at(entry, 0)?), u32_at(entry, 4)?)))
        .collect()
}

impl Container {
    /// The beginning of the first page of the stream: all of it, or only the header's sector.
    fn head<const LEN: usize>(&self, map: &StreamMap) -> io::Result<[u8; LEN]> {
        let mut head = [0; LEN];
        if let Place::Mapped { physical, .. } = map.find(0) {
            self.read_raw(&mut head, physical * PAGE_BYTES)?;
        }
        Ok(head)
    }

    /// Reads redb's header and checks its sector.
    pub(super) fn read_header(&self, map: &StreamMap) -> io::Result<[u8; HEADER_LEN]> {
        header_of(&self.head::<SECTOR_LEN>(map)?)
    }

    /// Writes a part of redb's header, with the manifest of what was promised.
    pub(super) fn write_header(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = to_usize(offset);
        let mut header = *hold(&self.header);
        let target = header.get_mut(start..start + data.len()).ok_or(ErrorKind::InvalidInput)?;
        target.copy_from_slice(data);
        let mut state = hold(&self.state);
        let physical = self.ensure_mapped(&mut state, 0)?.start;
        let none = BTreeMap::new();
        let listed = state.unsynced.promised && self.sabotage != Sabotage::PublishWithoutManifest;
        let page = encode(&header, if listed { &state.unsynced.pages } else { &none });
        self.file.write_at(&page, physical * PAGE_BYTES)?;
        let before = std::mem::replace(&mut *hold(&self.header), header);
        state.unsynced.awaiting |= awaits_publication(&header) && header != before;
        Ok(())
    }

    /// Before redb reads the header of a file that was not closed: if a page of the last commit is not there, makes the
    /// header name the commit before.
    pub(super) fn withdraw_incomplete(&self, map: &StreamMap) -> io::Result<()> {
        let page = self.head(map)?;
        let header = header_of(&page)?;
        if self.role != Role::Writer || !is_unclean(&header) || self.is_complete(map, &page)? {
            return Ok(());
        }
        let Some(before) = withdrawn(&header) else { return Ok(()) };
        if let Place::Mapped { physical, .. } = map.find(0) {
            self.poisoning(self.file.write_at(&encode(&before, &BTreeMap::new()), physical * PAGE_BYTES))?;
        }
        Ok(())
    }

    fn is_complete(&self, map: &StreamMap, head: &[u8; PAGE_LEN]) -> io::Result<bool> {
        let Some(entries) = entries_of(head) else { return Ok(false) };
        for (page, sum) in entries {
            let mut bytes = [0; PAGE_LEN];
            if let Place::Mapped { physical, .. } = map.find(page) {
                self.read_raw(&mut bytes, physical * PAGE_BYTES)?;
            }
            if page_sum(&bytes) != sum || self.sum_in_file(map, page)? != sum {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes bytes of a blob. A commit that they are part of cannot be published with one sync.
    pub(super) fn write_blob(&self, data: &[u8], offset: u64, naming: Naming) -> io::Result<()> {
        match naming {
            Naming::InThisCommit => {
                hold(&self.state).unsynced.note_other();
                self.poisoning(self.file.write_at(data, offset))
            }
            Naming::AfterSync => self.file.write_at(data, offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_of(bytes: &[u8]) -> [u8; PAGE_LEN] {
        let mut page = [0; PAGE_LEN];
        page[..bytes.len()].copy_from_slice(bytes);
        page
    }

    #[test]
    fn what_is_written_is_read_or_refused() {
        let header = [7; HEADER_LEN];
        let entries: BTreeMap<u32, u32> = (0..20).map(|n| (3 * n, 1000 + n)).collect();
        let page = page_of(&encode(&header, &entries));
        assert_eq!(header_of(&page).unwrap(), header);
        let read = entries_of(&page).unwrap();
        assert!(read.into_iter().eq(entries.iter().map(|(&page, &sum)| (u64::from(page), sum))));
        for at in 0..SECTOR_LEN + 20 * ENTRY_LEN {
            let mut bad = page;
            bad[at] ^= 0x10;
            let entries_bad = at >= SECTOR_LEN && entries_of(&bad).is_none();
            assert!(header_of(&bad).is_err() != entries_bad, "byte {at}");
        }
        assert_eq!(header_of(&[0; PAGE_LEN]).unwrap(), [0; HEADER_LEN]);
        assert_eq!(entries_of(&[0; PAGE_LEN]).unwrap(), []);
        let mut absurd = page;
        absurd[MANIFEST_COUNT_OFFSET..MANIFEST_CRC_OFFSET].fill(0xff);
        assert_eq!(entries_of(&absurd), None);
    }

    #[test]
    fn a_manifest_holds_what_fits_a_page() {
        let mut unsynced = Unsynced::default();
        let most = u64::try_from(ENTRIES_MAX).unwrap();
        (0..most).for_each(|page| unsynced.note(page, 1));
        assert!(!unsynced.more && SECTOR_LEN + unsynced.pages.len() * ENTRY_LEN == PAGE_LEN);
        unsynced.note(5, 2);
        assert_eq!((unsynced.more, unsynced.pages.get(&5)), (false, Some(&2)));
        unsynced.note(most, 1);
        assert!(unsynced.more && unsynced.pages.is_empty());
        unsynced.clear();
        unsynced.note(1 << 32, 1);
        assert!(unsynced.more);
    }
}
