//! Searching all segments and the tail, exactly: the rows with the highest BM25.

use std::sync::Arc;

use roaring::RoaringTreemap;
use tantivy::DocId;

use super::cursor::Cursor;
use super::query::Clause;
use super::rank::{Ranked, Statistics};
use super::scan::{self, Taker, scan, total};
use super::segment::{Opened, Segment};
use super::tail::Tail;
use crate::error::Result;

/// Where fewer than one row in so many is allowed, the rows are looked up one by one.
const SPARSE: u64 = 32;

/// What is searched, as one snapshot sees it.
pub(crate) struct Corpus<'a> {
    /// In the order of their rows.
    pub(crate) segments: &'a [Arc<Segment>],
    pub(crate) tail: Option<&'a Tail>,
    pub(crate) dead: &'a RoaringTreemap,
    /// Asks for so many bytes, to be kept as long as what is made of the corpus.
    pub(crate) room: &'a Room<'a>,
}

/// Grants memory, in bytes, or says that there is none.
pub(crate) type Room<'r> = dyn Fn(u64) -> Result<()> + 'r;

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

/// What a search for so many clauses takes, in bytes, besides what it asks the corpus for.
pub(crate) fn bytes(clauses: usize) -> usize {
    scan::bytes(clauses)
}

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
    let Clauses { ranked } = Clauses::new(corpus, clauses)?;
    let mut floor = f32::NEG_INFINITY;
    for (place, segment) in corpus.segments.iter().enumerate() {
        let opened = segment.opened()?;
        let is_any = matches!(allowed, Allowed::Live) && corpus.dead.is_empty();
        let mut hits = Hits { dead: corpus.dead, allowed, is_any, opened, floor, offer: &mut *offer };
        segment.reading(|| {
            let cursors = ranked.iter().filter_map(|ranked| ranked.cursor(place, opened).transpose());
            let mut cursors = cursors.collect::<tantivy::Result<Vec<_>>>()?;
            match hits.sparse(segment) {
                Some(rows) => hits.look_up(&mut cursors, &rows),
                None => scan(cursors, opened.rows.count(), &mut hits)?,
            }
            Ok(())
        })?;
        floor = hits.floor;
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
    for (place, segment) in corpus.segments.iter().enumerate() {
        let opened = segment.opened()?;
        segment.reading(|| {
            if let Some(cursor) = ranked.cursor(place, opened)? {
                cursor.for_each(|doc| {
                    rows.insert(opened.rows.row(doc));
                });
            }
            Ok(())
        })?;
    }
    rows.extend(
        corpus.tail.into_iter().flat_map(|tail| tail.find(clause, corpus.dead)).map(|found| found.row),
    );
    Ok(rows)
}

/// What is found in one segment.
struct Hits<'a, 'o> {
    dead: &'a RoaringTreemap,
    allowed: Allowed<'a>,
    /// Whether all rows are allowed.
    is_any: bool,
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
    fn look_up(&mut self, cursors: &mut [Cursor<'_>], docs: &[DocId]) {
        for &doc in docs {
            let scores = cursors.iter_mut().filter_map(|cursor| cursor.score_at(doc)).map(f64::from);
            if let Some(sum) = scores.reduce(|sum, score| sum + score) {
                self.take(doc, total(sum));
            }
        }
    }
}

impl Taker for Hits<'_, '_> {
    fn floor(&self) -> f32 {
        self.floor
    }

    fn allows(&self, doc: DocId) -> bool {
        self.is_any || self.allowed.contains(self.opened.rows.row(doc), self.dead)
    }

    fn take(&mut self, doc: DocId, score: f32) {
        self.floor = (self.offer)(self.opened.rows.row(doc), score);
    }
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
        let statistics = Statistics::of(corpus, clauses)?;
        // None where there is nothing to be found.
        let asked = if statistics.is_empty() { &[] } else { clauses };
        let ranked = asked.iter().map(|clause| Ranked::new(corpus, &statistics, clause));
        Ok(Clauses { ranked: ranked.collect::<Result<_>>()? })
    }

    /// The row of these texts with the best score, the first of equals; none where there is none of the clauses.
    pub(crate) fn best(&self, texts: &Tail) -> Option<u64> {
        let scored = score_tail(texts, &RoaringTreemap::new(), &self.ranked);
        let better = |best: (u64, f32), next: (u64, f32)| if next.1 > best.1 { next } else { best };
        scored.reduce(better).map(|(row, _)| row)
    }
}
