//! Immutable blobs: written once, checksummed, then mapped.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::container::Container;
use super::extents::Run;
use super::layout::PAGE_BYTES;
use super::map::Bytes;
use crate::checksum::crc32;
use crate::codec::{Reader, to_u64, to_usize};
use crate::error::{Error, Result};

/// The unit of checksums within a blob, in bytes.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// What the catalog says of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlobRecord {
    /// The first page in the file.
    pub(crate) start: u64,
    /// The length in bytes; the last page is filled with zeros.
    pub(crate) len: u64,
    /// The checksum over everything.
    pub(crate) crc: u32,
    /// The checksum of each [`CHUNK_BYTES`].
    pub(crate) chunk_crcs: Vec<u32>,
}

impl BlobRecord {
    /// The pages that it occupies.
    pub(crate) fn run(&self) -> Run {
        Run { start: self.start, pages: self.len.div_ceil(PAGE_BYTES) }
    }

    /// As stored.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(20 + 4 * self.chunk_crcs.len());
        out.extend_from_slice(&self.start.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
        for crc in &self.chunk_crcs {
            out.extend_from_slice(&crc.to_le_bytes());
        }
        out
    }

    /// Reads what [`BlobRecord::encode`] made.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new("blob record", bytes);
        let (start, len, crc) = (reader.u64()?, reader.u64()?, reader.u32()?);
        let chunks = len.div_ceil(to_u64(CHUNK_BYTES));
        if to_u64(bytes.len()) != chunks.saturating_mul(4).saturating_add(20) || len == 0 {
            let detail = format!("{chunks} chunk checksums expected, {} bytes found", bytes.len());
            return Err(Error::corrupt("blob record", 20, detail));
        }
        let chunk_crcs = (0..chunks).map(|_| reader.u32()).collect::<Result<_>>()?;
        Ok(BlobRecord { start, len, crc, chunk_crcs })
    }
}

/// How a blob comes to be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// By the commit that is being made, whose sync covers the blob. A failed write must fail that commit.
    InThisCommit,
    /// By a later commit, after [`Container::sync_blobs`]. A failed write harms nobody.
    AfterSync,
}

/// Blobs that no commit names yet: their pages are given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Unnamed {
    container: Arc<Container>,
    runs: Vec<Run>,
}

impl Unnamed {
    /// None so far.
    pub(crate) fn new(container: &Arc<Container>) -> Self {
        Unnamed { container: Arc::clone(container), runs: Vec::new() }
    }

    /// Takes charge of another blob.
    pub(crate) fn add(&mut self, record: &BlobRecord) {
        self.runs.push(record.run());
    }

    /// Lets go of all, for a commit is about to name them. Should it fail, nobody knows whether it does: their pages must
    /// not be used again by this handle.
    pub(crate) fn name(mut self) {
        self.runs.clear();
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        for run in self.runs.drain(..) {
            self.container.release(run);
        }
    }
}

/// Writes one blob, front to back, into pages reserved for it.
#[derive(Debug)]
pub(crate) struct BlobWriter {
    container: Arc<Container>,
    naming: Naming,
    reserved: Run,
    written: u64,
    buffer: Vec<u8>,
    total: crc32fast::Hasher,
    chunk_crcs: Vec<u32>,
}

impl BlobWriter {
    /// The most memory that a writer takes: a chunk with its padding, and four bytes for each of a hundred thousand.
    pub(crate) const MEMORY: usize = CHUNK_BYTES + (512 << 10);

    /// Reserves room for at most `max_bytes`; what is not used is given back at the end.
    pub(crate) fn new(container: &Arc<Container>, max_bytes: u64, naming: Naming) -> Result<Self> {
        BlobWriter::within(container, max_bytes, max_bytes, naming)
    }

    /// Reserves room for `most` bytes, or, where free pages are between, for fewer: for `least` at any rate.
    pub(crate) fn within(container: &Arc<Container>, least: u64, most: u64, naming: Naming) -> Result<Self> {
        container.check_poison()?;
        let pages = |bytes: u64| bytes.div_ceil(PAGE_BYTES).max(1);
        let reserved = container.allocate(pages(least), pages(most))?;
        Ok(BlobWriter {
            container: Arc::clone(container),
            naming,
            reserved,
            written: 0,
            buffer: Vec::with_capacity(CHUNK_BYTES),
            total: crc32fast::Hasher::new(),
            chunk_crcs: Vec::new(),
        })
    }

    /// The bytes that there is room for.
    pub(crate) fn room(&self) -> u64 {
        self.reserved.pages * PAGE_BYTES
    }

    /// The bytes appended so far.
    pub(crate) fn len(&self) -> u64 {
        self.written + to_u64(self.buffer.len())
    }

    /// Appends `data`.
    ///
    /// # Errors
    /// `Limit` past the reservation; `Io` when writing fails, after which the container is poisoned if the blob was to be
    /// named in this commit.
    pub(crate) fn write(&mut self, mut data: &[u8]) -> Result<()> {
        let max = self.room();
        let found = self.len() + to_u64(data.len());
        if found > max {
            return Err(Error::Limit { what: "blob length in bytes".into(), found, max });
        }
        while !data.is_empty() {
            let (now, later) = data.split_at(data.len().min(CHUNK_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            data = later;
            if self.buffer.len() == CHUNK_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Appends zeros up to a multiple of `alignment`.
    pub(crate) fn align(&mut self, alignment: u64) -> Result<()> {
        let gap = self.len().next_multiple_of(alignment) - self.len();
        self.write(&vec![0; to_usize(gap)])
    }

    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.chunk_crcs.push(crc32(&[&self.buffer]));
        self.total.update(&self.buffer);
        let len = to_u64(self.buffer.len());
        let padded = to_usize(len.next_multiple_of(PAGE_BYTES));
        self.buffer.resize(padded, 0);
        let offset = self.reserved.start * PAGE_BYTES + self.written;
        self.container.write_blob(&self.buffer, offset, self.naming).map_err(self.container.io("write"))?;
        self.written += len;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the rest. The blob exists for others once a durable commit has named it; until then whoever holds the
    /// record must [`Container::release`] its run if it is not to be named.
    pub(crate) fn finish(mut self) -> Result<BlobRecord> {
        self.flush()?;
        let total = std::mem::take(&mut self.total).finalize();
        let chunk_crcs = std::mem::take(&mut self.chunk_crcs);
        let record = BlobRecord { start: self.reserved.start, len: self.written, crc: total, chunk_crcs };
        // What `drop` gives back is now only the tail.
        let used = record.run().pages;
        self.reserved = Run { start: self.reserved.start + used, pages: self.reserved.pages - used };
        Ok(record)
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        self.container.release(self.reserved);
    }
}

/// A blob that is written in any order, parts of which may be read meanwhile.
#[derive(Debug)]
pub(crate) struct BlobDraft {
    container: Arc<Container>,
    naming: Naming,
    reserved: Run,
    len: u64,
}

impl BlobDraft {
    /// Reserves room for `len` bytes, which must all be written before [`BlobDraft::finish`].
    pub(crate) fn new(container: &Arc<Container>, len: u64, naming: Naming) -> Result<Self> {
        container.check_poison()?;
        let pages = len.div_ceil(PAGE_BYTES).max(1);
        let reserved = container.allocate(pages, pages)?;
        Ok(BlobDraft { container: Arc::clone(container), naming, reserved, len })
    }

    /// Writes `data` at an offset. Threads may do so at once, each at another place.
    ///
    /// # Errors
    /// `Limit` past the end; `Io` when writing fails, as [`BlobWriter::write`].
    pub(crate) fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        let (found, max) = (offset.saturating_add(to_u64(data.len())), self.len);
        if found > max {
            return Err(Error::Limit { what: "blob length in bytes".into(), found, max });
        }
        self.write(data, offset)
    }

    fn write(&self, data: &[u8], offset: u64) -> Result<()> {
        let at = self.reserved.start * PAGE_BYTES + offset;
        self.container.write_blob(data, at, self.naming).map_err(self.container.io("write"))
    }

    /// Maps bytes that were written. The range begins at a page; while the map is held nothing of it is written.
    pub(crate) fn map(&self, range: Range<u64>) -> Result<Bytes> {
        let at = self.reserved.start * PAGE_BYTES + range.start;
        let len = to_usize(range.end.min(self.len).saturating_sub(range.start));
        self.container.file.map(at, len).map_err(self.container.io("map"))
    }

    /// Reads everything for its checksums. As durable, and to be released, as [`BlobWriter::finish`] says.
    pub(crate) fn finish(mut self) -> Result<BlobRecord> {
        let padded = self.reserved.pages * PAGE_BYTES;
        self.write(&vec![0; to_usize(padded - self.len)], self.len)?;
        let (mut total, mut chunk_crcs) = (crc32fast::Hasher::new(), Vec::new());
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut done = 0;
        while done < self.len {
            let n = to_usize(self.len - done).min(CHUNK_BYTES);
            buffer.truncate(n);
            let at = self.reserved.start * PAGE_BYTES + done;
            self.container.file.read_at(&mut buffer, at).map_err(self.container.io("read"))?;
            chunk_crcs.push(crc32(&[&buffer]));
            total.update(&buffer);
            done += to_u64(n);
        }
        let record =
            BlobRecord { start: self.reserved.start, len: self.len, crc: total.finalize(), chunk_crcs };
        // Whoever has the record has the pages.
        self.reserved.pages = 0;
        Ok(record)
    }
}

impl Drop for BlobDraft {
    fn drop(&mut self) {
        if self.reserved.pages > 0 {
            self.container.release(self.reserved);
        }
    }
}

/// A mapped blob. It may be read only while a snapshot whose catalog names it is alive.
#[derive(Debug)]
pub(crate) struct Blob {
    bytes: Arc<Bytes>,
    record: BlobRecord,
    name: String,
    /// One bit a chunk: its checksum was found right.
    verified: Vec<AtomicU64>,
}

impl Blob {
    /// Maps the blob that `record` describes; nothing is read. `name` is for errors.
    pub(crate) fn open(container: &Container, record: BlobRecord, name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        container.check_process()?;
        let (offset, len) = (record.start.saturating_mul(PAGE_BYTES), record.len);
        let file_len = container.file.len().map_err(container.io("read"))?;
        if offset.checked_add(len).is_none_or(|end| end > file_len) {
            let detail = format!("{len} bytes expected here, the file ends at byte {file_len}");
            return Err(Error::corrupt(name, offset, detail));
        }
        let bytes = Arc::new(container.file.map(offset, to_usize(len)).map_err(container.io("map"))?);
        let words = record.chunk_crcs.len().div_ceil(64);
        Ok(Blob { bytes, record, name, verified: (0..words).map(|_| AtomicU64::new(0)).collect() })
    }

    /// What the catalog said of it.
    pub(crate) fn record(&self) -> &BlobRecord {
        &self.record
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Its bytes, without a look at any checksum: for those who keep them, and check otherwise what they read, or only read
    /// what [`Blob::bytes`] has verified.
    pub(crate) fn shared(&self) -> Arc<Bytes> {
        Arc::clone(&self.bytes)
    }

    /// Its bytes, without a look at any checksum: for what is then read only where [`Blob::bytes`] has verified it.
    pub(crate) fn unverified(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of a range, with the chunks that it touches verified; each is verified once.
    pub(crate) fn bytes(&self, range: Range<usize>) -> Result<&[u8]> {
        let found = self.bytes.len();
        let slice = self.bytes.get(range.clone()).ok_or_else(|| {
            Error::corrupt(
                &*self.name,
                to_u64(range.start),
                format!("{} bytes expected, {found} found", range.end),
            )
        })?;
        if !slice.is_empty() {
            for chunk in range.start / CHUNK_BYTES..range.end.div_ceil(CHUNK_BYTES) {
                self.verify(chunk)?;
            }
        }
        Ok(slice)
    }

    fn verify(&self, chunk: usize) -> Result<()> {
        let Some(word) = self.verified.get(chunk / 64) else { return self.check_chunk(chunk) };
        let bit = 1_u64 << (chunk % 64);
        if word.load(Ordering::Relaxed) & bit != 0 {
            return Ok(());
        }
        self.check_chunk(chunk)?;
        word.fetch_or(bit, Ordering::Relaxed);
        Ok(())
    }

    fn check_chunk(&self, chunk: usize) -> Result<()> {
        let range = chunk * CHUNK_BYTES..((chunk + 1) * CHUNK_BYTES).min(self.bytes.len());
        let (Some(&stored), Some(bytes)) = (self.record.chunk_crcs.get(chunk), self.bytes.get(range.clone()))
        else {
            return Err(Error::corrupt(
                &*self.name,
                to_u64(range.start),
                format!("chunk {chunk} does not exist"),
            ));
        };
        let computed = crc32(&[bytes]);
        if stored == computed {
            return Ok(());
        }
        let offset = self.record.start * PAGE_BYTES + to_u64(range.start);
        let detail = format!("checksum {stored:#010x} expected, {computed:#010x} found");
        Err(Error::corrupt(&*self.name, offset, detail))
    }

    /// Reads and verifies everything, whether verified before or not.
    pub(crate) fn check(&self) -> Result<()> {
        for chunk in 0..self.record.chunk_crcs.len() {
            self.check_chunk(chunk)?;
        }
        let computed = crc32(&[&self.bytes]);
        if self.record.crc != computed {
            let detail =
                format!("checksum {:#010x} expected over all, {computed:#010x} found", self.record.crc);
            return Err(Error::corrupt(&*self.name, self.record.start * PAGE_BYTES, detail));
        }
        Ok(())
    }
}

impl Container {
    /// Copies a blob's pages to `to`, for compaction; the copy is as durable as the next sync makes it.
    pub(crate) fn copy_blob(&self, record: &BlobRecord, to: Run) -> Result<BlobRecord> {
        self.check_poison()?;
        let run = record.run();
        let mut buffer = vec![0; CHUNK_BYTES];
        let (mut done, len) = (0, run.pages * PAGE_BYTES);
        let copy = |at: u64, n: usize, buffer: &mut [u8]| -> io::Result<()> {
            let buffer = buffer.get_mut(..n).ok_or(io::ErrorKind::InvalidInput)?;
            self.file.read_at(buffer, run.start * PAGE_BYTES + at)?;
            self.write_blob(buffer, to.start * PAGE_BYTES + at, Naming::InThisCommit)
        };
        while done < len {
            let n = to_usize(len - done).min(CHUNK_BYTES);
            copy(done, n, &mut buffer).map_err(self.io("copy a blob of"))?;
            done += to_u64(n);
        }
        Ok(BlobRecord { start: to.start, ..record.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_and_wrong_lengths_are_refused() {
        let record = BlobRecord { start: 99, len: 3 << 20, crc: 5, chunk_crcs: vec![1, 2, 3] };
        let bytes = record.encode();
        assert_eq!(BlobRecord::decode(&bytes).unwrap(), record);
        assert!(BlobRecord::decode(&bytes[..bytes.len() - 1]).is_err());
        let mut huge = bytes;
        huge[8..16].fill(0xff);
        assert!(BlobRecord::decode(&huge).is_err());
    }
}
