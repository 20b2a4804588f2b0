//! An index of a segment, of whichever kind.

use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::codes::{self, CodeIndex, Width};
use super::faiss_stream;
use super::hnsw::{self, Codes, Curve, Index as Graph, Params};
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::storage::Bytes;

/// What an index is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// A graph of nearest neighbours over codes.
    Graph(Params),
    /// Codes to scan.
    Codes(Width),
}

impl Recipe {
    /// Its name, as users know it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Recipe::Graph(Params { codes: Codes::F16, .. }) => "hnsw",
            Recipe::Graph(Params { codes: Codes::Sq8, .. }) => "hnsw-sq8",
            Recipe::Graph(Params { codes: Codes::F32, .. }) => "hnsw-f32",
            Recipe::Codes(Width::Eight) => "sq8",
            Recipe::Codes(Width::Four) => "sq4",
        }
    }

    /// The most bytes of memory that building it takes.
    pub(crate) fn build_bytes(self, rows: usize, dim: usize, threads: usize) -> usize {
        match self {
            Recipe::Graph(params) => hnsw::build_bytes(rows, dim, params, threads),
            Recipe::Codes(_) => codes::build_bytes(rows, dim),
        }
    }
}

/// An index over a blob. Threads may share it.
#[derive(Debug)]
pub(crate) enum Index {
    /// A graph.
    Graph(Graph),
    /// Codes.
    Codes(CodeIndex),
}

impl Index {
    /// Opens a blob. Checks that its sections lie within it; reads only the header and the recall curve.
    ///
    /// # Errors
    /// `Corrupt`, `Version`.
    pub(crate) fn open(bytes: Arc<Bytes>) -> Result<Self> {
        match bytes.get(..hnsw::MAGIC.len()) {
            Some(magic) if magic == hnsw::MAGIC => Graph::open(bytes).map(Index::Graph),
            Some(magic) if magic == codes::MAGIC => CodeIndex::open(bytes).map(Index::Codes),
            _ => Err(Error::corrupt("index", 0, "it does not begin as an index of a known kind")),
        }
    }

    /// How one like it is built.
    pub(crate) fn recipe(&self) -> Recipe {
        match self {
            Index::Graph(graph) => {
                let hnsw::Shape { codes, m, ef_construction, .. } = *graph.shape();
                Recipe::Graph(Params { m, ef_construction, ..Params::new(codes) })
            }
            Index::Codes(codes) => Recipe::Codes(codes.shape().width),
        }
    }

    /// Its rows, the values of a vector, and how vectors are compared.
    pub(crate) fn fitting(&self) -> (usize, usize, Metric) {
        match self {
            Index::Graph(graph) => (graph.shape().rows, graph.shape().dim, graph.shape().metric),
            Index::Codes(codes) => (codes.shape().rows, codes.shape().dim, codes.shape().metric),
        }
    }

    /// The recall that was measured when it was built.
    pub(crate) fn curve(&self) -> &Curve {
        match self {
            Index::Graph(graph) => graph.curve(),
            Index::Codes(codes) => codes.curve(),
        }
    }

    /// Where in the blob lies what opening has read, from which searches are planned.
    pub(crate) fn planned_by(&self) -> Vec<Range<usize>> {
        match self {
            Index::Graph(graph) => graph.planned_by(),
            Index::Codes(codes) => codes.planned_by(),
        }
    }

    /// The dimensions of its sketches, and the recall of their scans; `None` without sketches.
    pub(crate) fn sketches(&self) -> Option<(usize, &Curve)> {
        match self {
            Index::Graph(graph) => Some((graph.shape().sketch_dims, graph.sketch_curve()?)),
            Index::Codes(_) => None,
        }
    }

    /// Writes it as FAISS would, vectors named by position. `path` names the stream in errors and is not opened.
    ///
    /// # Errors
    /// `Corrupt` for a blob that is damaged; `Io`.
    pub(crate) fn write_faiss(&self, out: impl Write, path: &Path) -> Result<()> {
        match self {
            Index::Graph(graph) => faiss_stream::write_graph(out, path, graph.blob()),
            Index::Codes(codes) => faiss_stream::write_codes(out, path, &codes.quantised()?),
        }
    }

    /// Checks what a search relies upon.
    ///
    /// # Errors
    /// `Corrupt` naming the row.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Index::Graph(graph) => graph.check(),
            Index::Codes(_) => Ok(()),
        }
    }
}
