//! Measures indexed search against the HNSW of faiss-cpu, at equal recall.
//!
//! Without a Python that has FAISS (`VDB_TEST_PYTHON`) only vdb is measured. `VDB_BENCH_CODES` names kinds of graphs, as
//! `Lab::build` understands them; `VDB_BENCH_VECTORS` a directory with `base.f32` and `queries.f32` of 384 values, such as
//! those that `peers` keeps.

#![expect(clippy::cast_precision_loss, reason = "counts and bytes are far below 2^52")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::num::NonZero;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use common::{Clusters, MemoryWatch, Outcome, Report, directory, median, mib, status_bytes, time};
use vdb::Metric;
use vdb::lab::{self, Lab};

const ROWS: usize = 60_000;
const DIM: usize = 384;
const QUERIES: usize = 1000;
const ROUNDS: usize = 5;
const K: usize = 10;
const RECALLS: [f64; 2] = [0.95, 0.98];
const EFFORTS: [usize; 10] = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256];
/// The least part of faiss-cpu's queries a second, at equal recall.
const RATIO_MIN: f64 = 1.0;

fn main() -> Outcome {
    let mut report = Report::default();
    let directory = directory()?;
    let (base, queries) = match std::env::var_os("VDB_BENCH_VECTORS") {
        Some(place) => {
            (floats(&Path::new(&place).join("base.f32"))?, floats(&Path::new(&place).join("queries.f32"))?)
        }
        None => made(),
    };
    let (rows, base) = (base.len() / DIM, &base[..]);
    let queries: Vec<&[f32]> = queries.chunks_exact(DIM).collect();
    std::fs::write(directory.path().join("base.f32"), bytes(base))?;
    std::fs::write(directory.path().join("queries.f32"), bytes(&queries.concat()))?;
    let mut peer = Peer::start(directory.path())?;
    report.line(format!(
        "{rows} x {DIM}, cosine, best {K}, {} queries one at a time, one thread",
        queries.len()
    ))?;
    if let Some(peer) = &peer {
        report.line(&peer.about)?;
    }
    let kinds = std::env::var("VDB_BENCH_CODES").unwrap_or_else(|_| "f16,sq8,f32".into());
    for codes in kinds.split(',') {
        let lab = build(&report, base, codes)?;
        // A scan takes ten times as long, and each as long as any other.
        let part = if codes.starts_with("scan") { queries.len() / 10 } else { queries.len() };
        let some = &queries[..part];
        let exact = some.iter().map(|query| lab.exact(query, K)).collect::<vdb::Result<Vec<_>>>()?;
        let peer = peer.as_mut().filter(|_| part == queries.len());
        compare(&mut report, codes, &lab, some, &exact, peer)?;
    }
    report.finish()
}

/// Clustered vectors, and queries like them.
fn made() -> (Vec<f32>, Vec<f32>) {
    let mut clusters = Clusters::new(DIM);
    let mut next = |count| (0..count).flat_map(|_| clusters.next_unit()).collect();
    (next(ROWS), next(QUERIES))
}

fn floats(path: &Path) -> Result<Vec<f32>, Box<dyn std::error::Error>> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(bytes
        .chunks_exact(4)
        .map(|value| f32::from_le_bytes([value[0], value[1], value[2], value[3]]))
        .collect())
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn build(report: &Report, base: &[f32], codes: &str) -> Result<Lab, Box<dyn std::error::Error>> {
    let threads = NonZero::new(2).unwrap_or(NonZero::<usize>::MIN);
    let vectors = base.to_vec();
    let before = status_bytes("RssAnon");
    let watch = MemoryWatch::start();
    let (seconds, lab) = time(|| Lab::build(vectors, DIM, Metric::Cosine, codes, threads))?;
    let peak = watch.peak().saturating_sub(before);
    report.line(format!(
        "\n{codes}: built {:.0} rows/s on 2 threads; index {:.1} MiB; peak {:.1} MiB, granted {:.1} MiB",
        (base.len() / DIM) as f64 / seconds,
        mib(lab.blob_bytes() as u64),
        mib(peak),
        mib(lab::memory_to_build(base.len() / DIM, DIM, codes, 2)? as u64),
    ))?;
    let curve: Vec<String> =
        lab.curve().iter().map(|(effort, recall)| format!("{effort}:{recall:.3}")).collect();
    report.line(format!("{codes}: recall measured at build {}", curve.join(" ")))?;
    Ok(lab)
}

/// Recall and queries a second by effort, medians of the rounds.
type Measured = Vec<(usize, f64, f64)>;

fn compare(
    report: &mut Report,
    codes: &str,
    lab: &Lab,
    queries: &[&[f32]],
    exact: &[Vec<u64>],
    mut peer: Option<&mut Peer>,
) -> Result<(), Box<dyn std::error::Error>> {
    let (mut ours, mut theirs): (Measured, Measured) = (Vec::new(), Vec::new());
    for effort in EFFORTS {
        let (mut speeds, mut peer_speeds) = (Vec::new(), Vec::new());
        let (mut recall, mut peer_recall) = (0.0, 0.0);
        for _ in 0..ROUNDS {
            let search = |query: &&[f32]| lab.search(query, K, effort);
            let (seconds, found) = time(|| queries.iter().map(search).collect::<vdb::Result<Vec<_>>>())?;
            speeds.push(queries.len() as f64 / seconds);
            recall = part_found(&found, exact);
            if let Some(peer) = peer.as_deref_mut() {
                let (found, speed) = peer.search(effort)?;
                peer_speeds.push(speed);
                peer_recall = part_found(&found, exact);
            }
        }
        ours.push((effort, recall, median(speeds)));
        theirs.push((effort, peer_recall, median(peer_speeds)));
        let (our, their) = (ours[ours.len() - 1], theirs[theirs.len() - 1]);
        report.line(format!(
            "effort {effort:>4}: recall {:.4}, {:>6.0} queries/s; faiss-cpu {:.4}, {:>6.0}",
            our.1, our.2, their.1, their.2
        ))?;
    }
    for recall in RECALLS {
        let (our, their) = (at_recall(&ours, recall), at_recall(&theirs, recall));
        report.line(format!("{codes} at recall {recall}: {our:.0} queries/s; faiss-cpu {their:.0}"))?;
        if codes == "f16" && peer.is_some() {
            report.at_least(&format!("{codes} at recall {recall} / faiss-cpu"), our / their, RATIO_MIN);
        }
    }
    Ok(())
}

fn part_found(found: &[Vec<u64>], exact: &[Vec<u64>]) -> f64 {
    let hits =
        |(found, exact): (&Vec<u64>, &Vec<u64>)| exact.iter().filter(|row| found.contains(row)).count();
    found.iter().zip(exact).map(hits).sum::<usize>() as f64 / (exact.len() * K) as f64
}

/// Queries a second at a recall, in proportion between the two efforts around it; the first effort's if that suffices.
fn at_recall(measured: &Measured, recall: f64) -> f64 {
    let Some(after) = measured.iter().position(|point| point.1 >= recall) else { return f64::NAN };
    let Some(before) = after.checked_sub(1) else { return measured[0].2 };
    let ((_, low, slow), (_, high, fast)) = (measured[before], measured[after]);
    slow + (fast - slow) * (recall - low) / (high - low)
}

/// The index of faiss-cpu, in a process of its own.
struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    about: String,
}

impl Peer {
    fn start(directory: &Path) -> Result<Option<Self>, Box<dyn std::error::Error>> {
        let Some(python) = std::env::var_os("VDB_TEST_PYTHON") else { return Ok(None) };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python/faiss_hnsw.py");
        let mut command = Command::new(python);
        command.arg(script).arg(directory).arg(DIM.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut peer = Peer { child, input, output, about: String::new() };
        let about = peer.line()?;
        peer.about = format!("faiss-cpu HNSW32 f32, inner product: {about}");
        Ok(Some(peer))
    }

    fn line(&mut self) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn search(&mut self, effort: usize) -> Result<Found, Box<dyn std::error::Error>> {
        writeln!(self.input, "{effort}")?;
        let answer = self.line()?;
        let rows = serde_json::from_value(answer["rows"].clone())?;
        Ok((rows, answer["per_second"].as_f64().ok_or("no speed")?))
    }
}

/// The rows found for each query, and queries a second.
type Found = (Vec<Vec<u64>>, f64);

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
