//! Tests of the best k.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::vector::topk::{Best, TopK};

fn offer(top: &mut TopK, rows: &[(f32, u64)], owner: fn(u64) -> u64) {
    for &(score, row) in rows {
        top.offer(score, row, |row| Some(owner(row)));
    }
}

fn found(top: TopK) -> Vec<(u64, u64, f32)> {
    top.into_sorted().into_iter().map(|Best { owner, row, score }| (owner, row, score)).collect()
}

#[test]
fn ties_go_to_the_lower_row() {
    let mut top = TopK::new(2);
    offer(&mut top, &[(1.0, 9), (1.0, 3), (1.0, 7), (0.5, 1)], |row| row);
    assert_eq!(found(top), [(3, 3, 1.0), (7, 7, 1.0)]);
}

#[test]
fn a_document_counts_once_by_its_best_row() {
    let mut top = TopK::new(2);
    // Documents of ten rows each; the first has four good parts, two of them equal.
    offer(&mut top, &[(0.7, 1), (0.9, 4), (0.9, 2), (0.8, 3), (0.6, 15), (0.5, 21)], |row| row - row % 10);
    assert_eq!(found(top), [(0, 2, 0.9), (10, 15, 0.6)]);
}

#[test]
fn a_document_that_fell_out_comes_back_with_a_better_part() {
    let mut top = TopK::new(1);
    let crowd: Vec<(f32, u64)> = (0..40).map(|i| (0.5, 100 + i)).collect();
    offer(&mut top, &[(0.1, 10)], |row| row - row % 10);
    offer(&mut top, &crowd, |row| row);
    offer(&mut top, &[(0.9, 11)], |row| row - row % 10);
    assert_eq!(found(top), [(10, 11, 0.9)]);
}

#[test]
fn nothing_is_kept_of_nothing_wanted() {
    let mut top = TopK::new(0);
    assert!(!top.wants_any(&[f32::INFINITY]));
    top.offer(1.0, 1, |_| panic!("no row is good enough"));
    assert_eq!(found(top), []);
    assert_eq!(found(TopK::new(usize::MAX)), []);
}

#[test]
fn more_than_there_is_gives_all() {
    let mut top = TopK::new(usize::MAX);
    offer(&mut top, &[(0.1, 1), (0.3, 3), (0.2, 2)], |row| row);
    assert_eq!(found(top), [(3, 3, 0.3), (2, 2, 0.2), (1, 1, 0.1)]);
}

#[test]
fn not_a_number_is_the_worst_score() {
    let mut top = TopK::new(3);
    let mut rows = vec![(f32::NAN, 1), (f32::NEG_INFINITY, 2), (-5.0, 3), (f32::INFINITY, 4)];
    rows.extend((5..60).map(|row| (f32::NAN, row)));
    offer(&mut top, &rows, |row| row);
    assert_eq!(found(top), [(4, 4, f32::INFINITY), (3, 3, -5.0), (1, 1, f32::NEG_INFINITY)]);
}

#[test]
fn both_zeros_are_equal() {
    let mut top = TopK::new(1);
    offer(&mut top, &[(0.0, 2), (-0.0, 1)], |row| row);
    let best = top.into_sorted();
    assert_eq!((best[0].row, best[0].score.to_bits()), (1, 0));
}

#[test]
fn documents_are_asked_for_only_where_the_score_is_good_enough() {
    let asked = Cell::new(0);
    let mut top = TopK::new(10);
    for row in 0_u16..10_000 {
        top.offer(-f32::from(row), u64::from(row), |row| {
            asked.set(asked.get() + 1);
            Some(row)
        });
    }
    assert_eq!(top.into_sorted().len(), 10);
    assert!(asked.get() <= 36, "{} rows were asked for", asked.get());
}

#[test]
fn an_unwanted_row_takes_no_place() {
    let mut top = TopK::new(2);
    for row in 0_u16..100 {
        top.offer(f32::from(row), u64::from(row), |row| (row < 50).then_some(row));
    }
    assert_eq!(found(top), [(49, 49, 49.0), (48, 48, 48.0)]);
}

proptest! {
    #[test]
    fn order_and_split_do_not_matter(
        rows in prop::collection::vec((-8_i8..8, 0_u64..200), 0..400),
        k in 0_usize..30,
        at in 0_usize..400,
    ) {
        // A row has one score: the last one drawn.
        let scores: BTreeMap<u64, f32> = rows.iter().map(|&(score, row)| (row, f32::from(score))).collect();
        let mut best: BTreeMap<u64, (f32, u64)> = BTreeMap::new();
        for (&row, &score) in &scores {
            let entry = best.entry(row - row % 3).or_insert((score, row));
            if score > entry.0 {
                *entry = (score, row);
            }
        }
        let mut expected: Vec<(u64, u64, f32)> = best.iter().map(|(&owner, &(score, row))| (owner, row, score)).collect();
        expected.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.1.cmp(&b.1)));
        expected.truncate(k);

        let offered: Vec<(f32, u64)> = rows.iter().map(|&(_, row)| (scores[&row], row)).collect();
        let (left, right) = offered.split_at(at.min(offered.len()));
        let (mut a, mut b) = (TopK::new(k), TopK::new(k));
        offer(&mut a, left, |row| row - row % 3);
        offer(&mut b, right, |row| row - row % 3);
        a.merge(b.clone());
        prop_assert_eq!(found(a), expected.clone());
        offer(&mut b, left, |row| row - row % 3);
        prop_assert_eq!(found(b), expected);
    }
}
