//! Measures reading beside a writer that commits without a pause.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{Outcome, Random, Report, Shape, directory, id, percentile, time};
use vdb::{Query, Store};

const SHAPE: Shape = Shape { dim: 384, text: 200 };
const STORED: u64 = 20_000;
const SEARCHES: usize = 300;
const GETS: usize = 20_000;

fn main() -> Outcome {
    let report = Report::default();
    beside_a_writer(&report)?;
    report.finish()
}

fn beside_a_writer(report: &Report) -> Result<(), Box<dyn std::error::Error>> {
    let directory = directory()?;
    let store = Store::create(directory.path().join("readers.vdb"))?;
    store.add(SHAPE.documents(0..STORED))?;
    report.line(format!("reading {STORED} documents, microseconds"))?;
    report.line(format!("{:<32}{:>10}{:>10}{:>10}", "", "median", "p99", "longest"))?;
    let idle = read(&store)?;
    print(report, "idle", &idle)?;
    let (stop, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    let busy = std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> vdb::Result<()> {
            while !stop.load(Ordering::Relaxed) {
                let number = STORED + commits.fetch_add(1, Ordering::Relaxed);
                store.add([SHAPE.document(number)])?;
            }
            Ok(())
        });
        let busy = read(&store);
        stop.store(true, Ordering::Relaxed);
        writer.join().map_err(|_| "the writer panicked")??;
        Ok::<_, Box<dyn std::error::Error>>(busy?)
    })?;
    print(report, "beside commits", &busy)?;
    report.line(format!("commits meanwhile: {}", commits.load(Ordering::Relaxed)))?;
    Ok(())
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
