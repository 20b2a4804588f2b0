//! Measures bulk loads: documents a second, and the anonymous memory of the process.

mod common;

use std::path::Path;

use common::{MemoryWatch, Outcome, Report, USUAL, child, directory, median, task, tell, time};
use vdb::{OpenOptions, Query, Store};

const DOCUMENTS: u64 = 100_000;
const ROUNDS: usize = 3;
/// The least documents a second, commits included.
const SPEED_MIN: f64 = 40_000.0;
/// The most anonymous memory of a load, in MiB.
const LOAD_MIB_MAX: f64 = 200.0;
/// The most anonymous memory after the first search, in MiB.
const SEARCH_MIB_MAX: f64 = 64.0;

fn main() -> Outcome {
    if let Some(task) = task() {
        let task: Vec<&str> = task.iter().map(String::as_str).collect();
        match task[..] {
            ["load", path, transactions] => load(Path::new(path), transactions.parse()?)?,
            ["search", path] => search(Path::new(path))?,
            _ => return Err("unknown task".into()),
        }
        return Ok(std::process::ExitCode::SUCCESS);
    }
    let mut report = Report::default();
    let directory = directory()?;
    let path = directory.path().join("load.vdb");
    let file = path.to_string_lossy();
    report.line(format!("bulk load of {DOCUMENTS} documents, 384 values, 200 bytes of text"))?;
    report.line(format!(
        "{:<24}{:>12}{:>18}{:>15}{:>10}",
        "", "documents/s", "per CPU second", "peak anon MiB", "file MiB"
    ))?;
    for (transactions, name) in
        [("1", "one transaction"), ("10", "ten transactions"), ("100", "a hundred transactions")]
    {
        let (mut speeds, mut busy, mut peak, mut length) = (Vec::new(), Vec::new(), 0.0_f64, 0.0);
        for _ in 0..ROUNDS {
            if path.exists() {
                std::fs::remove_file(&path)?;
            }
            let figures = child(&["load", &file, transactions])?;
            speeds.push(figures["speed"]);
            busy.push(figures["busy"]);
            peak = peak.max(figures["peak"]);
            length = figures["file"];
        }
        let speed = median(speeds);
        let busy = median(busy);
        report.line(format!("{name:<24}{speed:>12.0}{busy:>18.0}{peak:>15.1}{length:>10.1}"))?;
        if transactions != "100" {
            report.at_least(&format!("bulk load, {name}, documents/s"), speed, SPEED_MIN);
            report.at_most(&format!("bulk load, {name}, peak MiB"), peak, LOAD_MIB_MAX);
        }
    }
    let figures = child(&["search", &file])?;
    for (name, step) in
        [("after opening", "open"), ("after the first search", "first"), ("after 100 searches", "more")]
    {
        report.line(format!("{:<32}{:>26.1}", format!("anonymous MiB {name}"), figures[step]))?;
    }
    report.at_most("anonymous MiB after the first search", figures["first"], SEARCH_MIB_MAX);
    report.finish()
}

fn load(path: &Path, transactions: u64) -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::create(path)?;
    let watch = MemoryWatch::start();
    let each = DOCUMENTS / transactions;
    let before = cpu_seconds();
    let (seconds, ()) = time(|| {
        (0..transactions).try_for_each(|n| store.add(USUAL.documents(n * each..(n + 1) * each)).map(drop))
    })?;
    let busy = cpu_seconds() - before;
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    let documents = DOCUMENTS as f64;
    tell("speed", documents / seconds)?;
    tell("busy", documents / busy)?;
    tell("peak", common::mib(watch.peak()))?;
    tell("file", common::mib(std::fs::metadata(path)?.len()))?;
    Ok(())
}

/// Seconds that this thread was running, whatever else the machine did.
fn cpu_seconds() -> f64 {
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    account.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

fn search(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let store = OpenOptions::new().read_only(true).open(path)?;
    let mut random = common::Random::new(0);
    tell("open", common::mib(common::status_bytes("RssAnon")))?;
    assert_eq!(store.search(&Query::vector(random.vector(384)))?.len(), 10);
    tell("first", common::mib(common::status_bytes("RssAnon")))?;
    for _ in 0..100 {
        store.search(&Query::vector(random.vector(384)))?;
    }
    tell("more", common::mib(common::status_bytes("RssAnon")))?;
    Ok(())
}
