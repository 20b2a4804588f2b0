//! Writes an index as the stream that FAISS would write for it, byte for byte.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{CHUNK_BYTES, StreamMetric, UNUSED, widen};
use crate::error::{Error, Result};
use crate::vector::codes::Width;
use crate::vector::faiss::hnsw_plan;
use crate::vector::hnsw::{Codes, Sections};

/// What FAISS has for the effort of searches until somebody sets another.
const EF_SEARCH: i32 = 16;
/// What FAISS writes in a field that it no longer has.
const UPPER_BEAM: i32 = 1;
/// Numbers of kinds of scalar quantisers.
const QT_8BIT: i32 = 0;
const QT_4BIT: i32 = 1;
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
    let shape = sections.shape();
    let mut stream = Stream::new(out, path, (shape.dim, shape.rows), shape.faiss_metric());
    stream.put_header(if shape.codes == Codes::F32 { *b"IHNf" } else { *b"IHNs" })?;
    stream.put_graph(&sections, blob)?;
    stream.put_storage(&sections, blob)?;
    stream.finish()
}

/// Codes of few bits a value, as FAISS has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantised<'a> {
    pub(crate) width: Width,
    pub(crate) metric: StreamMetric,
    pub(crate) dim: usize,
    pub(crate) rows: usize,
    /// The least value of each dimension, then the width of the range of each.
    pub(crate) ranges: &'a [f32],
    /// Row by row.
    pub(crate) codes: &'a [u8],
}

/// Writes codes as FAISS's `IndexScalarQuantizer`; otherwise as [`write_graph`].
///
/// # Errors
/// `Io`.
pub(crate) fn write_codes(out: impl Write, path: &Path, codes: &Quantised<'_>) -> Result<()> {
    let mut stream = Stream::new(out, path, (codes.dim, codes.rows), codes.metric.number());
    let kind = match codes.width {
        Width::Eight => QT_8BIT,
        Width::Four => QT_4BIT,
    };
    stream.put_quantiser(kind, codes.width.bytes(codes.dim), codes.ranges, codes.codes)?;
    stream.finish()
}

struct Stream<W: Write> {
    out: BufWriter<W>,
    path: PathBuf,
    dim: usize,
    rows: usize,
    metric: i32,
}

impl<W: Write> Stream<W> {
    fn new(out: W, path: &Path, (dim, rows): (usize, usize), metric: i32) -> Self {
        let out = BufWriter::with_capacity(CHUNK_BYTES, out);
        Stream { out, path: path.to_owned(), dim, rows, metric }
    }

    fn finish(mut self) -> Result<()> {
        let flushed = self.out.flush();
        flushed.map_err(|source| self.error(source))
    }

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
        let dim = i32::try_from(self.dim).map_err(|_| Error::invalid("dimension", "it passes i32"))?;
        self.put(&name)?;
        self.put_i32(dim)?;
        self.put_count(self.rows)?;
        self.put(&UNUSED.to_le_bytes())?;
        self.put(&UNUSED.to_le_bytes())?;
        self.put(&[1])?;
        self.put_i32(self.metric)
    }

    /// Source: FAISS `write_HNSW`.
    fn put_graph(&mut self, sections: &Sections, blob: &[u8]) -> Result<()> {
        let shape = sections.shape();
        let (m, ef_construction) = (shape.m, shape.ef_construction);
        let (entry_point, max_level) = (shape.entry_point, shape.max_level);
        let levels = sections.levels(blob)?;
        let links = sections.links(blob)?;
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

    /// Source: FAISS `write_index` for `IndexFlat`.
    fn put_storage(&mut self, sections: &Sections, blob: &[u8]) -> Result<()> {
        let shape = sections.shape();
        let codes = sections.codes(blob)?;
        let kind = match shape.codes {
            Codes::F32 => {
                self.put_header(if self.metric == 0 { *b"IxFI" } else { *b"IxF2" })?;
                self.put_count(codes.len() / size_of::<f32>())?;
                return self.put(codes);
            }
            Codes::F16 => QT_FP16,
            Codes::Sq8 => QT_8BIT,
        };
        self.put_quantiser(kind, shape.codes.bytes(shape.dim), sections.ranges(blob)?, codes)
    }

    /// Source: FAISS `write_index` for `IndexScalarQuantizer`.
    fn put_quantiser(&mut self, kind: i32, code_bytes: usize, ranges: &[f32], codes: &[u8]) -> Result<()> {
        self.put_header(*b"IxSQ")?;
        self.put_i32(kind)?;
        // How the ranges were found: the least and the greatest value, widened by nothing.
        self.put_i32(0)?;
        self.put(&0_f32.to_le_bytes())?;
        self.put_count(self.dim)?;
        self.put_count(code_bytes)?;
        self.put_count(ranges.len())?;
        self.put(bytemuck::cast_slice(ranges))?;
        self.put_count(codes.len())?;
        self.put(codes)
    }
}
