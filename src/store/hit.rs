//! The documents that a search found, as users see them.

use std::ops::Range;

use super::search::Ranked;
use super::snapshot::Snapshot;
use super::text::TellingParts;
use crate::catalog::DocumentRecord;
use crate::codec::{to_u64, to_usize};
use crate::document::Metadata;
use crate::error::{Error, Result};
use crate::mmr::cosine_of;
use crate::text::query::TextQuery;

/// A document that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The id of the document.
    pub id: String,
    /// How well it answers; larger is better. Of vectors, by its best part: the cosine, the inner product, or minus the
    /// squared L2 distance. Of words, by its whole text: BM25. Of both: what became of the two.
    pub score: f32,
    /// The number by which FAISS knows the score of the vector: see [`crate::Metric::distance`]. None for a document that
    /// was not found by its vector.
    pub distance: Option<f32>,
    /// The scores that the score was made of.
    pub parts: ScoreParts,
    /// The text of the document; `None` after [`super::Query::ids_only`].
    pub text: Option<String>,
    /// Its metadata, as given; empty after [`super::Query::ids_only`].
    pub metadata: Metadata,
    /// The part of the text that answers best, in bytes; empty after [`super::Query::ids_only`].
    pub span: Range<usize>,
}

impl Hit {
    /// What it takes in memory besides its place in a list.
    pub(super) fn bytes(&self) -> usize {
        let text = self.text.as_ref().map_or(0, String::len);
        self.id.len() + text + self.metadata.as_json().len()
    }
}

/// The scores of one document on both sides; none where a side has not found it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScoreParts {
    /// By its nearest vector.
    pub vector: Option<f32>,
    /// By its words.
    pub text: Option<f32>,
}

/// A document of the ranking of which no more is read than the id.
pub(super) fn short_hit(snapshot: &Snapshot, ranked: Ranked) -> Result<Hit> {
    let metric = snapshot.view().metric;
    Ok(Hit {
        id: snapshot.document_id(ranked.owner)?,
        score: ranked.score,
        distance: ranked.parts.vector.map(|score| metric.distance(score)),
        parts: ranked.parts,
        text: None,
        metadata: Metadata::default(),
        span: 0..0,
    })
}

/// Reads the documents of a ranking.
pub(super) struct HitReader<'a> {
    words: &'a [TextQuery],
    /// Of each snapshot, once it is needed.
    telling: Vec<Option<TellingParts<'a>>>,
}

impl<'a> HitReader<'a> {
    /// `words` are those of the query, for each snapshot.
    pub(super) fn new(words: &'a [TextQuery]) -> Self {
        HitReader { words, telling: words.iter().map(|_| None).collect() }
    }

    /// Reads a document of a snapshot.
    pub(super) fn hit(&mut self, snapshot: &'a Snapshot, ranked: Ranked) -> Result<Hit> {
        let record = snapshot.record(ranked.owner)?;
        let part = match ranked.row {
            Some(row) => row - ranked.owner,
            None => self.telling_part(snapshot, ranked.source, &record)?,
        };
        let span = record.parts.get(to_usize(part));
        let span = span.map(|part| to_usize(part.start.into())..to_usize(part.end.into()));
        let span = span.ok_or_else(|| {
            let detail = format!("part {part} was found and does not exist");
            Error::corrupt(format!("document {:?}", record.id), 0, detail)
        })?;
        let metric = snapshot.view().metric;
        Ok(Hit {
            id: record.id,
            score: ranked.score,
            distance: ranked.parts.vector.map(|score| metric.distance(score)),
            parts: ranked.parts,
            text: record.text,
            metadata: Metadata::stored(record.metadata),
            span,
        })
    }

    /// The place of the part in which there is most of the words.
    fn telling_part(
        &mut self,
        snapshot: &'a Snapshot,
        source: usize,
        record: &DocumentRecord,
    ) -> Result<u64> {
        let (Some(words), true) = (self.words.get(source), record.parts.len() > 1) else { return Ok(0) };
        let Some(telling) = self.telling.get_mut(source) else { return Ok(0) };
        let telling = match telling {
            Some(telling) => telling,
            none => none.insert(snapshot.telling_parts(words)?),
        };
        telling.best(record)
    }
}

/// The part of a document whose vector has the largest cosine with `vector`: the cosine, and that vector.
pub(super) fn nearest_part(
    snapshot: &Snapshot,
    owner: u64,
    vector: &[f32],
) -> Result<Option<(f64, Vec<f32>)>> {
    let record = snapshot.record(owner)?;
    let mut best: Option<(f64, Vec<f32>)> = None;
    for (part, _) in record.parts.iter().enumerate().filter(|(_, part)| part.vector) {
        let other = snapshot.row_vector(owner + to_u64(part))?;
        if other.len() != vector.len() {
            return Err(Error::Shape {
                what: "query vector".into(),
                expected: other.len(),
                found: vector.len(),
            });
        }
        let cosine = cosine_of(vector, &other);
        if best.as_ref().is_none_or(|(most, _)| cosine > *most) {
            best = Some((cosine, other));
        }
    }
    Ok(best)
}
