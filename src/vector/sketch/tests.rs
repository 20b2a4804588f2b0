//! Tests of sketches against sums in full, and against the exact search.

use std::num::NonZero;
use std::ops::Range;
use std::sync::Mutex;

use roaring::RoaringTreemap;

use super::encode::place_of;
use super::mask::{Words, fill};
use super::nearest::Nearest;
use super::*;
use crate::metric::Metric;
use crate::vector::codes::Found;
use crate::vector::exact::{Block, Query, Selection, scan};
use crate::vector::hnsw::hostile::words_from;
use crate::vector::kernel::inverse_norm;
use crate::vector::rows::Rows;
use crate::vector::tests::numbers;
use crate::vector::topk::TopK;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::L2];
const FIRST: u64 = 1_000;

/// Vectors near a subspace of some dimensions, away from zero, and their sketches.
struct Data {
    dim: usize,
    metric: Metric,
    vectors: Vec<f32>,
    norms: Vec<f32>,
    basis: Basis,
    codes: Vec<u8>,
    biases: Vec<f32>,
}

impl Data {
    fn new(metric: Metric, rows: usize, dim: usize, latent: usize, threads: usize) -> Self {
        let threads = NonZero::new(threads).unwrap();
        let vectors = vectors(1, rows, dim, latent);
        let norms: Vec<f32> = vectors.chunks_exact(dim).map(inverse_norm).collect();
        let block = Block::new(&vectors, dim, Some(&norms), Rows::From(FIRST)).unwrap();
        let basis = Basis::learn(&block, metric, dims_max(rows, dim), threads, &|| Ok(())).unwrap();
        let codes = Mutex::new(vec![0xee; bytes(rows, basis.dims())]);
        let biases = Mutex::new(vec![f32::NAN; if metric == Metric::L2 { rows } else { 0 }]);
        encode(&block, metric, &basis, threads, &|content| {
            let at = bytes(content.first, basis.dims());
            codes.lock().unwrap()[at..][..content.sketches.len()].copy_from_slice(content.sketches);
            if !content.biases.is_empty() {
                biases.lock().unwrap()[content.first..][..content.biases.len()]
                    .copy_from_slice(content.biases);
            }
            Ok(())
        })
        .unwrap();
        let (codes, biases) = (codes.into_inner().unwrap(), biases.into_inner().unwrap());
        Data { dim, metric, vectors, norms, basis, codes, biases }
    }

    fn rows(&self) -> usize {
        self.norms.len()
    }

    fn sketches(&self) -> Sketches<'_> {
        self.basis.sketches(self.rows(), &self.codes, &self.biases)
    }

    fn nearest(&self, query: &Query, selection: &Selection<'_>, count: usize, threads: usize) -> Found {
        let threads = NonZero::new(threads).unwrap();
        self.sketches().nearest(query, Rows::From(FIRST), selection, count, threads).unwrap()
    }

    fn exact(&self, query: &Query, selection: &Selection<'_>, k: usize) -> Vec<usize> {
        let block = Block::new(&self.vectors, self.dim, Some(&self.norms), Rows::From(FIRST)).unwrap();
        let mut top = TopK::new(k);
        scan(&block, query, selection, &|row| row, &mut top).unwrap();
        top.into_sorted().iter().map(|best| usize::try_from(best.row - FIRST).unwrap()).collect()
    }
}

fn vectors(seed: u32, rows: usize, dim: usize, latent: usize) -> Vec<f32> {
    let (basis, places) = (numbers(7, latent * dim), numbers(seed, rows * latent));
    let (noise, centre) = (numbers(seed + 50, rows * dim), numbers(9, dim));
    let mut vectors = Vec::with_capacity(rows * dim);
    for (place, noise) in places.chunks_exact(latent).zip(noise.chunks_exact(dim)) {
        vectors.extend((0..dim).map(|n| {
            let parts = place.iter().zip(basis.chunks_exact(dim)).map(|(part, of)| part * of[n]);
            centre[n] + 0.2 * noise[n] + parts.sum::<f32>()
        }));
    }
    vectors
}

fn queries(data: &Data, count: usize, latent: usize) -> Vec<Query> {
    let vectors = vectors(200, count, data.dim, latent);
    vectors.chunks_exact(data.dim).map(|vector| Query::new(data.metric, vector).unwrap()).collect()
}

#[test]
fn the_nearest_are_among_the_best_sketches_whatever_is_allowed() {
    for metric in METRICS {
        let data = Data::new(metric, 3_000, 160, 24, 2);
        assert_eq!(data.basis.dims(), 32, "24 dimensions hold nearly everything");
        let half: RoaringTreemap = (0..3_000).filter(|n| n % 7 < 3).map(|n| n + FIRST).collect();
        for selection in [Selection::All, Selection::Only(&half), Selection::Except(&half)] {
            let (mut found, mut wanted) = (0, 0);
            for query in queries(&data, 20, 24) {
                let exact = data.exact(&query, &selection, 10);
                let near = data.nearest(&query, &selection, 40, 1);
                assert_eq!(near.positions.len(), 40);
                assert!(near.positions.iter().all(|&at| selection.contains(at as u64 + FIRST)));
                wanted += exact.len();
                found += exact.iter().filter(|at| near.positions.contains(at)).count();
            }
            assert!(found * 100 >= wanted * 98, "{metric:?} {selection:?}: {found} of {wanted}");
        }
    }
}

#[test]
fn a_basis_is_orthonormal_and_the_same_for_any_number_of_threads() {
    let (one, three) = (Data::new(Metric::L2, 1_500, 130, 40, 1), Data::new(Metric::L2, 1_500, 130, 40, 3));
    assert_eq!(one.basis, three.basis);
    assert_eq!(one.codes, three.codes);
    assert_eq!(one.biases, three.biases);
    let sketches = one.sketches();
    assert_eq!(one.basis.dims(), 32, "no more than a quarter");
    let directions: Vec<&[f32]> = sketches.directions.chunks_exact(130).collect();
    for (n, a) in directions.iter().enumerate() {
        for (m, b) in directions.iter().enumerate() {
            let dot: f32 = a.iter().zip(*b).map(|(a, b)| a * b).sum();
            assert!((dot - f32::from(u8::from(n == m))).abs() < 1e-4, "{n} {m}: {dot}");
        }
    }
    for query in queries(&one, 3, 40) {
        let all = one.nearest(&query, &Selection::All, 100, 1);
        assert_eq!(all, one.nearest(&query, &Selection::All, 100, 3));
        assert_eq!(all.compared, 1_500);
    }
}

/// Vectors that are all the same, too long for sums, or zero have no sketches that tell anything, and are found all the same.
#[test]
fn vectors_without_a_subspace_are_found() {
    let same = |value: f32| vec![value; 1_200 * 128];
    let mut one = same(0.0);
    one[128 * 700] = 1.0;
    for vectors in [same(0.0), same(1.0), same(1e38), one] {
        let norms: Vec<f32> = vectors.chunks_exact(128).map(inverse_norm).collect();
        let block = Block::new(&vectors, 128, Some(&norms), Rows::From(FIRST)).unwrap();
        for metric in METRICS {
            let two = NonZero::new(2).unwrap();
            let basis = Basis::learn(&block, metric, 32, two, &|| Ok(())).unwrap();
            assert!(basis.values().iter().all(|value| value.is_finite()), "{metric:?}");
            let codes = vec![0x77; bytes(1_200, basis.dims())];
            let query = Query::new(metric, &numbers(3, 128)).unwrap();
            let near = basis.sketches(1_200, &codes, &[]);
            let found = near.nearest(&query, Rows::From(FIRST), &Selection::All, 1_300, two).unwrap();
            assert_eq!(found.positions.len(), 1_200);
        }
    }
}

/// As `docs/format.md` has it: for each eight dimensions of sixteen rows 64 bytes, four of each row.
#[test]
fn sketches_lie_where_the_format_says() {
    let places = [
        ((0, 0), (0, 0)),
        ((0, 3), (3, 0)),
        ((0, 4), (0, 4)),
        ((0, 7), (3, 4)),
        ((0, 8), (64, 0)),
        ((15, 47), (5 * 64 + 63, 4)),
        ((16, 0), (8 * 48, 0)),
    ];
    for ((row, dimension), place) in places {
        assert_eq!(place_of(row, dimension, 48), place, "{row} {dimension}");
    }
    assert_eq!([bytes(0, 48), bytes(1, 48), bytes(64, 48), bytes(65, 48)], [0, 1536, 1536, 3072]);
    assert_eq!(basis_values(384, 48), 48 * 385);
}

/// Whatever the bytes are, all scans find what sums in full say.
#[test]
fn all_scans_give_what_sums_in_full_give() {
    let mut words = words_from(5);
    let mut word = || u64::from(words()) << 32 | u64::from(words());
    for (rows, dims) in [(1, 8), (63, 16), (64, 32), (65, 48), (1_000, 64), (777, 128), (400, 136)] {
        let codes: Vec<u8> = (0..bytes(rows, dims)).map(|_| word().to_le_bytes()[0]).collect();
        let biases = numbers(4, rows);
        for (n, biases) in [&[][..], &biases].into_iter().enumerate() {
            let weights: Vec<i8> = (0..dims).map(|_| word().to_le_bytes()[0].cast_signed()).collect();
            let unit = 0.001;
            let mut mask: Vec<u64> = (0..rows.div_ceil(64)).map(|_| word() | word() << n).collect();
            if let (Some(last), true) = (mask.last_mut(), rows % 64 > 0) {
                *last &= (1 << (rows % 64)) - 1;
            }
            let mut scores: Vec<(f32, usize)> = Vec::new();
            for row in (0..rows).filter(|row| mask[row / 64] >> (row % 64) & 1 == 1) {
                let code = |dimension: usize| {
                    let (byte, shift) = place_of(row, dimension, dims);
                    i32::from(codes[byte] >> shift & 15)
                };
                let sum: i32 =
                    weights.iter().enumerate().map(|(n, &weight)| i32::from(weight) * code(n)).sum();
                #[expect(clippy::cast_precision_loss, reason = "far below 2^24")]
                scores.push((sum as f32 * unit - biases.get(row).unwrap_or(&0.0), row));
            }
            scores.sort_by(|a, b| b.0.total_cmp(&a.0));
            let sketches =
                Sketches { dim: 1, dims, step: 1.0, directions: &[], codes: &codes, biases, count: rows };
            for way in 0..=scan::ways(dims) {
                let query = scan::SketchQuery::of(weights.clone(), unit, way);
                let wanted = scores.len() / 3 + 1;
                let mut nearest = Nearest::new(wanted);
                sketches.piece(&query, 0, &mask, &mut nearest).unwrap();
                let found = nearest.into_positions();
                assert_eq!(found.len(), wanted.min(scores.len()));
                for (at, (score, _)) in found.iter().zip(&scores) {
                    let (own, _) = scores.iter().find(|(_, row)| row == at).expect("a row that is wanted");
                    assert!((own - score).abs() < 1e-5, "{rows} {dims} {way}: {own} {score}");
                }
            }
        }
    }
}

/// A row whose score is no number is the worst, and found where nothing else is left.
#[test]
fn numbers_that_are_none_lose_no_row() {
    let mut data = Data::new(Metric::L2, 1_100, 128, 20, 1);
    data.biases[7] = f32::NAN;
    data.biases[8] = f32::INFINITY;
    data.biases[9] = f32::NEG_INFINITY;
    for query in queries(&data, 3, 20) {
        let all = data.nearest(&query, &Selection::All, 5_000, 2).positions;
        assert_eq!(all.len(), 1_100);
        assert_eq!(all[0], 9);
        assert!(all[1_098..].contains(&7) && all[1_098..].contains(&8), "{:?}", &all[1_098..]);
        let some: RoaringTreemap = [7, 8, 20, 1_099].map(|at| at + FIRST).into_iter().collect();
        let mut found = data.nearest(&query, &Selection::Only(&some), 10, 1).positions;
        found.sort_unstable();
        assert_eq!(found, [7, 8, 20, 1_099]);
        assert!(data.nearest(&query, &Selection::Only(&some), 0, 1).positions.is_empty());
    }
}

#[test]
fn a_list_keeps_the_best_of_what_it_is_told() {
    let scores = numbers(3, 1_000);
    for wanted in [0, 1, 5, 999, 1_000, 2_000] {
        let mut parts = [Nearest::new(wanted), Nearest::new(wanted)];
        for (n, &score) in scores.iter().enumerate() {
            parts[n % 2].add(score, u32::try_from(n).unwrap());
        }
        let [mut one, other] = parts;
        one.merge(other);
        let mut order: Vec<usize> = (0..1_000).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        order.truncate(wanted);
        assert_eq!(one.into_positions(), order);
    }
}

#[test]
fn a_mask_has_the_rows_of_a_selection() {
    let mut words = words_from(11);
    let ids = |count: u64, of: u64, words: &mut dyn FnMut() -> u32| -> RoaringTreemap {
        (0..count).map(|_| u64::from(words()) % of).collect()
    };
    let beyond = 1_u64 << 32;
    let sets = [
        RoaringTreemap::new(),
        ids(20, 200_000, &mut words),
        ids(3_000, 200_000, &mut words),
        ids(150_000, 200_000, &mut words),
        (60_000..140_000).collect(),
        (0..200_000).collect(),
        (beyond - 3_000..beyond + 3_000).filter(|id| id % 3 != 1).collect(),
    ];
    for (n, set) in sets.iter().enumerate() {
        let mut optimised = set.clone();
        optimised.optimize();
        for _ in 0..12 {
            let first = match n {
                6 => beyond - u64::from(words()) % 4_000,
                _ => u64::from(words()) % 70_000,
            };
            let listed: Vec<u64> = (first..first + 90_000).filter(|id| id % 5 > 1).collect();
            let start = 64 * usize::try_from(words() % 20).unwrap();
            let end = start + usize::try_from(words() % 50_000).unwrap();
            for rows in [Rows::From(first), Rows::Listed(&listed)] {
                check_mask(rows, &(start..end), &optimised);
            }
        }
    }
}

fn check_mask(rows: Rows<'_>, within: &Range<usize>, set: &RoaringTreemap) {
    for selection in [Selection::All, Selection::Only(set), Selection::Except(set)] {
        // What was there before does not count.
        let mut mask = vec![0x1234_5678; within.len().div_ceil(64)];
        fill(&mut mask, &mut Words::new(), rows, within, &selection);
        for (at, position) in within.clone().enumerate() {
            let found = mask[at / 64] >> (at % 64) & 1 == 1;
            assert_eq!(found, selection.contains(rows.at(position)), "{position} of {within:?}");
        }
        let rest = within.len() % 64;
        assert!(rest == 0 || mask.last().is_none_or(|last| last >> rest == 0));
    }
}
