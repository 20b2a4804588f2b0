//! Scores the rows of one segment that may be among the best, a window of rows at a time.
//!
//! What each clause is worth is added up in an array over the rows of the window, clause by clause. Once the best are so good that
//! some clauses, the least telling, cannot make a row one of them even together, these only add to rows that others have and that may
//! get so far, and are looked up there if that is less work than to pass through them.
//! Source: `MaxScore`, H. Turtle and J. Flood, Query evaluation: strategies and optimizations (1995), in windows.

use std::ops::Range;

use tantivy::{DocId, TERMINATED, TantivyError};

use super::cursor::Cursor;
use crate::codec::to_usize;

/// The rows of a window: their sums lie in the first cache of a processor.
const WINDOW: u32 = 4096;
/// So many rows are passed in the time in which one is looked up.
const LOOKED_UP: usize = 12;
/// So many rows are passed in the time in which it is asked of one whether it may still be among the best.
const SIFTED: usize = 2;
/// More than what is lost when bounds and sums are rounded.
const ROUNDING: f64 = 1.0 + 1e-5;

/// The sum of no scores: the zero that no scores add up to.
const NOTHING: f64 = -0.0;

/// Who wants to know the best rows.
pub(super) trait Taker {
    /// What a row has to score, at least, to be of interest.
    fn floor(&self) -> f32;
    /// Whether a row may be found.
    fn allows(&self, doc: DocId) -> bool;
    /// Takes a row that may be found.
    fn take(&mut self, doc: DocId, score: f32);
}

/// A sum of scores of f32. In f64 nearly all such sums are exact, and so do not depend on their order.
#[expect(clippy::cast_possible_truncation, reason = "rounded once, at the end")]
pub(super) fn total(sum: f64) -> f32 {
    sum as f32
}

/// Rows of a window, and what each has so far.
struct Window {
    sums: Vec<f64>,
    /// The rows that have sums, in any order, behind each other.
    touched: Vec<u32>,
    count: usize,
    /// Which of them may be among the best, by bits: in their order.
    chosen: Vec<u64>,
}

impl Window {
    fn new(rows: u32) -> Self {
        let rows = to_usize(rows.into());
        // One more, to be written to and not to count.
        let touched = vec![0; rows + 1];
        Window { sums: vec![NOTHING; rows], touched, count: 0, chosen: vec![0; rows.div_ceil(64)] }
    }

    /// Adds what rows from `start` on have of a clause.
    fn add(&mut self, cursor: &mut Cursor<'_>, docs: &Range<DocId>) {
        let (sums, touched) = (self.sums.as_mut_slice(), self.touched.as_mut_slice());
        let mut count = self.count;
        cursor.pass(docs.end, |doc, score| {
            // A row that is not in order is not in the window.
            let at = doc.wrapping_sub(docs.start);
            let (Some(sum), Some(touched)) = (sums.get_mut(to_usize(at.into())), touched.get_mut(count))
            else {
                return;
            };
            *touched = at;
            count += usize::from(sum.is_sign_negative());
            *sum += f64::from(score);
        });
        self.count = count;
    }

    /// The same for rows that have anything already.
    fn add_more(&mut self, cursor: &mut Cursor<'_>, docs: &Range<DocId>) {
        let sums = self.sums.as_mut_slice();
        cursor.skip(docs.start);
        cursor.pass(docs.end, |doc, score| {
            if let Some(sum) = sums.get_mut(to_usize(doc.wrapping_sub(docs.start).into())) {
                *sum += if sum.is_sign_negative() { NOTHING } else { f64::from(score) };
            }
        });
    }

    /// Takes all sums out.
    fn take(&mut self, mut visit: impl FnMut(u32, f64)) {
        for &at in &self.touched[..self.count] {
            if let Some(sum) = self.sums.get_mut(to_usize(at.into())) {
                visit(at, std::mem::replace(sum, NOTHING));
            }
        }
        self.count = 0;
    }

    /// Leaves only the rows that are wanted; how many they are.
    fn choose(&mut self, mut is_wanted: impl FnMut(u32, f64) -> bool) -> usize {
        let mut count = 0;
        for &at in &self.touched[..self.count] {
            let Some(sum) = self.sums.get_mut(to_usize(at.into())) else { continue };
            if is_wanted(at, *sum) {
                self.chosen[to_usize(u64::from(at / 64))] |= 1 << (at % 64);
                count += 1;
            } else {
                *sum = NOTHING;
            }
        }
        self.count = 0;
        count
    }

    /// Calls `visit` with each row that was chosen, in their order, and what it has; it answers whether the row stays.
    fn for_each_chosen(&mut self, mut visit: impl FnMut(u32, &mut f64) -> bool) -> usize {
        let mut count = 0;
        for (word, first) in self.chosen.iter_mut().zip((0..).step_by(64)) {
            let mut rest = *word;
            while rest != 0 {
                let at = first + rest.trailing_zeros();
                let sum = &mut self.sums[to_usize(at.into())];
                if visit(at, sum) {
                    count += 1;
                } else {
                    *sum = NOTHING;
                    *word &= !(1 << (at % 64));
                }
                rest &= rest - 1;
            }
        }
        count
    }
}

/// The memory of a scan for so many clauses, in bytes.
pub(super) fn bytes(clauses: usize) -> usize {
    // Sums, the rows that have one, and bits.
    let window = to_usize(WINDOW.into()) * (size_of::<f64>() + size_of::<u32>() + 1);
    window + clauses.saturating_mul(Cursor::BYTES + 2 * size_of::<f64>())
}

/// Offers the rows, of `rows`, that have any of the clauses and may be among the best.
///
/// # Errors
/// If rows are not in order.
pub(super) fn scan(mut cursors: Vec<Cursor<'_>>, rows: u32, taker: &mut impl Taker) -> tantivy::Result<()> {
    cursors.sort_by(|a, b| a.bound().total_cmp(&b.bound()));
    let mut window = Window::new(WINDOW.min(rows));
    // What the first so many can make together: anywhere, and in a window.
    let mut together = Vec::with_capacity(cursors.len() + 1);
    add_up(&mut together, cursors.iter().map(Cursor::bound));
    let mut within = together.clone();
    let (mut few, mut end) = (0, 0);
    loop {
        few += below(&together[few + 1..], taker.floor());
        let start = cursors[few..].iter().map(Cursor::doc).min().unwrap_or(TERMINATED);
        if start >= rows {
            return Ok(());
        }
        if start < end {
            return Err(TantivyError::InternalError("its rows are out of order".to_owned()));
        }
        end = start.saturating_add(WINDOW).min(rows);
        let docs = start..end;
        let mut fewer = 0;
        if taker.floor() > 0.0 {
            add_up(&mut within, cursors.iter_mut().map(|cursor| cursor.most(&docs)));
            fewer = below(&within[1..], taker.floor());
        }
        let (others, telling) = cursors.split_at_mut(fewer);
        // The most telling first: they raise the floor.
        for cursor in telling.iter_mut().rev() {
            window.add(cursor, &docs);
        }
        if fewer == 0 {
            window.take(|at, sum| offer(taker, start + at, sum));
            continue;
        }
        if !telling.is_empty() {
            complete(&mut window, others, &within, &docs, taker);
        }
        // So that they say where the next window begins.
        for cursor in others.iter_mut().skip(few) {
            cursor.skip(end);
        }
    }
}

/// The sums of the first so many.
fn add_up(sums: &mut Vec<f64>, bounds: impl Iterator<Item = f32>) {
    sums.clear();
    let mut sum = 0.0;
    sums.push(sum);
    sums.extend(bounds.map(|bound| {
        sum += f64::from(bound);
        sum
    }));
}

/// How many of the sums, which ascend, are below what is of interest.
fn below(sums: &[f64], floor: f32) -> usize {
    sums.partition_point(|sum| sum * ROUNDING < f64::from(floor))
}

fn offer(taker: &mut impl Taker, doc: DocId, sum: f64) {
    let score = total(sum);
    if score >= taker.floor() && taker.allows(doc) {
        taker.take(doc, score);
    }
}

/// Adds to the rows that may be among the best what was not passed through.
fn complete(
    window: &mut Window,
    others: &mut [Cursor<'_>],
    together: &[f64],
    docs: &Range<DocId>,
    taker: &mut impl Taker,
) {
    let (start, floor) = (docs.start, f64::from(taker.floor()) / ROUNDING);
    // What a row has to have when so many of the others are still to be added.
    let least = |others: usize| floor - together[others];
    let needed = least(others.len());
    let mut count = window.choose(|at, sum| sum >= needed && taker.allows(start + at));
    let mut is_sifted = true;
    for (n, cursor) in others.iter_mut().enumerate().rev() {
        let (expected, needed, enough) = (cursor.estimate(docs), least(n + 1), least(n));
        if !is_sifted && expected > count * SIFTED {
            count = window.for_each_chosen(|_, sum| *sum >= needed);
            is_sifted = true;
        }
        if count == 0 {
            return;
        }
        if expected < count * LOOKED_UP {
            window.add_more(cursor, docs);
            is_sifted = false;
        } else {
            count = window.for_each_chosen(|at, sum| {
                *sum += cursor.score_at(start + at).map_or(0.0, f64::from);
                *sum >= enough
            });
        }
    }
    window.for_each_chosen(|at, sum| {
        offer(taker, start + at, *sum);
        false
    });
}
