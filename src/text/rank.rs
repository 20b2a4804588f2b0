//! BM25 over the whole store: how rare terms are in all segments and the tail, and what a clause is worth by that.

use std::collections::HashMap;
use std::sync::Arc;

use tantivy::query::{Bm25StatisticsProvider, Bm25Weight, EnableScoring, PhraseQuery, Query, Weight};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocId, Term};

use super::blocks::Blocks;
use super::cursor::Cursor;
use super::query::Clause;
use super::search::Corpus;
use super::segment::{Opened, Segment};
use super::shape::{Shape, native};
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

    fn average_length(&self) -> f32 {
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
    pub(super) bm25: Bm25Weight,
    average_length: f32,
    finder: Finder,
}

/// How a clause is found in segments.
enum Finder {
    Term(Term),
    Phrase(Box<dyn Weight>),
    /// Of each segment of the corpus the rows with terms that begin so, and how often they have one.
    Prefix(Vec<Vec<(DocId, u32)>>),
}

impl Ranked {
    pub(super) fn new(corpus: &Corpus<'_>, statistics: &Statistics, clause: &Clause) -> Result<Self> {
        let shape = Shape::get()?;
        let term = |text: &str| Term::from_field_text(shape.text, text);
        let (finder, bm25) = match clause {
            Clause::Term(text) => {
                (Finder::Term(term(text)), statistics.weight_of(statistics.frequency(text)))
            }
            Clause::Phrase(terms) => {
                let at = |(place, text): &(u32, String)| (to_usize(u64::from(*place)), term(text));
                let query = PhraseQuery::new_with_offset(terms.iter().map(at).collect());
                let all: Vec<Term> = terms.iter().map(|(_, text)| term(text)).collect();
                let scoring = EnableScoring::enabled_from_statistics_provider(statistics, &shape.searcher);
                native(|| {
                    let bm25 = Bm25Weight::for_terms(statistics, &all)?;
                    Ok((Finder::Phrase(query.weight(scoring)?), bm25))
                })?
            }
            Clause::Prefix(prefix) => {
                let found = expand(corpus, prefix)?;
                let mut rows: usize = found.iter().map(Vec::len).sum();
                if let Some(tail) = corpus.tail {
                    (corpus.room)(tail.find_bytes(prefix))?;
                    rows += tail.find(clause, corpus.dead).len();
                }
                (Finder::Prefix(found), statistics.weight_of(to_u64(rows)))
            }
        };
        Ok(Ranked { clause: clause.clone(), bm25, average_length: statistics.average_length(), finder })
    }

    /// By how much a bound by the average length in a segment may be below one by the average of all: none if that is not known.
    fn slack(&self, opened: &Opened) -> Option<f32> {
        let (own, all) = (opened.average_length, f64::from(self.average_length));
        #[expect(clippy::cast_possible_truncation, reason = "a factor near one")]
        let slack = (own / all).max(all / own) as f32;
        slack.is_finite().then_some(slack)
    }

    /// The rows of the segment at this place of the corpus that have the clause; none if no row has it.
    pub(super) fn cursor<'a>(
        &'a self,
        place: usize,
        opened: &'a Opened,
    ) -> tantivy::Result<Option<Cursor<'a>>> {
        let (norms, bm25) = (&opened.norms, &self.bm25);
        Ok(match &self.finder {
            Finder::Term(term) => {
                let Some(info) = opened.inverted.get_term_info(term)? else { return Ok(None) };
                let postings =
                    opened.inverted.read_block_postings_from_terminfo(&info, IndexRecordOption::WithFreqs)?;
                let blocks = Blocks::of(opened.list(&info), info.doc_freq);
                Some(Cursor::blocks(postings, blocks.zip(self.slack(opened)), norms, bm25))
            }
            Finder::Phrase(weight) => Some(Cursor::scorer(weight.scorer(&opened.reader, 1.0)?, norms, bm25)),
            Finder::Prefix(found) => found.get(place).map(|counts| Cursor::counts(counts, norms, bm25)),
        })
    }
}

/// Finds in each segment the rows with a term that begins with `prefix`.
fn expand(corpus: &Corpus<'_>, prefix: &str) -> Result<Vec<Vec<(DocId, u32)>>> {
    let of = |segment: &Arc<Segment>| {
        let opened = segment.opened()?;
        let count = segment.reading(|| count_of(opened, prefix))?;
        (corpus.room)(count.saturating_mul(to_u64(size_of::<(DocId, u32)>())))?;
        segment.reading(|| docs_of(opened, prefix, count))
    };
    corpus.segments.iter().map(of).collect()
}

/// How many rows the terms that begin with `prefix` have; a row counts for each of its terms.
fn count_of(opened: &Opened, prefix: &str) -> tantivy::Result<u64> {
    let (mut count, mut terms) = (0, opened.inverted.terms().range().ge(prefix).into_stream()?);
    while terms.advance() && terms.key().starts_with(prefix.as_bytes()) {
        count += u64::from(terms.value().doc_freq);
    }
    Ok(count)
}

fn docs_of(opened: &Opened, prefix: &str, count: u64) -> tantivy::Result<Vec<(DocId, u32)>> {
    let mut docs: Vec<(DocId, u32)> = Vec::with_capacity(to_usize(count));
    let mut terms = opened.inverted.terms().range().ge(prefix).into_stream()?;
    while terms.advance() && terms.key().starts_with(prefix.as_bytes()) {
        let mut postings =
            opened.inverted.read_block_postings_from_terminfo(terms.value(), IndexRecordOption::WithFreqs)?;
        while !postings.docs().is_empty() {
            docs.extend(postings.docs().iter().copied().zip(postings.freqs().iter().copied()));
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
