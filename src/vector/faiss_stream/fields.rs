//! Reads the fields of a stream of FAISS, each bounded before it is read.
#![deny(clippy::indexing_slicing)]

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{CHUNK_BYTES, StreamMetric, widen};
use crate::error::{Error, Result};
use crate::limits::DIM_MAX;

/// The fields of an index header that mean something.
#[derive(Clone, Copy, Debug)]
pub(super) struct IndexHeader {
    pub(super) name: [u8; 4],
    pub(super) dim: usize,
    pub(super) rows: u64,
    pub(super) metric: StreamMetric,
}

/// The input, with the offset that errors name.
pub(super) struct Fields<R> {
    input: R,
    path: PathBuf,
    offset: u64,
    len: u64,
    bytes: Vec<u8>,
}

impl<R: Read> Fields<R> {
    /// Begins at the start of a stream of exactly `len` bytes. `path` names it in errors.
    pub(super) fn new(input: R, len: u64, path: &Path) -> Self {
        Fields { input, path: path.to_owned(), offset: 0, len, bytes: Vec::new() }
    }

    /// The bytes that are left.
    pub(super) fn left(&self) -> u64 {
        self.len.saturating_sub(self.offset)
    }

    pub(super) fn u64(&mut self, field: &str) -> Result<u64> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(super) fn i32(&mut self, field: &str) -> Result<i32> {
        self.array(field).map(i32::from_le_bytes)
    }

    /// Reads `count` items of `N` bytes, in pieces of [`CHUNK_BYTES`], and gives each to `visit`.
    pub(super) fn items<const N: usize>(
        &mut self,
        field: &str,
        count: u64,
        mut visit: impl FnMut([u8; N]),
    ) -> Result<()> {
        let needed = count.saturating_mul(widen(N));
        if needed > self.left() {
            let left = self.left();
            return Err(self.corrupt(format!("{field} needs {needed} bytes, the file has {left} left")));
        }
        let mut left = count;
        while left > 0 {
            let now = super::at_most(CHUNK_BYTES / N, left);
            let bytes = self.take(field, now * N)?;
            bytes.as_chunks().0.iter().copied().for_each(&mut visit);
            left -= widen(now);
        }
        Ok(())
    }

    /// Reads an array of `count` items of `N` bytes, before which its length stands, and forgets it.
    pub(super) fn skip_array<const N: usize>(&mut self, field: &str, count: Option<u64>) -> Result<u64> {
        let found = self.u64(field)?;
        if let Some(count) = count {
            self.expect(&format!("number of {field}"), found, count)?;
        }
        self.items::<N>(field, found, |_| ())?;
        Ok(found)
    }

    /// Reads the next `count` bytes, which the caller has bounded.
    pub(super) fn take(&mut self, field: &str, count: usize) -> Result<&[u8]> {
        let left = self.len.saturating_sub(self.offset);
        if widen(count) > left {
            return Err(self.corrupt(format!("{field} needs {count} bytes, the file has {left} left")));
        }
        self.bytes.resize(count, 0);
        match self.input.read_exact(&mut self.bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(self.corrupt(format!("{field} needs {count} bytes, the file ended early")));
            }
            Err(source) => return Err(Error::Io { op: "read", path: self.path.clone(), source }),
        }
        self.offset = self.offset.saturating_add(widen(count));
        Ok(&self.bytes)
    }

    pub(super) fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }

    /// Checks that the input is at its end.
    pub(super) fn end(&mut self) -> Result<()> {
        self.expect("end of the index", self.offset, self.len)?;
        let mut probe = [0];
        match self.input.read(&mut probe) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.corrupt("the file goes on after the end of the index".into())),
            Err(source) => Err(Error::Io { op: "read", path: self.path.clone(), source }),
        }
    }

    pub(super) fn index_header(&mut self, index: &str) -> Result<IndexHeader> {
        let name = self.array(&format!("name of the {index}"))?;
        let dim = i32::from_le_bytes(self.array("dimension")?);
        let rows = i64::from_le_bytes(self.array("number of vectors")?);
        self.take("unused fields", 16)?;
        let [trained] = self.array("trained mark")?;
        let metric = i32::from_le_bytes(self.array("metric")?);

        super::kinds::require_known(name)?;
        self.expect("trained mark", trained, 1)?;
        let dim = match usize::try_from(dim) {
            Ok(dim) if dim > 0 => dim,
            _ => return Err(self.corrupt(format!("dimension is {dim}, expected at least 1"))),
        };
        if dim > DIM_MAX {
            let found = widen(dim);
            let max = widen(DIM_MAX);
            return Err(Error::Limit { what: format!("dimension of {}", self.path.display()), found, max });
        }
        let Ok(rows) = u64::try_from(rows) else {
            return Err(self.corrupt(format!("number of vectors is {rows}, expected at least 0")));
        };
        let metric =
            StreamMetric::ALL.into_iter().find(|known| known.number() == metric).ok_or_else(|| {
                Error::Unavailable {
                    feature: "import of this FAISS index",
                    reason: format!(
                        "its metric is number {metric}, expected 0 (inner product) or 1 (squared L2)"
                    ),
                }
            })?;
        Ok(IndexHeader { name, dim, rows, metric })
    }

    pub(super) fn expect<T: Copy + PartialEq + std::fmt::Display>(
        &self,
        field: &str,
        found: T,
        expected: T,
    ) -> Result<()> {
        if found == expected {
            return Ok(());
        }
        Err(self.corrupt(format!("{field} is {found}, expected {expected}")))
    }

    pub(super) fn corrupt(&self, detail: String) -> Error {
        Error::corrupt(format!("FAISS index {}", self.path.display()), self.offset, detail)
    }
}
