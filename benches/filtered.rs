//! Measures filtered searches by an index against the two ways forced, whatever a filter has to do with the query.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod common;

use std::collections::HashSet;
use std::num::NonZero;
use std::time::Duration;

use common::{Clusters, Outcome, Report, directory, percentile};
use vdb::{Control, Document, Filter, OpenOptions, Plan, Query, SearchPath, Snapshot};

const ROWS: usize = 100_000;
const DIM: usize = 384;
const CLUSTERS: usize = 300;
const QUERIES: usize = 20;
/// Of so many runs of a search the fastest counts: what is measured is the way, not what else the machine does. Between two
/// of them are all other queries, so that none finds in the caches what it left there; and searches with a filter take turns with
/// those without one that they are compared with, so that each finds what the other left.
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
    let whole = |path| -> Vec<Query> {
        let asked = queries.iter().map(|(_, vector)| query(vector, None).recall(RECALL).path(path));
        asked.collect()
    };
    let scan = p99(&run(&snapshot, &whole(SearchPath::Exact))?);
    let unfiltered = Unfiltered { scan, graph: whole(SearchPath::Graph) };
    report.line(format!(
        "{ROWS} x {DIM} clustered, cosine, best 10 at recall {RECALL}, without the time of the filter"
    ))?;
    report.line(format!("without a filter by a scan: p99 {scan:.3} ms"))?;
    report.line(format!(
        "{:<18}{:>8}{:>10}{:>13}{:>11}{:>11}  {}",
        "filter", "recall", "p99 ms", "no filter ms", "scan ms", "graph ms", "ways"
    ))?;
    for kind in ["near", "scattered", "far"] {
        for part in SELECTIVITIES {
            let filters: Vec<Filter> = queries
                .iter()
                .map(|(cluster, _)| filter(kind, part, &vectors.by_nearness_to(*cluster)))
                .collect();
            measure(&mut report, &snapshot, &format!("{kind} {part}"), (&queries, &filters), &unfiltered)?;
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

/// What a search has found, the least milliseconds without the filter, and how.
struct Run {
    found: HashSet<String>,
    ms: f64,
    plan: Plan,
}

/// Runs each query some times, in turns.
fn run(snapshot: &Snapshot, queries: &[Query]) -> vdb::Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for round in 0..RUNS {
        for (n, query) in queries.iter().enumerate() {
            let found = snapshot.explain(query)?;
            let plan = found.plan;
            let time: Duration = plan.graph_time + plan.codes_time + plan.scan_time;
            let ms = time.as_secs_f64() * 1e3;
            if round == 0 {
                runs.push(Run { found: found.hits.into_iter().map(|hit| hit.id).collect(), ms, plan });
            } else if ms < runs[n].ms {
                runs[n].ms = ms;
                runs[n].plan = plan;
            }
        }
    }
    Ok(runs)
}

fn p99(runs: &[Run]) -> f64 {
    percentile(runs.iter().map(|run| run.ms), 0.99)
}

/// Searches without a filter: the time of the scan, and those by the graph.
struct Unfiltered {
    scan: f64,
    graph: Vec<Query>,
}

/// Runs queries, each before one of the others that is half of them away.
fn in_turns(snapshot: &Snapshot, queries: Vec<Query>, others: &[Query]) -> vdb::Result<(Vec<Run>, Vec<Run>)> {
    let mut others = others.iter().cycle().skip(QUERIES / 2).cloned();
    let turns: Vec<Query> =
        queries.into_iter().flat_map(|query| [Some(query), others.next()]).flatten().collect();
    let (mut runs, mut beside) = (Vec::new(), Vec::new());
    for (n, run) in run(snapshot, &turns)?.into_iter().enumerate() {
        if n % 2 == 0 { runs.push(run) } else { beside.push(run) }
    }
    Ok((runs, beside))
}

type Asked<'a> = (&'a [(usize, Vec<f32>)], &'a [Filter]);

fn measure(
    report: &mut Report,
    snapshot: &Snapshot,
    name: &str,
    (queries, filters): Asked<'_>,
    unfiltered: &Unfiltered,
) -> Result<(), Box<dyn std::error::Error>> {
    let asked = |change: &dyn Fn(Query) -> Query| -> Vec<Query> {
        let one = |((_, vector), filter): (&(usize, Vec<f32>), &Filter)| change(query(vector, Some(filter)));
        queries.iter().zip(filters).map(one).collect()
    };
    let truth = run(snapshot, &asked(&Query::exact))?;
    let turns = |change: &dyn Fn(Query) -> Query| in_turns(snapshot, asked(change), &unfiltered.graph);
    let (free, whole) = turns(&|query| query.recall(RECALL))?;
    let (scan, _) = turns(&|query| query.recall(RECALL).path(SearchPath::Exact))?;
    let (graph, _) = turns(&|query| query.recall(RECALL).path(SearchPath::Graph))?;
    let bound = unfiltered.scan.min(UNFILTERED_MAX * p99(&whole));
    let ways = [free, scan, graph];
    let recalls = ways.each_ref().map(|runs| {
        let part = |(run, truth): (&Run, &Run)| {
            assert_eq!(run.found.len(), truth.found.len(), "never fewer than there are");
            truth.found.intersection(&run.found).count() as f64 / truth.found.len().max(1) as f64
        };
        runs.iter().zip(&truth).map(part).sum::<f64>() / queries.len() as f64
    });
    let taken = |path: &str| ways[0].iter().filter(|run| run.plan.path == path).count();
    let [free, scan, graph] = ways.each_ref().map(|runs| p99(runs));
    report.line(format!(
        "{name:<18}{:>8.4}{free:>10.3}{:>13.3}{scan:>11.3}{graph:>11.3}  exact {}, codes {}, graph {}",
        recalls[0],
        p99(&whole),
        taken("exact"),
        taken("codes"),
        taken("hnsw")
    ))?;
    report.at_least(&format!("{name}: recall"), recalls[0], RECALL_MIN);
    let better = if recalls[2] >= RECALL_MIN { scan.min(graph) } else { scan };
    report.at_most(&format!("{name}: p99 / better way"), free / better, WORSE_MAX);
    report.at_most(&format!("{name}: p99, ms"), free, bound);
    Ok(())
}
