//! Reads vectors from a stream of FAISS, trusting nothing in it.
#![deny(clippy::indexing_slicing)]

use std::io::Read;
use std::path::Path;

use super::fields::Fields;
use super::kinds::Storage;
use super::{CHUNK_BYTES, FlatHeader, Naming, at_most, widen};
use crate::error::{Error, Result};

/// A stream being read: [`FlatReader::open`], then [`FlatReader::vectors`] until it is at its end, then
/// [`FlatReader::ids`] until it is at its end.
///
/// Memory: 64 KiB, or one vector if that is longer, for the bytes and as much for the values; never a size that the
/// stream claims. Of inverted lists also 8 bytes for each list and each vector that was read.
pub(crate) struct FlatReader<R> {
    fields: Fields<R>,
    header: FlatHeader,
    storage: Storage,
    /// The lists after the current one, the last first; `None` for an index without lists.
    lists: Option<Vec<u64>>,
    /// The rows of the current list.
    list_rows: u64,
    /// Of these, the rows that are not read yet.
    list_left: u64,
    rows_left: u64,
    ids_left: u64,
    values: Vec<f32>,
    ids: Vec<i64>,
    /// The ids that stood between lists.
    listed: Vec<i64>,
    /// The most of them that the stream has room for.
    listed_max: u64,
}

impl<R: Read> FlatReader<R> {
    /// Reads and checks the header of a stream of exactly `len` bytes. `path` names it in errors and is not opened.
    ///
    /// # Errors
    /// `Corrupt` naming the field, what was expected and what was found; `Unavailable` for a kind of index that is not
    /// known or a metric that has none of ours; `Limit` past [`crate::limits::DIM_MAX`]; `Io`.
    pub(crate) fn open(input: R, len: u64, path: &Path) -> Result<Self> {
        let mut fields = Fields::new(input, len, path);
        let outer = fields.index_header("index")?;
        let mapped = matches!(&outer.name, b"IxMp" | b"IxM2");
        let index = if mapped { fields.inner("index inside the id map", &outer)? } else { outer };
        let naming = if mapped || &index.name == b"IwFl" { Naming::Ids } else { Naming::Position };
        let header = FlatHeader { metric: index.metric, dim: index.dim, rows: index.rows, naming };
        if matches!(&index.name, b"IxFI" | b"IxF2" | b"IxFl") {
            // A length that passes u64 is one that no file has.
            fields.expect("length of the file in bytes", len, header.stream_bytes().unwrap_or(u64::MAX))?;
        }
        let body = fields.body(&index)?;
        if mapped && body.lists.is_some() {
            return Err(fields.corrupt("an id map holds inverted lists, which have ids of their own".into()));
        }
        let id_bytes = widen(size_of::<i64>());
        let listed_max = if body.lists.is_some() { header.rows.min(len / id_bytes) } else { 0 };
        let mut reader = FlatReader {
            fields,
            header,
            storage: body.storage,
            lists: body.lists,
            list_rows: header.rows,
            list_left: header.rows,
            rows_left: header.rows,
            ids_left: if mapped { header.rows } else { 0 },
            values: Vec::new(),
            ids: Vec::new(),
            listed: Vec::new(),
            listed_max,
        };
        reader.begin_list();
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
        let row_bytes = self.storage.row_bytes(self.header.dim);
        let rows = at_most((CHUNK_BYTES / row_bytes.max(1)).max(1), self.list_left);
        let bytes = self.fields.take("vectors", rows.saturating_mul(row_bytes))?;
        self.storage.decode(bytes, &mut self.values);
        self.list_left = self.list_left.saturating_sub(widen(rows));
        self.rows_left = self.rows_left.saturating_sub(widen(rows));
        if self.list_left == 0 {
            self.after_list()?;
        }
        if self.rows_left == 0 {
            self.after_vectors()?;
        }
        Ok(&self.values)
    }

    /// The most memory that the ids of lists take, which are kept until all vectors are read: their list doubles when it grows.
    pub(crate) fn listed_bytes(&self) -> u64 {
        self.listed_max.saturating_mul(3 * widen(size_of::<i64>()))
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
        if self.lists.is_some() {
            self.ids = std::mem::take(&mut self.listed);
        }
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

    fn begin_list(&mut self) {
        if let Some(lists) = &mut self.lists {
            self.list_rows = lists.pop().unwrap_or(0);
            self.list_left = self.list_rows;
        }
    }

    /// Reads the ids of the list that was read, and begins the next.
    fn after_list(&mut self) -> Result<()> {
        if self.lists.is_some() {
            let listed = &mut self.listed;
            self.fields.items("ids", self.list_rows, |id| listed.push(i64::from_le_bytes(id)))?;
            self.begin_list();
        }
        Ok(())
    }

    /// Reads the number of ids, if ids follow, or else the end.
    fn after_vectors(&mut self) -> Result<()> {
        if self.header.naming == Naming::Ids && self.lists.is_none() {
            let count = self.fields.u64("number of ids")?;
            self.fields.expect("number of ids", count, self.header.rows)?;
        }
        if self.ids_left == 0 { self.fields.end() } else { Ok(()) }
    }
}
