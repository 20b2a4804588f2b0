//! Measures filters that the index over metadata answers, on a million documents.

mod common;

use common::{Outcome, Report, directory, median, mib, percentile, time};
use vdb::{CheckLevel, Control, Document, Filter, Mode, Query, Store};

const DOCUMENTS: u64 = 1_000_000;
const BATCH: u64 = 100_000;
/// Different values of the field `rank`.
const RANKS: u64 = 1_000;
const ROUNDS: usize = 31;
/// The most milliseconds of a count.
const COUNT_MS_MAX: f64 = 5.0;

/// A document without vector, with metadata of some usual shapes.
fn document(number: u64) -> Document {
    let metadata = format!(
        r#"{{"year":{},"language":"{}","rank":{},"page":{number},"source":"shelf-{}"}}"#,
        1990 + number % 35,
        ["en", "ko", "de"][usize::try_from(number % 3).unwrap_or(0)],
        number * 7_919 % RANKS,
        number / 50,
    );
    Document::new("amber basalt cedar")
        .id(common::id(number))
        .metadata_json(&metadata)
        .expect("it is a JSON object")
}

/// Prints the times of a count; returns the median in milliseconds.
fn count(
    report: &Report,
    store: &Store,
    json: &str,
    expected: u64,
) -> Result<f64, Box<dyn std::error::Error>> {
    let filter = Filter::from_json(json)?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let (seconds, found) = time(|| store.snapshot()?.count_where(&filter))?;
        if found != expected {
            return Err(format!("{json}: {expected} expected, {found} found").into());
        }
        times.push(seconds * 1e3);
    }
    let (first, p99) = (times[0], percentile(times.iter().copied(), 0.99));
    let median = median(times);
    report.line(format!("{json:<58}{expected:>10}{first:>10.2}{median:>10.2}{p99:>10.2}"))?;
    Ok(median)
}

/// As [`count`]; and that no document was read.
fn count_by_index(
    report: &Report,
    store: &Store,
    json: &str,
    expected: u64,
) -> Result<f64, Box<dyn std::error::Error>> {
    let query = Query::text("amber").mode(Mode::Text).k(0).filter(Filter::from_json(json)?);
    let plan = store.snapshot()?.explain(&query)?.plan;
    if (plan.filter_path, plan.allowed) != ("index", expected) {
        return Err(format!("{json}: {} allowed by {}", plan.allowed, plan.filter_path).into());
    }
    count(report, store, json, expected)
}

fn main() -> Outcome {
    let mut report = Report::default();
    let directory = directory()?;
    let path = directory.path().join("filter.vdb");
    let store = Store::create(&path)?;
    let (seconds, ()) = time(|| {
        (0..DOCUMENTS / BATCH)
            .try_for_each(|n| store.add((n * BATCH..(n + 1) * BATCH).map(document)).map(drop))
    })?;
    store.close()?;
    let bytes = std::fs::metadata(&path)?.len();
    report.line(format!(
        "{DOCUMENTS} documents without vectors, five fields, loaded in {seconds:.0} s, {:.0} MiB",
        mib(bytes)
    ))?;
    let store = vdb::OpenOptions::new().read_only(true).open(&path)?;
    report
        .line(format!("{:<58}{:>10}{:>10}{:>10}{:>10}", "count, ms", "matches", "first", "median", "p99"))?;
    let of_year = |year: u64| (0..DOCUMENTS).filter(|n| n % 35 == year - 1990).count() as u64;
    let equal = [
        count_by_index(&report, &store, r#"{"year":2000}"#, of_year(2000))?,
        count_by_index(&report, &store, r#"{"language":"en"}"#, DOCUMENTS.div_ceil(3))?,
        count_by_index(&report, &store, r#"{"rank":77}"#, DOCUMENTS / RANKS)?,
        count_by_index(&report, &store, r#"{"page":123456}"#, 1)?,
        count_by_index(&report, &store, r#"{"source":"shelf-4321"}"#, 50)?,
    ];
    let each = DOCUMENTS / RANKS;
    let ranges = [
        count_by_index(&report, &store, r#"{"rank":{"$gte":0}}"#, DOCUMENTS)?,
        count_by_index(&report, &store, r#"{"rank":{"$gte":100,"$lt":900}}"#, 800 * each)?,
        count_by_index(
            &report,
            &store,
            r#"{"year":{"$gt":2000,"$lte":2010}}"#,
            (2001..2011).map(of_year).sum(),
        )?,
        count_by_index(&report, &store, r#"{"page":{"$gte":5000,"$lt":6000}}"#, 1000)?,
    ];
    // Without bounds: sets of rows are made, or every value is looked at.
    count(&report, &store, r#"{"rank":{"$ne":77}}"#, DOCUMENTS - each)?;
    count(&report, &store, r#"{"year":{"$gt":1995},"page":{"$lt":350000}}"#, 290_000)?;
    count(&report, &store, r#"{"page":{"$gte":500000}}"#, DOCUMENTS - 500_000)?;
    count(&report, &store, r#"{"source":{"$regex":"777$"}}"#, 20 * 50)?;
    let slowest = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    report.at_most("count by equality, slowest median, ms", slowest(&equal), COUNT_MS_MAX);
    report.at_most(
        "count by ranges of at most 1,000 values, slowest median, ms",
        slowest(&ranges),
        COUNT_MS_MAX,
    );
    let (seconds, damage) = time(|| store.check(CheckLevel::Deep, &Control::new()))?;
    if !damage.is_ok() {
        return Err(format!("{:?}", damage.damage).into());
    }
    report.line(format!("check --deep: {seconds:.1} s"))?;
    report.finish()
}
