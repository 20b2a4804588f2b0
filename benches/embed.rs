//! Measures how fast texts are embedded, against the speed at which one thread multiplies matrices.
//!
//! `cargo bench --bench embed`, with `VDB_MODELS`. Rounds of all cases are interleaved, every figure is the best of them.
//! Exit status 1 means that one worker embeds below [`RATIO_MIN`] of what the multiplications of the model alone would
//! take, that two workers are below [`SPEEDUP_MIN`] of one, or that loading takes more memory than [`LOADED_KIB_MAX`].

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::hint::black_box;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

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
const LOADED_KIB_MAX: u64 = 160 << 10;

/// The sentences that texts are made of: three of them have about 60 tokens.
const SENTENCES: [&str; 8] = [
    "This package contains the shared libraries that programs need when they read and write compressed archives.",
    "It is fast enough for large collections, and it never loads more of a file than a question asks for.",
    "The server listens on a local socket and answers one request at a time in the order of arrival.",
    "Fonts, icons and translations are kept in packages of their own so that small systems can leave them out.",
    "Install the development files if you want to compile other software against this library.",
    "A simple editor for plain text with search, undo, and colours for about forty programming languages.",
    "Measurements are stored every minute and can be drawn as graphs of a day, a month or a year.",
    "The command reads the configuration first, checks it, and tells in one line what it would change.",
];

fn main() -> io::Result<ExitCode> {
    let models = Models::of_user().map_err(io::Error::other)?;
    let before = anonymous_kib()?;
    let load = Instant::now();
    let one = LoadOptions::new().threads(1).load(&models, DEFAULT_MODEL).map_err(io::Error::other)?;
    let load = load.elapsed().as_secs_f64();
    let loaded = anonymous_kib()?.saturating_sub(before);
    let two = LoadOptions::new().threads(2).load(&models, DEFAULT_MODEL).map_err(io::Error::other)?;

    let texts: Vec<String> =
        (0..TEXTS).map(|n| [0, 3, 5].map(|k| SENTENCES[(n + k * (n / 8 + 1)) % 8]).join(" ")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let tokens: f64 =
        texts.iter().map(|text| one.tokens_per_char(&[text]) * text.chars().count() as f64 + 2.0).sum();
    let length = tokens / TEXTS as f64;

    let mut gemm = Gemm::new(length);
    let (mut flops, mut alone, mut both) = (0.0_f64, 0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        flops = flops.max(gemm.flops());
        alone = alone.max(texts_per_second(&one, &texts)?);
        flops = flops.max(gemm.flops());
        both = both.max(texts_per_second(&two, &texts)?);
    }
    let after = anonymous_kib()?.saturating_sub(before);

    let allowed = flops / FLOP_PER_TOKEN / length;
    let (ratio, speedup) = (alone / allowed, both / alone);
    let mut out = io::stdout().lock();
    writeln!(out, "{TEXTS} texts of {length:.0} tokens, {DEFAULT_MODEL}")?;
    writeln!(out, "load                       {load:8.2} s, {} MiB anonymous", loaded >> 10)?;
    writeln!(out, "two models, three sessions {:8} MiB anonymous at the end", after >> 10)?;
    writeln!(out, "matrix multiplication      {:8.1} Gflop/s allow {allowed:.0} texts/s", flops / 1e9)?;
    writeln!(out, "one worker                 {alone:8.1} texts/s, ratio {ratio:.2}, at least {RATIO_MIN}")?;
    writeln!(
        out,
        "two workers                {both:8.1} texts/s, ratio {speedup:.2}, at least {SPEEDUP_MIN}"
    )?;
    let good = ratio >= RATIO_MIN && speedup >= SPEEDUP_MIN && loaded <= LOADED_KIB_MAX;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn texts_per_second(model: &impl Embedder, texts: &[&str]) -> io::Result<f64> {
    let start = Instant::now();
    black_box(model.embed(texts).map_err(io::Error::other)?);
    Ok(texts.len() as f64 / start.elapsed().as_secs_f64())
}

/// The memory of this process that no file backs.
fn anonymous_kib() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.ok_or_else(|| io::Error::other("the system does not say how much memory is anonymous"))
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
