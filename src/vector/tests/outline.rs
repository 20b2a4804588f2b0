//! Tests of scans by outlines against scans of the vectors.

use proptest::prelude::*;
use roaring::RoaringTreemap;

use super::numbers;
use crate::metric::Metric;
use crate::vector::exact::{Block, Query, Selection, scan};
use crate::vector::kernel::inverse_norm;
use crate::vector::outline::{Outline, OutlineQuery, Outlined};
use crate::vector::rows::Rows;
use crate::vector::topk::{Best, TopK};

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::L2];

/// Documents of two rows.
fn owner(row: u64) -> u64 {
    row - row % 2
}

/// Calls `check` with a block of these vectors and with the same block beside its outline.
fn with(metric: Metric, dim: usize, vectors: &[f32], check: impl Fn(Block<'_>, Outlined<'_>)) {
    let norms: Vec<f32> = vectors.chunks_exact(dim).map(inverse_norm).collect();
    let block = Block::new(vectors, dim, Some(&norms), Rows::From(10)).unwrap();
    let outline = Outline::draw(&block, metric, &[], Box::new(()));
    check(block, Outlined::new(block, Some(&outline)));
}

/// What a scan finds by the outline, and what a scan of the vectors finds, after the same `seed`.
fn both(
    (block, outlined): (Block<'_>, Outlined<'_>),
    query: &Query,
    selection: &Selection<'_>,
    seed: &TopK,
) -> [Vec<Best>; 2] {
    let [mut by_outline, mut by_vectors] = [seed.clone(), seed.clone()];
    let (all, prepared) = (0..block.len(), OutlineQuery::new(query));
    outlined.scan(all, (query, prepared.as_ref()), selection, &owner, &mut by_outline).unwrap();
    scan(&block, query, selection, &owner, &mut by_vectors).unwrap();
    [by_outline, by_vectors].map(TopK::into_sorted)
}

/// Some vectors of like size, shifted to one side, some of them twice or zero, and one of another size.
fn vectors(seed: u32, dim: usize, exponents: [i32; 2], shift: f32) -> Vec<f32> {
    let [most, one] = exponents.map(|exponent| 10.0_f32.powi(exponent));
    let mut all: Vec<f32> = numbers(seed, 640 * dim).iter().map(|value| (value + shift) * most).collect();
    all.extend_from_within(..20 * dim);
    all.extend(std::iter::repeat_n(0.0, 2 * dim));
    all.extend(numbers(seed + 1, dim).iter().map(|value| value * one));
    all
}

/// How far all vectors lie to one side.
fn shifts() -> impl Strategy<Value = f32> {
    prop_oneof![Just(0.0), Just(0.9), Just(30.0)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn an_outline_changes_no_result(
        seed in 0_u32..1000,
        dim in prop_oneof![1_usize..80, Just(384)],
        exponents in [-44..39_i32, -44..39],
        of_query in -25..20_i32,
        shift in shifts(),
        k in 1_usize..40,
    ) {
        let all = vectors(seed, dim, exponents, shift);
        let long = 10.0_f32.powi(of_query);
        let target: Vec<f32> = numbers(seed + 2, dim).iter().map(|value| (value + shift) * long).collect();
        let some: RoaringTreemap = (0..700).filter(|row| row % 3 != 1).collect();
        let few: RoaringTreemap = (0..700).filter(|row| row % 50 == 1).collect();
        for metric in METRICS {
            let Ok(query) = Query::new(metric, &target) else { continue };
            with(metric, dim, &all, |block, outlined| {
                for selection in
                    [Selection::All, Selection::Except(&few), Selection::Only(&some), Selection::Only(&few)]
                {
                    let mut seed = TopK::new(k);
                    scan(&block.slice(0..100), &query, &selection, &owner, &mut seed).unwrap();
                    for seed in [TopK::new(k), seed.settled()] {
                        let [by_outline, by_vectors] = both((block, outlined), &query, &selection, &seed);
                        assert_eq!(by_outline, by_vectors, "{metric}, {selection:?}");
                    }
                }
            });
        }
    }

    #[test]
    fn no_score_is_above_what_the_outline_says(
        seed in 0_u32..1000,
        dim in prop_oneof![1_usize..200, Just(3072)],
        exponents in [-14..15_i32, -14..15],
        of_query in -14..12_i32,
        shift in shifts(),
    ) {
        let all = vectors(seed, dim, exponents, shift);
        // One of the vectors, and another direction.
        let long = 10.0_f32.powi(of_query);
        for target in [&all[3 * dim..4 * dim], &numbers(seed + 2, dim)] {
            let target: Vec<f32> = target.iter().map(|value| (value * long).clamp(-1e12, 1e12)).collect();
            for metric in METRICS {
                let Ok(query) = Query::new(metric, &target) else { continue };
                if OutlineQuery::new(&query).is_none() {
                    continue;
                }
                with(metric, dim, &all, |block, outlined| {
                    let mut top = TopK::new(usize::MAX);
                    scan(&block, &query, &Selection::All, &|row| row, &mut top).unwrap();
                    let highest = outlined.highest(&query);
                    for best in top.into_sorted() {
                        let highest = highest[usize::try_from(best.row - 10).unwrap()];
                        // An infinite or undefined one keeps the row.
                        assert!(highest >= best.score || highest.is_nan(), "{metric}: {highest} of {best:?}");
                    }
                });
            }
        }
    }
}

#[test]
fn few_of_many_rows_are_scored() {
    for (dim, shift) in [(384, 0.0), (3072, 0.0), (384, 0.5)] {
        let all: Vec<f32> = numbers(7, 2000 * dim).iter().map(|value| value + shift).collect();
        for metric in METRICS {
            let query = Query::new(metric, &numbers(8, dim)).unwrap();
            with(metric, dim, &all, |block, outlined| {
                let mut top = TopK::new(10);
                scan(&block, &query, &Selection::All, &|row| row, &mut top).unwrap();
                let least = top.into_sorted().last().unwrap().score;
                let scored = outlined.highest(&query).iter().filter(|&&highest| highest >= least).count();
                assert!((10..100).contains(&scored), "{metric} of {dim} values: {scored}");
            });
        }
    }
}
