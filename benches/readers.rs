//! Measures reading beside a writer that adds without a pause, while the thread of the store merges and builds indexes.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod common;

use std::collections::HashSet;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Clusters, Outcome, Random, Report, Shape, directory, id, median, percentile, time};
use vdb::{Control, Document, OpenOptions, Query, Store};

const DIM: usize = 384;
/// The vectors are clustered, and made apart.
const SHAPE: Shape = Shape { dim: 0, text: 200 };
const STORED: u64 = 50_000;
/// Each with a store of its own. A few searches wait for a processor that a third thread has: the 99th percentile of one round is
/// often chance.
const ROUNDS: usize = 7;
/// The least of one measurement; beside the writer there are more, until there are so many new indexes: those of four segments, and that of
/// the one that these become.
const SEARCHES: usize = 2_000;
const INDEXES: usize = 5;
const GETS_PER_SEARCH: usize = 66;
/// Searches between two looks at what was built.
const LOOK: usize = 20;
/// Without a new index in so long, it fails.
const LONGEST: Duration = Duration::from_mins(5);
/// Between two looks whether the store has come to rest.
const PAUSE: Duration = Duration::from_millis(50);
/// The documents of a commit.
const BATCH: u64 = 64;
/// How much slower the slowest of a hundred searches may be beside the writer than after it, in the store that it leaves.
const SLOWER_MAX: f64 = 3.0;

fn main() -> Outcome {
    let mut report = Report::default();
    let directory = directory()?;
    let (made, path) = (directory.path().join("made.vdb"), directory.path().join("readers.vdb"));
    let mut vectors = Clusters::new(DIM);
    let store = OpenOptions::new().threads(NonZero::new(2).unwrap_or(NonZero::<usize>::MIN)).create(&made)?;
    store.add((0..STORED).map(|n| document(n, &mut vectors)))?;
    store.compact(&Control::new())?;
    store.close()?;
    let queries: Vec<Query> = (0..SEARCHES).map(|_| Query::vector(vectors.next_vector())).collect();
    report.line(format!("reading {STORED} x {DIM} clustered, microseconds"))?;
    report.line(format!("{:<32}{:>10}{:>10}{:>10}", "", "median", "p99", "longest"))?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        std::fs::copy(&made, &path)?;
        rounds.push(round(&report, &path, &queries, &mut vectors)?);
    }
    let least = |of: fn(&Round) -> f64| rounds.iter().map(of).fold(f64::INFINITY, f64::min);
    report.at_least("searches by graphs / all, in each round", least(|round| round.by_graph), 1.0);
    #[expect(clippy::cast_precision_loss, reason = "five")]
    let indexes = INDEXES as f64;
    report.at_least("indexes built beside the searches, in each round", least(|round| round.built), indexes);
    let ratios = rounds.iter().map(|round| round.ratio);
    report.at_most("p99 of searches beside the writer / idle, median", median(ratios), SLOWER_MAX);
    report.finish()
}

fn document(number: u64, vectors: &mut Clusters) -> Document {
    SHAPE.document(number).vector(vectors.next_vector())
}

/// What one round gave.
struct Round {
    /// How much slower the slowest of a hundred searches were beside the writer.
    ratio: f64,
    /// The least part of the searches that graphs answered, before, beside, and after the writer: not those that scan alone.
    by_graph: f64,
    /// Indexes that were built and named beside the writer and the searches.
    built: f64,
}

fn round(
    report: &Report,
    path: &Path,
    queries: &[Query],
    vectors: &mut Clusters,
) -> Result<Round, Box<dyn std::error::Error>> {
    // On one thread, which is the default.
    let store = OpenOptions::new().threads(NonZero::<usize>::MIN).open(path)?;
    let at_first = indexed(&store)?;
    let before = read(&store, queries, |_| Ok(true))?;
    before.print(report, "before")?;
    let (stop, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    let started = Instant::now();
    let mut built = HashSet::new();
    let busy = std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> vdb::Result<()> {
            while !stop.load(Ordering::Relaxed) {
                let first = STORED + BATCH * commits.fetch_add(1, Ordering::Relaxed);
                store.add((first..first + BATCH).map(|n| document(n, vectors)))?;
            }
            Ok(())
        });
        let busy = read(&store, queries, |store| {
            built.extend(indexed(store)?.difference(&at_first).copied());
            Ok(built.len() >= INDEXES || started.elapsed() > LONGEST)
        });
        let seconds = started.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| "the writer panicked")??;
        Ok::<_, Box<dyn std::error::Error>>((busy?, seconds))
    })?;
    let (busy, seconds) = busy;
    busy.print(report, "beside the writer")?;
    while !is_settled(&store)? {
        std::thread::sleep(PAUSE);
    }
    let after = read(&store, queries, |_| Ok(true))?;
    after.print(report, "after")?;
    let (added, ratio) = (BATCH * commits.load(Ordering::Relaxed), busy.p99() / after.p99());
    report.line(format!(
        "documents added: {added}, {:.0} a second; indexes built: {}; searches: {}; p99 of searches beside / after: {ratio:.2}, before: {:.2}",
        added as f64 / seconds, built.len(),
        busy.searches.len(), busy.p99() / before.p99()
    ))?;
    store.close()?;
    let by_graph = [&before, &busy, &after].map(|read| read.part(&["hnsw", "mixed"]));
    Ok(Round { ratio, by_graph: by_graph.into_iter().fold(1.0, f64::min), built: built.len() as f64 })
}

/// Whether nothing is to be merged or built.
fn is_settled(store: &Store) -> vdb::Result<bool> {
    let stats = store.stats()?;
    Ok(stats.merges_due == 0 && stats.indexes_due == 0)
}

/// The segments that have an index.
fn indexed(store: &Store) -> vdb::Result<HashSet<u64>> {
    let segments = store.stats()?.segments.into_iter();
    Ok(segments.filter(|segment| segment.index != "exact").map(|segment| segment.id).collect())
}

/// Microseconds of each get and of each search, and the paths of these.
#[derive(Default)]
struct Read {
    gets: Vec<f64>,
    searches: Vec<f64>,
    paths: Vec<&'static str>,
}

/// Reads, until there were enough searches and `is_enough`.
fn read(
    store: &Store,
    queries: &[Query],
    mut is_enough: impl FnMut(&Store) -> vdb::Result<bool>,
) -> vdb::Result<Read> {
    let (mut random, mut read) = (Random::new(3), Read::default());
    for (n, query) in queries.iter().cycle().enumerate() {
        if n >= SEARCHES && n % LOOK == 0 && is_enough(store)? {
            break;
        }
        for _ in 0..GETS_PER_SEARCH {
            let name = id(u64::from(random.bits()) % STORED);
            let (seconds, found) = time(|| store.get(&name))?;
            assert!(found.is_some());
            read.gets.push(seconds * 1e6);
        }
        let (seconds, found) = time(|| store.snapshot()?.explain(query))?;
        assert_eq!(found.hits.len(), 10);
        read.searches.push(seconds * 1e6);
        read.paths.push(found.plan.path);
    }
    Ok(read)
}

impl Read {
    fn p99(&self) -> f64 {
        percentile(self.searches.iter().copied(), 0.99)
    }

    /// The part of the searches that took one of some paths.
    fn part(&self, paths: &[&str]) -> f64 {
        self.paths.iter().filter(|path| paths.contains(path)).count() as f64 / self.paths.len() as f64
    }

    fn print(&self, report: &Report, when: &str) -> std::io::Result<()> {
        for (what, times) in [("get", &self.gets), ("search", &self.searches)] {
            let at = |part| percentile(times.iter().copied(), part);
            let name = format!("{what}, {when}");
            report.line(format!("{name:<32}{:>10.1}{:>10.1}{:>10.1}", at(0.5), at(0.99), at(1.0)))?;
        }
        Ok(())
    }
}
