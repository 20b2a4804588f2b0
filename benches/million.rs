//! Measures a store of a million vectors: its import within a budget, opening it, its first query, and those after it.
//!
//! Run by `make bench-million`, for it takes many minutes. `VDB_MILLION_DIR` names a directory in which the stores stay: a
//! later run measures these, and tells what their import took. `VDB_MILLION_ROWS` is another number of vectors.

#![expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

mod common;
#[path = "common/import.rs"]
mod import;

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use common::{
    Clusters, Outcome, Report, Shape, child, directory, id, median, mib, percentile, task, tell, time,
};
use import::{Imported, indexed_part, write_array};
use vdb::{Hit, OpenOptions, Query, Store};

type Fault = Box<dyn std::error::Error>;

const ROWS: u64 = 1_000_000;
/// What opening is compared with.
const SMALL_ROWS: u64 = 10_000;
const DIM: usize = 384;
/// The text of a document, in bytes.
const TEXT: usize = 100;
/// The memory that the import is given, in MiB.
const BUDGET: u64 = 1024;
const K: usize = 10;
/// The queries that are held out of the vectors.
const QUERIES: usize = 500;
const OPENINGS: usize = 41;
/// Each in a process of its own.
const FIRSTS: usize = 15;
/// How often all queries are asked, after once to warm up.
const PASSES: usize = 3;
/// The most times longer that opening the large store may take than opening the small one.
const OPEN_RATIO_MAX: f64 = 2.0;
const FIRST_MS_MAX: f64 = 300.0;
const P50_MS_MAX: f64 = 2.0;
/// The least recall at the default `--recall 0.95`.
const RECALL_MIN: f64 = 0.95;

fn main() -> Outcome {
    if let Some(task) = task() {
        return first_query(Path::new(&task[0]), task[1].parse()?);
    }
    let mut report = Report::default();
    let rows = match std::env::var("VDB_MILLION_ROWS") {
        Ok(rows) => rows.parse()?,
        Err(_) => ROWS,
    };
    let fresh = directory()?;
    let place = std::env::var_os("VDB_MILLION_DIR").map_or(fresh.path().to_owned(), PathBuf::from);
    std::fs::create_dir_all(&place)?;
    let (small, _) = store(&place, SMALL_ROWS)?;
    let (large, imported) = store(&place, rows)?;
    report.line(format!(
        "{rows} documents with vectors of {DIM} values, {:.0} MiB raw, and texts of {TEXT} bytes",
        mib(4 * rows * DIM as u64)
    ))?;
    imported.print(&report, &format!("--memory={BUDGET}MiB"))?;
    imported.bound(&mut report, "import", 4 * rows * DIM as u64, BUDGET << 20);
    report.at_least("documents imported / rows", imported.added as f64 / rows as f64, 1.0);
    describe(&mut report, &large)?;
    opening(&mut report, [&small, &large])?;
    first_queries(&mut report, [&small, &large])?;
    steady(&mut report, &large)?;
    report.finish()
}

/// The queries, and the vectors after them.
fn vectors() -> (Vec<Vec<f32>>, Clusters) {
    let mut clusters = Clusters::new(DIM);
    ((0..QUERIES).map(|_| clusters.next_unit()).collect(), clusters)
}

/// A store of so many rows, and what its import took; made unless it is there.
fn store(place: &Path, rows: u64) -> Result<(PathBuf, Imported), Fault> {
    let (file, about) = (place.join(format!("{rows}.vdb")), place.join(format!("{rows}.json")));
    if !about.exists() {
        let imported = import(place, &file, rows)?;
        std::fs::write(&about, serde_json::to_string(&imported)?)?;
    }
    let imported = serde_json::from_str(&std::fs::read_to_string(&about)?)?;
    // So that it lies in the page cache.
    io::copy(&mut File::open(&file)?, &mut io::sink())?;
    Ok((file, imported))
}

/// Imports an array with the other parts of its documents beside it.
fn import(place: &Path, file: &Path, rows: u64) -> Result<Imported, Fault> {
    let (array, beside) = (place.join("vectors.npy"), place.join("vectors.jsonl"));
    write_array(&array, usize::try_from(rows)?, DIM, &mut vectors().1)?;
    let mut out = BufWriter::new(File::create(&beside)?);
    for document in (Shape { dim: 0, text: TEXT }).documents(0..rows) {
        let (id, text) = (document.id_ref().unwrap_or_default(), document.text().unwrap_or_default());
        let metadata = document.metadata_ref().as_json();
        writeln!(out, r#"{{"id":"{id}","text":"{text}","metadata":{metadata}}}"#)?;
    }
    out.into_inner()?;
    if file.exists() {
        std::fs::remove_file(file)?;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdb"));
    command.arg("import").args([file, &array]).arg(format!("--memory={BUDGET}MiB"));
    command.args(["--format=npy", "--model=none", "--json", "--quiet", "--threads=2"]);
    let imported = Imported::run(command)?;
    std::fs::remove_file(&array)?;
    std::fs::remove_file(&beside)?;
    Ok(imported)
}

fn open(file: &Path, read_only: bool) -> vdb::Result<Store> {
    OpenOptions::new().read_only(read_only).open(file)
}

/// Tells the segments; all of them must have an index.
fn describe(report: &mut Report, file: &Path) -> Result<(), Fault> {
    let stats = open(file, true)?.stats()?;
    for segment in &stats.segments {
        let (rows, index) = (segment.rows, segment.index);
        report.line(format!("segment of {rows} vectors, {index} of {:.0} MiB", mib(segment.index_bytes)))?;
    }
    report.at_least("part of the vectors that is indexed", indexed_part(&stats), 1.0);
    Ok(())
}

/// Opens the stores in turns, each time with a first `get`.
fn opening(report: &mut Report, files: [&Path; 2]) -> Result<(), Fault> {
    for (name, read_only) in [("writer", false), ("reader", true)] {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..OPENINGS {
            for (times, file) in times.iter_mut().zip(files) {
                let (seconds, store) = time(|| {
                    let store = open(file, read_only)?;
                    store.get(&id(500)).map(|found| found.map(|_| store))
                })?;
                times.push(seconds * 1e3);
                store.ok_or("document 500 is not there")?.close()?;
            }
        }
        let [small, large] = times.map(median);
        report.line(format!(
            "opening and the first get, {name}, medians: {large:.2} ms; with {SMALL_ROWS} rows {small:.2} ms"
        ))?;
        report.at_most(&format!("opening, {name}: / {SMALL_ROWS} documents"), large / small, OPEN_RATIO_MAX);
    }
    Ok(())
}

/// Opens a store and asks it one query: the task of a process that does nothing else.
fn first_query(file: &Path, number: usize) -> Outcome {
    let query = vectors().0.swap_remove(number);
    let (seconds, store) = time(|| open(file, true))?;
    tell("open", seconds * 1e3)?;
    let (seconds, hits) = time(|| store.search(&Query::vector(query).k(K)))?;
    tell("search", seconds * 1e3)?;
    tell("hits", hits.len() as f64)?;
    Ok(ExitCode::SUCCESS)
}

fn first_queries(report: &mut Report, files: [&Path; 2]) -> Result<(), Fault> {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..FIRSTS {
        for (times, file) in times.iter_mut().zip(files) {
            let told = child(&[&file.to_string_lossy(), &round.to_string()])?;
            let figure = |name: &str| told.get(name).copied().ok_or(format!("no {name}"));
            if figure("hits")? < K as f64 {
                return Err(format!("{K} documents expected, {} found", figure("hits")?).into());
            }
            times.push(figure("open")? + figure("search")?);
        }
    }
    let most = percentile(times[1].iter().copied(), 1.0);
    let [small, large] = times.map(median);
    report.line(format!(
        "opening and the first query, in a fresh process, page cache warm: median {large:.1} ms, most {most:.1} ms; with \
         {SMALL_ROWS} rows {small:.1} ms"
    ))?;
    report.at_most("first query, page cache warm, ms", large, FIRST_MS_MAX);
    Ok(())
}

/// Asks all queries one after the other, on one thread, then exactly.
fn steady(report: &mut Report, file: &Path) -> Result<(), Fault> {
    let (store, queries) = (open(file, true)?, vectors().0);
    let query = |vector: &Vec<f32>| Query::vector(vector.clone()).k(K);
    let ids = |hits: Vec<Hit>| -> Vec<String> { hits.into_iter().map(|hit| hit.id).collect() };
    let (mut with_documents, mut ids_alone, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for pass in 0..=PASSES {
        found.clear();
        for vector in &queries {
            let (seconds, hits) = time(|| store.search(&query(vector)))?;
            with_documents.extend((pass > 0).then_some(seconds * 1e3));
            found.push(ids(hits));
            let (seconds, _) = time(|| store.search(&query(vector).ids_only()))?;
            ids_alone.extend((pass > 0).then_some(seconds * 1e3));
        }
    }
    let (mut matches, mut scans) = (0, Vec::new());
    for (vector, found) in queries.iter().zip(&found) {
        let (seconds, exact) = time(|| store.search(&query(vector).exact().ids_only()))?;
        scans.push(seconds * 1e3);
        matches += ids(exact).iter().filter(|id| found.contains(id)).count();
    }
    let at = |times: &[f64], part| percentile(times.iter().copied(), part);
    report.line(format!(
        "after that, one query at a time, one thread: with documents p50 {:.3} ms, p99 {:.3} ms; ids and scores p50 {:.3} ms; \
         every vector compared {:.0} ms",
        at(&with_documents, 0.5),
        at(&with_documents, 0.99),
        at(&ids_alone, 0.5),
        median(scans),
    ))?;
    report.at_most("p50 with documents, ms", at(&with_documents, 0.5), P50_MS_MAX);
    report.at_least("recall at ten of those", matches as f64 / (QUERIES * K) as f64, RECALL_MIN);
    Ok(())
}
