//! Measures opening: it must not take longer because there is more in the file.

mod common;

use std::path::{Path, PathBuf};

use common::{Outcome, Report, USUAL, child, directory, id, median, task, time};
use vdb::{OpenOptions, Store};

const SIZES: [u64; 2] = [1_000, 100_000];
const ROUNDS: usize = 41;
/// Kills are slow to arrange: fewer rounds.
const KILLS: usize = 9;
/// The most times longer that opening 100,000 documents may take than opening 1,000.
const RATIO_MAX: f64 = 2.0;

fn main() -> Outcome {
    if let Some(task) = task() {
        return die(Path::new(&task[0]));
    }
    let mut report = Report::default();
    let directory = directory()?;
    let mut paths = Vec::new();
    for size in SIZES {
        let path = directory.path().join(format!("{size}.vdb"));
        Store::create(&path)?.add(USUAL.documents(0..size))?;
        paths.push(path);
    }
    report.line("opening and the first get, microseconds, medians")?;
    report.line(format!("{:<32}{:>14}{:>14}{:>8}", "", "1,000 docs", "100,000 docs", "ratio"))?;
    for (name, read_only, kill) in [
        ("writer", false, Kill::No),
        ("reader", true, Kill::No),
        ("writer after a kill", false, Kill::Before),
        ("reader after a kill", true, Kill::Before),
    ] {
        let medians = measure(&paths, read_only, kill)?;
        let ratio = medians[1] / medians[0];
        report.line(format!("{name:<32}{:>14.0}{:>14.0}{ratio:>8.2}", medians[0], medians[1]))?;
        report.at_most(&format!("opening, {name}: 100,000 / 1,000 documents"), ratio, RATIO_MAX);
    }
    report.finish()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kill {
    No,
    Before,
}

/// Microseconds by size; the sizes take turns.
fn measure(paths: &[PathBuf], read_only: bool, kill: Kill) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let mut times = vec![Vec::new(); paths.len()];
    for _ in 0..if kill == Kill::Before { KILLS } else { ROUNDS } {
        for (times, path) in times.iter_mut().zip(paths) {
            if kill == Kill::Before {
                // The child dies without closing the file: that is its success.
                drop(child(&[&path.to_string_lossy()]));
            }
            let (seconds, store) = time(|| open(path, read_only))?;
            times.push(seconds * 1e6);
            store.close()?;
        }
    }
    Ok(times.into_iter().map(median).collect())
}

fn open(path: &Path, read_only: bool) -> vdb::Result<Store> {
    let store = OpenOptions::new().read_only(read_only).open(path)?;
    assert!(store.get(&id(500))?.is_some());
    Ok(store)
}

/// Commits one document and ends without closing.
fn die(path: &Path) -> Outcome {
    let store = Store::open(path)?;
    store.add([USUAL.document(7)])?;
    std::process::exit(0)
}
