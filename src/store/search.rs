//! Queries and hits.

use std::ops::Range;
use std::time::Instant;

use roaring::RoaringTreemap;

use super::explain::{Explained, Plan};
use super::memory::Component;
use super::nearest::{Search, nearest};
use super::plan::SearchPath;
use super::snapshot::Snapshot;
use crate::catalog::BLOCK_BYTES;
use crate::codec::{to_u64, to_usize};
use crate::document::Metadata;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::vector::exact::{Query as VectorQuery, Selection};
use crate::vector::topk::Best;

/// The part of the true best that a search finds unless told otherwise.
const RECALL: f32 = 0.95;

/// The sets of rows that a filter needs at once.
const FILTER_SETS: u64 = 4;
/// The rows of a block of such a set.
const BLOCK_ROWS: u64 = 1 << 16;

/// What to search for.
///
/// # Examples
/// ```
/// use vdb::{Filter, Query};
///
/// let query = Query::vector(vec![0.1, 0.9]).k(5).filter(Filter::field("year").gte(2020));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a query does nothing until a store is searched with it"]
pub struct Query {
    target: Target,
    k: usize,
    filter: Option<Filter>,
    min_score: Option<f32>,
    recall: f32,
    ids_only: bool,
    path: Option<SearchPath>,
}

#[derive(Clone, Debug)]
enum Target {
    Vector(Vec<f32>),
    Text(String),
    Like(String),
}

impl Query {
    fn new(target: Target) -> Self {
        Query { target, k: 10, filter: None, min_score: None, recall: RECALL, ids_only: false, path: None }
    }

    /// The documents nearest to a vector.
    pub fn vector(vector: impl Into<Vec<f32>>) -> Self {
        Query::new(Target::Vector(vector.into()))
    }

    /// The documents nearest to a text, which the store's embedder turns into a vector.
    pub fn text(text: impl Into<String>) -> Self {
        Query::new(Target::Text(text.into()))
    }

    /// The documents nearest to the one of this id (to its first part that has a vector), which is left out.
    pub fn like(id: impl Into<String>) -> Self {
        Query::new(Target::Like(id.into()))
    }

    /// How many documents are wanted. Default: 10. There are never fewer, unless fewer match.
    pub fn k(mut self, k: usize) -> Self {
        self.k = k;
        self
    }

    /// Only documents that match. Replaces the filter before.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// The part of the true best that is to be found, on average, above 0 and up to 1. Default: 0.95.
    ///
    /// Segments that have an index are then searched only so far as that needs, by what was measured when it was built.
    /// With 1 every search is exact.
    pub fn recall(mut self, recall: f32) -> Self {
        self.recall = recall;
        self
    }

    /// The true best, from a look at every vector that may be found; the same as a recall of 1.
    pub fn exact(self) -> Self {
        self.recall(1.0)
    }

    /// Ids and scores are enough: hits come without text, metadata and span, and sooner.
    pub fn ids_only(mut self) -> Self {
        self.ids_only = true;
        self
    }

    /// Goes only this way through segments, where it can be gone, to measure it. Default: the cheapest.
    #[doc(hidden)]
    pub fn path(mut self, path: SearchPath) -> Self {
        self.path = Some(path);
        self
    }

    /// Only documents of at least this score. Replaces the one before.
    pub fn min_score(mut self, score: f32) -> Self {
        self.min_score = Some(score);
        self
    }
}

/// A document that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The id of the document.
    pub id: String,
    /// How near it is, by its best part; larger is nearer under every metric: the cosine, the inner product, or minus
    /// the squared L2 distance.
    pub score: f32,
    /// The number by which FAISS knows the score: see [`crate::Metric::distance`].
    pub distance: f32,
    /// The text of the document; `None` after [`Query::ids_only`].
    pub text: Option<String>,
    /// Its metadata, as given; empty after [`Query::ids_only`].
    pub metadata: Metadata,
    /// The part of the text that is nearest, in bytes; empty after [`Query::ids_only`].
    pub span: Range<usize>,
}

/// Finds the best documents, and notes how.
pub(super) fn search(snapshot: &Snapshot, query: &Query) -> Result<Explained> {
    if !(query.recall > 0.0 && query.recall <= 1.0) {
        let reason = format!("it is {}, expected a number above 0 and up to 1", query.recall);
        return Err(Error::invalid("recall", reason));
    }
    let (view, started) = (snapshot.view(), Instant::now());
    let mut found = Explained { hits: Vec::new(), plan: Plan::default() };
    let Some((vector, excluded)) = target(snapshot, query)? else { return Ok(found) };
    found.plan.target_time = started.elapsed();
    let prepared = VectorQuery::new(view.metric, &vector)?;
    let Some(dim) = view.dim() else { return Ok(found) };
    if vector.len() != dim {
        return Err(Error::Shape { what: "query vector".into(), expected: dim, found: vector.len() });
    }
    let started = Instant::now();
    let sets = if query.filter.is_some() { FILTER_SETS } else { 0 };
    let needs = sets * (view.counters.next_row / BLOCK_ROWS + 1).saturating_mul(BLOCK_BYTES);
    let _grant = snapshot.store().accountant().grant(Component::Queries, "a search with a filter", needs)?;
    let allowed = query.filter.as_ref().map(|filter| snapshot.matching_rows(filter)).transpose()?;
    found.plan.filter_time = started.elapsed();
    let selection = match &allowed {
        Some(rows) => Selection::Only(rows),
        None if view.dead.is_empty() => Selection::All,
        None => Selection::Except(&view.dead),
    };
    found.plan.allowed = allowed.as_ref().map_or(view.counters.parts, RoaringTreemap::len);
    let k = query.k.saturating_add(usize::from(excluded.is_some()));
    let search = Search { query: &prepared, selection, k, recall: query.recall, path: query.path };
    let top = nearest(snapshot, &search, &mut found.plan)?;
    let started = Instant::now();
    for best in top.into_sorted() {
        if excluded != Some(best.owner)
            && query.min_score.is_none_or(|min| best.score >= min)
            && found.hits.len() < query.k
        {
            found.hits.push(if query.ids_only { short_hit(snapshot, best)? } else { hit(snapshot, best)? });
        }
    }
    found.plan.fetch_time = started.elapsed();
    Ok(found)
}

/// The vector to search for, and the document to leave out; `None` when nothing can be found.
fn target(snapshot: &Snapshot, query: &Query) -> Result<Option<(Vec<f32>, Option<u64>)>> {
    match &query.target {
        Target::Vector(vector) => Ok(Some((vector.clone(), None))),
        Target::Text(text) => {
            let embedder = snapshot.store().embedder().ok_or_else(|| Error::Unavailable {
                feature: "searching by text",
                reason: "the store was opened without an embedding model; give one, or a vector".into(),
            })?;
            Ok(Some((embedder.embed(&[text])?.vectors, None)))
        }
        Target::Like(id) => {
            let missing = || Error::NotFound { what: "document", name: id.clone() };
            let row = crate::catalog::id_row(snapshot.txn(), id)?.ok_or_else(missing)?;
            let record = snapshot.record(row)?;
            match record.parts.iter().position(|part| part.vector) {
                Some(part) => Ok(Some((snapshot.row_vector(row + to_u64(part))?, Some(row)))),
                None => Ok(None),
            }
        }
    }
}

/// A hit of which no more is read than the id.
fn short_hit(snapshot: &Snapshot, best: Best) -> Result<Hit> {
    Ok(Hit {
        id: snapshot.document_id(best.owner)?,
        score: best.score,
        distance: snapshot.view().metric.distance(best.score),
        text: None,
        metadata: Metadata::default(),
        span: 0..0,
    })
}

fn hit(snapshot: &Snapshot, best: Best) -> Result<Hit> {
    let record = snapshot.record(best.owner)?;
    let part = to_usize(best.row - best.owner);
    let span = record.parts.get(part).map(|part| to_usize(part.start.into())..to_usize(part.end.into()));
    let span = span.ok_or_else(|| {
        Error::corrupt(
            format!("document {:?}", record.id),
            0,
            format!("part {part} has a vector and does not exist"),
        )
    })?;
    Ok(Hit {
        id: record.id,
        score: best.score,
        distance: snapshot.view().metric.distance(best.score),
        text: record.text,
        metadata: Metadata::stored(record.metadata),
        span,
    })
}
