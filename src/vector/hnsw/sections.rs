//! The layout of an index blob: a header, then sections that begin at multiples of 64 bytes.
#![deny(clippy::indexing_slicing)]

use std::ops::Range;

use super::Codes;
use crate::codec::{to_u64, to_usize, u32_at, u64_at};
use crate::error::{Error, Result};
use crate::limits::DIM_MAX;
use crate::metric::Metric;
use crate::vector::sketch::{self, Sketches};
use crate::vector::table::{ALIGNMENT, Header, Table, corrupt};

/// The first bytes of an index blob.
pub(crate) const MAGIC: &[u8; 8] = b"vdbhnsw\n";
const VERSION: u32 = 1;
const VERSION_OFFSET: usize = MAGIC.len();
const CODES_OFFSET: usize = VERSION_OFFSET + size_of::<u32>();
const METRIC_OFFSET: usize = CODES_OFFSET + size_of::<u32>();
const DIM_OFFSET: usize = METRIC_OFFSET + size_of::<u32>();
const ROWS_OFFSET: usize = DIM_OFFSET + size_of::<u32>();
const M_OFFSET: usize = ROWS_OFFSET + size_of::<u64>();
const EF_CONSTRUCTION_OFFSET: usize = M_OFFSET + size_of::<u32>();
const ENTRY_POINT_OFFSET: usize = EF_CONSTRUCTION_OFFSET + size_of::<u32>();
const MAX_LEVEL_OFFSET: usize = ENTRY_POINT_OFFSET + size_of::<u32>();
const SKETCH_DIMS_OFFSET: usize = MAX_LEVEL_OFFSET + size_of::<u32>();
/// For each section its offset and its length, u64 each.
const TABLE_OFFSET: usize = SKETCH_DIMS_OFFSET + 16;
const SECTIONS: usize = 8;
/// So many are there without sketches.
const SECTIONS_MIN: usize = 5;
const HEADER_BYTES: usize = 192;
/// The places of sections in the table.
const LINKS_SECTION: usize = 1;
const CODES_SECTION: usize = 3;
const CURVE_SECTION: usize = 4;
const BASIS_SECTION: usize = 5;
const SKETCHES_SECTION: usize = 6;
const BIASES_SECTION: usize = 7;
/// The bytes that are written at a time.
const WRITE_BYTES: usize = 4 << 20;
/// Bytes of the section with the recall curve.
pub(crate) const CURVE_BYTES: usize = 256;
/// Of the section with the basis of sketches: their recall curve, the step in 64 bytes, and where the values begin.
const BASIS_STEP: usize = CURVE_BYTES;
const BASIS_VALUES: usize = BASIS_STEP + ALIGNMENT;

/// What an index is, as its header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How the vectors are kept.
    pub(crate) codes: Codes,
    /// How they are compared.
    pub(crate) metric: Metric,
    /// The number of values of a vector.
    pub(crate) dim: usize,
    /// The number of rows.
    pub(crate) rows: usize,
    /// The links of a row in each level above the lowest, which has twice as many.
    pub(crate) m: i32,
    /// How many candidates were looked at for the links of a row.
    pub(crate) ef_construction: i32,
    /// The row where searches begin; -1 without rows.
    pub(crate) entry_point: i32,
    /// Its highest level; -1 without rows.
    pub(crate) max_level: i32,
    /// The dimensions of a sketch; 0 without sketches.
    pub(crate) sketch_dims: usize,
}

impl Shape {
    /// FAISS's number for the metric.
    pub(crate) fn faiss_metric(&self) -> i32 {
        match self.metric {
            Metric::Cosine | Metric::InnerProduct => 0,
            Metric::L2 => 1,
        }
    }

    /// Refuses what no index can be.
    pub(super) fn check(&self) -> Result<(), String> {
        let within = |what: &str, found: i64, allowed: Range<i64>| {
            let Range { start, end } = allowed;
            let (last, fits) = (end - 1, (start..end).contains(&found));
            if fits { Ok(()) } else { Err(format!("{what} is {found}, expected {start} to {last}")) }
        };
        let signed = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        let rows = signed(self.rows);
        within("dimension", signed(self.dim), 1..signed(DIM_MAX) + 1)?;
        within("number of rows", rows, 0..i64::from(i32::MAX))?;
        within("number of links", i64::from(self.m), 2..257)?;
        within("effort of construction", i64::from(self.ef_construction), 1..65_537)?;
        let first = if rows == 0 { -1 } else { 0 };
        within("entry point", i64::from(self.entry_point), first..rows.max(first + 1))?;
        within("highest level", i64::from(self.max_level), first..if rows == 0 { 0 } else { 64 })?;
        within("eighth of the dimensions of a sketch", signed(self.sketch_dims / 8), 0..65)?;
        within("rest of the dimensions of a sketch", signed(self.sketch_dims % 8), 0..1)
    }
}

/// Where the sections of an index are. The section of levels has a byte for each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sections {
    shape: Shape,
    table: Table<SECTIONS>,
}

/// What a build writes besides codes and sketches, which it wrote before.
pub(super) struct Content<'a> {
    pub(super) levels: &'a [u8],
    pub(super) links: &'a [i32],
    pub(super) ranges: &'a [f32],
    pub(super) curve: &'a [u8],
    /// As [`basis_section`] has it.
    pub(super) basis: &'a [u8],
}

/// The section with the basis of sketches.
pub(super) fn basis_section(curve: &[u8], basis: &sketch::Basis) -> Vec<u8> {
    let mut section = curve.to_vec();
    section.resize(BASIS_STEP, 0);
    section.extend_from_slice(&basis.step().to_le_bytes());
    section.resize(BASIS_VALUES, 0);
    section.extend_from_slice(bytemuck::cast_slice(basis.values()));
    section
}

/// The basis of sketches, as stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredBasis<'a> {
    /// The recall curve of scans of sketches.
    pub(crate) curve: &'a [u8],
    pub(crate) step: f32,
    pub(crate) directions: &'a [f32],
}

impl Sections {
    /// Lays out an index whose rows have these levels.
    ///
    /// # Errors
    /// `Invalid` for a shape that no index can have.
    pub(super) fn plan(shape: Shape, levels: &[u8]) -> Result<Self> {
        shape.check().map_err(|reason| Error::invalid("index", reason))?;
        let links: usize = levels.iter().map(|&count| shape.links_of(count)).sum();
        Ok(Self::lay_out(shape, links))
    }

    fn lay_out(shape: Shape, links: usize) -> Self {
        let table = Table::lay_out(HEADER_BYTES, shape.lengths(links));
        Sections { shape, table }
    }

    /// Reads a header. Checks that it makes sense and that the sections lie in the blob; reads none of them.
    ///
    /// # Errors
    /// `Corrupt` naming the field, what was expected and what was found; `Version`.
    pub(crate) fn open(bytes: &[u8]) -> Result<Self> {
        let header = Header::open(bytes, MAGIC, VERSION)?;
        let number = |offset: usize| header.number(offset);
        let signed = |offset: usize| number(offset).map(u32::cast_signed);
        let codes = signed(CODES_OFFSET)?;
        let metric = number(METRIC_OFFSET)?;
        let shape = Shape {
            codes: Codes::ALL
                .into_iter()
                .find(|known| known.number() == codes)
                .ok_or_else(|| corrupt(CODES_OFFSET, format!("codes are of the unknown kind {codes}")))?,
            metric: Metric::numbered(metric)
                .ok_or_else(|| corrupt(METRIC_OFFSET, format!("metric is the unknown {metric}")))?,
            dim: to_usize(u64::from(number(DIM_OFFSET)?)),
            rows: u64_at(bytes, ROWS_OFFSET).map_or(usize::MAX, to_usize),
            m: signed(M_OFFSET)?,
            ef_construction: signed(EF_CONSTRUCTION_OFFSET)?,
            entry_point: signed(ENTRY_POINT_OFFSET)?,
            max_level: signed(MAX_LEVEL_OFFSET)?,
            sketch_dims: to_usize(u64::from(number(SKETCH_DIMS_OFFSET)?)),
        };
        shape.check().map_err(|detail| corrupt(DIM_OFFSET, detail))?;
        // The number of links is the only length that the shape does not tell; no row has more than 256 levels of 256.
        let links = Table::<SECTIONS>::claimed(bytes, TABLE_OFFSET, LINKS_SECTION).unwrap_or(u64::MAX);
        let links = to_usize(links.min(to_u64(bytes.len()))) / size_of::<i32>();
        let sections = Self::lay_out(shape, links);
        sections.table.check(bytes, TABLE_OFFSET, sections.count())?;
        Ok(sections)
    }

    /// What the index is.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The length of the blob.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Where the codes are.
    pub(crate) fn codes_range(&self) -> Range<usize> {
        self.range(CODES_SECTION)
    }

    /// Where the basis of sketches is.
    #[cfg(any(test, fuzzing))]
    pub(super) fn basis_range(&self) -> Range<usize> {
        self.range(BASIS_SECTION)
    }

    /// Where the sketches are.
    pub(super) fn sketches_range(&self) -> Range<usize> {
        self.range(SKETCHES_SECTION)
    }

    /// Where the biases of sketches are.
    pub(super) fn biases_range(&self) -> Range<usize> {
        self.range(BIASES_SECTION)
    }

    /// How many links there are.
    pub(super) fn link_count(&self) -> usize {
        self.range(LINKS_SECTION).len() / size_of::<i32>()
    }

    fn range(&self, place: usize) -> Range<usize> {
        self.table.range(place)
    }

    /// The header, and the sections that begin with a recall curve.
    pub(super) fn planned_by(&self) -> Vec<Range<usize>> {
        vec![0..HEADER_BYTES, self.range(CURVE_SECTION), self.range(BASIS_SECTION)]
    }

    /// How many sections the table tells of.
    fn count(&self) -> usize {
        if self.shape.sketch_dims == 0 { SECTIONS_MIN } else { SECTIONS }
    }

    /// Gives `write` everything but codes and sketches, and the gaps: pieces with their offsets.
    pub(super) fn write(
        &self,
        content: &Content<'_>,
        write: &mut dyn FnMut(&[u8], u64) -> Result<()>,
    ) -> Result<()> {
        write(&self.header(), 0)?;
        let mut end = HEADER_BYTES;
        let parts = [
            Some(content.levels),
            Some(bytemuck::cast_slice(content.links)),
            Some(bytemuck::cast_slice(content.ranges)),
            None,
            Some(content.curve),
            Some(content.basis),
            None,
            None,
        ];
        for (range, part) in self.table.ranges().iter().zip(parts) {
            let gap = [0; ALIGNMENT];
            write(gap.get(..range.start - end).unwrap_or_default(), to_u64(end))?;
            end = range.end;
            let Some(part) = part else { continue };
            if part.len() != range.len() {
                let reason = format!("it has {} bytes, expected {}", part.len(), range.len());
                return Err(Error::invalid("section of an index", reason));
            }
            for (piece, at) in part.chunks(WRITE_BYTES).zip((range.start..).step_by(WRITE_BYTES)) {
                write(piece, to_u64(at))?;
            }
        }
        Ok(())
    }

    fn header(&self) -> Vec<u8> {
        let shape = &self.shape;
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let mut fields: Vec<u8> = MAGIC.to_vec();
        for value in [
            VERSION,
            shape.codes.number().cast_unsigned(),
            shape.metric.number(),
            number(shape.dim),
            number(shape.rows),
            0,
            shape.m.cast_unsigned(),
            shape.ef_construction.cast_unsigned(),
            shape.entry_point.cast_unsigned(),
            shape.max_level.cast_unsigned(),
            number(shape.sketch_dims),
        ] {
            fields.extend_from_slice(&value.to_le_bytes());
        }
        fields.resize(TABLE_OFFSET, 0);
        self.table.write(&mut fields, self.count());
        fields.resize(HEADER_BYTES, 0);
        fields
    }

    /// The number of levels of each row.
    pub(crate) fn levels<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        self.table.section(bytes, 0)
    }

    /// The links, in FAISS's order: those of a row together, from its lowest level up, -1 where there is none.
    pub(crate) fn links<'a>(&self, bytes: &'a [u8]) -> Result<&'a [i32]> {
        self.table.section(bytes, 1)
    }

    /// What the quantiser learned; empty but for 8-bit codes.
    pub(crate) fn ranges<'a>(&self, bytes: &'a [u8]) -> Result<&'a [f32]> {
        self.table.section(bytes, 2)
    }

    /// The codes, row by row.
    pub(crate) fn codes<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        self.table.section(bytes, 3)
    }

    /// The recall curve, as stored.
    pub(crate) fn curve<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        self.table.section(bytes, CURVE_SECTION)
    }

    /// The basis of sketches; `None` without sketches.
    pub(crate) fn basis<'a>(&self, bytes: &'a [u8]) -> Result<Option<StoredBasis<'a>>> {
        let section: &[u8] = self.table.section(bytes, BASIS_SECTION)?;
        let Some((curve, rest)) = section.split_at_checked(BASIS_STEP) else { return Ok(None) };
        let values = rest.get(BASIS_VALUES - BASIS_STEP + 4 * self.shape.sketch_dims..).unwrap_or_default();
        let step = f32::from_bits(u32_at(rest, 0).unwrap_or(0));
        let directions = bytemuck::try_cast_slice(values).map_err(|error| corrupt(0, error.to_string()))?;
        Ok(Some(StoredBasis { curve, step, directions }))
    }

    /// The sketches; `None` without any.
    pub(crate) fn sketches_of<'a>(&self, bytes: &'a [u8]) -> Result<Option<Sketches<'a>>> {
        let Some(basis) = self.basis(bytes)? else { return Ok(None) };
        Ok(Some(Sketches {
            dim: self.shape.dim,
            dims: self.shape.sketch_dims,
            step: basis.step,
            directions: basis.directions,
            codes: self.table.section(bytes, SKETCHES_SECTION)?,
            biases: self.table.section(bytes, BIASES_SECTION)?,
            count: self.shape.rows,
        }))
    }

    /// Checks that a search can follow every link: each leads to a row that has the level in which the link is.
    ///
    /// Cost: one pass over levels and links, about as fast as memory.
    /// # Errors
    /// `Corrupt` naming the row.
    pub(crate) fn check_links(&self, levels: &[u8], links: &[i32]) -> Result<()> {
        let corrupt = |detail: String| corrupt(0, detail);
        let rows = i32::try_from(levels.len()).unwrap_or(i32::MAX);
        let lowest = links.iter().copied().min().unwrap_or(-1);
        let highest = links.iter().copied().max().unwrap_or(-1);
        if lowest < -1 || highest >= rows {
            return Err(corrupt(format!("links go from {lowest} to {highest}, expected -1 to {}", rows - 1)));
        }
        let m = usize::try_from(self.shape.m).unwrap_or(usize::MAX);
        let level_of = |row: i32| usize::try_from(row).ok().and_then(|row| levels.get(row).copied());
        let mut rest = links;
        for (row, &count) in levels.iter().enumerate() {
            let cut = if count == 0 { None } else { rest.split_at_checked(self.shape.links_of(count)) };
            let Some((own, after)) = cut else {
                return Err(corrupt(format!("row {row} has {count} levels, for which there are no links")));
            };
            rest = after;
            for (level, links) in (1..count).zip(own.chunks_exact(m).skip(2)) {
                let low = |link: &i32| *link >= 0 && level_of(*link).is_none_or(|count| count <= level);
                if let Some(link) = links.iter().copied().find(low) {
                    return Err(corrupt(format!(
                        "row {row} has a link to row {link} in level {level}, which that row has not"
                    )));
                }
            }
        }
        let top = level_of(self.shape.entry_point).map(i32::from);
        if !rest.is_empty() || (rows > 0 && top != Some(self.shape.max_level + 1)) {
            return Err(corrupt(format!(
                "{} links belong to no row, and the entry point has {top:?} levels, expected {}",
                rest.len(),
                self.shape.max_level + 1
            )));
        }
        Ok(())
    }
}

impl Shape {
    /// The links of a row of so many levels.
    fn links_of(&self, levels: u8) -> usize {
        (usize::from(levels) + 1).saturating_mul(usize::try_from(self.m).unwrap_or(usize::MAX))
    }

    /// The bytes of the sections.
    fn lengths(&self, links: usize) -> [usize; SECTIONS] {
        let (rows, dims) = (self.rows, self.sketch_dims);
        let basis = sketch::basis_values(self.dim, dims) * size_of::<f32>();
        [
            rows,
            links * size_of::<i32>(),
            self.codes.trained(self.dim) * size_of::<f32>(),
            rows * self.codes.bytes(self.dim),
            CURVE_BYTES,
            if dims == 0 { 0 } else { BASIS_VALUES + basis },
            sketch::bytes(rows, dims),
            if dims > 0 && self.metric == Metric::L2 { rows * size_of::<f32>() } else { 0 },
        ]
    }
}
