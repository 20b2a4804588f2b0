//! Measures memory: what an import with its index takes against the budget, when the system allows no more.
//!
//! The size is that of `VDB_MEMORY_ROWS` (200,000) vectors of `VDB_MEMORY_DIM` (3,072) values, the budget
//! `VDB_MEMORY_BUDGET` (512) MiB. Run by `make bench-memory`, for it takes many minutes.

#![expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

mod common;
#[path = "common/import.rs"]
mod import;

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use common::{Clusters, Outcome, Report, directory, mib, percentile, task};
use import::{Imported, indexed_part, watch, write_array};
use rustix::process::{Resource, Rlimit, setrlimit};
use vdb::{OpenOptions, Query, Store};

/// The queries that are held out of the vectors, and how many nearest are compared.
const QUERIES: usize = 50;
const K: usize = 10;
/// The data segment may be so much larger than the budget: the program itself, and what its allocator keeps.
const BESIDE: u64 = 128 << 20;
/// The least recall at the default `--recall 0.95`.
const RECALL_MIN: f64 = 0.95;
/// The vectors that LangChain's store is given.
const PEER_ROWS: usize = 20_000;

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn main() -> Outcome {
    if let Some(task) = task() {
        return become_limited(&task.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let mut report = Report::default();
    let directory = directory()?;
    let (rows, dim) = (number("VDB_MEMORY_ROWS", 200_000), number("VDB_MEMORY_DIM", 3072));
    let budget = number("VDB_MEMORY_BUDGET", 512) as u64;
    let array = directory.path().join("vectors.npy");
    let queries = write_clustered(&array, rows, dim)?;
    let raw = (4 * rows * dim) as u64;
    report.line(format!("{rows} x {dim} f32, {:.0} MiB raw, budget {budget} MiB", mib(raw)))?;

    let limit = (budget << 20) + BESIDE;
    let run = import(directory.path(), "limited.vdb", &array, budget, Limit::DataSegment(limit))?;
    run.print(&report, &format!("RLIMIT_DATA {:.0} MiB", mib(limit)))?;
    run.bound(&mut report, "RLIMIT_DATA", raw, budget << 20);
    let store = OpenOptions::new().read_only(true).open(directory.path().join("limited.vdb"))?;
    search(&mut report, "RLIMIT_DATA", &store, &queries)?;
    drop(store);
    std::fs::remove_file(directory.path().join("limited.vdb"))?;

    match Group::new(budget << 20) {
        Ok(group) => {
            let run = import(directory.path(), "group.vdb", &array, budget, Limit::Group(&group))?;
            run.print(&report, &format!("control group of {budget} MiB"))?;
            run.bound(&mut report, "control group", raw, budget << 20);
            let file = directory.path().join("group.vdb");
            let store = OpenOptions::new().read_only(true).open(&file)?;
            search(&mut report, "control group", &store, &queries)?;
            drop(store);
            std::fs::remove_file(&file)?;
        }
        Err(reason) => report.line(format!("control group: left out, {reason}"))?,
    }
    std::fs::remove_file(&array)?;
    langchain(&report, directory.path(), dim)?;
    report.finish()
}

/// Writes clustered vectors; returns some that are not written. The same in every run.
fn write_clustered(path: &Path, rows: usize, dim: usize) -> io::Result<Vec<Vec<f32>>> {
    let mut clusters = Clusters::new(dim);
    let queries = (0..QUERIES).map(|_| clusters.next_unit()).collect();
    write_array(path, rows, dim, &mut clusters)?;
    Ok(queries)
}

/// What keeps a process from taking more memory.
#[derive(Clone, Copy)]
enum Limit<'a> {
    None,
    DataSegment(u64),
    Group(&'a Group),
}

/// Runs `vdb import`.
fn import(
    directory: &Path,
    name: &str,
    array: &Path,
    budget: u64,
    limit: Limit<'_>,
) -> Result<Imported, Box<dyn std::error::Error>> {
    let (store, array) = (directory.join(name), array.to_string_lossy());
    let (kind, limit) = match limit {
        Limit::None => ("data", u64::MAX.to_string()),
        Limit::DataSegment(bytes) => ("data", bytes.to_string()),
        Limit::Group(group) => ("group", group.0.to_string_lossy().into_owned()),
    };
    let (store, memory) = (store.to_string_lossy(), format!("--memory={budget}MiB"));
    let flags = ["--format=npy", "--model=none", "--json", "--quiet", "--threads=2", &memory];
    let words = [&[kind, &limit, "import", &store, &array], flags.as_slice()].concat();
    let mut command = Command::new(std::env::current_exe()?);
    command.env(common::CHILD, words.join("|"));
    Imported::run(command)
}

/// Becomes `vdb` under a limit: the task of a process that this one starts for that.
fn become_limited(words: &[&str]) -> Outcome {
    let [kind, limit, words @ ..] = words else { return Err("no task".into()) };
    match *kind {
        "data" => {
            let bytes = Some(limit.parse()?);
            setrlimit(Resource::Data, Rlimit { current: bytes, maximum: bytes })?;
        }
        _ => std::fs::write(Path::new(limit).join("cgroup.procs"), std::process::id().to_string())?,
    }
    Err(Command::new(env!("CARGO_BIN_EXE_vdb")).args(words).exec().into())
}

fn search(
    report: &mut Report,
    what: &str,
    store: &Store,
    queries: &[Vec<f32>],
) -> Result<(), Box<dyn std::error::Error>> {
    let stats = store.stats()?;
    for segment in &stats.segments {
        let note = segment.note.as_deref().unwrap_or_default();
        report.line(format!(
            "segment of {} vectors, {}, index of {:.1} MiB {note}",
            segment.rows,
            segment.index,
            mib(segment.index_bytes)
        ))?;
    }
    let (mut found, mut times) = (0, Vec::new());
    for query in queries {
        let ids = |query: Query| -> vdb::Result<Vec<String>> {
            Ok(store.search(&query.k(K))?.into_iter().map(|hit| hit.id).collect())
        };
        let exact = ids(Query::vector(query.clone()).exact())?;
        let started = Instant::now();
        let near = ids(Query::vector(query.clone()))?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        found += exact.iter().filter(|id| near.contains(id)).count();
    }
    report.line(format!(
        "search: median {:.2} ms, p99 {:.2} ms",
        percentile(times.clone(), 0.5),
        percentile(times, 0.99)
    ))?;
    report.at_least(&format!("{what}: part of the vectors that is indexed"), indexed_part(&stats), 1.0);
    let recall = found as f64 / (queries.len() * K) as f64;
    report.at_least(&format!("{what}: recall at ten"), recall, RECALL_MIN);
    Ok(())
}

/// A memory control group below that of this process, removed at the end.
struct Group(PathBuf);

impl Group {
    fn new(bytes: u64) -> Result<Self, String> {
        let groups = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let of = |line: &str| -> Option<(PathBuf, &str)> {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let (root, file) = match controllers {
                "" => ("/sys/fs/cgroup", "memory.max"),
                "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                _ => return None,
            };
            let path = PathBuf::from(format!("{root}{path}"));
            path.join(file).exists().then_some((path, file))
        };
        let (path, file) = groups.lines().find_map(of).ok_or("there is no group with a limit of memory")?;
        let group = Group(path.join(format!("vdb-bench-{}", std::process::id())));
        std::fs::create_dir(&group.0).map_err(|error| format!("no group can be made: {error}"))?;
        std::fs::write(group.0.join(file), bytes.to_string())
            .map_err(|error| format!("no limit can be set: {error}"))?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(&self.0));
    }
}

/// What LangChain's store over FAISS takes to add vectors that it is given.
fn langchain(report: &Report, directory: &Path, dim: usize) -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".local/langchain/bin/python");
    if !python.exists() {
        return Ok(report.line(format!("LangChain: left out, {} is not there", python.display()))?);
    }
    let array = directory.join("peer.npy");
    write_clustered(&array, PEER_ROWS, dim)?;
    let raw = (4 * PEER_ROWS * dim) as u64;
    let mut command = Command::new(python);
    command.arg(root.join("benches/python/langchain_faiss.py")).arg(&array).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let peak = watch(&mut child)?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err("LangChain's store failed".into());
    }
    let about = String::from_utf8(output.stdout)?;
    report.line(format!(
        "LangChain's FAISS store, {PEER_ROWS} x {dim}: peak anonymous {:.0} MiB, {:.1} times the vectors; {}",
        mib(peak),
        peak as f64 / raw as f64,
        about.trim()
    ))?;
    let run = import(directory, "peer.vdb", &array, number("VDB_MEMORY_BUDGET", 512) as u64, Limit::None)?;
    run.print(report, &format!("no limit, {PEER_ROWS} x {dim}"))?;
    Ok(())
}
