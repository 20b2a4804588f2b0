//! Reads flat vectors from a stream of FAISS, trusting nothing in it.
#![deny(clippy::indexing_slicing)]

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{CHUNK_BYTES, FlatHeader, Naming, StreamMetric, widen};
use crate::error::{Error, Result};
use crate::limits::DIM_MAX;

/// A stream being read: [`FlatReader::open`], then [`FlatReader::vectors`] until it is at its end, then
/// [`FlatReader::ids`] until it is at its end.
///
/// Memory: 64 KiB, or one vector if that is longer, for the bytes and as much for the values; never a size that the
/// stream claims.
pub(crate) struct FlatReader<R> {
    fields: Fields<R>,
    header: FlatHeader,
    rows_left: u64,
    ids_left: u64,
    values: Vec<f32>,
    ids: Vec<i64>,
}

/// The fields of an index header that mean something.
struct IndexHeader {
    name: [u8; 4],
    dim: usize,
    rows: u64,
    metric: StreamMetric,
}

impl<R: Read> FlatReader<R> {
    /// Reads and checks the header of a stream of exactly `len` bytes. `path` names it in errors and is not opened.
    ///
    /// # Errors
    /// `Corrupt` naming the field, what was expected and what was found; `Unavailable` for an index that is not flat
    /// or a metric that has none of ours; `Limit` past [`DIM_MAX`]; `Io`.
    pub(crate) fn open(input: R, len: u64, path: &Path) -> Result<Self> {
        let mut fields = Fields { input, path: path.to_owned(), offset: 0, len, bytes: Vec::new() };
        let outer = fields.index_header("index")?;
        let naming = match &outer.name {
            b"IxMp" | b"IxM2" => Naming::Ids,
            _ => Naming::Position,
        };
        let flat = match naming {
            Naming::Position => outer,
            Naming::Ids => {
                let inner = fields.index_header("index inside the id map")?;
                fields.expect("dimension inside the id map", inner.dim, outer.dim)?;
                fields.expect("number of vectors inside the id map", inner.rows, outer.rows)?;
                fields.expect("metric inside the id map", inner.metric.number(), outer.metric.number())?;
                inner
            }
        };
        fields.flat_name(&flat)?;
        let header = FlatHeader { metric: flat.metric, dim: flat.dim, rows: flat.rows, naming };
        // A length that passes u64 is one that no file has.
        fields.expect("length of the file in bytes", len, header.stream_bytes().unwrap_or(u64::MAX))?;
        let values = u64::from_le_bytes(fields.array("number of values")?);
        let values_wanted = header.rows.saturating_mul(widen(header.dim));
        fields.expect("number of values", values, values_wanted)?;

        let ids_left = if naming == Naming::Ids { header.rows } else { 0 };
        let (values, ids) = (Vec::new(), Vec::new());
        let mut reader = FlatReader { fields, header, rows_left: header.rows, ids_left, values, ids };
        if header.rows == 0 {
            reader.after_vectors()?;
        }
        Ok(reader)
    }

    /// What the stream holds.
    pub(crate) fn header(&self) -> FlatHeader {
        self.header
    }

    /// The next vectors, row-major and whole, about 64 KiB of them; empty at the end. Values may be NaN or infinite.
    ///
    /// # Errors
    /// `Corrupt` if the stream ends early or goes on after its end, `Io`.
    pub(crate) fn vectors(&mut self) -> Result<&[f32]> {
        self.values.clear();
        if self.rows_left == 0 {
            return Ok(&self.values);
        }
        let row_bytes = self.header.dim.saturating_mul(size_of::<f32>());
        let rows = at_most((CHUNK_BYTES / row_bytes).max(1), self.rows_left);
        let bytes = self.fields.take("vectors", rows.saturating_mul(row_bytes))?;
        self.values.extend(bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)));
        self.rows_left = self.rows_left.saturating_sub(widen(rows));
        if self.rows_left == 0 {
            self.after_vectors()?;
        }
        Ok(&self.values)
    }

    /// The next ids, in the order of the vectors; empty at the end, or when vectors are named by position.
    ///
    /// # Errors
    /// `Invalid` before all vectors are read, `Corrupt` if the stream ends early or goes on after its end, `Io`.
    pub(crate) fn ids(&mut self) -> Result<&[i64]> {
        if self.rows_left > 0 {
            return Err(Error::invalid("reading of ids", format!("{} vectors come first", self.rows_left)));
        }
        self.ids.clear();
        if self.ids_left == 0 {
            return Ok(&self.ids);
        }
        let count = at_most(CHUNK_BYTES / size_of::<i64>(), self.ids_left);
        let bytes = self.fields.take("ids", count.saturating_mul(size_of::<i64>()))?;
        self.ids.extend(bytes.as_chunks().0.iter().map(|id| i64::from_le_bytes(*id)));
        self.ids_left = self.ids_left.saturating_sub(widen(count));
        if self.ids_left == 0 {
            self.fields.end()?;
        }
        Ok(&self.ids)
    }

    /// Reads the number of ids, if ids follow, or else the end.
    fn after_vectors(&mut self) -> Result<()> {
        if self.header.naming == Naming::Ids {
            let count = u64::from_le_bytes(self.fields.array("number of ids")?);
            self.fields.expect("number of ids", count, self.header.rows)?;
        }
        if self.ids_left == 0 { self.fields.end() } else { Ok(()) }
    }
}

/// The smaller of the two, which is a `usize` as `count` is one.
fn at_most(count: usize, left: u64) -> usize {
    usize::try_from(left).map_or(count, |left| left.min(count))
}

/// The input, with the offset that errors name.
struct Fields<R> {
    input: R,
    path: PathBuf,
    offset: u64,
    len: u64,
    bytes: Vec<u8>,
}

impl<R: Read> Fields<R> {
    /// Reads the next `count` bytes, which the caller has bounded.
    fn take(&mut self, field: &str, count: usize) -> Result<&[u8]> {
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

    fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }

    /// Checks that the input is at its end.
    fn end(&mut self) -> Result<()> {
        self.expect("end of the index", self.offset, self.len)?;
        let mut probe = [0];
        match self.input.read(&mut probe) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.corrupt("the file goes on after the end of the index".into())),
            Err(source) => Err(Error::Io { op: "read", path: self.path.clone(), source }),
        }
    }

    fn index_header(&mut self, index: &str) -> Result<IndexHeader> {
        let name = self.array(&format!("name of the {index}"))?;
        let dim = i32::from_le_bytes(self.array("dimension")?);
        let rows = i64::from_le_bytes(self.array("number of vectors")?);
        self.take("unused fields", 16)?;
        let [trained] = self.array("trained mark")?;
        let metric = i32::from_le_bytes(self.array("metric")?);

        require_known(name)?;
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

    /// Checks that `index` is flat and that its name agrees with its metric.
    fn flat_name(&self, index: &IndexHeader) -> Result<()> {
        match &index.name {
            b"IxFl" => Ok(()),
            b"IxFI" => self.expect("metric of IxFI", index.metric.number(), 0),
            b"IxF2" => self.expect("metric of IxF2", index.metric.number(), 1),
            _ => Err(self.corrupt("an id map holds another id map, expected a flat index".into())),
        }
    }

    fn expect<T: Copy + PartialEq + std::fmt::Display>(
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

    fn corrupt(&self, detail: String) -> Error {
        Error::corrupt(format!("FAISS index {}", self.path.display()), self.offset, detail)
    }
}

/// Checks that the reader understands indexes of this name: IVF, HNSW and quantised ones are not flat.
fn require_known(name: [u8; 4]) -> Result<()> {
    match &name {
        b"IxFI" | b"IxF2" | b"IxFl" | b"IxMp" | b"IxM2" => Ok(()),
        _ => Err(Error::Unavailable {
            feature: "import of this FAISS index",
            reason: format!(
                "its kind is \"{}\", expected a flat index (IxFI, IxF2, IxFl) or an id map of one (IxMp, IxM2)",
                name.escape_ascii()
            ),
        }),
    }
}
