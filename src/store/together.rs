//! Several stores, searched as one.

use std::ops::Range;

use super::explain::Explained;
use super::hit::Hit;
use super::query::Query;
use super::request;
use super::search::search;
use super::snapshot::Snapshot;
use crate::embed::Embedder;
use crate::error::{Error, Result};
use crate::text::query::TextQuery;

/// Snapshots of several stores, searched as if their documents were in one.
///
/// Both rankings are of all documents before they become one. BM25 counts how rare a word is in each store by itself.
#[derive(Debug)]
pub struct Together<'s> {
    snapshots: Vec<&'s Snapshot>,
}

impl<'s> Together<'s> {
    /// Stores whose scores can be compared.
    ///
    /// # Errors
    /// `Invalid` for stores of several metrics; `Model` for stores of several models.
    pub fn new(snapshots: impl IntoIterator<Item = &'s Snapshot>) -> Result<Self> {
        let snapshots: Vec<&Snapshot> = snapshots.into_iter().collect();
        for pair in snapshots.windows(2) {
            let [one, other] = [pair[0], pair[1]].map(Snapshot::view);
            if one.metric != other.metric {
                let reason = format!("it is {} in one store and {} in another", one.metric, other.metric);
                return Err(Error::invalid("metric", reason));
            }
            if one.model() != other.model() {
                let [expected, found] =
                    [one, other].map(|view| view.model().map_or("none".into(), |model| model.to_string()));
                return Err(Error::Model { expected, found });
            }
        }
        Ok(Together { snapshots })
    }

    /// Searches all of them, and tells how; [`Explained::sources`] says where each hit is from.
    ///
    /// # Errors
    /// As [`Snapshot::search`].
    pub fn explain(&self, query: &Query) -> Result<Explained> {
        search(&self.snapshots, query)
    }

    /// Gives text queries their vectors, all at once, as far as a search will need them. Those that have one keep it.
    ///
    /// # Errors
    /// The embedder's own; `Unavailable` for words in a store without a text index.
    pub fn embed(&self, queries: &mut [Query], embedder: &dyn Embedder) -> Result<()> {
        request::embed(&self.snapshots, queries, embedder)
    }

    /// Whether words can be searched for in all of them.
    pub fn has_text_index(&self) -> bool {
        self.snapshots.iter().all(|snapshot| snapshot.has_text_index())
    }
}

impl Snapshot {
    /// Searches: the best documents first.
    ///
    /// # Errors
    /// `Shape` for a query of another dimension; `Invalid` for one that is not finite, for a number out of its range, and for
    /// a mode that does not go with the query; `Unavailable` for a text whose vector is needed where there is no embedder, and for
    /// words in a store without a text index; `Corrupt`, `Io`.
    pub fn search(&self, query: &Query) -> Result<Vec<Hit>> {
        Ok(search(&[self], query)?.hits)
    }

    /// Searches as [`Snapshot::search`] does, and tells how.
    ///
    /// # Errors
    /// As [`Snapshot::search`].
    pub fn explain(&self, query: &Query) -> Result<Explained> {
        search(&[self], query)
    }

    /// Searches for many, in their order; texts are embedded together.
    ///
    /// # Errors
    /// As [`Snapshot::search`], for the first that cannot be answered.
    pub fn search_all(&self, queries: &[Query]) -> Result<Vec<Vec<Hit>>> {
        let mut queries = queries.to_vec();
        if let Some(embedder) = self.store().embedder() {
            request::embed(&[self], &mut queries, embedder)?;
        }
        queries.iter().map(|query| self.search(query)).collect()
    }

    /// Whether words can be searched for.
    pub fn has_text_index(&self) -> bool {
        self.view().text.is_some()
    }

    /// Where a text has words of a query that is a text: ranges of bytes on borders of characters, in order and apart. None for
    /// other queries, and in a store without a text index. Cost: a pass over the text.
    ///
    /// # Errors
    /// `Unavailable` where another version of vdb made the text index.
    pub fn highlights(&self, query: &Query, text: &str) -> Result<Vec<Range<usize>>> {
        let (Some(asked), Some(index)) = (query.words(), &self.view().text) else { return Ok(Vec::new()) };
        let analyzer = index.analyzer()?;
        Ok(TextQuery::parse(asked, analyzer).highlights(text, analyzer))
    }
}
