//! redb's storage: a thin stream of checksummed pages over the extents of the container.

use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};

use redb::{BackendError, StorageBackend};

use super::container::{Container, Role, Sabotage, State, hold};
use super::extents::Run;
use super::file::{LockKind, Wait};
use super::header::durable_transaction;
use super::layout::{PAGE_BYTES, PAGE_LEN, SUPERBLOCK_A_OFFSET, SUPERBLOCK_B_OFFSET};
use super::pages::{Place, SUMS_BASE, SUMS_PER_PAGE, StreamMap, WAL_BASE};
use super::superblock::{Features, Superblock};
use super::wal::WAL_PAGES;
use crate::checksum::crc32;
use crate::codec::{to_u64, to_usize, u32_at};
use crate::error::Error;

/// A page of checksums, as the writer keeps it.
pub(super) type SumPage = Vec<AtomicU32>;

/// Allocates the new place of a run; `None` when it stays.
pub(crate) type PlaceOf<'a> = &'a dyn Fn(Run) -> crate::error::Result<Option<Run>>;

/// The stream of one open file, as redb sees it.
#[derive(Debug)]
pub(crate) struct Stream(Arc<Container>);

impl Stream {
    /// The stream of `container`.
    pub(crate) fn new(container: &Arc<Container>) -> Self {
        Stream(Arc::clone(container))
    }
}

/// The checksum stored for a page; zero is kept for pages never written.
pub(super) fn page_sum(page: &[u8]) -> u32 {
    crc32(&[page]).max(1)
}

pub(super) fn corrupt(page: u64, detail: String) -> io::Error {
    io::Error::other(Error::corrupt(
        format!("page {page} of the catalog"),
        page.saturating_mul(PAGE_BYTES),
        detail,
    ))
}

impl Container {
    fn guard(&self) -> io::Result<()> {
        self.check_process().and_then(|()| self.check_poison()).map_err(io::Error::other)
    }

    /// Reads pages of the file; what lies past its end was never written and is zero.
    pub(super) fn read_raw(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        match self.file.read_at(out, offset) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                let there = to_usize(self.file.len()?.saturating_sub(offset)).min(out.len());
                let (there, past) = out.split_at_mut(there);
                past.fill(0);
                self.file.read_at(there, offset)
            }
            result => result,
        }
    }

    /// Reads whole pages and checks each.
    fn read_pages(&self, map: &StreamMap, first: u64, out: &mut [u8]) -> io::Result<()> {
        let mut page = first;
        let mut rest = &mut *out;
        while !rest.is_empty() {
            let wanted = to_u64(rest.len() / PAGE_LEN);
            let (left, physical) = match map.find(page) {
                Place::Mapped { physical, left } => (left, Some(physical)),
                Place::Hole { left } => (left, None),
            };
            let pages = left.min(wanted);
            let (chunk, after) = rest.split_at_mut(to_usize(pages) * PAGE_LEN);
            match physical {
                Some(physical) => self.read_raw(chunk, physical * PAGE_BYTES)?,
                None => chunk.fill(0),
            }
            (page, rest) = (page + pages, after);
        }
        for (n, bytes) in out.chunks_exact(PAGE_LEN).enumerate() {
            self.verify(map, first + to_u64(n), bytes)?;
        }
        Ok(())
    }

    fn verify(&self, map: &StreamMap, page: u64, bytes: &[u8]) -> io::Result<()> {
        let stored = self.stored_sum(map, page)?;
        let intact = if stored == 0 { bytes.iter().all(|&b| b == 0) } else { stored == page_sum(bytes) };
        if intact {
            return Ok(());
        }
        Err(corrupt(page, format!("checksum {stored:#010x} expected, {:#010x} found", page_sum(bytes))))
    }

    /// The checksum of a page: the writer keeps them in memory, a follower asks the file each time.
    fn stored_sum(&self, map: &StreamMap, page: u64) -> io::Result<u32> {
        let (sum_page, slot) = (page / SUMS_PER_PAGE, page % SUMS_PER_PAGE);
        if self.role == Role::Writer {
            return Ok(self
                .sum_page(map, sum_page)?
                .get(to_usize(slot))
                .map_or(0, |sum| sum.load(Ordering::Acquire)));
        }
        self.sum_in_file(map, page)
    }

    /// The checksum of a page as the file has it.
    pub(super) fn sum_in_file(&self, map: &StreamMap, page: u64) -> io::Result<u32> {
        let mut bytes = [0; 4];
        if let Place::Mapped { physical, .. } = map.find(SUMS_BASE + page / SUMS_PER_PAGE) {
            self.read_raw(&mut bytes, physical * PAGE_BYTES + page % SUMS_PER_PAGE * 4)?;
        }
        Ok(u32::from_le_bytes(bytes))
    }

    fn sum_page(&self, map: &StreamMap, sum_page: u64) -> io::Result<Arc<SumPage>> {
        if let Some(page) = self.sums.read().unwrap_or_else(PoisonError::into_inner).get(&sum_page) {
            return Ok(Arc::clone(page));
        }
        let mut bytes = [0; PAGE_LEN];
        if let Place::Mapped { physical, .. } = map.find(SUMS_BASE + sum_page) {
            self.read_raw(&mut bytes, physical * PAGE_BYTES)?;
        }
        let numbers = bytes.chunks_exact(4).map(|c| AtomicU32::new(u32_at(c, 0).unwrap_or(0))).collect();
        let mut sums = self.sums.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(sums.entry(sum_page).or_insert_with(|| Arc::new(numbers))))
    }

    fn set_sum(&self, state: &mut State, map: &StreamMap, page: u64, sum: u32) -> io::Result<()> {
        let sum_page = page / SUMS_PER_PAGE;
        if let Some(slot) = self.sum_page(map, sum_page)?.get(to_usize(page % SUMS_PER_PAGE)) {
            slot.store(sum, Ordering::Release);
        }
        state.dirty_sums.insert(sum_page);
        Ok(())
    }

    /// Where a stream page is, after giving it a place if it had none. Pages of a new extent read as zeros.
    pub(super) fn ensure_mapped(&self, state: &mut State, page: u64) -> io::Result<Run> {
        let map = self.map()?;
        match map.find(page) {
            Place::Mapped { physical, left } => Ok(Run { start: physical, pages: left }),
            Place::Hole { .. } => {
                let window = map.window(page);
                let run = state.space.allocate(window.pages).map_err(io::Error::other)?;
                self.zero(run)?;
                let mut next = (*map).clone();
                next.insert(window.start, run);
                if next.extents().len() > super::superblock::EXTENTS_MAX {
                    let found = to_u64(next.extents().len());
                    let max = to_u64(super::superblock::EXTENTS_MAX);
                    let what = "number of stream extents".into();
                    return Err(io::Error::other(Error::Limit { what, found, max }));
                }
                self.set_map(next);
                state.dirty = true;
                Ok(Run { start: run.start + (page - window.start), pages: window.end() - page })
            }
        }
    }

    /// Maps the pages of the write-ahead log, in one run, if they are not yet.
    pub(super) fn map_wal(&self) -> io::Result<()> {
        let mut state = hold(&self.state);
        let map = self.map()?;
        if matches!(map.find(WAL_BASE), Place::Mapped { .. }) {
            return Ok(());
        }
        let run = state.space.allocate(WAL_PAGES).map_err(io::Error::other)?;
        self.zero(run)?;
        let mut next = (*map).clone();
        next.insert(WAL_BASE, run);
        self.set_map(next);
        state.features.incompatible |= Features::WAL;
        state.dirty = true;
        Ok(())
    }

    /// Zeroes a run: it may have held something. Past the end of the file, too, so that later commits overwrite blocks
    /// that the file system has allocated, and their syncs need not wait for its journal.
    fn zero(&self, run: Run) -> io::Result<()> {
        let zeros = vec![0; PAGE_LEN * to_usize(run.pages.min(256))];
        let (mut offset, end) = (run.start * PAGE_BYTES, run.end() * PAGE_BYTES);
        while offset < end {
            let n = to_u64(zeros.len()).min(end - offset);
            self.file.write_at(zeros.get(..to_usize(n)).unwrap_or_default(), offset)?;
            offset += n;
        }
        Ok(())
    }

    fn write_pages(&self, first: u64, data: &[u8]) -> io::Result<()> {
        let mut state = hold(&self.state);
        let (mut page, mut rest) = (first, data);
        while !rest.is_empty() {
            let place = self.ensure_mapped(&mut state, page)?;
            let pages = place.pages.min(to_u64(rest.len() / PAGE_LEN));
            let (chunk, after) = rest.split_at(to_usize(pages) * PAGE_LEN);
            self.file.write_at(chunk, place.start * PAGE_BYTES)?;
            let map = self.map()?;
            for (n, bytes) in chunk.chunks_exact(PAGE_LEN).enumerate() {
                let (page, sum) = (page + to_u64(n), page_sum(bytes));
                self.set_sum(&mut state, &map, page, sum)?;
                state.unsynced.note(page, sum);
            }
            (page, rest) = (page + pages, after);
        }
        Ok(())
    }

    fn write_sums(&self, state: &mut State) -> io::Result<()> {
        for sum_page in std::mem::take(&mut state.dirty_sums) {
            let place = self.ensure_mapped(state, SUMS_BASE + sum_page)?;
            let map = self.map()?;
            let sums = self.sum_page(&map, sum_page)?;
            let bytes: Vec<u8> = sums.iter().flat_map(|n| n.load(Ordering::Acquire).to_le_bytes()).collect();
            self.file.write_at(&bytes, place.start * PAGE_BYTES)?;
        }
        Ok(())
    }

    /// Does what redb's sync asks for: at once, or by a promise that the header will keep.
    fn sync_commit(&self) -> io::Result<()> {
        let mut state = hold(&self.state);
        self.write_sums(&mut state)?;
        if !state.dirty && state.unsynced.promise() { Ok(()) } else { self.sync_all(&mut state) }
    }

    /// Writes what the stream consists of besides its pages, then makes everything durable with one sync.
    fn sync_stream(&self) -> io::Result<()> {
        let mut state = hold(&self.state);
        self.write_sums(&mut state)?;
        self.sync_all(&mut state)
    }

    fn sync_all(&self, state: &mut State) -> io::Result<()> {
        if state.dirty && self.sabotage != Sabotage::MapAfterSync {
            self.write_superblock(state)?;
        }
        self.sync_file()?;
        state.unsynced.clear();
        if state.dirty && self.sabotage == Sabotage::MapAfterSync {
            self.write_superblock(state)?;
        }
        if state.dirty {
            state.dirty = false;
            // A reader may hold the old map until it has announced a transaction; the next commit waits for that.
            let after = self.committed().saturating_add(1);
            for run in std::mem::take(&mut state.unmapped) {
                state.space.release_after(run, after);
            }
        }
        Ok(())
    }

    fn sync_file(&self) -> io::Result<()> {
        if self.sync { self.file.sync() } else { Ok(()) }
    }

    /// Makes blobs durable that were written to be named by a later commit. The sync may cover what a commit in the making
    /// has written: whatever fails of that is no longer reported to it, so that a failure poisons.
    pub(crate) fn sync_blobs(&self) -> Result<(), Error> {
        self.check_poison()?;
        self.poisoning(self.sync_file()).map_err(self.io("sync"))
    }

    /// Writes the slot that the newest superblock is not in.
    fn write_superblock(&self, state: &mut State) -> io::Result<()> {
        let map = self.map()?;
        let block = Superblock {
            generation: state.generation + 1,
            uuid: self.preamble.uuid,
            stream_len: map.len,
            txn_floor: durable_transaction(&*hold(&self.header)).unwrap_or(0),
            features: state.features,
            extents: map.extents(),
        };
        let offset =
            if block.generation.is_multiple_of(2) { SUPERBLOCK_A_OFFSET } else { SUPERBLOCK_B_OFFSET };
        self.file.write_at(&block.encode().map_err(io::Error::other)?, offset)?;
        state.generation = block.generation;
        Ok(())
    }

    fn resize(&self, len: u64) -> io::Result<()> {
        let mut state = hold(&self.state);
        let map = self.map()?;
        if len == map.len {
            return Ok(());
        }
        let mut next = (*map).clone();
        next.len = len;
        let from = len.div_ceil(PAGE_BYTES);
        for page in from..map.len.div_ceil(PAGE_BYTES) {
            match map.find(page) {
                Place::Mapped { .. } => self.set_sum(&mut state, &map, page, 0)?,
                Place::Hole { left } if page + left >= map.len.div_ceil(PAGE_BYTES) => break,
                Place::Hole { .. } => {}
            }
        }
        state.unmapped.extend(next.cut(from));
        state.dirty = true;
        self.set_map(next);
        Ok(())
    }

    /// Moves extents of the stream to where `place` says: copied and synced before the map that says so is written.
    /// The old pages become free after the next commit. Returns how many moved.
    pub(crate) fn move_extents(&self, place: PlaceOf<'_>) -> Result<usize, Error> {
        self.check_poison()?;
        self.poisoning(self.relocate_extents(place)).map_err(self.io("move extents of"))
    }

    fn relocate_extents(&self, place: PlaceOf<'_>) -> io::Result<usize> {
        let map = self.map()?;
        let mut next = (*map).clone();
        let mut moved = Vec::new();
        for extent in map.extents() {
            let old = Run { start: u64::from(extent.physical), pages: u64::from(extent.pages) };
            // Logical page 0 stays where it is: followers find redb's header there whatever map they hold.
            if extent.logical == 0 {
                continue;
            }
            let Some(new) = place(old).map_err(io::Error::other)? else { continue };
            let mut buffer = vec![0; PAGE_LEN * to_usize(old.pages)];
            self.read_raw(&mut buffer, old.start * PAGE_BYTES)?;
            self.file.write_at(&buffer, new.start * PAGE_BYTES)?;
            next.relocate(u64::from(extent.logical), new.start);
            moved.push(old);
        }
        if moved.is_empty() {
            return Ok(0);
        }
        if self.sabotage != Sabotage::MoveWithOneSync {
            self.sync_file()?;
        }
        self.set_map(next);
        let count = moved.len();
        {
            let mut state = hold(&self.state);
            state.unmapped.extend(moved);
            state.dirty = true;
        }
        self.sync_stream()?;
        Ok(count)
    }
}

impl StorageBackend for Stream {
    fn len(&self) -> io::Result<u64> {
        self.0.check_process().map_err(io::Error::other)?;
        let map = if self.0.role == Role::Follower {
            self.0.follow().map_err(io::Error::other)?
        } else {
            self.0.map()?
        };
        Ok(map.len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.check_process().map_err(io::Error::other)?;
        let map = self.0.map()?;
        let end = offset.checked_add(to_u64(out.len())).ok_or(ErrorKind::InvalidInput)?;
        if offset < PAGE_BYTES {
            // redb reads its header under a lock that every commit waits for: a map read now fits that header.
            let header = self.0.read_header(&map)?;
            *hold(&self.0.header) = header;
            if self.0.role == Role::Follower {
                self.0.follow().map_err(io::Error::other)?;
            }
            let part = header.get(to_usize(offset)..to_usize(end)).ok_or(ErrorKind::InvalidInput)?;
            out.copy_from_slice(part);
            return Ok(());
        }
        if end > map.len {
            let detail = format!("{end} bytes expected, {} in the stream", map.len);
            return Err(corrupt(offset / PAGE_BYTES, detail));
        }
        let (first, last) = (offset / PAGE_BYTES, end.div_ceil(PAGE_BYTES));
        if offset.is_multiple_of(PAGE_BYTES) && end.is_multiple_of(PAGE_BYTES) {
            return self.0.read_pages(&map, first, out);
        }
        let mut pages = vec![0; to_usize(last - first) * PAGE_LEN];
        self.0.read_pages(&map, first, &mut pages)?;
        let skip = to_usize(offset - first * PAGE_BYTES);
        out.copy_from_slice(pages.get(skip..skip + out.len()).ok_or(ErrorKind::InvalidInput)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.guard()?;
        self.0.poisoning(self.0.resize(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.guard()?;
        self.0.poisoning(self.0.sync_commit())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.guard()?;
        if offset < PAGE_BYTES {
            return self.0.poisoning(self.0.write_header(offset, data));
        }
        if !offset.is_multiple_of(PAGE_BYTES) || !data.len().is_multiple_of(PAGE_LEN) {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.0.poisoning(self.0.write_pages(offset / PAGE_BYTES, data))
    }

    fn close(&self) -> io::Result<()> {
        // In a forked child the locks are the parent's.
        if !self.0.is_ours() {
            return Ok(());
        }
        super::lock::clear_notice(&self.0);
        self.0.file.release_locks()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.guard()?;
        Ok(self.0.file.lock((start, end), LockKind::Exclusive, Wait::No)?)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.guard()?;
        Ok(self.0.file.lock((start, end), LockKind::Shared, Wait::No)?)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.guard()?;
        self.0.file.lock((start, end), LockKind::Exclusive, Wait::Yes)?;
        Ok(())
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.guard()?;
        self.0.file.lock((start, end), LockKind::Shared, Wait::Yes)?;
        Ok(())
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.check_process().map_err(io::Error::other)?;
        Ok(self.0.file.unlock((start, end))?)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.guard()?;
        Ok(self.0.file.locked_elsewhere((start, end))?)
    }
}
