//! An index of codes over a blob.

use std::num::NonZero;
use std::ops::Range;
use std::sync::Arc;

use super::Width;
use super::kernel::CodeQuery;
use super::scan::{Found, Scan};
use super::sections::{Sections, Shape};
use crate::error::Result;
use crate::storage::Bytes;
use crate::vector::exact::{Query, Selection};
use crate::vector::faiss_stream::Quantised;
use crate::vector::hnsw::Curve;
use crate::vector::rows::Rows;

/// An index of a segment. Threads may share it.
#[derive(Debug)]
pub(crate) struct CodeIndex {
    bytes: Arc<Bytes>,
    sections: Sections,
    curve: Curve,
}

impl CodeIndex {
    /// Opens a blob. Checks that its sections lie within it; reads only the header and the recall curve.
    ///
    /// # Errors
    /// `Corrupt`, `Version`.
    pub(crate) fn open(bytes: impl Into<Arc<Bytes>>) -> Result<Self> {
        let bytes = bytes.into();
        let sections = Sections::open(&bytes)?;
        let curve = Curve::decode(sections.curve(&bytes)?)?;
        Ok(CodeIndex { bytes, sections, curve })
    }

    /// What it is.
    pub(crate) fn shape(&self) -> Shape {
        self.sections.shape()
    }

    /// The recall that was measured when it was built: the efforts are numbers of rows to score exactly.
    pub(crate) fn curve(&self) -> &Curve {
        &self.curve
    }

    /// The codes as FAISS has them.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn quantised(&self) -> Result<Quantised<'_>> {
        let Shape { width, metric, dim, rows } = self.shape();
        let (ranges, codes) = (self.sections.ranges(&self.bytes)?, self.sections.codes(&self.bytes)?);
        Ok(Quantised { width, metric: metric.into(), dim, rows, ranges, codes })
    }

    /// As [`crate::vector::index::Index::planned_by`].
    pub(crate) fn planned_by(&self) -> Vec<Range<usize>> {
        self.sections.planned_by()
    }

    /// The length of the blob.
    pub(crate) fn bytes(&self) -> usize {
        self.sections.len()
    }

    /// Finds the `count` rows of a selection whose codes are nearest to a query of the metric of the index.
    ///
    /// `rows` are the ids at its positions.
    /// # Errors
    /// `Shape` for a query of another size.
    pub(crate) fn nearest(
        &self,
        query: &Query,
        rows: Rows<'_>,
        selection: &Selection<'_>,
        count: usize,
        threads: NonZero<usize>,
    ) -> Result<Found> {
        let Shape { width, metric, dim, .. } = self.shape();
        query.check_dim(dim)?;
        let codes = CodeQuery::new(metric, query.vector(), width, self.sections.ranges(&self.bytes)?);
        let scan = Scan {
            query: codes,
            squares: self.sections.squares(&self.bytes)?,
            codes: self.sections.codes(&self.bytes)?,
            bytes: width.bytes(dim),
            rows,
        };
        scan.nearest(selection, count, threads)
    }
}

/// What a row alone adds to its squared distance from any query: the squares of its codes, in units of its ranges.
pub(crate) fn square(code: &[u8], width: Width, widths: &[f32]) -> f32 {
    let greatest = f64::from(width.greatest());
    let value = |n: usize| match width {
        Width::Eight => code.get(n).copied().unwrap_or(0),
        Width::Four => {
            code.get(n / 2).map_or(0, |pair| if n.is_multiple_of(2) { pair & 15 } else { pair >> 4 })
        }
    };
    let part = |(n, &width): (usize, &f32)| {
        let part = f64::from(value(n)) * f64::from(width) / greatest;
        part * part
    };
    crate::vector::kernel::narrow(widths.iter().enumerate().map(part).sum())
}
