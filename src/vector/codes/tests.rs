//! Tests of scans of codes.

use std::num::NonZero;

use fearless_simd::Level;
use memmap2::MmapMut;
use roaring::RoaringTreemap;

use super::index::square;
use super::kernel::CodeQuery;
use super::*;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::storage::Bytes;
use crate::vector::exact::{Block, Query, Selection, scan};
use crate::vector::hnsw::hostile::many;
use crate::vector::kernel::inverse_norm;
use crate::vector::rows::Rows;
use crate::vector::tests::numbers;
use crate::vector::topk::TopK;

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::L2];
const ONE: NonZero<usize> = NonZero::<usize>::MIN;

struct Data {
    dim: usize,
    vectors: Vec<f32>,
    norms: Vec<f32>,
}

impl Data {
    /// Around twenty centres, the same for every seed.
    fn new(seed: u32, rows: usize, dim: usize) -> Self {
        let (centres, noise) = (numbers(77, 20 * dim), numbers(seed, rows * dim));
        let row = |(n, noise): (usize, &[f32])| {
            let centre = &centres[n * 7 % 20 * dim..][..dim];
            centre.iter().zip(noise).map(|(c, x)| c + 0.4 * x).collect::<Vec<f32>>()
        };
        let vectors: Vec<f32> = noise.chunks_exact(dim).enumerate().flat_map(row).collect();
        let norms = vectors.chunks_exact(dim).map(inverse_norm).collect();
        Data { dim, vectors, norms }
    }

    fn block(&self) -> Block<'_> {
        Block::new(&self.vectors, self.dim, Some(&self.norms), Rows::From(1000)).unwrap()
    }

    fn build(&self, metric: Metric, width: Width) -> Vec<u8> {
        let mut blob = Vec::new();
        let mut write = |bytes: &[u8]| {
            blob.extend_from_slice(bytes);
            Ok(())
        };
        build(&self.block(), metric, width, &|_| Ok(()), &mut write).unwrap();
        let expected = blob_bytes(self.norms.len(), self.dim, metric, width).unwrap();
        assert_eq!(blob.len() as u64, expected);
        blob
    }

    fn index(&self, metric: Metric, width: Width) -> CodeIndex {
        open(&self.build(metric, width)).unwrap()
    }

    /// The rows of the best `k`.
    fn exact(&self, query: &Query, selection: &Selection<'_>, k: usize) -> Vec<u64> {
        let mut top = TopK::new(k);
        scan(&self.block(), query, selection, &|row| row, &mut top).unwrap();
        top.into_sorted().iter().map(|best| best.row).collect()
    }
}

fn open(bytes: &[u8]) -> Result<CodeIndex> {
    let mut map = MmapMut::map_anon(bytes.len().max(1)).unwrap();
    map[..bytes.len()].copy_from_slice(bytes);
    CodeIndex::open(Bytes::Mapped(map.make_read_only().unwrap()))
}

/// The score that a code stands for.
fn score(metric: Metric, query: &[f32], code: &[u8], width: Width, ranges: &[f32]) -> f64 {
    let (least, widths) = ranges.split_at(ranges.len() / 2);
    let values = (0..query.len()).map(|n| {
        let byte = match width {
            Width::Eight => code[n],
            Width::Four => code[n / 2] >> (4 * (n % 2)) & 15,
        };
        let part = (f64::from(byte) + 0.5) / f64::from(width.greatest());
        f64::from(least[n]) + f64::from(widths[n]) * part
    });
    let pairs = query.iter().map(|&q| f64::from(q)).zip(values);
    match metric {
        Metric::L2 => -pairs.map(|(q, v)| (q - v) * (q - v)).sum::<f64>(),
        Metric::Cosine | Metric::InnerProduct => pairs.map(|(q, v)| q * v).sum(),
    }
}

#[test]
fn sums_are_the_scores_of_what_the_codes_stand_for() {
    for dim in [1, 31, 32, 33, 64, 65, 384, 513, 2000] {
        let (query, ranges) = (numbers(1, dim), numbers(2, 2 * dim));
        let ranges: Vec<f32> = ranges.iter().map(|value| value.abs()).collect();
        for (metric, width) in METRICS.into_iter().flat_map(|m| Width::ALL.map(|w| (m, w))) {
            let bytes: Vec<u8> =
                numbers(3, 9 * width.bytes(dim)).iter().map(|x| x.to_bits().to_le_bytes()[1]).collect();
            let mut found = [[0.0; 9]; 2];
            for (level, found) in [Level::new(), Level::baseline()].into_iter().zip(&mut found) {
                let ready = CodeQuery::with_level(level, metric, &query, width, &ranges);
                ready.scores(bytes.chunks_exact(width.bytes(dim)), found);
            }
            assert_eq!(found[0].map(f32::to_bits), found[1].map(f32::to_bits), "whatever the instructions");
            for (code, found) in bytes.chunks_exact(width.bytes(dim)).zip(found[0]) {
                let square = if metric == Metric::L2 { square(code, width, &ranges[dim..]) } else { 0.0 };
                let exact = score(metric, &query, code, width, &ranges);
                // Each weight is rounded by at most half a unit.
                let terms = query.iter().zip(&ranges[dim..]).map(|(&q, &w)| f64::from((q.abs() + 2.0) * w));
                let bound = terms.fold(0.0, f64::max) * 2.0 * 10.0 * f64::from(u16::try_from(dim).unwrap())
                    / 32_766.0;
                let difference = (f64::from(found - square) - exact).abs();
                assert!(
                    difference <= bound + exact.abs() * 1e-5,
                    "{metric} {width:?} {dim}: {found} {exact}"
                );
            }
        }
    }
}

#[test]
fn scans_find_the_nearest_and_their_recall_is_what_was_measured() {
    let (dim, data) = (48, Data::new(1, 4000, 48));
    for (metric, width) in METRICS.into_iter().flat_map(|m| Width::ALL.map(|w| (m, w))) {
        let index = data.index(metric, width);
        let effort = index.curve().effort_for(0.97).unwrap();
        let (mut found, queries) = (0, numbers(9, 100 * dim));
        for query in queries.chunks_exact(dim) {
            let query = Query::new(metric, query).unwrap();
            let exact = data.exact(&query, &Selection::All, 10);
            let near = index.nearest(&query, Rows::From(1000), &Selection::All, effort, ONE).unwrap();
            assert_eq!((near.positions.len(), near.compared), (effort, 4000));
            found += exact
                .iter()
                .filter(|&&row| near.positions.contains(&usize::try_from(row - 1000).unwrap()))
                .count();
        }
        assert!(found >= 940, "{metric} {width:?}: {found} of 1000 at {effort}");
    }
}

#[test]
fn a_selection_is_kept_whatever_its_size_and_the_number_of_threads() {
    let (data, metric) = (Data::new(2, 3000, 64), Metric::L2);
    let query = Query::new(metric, &numbers(5, 64)).unwrap();
    let index = data.index(metric, Width::Eight);
    for one_in in [1, 2, 10, 500, 2999] {
        let set: RoaringTreemap = (1000..4000).filter(|row| row % one_in == 0).collect();
        let (only, except) = (Selection::Only(&set), Selection::Except(&set));
        for (selection, len) in [(only, set.len()), (except, 3000 - set.len())] {
            let with = |threads| {
                let threads = NonZero::new(threads).unwrap();
                index.nearest(&query, Rows::From(1000), &selection, 40, threads).unwrap().positions
            };
            let found = with(1);
            assert_eq!(found.len() as u64, len.min(40));
            assert!(found.iter().all(|&position| selection.contains(position as u64 + 1000)));
            assert_eq!(found, with(3));
            let exact = data.exact(&query, &selection, 5);
            assert!(exact.iter().all(|&row| found.contains(&usize::try_from(row - 1000).unwrap())));
        }
    }
}

#[test]
fn any_flipped_byte_is_an_error_or_gives_an_answer_of_the_right_shape() {
    let data = Data::new(3, 30, 5);
    for (metric, width) in METRICS.into_iter().flat_map(|m| Width::ALL.map(|w| (m, w))) {
        let whole = data.build(metric, width);
        let (mut refused, mut answered) = (0, 0);
        for at in 0..whole.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= mask;
                let search = || -> Result<usize> {
                    let index = open(&bytes)?;
                    let query = Query::new(index.shape().metric, &numbers(22, index.shape().dim))?;
                    let rows = Rows::From(0);
                    Ok(index.nearest(&query, rows, &Selection::All, 10, ONE)?.positions.len())
                };
                match search() {
                    Ok(found) => {
                        assert_eq!(found, 10);
                        answered += 1;
                    }
                    Err(Error::Corrupt { .. } | Error::Version { .. }) => refused += 1,
                    Err(other) => panic!("byte {at}, mask {mask:#x}: {other:?}"),
                }
            }
        }
        assert!(refused > 300 && answered > 300, "{refused} refused, {answered} answered");
        for len in 0..whole.len() {
            assert!(matches!(open(&whole[..len]), Err(Error::Corrupt { .. })), "{len}");
        }
    }
}

#[test]
fn indexes_of_few_rows_and_of_equal_ones_work() {
    for rows in [0, 1, 2, 30] {
        let data = Data { dim: 3, vectors: [1.0, 2.0, 3.0].repeat(rows), norms: vec![0.267; rows] };
        for metric in METRICS {
            let index = data.index(metric, Width::Four);
            let query = Query::new(metric, &[1.0, 0.0, 0.0]).unwrap();
            let found = index.nearest(&query, Rows::From(1000), &Selection::All, 5, ONE).unwrap();
            assert_eq!(found.positions, (0..rows.min(5)).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_build_stops_when_it_is_told_to() {
    let data = Data::new(4, 3000, 64);
    for after in [0, 1, 2000] {
        let stop = |done| if done >= after { Err(Error::Cancelled) } else { Ok(()) };
        let built = build(&data.block(), Metric::Cosine, Width::Eight, &stop, &mut |_| Ok(()));
        assert!(matches!(built, Err(Error::Cancelled)), "{after}");
    }
}

/// The same as the fuzz target, from words that are the same in every run.
#[test]
fn whatever_the_sections_hold_a_scan_answers_or_refuses() {
    many(31, hostile::attempt);
}
