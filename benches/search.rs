//! Measures searches of a store by its index against exact ones, whole and under filters.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod common;

use std::collections::HashSet;
use std::num::NonZero;
use std::time::Duration;

use common::{Clusters, Outcome, Report, by_vectors, directory, median, percentile, time};
use vdb::{Control, Document, Filter, Hit, IndexKind, OpenOptions, Plan, Query, Snapshot};

const ROWS: usize = 100_000;
const DIM: usize = 384;
const QUERIES: usize = 200;
/// Recalls to ask for, and the least that a run must find: chance takes a little.
const RECALLS: [(f32, f64); 3] = [(0.9, 0.88), (0.95, 0.93), (0.98, 0.965)];
/// How many rows a filter leaves: one in so many.
const FILTERS: [usize; 9] = [2, 4, 10, 20, 50, 100, 1_000, 5_000, 10_000];
/// Scatters what a filter leaves; has no factor in common with the number of rows.
const SCATTER: usize = 61_493;
/// How much faster than the exact search the median search must be, at the usual recall.
const RATIO_MIN: f64 = 4.0;

fn main() -> Outcome {
    let mut report = Report::default();
    let directory = directory()?;
    let path = directory.path().join("search.vdb");
    let mut vectors = Clusters::new(DIM);
    let threads = NonZero::new(2).unwrap_or(NonZero::<usize>::MIN);
    let store = OpenOptions::new().index(IndexKind::Auto).threads(threads).create(&path)?;
    store.add((0..ROWS).map(|n| {
        let document = Document::from_vector(vectors.next_vector()).id(n.to_string());
        document.metadata_json(&format!(r#"{{"n":{}}}"#, n * SCATTER % ROWS)).unwrap_or(Document::new("none"))
    }))?;
    let (seconds, compacted) = time(|| store.compact(&Control::new()))?;
    assert_eq!(compacted.indexes_built, 1);
    report.line(format!("{ROWS} x {DIM} clustered, cosine, best 10, one query at a time, one thread"))?;
    report.line(format!("compaction and index, 2 threads: {seconds:.1} s"))?;
    let measured = store.stats()?.segments.into_iter().flat_map(|segment| segment.recall);
    let curve: Vec<String> = measured
        .map(|point| format!("{}:{:.3} ({:.0})", point.effort, point.recall, point.computed))
        .collect();
    report.line(format!("effort:recall (distances) measured at build: {}", curve.join(" ")))?;
    let queries: Vec<Query> = (0..QUERIES).map(|_| Query::vector(vectors.next_vector())).collect();
    store.close()?;
    let store = OpenOptions::new().read_only(true).open(&path)?;
    let (first, _) = time(|| store.search(&queries[0]))?;
    report.line(format!("first query after opening: {:.1} ms", first * 1e3))?;
    let snapshot = store.snapshot()?;
    report.line(format!("{:<30}{:>10}{:>10}{:>10}{:>10}", "", "p50 ms", "p99 ms", "recall", "by graph"))?;
    let exact = Run::of(&snapshot, queries.iter().map(|query| query.clone().exact()))?;
    exact.print(&report, "exact", &exact)?;
    for (recall, least) in RECALLS {
        let run = Run::of(&snapshot, queries.iter().map(|query| query.clone().recall(recall)))?;
        run.print(&report, &format!("recall {recall}"), &exact)?;
        report.at_least(&format!("recall found at {recall}"), run.recall(&exact), least);
        if recall.to_bits() == 0.95_f32.to_bits() {
            report.at_least("exact / by index, median", exact.part(0.5) / run.part(0.5), RATIO_MIN);
        }
    }
    report.line("filtered, without the time of the filter:")?;
    for one_in in FILTERS {
        let filter = Filter::field("n").lt(ROWS / one_in);
        let filtered = |query: &Query| query.clone().filter(filter.clone());
        let some = &queries[..20];
        let exact = Run::of(&snapshot, some.iter().map(|query| filtered(query).exact()))?;
        let run = Run::of(&snapshot, some.iter().map(filtered))?;
        exact.print(&report, &format!("1 in {one_in}, exact"), &exact)?;
        run.print(&report, &format!("1 in {one_in}"), &exact)?;
        report.at_least(&format!("recall found among 1 in {one_in}"), run.recall(&exact), 0.92);
    }
    report.finish()
}

/// What some searches found, and how.
struct Run {
    found: Vec<(Vec<Hit>, Plan)>,
}

impl Run {
    fn of(snapshot: &Snapshot, queries: impl Iterator<Item = Query>) -> vdb::Result<Self> {
        let mut found = Vec::new();
        for query in queries {
            let explained = snapshot.explain(&query)?;
            found.push((explained.hits, explained.plan));
        }
        Ok(Run { found })
    }

    /// Milliseconds without the filter, below which this part lies.
    fn part(&self, part: f64) -> f64 {
        let times = self.found.iter().map(|(_, plan)| by_vectors(plan) + plan.fetch_time);
        percentile(times.map(|time: Duration| time.as_secs_f64() * 1e3), part)
    }

    fn recall(&self, exact: &Run) -> f64 {
        let ids = |hits: &[Hit]| hits.iter().map(|hit| hit.id.clone()).collect::<HashSet<_>>();
        let (mut found, mut wanted) = (0, 0);
        for ((ours, _), (theirs, _)) in self.found.iter().zip(&exact.found) {
            found += ids(ours).intersection(&ids(theirs)).count();
            wanted += theirs.len();
        }
        found as f64 / wanted as f64
    }

    fn print(&self, report: &Report, name: &str, exact: &Run) -> std::io::Result<()> {
        let by_graph = self.found.iter().filter(|(_, plan)| plan.path == "hnsw").count();
        let compared = median(self.found.iter().map(|(_, plan)| plan.candidates as f64));
        let graph = median(self.found.iter().map(|(_, plan)| plan.graph_time.as_secs_f64() * 1e3));
        report.line(format!(
            "{name:<30}{:>10.3}{:>10.3}{:>10.3}{by_graph:>6}/{} {compared:>8} compared, graph {graph:.3} ms",
            self.part(0.5),
            self.part(0.99),
            self.recall(exact),
            self.found.len()
        ))
    }
}
