//! Measures filtered searches by an index against the two ways forced, whatever a filter has to do with the query.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod common;

use std::collections::HashSet;
use std::num::NonZero;
use std::time::{Duration, Instant};

use common::{Clusters, Outcome, Random, Report, by_vectors, directory, percentile};
use vdb::{Control, Document, Filter, OpenOptions, Query, SearchPath, Snapshot};

const ROWS: usize = 100_000;
const DIM: usize = 384;
const CLUSTERS: usize = 300;
const QUERIES: usize = 20;
/// Of so many runs of a search the fastest counts: what is measured is the way, not what else the machine does. Between two
/// of them are all other queries, so that none finds in the caches what it left there; and searches with a filter take turns with
/// those without one that they are compared with, so that each finds what the other left.
const RUNS: usize = 7;
/// Short searches run more often, until they have taken so long together, or so often.
const ENOUGH: Duration = Duration::from_millis(500);
const RUNS_MAX: usize = 100;
const RECALL: f32 = 0.99;
const RECALL_MIN: f64 = 0.99;
/// The part of the rows that a filter leaves.
const SELECTIVITIES: [f64; 9] = [0.5, 0.25, 0.1, 0.05, 0.02, 0.01, 0.002, 0.001, 0.0001];
/// How much slower than the better of the two ways a search may be.
const WORSE_MAX: f64 = 1.2;
/// How much slower than a search without a filter by the graph it may be.
const UNFILTERED_MAX: f64 = 5.0;

fn main() -> Outcome {
    let mut report = Report::default();
    let directory = directory()?;
    let path = directory.path().join("filtered.vdb");
    let (mut vectors, scattered) = (Clusters::new(DIM), shuffled());
    let threads = NonZero::new(2).unwrap_or(NonZero::<usize>::MIN);
    let store = OpenOptions::new().threads(threads).create(&path)?;
    store.add((0..ROWS).map(|n| {
        let (cluster, vector) = vectors.next_of();
        let metadata = format!(r#"{{"n":{},"cluster":{cluster}}}"#, scattered[n]);
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
    let scan = p99(&run(&snapshot, &[&whole(SearchPath::Exact)])?[0]);
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

/// The numbers of the rows in an order that has nothing to do with their vectors.
fn shuffled() -> Vec<usize> {
    let (mut numbers, mut random): (Vec<usize>, _) = ((0..ROWS).collect(), Random::new(77));
    for n in (1..ROWS).rev() {
        numbers.swap(n, random.bits() as usize % (n + 1));
    }
    numbers
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

/// What a search has found, the least milliseconds without the filter, and the path.
#[derive(Default)]
struct Run {
    found: HashSet<String>,
    ms: f64,
    path: &'static str,
}

impl Run {
    fn of(snapshot: &Snapshot, query: &Query) -> vdb::Result<Self> {
        let found = snapshot.explain(query)?;
        let plan = found.plan;
        let time = by_vectors(&plan);
        let ids = found.hits.into_iter().map(|hit| hit.id).collect();
        Ok(Run { found: ids, ms: time.as_secs_f64() * 1e3, path: plan.path })
    }

    /// Keeps the faster of two.
    fn fall_to(&mut self, other: Run) {
        if self.path.is_empty() || other.ms < self.ms {
            *self = other;
        }
    }
}

/// Runs sets of queries some times: the sets in turns, so that what the machine does in between meets all of them, and the
/// queries of each in turns, beginning with another each time.
fn run(snapshot: &Snapshot, sets: &[&[Query]]) -> vdb::Result<Vec<Vec<Run>>> {
    let mut runs: Vec<Vec<Run>> =
        sets.iter().map(|set| set.iter().map(|_| Run::default()).collect()).collect();
    let mut spent = vec![Duration::ZERO; sets.len()];
    for round in 0..RUNS_MAX {
        for ((queries, runs), spent) in sets.iter().zip(&mut runs).zip(&mut spent) {
            if round >= RUNS && *spent > ENOUGH {
                continue;
            }
            let started = Instant::now();
            for n in 0..queries.len() {
                // An even number: queries that were put behind each other stay so.
                let n = (n + round * 6) % queries.len();
                runs[n].fall_to(Run::of(snapshot, &queries[n])?);
            }
            *spent += started.elapsed();
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

/// Puts one of the others, half of them away, behind each query.
fn between(queries: Vec<Query>, others: &[Query]) -> Vec<Query> {
    let mut others = others.iter().cycle().skip(QUERIES / 2).cloned();
    queries.into_iter().flat_map(|query| [Some(query), others.next()]).flatten().collect()
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
    let exact = asked(&Query::exact);
    let truth = exact.iter().map(|query| Run::of(snapshot, query)).collect::<vdb::Result<Vec<_>>>()?;
    let turns = |change: &dyn Fn(Query) -> Query| between(asked(change), &unfiltered.graph);
    let ways = [
        turns(&|query| query.recall(RECALL)),
        turns(&|query| query.recall(RECALL).path(SearchPath::Exact)),
        turns(&|query| query.recall(RECALL).path(SearchPath::Graph)),
    ];
    let mut whole = Vec::new();
    let mut ways = run(snapshot, &ways.each_ref().map(Vec::as_slice))?.into_iter().map(|runs| {
        let (filtered, beside): (Vec<_>, Vec<_>) =
            runs.into_iter().enumerate().partition(|(n, _)| n.is_multiple_of(2));
        let [filtered, beside] =
            [filtered, beside].map(|runs| runs.into_iter().map(|(_, run)| run).collect());
        whole.push(beside);
        filtered
    });
    let mut ways: [Vec<Run>; 3] = std::array::from_fn(|_| ways.next().unwrap_or_default());
    let [free, scan, _] = &mut ways;
    for (free, scan) in free.iter_mut().zip(scan) {
        if free.path == scan.path {
            // The same way: what is between them is chance.
            free.ms = free.ms.min(scan.ms);
            scan.ms = free.ms;
        }
    }
    // Those beside the searches that are measured.
    let whole: Vec<Run> = whole.swap_remove(0);
    let bound = unfiltered.scan.min(UNFILTERED_MAX * p99(&whole));
    let recalls = ways.each_ref().map(|runs| {
        let part = |(run, truth): (&Run, &Run)| {
            assert_eq!(run.found.len(), truth.found.len(), "never fewer than there are");
            truth.found.intersection(&run.found).count() as f64 / truth.found.len().max(1) as f64
        };
        runs.iter().zip(&truth).map(part).sum::<f64>() / queries.len() as f64
    });
    let taken = |path: &str| ways[0].iter().filter(|run| run.path == path).count();
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
