//! Writes flat vectors as the stream that FAISS would write, byte for byte.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{CHUNK_BYTES, FlatHeader, Naming, UNUSED, widen};
use crate::error::{Error, Result};
use crate::limits::DIM_MAX;

/// What is done to a vector before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scaling {
    /// Nothing: the bits are kept.
    AsGiven,
    /// It is divided by its length, so that FAISS's inner product is the cosine.
    Unit,
}

/// A stream being written: vectors first, then ids if the header says so, then [`FlatWriter::finish`].
///
/// Memory: one buffer of 64 KiB, whatever the number of vectors.
pub(crate) struct FlatWriter<'a> {
    out: &'a mut dyn Write,
    path: PathBuf,
    header: FlatHeader,
    scaling: Scaling,
    buffer: Vec<u8>,
    rows_written: u64,
    ids_written: u64,
}

impl<'a> FlatWriter<'a> {
    /// Writes the header of a stream to `out`. `path` names the stream in errors and is not opened.
    ///
    /// # Errors
    /// `Invalid` for dimension 0, `Limit` past [`DIM_MAX`] or when the stream passes 2^63 bytes, `Io`.
    pub(crate) fn new(
        out: &'a mut dyn Write,
        path: &Path,
        header: FlatHeader,
        scaling: Scaling,
    ) -> Result<Self> {
        if header.dim == 0 {
            return Err(Error::invalid("dimension of the exported vectors", "it is 0, expected at least 1"));
        }
        let limit = |what: &str, found, max| Error::Limit { what: what.into(), found, max };
        if header.dim > DIM_MAX {
            return Err(limit("dimension of the exported vectors", widen(header.dim), widen(DIM_MAX)));
        }
        let bytes_max = u64::MAX >> 1;
        if header.stream_bytes().is_none_or(|bytes| bytes > bytes_max) {
            return Err(limit("number of exported vectors", header.rows, bytes_max / widen(header.dim) / 4));
        }
        let buffer = Vec::with_capacity(CHUNK_BYTES);
        let path = path.to_owned();
        let mut writer = FlatWriter { out, path, header, scaling, buffer, rows_written: 0, ids_written: 0 };
        if header.naming == Naming::Ids {
            writer.put_header(*b"IxMp")?;
        }
        writer.put_header(header.metric.flat_name())?;
        writer.put(&(header.rows * widen(header.dim)).to_le_bytes())?;
        Ok(writer)
    }

    /// Writes one vector.
    ///
    /// # Errors
    /// `Shape` if it has not `dim` values, `Limit` past the promised number of vectors, `Io`; under [`Scaling::Unit`]
    /// `Invalid` if it has no direction: a length of zero, or one that is not finite.
    pub(crate) fn vector(&mut self, vector: &[f32]) -> Result<()> {
        if vector.len() != self.header.dim {
            return Err(Error::Shape {
                what: format!("exported vector {}", self.rows_written),
                expected: self.header.dim,
                found: vector.len(),
            });
        }
        if self.rows_written == self.header.rows {
            return Err(Error::Limit {
                what: "number of exported vectors".into(),
                found: self.rows_written + 1,
                max: self.header.rows,
            });
        }
        match self.scaling {
            Scaling::AsGiven => self.values(vector, |value| value)?,
            Scaling::Unit => {
                let scale = self.inverse_length(vector)?;
                self.values(vector, |value| narrow(f64::from(value) * scale))?;
            }
        }
        self.rows_written += 1;
        Ok(())
    }

    /// Writes the id of the next vector; to be called after the last vector, once for each.
    ///
    /// # Errors
    /// `Invalid` if the header promises no ids or vectors are still missing, `Limit` past one for each vector, `Io`.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "exports name vectors by position; tests write id maps to read")
    )]
    pub(crate) fn id(&mut self, id: i64) -> Result<()> {
        if self.header.naming == Naming::Position || self.rows_written != self.header.rows {
            return Err(Error::invalid(
                "exported id",
                format!("it comes where a {} was announced", self.missing()),
            ));
        }
        if self.ids_written == self.header.rows {
            return Err(Error::Limit {
                what: "number of exported ids".into(),
                found: self.ids_written + 1,
                max: self.header.rows,
            });
        }
        if self.ids_written == 0 {
            self.put(&self.header.rows.to_le_bytes())?;
        }
        self.put(&id.to_le_bytes())?;
        self.ids_written += 1;
        Ok(())
    }

    /// Ends the stream and flushes it.
    ///
    /// # Errors
    /// `Invalid` if fewer vectors or ids came than promised, `Io`.
    pub(crate) fn finish(mut self) -> Result<()> {
        let ids_wanted = if self.header.naming == Naming::Ids { self.header.rows } else { 0 };
        let parts = [("vectors", self.rows_written, self.header.rows), ("ids", self.ids_written, ids_wanted)];
        for (part, found, expected) in parts {
            if found != expected {
                return Err(Error::invalid(
                    format!("number of exported {part}"),
                    format!("it is {found}, expected {expected}"),
                ));
            }
        }
        if self.header.naming == Naming::Ids && self.header.rows == 0 {
            self.put(&0_u64.to_le_bytes())?;
        }
        self.drain()?;
        self.out.flush().map_err(|source| self.write_error(source))
    }

    fn missing(&self) -> &'static str {
        if self.rows_written == self.header.rows { "end" } else { "vector" }
    }

    fn put_header(&mut self, name: [u8; 4]) -> Result<()> {
        let FlatHeader { metric, dim, rows, .. } = self.header;
        let dim = i32::try_from(dim).map_err(|_| Error::invalid("dimension", "it passes i32"))?;
        self.put(&name)?;
        self.put(&dim.to_le_bytes())?;
        self.put(&rows.to_le_bytes())?;
        self.put(&UNUSED.to_le_bytes())?;
        self.put(&UNUSED.to_le_bytes())?;
        self.put(&[1])?;
        self.put(&metric.number().to_le_bytes())
    }

    /// Appends a field to the buffer, which is emptied first if it is full.
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() + bytes.len() > CHUNK_BYTES {
            self.drain()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn values(&mut self, values: &[f32], scaled: impl Fn(f32) -> f32) -> Result<()> {
        for run in values.chunks(CHUNK_BYTES / size_of::<f32>()) {
            if self.buffer.len() + size_of_val(run) > CHUNK_BYTES {
                self.drain()?;
            }
            self.buffer.extend(run.iter().flat_map(|value| scaled(*value).to_le_bytes()));
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        let written = self.out.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|source| self.write_error(source))
    }

    fn write_error(&self, source: std::io::Error) -> Error {
        Error::Io { op: "write", path: self.path.clone(), source }
    }

    /// 1 over the Euclidean length of `vector`, summed in f64, where no f32 can overflow or vanish.
    fn inverse_length(&self, vector: &[f32]) -> Result<f64> {
        let squares: f64 = vector.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
        if squares > 0.0 && squares.is_finite() {
            return Ok(squares.sqrt().recip());
        }
        Err(Error::invalid(
            format!("exported vector {}", self.rows_written),
            format!("its squared length is {squares}, so it has no direction"),
        ))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounds to the nearest f32, which is the purpose")]
fn narrow(value: f64) -> f32 {
    value as f32
}
