//! Measures how fast texts are embedded, against the speed at which one thread multiplies matrices.
//!
//! `cargo bench --bench embed`, with `VDB_MODELS`. Rounds of all cases are interleaved, every figure is the best of them.
//! Exit status 1 means that one worker embeds below [`RATIO_MIN`] of what the multiplications of the model alone would
//! take, that two workers are below [`SPEEDUP_MIN`] of one, that loading takes more memory than [`LOADED_MAX`], or a second
//! worker more than [`WORKER_MAX`], which is less than the weights that it shares with the first.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod common;

use std::hint::black_box;
use std::time::Instant;

use common::{Outcome, Report, SENTENCES, mib, status_bytes, time};
use gemm::Parallelism;
use vdb::Embedder;
use vdb::embed::{DEFAULT_MODEL, LoadOptions, Models};

/// The sizes of all-MiniLM-L6-v2.
const LAYERS: usize = 6;
const HIDDEN: usize = 384;
const INNER: usize = 1536;
/// The multiplications and additions of its linear layers, for one token: 21.2 million.
const FLOP_PER_TOKEN: f64 = (2 * LAYERS * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * INNER)) as f64;
const TEXTS: usize = 128;
const ROUNDS: usize = 5;
const RATIO_MIN: f64 = 0.55;
const SPEEDUP_MIN: f64 = 1.6;
const LOADED_MAX: u64 = 160 << 20;
const WORKER_MAX: u64 = 32 << 20;

fn main() -> Outcome {
    let mut report = Report::default();
    let models = Models::of_user()?;
    let before = status_bytes("RssAnon");
    if before == 0 {
        return Err("the system does not say how much memory is anonymous".into());
    }
    let (load, one) = time(|| LoadOptions::new().threads(1).load(&models, DEFAULT_MODEL))?;
    let loaded = status_bytes("RssAnon").saturating_sub(before);

    let texts: Vec<String> =
        (0..TEXTS).map(|n| [0, 3, 5].map(|k| SENTENCES[(n + k * (n / 8 + 1)) % 8]).join(" ")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let tokens: f64 =
        texts.iter().map(|text| one.tokens_per_char(&[text]) * text.chars().count() as f64 + 2.0).sum();
    let length = tokens / TEXTS as f64;

    let two = LoadOptions::new().threads(2).load(&models, DEFAULT_MODEL)?;
    texts_per_second(&two, &texts[..1])?;
    let with_two = status_bytes("RssAnon");
    texts_per_second(&two, &texts)?;
    let worker = status_bytes("RssAnon").saturating_sub(with_two);

    let mut gemm = Gemm::new(length);
    let (mut flops, mut alone, mut both) = (0.0_f64, 0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        flops = flops.max(gemm.flops());
        alone = alone.max(texts_per_second(&one, &texts)?);
        flops = flops.max(gemm.flops());
        both = both.max(texts_per_second(&two, &texts)?);
    }

    let allowed = flops / FLOP_PER_TOKEN / length;
    let (ratio, speedup) = (alone / allowed, both / alone);
    report.line(format!("{TEXTS} texts of {length:.0} tokens, {DEFAULT_MODEL}, loaded in {load:.2} s"))?;
    report.line(format!("matrix multiplication: {:.1} Gflop/s allow {allowed:.0} texts/s", flops / 1e9))?;
    report.line(format!("one worker {alone:.1} texts/s, two workers {both:.1} texts/s"))?;
    report.at_least("one worker / what matrix multiplication allows", ratio, RATIO_MIN);
    report.at_least("two workers / one", speedup, SPEEDUP_MIN);
    report.at_most("anonymous memory of loading, MiB", mib(loaded), mib(LOADED_MAX));
    report.at_most("anonymous memory of a second worker, MiB", mib(worker), mib(WORKER_MAX));
    report.finish()
}

fn texts_per_second(model: &impl Embedder, texts: &[&str]) -> vdb::Result<f64> {
    let (seconds, embeddings) = time(|| model.embed(texts))?;
    black_box(embeddings);
    Ok(texts.len() as f64 / seconds)
}

/// The multiplications of one layer of the model for one text, by one thread, on weights that are not in the cache.
struct Gemm {
    rows: usize,
    weights: Vec<f32>,
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Gemm {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of tokens")]
    fn new(length: f64) -> Self {
        let rows = length.round() as usize;
        Gemm {
            rows,
            weights: vec![0.01; LAYERS * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * INNER)],
            input: vec![0.5; rows * INNER],
            output: vec![0.0; rows * INNER],
        }
    }

    /// Operations a second, over the multiplications of 32 texts.
    fn flops(&mut self) -> f64 {
        const PASSES: usize = 32;
        let start = Instant::now();
        for _ in 0..PASSES {
            let mut at = 0;
            for _ in 0..LAYERS {
                for (from, to) in [
                    (HIDDEN, HIDDEN),
                    (HIDDEN, HIDDEN),
                    (HIDDEN, HIDDEN),
                    (HIDDEN, HIDDEN),
                    (HIDDEN, INNER),
                    (INNER, HIDDEN),
                ] {
                    self.multiply(at, from, to);
                    at += from * to;
                }
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        FLOP_PER_TOKEN * (self.rows * PASSES) as f64 / seconds
    }

    fn multiply(&mut self, at: usize, from: usize, to: usize) {
        let weights = &self.weights[at..at + from * to];
        let (input, output) = (&self.input[..self.rows * from], &mut self.output[..self.rows * to]);
        multiply(self.rows, from, to, input, weights, output);
        black_box(&self.output);
    }
}

/// `output = input weights`, all row-major.
#[expect(unsafe_code, reason = "gemm takes pointers and strides")]
fn multiply(rows: usize, from: usize, to: usize, input: &[f32], weights: &[f32], output: &mut [f32]) {
    assert!(input.len() == rows * from && weights.len() == from * to && output.len() == rows * to);
    let stride = |n: usize| isize::try_from(n).unwrap_or(isize::MAX);
    // SAFETY: the three slices hold as many values as the shapes and strides ask for, as asserted above, and the output
    // is borrowed alone.
    unsafe {
        gemm::gemm(
            rows,
            to,
            from,
            output.as_mut_ptr(),
            1,
            stride(to),
            false,
            input.as_ptr(),
            1,
            stride(from),
            weights.as_ptr(),
            1,
            stride(to),
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
