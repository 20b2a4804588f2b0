//! Measures filtered searches by an index against the two ways forced, whatever a filter has to do with the query.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod common;

use std::collections::HashSet;
use std::num::NonZero;
use std::time::Duration;

use common::{Clusters, Outcome, Report, directory, median, percentile};
use vdb::{Control, Document, Filter, OpenOptions, Plan, Query, SearchPath, Snapshot};

const ROWS: usize = 100_000;
const DIM: usize = 384;
const CLUSTERS: usize = 300;
const QUERIES: usize = 20;
/// Of so many runs of a search the fastest counts: what is measured is the way, not what else the machine does.
const RUNS: usize = 5;
const RECALL: f32 = 0.99;
const RECALL_MIN: f64 = 0.99;
/// The part of the rows that a filter leaves.
const SELECTIVITIES: [f64; 9] = [0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.002, 0.001, 0.0001];
/// Scatters what a filter leaves; has no factor in common with the number of rows.
const SCATTER: usize = 61_493;
/// How much slower than the better of the two ways a search may be.
const WORSE_MAX: f64 = 1.2;
/// How much slower than a search without a filter by the graph it may be.
const UNFILTERED_MAX: f64 = 5.0;

fn main() -> Outcome {
    let mut report = Report::default();
    let directory = directory()?;
    let path = directory.path().join("filtered.vdb");
    let mut vectors = Clusters::new(DIM);
    let threads = NonZero::new(2).unwrap_or(NonZero::<usize>::MIN);
    let store = OpenOptions::new().threads(threads).create(&path)?;
    store.add((0..ROWS).map(|n| {
        let (cluster, vector) = vectors.next_of();
        let metadata = format!(r#"{{"n":{},"cluster":{cluster}}}"#, n * SCATTER % ROWS);
        let document = Document::from_vector(vector).id(n.to_string());
        document.metadata_json(&metadata).unwrap_or(Document::new("none"))
    }))?;
    store.compact(&Control::new())?;
    store.close()?;
    let queries: Vec<(usize, Vec<f32>)> = (0..QUERIES).map(|_| vectors.next_of()).collect();
    let store = OpenOptions::new().read_only(true).open(&path)?;
    let snapshot = store.snapshot()?;
    let whole = |path| -> vdb::Result<f64> {
        let all: Vec<f64> = queries
            .iter()
            .map(|(_, vector)| {
                run(&snapshot, &query(vector, None).recall(RECALL).path(path)).map(|run| run.1)
            })
            .collect::<vdb::Result<_>>()?;
        Ok(median(all))
    };
    let (scan, graph) = (whole(SearchPath::Exact)?, whole(SearchPath::Graph)?);
    let bound = scan.min(UNFILTERED_MAX * graph);
    report.line(format!(
        "{ROWS} x {DIM} clustered, cosine, best 10 at recall {RECALL}, without the time of the filter"
    ))?;
    report.line(format!("without a filter: scan {scan:.3} ms, graph {graph:.3} ms; bound {bound:.3} ms"))?;
    report.line(format!(
        "{:<26}{:>8}{:>10}{:>10}{:>10}  {}",
        "filter", "recall", "p99 ms", "scan ms", "graph ms", "ways"
    ))?;
    for kind in ["near", "scattered", "far"] {
        for part in SELECTIVITIES {
            let filters: Vec<Filter> = queries
                .iter()
                .map(|(cluster, _)| filter(kind, part, &vectors.by_nearness_to(*cluster)))
                .collect();
            measure(&mut report, &snapshot, &format!("{kind} {part}"), (&queries, &filters), bound)?;
        }
    }
    report.finish()
}

fn query(vector: &[f32], filter: Option<&Filter>) -> Query {
    let query = Query::vector(vector).ids_only();
    filter.into_iter().fold(query, |query, filter| query.filter(filter.clone()))
}

/// A filter that leaves so many of the rows: `clusters` are in the order of their nearness to the query.
fn filter(kind: &str, part: f64, clusters: &[usize]) -> Filter {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the rows")]
    let share = |of: f64| (of * part).ceil() as usize;
    if kind == "scattered" {
        return Filter::field("n").lt(share(ROWS as f64));
    }
    let wanted = share(CLUSTERS as f64);
    let chosen: Vec<usize> = match kind {
        "near" => clusters.iter().copied().take(wanted).collect(),
        _ => clusters.iter().rev().copied().take(wanted).collect(),
    };
    let within = Filter::field("cluster").one_of(chosen);
    // Less than a cluster: some of it.
    if part * (CLUSTERS as f64) < 1.0 {
        return within & Filter::field("n").lt(share(ROWS as f64 * CLUSTERS as f64));
    }
    within
}

/// What was found, the least milliseconds without the filter, and how.
fn run(snapshot: &Snapshot, query: &Query) -> vdb::Result<(HashSet<String>, f64, Plan)> {
    let mut least: Option<(HashSet<String>, f64, Plan)> = None;
    for _ in 0..RUNS {
        let found = snapshot.explain(query)?;
        let plan = &found.plan;
        let time: Duration = plan.graph_time + plan.codes_time + plan.scan_time;
        let ms = time.as_secs_f64() * 1e3;
        if least.as_ref().is_none_or(|least| ms < least.1) {
            least = Some((found.hits.into_iter().map(|hit| hit.id).collect(), ms, found.plan));
        }
    }
    least.ok_or_else(|| vdb::Error::Unavailable { feature: "a search", reason: "there was none".into() })
}

type Asked<'a> = (&'a [(usize, Vec<f32>)], &'a [Filter]);

fn measure(
    report: &mut Report,
    snapshot: &Snapshot,
    name: &str,
    (queries, filters): Asked<'_>,
    bound: f64,
) -> Result<(), Box<dyn std::error::Error>> {
    let (mut times, mut recalls, mut ways) = ([const { Vec::new() }; 3], [0.0; 3], [0; 4]);
    for ((_, vector), filter) in queries.iter().zip(filters) {
        let query = query(vector, Some(filter));
        let (truth, ..) = run(snapshot, &query.clone().exact())?;
        let query = query.recall(RECALL);
        let forced = |path| run(snapshot, &query.clone().path(path));
        let runs = [run(snapshot, &query)?, forced(SearchPath::Exact)?, forced(SearchPath::Graph)?];
        for ((times, recall), (found, ms, _)) in times.iter_mut().zip(&mut recalls).zip(&runs) {
            assert_eq!(found.len(), truth.len(), "never fewer than there are");
            times.push(*ms);
            *recall +=
                truth.intersection(found).count() as f64 / truth.len().max(1) as f64 / queries.len() as f64;
        }
        let known = ["exact", "codes", "hnsw", "mixed"];
        ways[known.iter().position(|path| *path == runs[0].2.path).unwrap_or(3)] += 1;
    }
    let [free, scan, graph] = times.map(|times| percentile(times, 0.99));
    report.line(format!(
        "{name:<26}{:>8.4}{free:>10.3}{scan:>10.3}{graph:>10.3}  exact {}, codes {}, graph {}",
        recalls[0], ways[0], ways[1], ways[2]
    ))?;
    report.at_least(&format!("{name}: recall"), recalls[0], RECALL_MIN);
    let better = if recalls[2] >= RECALL_MIN { scan.min(graph) } else { scan };
    report.at_most(&format!("{name}: p99 / better way"), free / better, WORSE_MAX);
    report.at_most(&format!("{name}: p99, ms"), free, bound);
    Ok(())
}
