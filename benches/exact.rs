//! Measures exact search through a store, by outlines from the second on, against the speed at which one thread can read the vectors.

#![expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

mod common;

use std::hint::black_box;
use std::process::{Command, ExitCode};

use common::{Outcome, Random, Report, Shape, directory, median, time};
use fearless_simd::{Level, Simd, dispatch, f32x8, prelude::*};
use vdb::{Filter, Metric, OpenOptions, Query, Snapshot, Store};

const ROWS: u64 = 100_000;
const SHAPE: Shape = Shape { dim: 384, text: 200 };
const BYTES: usize = 100_000 * SHAPE.dim * size_of::<f32>();
const ROUNDS: usize = 31;
/// How fast a search must be, in vectors' bytes, against reading them.
const RATIO_MIN: f64 = 1.2;
const METRICS: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::L2];

/// Lets glibc ask for huge pages, so that the yardstick does not lose to the mapped file by its smaller pages.
const HUGE_PAGES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1");

fn main() -> Outcome {
    if std::env::var_os(HUGE_PAGES.0).is_none() {
        let status = Command::new(std::env::current_exe()?).env(HUGE_PAGES.0, HUGE_PAGES.1).status()?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut report = Report::default();
    let directory = directory()?;
    let mut random = Random::new(1);
    report.line(format!("best 10 of {ROWS} x {} f32, one thread, {:?}", SHAPE.dim, Level::new()))?;
    report.line(format!("{:<42}{:>10}{:>10}{:>10}", "", "ms", "GB/s", "of read"))?;
    let floats = random.vector(BYTES / size_of::<f32>());
    for metric in METRICS {
        let path = directory.path().join(format!("{metric}.vdb"));
        let options = OpenOptions::new().metric(metric);
        options.clone().create(&path)?.add(SHAPE.documents(0..ROWS))?;
        let store = options.read_only(true).open(&path)?;
        let query = Query::vector(random.vector(SHAPE.dim));
        let (first, hits) = time(|| store.search(&query))?;
        assert_eq!(hits.len(), 10);
        report.line(format!(
            "{:<42}{:>10.3}",
            format!("{metric}, first query (verifies checksums)"),
            first * 1e3
        ))?;
        let ratio = compare(&report, metric, &store, &query, &floats)?;
        report.at_least(&format!("exact search, {metric} / read bandwidth"), ratio, RATIO_MIN);
        if metric == Metric::Cosine {
            filtered(&report, &store.snapshot()?, &query)?;
        }
        std::fs::remove_file(path)?;
    }
    report.finish()
}

/// A plain way to read everything, and its name.
type Loop<'a> = (&'a str, Box<dyn Fn() + 'a>);

/// Interleaves searches with the plain reading loops; returns the ratio to the fastest of them.
fn compare(
    report: &Report,
    metric: Metric,
    store: &Store,
    query: &Query,
    floats: &[f32],
) -> Result<f64, Box<dyn std::error::Error>> {
    let words: &[u64] = bytemuck::cast_slice(floats);
    let loops: [Loop<'_>; 3] = [
        ("read: sum of u64, 16 lanes", Box::new(|| _ = black_box(sum_words::<16>(words)))),
        ("read: sum of u64, 32 lanes", Box::new(|| _ = black_box(sum_words::<32>(words)))),
        (
            "read: sum of f32, 64 lanes",
            Box::new(|| {
                black_box(dispatch!(Level::new(), simd => sum_floats(simd, floats)));
            }),
        ),
    ];
    let mut searches = Vec::new();
    let mut reads = vec![Vec::new(); loops.len()];
    for _ in 0..ROUNDS {
        searches.push(time(|| store.search(query))?.0);
        for ((_, read), times) in loops.iter().zip(&mut reads) {
            times.push(
                time(|| {
                    read();
                    Ok::<_, vdb::Error>(())
                })?
                .0,
            );
        }
    }
    let medians: Vec<f64> = reads.iter().map(|times| median(times.iter().copied())).collect();
    let fastest = (0..loops.len()).min_by(|&a, &b| medians[a].total_cmp(&medians[b])).unwrap_or(0);
    // A ratio of each round: what slows the machine slows both.
    let ratio = median(reads[fastest].iter().zip(&searches).map(|(read, search)| read / search));
    let line = |name: &str, seconds: f64, ratio: f64| {
        report.line(format!(
            "{name:<42}{:>10.3}{:>10.2}{ratio:>10.2}",
            seconds * 1e3,
            BYTES as f64 / 1e9 / seconds
        ))
    };
    for ((name, _), seconds) in loops.iter().zip(&medians) {
        line(name, *seconds, medians[fastest] / seconds)?;
    }
    line(&format!("{metric}, steady"), median(searches), ratio)?;
    Ok(ratio)
}

fn filtered(report: &Report, snapshot: &Snapshot, query: &Query) -> Result<(), Box<dyn std::error::Error>> {
    for (name, filter) in [("page < 1,000", 1_000), ("page < 50,000", 50_000)] {
        let query = query.clone().filter(Filter::field("page").lt(filter));
        let times =
            (0..5).map(|_| Ok(time(|| snapshot.search(&query))?.0)).collect::<vdb::Result<Vec<_>>>()?;
        report.line(format!("{:<42}{:>10.3}", format!("cosine, where {name}"), median(times) * 1e3))?;
    }
    Ok(())
}

fn sum_words<const N: usize>(words: &[u64]) -> [u64; N] {
    let mut sums = [0_u64; N];
    for chunk in words.as_chunks::<N>().0 {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums
}

#[expect(clippy::inline_always, reason = "code is compiled for an instruction set only where it is inlined")]
#[inline(always)]
fn sum_floats<S: Simd>(simd: S, floats: &[f32]) -> f32 {
    let mut sums = [f32x8::splat(simd, 0.0); 8];
    for chunk in floats.as_chunks::<64>().0 {
        for (sum, part) in sums.iter_mut().zip(chunk.as_chunks::<8>().0) {
            *sum += f32x8::load_array_ref(simd, part);
        }
    }
    sums.into_iter().map(SimdBase::to_array).map(|lanes| lanes.into_iter().sum::<f32>()).sum()
}
