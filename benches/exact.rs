//! Measures exact search against the speed at which one thread can read the same memory.
//!
//! `cargo bench --bench exact`. Every figure is the median of interleaved rounds; exit status 1 means that a scan by one
//! thread reads below [`RATIO_MIN`] of the bandwidth that the fastest plain reading loop reaches beside it.

#![expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

use std::hint::black_box;
use std::io::{self, Write};
use std::num::NonZero;
use std::process::ExitCode;
use std::time::Instant;

use fearless_simd::{Level, Simd, dispatch, f32x8, prelude::*};
use roaring::RoaringTreemap;

// The modules under test, compiled here because they are no part of the public interface, and what they name.
#[path = "../src/vector/exact.rs"]
#[allow(dead_code, reason = "the benchmark uses a part of the module")]
mod exact;
#[path = "../src/vector/kernel.rs"]
#[allow(dead_code, reason = "the benchmark uses a part of the module")]
mod kernel;
#[path = "../src/vector/parallel.rs"]
mod parallel;
#[path = "../src/vector/topk.rs"]
#[allow(dead_code, reason = "the benchmark uses a part of the module")]
mod topk;
use vdb::{Metric, error, limits, metric};

use exact::{Block, Query, Rows, Selection, scan};
use topk::TopK;

const ROWS: usize = 100_000;
const DIM: usize = 384;
const K: usize = 10;
const ROUNDS: usize = 31;
/// The least part of the read bandwidth that a scan must reach.
const RATIO_MIN: f64 = 0.70;

type Run<'a> = Box<dyn Fn() + 'a>;

/// Something measured: what it does, the bytes that it reads, and whether it is a yardstick or under the rule.
struct Case<'a> {
    name: String,
    kind: Kind,
    bytes: usize,
    run: Run<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Yardstick,
    Ruled,
    Informative,
}

fn main() -> io::Result<ExitCode> {
    let data = Data::new();
    let mut cases = yardsticks(&data);
    cases.extend(scans(&data));
    cases.extend(selections(&data));
    cases.push(checks(&data));
    report(&cases, &measure(&cases))
}

/// The vectors and what is searched with them.
struct Data {
    /// Some values of padding, then the vectors from `start`, which is on a border of 64 bytes as in a file.
    padded: Vec<f32>,
    start: usize,
    inverse_norms: Vec<f32>,
    query: Vec<f32>,
    selections: Vec<(String, RoaringTreemap)>,
}

impl Data {
    fn new() -> Self {
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from(u16::try_from(state >> 16).unwrap_or(0)) / 32_768.0 - 1.0
        };
        let padded: Vec<f32> = (0..ROWS * DIM + 16).map(|_| random()).collect();
        let start = padded.as_ptr().align_offset(64);
        let inverse_norms =
            padded[start..][..ROWS * DIM].chunks_exact(DIM).map(kernel::inverse_norm).collect();
        let query = (0..DIM).map(|_| random()).collect();
        let selections = [0.1_f32, 1.0, 5.0, 10.0, 25.0, 40.0, 60.0, 90.0]
            .into_iter()
            .map(|percent| {
                let picked = (0..ROWS as u64).filter(|_| (random() + 1.0) * 50.0 < percent).collect();
                (format!("only {percent} % of the rows"), picked)
            })
            .collect();
        Data { padded, start, inverse_norms, query, selections }
    }

    fn vectors(&self) -> &[f32] {
        &self.padded[self.start..][..ROWS * DIM]
    }

    fn block(&self, metric: Metric) -> Block<'_> {
        let inverse_norms = (metric == Metric::Cosine).then_some(&self.inverse_norms[..]);
        Block::new(self.vectors(), DIM, inverse_norms, Rows::From(0)).expect("the lengths agree")
    }

    fn query(&self, metric: Metric) -> Query {
        Query::new(metric, &self.query).expect("the query is finite")
    }
}

/// Plain reading loops over the same memory: the fastest is the yardstick.
fn yardsticks(data: &Data) -> Vec<Case<'_>> {
    let vectors = data.vectors();
    let words: &[u64] = bytemuck::cast_slice(vectors);
    let loops: [(&str, Run<'_>); 4] = [
        ("read: sum of u64, 1 lane", Box::new(|| _ = black_box(sum_words::<1>(words)))),
        ("read: sum of u64, 16 lanes", Box::new(|| _ = black_box(sum_words::<16>(words)))),
        ("read: sum of u64, 32 lanes", Box::new(|| _ = black_box(sum_words::<32>(words)))),
        (
            "read: sum of f32, 64 lanes",
            Box::new(|| {
                black_box(dispatch!(Level::new(), simd => sum_floats(simd, vectors)));
            }),
        ),
    ];
    let bytes = size_of_val(vectors);
    loops
        .into_iter()
        .map(|(name, run)| Case { name: name.into(), kind: Kind::Yardstick, bytes, run })
        .collect()
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

/// The search itself, by one thread and by two.
fn scans(data: &Data) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    for metric in [Metric::InnerProduct, Metric::Cosine, Metric::L2] {
        let name = format!("scan: {metric}");
        cases.push(scan_case(data, metric, name, Kind::Ruled, ROWS, Selection::All));
    }
    let (block, query) = (data.block(Metric::Cosine), data.query(Metric::Cosine));
    for threads in [1, 2] {
        let (query, threads) = (query.clone(), NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN));
        cases.push(Case {
            name: format!("scan_parallel: cosine, {threads} thread(s)"),
            kind: Kind::Informative,
            bytes: size_of_val(data.vectors()),
            run: Box::new(move || {
                let top = parallel::scan_parallel(&[block], &query, &Selection::All, &|row| row, K, threads);
                black_box(top.expect("the dimensions agree").into_sorted());
            }),
        });
    }
    cases
}

fn selections(data: &Data) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    for (name, rows) in &data.selections {
        let count = usize::try_from(rows.len()).unwrap_or(ROWS);
        let (name, selection) = (format!("scan: cosine, {name}"), Selection::Only(rows));
        cases.push(scan_case(data, Metric::Cosine, name, Kind::Informative, count, selection));
    }
    if let Some((_, dead)) = data.selections.get(3) {
        let name = "scan: cosine, except 10 % of the rows".into();
        let selection = Selection::Except(dead);
        cases.push(scan_case(data, Metric::Cosine, name, Kind::Informative, ROWS, selection));
    }
    cases
}

fn scan_case<'a>(
    data: &'a Data,
    metric: Metric,
    name: String,
    kind: Kind,
    rows: usize,
    selection: Selection<'a>,
) -> Case<'a> {
    let (block, query) = (data.block(metric), data.query(metric));
    let run = move || {
        let mut top = TopK::new(K);
        scan(&block, &query, &selection, &|row| row, &mut top).expect("the dimensions agree");
        black_box(top.into_sorted());
    };
    Case { name, kind, bytes: rows * DIM * size_of::<f32>(), run: Box::new(run) }
}

/// The check of values that every insertion makes.
fn checks(data: &Data) -> Case<'_> {
    let vectors = data.vectors();
    let run = move || assert_eq!(black_box(kernel::first_non_finite(vectors, DIM)), None);
    let (name, kind) = ("first_non_finite".into(), Kind::Informative);
    Case { name, kind, bytes: size_of_val(vectors), run: Box::new(run) }
}

/// Seconds by case and round. The cases take turns, so that a slow moment of the machine meets all of them.
fn measure(cases: &[Case<'_>]) -> Vec<Vec<f64>> {
    let mut seconds = vec![Vec::new(); cases.len()];
    for round in 0..=ROUNDS {
        for i in 0..cases.len() {
            // Each round begins with another case: what the machine does at intervals must not always meet the same one.
            let i = (i + round) % cases.len();
            let (case, seconds) = (&cases[i], &mut seconds[i]);
            let start = Instant::now();
            (case.run)();
            // The first round touches the memory and is not counted.
            if round > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    seconds
}

fn report(cases: &[Case<'_>], seconds: &[Vec<f64>]) -> io::Result<ExitCode> {
    let speed = |case: usize, round: usize| cases[case].bytes as f64 / 1e9 / seconds[case][round];
    let rate = |case: usize| median((0..ROUNDS).map(|round| speed(case, round)));
    let yardstick = (0..cases.len())
        .filter(|&i| cases[i].kind == Kind::Yardstick)
        .max_by(|&a, &b| rate(a).total_cmp(&rate(b)))
        .expect("there are yardsticks");

    let mut out = io::stdout().lock();
    writeln!(out, "{ROWS} x {DIM} f32, best {K}, medians of {ROUNDS} rounds, {:?}", Level::new())?;
    writeln!(out, "{:<42} {:>9} {:>8} {:>9}", "", "ms", "GB/s", "of read")?;
    let mut worst = f64::INFINITY;
    for (i, case) in cases.iter().enumerate() {
        let ratio = median((0..ROUNDS).map(|round| speed(i, round) / speed(yardstick, round)));
        if case.kind == Kind::Ruled {
            worst = worst.min(ratio);
        }
        let ms = median(seconds[i].iter().map(|s| s * 1e3));
        writeln!(out, "{:<42} {ms:>9.3} {:>8.2} {ratio:>9.2}", case.name, rate(i))?;
    }
    writeln!(out, "read bandwidth: {:.2} GB/s ({})", rate(yardstick), cases[yardstick].name)?;
    writeln!(out, "exact search / read bandwidth: {worst:.2} (must be >= {RATIO_MIN:.2})")?;
    Ok(if worst >= RATIO_MIN { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
