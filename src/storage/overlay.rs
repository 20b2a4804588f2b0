//! A file that takes writes into memory, so that a reader can recover what it may not write.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::file::RawFile;
use super::layout::{PAGE_BYTES, PAGE_LEN};
use super::map::Bytes;
use crate::codec::{to_u64, to_usize};

/// The file below, and the pages that differ from it. What is written here is gone with the handle.
#[derive(Debug)]
pub(super) struct Overlay {
    below: Box<dyn RawFile>,
    state: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    len: u64,
    pages: HashMap<u64, Vec<u8>>,
}

impl Overlay {
    pub(super) fn new(below: Box<dyn RawFile>) -> io::Result<Self> {
        let len = below.len()?;
        Ok(Overlay { below, state: Mutex::new(Written { len, pages: HashMap::new() }) })
    }

    fn state(&self) -> MutexGuard<'_, Written> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of a page as the file below has them, zero past its end.
    fn page_below(&self, page: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; PAGE_LEN];
        let there = to_usize(self.below.len()?.saturating_sub(page * PAGE_BYTES)).min(PAGE_LEN);
        self.below.read_at(bytes.get_mut(..there).unwrap_or_default(), page * PAGE_BYTES)?;
        Ok(bytes)
    }
}

/// Cuts `len` bytes at `offset` at page borders: page, place in it, place in the buffer, length.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + to_u64(done);
        let within = to_usize(at % PAGE_BYTES);
        let n = (PAGE_LEN - within).min(len - done);
        let piece = (at / PAGE_BYTES, within, done, n);
        done += n;
        (n > 0).then_some(piece)
    })
}

impl RawFile for Overlay {
    #[expect(clippy::indexing_slicing, reason = "pieces lie within the page and the buffer")]
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.state();
        if offset.checked_add(to_u64(out.len())).is_none_or(|end| end > state.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, within, at, n) in pieces(offset, out.len()) {
            let bytes = match state.pages.get(&page) {
                Some(bytes) => bytes.clone(),
                None => self.page_below(page)?,
            };
            out[at..at + n].copy_from_slice(&bytes[within..within + n]);
        }
        Ok(())
    }

    #[expect(clippy::indexing_slicing, reason = "pieces lie within the page and the buffer")]
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state();
        for (page, within, at, n) in pieces(offset, data.len()) {
            let mut bytes = match state.pages.remove(&page) {
                Some(bytes) => bytes,
                None => self.page_below(page)?,
            };
            bytes[within..within + n].copy_from_slice(&data[at..at + n]);
            state.pages.insert(page, bytes);
        }
        state.len = state.len.max(offset + to_u64(data.len()));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state().len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.pages.retain(|&page, _| page < len.div_ceil(PAGE_BYTES));
        state.len = len;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.below.map(offset, len)
    }

    fn release_locks(&self) -> io::Result<()> {
        self.below.release_locks()
    }

    fn identity(&self) -> io::Result<Option<(u64, u64)>> {
        self.below.identity()
    }
}
