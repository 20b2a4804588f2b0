//! Measures one-document durable commits against appending a page and syncing it.

mod common;

use std::fs::File;
use std::io::Write;

use common::{Outcome, Report, USUAL, directory, median, percentile, time};
use vdb::Store;

const STORED: u64 = 10_000;
const PAIRS: u64 = 400;
/// The most times of the yardstick that a commit takes.
const RATIO_MAX: f64 = 3.0;

fn main() -> Outcome {
    let mut report = Report::default();
    let directory = directory()?;
    let store = Store::create(directory.path().join("commit.vdb"))?;
    store.add(USUAL.documents(0..STORED))?;
    let mut log = File::create(directory.path().join("log"))?;
    let page = [7_u8; 4096];
    let (mut commits, mut appends, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..PAIRS {
        let (append, ()) = time(|| log.write_all(&page).and_then(|()| log.sync_data()))?;
        let document = USUAL.document(STORED + n);
        let (commit, _) = time(|| store.add([document]))?;
        commits.push(commit * 1e6);
        appends.push(append * 1e6);
        ratios.push(commit / append);
    }
    report.line(format!("one document a commit, into {STORED} documents, {PAIRS} pairs, microseconds"))?;
    report.line(format!("{:<32}{:>10}{:>10}{:>10}", "", "p10", "median", "p99"))?;
    for (name, times) in [("append 4 KiB, fdatasync", &appends), ("commit", &commits)] {
        let at = |part| percentile(times.iter().copied(), part);
        report.line(format!("{name:<32}{:>10.0}{:>10.0}{:>10.0}", at(0.1), at(0.5), at(0.99)))?;
    }
    report.line(format!("median of the ratios of pairs: {:.2}", median(ratios)))?;
    report.at_most("median commit / median append and sync", median(commits) / median(appends), RATIO_MAX);
    report.finish()
}
