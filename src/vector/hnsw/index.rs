//! An index over a blob: opened at once, checked before its first search.

use std::num::NonZero;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{Curve, Sections, Shape, WAYS};
use crate::error::Result;
use crate::storage::Bytes;
use crate::vector::codes::Found;
use crate::vector::exact::{Query, Selection};
use crate::vector::faiss::{self, Graph, Nearest};
use crate::vector::rows::Rows;

/// An index of a segment. Threads may share it.
#[derive(Debug)]
pub(crate) struct Index {
    bytes: Arc<Bytes>,
    sections: Sections,
    curve: Curve,
    sketch_curve: Option<Curve>,
    graph: OnceLock<Graph>,
    opening: Mutex<()>,
}

/// How thorough a search is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// How many rows are scored exactly; see [`super::Codes::candidates`].
    pub(crate) candidates: usize,
    /// How many candidates the search of the graph follows; see [`Curve::effort_for`].
    pub(crate) effort: usize,
}

/// A row that the graph gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Near {
    /// Its position in the block.
    pub(crate) position: usize,
    /// Its approximate score; larger is nearer.
    pub(crate) score: f32,
}

impl Index {
    /// Opens a blob. Checks that its sections lie within it; reads only the header and the recall curves.
    ///
    /// # Errors
    /// `Corrupt`, `Version`.
    pub(crate) fn open(bytes: impl Into<Arc<Bytes>>) -> Result<Self> {
        let bytes = bytes.into();
        let sections = Sections::open(&bytes)?;
        let curve = Curve::decode(sections.curve(&bytes)?)?;
        let sketch_curve = sections.basis(&bytes)?.map(|basis| Curve::decode(basis.curve)).transpose()?;
        let (graph, opening) = (OnceLock::new(), Mutex::new(()));
        Ok(Index { bytes, sections, curve, sketch_curve, graph, opening })
    }

    /// What it is.
    pub(crate) fn shape(&self) -> &Shape {
        self.sections.shape()
    }

    /// The recall that was measured when it was built.
    pub(crate) fn curve(&self) -> &Curve {
        &self.curve
    }

    /// As [`crate::vector::index::Index::planned_by`].
    pub(crate) fn planned_by(&self) -> Vec<Range<usize>> {
        self.sections.planned_by()
    }

    /// The blob.
    pub(crate) fn blob(&self) -> &[u8] {
        &self.bytes
    }

    /// The length of the blob.
    pub(crate) fn bytes(&self) -> usize {
        self.sections.len()
    }

    /// The graph. Cost: at the first call, a pass over levels and links, and some two bytes of memory a row.
    fn graph(&self) -> Result<&Graph> {
        if let Some(graph) = self.graph.get() {
            return Ok(graph);
        }
        let _one = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(graph) = self.graph.get() {
            return Ok(graph);
        }
        faiss::ready()?;
        let graph = Graph::open(&self.bytes, &self.sections)?;
        Ok(self.graph.get_or_init(|| graph))
    }

    /// Checks what a search relies upon: every level and link.
    ///
    /// # Errors
    /// `Corrupt` naming the row.
    pub(crate) fn check(&self) -> Result<()> {
        self.graph().map(drop)
    }

    /// The recall of scans of sketches, if it has sketches.
    pub(crate) fn sketch_curve(&self) -> Option<&Curve> {
        self.sketch_curve.as_ref()
    }

    /// Finds the `count` rows of a selection whose sketches are nearest to a query; none without sketches. `rows` are the ids
    /// at its positions.
    ///
    /// # Errors
    /// `Shape` for a query of another size.
    pub(crate) fn scan(
        &self,
        query: &Query,
        rows: Rows<'_>,
        selection: &Selection<'_>,
        count: usize,
        threads: NonZero<usize>,
    ) -> Result<Found> {
        match self.sections.sketches_of(&self.bytes)? {
            Some(sketches) => sketches.nearest(query, rows, selection, count, threads),
            None => Ok(Found::default()),
        }
    }

    /// Finds up to `wanted.candidates` rows near a query, nearest first, equals by position, and the number of distances
    /// computed.
    ///
    /// The query must have the metric of the index. Memory: [`super::search_bytes`].
    /// # Errors
    /// `Corrupt` for links that lead nowhere; `Shape` for a query of another size; `Native`; `Unavailable` after a fork.
    pub(crate) fn near(&self, query: &Query, wanted: Wanted) -> Result<(Vec<Near>, u64)> {
        self.near_if(query, wanted, None)
    }

    /// As [`Index::near`], but turns back, and gives nothing, if none of the rows that it goes down with, [`WAYS`] in number,
    /// is allowed. That costs a third of a search, and one that does not turn back costs hardly more.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn near_if(
        &self,
        query: &Query,
        wanted: Wanted,
        is_allowed: Option<&dyn Fn(usize) -> bool>,
    ) -> Result<(Vec<Near>, u64)> {
        let shape = self.shape();
        query.check_dim(shape.dim)?;
        if shape.rows == 0 || wanted.candidates == 0 {
            return Ok((Vec::new(), 0));
        }
        let (searcher, vector) = (self.graph()?.searcher(), query.vector());
        let (mut above, mut computed) = (None, 0);
        if let Some(is_allowed) = is_allowed {
            let ways = usize::try_from(WAYS).unwrap_or(1);
            let found = searcher.search(vector, None, ways, 0)?;
            computed = found.computed;
            if positions(&found).count() == ways && !positions(&found).any(|near| is_allowed(near.position)) {
                return Ok((Vec::new(), computed));
            }
            above = Some(found);
        }
        let found = searcher.search(vector, above.as_ref(), wanted.candidates, wanted.effort.max(1))?;
        let mut near: Vec<Near> = positions(&found).collect();
        near.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.position.cmp(&b.position)));
        Ok((near, computed + found.computed))
    }
}

fn positions(found: &Nearest) -> impl Iterator<Item = Near> {
    found
        .found()
        .map_while(|(row, distance)| Some(Near { position: usize::try_from(row).ok()?, score: -distance }))
}
