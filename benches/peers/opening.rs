//! Opening a large store, its first query and those after it, beside a store of 10,000.

use std::path::Path;

use serde_json::json;
use vdb::{IndexKind, OpenOptions, Query};

use crate::common::{Report, median, percentile, time};
use crate::data::Data;
use crate::{Fault, K, ours};

const SMALL_ROWS: usize = 10_000;
const ROUNDS: usize = 15;
const RECALL: f32 = 0.95;
/// Opening a large store takes at most so many times as long as a small one.
const OPEN_RATIO_MAX: f64 = 2.0;
const FIRST_MS_MAX: f64 = 300.0;
const P50_MS_MAX: f64 = 2.0;

/// Measures, and returns what to tell; the bounds go into the report.
pub(crate) fn measure(data: &Data, report: &mut Report) -> Result<Vec<String>, Fault> {
    let (large, small) = (ours::path(data), data.directory.join("small.vdb"));
    make_small(data, &small)?;
    warm(&large)?;
    warm(&small)?;
    let query = |n: usize| Query::vector(data.queries[n % data.queries.len()].clone()).k(K).recall(RECALL);
    let (mut opens, mut firsts) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        for (place, file) in [&large, &small].into_iter().enumerate() {
            let (seconds, store) = time(|| ours::open(file))?;
            opens[place].push(seconds * 1e3);
            let query = query(round);
            let (seconds, _) = time(|| store.search(&query))?;
            firsts[place].push(seconds * 1e3);
            store.close()?;
        }
    }
    let [open, open_small] = opens.map(median);
    let [first, first_small] = firsts.map(median);
    let store = ours::open(&large)?;
    let mut steady = Vec::new();
    for pass in 0..3 {
        for number in 0..data.queries.len() {
            let query = query(number);
            let (seconds, _) = time(|| store.search(&query))?;
            if pass > 0 {
                steady.push(seconds * 1e3);
            }
        }
    }
    let (_, found) = ours::search(&store, data, &json!(0.95), "documents")?;
    let recall = crate::series::recall(&found, &data.truth);
    let at = |part| percentile(steady.iter().copied(), part);
    report.at_most("opening / opening a store of 10,000", open / open_small, OPEN_RATIO_MAX);
    report.at_most("first query, page cache warm, ms", first, FIRST_MS_MAX);
    report.at_most("p50 at recall 0.95, documents fetched, ms", at(0.5), P50_MS_MAX);
    report.at_least("recall found at 0.95", recall, f64::from(RECALL));
    let segments = store.stats()?.segments.len();
    Ok(vec![format!(
        "Opening to read, page cache warm: {open:.2} ms ({} rows in {segments} segments), {open_small:.2} ms (10,000 rows). First \
         query, with the check of what it relies upon: {first:.1} ms and {first_small:.1} ms. After that, asked for a recall of \
         {RECALL}, documents fetched: p50 {:.2} ms, p99 {:.2} ms, recall {recall:.3}.",
        data.rows,
        at(0.5),
        at(0.99),
    )])
}

/// Makes the small store anew: one that is there may be of another program.
fn make_small(data: &Data, small: &Path) -> Result<(), Fault> {
    if small.exists() {
        std::fs::remove_file(small)?;
    }
    let store = OpenOptions::new().index(IndexKind::Hnsw).create(small)?;
    data.for_each_batch(SMALL_ROWS, SMALL_ROWS, |batch| {
        let documents = batch.into_iter().map(|(vector, one)| {
            vdb::Document::new(one["text"].as_str().unwrap_or_default())
                .id(one["id"].as_str().unwrap_or_default())
                .vector(vector)
        });
        store.add(documents)?;
        Ok(())
    })?;
    store.compact(&vdb::Control::new())?;
    Ok(store.close()?)
}

/// Reads a file, so that it is in memory.
fn warm(file: &Path) -> Result<(), Fault> {
    std::io::copy(&mut std::fs::File::open(file)?, &mut std::io::sink())?;
    Ok(())
}
