//! Compares vdb with other libraries on the same vectors and queries: recall and speed, in turns, in one run.
//!
//! `make bench-peers` installs them and says where they are; the README of `docs/benchmarks` tells the rest. Without
//! `VDB_PEERS_PYTHON` nothing is measured.

#[path = "../common/mod.rs"]
mod common;
mod data;
mod opening;
mod ours;
mod page;
mod peer;
mod plot;
mod series;
mod turns;

use std::path::{Path, PathBuf};

use common::{Outcome, Report, median, percentile};
use data::Data;
use ours::Made;
use page::{Build, Results};
use peer::{About, Start};
use series::Series;

/// Whatever went wrong.
type Fault = Box<dyn std::error::Error>;

/// The documents that are wanted of each search.
const K: usize = 10;
/// The library that the bounds are about builds as often as vdb does, in turns.
const YARDSTICK: &str = "faiss-cpu";
const BUILDS: usize = 3;
/// The sizes that the bounds on speed are about, at [`BOUNDED_DIM`] values.
const BOUNDED_ROWS: std::ops::RangeInclusive<usize> = 60_000..=200_000;
const BOUNDED_DIM: usize = 384;
/// From so many rows on, opening is measured.
const LARGE_ROWS: usize = 500_000;
/// The least times faster than another library, at the recalls of [`BOUNDED_RECALLS`].
const IDS_MIN: [(&str, f64); 4] =
    [(YARDSTICK, 1.0), ("usearch-f32", 1.3), ("usearch-f16", 1.3), ("hnswlib", 1.3)];
const DOCUMENTS_MIN: [(&str, f64); 2] = [("lancedb", 5.0), ("chromadb", 5.0)];
/// The least lower quartile of the ratio to [`YARDSTICK`].
const QUARTILE_MIN: f64 = 0.95;
const BUILD_MIN: f64 = 1.0;
const BOUNDED_RECALLS: [f64; 2] = [0.95, 0.98];

fn main() -> Outcome {
    let mut report = Report::default();
    let setting = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(python) = setting("VDB_PEERS_PYTHON").map(PathBuf::from) else {
        report.line("peers: no Python with other libraries; run `make bench-peers`")?;
        return report.finish();
    };
    let place =
        setting("VDB_PEERS_DIR").unwrap_or_else(|| concat!(env!("CARGO_TARGET_TMPDIR"), "/peers").into());
    let pages = setting("VDB_PEERS_PAGES")
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks").into());
    let rounds: usize = setting("VDB_PEERS_ROUNDS").map_or(Ok(7), |rounds| rounds.parse())?;
    let mut all = Vec::new();
    for shape in setting("VDB_PEERS_DATA").unwrap_or_else(|| "100000x384".into()).split_whitespace() {
        all.push(Data::made(Path::new(&place), shape)?);
    }
    if let Some(texts) = setting("VDB_PEERS_TEXTS") {
        all.push(Data::embedded(Path::new(&place), Path::new(&texts))?);
    }
    let chosen = setting("VDB_PEERS");
    let chosen: Vec<&str> = match &chosen {
        Some(names) => names.split_whitespace().collect(),
        None => peer::NAMES.to_vec(),
    };
    for mut data in all {
        let directory = data.directory.clone();
        let start = Start { python: &python, directory: &directory };
        start.truth()?;
        data.read_truth()?;
        compare(&mut report, &start, &data, &chosen, rounds, Path::new(&pages))?;
    }
    report.finish()
}

/// Measures every library on some data, and writes the page and the picture.
fn compare(
    report: &mut Report,
    start: &Start<'_>,
    data: &Data,
    chosen: &[&str],
    rounds: usize,
    pages: &Path,
) -> Result<(), Fault> {
    report.line(format!("\n{}", data.about))?;
    let (mut peers, mut missing) = (Vec::new(), Vec::new());
    for name in chosen {
        match start.probe(name) {
            Ok(about) => {
                report.line(format!("{name} {}: {}; {}", about.version, about.index, about.dispatch))?;
                peers.push(about);
            }
            Err(reason) => {
                report.line(format!("{name} is left out: {reason}"))?;
                missing.push(((*name).to_owned(), reason.to_string()));
            }
        }
    }
    let builds = build(report, start, data, &mut peers, &mut missing)?;
    if std::env::var_os("VDB_PEERS_BUILD_ONLY").is_some() {
        ran(report, chosen, &missing);
        return Ok(());
    }
    let series =
        ours::on_one_processor(|| turns::measure(report, start, data, &peers, rounds, &mut missing))??;
    peers.retain(|about| missing.iter().all(|(name, _)| *name != about.name));
    let before = report.rules().len();
    ran(report, chosen, &missing);
    if is_bounded(data) {
        bound(report, &series, &builds);
    }
    let notes = if data.rows >= LARGE_ROWS { opening::measure(data, report)? } else { Vec::new() };
    let build = vdb::FaissBuild::read()?;
    let results = Results {
        data,
        rounds,
        machine: machine(),
        ours: format!("| vdb | {} | HNSW32, 8 bits, exact scoring | {build} |", env!("CARGO_PKG_VERSION")),
        peers: &peers,
        missing: &missing,
        builds: &builds,
        series: &series,
        notes: &notes,
        rules: report.rules()[before..].to_owned(),
    };
    let name = format!("peers-{}", data.name);
    std::fs::create_dir_all(pages)?;
    std::fs::write(pages.join(format!("{name}.md")), page::page(&results))?;
    let picture =
        plot::svg(&data.about, &format!("{}, one query at a time, one thread", results.machine), &series);
    std::fs::write(pages.join(format!("{name}.svg")), picture)?;
    report.line(format!("written: {}", pages.join(name).with_extension("md").display()))?;
    Ok(())
}

/// Whether the bounds on speed are about this data.
fn is_bounded(data: &Data) -> bool {
    data.dim == BOUNDED_DIM && BOUNDED_ROWS.contains(&data.rows)
}

/// Each library that was chosen has to run: without it, bounds would hold that nobody looked at.
fn ran(report: &mut Report, chosen: &[&str], missing: &[(String, String)]) {
    for name in chosen {
        let is_there = missing.iter().all(|(missing, _)| missing != name);
        report.at_least(&format!("{name} ran"), f64::from(u8::from(is_there)), 1.0);
    }
}

/// Builds what is not built yet. A library that fails is left out from here on.
///
/// What vdb built is kept for the same program alone. Where building is judged, all builds are of this run, in turns.
fn build(
    report: &Report,
    start: &Start<'_>,
    data: &Data,
    peers: &mut Vec<About>,
    missing: &mut Vec<(String, String)>,
) -> Result<Vec<Build>, Fault> {
    let mut builds = Vec::new();
    let wanted = if data.rows >= LARGE_ROWS { 1 } else { BUILDS };
    let program = ours::program()?;
    let (mut made, mut yardstick): (Vec<(u64, Made)>, Vec<f64>) = if is_bounded(data) {
        (Vec::new(), Vec::new())
    } else {
        (start.known("vdb").unwrap_or_default(), start.known(YARDSTICK).unwrap_or_default())
    };
    if made.iter().any(|(by, _)| *by != program) {
        made.clear();
    }
    let has_yardstick = peers.iter().any(|about| about.name == YARDSTICK);
    for _ in 0..wanted {
        if made.len() < wanted {
            made.push((program, ours::build(data)?));
        }
        if has_yardstick && yardstick.len() < wanted {
            yardstick.push(start.build(YARDSTICK)?);
        }
    }
    start.keep("vdb", &made)?;
    start.keep(YARDSTICK, &yardstick)?;
    let indexing = made.iter().map(|(_, made)| made.indexing).collect();
    let all = made.iter().map(|(_, made)| made.adding + made.merging + made.indexing).collect();
    builds.push(Build { name: "vdb".into(), what: "index, written", seconds: indexing });
    builds.push(Build { name: "vdb".into(), what: "adding documents, merging and index", seconds: all });
    peers.retain(|about| {
        let seconds =
            if about.name == YARDSTICK { Some(yardstick.clone()) } else { start.known(&about.name) };
        let seconds = match seconds.map_or_else(|| start.build(&about.name).map(|seconds| vec![seconds]), Ok)
        {
            Ok(seconds) => seconds,
            Err(reason) => {
                missing.push((about.name.clone(), reason.to_string()));
                return false;
            }
        };
        drop(start.keep(&about.name, &seconds));
        let has_documents = about.modes.iter().any(|mode| mode == "documents");
        let what = if has_documents { "adding documents and index" } else { "index" };
        builds.push(Build { name: about.name.clone(), what, seconds });
        true
    });
    for build in &builds {
        let seconds = median(build.seconds.iter().copied());
        report.line(format!("{}: {}, two threads: {seconds:.1} s", build.name, build.what))?;
    }
    Ok(builds)
}

/// Compares with the bounds.
fn bound(report: &mut Report, all: &[Series], builds: &[Build]) {
    let find = |name: &str, mode: &str| all.iter().find(|series| series.name == name && series.mode == mode);
    for (mode, bounds) in [("ids", &IDS_MIN[..]), ("documents", &DOCUMENTS_MIN[..])] {
        for (name, least) in bounds {
            let Some((ours, theirs)) = find("vdb", mode).zip(find(name, mode)) else { continue };
            for recall in BOUNDED_RECALLS {
                // Where it does not reach the recall there is nothing to compare with; where vdb does not, it fails.
                if theirs.speeds_at(recall).is_empty() {
                    continue;
                }
                let (middle, quartile) = ours.ratio(theirs, recall).unwrap_or((0.0, 0.0));
                report.at_least(&format!("{mode} at recall {recall} / {name}"), middle, *least);
                if *name == YARDSTICK {
                    report.at_least(&format!("the same, lower quartile, {name}"), quartile, QUARTILE_MIN);
                }
            }
        }
    }
    let seconds = |name: &str| Some(&builds.iter().find(|build| build.name == name)?.seconds);
    if let Some((ours, theirs)) = seconds("vdb").zip(seconds(YARDSTICK)) {
        let ratios: Vec<f64> = theirs.iter().zip(ours).map(|(theirs, ours)| theirs / ours).collect();
        if !ratios.is_empty() {
            report.at_least(
                &format!("building, rows/s / {YARDSTICK}"),
                median(ratios.iter().copied()),
                BUILD_MIN,
            );
            let _ = report
                .line(format!("building / {YARDSTICK}, lower quartile: {:.2}", percentile(ratios, 0.25)));
        }
    }
}

/// The processor, and the day.
fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())).unwrap_or_default()
    };
    let widest = if field("flags").contains("avx512f") { "AVX-512" } else { "no AVX-512" };
    let threads = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let day = jiff::Timestamp::now().strftime("%d %B %Y");
    format!("{day}, {} (model {}, {widest}), {threads} cores", field("model name"), field("model\t"))
}
