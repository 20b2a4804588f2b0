//! Writes an index as the stream that FAISS would write for it, byte for byte.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{CHUNK_BYTES, UNUSED, widen};
use crate::error::{Error, Result};
use crate::vector::faiss::hnsw_plan;
use crate::vector::hnsw::{Codes, Sections};

/// What FAISS has for the effort of searches until somebody sets another.
const EF_SEARCH: i32 = 16;
/// What FAISS writes in a field that it no longer has.
const UPPER_BEAM: i32 = 1;
/// Numbers of kinds of scalar quantisers.
const QT_8BIT: i32 = 0;
const QT_FP16: i32 = 4;

/// Writes the blob of an index as FAISS's `IndexHNSWFlat` or `IndexHNSWSQ`. `path` names the stream in errors and is not
/// opened.
///
/// Vectors are what the index has: unit vectors under cosine, which FAISS compares by the inner product; those that are
/// codes stay codes. They are named by position. Memory: 64 KiB, and 8 bytes for each level that rows may have.
/// # Errors
/// `Corrupt` for a blob that is damaged, its links included; `Io`.
pub(crate) fn write_graph(out: impl Write, path: &Path, blob: &[u8]) -> Result<()> {
    let sections = Sections::open(blob)?;
    sections.check_links(sections.levels(blob)?, sections.links(blob)?)?;
    let out = BufWriter::with_capacity(CHUNK_BYTES, out);
    let mut writer = GraphWriter { out, path: path.to_owned(), sections: &sections, blob };
    writer.put_header(if sections.shape().codes == Codes::F32 { *b"IHNf" } else { *b"IHNs" })?;
    writer.put_graph()?;
    writer.put_storage()?;
    let flushed = writer.out.flush();
    flushed.map_err(|source| writer.error(source))
}

struct GraphWriter<'a, W: Write> {
    out: BufWriter<W>,
    path: PathBuf,
    sections: &'a Sections,
    blob: &'a [u8],
}

impl<W: Write> GraphWriter<'_, W> {
    fn error(&self, source: std::io::Error) -> Error {
        Error::Io { op: "write", path: self.path.clone(), source }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.out.write_all(bytes);
        written.map_err(|source| self.error(source))
    }

    fn put_i32(&mut self, value: i32) -> Result<()> {
        self.put(&value.to_le_bytes())
    }

    fn put_count(&mut self, count: usize) -> Result<()> {
        self.put(&widen(count).to_le_bytes())
    }

    fn put_header(&mut self, name: [u8; 4]) -> Result<()> {
        let shape = self.sections.shape();
        let dim = i32::try_from(shape.dim).map_err(|_| Error::invalid("dimension", "it passes i32"))?;
        let metric = shape.faiss_metric();
        self.put(&name)?;
        self.put_i32(dim)?;
        self.put_count(shape.rows)?;
        self.put(&UNUSED.to_le_bytes())?;
        self.put(&UNUSED.to_le_bytes())?;
        self.put(&[1])?;
        self.put_i32(metric)
    }

    /// Source: FAISS `write_HNSW`.
    fn put_graph(&mut self) -> Result<()> {
        let shape = self.sections.shape();
        let (m, ef_construction) = (shape.m, shape.ef_construction);
        let (entry_point, max_level) = (shape.entry_point, shape.max_level);
        let levels = self.sections.levels(self.blob)?;
        let links = self.sections.links(self.blob)?;
        let chances = hnsw_plan(m, &mut [], &mut [])?;
        self.put_count(chances.len())?;
        self.put(bytemuck::cast_slice(&chances))?;
        // A row of n levels has (n + 1) m links, one without any none.
        self.put_count(chances.len() + 1)?;
        self.put_i32(0)?;
        for level in (2..).take(chances.len()) {
            self.put_i32(level * m)?;
        }
        self.put_count(levels.len())?;
        for &count in levels {
            self.put_i32(i32::from(count))?;
        }
        self.put_count(levels.len() + 1)?;
        self.put_count(0)?;
        let mut end = 0;
        for &count in levels {
            end += (u64::from(count) + 1) * u64::from(m.unsigned_abs());
            self.put(&end.to_le_bytes())?;
        }
        self.put_count(links.len())?;
        self.put(bytemuck::cast_slice(links))?;
        for value in [entry_point, max_level, ef_construction, EF_SEARCH, UPPER_BEAM] {
            self.put_i32(value)?;
        }
        Ok(())
    }

    /// Source: FAISS `write_index` for `IndexFlat` and `IndexScalarQuantizer`.
    fn put_storage(&mut self) -> Result<()> {
        let shape = self.sections.shape();
        let (kind, dim) = (shape.codes, shape.dim);
        let codes = self.sections.codes(self.blob)?;
        if kind == Codes::F32 {
            self.put_header(if shape.faiss_metric() == 0 { *b"IxFI" } else { *b"IxF2" })?;
            self.put_count(codes.len() / size_of::<f32>())?;
            return self.put(codes);
        }
        let ranges = self.sections.ranges(self.blob)?;
        self.put_header(*b"IxSQ")?;
        self.put_i32(if kind == Codes::F16 { QT_FP16 } else { QT_8BIT })?;
        // How the ranges were found: the least and the greatest value, widened by nothing.
        self.put_i32(0)?;
        self.put(&0_f32.to_le_bytes())?;
        self.put_count(dim)?;
        self.put_count(kind.bytes(dim))?;
        self.put_count(ranges.len())?;
        self.put(bytemuck::cast_slice(ranges))?;
        self.put_count(codes.len())?;
        self.put(codes)
    }
}
