//! What stands before the vectors in a stream of FAISS, by the kind of its index.
#![deny(clippy::indexing_slicing)]

use std::io::Read;

use super::fields::{Fields, IndexHeader};
use super::{VALUE_BYTES, widen};
use crate::error::{Error, Result};

/// The most levels that a graph has, with two links a level.
const LEVELS_MAX: u64 = 64;

/// How the vectors of a stream are kept.
#[derive(Debug)]
pub(super) enum Storage {
    /// As f32.
    Flat,
    /// One byte a value: for each dimension the least value, then for each the width of its range.
    Bytes { least: Vec<f32>, widths: Vec<f32> },
}

/// Where the vectors of a stream are.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) storage: Storage,
    /// For an index of inverted lists the sizes of those that are not empty, the last first.
    pub(super) lists: Option<Vec<u64>>,
}

impl Storage {
    /// Bytes of a vector.
    pub(super) fn row_bytes(&self, dim: usize) -> usize {
        match self {
            Storage::Flat => dim.saturating_mul(size_of::<f32>()),
            Storage::Bytes { .. } => dim,
        }
    }

    /// Appends the values of whole vectors.
    ///
    /// Source: FAISS `Codec8bit` and `QuantizerTemplate`; with one rounding for product and sum, as FAISS is compiled.
    pub(super) fn decode(&self, bytes: &[u8], values: &mut Vec<f32>) {
        match self {
            Storage::Flat => {
                values.extend(bytes.as_chunks().0.iter().map(|value| f32::from_le_bytes(*value)));
            }
            Storage::Bytes { least, widths } => {
                for code in bytes.chunks_exact(least.len().max(1)) {
                    let parts = code.iter().zip(least.iter().zip(widths));
                    values.extend(parts.map(|(&byte, (&least, &width))| {
                        ((f32::from(byte) + 0.5) / 255.0).mul_add(width, least)
                    }));
                }
            }
        }
    }
}

/// Checks that the reader understands indexes of this name.
pub(super) fn require_known(name: [u8; 4]) -> Result<()> {
    match &name {
        b"IxFI" | b"IxF2" | b"IxFl" | b"IxMp" | b"IxM2" | b"IxSQ" | b"IHNf" | b"IHNs" | b"IwFl" => Ok(()),
        _ => Err(unavailable(format!(
            "its kind is \"{}\", expected a flat index (IxFI, IxF2, IxFl), 8-bit codes (IxSQ), a graph over either (IHNf, \
             IHNs), lists of vectors (IwFl), or an id map (IxMp, IxM2)",
            name.escape_ascii()
        ))),
    }
}

fn unavailable(reason: String) -> Error {
    Error::Unavailable { feature: "import of this FAISS index", reason }
}

fn is_flat(index: &IndexHeader) -> bool {
    matches!(&index.name, b"IxFI" | b"IxF2" | b"IxFl")
}

impl<R: Read> Fields<R> {
    /// Reads what stands between an index header and the vectors.
    pub(super) fn body(&mut self, index: &IndexHeader) -> Result<Body> {
        match &index.name {
            b"IxSQ" => self.quantiser(index).map(|storage| Body { storage, lists: None }),
            b"IHNf" | b"IHNs" => {
                self.graph(index.rows)?;
                let storage = self.inner("index inside the graph", index)?;
                if is_flat(&storage) != (&index.name == b"IHNf")
                    || !(is_flat(&storage) || &storage.name == b"IxSQ")
                {
                    return Err(self.corrupt(format!(
                        "{} holds {}, expected a flat index in IHNf and 8-bit codes in IHNs",
                        index.name.escape_ascii(),
                        storage.name.escape_ascii()
                    )));
                }
                self.body(&storage)
            }
            b"IwFl" => self.lists(index).map(|lists| Body { storage: Storage::Flat, lists: Some(lists) }),
            _ if is_flat(index) => {
                self.flat(index)?;
                Ok(Body { storage: Storage::Flat, lists: None })
            }
            _ => Err(self.corrupt("an id map holds another id map, expected an index".into())),
        }
    }

    /// Reads the header of an index inside of `outer`, with which it must agree.
    pub(super) fn inner(&mut self, what: &str, outer: &IndexHeader) -> Result<IndexHeader> {
        let inner = self.index_header(what)?;
        let place = what.trim_start_matches("index ");
        self.expect(&format!("dimension {place}"), inner.dim, outer.dim)?;
        self.expect(&format!("number of vectors {place}"), inner.rows, outer.rows)?;
        self.expect(&format!("metric {place}"), inner.metric.number(), outer.metric.number())?;
        Ok(inner)
    }

    /// Checks that the name of a flat index agrees with its metric, and reads the number of values.
    fn flat(&mut self, index: &IndexHeader) -> Result<()> {
        match &index.name {
            b"IxFI" => self.expect("metric of IxFI", index.metric.number(), 0)?,
            b"IxF2" => self.expect("metric of IxF2", index.metric.number(), 1)?,
            _ => {}
        }
        let values = self.u64("number of values")?;
        self.expect("number of values", values, index.rows.saturating_mul(widen(index.dim)))
    }

    /// Source: FAISS `read_ScalarQuantizer`.
    fn quantiser(&mut self, index: &IndexHeader) -> Result<Storage> {
        let kind = self.i32("kind of the quantiser")?;
        if kind != 0 {
            return Err(unavailable(format!(
                "its scalar quantiser is of kind {kind}, expected 0 (8 bits a value)"
            )));
        }
        self.i32("rule of the ranges")?;
        self.array::<4>("argument of the rule")?;
        let dim = widen(index.dim);
        for (field, expected) in [
            ("dimension of the quantiser", dim),
            ("bytes of a code", dim),
            ("number of ranges", dim.saturating_mul(2)),
        ] {
            let found = self.u64(field)?;
            self.expect(field, found, expected)?;
        }
        let mut read = |field: &str| {
            let mut values = Vec::new();
            self.items(field, dim, |value| values.push(f32::from_le_bytes(value))).map(|()| values)
        };
        let (least, widths) = (read("least values")?, read("widths of ranges")?);
        let bytes = self.u64("number of codes")?;
        self.expect("number of codes", bytes, index.rows.saturating_mul(dim))?;
        Ok(Storage::Bytes { least, widths })
    }

    /// Reads a graph and forgets it: an index of a store has its own.
    ///
    /// Source: FAISS `read_HNSW`.
    fn graph(&mut self, rows: u64) -> Result<()> {
        let levels = self.skip_array::<8>("chances of levels", None)?;
        if levels > LEVELS_MAX {
            return Err(self.corrupt(format!("the graph has {levels} levels, expected at most {LEVELS_MAX}")));
        }
        self.skip_array::<4>("widths of levels", Some(levels.saturating_add(1)))?;
        self.skip_array::<4>("levels of rows", Some(rows))?;
        self.skip_array::<8>("offsets of links", Some(rows.saturating_add(1)))?;
        self.skip_array::<4>("links", None)?;
        self.array::<20>("parameters of the graph").map(drop)
    }

    /// Reads an inverted file up to its first list; returns the sizes of the lists that are not empty, the last first.
    ///
    /// Source: FAISS `read_ivf_header`, `read_InvertedLists`.
    fn lists(&mut self, index: &IndexHeader) -> Result<Vec<u64>> {
        let count = self.u64("number of lists")?;
        self.u64("number of probes")?;
        let centres = self.index_header("index of the centres")?;
        self.expect("dimension of the centres", centres.dim, index.dim)?;
        self.expect("number of centres", centres.rows, count)?;
        if !is_flat(&centres) {
            let name = centres.name.escape_ascii();
            return Err(unavailable(format!("its centres are in an index {name}, expected a flat one")));
        }
        self.flat(&centres)?;
        self.items::<4>("centres", count.saturating_mul(widen(index.dim)), |_| ())?;
        let [map] = self.array("kind of the direct map")?;
        self.skip_array::<8>("direct map", None)?;
        if map == 2 {
            self.skip_array::<16>("direct map", None)?;
        }
        let name = self.array::<4>("name of the lists")?;
        if &name != b"ilar" {
            return Err(unavailable(format!("its lists are \"{}\", expected ilar", name.escape_ascii())));
        }
        let again = self.u64("number of lists")?;
        self.expect("number of lists", again, count)?;
        let bytes = self.u64("bytes of a vector")?;
        self.expect("bytes of a vector", bytes, widen(index.dim).saturating_mul(VALUE_BYTES))?;
        let sizes = self.list_sizes(count)?;
        let total = sizes.iter().fold(0_u64, |total, &size| total.saturating_add(size));
        self.expect("number of vectors in the lists", total, index.rows)?;
        Ok(sizes)
    }

    fn list_sizes(&mut self, lists: u64) -> Result<Vec<u64>> {
        let form = self.array::<4>("form of the sizes")?;
        let stored = self.u64("number of sizes")?;
        let mut sizes = Vec::new();
        match &form {
            b"full" => {
                self.expect("number of sizes", stored, lists)?;
                self.items("sizes of lists", stored, |size| sizes.push(u64::from_le_bytes(size)))?;
            }
            b"sprs" => {
                let pairs = stored / 2;
                self.expect("number of sizes", stored, pairs.min(lists).saturating_mul(2))?;
                self.items("sizes of lists", pairs, |pair: [u8; 16]| {
                    // The number of the list, then its size.
                    sizes.push(u64::try_from(u128::from_le_bytes(pair) >> 64).unwrap_or(u64::MAX));
                })?;
            }
            _ => {
                let form = form.escape_ascii();
                return Err(
                    self.corrupt(format!("sizes of lists are in the form \"{form}\", expected full or sprs"))
                );
            }
        }
        sizes.retain(|&size| size > 0);
        sizes.reverse();
        Ok(sizes)
    }
}
