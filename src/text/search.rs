//! Searching all segments and the tail, exactly: the rows with the highest BM25.
//!
//! tantivy leaves out stretches of rows whose score cannot reach what the caller has already. It sums in any order and bounds
//! by the average length in a segment, so its scores and bounds are approximate: it is asked for somewhat more, and
//! what it finds is scored again, always in the same way.

use std::sync::Arc;

use roaring::RoaringTreemap;
use tantivy::query::{BooleanQuery, EnableScoring, Occur, Query, Scorer, Weight};
use tantivy::{DocId, DocSet, TERMINATED};

use super::query::Clause;
use super::rank::{Ranked, Statistics};
use super::segment::{Opened, Segment};
use super::shape::{Shape, native};
use super::tail::Tail;
use crate::error::Result;

/// The rounding of a sum of at most [`crate::limits::QUERY_TERMS_MAX`] scores.
const ROUNDING: f32 = 1e-5;
/// Where fewer than one row in so many is allowed, the rows are looked up one by one.
const SPARSE: u64 = 32;

/// What is searched, as one snapshot sees it.
pub(crate) struct Corpus<'a> {
    /// In the order of their rows.
    pub(crate) segments: &'a [Arc<Segment>],
    pub(crate) tail: Option<&'a Tail>,
    pub(crate) dead: &'a RoaringTreemap,
}

/// Which rows may be found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Allowed<'a> {
    /// All but the dead.
    Live,
    /// These, none of which is dead.
    Only(&'a RoaringTreemap),
}

impl Allowed<'_> {
    fn contains(self, row: u64, dead: &RoaringTreemap) -> bool {
        match self {
            Allowed::Live => !dead.contains(row),
            Allowed::Only(rows) => rows.contains(row),
        }
    }
}

/// Takes a row and its score, and answers how much a row has to score, at least, to be of interest.
pub(crate) type Offer<'o> = dyn FnMut(u64, f32) -> f32 + 'o;

/// Offers every row that may be found by one of `clauses` and scores enough, by ascending row.
///
/// The score is the sum of what the clauses are worth in the row: BM25 with k1 = 1.2 and b = 0.75. N, the average length and
/// the rows that have a term are those of the whole corpus; a length counts as it is stored, in one byte. A phrase counts as its terms, added up, as
/// often as it occurs; a prefix as one term that occurs wherever one that begins so does.
pub(crate) fn search(
    corpus: &Corpus<'_>,
    clauses: &[Clause],
    allowed: Allowed<'_>,
    offer: &mut Offer<'_>,
) -> Result<()> {
    let statistics = Statistics::of(corpus, clauses)?;
    let Clauses { ranked } = Clauses::weighed(corpus, &statistics, clauses)?;
    if ranked.is_empty() {
        return Ok(());
    }
    let union = union(&ranked, &statistics)?;
    let mut floor = f32::NEG_INFINITY;
    for segment in corpus.segments {
        let opened = segment.opened()?;
        // How far a bound by the average of the segment may be below one by the average of all.
        let (own, all) = (opened.average_length, f64::from(statistics.average_length()));
        #[expect(clippy::cast_possible_truncation, reason = "a factor near one")]
        let slack = ((own / all).min(all / own) as f32) * (1.0 - ROUNDING);
        let mut hits = Hits { corpus, allowed, opened, floor, offer: &mut *offer };
        floor = segment.reading(|| match hits.sparse(segment) {
            Some(rows) => hits.look_up(&ranked, &rows),
            None => hits.scan(&*union, &ranked, if slack > 0.0 { slack } else { 0.0 }),
        })?;
    }
    if let Some(tail) = corpus.tail {
        for (row, score) in score_tail(tail, corpus.dead, &ranked) {
            if allowed.contains(row, corpus.dead) {
                offer(row, score);
            }
        }
    }
    Ok(())
}

/// The rows, dead ones included, in which there is what `clause` says.
pub(crate) fn matching(corpus: &Corpus<'_>, clause: &Clause) -> Result<RoaringTreemap> {
    let statistics = Statistics::of(corpus, std::slice::from_ref(clause))?;
    let mut rows = RoaringTreemap::new();
    if statistics.is_empty() {
        return Ok(rows);
    }
    let ranked = Ranked::new(corpus, &statistics, clause)?;
    for segment in corpus.segments {
        let opened = segment.opened()?;
        segment.reading(|| {
            let mut scorer = ranked.weight.scorer(&opened.reader, 1.0)?;
            while scorer.doc() != TERMINATED {
                rows.insert(opened.rows.row(scorer.doc()));
                scorer.advance();
            }
            Ok(())
        })?;
    }
    rows.extend(
        corpus.tail.into_iter().flat_map(|tail| tail.find(clause, corpus.dead)).map(|found| found.row),
    );
    Ok(rows)
}

fn union(ranked: &[Ranked], statistics: &Statistics) -> Result<Box<dyn Weight>> {
    let shape = Shape::get()?;
    let clauses = ranked.iter().map(|ranked| (Occur::Should, ranked.query.box_clone())).collect();
    let scoring = EnableScoring::enabled_from_statistics_provider(statistics, &shape.searcher);
    native(|| BooleanQuery::new(clauses).weight(scoring))
}

/// What is found in one segment.
struct Hits<'a, 'o> {
    corpus: &'a Corpus<'a>,
    allowed: Allowed<'a>,
    opened: &'a Opened,
    floor: f32,
    offer: &'a mut Offer<'o>,
}

impl Hits<'_, '_> {
    /// The allowed rows of a segment that has few of them.
    fn sparse(&self, segment: &Segment) -> Option<Vec<DocId>> {
        let Allowed::Only(rows) = self.allowed else { return None };
        let layout = segment.layout();
        let span = layout.first_row..=layout.last_row;
        if rows.range_cardinality(span.clone()).saturating_mul(SPARSE) >= layout.rows {
            return None;
        }
        let mut within = rows.iter();
        within.advance_to(*span.start());
        Some(within.take_while(|row| row <= span.end()).filter_map(|row| self.opened.rows.doc(row)).collect())
    }

    /// Scores these rows.
    fn look_up(&mut self, ranked: &[Ranked], docs: &[DocId]) -> tantivy::Result<f32> {
        let mut exact = Exact::new(ranked, self.opened)?;
        for &doc in docs {
            if let Some(score) = exact.score(doc) {
                self.floor = (self.offer)(self.opened.rows.row(doc), score);
            }
        }
        Ok(self.floor)
    }

    /// Scores all rows that may be among the best.
    fn scan(&mut self, union: &dyn Weight, ranked: &[Ranked], slack: f32) -> tantivy::Result<f32> {
        // The sum of two does not depend on their order.
        let mut exact = if ranked.len() > 2 { Some(Exact::new(ranked, self.opened)?) } else { None };
        let threshold = |floor: f32| if floor > 0.0 { floor * slack } else { f32::MIN };
        let opened = self.opened;
        union.for_each_pruning(threshold(self.floor), &opened.reader, &mut |doc, score| {
            let row = opened.rows.row(doc);
            if self.allowed.contains(row, self.corpus.dead) {
                let score = exact.as_mut().map_or(Some(score), |exact| exact.score(doc));
                if let Some(score) = score.filter(|&score| score >= self.floor) {
                    self.floor = (self.offer)(row, score);
                }
            }
            threshold(self.floor)
        })?;
        Ok(self.floor)
    }
}

/// Scores rows, in ascending order, always in the same way.
struct Exact {
    scorers: Vec<Box<dyn Scorer>>,
}

impl Exact {
    fn new(ranked: &[Ranked], opened: &Opened) -> tantivy::Result<Self> {
        let scorers = ranked.iter().map(|ranked| ranked.weight.scorer(&opened.reader, 1.0));
        Ok(Exact { scorers: scorers.collect::<tantivy::Result<_>>()? })
    }

    /// The score of a row that has any of the clauses.
    fn score(&mut self, doc: DocId) -> Option<f32> {
        let mut scores = self.scorers.iter_mut().filter_map(|scorer| {
            if scorer.doc() < doc {
                scorer.seek(doc);
            }
            (scorer.doc() == doc).then(|| scorer.score())
        });
        let first = f64::from(scores.next()?);
        Some(total(first + scores.map(f64::from).sum::<f64>()))
    }
}

/// A sum of scores of f32. In f64 nearly all such sums are exact, and so do not depend on their order.
#[expect(clippy::cast_possible_truncation, reason = "rounded once, at the end")]
fn total(sum: f64) -> f32 {
    sum as f32
}

/// The live rows of a tail in which there is any of the clauses, and their scores.
fn score_tail(
    tail: &Tail,
    dead: &RoaringTreemap,
    ranked: &[Ranked],
) -> impl Iterator<Item = (u64, f32)> + use<> {
    let mut sums: Vec<(u64, f64)> = vec![(0, 0.0); tail.len()];
    for ranked in ranked {
        for found in tail.find(&ranked.clause, dead) {
            if let Some((row, sum)) = sums.get_mut(found.doc) {
                *row = found.row;
                *sum += f64::from(ranked.bm25.score(found.norm, found.count));
            }
        }
    }
    sums.into_iter().filter(|(_, sum)| *sum > 0.0).map(|(row, sum)| (row, total(sum)))
}

/// What is searched for, to score other texts as if they were in the corpus.
pub(crate) struct Clauses {
    ranked: Vec<Ranked>,
}

impl Clauses {
    /// Looks up how rare the clauses are in the corpus.
    pub(crate) fn new(corpus: &Corpus<'_>, clauses: &[Clause]) -> Result<Self> {
        Self::weighed(corpus, &Statistics::of(corpus, clauses)?, clauses)
    }

    /// None where there is nothing to be found.
    fn weighed(corpus: &Corpus<'_>, statistics: &Statistics, clauses: &[Clause]) -> Result<Self> {
        let asked = if statistics.is_empty() { &[] } else { clauses };
        let ranked = asked.iter().map(|clause| Ranked::new(corpus, statistics, clause));
        Ok(Clauses { ranked: ranked.collect::<Result<_>>()? })
    }

    /// The row of these texts with the best score, the first of equals; none where there is none of the clauses.
    pub(crate) fn best(&self, texts: &Tail) -> Option<u64> {
        let scored = score_tail(texts, &RoaringTreemap::new(), &self.ranked);
        let better = |best: (u64, f32), next: (u64, f32)| if next.1 > best.1 { next } else { best };
        scored.reduce(better).map(|(row, _)| row)
    }
}
