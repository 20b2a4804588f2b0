//! Measures how long files are, as a multiple of what was put into them.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Outcome, Random, Report, Shape, USUAL, directory, id, mib};
use vdb::{CheckLevel, Control, Document, IndexKind, OpenOptions, Store};

/// The most bytes of a compacted file for each byte of vectors, texts and metadata.
const RATIO_MAX: f64 = 1.3;
const CYCLES: u64 = 1_000;
const CYCLE_DOCUMENTS: u64 = 100;
const CYCLE_STORED: u64 = 10_000;
/// The most bytes of the file while it is written: so many times what lives in it, and so many MiB.
const WRITTEN_RATIO_MAX: f64 = 2.0;
const WRITTEN_ROOM_MIB: f64 = 64.0;
/// The most bytes of a compacted file for each byte that lives in it: rows of the catalog, and blobs.
const COMPACTED_RATIO_MAX: f64 = 1.1;

fn main() -> Outcome {
    let mut report = Report::default();
    report.line("length of the file for each byte of vectors, texts and metadata")?;
    report.line(format!(
        "{:<44}{:>12}{:>10}{:>12}{:>10}{:>10}",
        "", "payload MiB", "loaded", "compacted", "catalog", "free"
    ))?;
    let usual = shape(&report, "100,000, 384 values, 200 bytes", USUAL, 100_000, Ids::Ascending)?;
    shape(&report, "  the same, 100 transactions", USUAL, 100_000, Ids::Batches)?;
    shape(&report, "  the same, random ids", USUAL, 100_000, Ids::Random)?;
    shape(&report, "100,000, 16 values, 200 bytes", Shape { dim: 16, text: 200 }, 100_000, Ids::Ascending)?;
    shape(&report, "100,000, no vector, 200 bytes", Shape { dim: 0, text: 200 }, 100_000, Ids::Ascending)?;
    shape(&report, "50,000, no vector, 1,000 bytes", Shape { dim: 0, text: 1_000 }, 50_000, Ids::Ascending)?;
    shape(&report, "20,000, no vector, 5,000 bytes", Shape { dim: 0, text: 5_000 }, 20_000, Ids::Ascending)?;
    cycles(&mut report)?;
    report.at_most("compacted file / payload, 384 values", usual, RATIO_MAX);
    report.finish()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ids {
    Ascending,
    /// Ascending, in a hundred transactions.
    Batches,
    Random,
}

/// Loads documents, compacts, prints; returns the ratio after compaction.
fn shape(
    report: &Report,
    name: &str,
    shape: Shape,
    count: u64,
    ids: Ids,
) -> Result<f64, Box<dyn std::error::Error>> {
    let directory = directory()?;
    let path = directory.path().join("space.vdb");
    // Indexes are measured elsewhere.
    let store = OpenOptions::new().index(IndexKind::Exact).create(&path)?;
    let mut random = Random::new(5);
    let mut named = |document: Document| match ids {
        Ids::Random => document.id(format!("{:08x}{:08x}", random.bits(), random.bits())),
        _ => document,
    };
    let transactions = if ids == Ids::Batches { 100 } else { 1 };
    let each = count / transactions;
    for n in 0..transactions {
        store.add(shape.documents(n * each..(n + 1) * each).map(&mut named))?;
    }
    let payload = mib(shape.payload(0..count));
    let loaded = length(&path)? / payload;
    store.compact(&Control::default())?;
    let compacted = length(&path)? / payload;
    let used = store.stats()?.occupancy;
    let part = |bytes: u64| mib(bytes) / payload;
    let (catalog, free) = (part(used.stream), part(used.free + used.pending));
    report.line(format!(
        "{name:<44}{payload:>12.1}{loaded:>10.2}{compacted:>12.2}{catalog:>10.2}{free:>10.2}"
    ))?;
    Ok(compacted)
}

/// The length of a file in MiB.
fn length(path: &Path) -> std::io::Result<f64> {
    Ok(mib(std::fs::metadata(path)?.len()))
}

/// Watches the length of a file, also while segments are merged beside the commits.
struct LengthWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<f64>>,
}

impl LengthWatch {
    /// Begins to watch, some hundred times a second.
    fn start(path: &Path) -> Self {
        let (stop, path) = (Arc::new(AtomicBool::new(false)), path.to_owned());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut largest = length(&path)?;
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(3));
                largest = largest.max(length(&path)?);
            }
            Ok(largest)
        });
        LengthWatch { stop, thread }
    }

    /// The most that was seen, in MiB.
    fn largest(self) -> Result<f64, Box<dyn std::error::Error>> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| "the watch panicked")??)
    }
}

/// Adds and deletes for a while; the number of documents stays the same.
fn cycles(report: &mut Report) -> Result<(), Box<dyn std::error::Error>> {
    let directory = directory()?;
    let path = directory.path().join("cycles.vdb");
    let store = Store::create(&path)?;
    store.add(USUAL.documents(0..CYCLE_STORED))?;
    let (first, mut largest) = (length(&path)?, 0.0_f64);
    let watch = LengthWatch::start(&path);
    for n in 0..CYCLES {
        let from = CYCLE_STORED + n * CYCLE_DOCUMENTS;
        store.add(USUAL.documents(from..from + CYCLE_DOCUMENTS))?;
        largest = largest.max(length(&path)?);
        store.delete((n * CYCLE_DOCUMENTS..(n + 1) * CYCLE_DOCUMENTS).map(id))?;
        largest = largest.max(length(&path)?);
        if (n + 1) % (CYCLES / 5) == 0 {
            let live = USUAL.payload((n + 1) * CYCLE_DOCUMENTS..from + CYCLE_DOCUMENTS);
            report.line(format!(
                "after {:>4} cycles: live {:>6.1} MiB, file {:>7.1} MiB",
                n + 1,
                mib(live),
                length(&path)?
            ))?;
        }
    }
    largest = largest.max(watch.largest()?);
    let compacted = store.compact(&Control::default())?;
    let catalog = store.check(CheckLevel::Quick, &Control::default())?.catalog_bytes;
    let live = mib(catalog + store.stats()?.blob_bytes);
    let after = mib(compacted.bytes_after);
    report.line(format!(
        "{CYCLES} cycles of {CYCLE_DOCUMENTS} added and deleted among {CYCLE_STORED}: live {live:.1} MiB, file {first:.1} MiB before, {largest:.1} MiB at most, {after:.1} MiB compacted ({} segments before)",
        compacted.segments_before
    ))?;
    // At no time lives less than after compaction: so it is the strictest bound.
    report.at_most("largest file, MiB", largest, WRITTEN_RATIO_MAX * live + WRITTEN_ROOM_MIB);
    report.at_most("compacted file / live bytes", after / live, COMPACTED_RATIO_MAX);
    Ok(())
}
