//! Measures one-document durable commits against appending a page and syncing it, and beside that what the disk takes for as
//! many pages as a commit writes.

mod common;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use common::{Outcome, Random, Report, USUAL, directory, median, percentile, time};
use vdb::Store;

const STORED: u64 = 10_000;
const PAIRS: u64 = 400;
/// The pages that such a commit writes, all over a file of so many.
const PAGES_WRITTEN: usize = 23;
const PAGES: u64 = 4096;
/// The most times of the yardstick that a commit takes.
const RATIO_MAX: f64 = 3.0;

fn main() -> Outcome {
    let mut report = Report::default();
    let directory = directory()?;
    let store = Store::create(directory.path().join("commit.vdb"))?;
    store.add(USUAL.documents(0..STORED))?;
    let mut log = File::create(directory.path().join("log"))?;
    let page = [7_u8; 4096];
    let scattered = File::create(directory.path().join("scattered"))?;
    for n in 0..PAGES {
        scattered.write_all_at(&page, n * 4096)?;
    }
    scattered.sync_all()?;
    let mut random = Random::new(9);
    let (mut commits, mut appends, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut writes = Vec::new();
    for n in 0..PAIRS {
        let (append, ()) = time(|| log.write_all(&page).and_then(|()| log.sync_data()))?;
        let places: Vec<u64> = (0..PAGES_WRITTEN).map(|_| u64::from(random.bits()) % PAGES * 4096).collect();
        let (write, ()) = time(|| {
            places.iter().try_for_each(|&place| scattered.write_all_at(&page, place))?;
            scattered.sync_data()
        })?;
        let document = USUAL.document(STORED + n);
        let (commit, _) = time(|| store.add([document]))?;
        commits.push(commit * 1e6);
        appends.push(append * 1e6);
        writes.push(write * 1e6);
        ratios.push(commit / append);
    }
    report.line(format!("one document a commit, into {STORED} documents, {PAIRS} pairs, microseconds"))?;
    report.line(format!("{:<32}{:>10}{:>10}{:>10}", "", "p10", "median", "p99"))?;
    let scattered = format!("{PAGES_WRITTEN} scattered pages, fdatasync");
    for (name, times) in [("append 4 KiB, fdatasync", &appends), (&*scattered, &writes), ("commit", &commits)]
    {
        let at = |part| percentile(times.iter().copied(), part);
        report.line(format!("{name:<32}{:>10.0}{:>10.0}{:>10.0}", at(0.1), at(0.5), at(0.99)))?;
    }
    report.line(format!("median of the ratios of pairs: {:.2}", median(ratios)))?;
    report.at_most("median commit / median append and sync", median(commits) / median(appends), RATIO_MAX);
    report.finish()
}
