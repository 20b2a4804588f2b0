//! Measures filtered searches by an index against the two ways forced, whatever a filter has to do with the query.
//!
//! The 99th percentile is that over the queries, each of which counts with the median of its runs: so it is for every way, and nothing
//! is left out. Two times are taken of a run: all of it, with the evaluation of the filter, as its user waits for it, and that
//! which is spent on vectors. Against the forced ways both are judged: they evaluate the same filter, which
//! may hide what is between the ways. Against the scan of everything all of it is judged. Against the graph without a filter, which
//! evaluates none, that which is spent on vectors is; the bench `filter` has bounds on the evaluation.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod common;

use std::collections::HashSet;
use std::fmt::{self, Display};
use std::num::NonZero;
use std::time::{Duration, Instant};

use common::{Clusters, Outcome, Random, Report, by_vectors, directory, median, percentile};
use vdb::{Control, Document, Filter, OpenOptions, Query, SearchPath, Snapshot};

const ROWS: usize = 100_000;
const DIM: usize = 384;
const CLUSTERS: usize = 300;
const QUERIES: usize = 40;
/// Of so many runs of a search the median counts: what else the machine does is none of the search. Between two
/// of them are all other queries, so that none finds in the caches what it left there; and searches with a filter take turns with
/// those without one that they are compared with, so that each finds what the other left.
const RUNS: usize = 3;
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
    let unfiltered =
        Unfiltered::measure(&mut report, &snapshot, &whole(SearchPath::Exact), whole(SearchPath::Graph))?;
    report.line(format!(
        "{ROWS} x {DIM} clustered, cosine, best 10 at recall {RECALL}; p99 in ms, with the filter and, after a slash, without"
    ))?;
    report.line(format!("without a filter by a scan: {:.3}", unfiltered.scan))?;
    report.line(format!(
        "{:<18}{:>8}{:>16}{:>11}{:>16}{:>16}  {}",
        "filter", "recall", "search", "no filter", "scan", "graph", "ways"
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

/// What a search has found, the path, and the milliseconds of its runs.
#[derive(Default)]
struct Run {
    found: HashSet<String>,
    path: &'static str,
    whole: Vec<f64>,
    vectors: Vec<f64>,
}

impl Run {
    /// Searches once more.
    fn add(&mut self, snapshot: &Snapshot, query: &Query) -> vdb::Result<()> {
        let started = Instant::now();
        let found = snapshot.explain(query)?;
        self.whole.push(started.elapsed().as_secs_f64() * 1e3);
        self.vectors.push(by_vectors(&found.plan).as_secs_f64() * 1e3);
        self.path = found.plan.path;
        self.found = found.hits.into_iter().map(|hit| hit.id).collect();
        Ok(())
    }

    /// Lets each have the runs of both.
    fn share_with(&mut self, other: &mut Run) {
        self.whole.append(&mut other.whole);
        self.vectors.append(&mut other.vectors);
        other.whole.clone_from(&self.whole);
        other.vectors.clone_from(&self.vectors);
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
                runs[n].add(snapshot, &queries[n])?;
            }
            *spent += started.elapsed();
        }
    }
    Ok(runs)
}

/// The 99th percentile over queries of the medians of their runs.
#[derive(Clone, Copy)]
struct P99 {
    /// Of all of a search.
    whole: f64,
    /// Without the filter.
    vectors: f64,
}

impl P99 {
    fn of(runs: &[Run]) -> Self {
        let p99 = |times: fn(&Run) -> &Vec<f64>| {
            percentile(runs.iter().map(|run| median(times(run).iter().copied())), 0.99)
        };
        P99 { whole: p99(|run| &run.whole), vectors: p99(|run| &run.vectors) }
    }

    fn min(self, other: P99) -> Self {
        P99 { whole: self.whole.min(other.whole), vectors: self.vectors.min(other.vectors) }
    }

    /// How many times as long it is, with the filter or without, whichever is more.
    fn ratio(self, other: P99) -> f64 {
        (self.whole / other.whole).max(self.vectors / other.vectors)
    }
}

impl Display for P99 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.3}/{:.3}", self.whole, self.vectors))
    }
}

/// The part of what the truth has that was found, on average.
fn recall(runs: &[Run], truth: &[Run]) -> f64 {
    let part = |(run, truth): (&Run, &Run)| {
        assert_eq!(run.found.len(), truth.found.len(), "never fewer than there are");
        truth.found.intersection(&run.found).count() as f64 / truth.found.len().max(1) as f64
    };
    runs.iter().zip(truth).map(part).sum::<f64>() / truth.len() as f64
}

fn taken(runs: &[Run], path: &str) -> usize {
    runs.iter().filter(|run| run.path == path).count()
}

/// Searches without a filter: the time of the scan, and those by the graph.
struct Unfiltered {
    scan: f64,
    graph: Vec<Query>,
}

impl Unfiltered {
    /// Both have to be what they are taken for.
    fn measure(
        report: &mut Report,
        snapshot: &Snapshot,
        scan: &[Query],
        graph: Vec<Query>,
    ) -> vdb::Result<Self> {
        let truth = run(snapshot, &[scan])?.swap_remove(0);
        let by_graph = run(snapshot, &[&graph])?.swap_remove(0);
        report.at_least("without a filter by a scan: scans", taken(&truth, "exact") as f64, QUERIES as f64);
        report.at_least(
            "without a filter by the graph: graphs",
            taken(&by_graph, "hnsw") as f64,
            QUERIES as f64,
        );
        report.at_least("without a filter by the graph: recall", recall(&by_graph, &truth), RECALL_MIN);
        Ok(Unfiltered { scan: P99::of(&truth).whole, graph })
    }
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
    let mut truth: Vec<Run> = exact.iter().map(|_| Run::default()).collect();
    for (run, query) in truth.iter_mut().zip(&exact) {
        run.add(snapshot, query)?;
    }
    let turns = |change: &dyn Fn(Query) -> Query| between(asked(change), &unfiltered.graph);
    let ways = [
        turns(&|query| query.recall(RECALL)),
        turns(&|query| query.recall(RECALL).path(SearchPath::Exact)),
        turns(&|query| query.recall(RECALL).path(SearchPath::Graph)),
    ];
    let mut beside_all = Vec::new();
    let mut ways = run(snapshot, &ways.each_ref().map(Vec::as_slice))?.into_iter().map(|runs| {
        let (filtered, beside): (Vec<_>, Vec<_>) =
            runs.into_iter().enumerate().partition(|(n, _)| n.is_multiple_of(2));
        let [filtered, beside] =
            [filtered, beside].map(|runs| runs.into_iter().map(|(_, run)| run).collect());
        beside_all.push(beside);
        filtered
    });
    let mut ways: [Vec<Run>; 3] = std::array::from_fn(|_| ways.next().unwrap_or_default());
    let [free, scan, _] = &mut ways;
    for (free, scan) in free.iter_mut().zip(scan).filter(|(free, scan)| free.path == scan.path) {
        // The same search: its runs are runs of both, and what is between them is chance.
        free.share_with(scan);
    }
    // Those beside the searches that are measured.
    let beside: Vec<Run> = beside_all.swap_remove(0);
    let graphs = P99::of(&beside).vectors;
    let recalls = ways.each_ref().map(|runs| recall(runs, &truth));
    let [free, scan, graph] = ways.each_ref().map(|runs| P99::of(runs));
    report.line(format!(
        "{name:<18}{:>8.4}{free:>16}{graphs:>11.3}{scan:>16}{graph:>16}  exact {}, codes {}, graph {}",
        recalls[0],
        taken(&ways[0], "exact"),
        taken(&ways[0], "codes"),
        taken(&ways[0], "hnsw")
    ))?;
    report.at_least(&format!("{name}: recall"), recalls[0], RECALL_MIN);
    let better = if recalls[2] >= RECALL_MIN { scan.min(graph) } else { scan };
    report.at_most(&format!("{name}: p99 / better way"), free.ratio(better), WORSE_MAX);
    report.at_most(&format!("{name}: p99 with the filter, ms"), free.whole, unfiltered.scan);
    report.at_most(&format!("{name}: p99 without it, ms"), free.vectors, UNFILTERED_MAX * graphs);
    Ok(())
}
