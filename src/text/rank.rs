//! BM25 over the whole store: how rare terms are in all segments and the tail, and what a clause is worth by that.

use std::collections::HashMap;
use std::sync::Arc;

use tantivy::index::SegmentId;
use tantivy::query::{
    Bm25StatisticsProvider, Bm25Weight, EnableScoring, Explanation, PhraseQuery, Query, Scorer, TermQuery,
    Weight,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocId, DocSet, Score, SegmentReader, TERMINATED, Term};

use super::query::Clause;
use super::search::Corpus;
use super::segment::Opened;
use super::shape::Shape;
use crate::codec::{to_u64, to_usize};
use crate::error::Result;

/// Rows and terms of the whole store.
///
/// Rows that died in a segment count until a merge drops them; those that died in the tail do not.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    rows: u64,
    positions: u64,
    frequencies: HashMap<String, u64>,
}

impl Statistics {
    /// What is to be known for these clauses.
    pub(super) fn of(corpus: &Corpus<'_>, clauses: &[Clause]) -> Result<Self> {
        let mut statistics = Statistics::default();
        if let Some(tail) = corpus.tail {
            (statistics.rows, statistics.positions) = (tail.live(), tail.positions());
        }
        for segment in corpus.segments {
            statistics.rows += segment.layout().rows;
            statistics.positions += segment.layout().positions;
        }
        for clause in clauses {
            match clause {
                Clause::Term(term) => statistics.count(corpus, term)?,
                Clause::Phrase(terms) => {
                    for (_, term) in terms {
                        statistics.count(corpus, term)?;
                    }
                }
                Clause::Prefix(_) => {}
            }
        }
        Ok(statistics)
    }

    fn count(&mut self, corpus: &Corpus<'_>, term: &str) -> Result<()> {
        if self.frequencies.contains_key(term) {
            return Ok(());
        }
        let key = Term::from_field_text(Shape::get()?.text, term);
        let mut rows = 0;
        for segment in corpus.segments {
            let opened = segment.opened()?;
            rows += u64::from(segment.reading(|| Ok(opened.inverted.doc_freq(&key)?))?);
        }
        if let Some(tail) = corpus.tail {
            rows += to_u64(tail.find(&Clause::Term(term.to_owned()), corpus.dead).len());
        }
        self.frequencies.insert(term.to_owned(), rows);
        Ok(())
    }

    /// Whether there is anything to be found.
    pub(super) fn is_empty(&self) -> bool {
        self.positions == 0
    }

    pub(super) fn average_length(&self) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "an average of lengths, as tantivy computes it")]
        let (rows, positions) = (self.rows as f32, self.positions as f32);
        positions / rows
    }

    fn frequency(&self, term: &str) -> u64 {
        // Of bytes that nobody wrote so there may be more rows that have a term than rows.
        self.frequencies.get(term).map_or(0, |&rows| rows.min(self.rows))
    }

    /// What one of a number of rows is worth.
    fn weight_of(&self, rows: u64) -> Bm25Weight {
        Bm25Weight::for_one_term_without_explain(rows.min(self.rows), self.rows, self.average_length())
    }
}

impl Bm25StatisticsProvider for Statistics {
    fn total_num_tokens(&self, _: Field) -> tantivy::Result<u64> {
        Ok(self.positions)
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.rows)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        Ok(std::str::from_utf8(term.serialized_value_bytes()).map_or(0, |term| self.frequency(term)))
    }
}

/// A clause and what it is worth.
pub(super) struct Ranked {
    pub(super) clause: Clause,
    pub(super) query: Box<dyn Query>,
    pub(super) weight: Box<dyn Weight>,
    /// The same for the tail.
    pub(super) bm25: Bm25Weight,
}

impl Ranked {
    pub(super) fn new(corpus: &Corpus<'_>, statistics: &Statistics, clause: &Clause) -> Result<Self> {
        let shape = Shape::get()?;
        let term = |text: &str| Term::from_field_text(shape.text, text);
        let (query, bm25): (Box<dyn Query>, Bm25Weight) = match clause {
            Clause::Term(text) => {
                let query = TermQuery::new(term(text), IndexRecordOption::WithFreqs);
                (Box::new(query), statistics.weight_of(statistics.frequency(text)))
            }
            Clause::Phrase(terms) => {
                let at = |(place, text): &(u32, String)| (to_usize(u64::from(*place)), term(text));
                let places: Vec<(usize, Term)> = terms.iter().map(at).collect();
                let all: Vec<Term> = terms.iter().map(|(_, text)| term(text)).collect();
                let bm25 = super::shape::native(|| Bm25Weight::for_terms(statistics, &all))?;
                (Box::new(PhraseQuery::new_with_offset(places)), bm25)
            }
            Clause::Prefix(prefix) => {
                let (found, mut rows) = expand(corpus, prefix)?;
                if let Some(tail) = corpus.tail {
                    rows += to_u64(tail.find(clause, corpus.dead).len());
                }
                let bm25 = statistics.weight_of(rows);
                (Box::new(Beginning { found: Arc::new(found), bm25: bm25.clone() }), bm25)
            }
        };
        let scoring = EnableScoring::enabled_from_statistics_provider(statistics, &shape.searcher);
        let weight = super::shape::native(|| query.weight(scoring))?;
        Ok(Ranked { clause: clause.clone(), query, weight, bm25 })
    }
}

/// Of each segment the rows with terms that begin so, and how often they have one.
type Expanded = HashMap<SegmentId, Arc<Vec<(DocId, u32)>>>;

/// Finds the rows with a term that begins with `prefix`; also, how many they are.
fn expand(corpus: &Corpus<'_>, prefix: &str) -> Result<(Expanded, u64)> {
    let (mut found, mut rows) = (Expanded::new(), 0);
    for segment in corpus.segments {
        let opened = segment.opened()?;
        let docs = segment.reading(|| docs_of(opened, prefix))?;
        rows += to_u64(docs.len());
        found.insert(opened.reader.segment_id(), Arc::new(docs));
    }
    Ok((found, rows))
}

fn docs_of(opened: &Opened, prefix: &str) -> tantivy::Result<Vec<(DocId, u32)>> {
    let mut docs: Vec<(DocId, u32)> = Vec::new();
    let mut terms = opened.inverted.terms().range().ge(prefix).into_stream()?;
    while terms.advance() && terms.key().starts_with(prefix.as_bytes()) {
        let mut postings =
            opened.inverted.read_postings_from_terminfo(terms.value(), IndexRecordOption::WithFreqs)?;
        while postings.doc() != TERMINATED {
            docs.push((postings.doc(), tantivy::postings::Postings::term_freq(&postings)));
            postings.advance();
        }
    }
    docs.sort_unstable();
    docs.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        kept.1 += if same { next.1 } else { 0 };
        same
    });
    Ok(docs)
}

/// Terms that begin with something: one clause, as rare as the rows that have any of them.
#[derive(Clone)]
struct Beginning {
    found: Arc<Expanded>,
    bm25: Bm25Weight,
}

impl std::fmt::Debug for Beginning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beginning").field("segments", &self.found.len()).finish_non_exhaustive()
    }
}

impl Query for Beginning {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl Weight for Beginning {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let field = reader.schema().get_field("text")?;
        let docs = self.found.get(&reader.segment_id()).map(Arc::clone).unwrap_or_default();
        let norms = reader.get_fieldnorms_reader(field)?;
        Ok(Box::new(BeginningScorer { docs, at: 0, norms, bm25: self.bm25.boost_by(boost) }))
    }

    fn explain(&self, _: &SegmentReader, _: DocId) -> tantivy::Result<Explanation> {
        Ok(Explanation::new("terms that begin so", 0.0))
    }
}

struct BeginningScorer {
    docs: Arc<Vec<(DocId, u32)>>,
    at: usize,
    norms: tantivy::fieldnorm::FieldNormReader,
    bm25: Bm25Weight,
}

impl DocSet for BeginningScorer {
    fn advance(&mut self) -> DocId {
        self.at = (self.at + 1).min(self.docs.len());
        self.doc()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        let rest = self.docs.get(self.at..).unwrap_or_default();
        self.at += rest.partition_point(|(doc, _)| *doc < target);
        self.doc()
    }

    fn doc(&self) -> DocId {
        self.docs.get(self.at).map_or(TERMINATED, |(doc, _)| *doc)
    }

    fn size_hint(&self) -> u32 {
        u32::try_from(self.docs.len()).unwrap_or(u32::MAX)
    }
}

impl Scorer for BeginningScorer {
    fn score(&mut self) -> Score {
        let Some(&(doc, count)) = self.docs.get(self.at) else { return 0.0 };
        self.bm25.score(self.norms.fieldnorm_id(doc), count)
    }
}
