//! The layout of a blob of codes: a header, then sections that begin at multiples of 64 bytes.
#![deny(clippy::indexing_slicing)]

use std::ops::Range;

use super::Width;
use crate::codec::{to_usize, u64_at};
use crate::error::{Error, Result};
use crate::limits::DIM_MAX;
use crate::metric::Metric;
use crate::vector::hnsw::CURVE_BYTES;
use crate::vector::table::{Header, Table, corrupt};

/// The first bytes of a blob of codes.
pub(crate) const MAGIC: &[u8; 8] = b"vdbcode\n";
const VERSION: u32 = 1;
const VERSION_OFFSET: usize = MAGIC.len();
const WIDTH_OFFSET: usize = VERSION_OFFSET + size_of::<u32>();
const METRIC_OFFSET: usize = WIDTH_OFFSET + size_of::<u32>();
const DIM_OFFSET: usize = METRIC_OFFSET + size_of::<u32>();
const ROWS_OFFSET: usize = DIM_OFFSET + size_of::<u32>();
/// For each section its offset and its length, u64 each.
const TABLE_OFFSET: usize = ROWS_OFFSET + size_of::<u64>();
const SECTIONS: usize = 4;
const HEADER_BYTES: usize = 128;
/// The place of the recall curve in the table.
const CURVE_SECTION: usize = 3;
/// The most rows, as of a graph.
const ROWS_MAX: usize = (1 << 31) - 1;

/// What an index is, as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How many bits a value has.
    pub(crate) width: Width,
    /// How vectors are compared.
    pub(crate) metric: Metric,
    /// The number of values of a vector.
    pub(crate) dim: usize,
    /// The number of rows.
    pub(crate) rows: usize,
}

/// Where the sections of an index are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sections {
    shape: Shape,
    table: Table<SECTIONS>,
}

impl Sections {
    /// Lays out an index.
    ///
    /// # Errors
    /// `Invalid` for a shape that no index can have.
    pub(super) fn plan(shape: Shape) -> Result<Self> {
        shape.check().map_err(|reason| Error::invalid("index", reason))?;
        Ok(Self::lay_out(shape))
    }

    fn lay_out(shape: Shape) -> Self {
        Sections { shape, table: Table::lay_out(HEADER_BYTES, shape.lengths()) }
    }

    /// Reads a header. Checks that it makes sense and that the sections lie in the blob; reads none of them.
    ///
    /// # Errors
    /// `Corrupt` naming the field, what was expected and what was found; `Version`.
    pub(super) fn open(bytes: &[u8]) -> Result<Self> {
        let header = Header::open(bytes, MAGIC, VERSION)?;
        let number = |offset: usize| header.number(offset);
        let (width, metric) = (number(WIDTH_OFFSET)?, number(METRIC_OFFSET)?);
        let shape = Shape {
            width: Width::ALL
                .into_iter()
                .find(|known| known.number() == width)
                .ok_or_else(|| corrupt(WIDTH_OFFSET, format!("codes are of the unknown kind {width}")))?,
            metric: Metric::numbered(metric)
                .ok_or_else(|| corrupt(METRIC_OFFSET, format!("metric is the unknown {metric}")))?,
            dim: to_usize(u64::from(number(DIM_OFFSET)?)),
            rows: u64_at(bytes, ROWS_OFFSET).map_or(usize::MAX, to_usize),
        };
        shape.check().map_err(|detail| corrupt(DIM_OFFSET, detail))?;
        let sections = Self::lay_out(shape);
        sections.table.check(bytes, TABLE_OFFSET, SECTIONS)?;
        Ok(sections)
    }

    /// What the index is.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// The length of the blob.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The header.
    pub(super) fn header(&self) -> Vec<u8> {
        let shape = &self.shape;
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let mut header = MAGIC.to_vec();
        let fields =
            [VERSION, shape.width.number(), shape.metric.number(), number(shape.dim), number(shape.rows), 0];
        for value in fields {
            header.extend_from_slice(&value.to_le_bytes());
        }
        self.table.write(&mut header, SECTIONS);
        header.resize(HEADER_BYTES, 0);
        header
    }

    /// The least value of each dimension, then the width of the range of each.
    pub(super) fn ranges<'a>(&self, bytes: &'a [u8]) -> Result<&'a [f32]> {
        self.table.section(bytes, 0)
    }

    /// The codes, row by row.
    pub(super) fn codes<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        self.table.section(bytes, 1)
    }

    /// What each row alone adds to its squared distance; empty but for L2.
    pub(super) fn squares<'a>(&self, bytes: &'a [u8]) -> Result<&'a [f32]> {
        self.table.section(bytes, 2)
    }

    /// The recall curve, as stored.
    pub(super) fn curve<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        self.table.section(bytes, CURVE_SECTION)
    }

    /// The header, and the section with the recall curve.
    pub(super) fn planned_by(&self) -> Vec<Range<usize>> {
        vec![0..HEADER_BYTES, self.table.range(CURVE_SECTION)]
    }
}

impl Shape {
    fn check(&self) -> Result<(), String> {
        if !(1..=DIM_MAX).contains(&self.dim) {
            return Err(format!("dimension is {}, expected 1 to {DIM_MAX}", self.dim));
        }
        if self.rows > ROWS_MAX {
            return Err(format!("number of rows is {}, expected at most {ROWS_MAX}", self.rows));
        }
        Ok(())
    }

    /// The bytes of the sections.
    fn lengths(&self) -> [usize; SECTIONS] {
        let squares = if self.metric == Metric::L2 { self.rows * size_of::<f32>() } else { 0 };
        [2 * self.dim * size_of::<f32>(), self.rows * self.width.bytes(self.dim), squares, CURVE_BYTES]
    }
}
