//! The rows that are in no segment yet, as a snapshot sees them: postings in memory, made from the documents.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use roaring::RoaringTreemap;

use super::analyzer::Analyzer;
use super::postings::{List, Postings, length};
use super::query::Clause;
use crate::codec::{to_u64, to_usize};
use crate::error::Result;

/// Rows of this tail and, behind them, perhaps of later ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    postings: Arc<RwLock<Postings>>,
    /// The rows that are ours.
    len: usize,
    /// Of those that live, and their lengths.
    live: u64,
    positions: u64,
}

/// A row with what a clause finds in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) doc: usize,
    pub(super) row: u64,
    pub(super) norm: u8,
    /// How often.
    pub(super) count: u32,
}

impl Tail {
    /// This tail with more rows, of which those in `dead` do not count.
    ///
    /// The postings are shared with `self` as long as nobody else has added to them: else there is none. `room` is told
    /// when the postings take more than it answered before, at first nothing.
    ///
    /// # Errors
    /// Those of `room`.
    pub(crate) fn extended(
        self,
        analyzer: &Analyzer,
        rows: impl IntoIterator<Item = (u64, String)>,
        dead: &RoaringTreemap,
        room: &mut dyn FnMut(u64) -> Result<u64>,
    ) -> Result<Option<Tail>> {
        let mut postings = self.postings.write().unwrap_or_else(PoisonError::into_inner);
        if postings.len() != self.len {
            return Ok(None);
        }
        let mut allowed = 0;
        for (row, text) in rows {
            let mut more = allowed;
            postings.add_within(analyzer, row, &text, allowed, &mut |bytes| {
                room(bytes).inspect(|&all| more = all)
            })?;
            allowed = more;
        }
        let (mut live, mut positions) = (0, 0);
        for (row, &norm) in postings.rows().iter().zip(postings.norms()) {
            if !dead.contains(*row) {
                (live, positions) = (live + 1, positions + length(norm));
            }
        }
        let len = postings.len();
        drop(postings);
        Ok(Some(Tail { postings: self.postings, len, live, positions }))
    }

    /// The number of rows, dead ones included.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The rows that live.
    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    pub(super) fn positions(&self) -> u64 {
        self.positions
    }

    /// Memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        to_u64(self.read().bytes())
    }

    fn read(&self) -> RwLockReadGuard<'_, Postings> {
        self.postings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The memory of finding the rows with a term that begins with `prefix`, in bytes.
    pub(super) fn find_bytes(&self, prefix: &str) -> u64 {
        let postings = self.read();
        let rows: u64 = postings.lists_of(prefix).map(|list| u64::from(list.count)).sum();
        // A list that grew, the one before, and what is made of it.
        let each = 3 * size_of::<(u32, u32)>() + 2 * size_of::<Found>();
        rows.saturating_mul(to_u64(each))
    }

    /// The live rows in which there is what `clause` says, in order.
    pub(super) fn find(&self, clause: &Clause, dead: &RoaringTreemap) -> Vec<Found> {
        let postings = self.read();
        let mut found = match clause {
            Clause::Term(term) => postings.list(term).map_or_else(Vec::new, |list| self.counts(list)),
            Clause::Prefix(prefix) => {
                let mut all: Vec<(u32, u32)> =
                    postings.lists_of(prefix).flat_map(|list| self.counts(list)).collect();
                all.sort_unstable();
                all.dedup_by(|next, kept| {
                    let same = next.0 == kept.0;
                    kept.1 += if same { next.1 } else { 0 };
                    same
                });
                all
            }
            Clause::Phrase(terms) => self.phrase(&postings, terms),
        };
        found.retain(|&(doc, _)| to_usize(doc.into()) < self.len);
        let found = found.into_iter().filter_map(|(doc, count)| {
            let doc = to_usize(doc.into());
            let (&row, &norm) = (postings.rows().get(doc)?, postings.norms().get(doc)?);
            (!dead.contains(row)).then_some(Found { doc, row, norm, count })
        });
        found.collect()
    }

    /// The rows of a list, and how often each has the term.
    fn counts(&self, list: &List) -> Vec<(u32, u32)> {
        let (mut cursor, mut places, mut all) = (list.cursor(), Vec::new(), Vec::new());
        while let Some(doc) = cursor.advance(&mut places) {
            if to_usize(doc.into()) >= self.len {
                break;
            }
            all.push((doc, u32::try_from(places.len()).unwrap_or(u32::MAX)));
        }
        all
    }

    /// The rows that have terms at these distances from each other, and how often.
    fn phrase(&self, postings: &Postings, terms: &[(u32, String)]) -> Vec<(u32, u32)> {
        // Of each row the places where the phrase may begin.
        let mut begins: Option<Vec<(u32, Vec<u32>)>> = None;
        for (offset, term) in terms {
            let Some(list) = postings.list(term) else { return Vec::new() };
            let (mut cursor, mut places, mut rows) = (list.cursor(), Vec::new(), Vec::new());
            while let Some(doc) = cursor.advance(&mut places) {
                if to_usize(doc.into()) >= self.len {
                    break;
                }
                let mut place = 0;
                let starts = places.iter().filter_map(|distance| {
                    place += distance;
                    place.checked_sub(*offset)
                });
                rows.push((doc, starts.collect::<Vec<u32>>()));
            }
            begins = Some(match begins {
                None => rows,
                Some(before) => both(before, rows),
            });
        }
        let count = |places: &Vec<u32>| u32::try_from(places.len()).unwrap_or(u32::MAX);
        begins.unwrap_or_default().into_iter().map(|(doc, places)| (doc, count(&places))).collect()
    }
}

/// Rows and places that are in both lists; rows and places ascend.
fn both(mut left: Vec<(u32, Vec<u32>)>, right: Vec<(u32, Vec<u32>)>) -> Vec<(u32, Vec<u32>)> {
    let mut right = right.into_iter().peekable();
    left.retain_mut(|(doc, places)| {
        while right.next_if(|(other, _)| *other < *doc).is_some() {}
        let Some((_, others)) = right.next_if(|(other, _)| other == doc) else { return false };
        places.retain(|place| others.binary_search(place).is_ok());
        !places.is_empty()
    });
    left
}
