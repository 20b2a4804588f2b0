//! What the benchmarks share: documents to store, medians, child processes, and bounds that must hold.

#![allow(dead_code, reason = "each benchmark uses a part of the module")]
#![allow(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vdb::{Document, Plan};

/// What a benchmark's `main` returns.
pub(crate) type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

/// Documents as they come in practice: small metadata, a text, a vector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Values of a vector; none for zero.
    pub(crate) dim: usize,
    /// Bytes of a text.
    pub(crate) text: usize,
}

/// The shape of most benchmarks.
pub(crate) const USUAL: Shape = Shape { dim: 384, text: 200 };

const WORDS: [&str; 16] = [
    "amber", "basalt", "cedar", "delta", "ember", "fjord", "granite", "harbour", "island", "jasper", "kelp",
    "lagoon", "meadow", "nimbus", "orchard", "prairie",
];

/// Sentences to make texts of: three of them have about 60 tokens.
pub(crate) const SENTENCES: [&str; 8] = [
    "This package contains the shared libraries that programs need when they read and write compressed archives.",
    "It is fast enough for large collections, and it never loads more of a file than a question asks for.",
    "The server listens on a local socket and answers one request at a time in the order of arrival.",
    "Fonts, icons and translations are kept in packages of their own so that small systems can leave them out.",
    "Install the development files if you want to compile other software against this library.",
    "A simple editor for plain text with search, undo, and colours for about forty programming languages.",
    "Measurements are stored every minute and can be drawn as graphs of a day, a month or a year.",
    "The command reads the configuration first, checks it, and tells in one line what it would change.",
];

/// Numbers that are the same in every run.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Thirty-two bits.
    pub(crate) fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 32).unwrap_or(0)
    }

    /// A vector with values from -1 to 1.
    pub(crate) fn vector(&mut self, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| f32::from(u16::try_from(self.bits() >> 16).unwrap_or(0)) / 32_768.0 - 1.0).collect()
    }
}

/// Vectors near a surface of 48 dimensions, in 300 clusters, as embeddings are; the same in every run.
pub(crate) struct Clusters {
    random: Random,
    dim: usize,
    basis: Vec<Vec<f32>>,
    centres: Vec<Vec<f32>>,
}

impl Clusters {
    const LATENT: usize = 48;

    /// The vectors of so many values.
    pub(crate) fn new(dim: usize) -> Self {
        let mut random = Random::new(5);
        let basis = (0..Self::LATENT).map(|_| random.vector(dim)).collect();
        let centres = (0..300).map(|_| random.vector(Self::LATENT)).collect();
        Clusters { random, dim, basis, centres }
    }

    /// The next of them.
    pub(crate) fn next_vector(&mut self) -> Vec<f32> {
        self.next_of().1
    }

    /// The next of them, and the number of its cluster.
    pub(crate) fn next_of(&mut self) -> (usize, Vec<f32>) {
        let cluster = self.random.bits() as usize % self.centres.len();
        let centre = &self.centres[cluster];
        let place = self.random.vector(Self::LATENT);
        let mut vector: Vec<f32> = self.random.vector(self.dim).into_iter().map(|x| 0.5 * x).collect();
        for ((c, x), direction) in centre.iter().zip(place).zip(&self.basis) {
            let part = c + 0.6 * x;
            for (to, from) in vector.iter_mut().zip(direction) {
                *to += part * from;
            }
        }
        (cluster, vector)
    }

    /// The clusters, those first whose centres are nearest to that of this one.
    pub(crate) fn by_nearness_to(&self, cluster: usize) -> Vec<usize> {
        let distance = |other: &usize| -> f32 {
            self.centres[cluster].iter().zip(&self.centres[*other]).map(|(a, b)| (a - b) * (a - b)).sum()
        };
        let mut all: Vec<usize> = (0..self.centres.len()).collect();
        all.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
        all
    }

    /// The next of them, one long.
    pub(crate) fn next_unit(&mut self) -> Vec<f32> {
        let mut vector = self.next_vector();
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        for x in &mut vector {
            *x /= norm;
        }
        vector
    }
}

impl Shape {
    /// The document of a number; the same in every run.
    pub(crate) fn document(self, number: u64) -> Document {
        let mut random = Random::new(number);
        let mut text = String::with_capacity(self.text + 10);
        while text.len() < self.text {
            text.push_str(WORDS[random.bits() as usize % WORDS.len()]);
            text.push(' ');
        }
        let metadata = Self::metadata(number);
        let document =
            Document::new(text).id(id(number)).metadata_json(&metadata).expect("it is a JSON object");
        if self.dim == 0 { document } else { document.vector(random.vector(self.dim)) }
    }

    /// The metadata of a document, about 60 bytes.
    pub(crate) fn metadata(number: u64) -> String {
        let (year, language) =
            (1990 + number % 35, ["en", "ko", "de"][usize::try_from(number % 3).unwrap_or(0)]);
        format!(
            r#"{{"year":{year},"language":"{language}","source":"shelf-{}","page":{number}}}"#,
            number % 100
        )
    }

    /// Some documents in a row, made as they are asked for.
    pub(crate) fn documents(self, numbers: std::ops::Range<u64>) -> impl Iterator<Item = Document> {
        numbers.map(move |number| self.document(number))
    }

    /// The bytes that a user gave: vectors, texts and metadata.
    pub(crate) fn payload(self, numbers: std::ops::Range<u64>) -> u64 {
        numbers.map(|number| self.document_bytes(number)).sum()
    }

    fn document_bytes(self, number: u64) -> u64 {
        let document = self.document(number);
        let text = document.text().map_or(0, str::len);
        (4 * self.dim + text + document.metadata_ref().as_json().len()) as u64
    }
}

/// The id of a document's number.
pub(crate) fn id(number: u64) -> String {
    format!("doc-{number:08}")
}

/// A fresh directory in `VDB_BENCH_DIR`, else on the file system of the build.
pub(crate) fn directory() -> io::Result<TempDir> {
    let parent = std::env::var_os("VDB_BENCH_DIR").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    tempfile::tempdir_in(parent)
}

/// The value below which `part` (0 to 1) of the values lie.
pub(crate) fn percentile(values: impl IntoIterator<Item = f64>, part: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place within the values")]
    let place = ((values.len() as f64 - 1.0) * part).round() as usize;
    values.get(place).copied().unwrap_or(f64::NAN)
}

/// What a search has spent on vectors: not the filter, nor what becomes of the documents that it found.
pub(crate) fn by_vectors(plan: &Plan) -> Duration {
    plan.graph_time + plan.codes_time + plan.rescore_time + plan.scan_time
}

/// The value in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(values, 0.5)
}

/// Seconds that `work` takes.
pub(crate) fn time<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(f64, T), E> {
    let start = Instant::now();
    let value = work()?;
    Ok((start.elapsed().as_secs_f64(), value))
}

/// Bytes as MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A field of the kernel's account of this process, in bytes; zero when there is none.
pub(crate) fn status_bytes(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Watches the anonymous memory of this process.
pub(crate) struct MemoryWatch {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl MemoryWatch {
    /// Begins to watch, some hundred times a second.
    pub(crate) fn start() -> Self {
        let (stop, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&peak));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                seen.fetch_max(status_bytes("RssAnon"), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        MemoryWatch { stop, peak, thread: Some(thread) }
    }

    /// The most that was seen, in bytes.
    pub(crate) fn peak(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        self.peak.load(Ordering::Relaxed).max(status_bytes("RssAnon"))
    }
}

/// The variable with the task of a child.
pub(crate) const CHILD: &str = "VDB_BENCH_CHILD";

/// What this process was started to do by [`child`], word by word; `None` in the process that the user started.
pub(crate) fn task() -> Option<Vec<String>> {
    let task = std::env::var(CHILD).ok()?;
    Some(task.split('|').map(str::to_owned).collect())
}

/// Runs this program again for one task. Returns the figures that it [`tell`]s.
pub(crate) fn child(task: &[&str]) -> Result<BTreeMap<String, f64>, Box<dyn std::error::Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.env(CHILD, task.join("|")).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the task {task:?} failed").into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter_map(|line| line.split_once(' ')).filter_map(figure).collect())
}

fn figure((name, value): (&str, &str)) -> Option<(String, f64)> {
    Some((name.to_owned(), value.parse().ok()?))
}

/// Tells a figure to the process that runs this one as its [`child`].
pub(crate) fn tell(name: &str, value: f64) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{name} {value}")
}

/// Prints what was measured, and remembers whether every bound holds.
#[derive(Default)]
pub(crate) struct Report {
    rules: String,
    failed: bool,
}

impl Report {
    /// Prints a line of the table.
    #[expect(clippy::unused_self, reason = "lines and rules belong to one report")]
    pub(crate) fn line(&self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{}", text.as_ref())
    }

    /// A figure that must not be above `bound`.
    pub(crate) fn at_most(&mut self, name: &str, value: f64, bound: f64) {
        self.rule(name, value, "<=", bound, value <= bound);
    }

    /// A figure that must not be below `bound`.
    pub(crate) fn at_least(&mut self, name: &str, value: f64, bound: f64) {
        self.rule(name, value, ">=", bound, value >= bound);
    }

    fn rule(&mut self, name: &str, value: f64, sign: &str, bound: f64, holds: bool) {
        let verdict = if holds { "" } else { "  FAILED" };
        let digits = if bound >= 100.0 { 0 } else { 2 };
        let _ = writeln!(self.rules, "{name}: {value:.digits$} (must be {sign} {bound:.digits$}){verdict}");
        self.failed |= !holds;
    }

    /// The bounds so far, a line each.
    pub(crate) fn rules(&self) -> &str {
        &self.rules
    }

    /// Prints the bounds; the exit status says whether all of them hold.
    pub(crate) fn finish(self) -> Outcome {
        write!(io::stdout().lock(), "{}", self.rules)?;
        Ok(if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
