//! Walks the rows of one segment that have a clause, with what it is worth in each.

use std::ops::Range;

use tantivy::postings::BlockSegmentPostings;
use tantivy::query::{Bm25Weight, Scorer};
use tantivy::{DocId, TERMINATED};

use super::blocks::Blocks;
use crate::codec::{to_u64, to_usize};

/// Numbers of times, from 0, for which scores are computed beforehand, for each length.
const COUNTS: usize = 5;
/// The lengths that there are, as they are stored.
const LENGTHS: usize = 256;
/// Scores are computed beforehand where at least so many rows have the clause.
const MANY: u32 = 512;

/// The rows of a segment that have a clause, from some row on, in order.
pub(super) struct Cursor<'a> {
    list: List<'a>,
    norms: &'a [u8],
    bm25: &'a Bm25Weight,
    /// Scores by number of times and length, or none.
    table: Vec<f32>,
    /// What is known of its blocks, and by how much that may be below what they are worth.
    blocks: Option<(Blocks<'a>, f32)>,
}

/// Rows, each with a number of times.
enum List<'a> {
    /// A block of them at a time, and the place in it.
    Blocks(Box<BlockSegmentPostings>, usize),
    Counts(&'a [(DocId, u32)]),
    Scorer(Box<dyn Scorer>),
}

impl<'a> Cursor<'a> {
    /// The most memory that one takes, with what a clause is worth and a decoded block.
    pub(super) const BYTES: usize =
        (COUNTS + 1) * LENGTHS * size_of::<f32>() + size_of::<BlockSegmentPostings>() + (1 << 10);

    /// Over the rows that have a term.
    pub(super) fn blocks(
        postings: BlockSegmentPostings,
        blocks: Option<(Blocks<'a>, f32)>,
        norms: &'a [u8],
        bm25: &'a Bm25Weight,
    ) -> Self {
        let mut table = Vec::new();
        if postings.doc_freq() >= MANY {
            table.reserve_exact(COUNTS * LENGTHS);
            for count in (0..).take(COUNTS) {
                table.extend((0..=u8::MAX).map(|norm| bm25.score(norm, count)));
            }
        }
        Cursor { list: List::Blocks(Box::new(postings), 0), norms, bm25, table, blocks }
    }

    /// Over rows in order, each with a number of times.
    pub(super) fn counts(counts: &'a [(DocId, u32)], norms: &'a [u8], bm25: &'a Bm25Weight) -> Self {
        Cursor { list: List::Counts(counts), norms, bm25, table: Vec::new(), blocks: None }
    }

    /// Over what tantivy finds.
    pub(super) fn scorer(scorer: Box<dyn Scorer>, norms: &'a [u8], bm25: &'a Bm25Weight) -> Self {
        Cursor { list: List::Scorer(scorer), norms, bm25, table: Vec::new(), blocks: None }
    }

    /// What no row is worth more than.
    pub(super) fn bound(&self) -> f32 {
        // More often in a shorter text: nothing.
        self.bm25.score(0, u32::MAX)
    }

    /// What none of `docs` is worth more than; rows before them may not be asked for after.
    pub(super) fn most(&mut self, docs: &Range<DocId>) -> f32 {
        let bound = self.bound();
        let Some((blocks, slack)) = &mut self.blocks else { return bound };
        let most = blocks.most(docs, |norm, count| known(&self.table, self.bm25, norm, count));
        most.map_or(bound, |most| (most * *slack).min(bound))
    }

    /// The row at which it stands; `TERMINATED` after the last.
    pub(super) fn doc(&self) -> DocId {
        match &self.list {
            List::Blocks(postings, at) => postings.docs().get(*at).copied().unwrap_or(TERMINATED),
            List::Counts(rest) => rest.first().map_or(TERMINATED, |(doc, _)| *doc),
            List::Scorer(scorer) => scorer.doc(),
        }
    }

    /// About how many of `docs` have the clause.
    pub(super) fn estimate(&self, docs: &Range<DocId>) -> usize {
        let of_all = |have: u64| {
            let span = u64::from(docs.end.saturating_sub(docs.start));
            to_usize(have * span / to_u64(self.norms.len()).max(1))
        };
        match &self.list {
            List::Blocks(postings, _) => of_all(postings.doc_freq().into()),
            List::Counts(rest) => rest.len(),
            // It looks for positions.
            List::Scorer(_) => usize::MAX,
        }
    }

    /// Goes to the first row from `doc` on.
    pub(super) fn skip(&mut self, doc: DocId) {
        match &mut self.list {
            List::Blocks(postings, at) => *at = postings.seek(doc),
            List::Counts(rest) => *rest = &rest[rest.partition_point(|(before, _)| *before < doc)..],
            List::Scorer(scorer) => {
                if scorer.doc() < doc {
                    scorer.seek(doc);
                }
            }
        }
    }

    /// What the clause is worth in `doc`, if it has that; no row before `doc` may be asked for after.
    pub(super) fn score_at(&mut self, doc: DocId) -> Option<f32> {
        self.skip(doc);
        if self.doc() != doc {
            return None;
        }
        let count = match &mut self.list {
            List::Blocks(postings, at) => postings.freq(*at),
            List::Counts(rest) => rest.first()?.1,
            List::Scorer(scorer) => return Some(scorer.score()),
        };
        Some(known(&self.table, self.bm25, *self.norms.get(to_usize(doc.into()))?, count))
    }

    /// Passes over the rows before `end`, and calls `visit` with each and what the clause is worth in it.
    #[inline]
    pub(super) fn pass(&mut self, end: DocId, mut visit: impl FnMut(DocId, f32)) {
        let (norms, bm25, table) = (self.norms, self.bm25, self.table.as_slice());
        let mut score = |doc: DocId, count: u32| {
            let Some(&norm) = norms.get(to_usize(doc.into())) else { return };
            visit(doc, known(table, bm25, norm, count));
        };
        match &mut self.list {
            List::Blocks(postings, at) => loop {
                let (docs, counts) = (&postings.docs()[*at..], &postings.freqs()[*at..]);
                let Some(&last) = docs.last() else { return };
                let many = if last < end { docs.len() } else { docs.partition_point(|doc| *doc < end) };
                for (&doc, &count) in docs[..many].iter().zip(counts) {
                    score(doc, count);
                }
                if last >= end {
                    *at += many;
                    return;
                }
                postings.advance();
                *at = 0;
            },
            List::Counts(rest) => {
                let (now, later) = rest.split_at(rest.partition_point(|(doc, _)| *doc < end));
                for &(doc, count) in now {
                    score(doc, count);
                }
                *rest = later;
            }
            List::Scorer(scorer) => {
                while scorer.doc() < end {
                    visit(scorer.doc(), scorer.score());
                    scorer.advance();
                }
            }
        }
    }

    /// The rows, from where it stands on.
    pub(super) fn for_each(mut self, mut visit: impl FnMut(DocId)) {
        self.pass(TERMINATED, |doc, _| visit(doc));
    }
}

/// What a clause is worth in a text of a length, from the table or computed.
#[inline]
fn known(table: &[f32], bm25: &Bm25Weight, norm: u8, count: u32) -> f32 {
    let at = (to_usize(count.into()) * LENGTHS) | usize::from(norm);
    table.get(at).copied().unwrap_or_else(|| bm25.score(norm, count))
}
