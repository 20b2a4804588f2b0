//! Tests of exact search.

use std::collections::BTreeMap;
use std::num::NonZero;

use proptest::prelude::*;
use roaring::RoaringTreemap;

use super::numbers;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::vector::exact::{Block, Query, Selection, scan};
use crate::vector::kernel::inverse_norm;
use crate::vector::parallel::scan_parallel;
use crate::vector::rows::Rows;
use crate::vector::topk::{Best, TopK};

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::L2];

/// Vectors with what a block of them needs.
struct Rowset {
    dim: usize,
    vectors: Vec<f32>,
    inverse_norms: Vec<f32>,
    ids: Vec<u64>,
    listed: bool,
}

impl Rowset {
    fn new(dim: usize, vectors: Vec<f32>, ids: Vec<u64>) -> Self {
        let inverse_norms = vectors.chunks_exact(dim).map(inverse_norm).collect();
        let listed = ids.iter().zip(ids.iter().skip(1)).any(|(a, b)| a.checked_add(1) != Some(*b));
        Rowset { dim, vectors, inverse_norms, ids, listed }
    }

    fn block(&self) -> Block<'_> {
        let rows =
            if self.listed { Rows::Listed(&self.ids) } else { Rows::From(*self.ids.first().unwrap_or(&0)) };
        Block::new(&self.vectors, self.dim, Some(&self.inverse_norms), rows).unwrap()
    }

    fn search(
        &self,
        metric: Metric,
        query: &[f32],
        selection: &Selection<'_>,
        k: usize,
    ) -> Result<Vec<Best>> {
        let mut top = TopK::new(k);
        scan(&self.block(), &Query::new(metric, query)?, selection, &owner, &mut top)?;
        Ok(top.into_sorted())
    }
}

/// Documents of three rows.
fn owner(row: u64) -> u64 {
    row - row % 3
}

fn wanted(selection: &Selection<'_>, row: u64) -> bool {
    match selection {
        Selection::All => true,
        Selection::Except(dead) => !dead.contains(row),
        Selection::Only(allowed) => allowed.contains(row),
    }
}

fn score_f64(metric: Metric, query: &[f32], row: &[f32]) -> f64 {
    let pairs = || query.iter().zip(row).map(|(&q, &v)| (f64::from(q), f64::from(v)));
    let product: f64 = pairs().map(|(q, v)| q * v).sum();
    let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    // The sum makes one zero of two.
    0.0 + match metric {
        Metric::InnerProduct => product,
        Metric::L2 => -pairs().map(|(q, v)| (q - v).powi(2)).sum::<f64>(),
        Metric::Cosine if norm(row) == 0.0 => 0.0,
        Metric::Cosine => product / norm(query) / norm(row),
    }
}

/// The documents that the oracle finds, best first: (score, row).
fn oracle(rows: &Rowset, metric: Metric, query: &[f32], selection: &Selection<'_>) -> Vec<(f64, u64)> {
    let mut best: BTreeMap<u64, (f64, u64)> = BTreeMap::new();
    for (vector, &row) in rows.vectors.chunks_exact(rows.dim).zip(&rows.ids) {
        if wanted(selection, row) {
            let score = score_f64(metric, query, vector);
            let entry = best.entry(owner(row)).or_insert((score, row));
            if score > entry.0 {
                *entry = (score, row);
            }
        }
    }
    let mut found: Vec<(f64, u64)> = best.into_values().collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found
}

/// Rows with ids that leave gaps of up to `gap - 1`, and a set that holds about `percent` of them and some others.
fn rowset(dim: usize, gap: u64, percent: u64) -> impl Strategy<Value = (Vec<u64>, RoaringTreemap, usize)> {
    let row = (1..=gap, 0_u64..100, 0_u64..100);
    (prop::collection::vec(row, 0..200), 0_u64..1 << 33).prop_map(move |(rows, first)| {
        let (mut next, mut ids, mut set) = (first, Vec::new(), RoaringTreemap::new());
        for (step, of_rows, of_gaps) in rows {
            if of_rows < percent {
                set.insert(next);
            }
            if step > 1 && of_gaps < percent {
                set.insert(next + 1);
            }
            ids.push(next);
            next += step;
        }
        (ids, set, dim)
    })
}

fn cases() -> impl Strategy<Value = (Vec<u64>, RoaringTreemap, usize)> {
    let shapes = (prop::sample::select(vec![1, 3, 64, 70]), prop::sample::select(vec![1, 3]), 0_u64..=100);
    shapes.prop_flat_map(|(dim, gap, percent)| rowset(dim, gap, percent))
}

proptest! {
    #[test]
    fn scores_and_order_are_those_of_f64(
        (ids, set, dim) in cases(), seed: u32, k in 0_usize..40, which in 0_usize..3,
    ) {
        let rows = Rowset::new(dim, numbers(seed, ids.len() * dim), ids);
        let query = numbers(!seed, dim);
        let selection = [Selection::All, Selection::Except(&set), Selection::Only(&set)][which];
        prop_assume!(query.iter().any(|&x| x != 0.0));
        for metric in METRICS {
            let found = rows.search(metric, &query, &selection, k).unwrap();
            let expected = oracle(&rows, metric, &query, &selection);
            prop_assert_eq!(found.len(), expected.len().min(k));
            let mut owners: Vec<u64> = found.iter().map(|best| best.owner).collect();
            owners.sort_unstable();
            owners.dedup();
            prop_assert_eq!(owners.len(), found.len(), "a document is there twice");
            for (best, &(score, _)) in found.iter().zip(&expected) {
                let position = rows.ids.binary_search(&best.row).unwrap();
                let vector = &rows.vectors[position * dim..][..dim];
                let exact = score_f64(metric, &query, vector);
                let terms: f64 = query.iter().zip(vector).map(|(q, v)| f64::from((q * v).abs())).sum();
                let scale = match metric {
                    Metric::Cosine => 1.0,
                    Metric::InnerProduct => terms,
                    Metric::L2 => exact.abs(),
                };
                prop_assert!(wanted(&selection, best.row) && best.owner == owner(best.row));
                prop_assert!((f64::from(best.score) - exact).abs() <= 1e-5 * scale + 1e-30);
                prop_assert!((f64::from(best.score) - score).abs() <= 1e-5 * scale.max(score.abs()) + 1e-5 * terms);
            }
            prop_assert!(found.is_sorted_by(|a, b| (-a.score, a.row) <= (-b.score, b.row)));
        }
    }

    /// Small whole numbers have exact scores and many ties, so that results are equal to the last row.
    #[test]
    fn ties_and_duplicates_are_exact(
        (ids, set, dim) in cases(), seed: u32, k in 0_usize..40, which in 0_usize..3, cuts in prop::collection::vec(0_usize..200, 0..4),
    ) {
        let whole = |seed, n| numbers(seed, n).into_iter().map(|x| (x * 2.0).round()).collect::<Vec<f32>>();
        let rows = Rowset::new(dim, whole(seed, ids.len() * dim), ids);
        let query = whole(!seed, dim);
        let selection = [Selection::All, Selection::Except(&set), Selection::Only(&set)][which];
        for metric in [Metric::InnerProduct, Metric::L2] {
            let expected: Vec<(f64, u64)> = oracle(&rows, metric, &query, &selection).into_iter().take(k).collect();
            let pairs = |found: Vec<Best>| -> Vec<(f64, u64)> {
                found.into_iter().map(|best| (f64::from(best.score), best.row)).collect()
            };
            let found = rows.search(metric, &query, &selection, k).unwrap();
            prop_assert_eq!(&pairs(found), &expected);

            // The same in pieces, the last first.
            let block = rows.block();
            let mut borders: Vec<usize> = cuts.iter().map(|&cut| cut.min(block.len())).collect();
            borders.extend([0, block.len()]);
            borders.sort_unstable();
            let (query, mut top) = (Query::new(metric, &query).unwrap(), TopK::new(k));
            for pair in borders.windows(2).rev() {
                scan(&block.slice(pair[0]..pair[1]), &query, &selection, &owner, &mut top).unwrap();
            }
            prop_assert_eq!(&pairs(top.into_sorted()), &expected);
        }
    }
}

#[test]
fn large_dimensions_agree_with_f64() {
    for dim in [384, 3072] {
        let rows = Rowset::new(dim, numbers(1, dim * 300), (10..310).collect());
        let query = numbers(2, dim);
        for metric in METRICS {
            let found = rows.search(metric, &query, &Selection::All, 20).unwrap();
            let expected = oracle(&rows, metric, &query, &Selection::All);
            let found: Vec<u64> = found.into_iter().map(|best| best.row).collect();
            let expected: Vec<u64> = expected.into_iter().map(|(_, row)| row).take(20).collect();
            assert_eq!(found, expected, "{metric} of {dim}");
        }
    }
}

#[test]
fn threads_and_blocks_do_not_change_the_result() {
    // 3072 * 4 bytes * 2000 rows: several pieces for each thread. Every vector is there four times.
    let (dim, n) = (3072, 500);
    let vectors = numbers(3, dim * n).repeat(4);
    let rows = Rowset::new(dim, vectors, (0..2000).map(|row| row * 2).collect());
    let allowed: RoaringTreemap = (0..4000).filter(|row| row % 7 == 0).collect();
    let block = rows.block();
    let blocks = [700..2000, 0..1, 1..1, 1..700].map(|rows| block.slice(rows).into());
    for metric in METRICS {
        let query = Query::new(metric, &numbers(4, dim)).unwrap();
        for selection in [Selection::All, Selection::Except(&allowed), Selection::Only(&allowed)] {
            let mut top = TopK::new(50);
            scan(&block, &query, &selection, &owner, &mut top).unwrap();
            let expected = top.into_sorted();
            assert_eq!(expected.len(), 50);
            for threads in [1, 2, 3, 16] {
                let threads = NonZero::new(threads).unwrap();
                let top = TopK::new(50);
                let top = scan_parallel(&blocks, &query, &selection, &owner, top, threads).unwrap();
                assert_eq!(top.into_sorted(), expected, "{metric}, {threads} threads");
            }
        }
    }
}

#[test]
fn nothing_is_found_in_nothing() {
    let (empty, one) = (Rowset::new(3, vec![], vec![]), Rowset::new(3, numbers(5, 3), vec![9]));
    let (none, query) = (RoaringTreemap::new(), [1.0, 2.0, 3.0]);
    assert_eq!(empty.search(Metric::L2, &query, &Selection::All, 5).unwrap(), []);
    assert_eq!(empty.search(Metric::L2, &query, &Selection::Only(&none), 5).unwrap(), []);
    assert_eq!(one.search(Metric::L2, &query, &Selection::Only(&none), 5).unwrap(), []);
    assert_eq!(one.search(Metric::L2, &query, &Selection::All, 0).unwrap(), []);
    assert_eq!(one.search(Metric::L2, &query, &Selection::All, usize::MAX).unwrap().len(), 1);
    let query = Query::new(Metric::L2, &query).unwrap();
    let threads = NonZero::<usize>::MAX;
    let top = scan_parallel(&[], &query, &Selection::All, &owner, TopK::new(5), threads).unwrap();
    assert_eq!(top.into_sorted(), []);
}

#[test]
fn values_at_the_ends_of_f32_are_scored() {
    let query = [1.0, 2.0, 2.0];
    for scale in [1e-42_f32, 1e-38, 1e-30, 1.0, 1e30, 1e38] {
        let rows = Rowset::new(3, query.map(|x| x * scale).to_vec(), vec![0]);
        for query in [query, query.map(|x| x * 1e38), query.map(|x| x * 1e-38)] {
            let found = rows.search(Metric::Cosine, &query, &Selection::All, 1).unwrap();
            assert!((found[0].score - 1.0).abs() < 2e-4, "{scale}: {}", found[0].score);
        }
    }
    // 1e38 * 10 - 1e38 * 10 + 5 passes beyond f32 on the way, in whatever order.
    let rows = Rowset::new(3, vec![1e38, 1e38, 5.0, -1e38, -1e38, 0.0], vec![0, 3]);
    let found = rows.search(Metric::InnerProduct, &[10.0, -10.0, 1.0], &Selection::All, 2).unwrap();
    assert_eq!(found.iter().map(|best| best.score).collect::<Vec<_>>(), [5.0, 0.0]);
    let found = rows.search(Metric::L2, &[1e38, 1e38, 0.0], &Selection::All, 2).unwrap();
    assert_eq!((found[0].score, found[1].score), (-25.0, f32::NEG_INFINITY));
}

#[test]
fn damaged_vectors_are_the_worst() {
    let vectors = vec![f32::NAN, 0.0, 1.0, 1.0, f32::INFINITY, f32::NEG_INFINITY, 0.0, 0.0];
    let rows = Rowset::new(2, vectors, vec![0, 3, 6, 9]);
    for metric in METRICS {
        let found = rows.search(metric, &[1.0, 1.0], &Selection::All, 4).unwrap();
        assert_eq!(found.iter().map(|best| best.row).collect::<Vec<_>>(), [3, 9, 0, 6], "{metric}");
    }
}

#[test]
fn cosine_needs_no_column_of_norms() {
    let rows = Rowset::new(384, numbers(6, 384 * 100), (0..100).collect());
    let (query, mut top) = (Query::new(Metric::Cosine, &numbers(7, 384)).unwrap(), TopK::new(10));
    let block = Block::new(&rows.vectors, 384, None, Rows::From(0)).unwrap();
    scan(&block, &query, &Selection::All, &owner, &mut top).unwrap();
    let expected = rows.search(Metric::Cosine, &numbers(7, 384), &Selection::All, 10).unwrap();
    for (found, expected) in top.into_sorted().iter().zip(&expected) {
        assert_eq!(found.row, expected.row);
        assert!((found.score - expected.score).abs() < 1e-6);
    }
}

#[test]
fn queries_that_make_no_sense_are_refused() {
    let reason = |metric, query: &[f32]| Query::new(metric, query).unwrap_err().to_string();
    assert_eq!(
        reason(Metric::Cosine, &[0.0, -0.0]),
        "query vector is not valid: it is zero, which has no direction for the metric cosine"
    );
    assert!(Query::new(Metric::L2, &[0.0]).is_ok());
    assert_eq!(
        reason(Metric::L2, &[1.0, f32::NAN]),
        "query vector is not valid: value 1 is NaN, expected a finite number"
    );
    assert_eq!(reason(Metric::InnerProduct, &[]), "query vector is not valid: it is empty");
    assert!(matches!(
        Query::new(Metric::L2, &vec![1.0; 65_537]),
        Err(Error::Limit { found: 65_537, max: 65_536, .. })
    ));
    let rows = Rowset::new(3, numbers(8, 3), vec![0]);
    assert!(matches!(
        rows.search(Metric::L2, &[1.0], &Selection::All, 1),
        Err(Error::Shape { expected: 3, found: 1, .. })
    ));
}

#[test]
fn blocks_whose_lengths_disagree_are_refused() {
    let six = [1.0; 6];
    let shape = |block: Result<Block<'_>>| match block {
        Err(Error::Shape { expected, found, .. }) => (expected, found),
        other => panic!("{other:?}"),
    };
    assert!(matches!(Block::new(&six, 0, None, Rows::From(0)), Err(Error::Invalid { .. })));
    assert_eq!(shape(Block::new(&six, 4, None, Rows::From(0))), (4, 2));
    assert_eq!(shape(Block::new(&six, 3, Some(&[1.0]), Rows::From(0))), (2, 1));
    assert_eq!(shape(Block::new(&six, 3, None, Rows::Listed(&[1, 2, 3]))), (2, 3));
    assert!(matches!(Block::new(&six, 3, None, Rows::From(u64::MAX - 1)), Err(Error::Invalid { .. })));
    assert_eq!(Block::new(&six, 3, None, Rows::From(u64::MAX - 2)).unwrap().len(), 2);
}

#[test]
fn a_list_that_does_not_ascend_does_no_harm() {
    let mut ids: Vec<u64> = (0..100).map(|i| i * 37 % 101).collect();
    ids[0] = u64::MAX;
    let rows = Rowset { listed: true, ..Rowset::new(3, numbers(9, 300), ids) };
    for step in [1, 2, 10, 50] {
        let allowed: RoaringTreemap = (0..100).step_by(step).chain([u64::MAX]).collect();
        let found = rows.search(Metric::L2, &[0.0; 3], &Selection::Only(&allowed), 100).unwrap();
        assert!(found.iter().all(|best| allowed.contains(best.row)));
    }
}
