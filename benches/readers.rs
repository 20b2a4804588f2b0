//! Measures reading beside a writer that adds without a pause, while the thread of the store merges and builds indexes.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{Outcome, Random, Report, Shape, directory, id, median, percentile, time};
use vdb::{Control, Query, Store};

const SHAPE: Shape = Shape { dim: 384, text: 200 };
const STORED: u64 = 20_000;
/// Each with a store of its own. A few searches wait for a processor that a third thread has: the 99th percentile of one round is
/// often chance.
const ROUNDS: usize = 7;
const SEARCHES: usize = 300;
const GETS: usize = 20_000;
/// The documents of a commit.
const BATCH: u64 = 64;
/// How much slower the slowest of a hundred searches may be beside the writer.
const SLOWER_MAX: f64 = 3.0;

fn main() -> Outcome {
    let mut report = Report::default();
    report.line(format!("reading {STORED} documents, microseconds"))?;
    report.line(format!("{:<32}{:>10}{:>10}{:>10}", "", "median", "p99", "longest"))?;
    let ratios: Vec<f64> = (0..ROUNDS).map(|_| round(&report)).collect::<Result<_, _>>()?;
    report.at_most("p99 of searches beside the writer / idle, median", median(ratios), SLOWER_MAX);
    report.finish()
}

/// How much slower the slowest of a hundred searches are beside a writer.
fn round(report: &Report) -> Result<f64, Box<dyn std::error::Error>> {
    let directory = directory()?;
    let store = Store::create(directory.path().join("readers.vdb"))?;
    store.add(SHAPE.documents(0..STORED))?;
    store.compact(&Control::new())?;
    let idle = read(&store)?;
    print(report, "idle", &idle)?;
    let (stop, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    let busy = std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> vdb::Result<()> {
            while !stop.load(Ordering::Relaxed) {
                let first = STORED + BATCH * commits.fetch_add(1, Ordering::Relaxed);
                store.add(SHAPE.documents(first..first + BATCH))?;
            }
            Ok(())
        });
        let busy = read(&store);
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| "the writer panicked")??;
        Ok::<_, Box<dyn std::error::Error>>(busy?)
    })?;
    print(report, "beside commits", &busy)?;
    let p99 = |times: &[Vec<f64>; 2]| percentile(times[1].iter().copied(), 0.99);
    let (added, ratio) = (BATCH * commits.load(Ordering::Relaxed), p99(&busy) / p99(&idle));
    report.line(format!("documents added meanwhile: {added}; p99 of searches / idle: {ratio:.2}"))?;
    Ok(ratio)
}

/// Microseconds of each get and of each search.
fn read(store: &Store) -> vdb::Result<[Vec<f64>; 2]> {
    let mut random = Random::new(3);
    let mut times = [Vec::new(), Vec::new()];
    for n in 0..GETS {
        let name = id(u64::from(random.bits()) % STORED);
        let (seconds, found) = time(|| store.get(&name))?;
        assert!(found.is_some());
        times[0].push(seconds * 1e6);
        if n % (GETS / SEARCHES) == 0 {
            let query = Query::vector(random.vector(SHAPE.dim));
            let (seconds, hits) = time(|| store.search(&query))?;
            assert_eq!(hits.len(), 10);
            times[1].push(seconds * 1e6);
        }
    }
    Ok(times)
}

fn print(report: &Report, when: &str, times: &[Vec<f64>; 2]) -> std::io::Result<()> {
    for (what, times) in ["get", "search"].iter().zip(times) {
        let at = |part| percentile(times.iter().copied(), part);
        let name = format!("{what}, {when}");
        report.line(format!("{name:<32}{:>10.1}{:>10.1}{:>10.1}", at(0.5), at(0.99), at(1.0)))?;
    }
    Ok(())
}
