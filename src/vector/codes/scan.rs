//! A scan of codes for the rows nearest to a query.

use std::num::NonZero;
use std::ops::Range;

use super::kernel::CodeQuery;
use crate::codec::{to_u64, to_usize};
use crate::error::Result;
use crate::vector::exact::Selection;
use crate::vector::parallel;
use crate::vector::rows::Rows;
use crate::vector::topk::TopK;

/// The rows that are compared at a time.
const BATCH: usize = 64;
/// The bytes of codes that a thread takes at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Codes that are to be compared with a query. They may hold anything: a score that is no number is the worst.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    pub(crate) query: CodeQuery,
    /// What each row alone adds to its squared distance, if that counts.
    pub(crate) squares: &'a [f32],
    /// Row by row.
    pub(crate) codes: &'a [u8],
    /// The bytes of a row.
    pub(crate) bytes: usize,
    /// The ids at the positions; as many as there are codes.
    pub(crate) rows: Rows<'a>,
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// The positions of the best rows, best first.
    pub(crate) positions: Vec<usize>,
    /// How many codes were compared.
    pub(crate) compared: u64,
}

impl Scan<'_> {
    /// Finds the `count` rows of a selection whose codes are nearest, or all that there are.
    pub(crate) fn nearest(
        &self,
        selection: &Selection<'_>,
        count: usize,
        threads: NonZero<usize>,
    ) -> Result<Found> {
        let len = self.codes.len() / self.bytes;
        let step = (PIECE_BYTES / self.bytes).max(BATCH);
        let pieces: Vec<Range<usize>> =
            (0..len).step_by(step).map(|start| start..len.min(start + step)).collect();
        let top = parallel::best(&pieces, count, threads, &|piece, top| {
            self.piece(piece.clone(), selection, top);
            Ok(())
        })?;
        let positions = top.into_sorted().into_iter().map(|best| to_usize(best.row)).collect();
        let compared = match selection {
            Selection::Only(set) if !self.rows.is_dense(0..len, set) => {
                set.range_cardinality(self.rows.at(0)..=self.rows.at(len - 1)).min(to_u64(len))
            }
            _ => to_u64(len),
        };
        Ok(Found { positions, compared })
    }

    fn piece(&self, piece: Range<usize>, selection: &Selection<'_>, top: &mut TopK) {
        match selection {
            Selection::Only(set) if !self.rows.is_dense(piece.clone(), set) => {
                self.offer(self.rows.positions(piece, set), |_| true, top);
            }
            Selection::All => self.offer(piece, |_| true, top),
            _ => self.offer(piece, |row| selection.contains(row), top),
        }
    }

    /// Offers the rows at some positions of which `is_wanted` has the last word.
    fn offer(
        &self,
        mut positions: impl Iterator<Item = usize>,
        is_wanted: impl Fn(u64) -> bool,
        top: &mut TopK,
    ) {
        let (mut picked, mut scores) = ([0; BATCH], [0.0; BATCH]);
        loop {
            let mut count = 0;
            for (to, position) in picked.iter_mut().zip(positions.by_ref()) {
                *to = position;
                count += 1;
            }
            let (picked, scores) = (&picked[..count], &mut scores[..count]);
            if picked.is_empty() {
                return;
            }
            self.score(picked, scores);
            if top.wants_any(scores) {
                for (&position, &score) in picked.iter().zip(&*scores) {
                    let owner = |at| is_wanted(self.rows.at(position)).then_some(at);
                    top.offer(score, to_u64(position), owner);
                }
            }
        }
    }

    fn score(&self, picked: &[usize], scores: &mut [f32]) {
        let codes = picked.iter().map(|&position| &self.codes[position * self.bytes..][..self.bytes]);
        self.query.scores(codes, scores);
        if !self.squares.is_empty() {
            for (score, &position) in scores.iter_mut().zip(picked) {
                *score -= self.squares[position];
            }
        }
    }
}
