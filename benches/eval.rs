//! Measures how well texts are found by words, by meaning and by both: nDCG@10 over sets of texts, queries and answers.
//!
//! `make eval DATA="DIRECTORY..." MIN="hybrid=0.885"`: each directory holds `corpus.jsonl`, `queries.jsonl` and `qrels.tsv`. The
//! program imports the texts and answers the queries as it does for everybody. Exit status 1 means that a mode finds less than
//! `MIN` says, or that both together find less on some set than one alone.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode};

use serde_json::Value;

const MODES: [&str; 3] = ["text", "vector", "hybrid"];
const K: &str = "10";
/// So much less than the better of words and vectors may be found by both.
const TOLERANCE: f64 = 0.005;

fn main() -> io::Result<ExitCode> {
    let Some(data) = std::env::var("VDB_EVAL_DATA").ok().filter(|data| !data.trim().is_empty()) else {
        writeln!(io::stderr(), "eval: no data; run `make eval DATA=\"DIRECTORY...\"`")?;
        return Ok(ExitCode::SUCCESS);
    };
    let least = least(&std::env::var("VDB_EVAL_MIN").unwrap_or_default())?;
    let mut out = io::stdout().lock();
    let mut faults: Vec<String> = Vec::new();
    writeln!(
        out,
        "{:<24}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "set", "texts", "queries", "texts/s", "text", "vector", "hybrid"
    )?;
    for data in data.split_whitespace().map(Path::new) {
        let name = data.file_name().unwrap_or_default().to_string_lossy();
        let [text, vector, hybrid] = measured(data, &mut out)?;
        if hybrid < text.max(vector) - TOLERANCE {
            faults.push(format!("{name}: hybrid {hybrid:.4} is below the better of both"));
        }
        for (mode, found) in MODES.into_iter().zip([text, vector, hybrid]) {
            let bound = least.get(mode).copied().unwrap_or(0.0);
            if found < bound {
                faults.push(format!("{name}: {mode} {found:.4}, at least {bound} expected"));
            }
        }
    }
    for fault in &faults {
        writeln!(out, "{fault}")?;
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The bounds in `mode=number,mode=number`.
fn least(text: &str) -> io::Result<HashMap<String, f64>> {
    let bound = |part: &str| {
        let (mode, number) = part.split_once('=').filter(|(mode, _)| MODES.contains(mode))?;
        Some((mode.to_owned(), number.parse().ok()?))
    };
    let parts = text.split([',', ' ']).filter(|part| !part.is_empty());
    parts
        .map(|part| bound(part).ok_or_else(|| io::Error::other(format!("MIN: {part:?} is no bound"))))
        .collect()
}

/// Prints the figures of a set; returns nDCG@10 for each mode.
fn measured(data: &Path, out: &mut impl Write) -> io::Result<[f64; 3]> {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let file = scratch.path().join("eval.vdb");
    let words = ["--text", "on"].map(OsStr::new);
    let import =
        [OsStr::new("import"), file.as_ref(), data.join("corpus.jsonl").as_ref()].map(OsStr::to_owned);
    let imported = vdb(import.iter().map(AsRef::as_ref).chain(words))?;
    let summary =
        imported.iter().rfind(|line| line["type"] == "summary").ok_or(io::ErrorKind::InvalidData)?;
    let number = |key: &str| summary["data"][key].as_f64().unwrap_or(0.0);
    let relevant = relevant(&data.join("qrels.tsv"))?;
    let name = data.file_name().unwrap_or_default().to_string_lossy();
    let speed = number("added") / number("seconds");
    write!(out, "{name:<24}{:>9}{:>9}{speed:>9.1}", number("added"), relevant.len())?;
    let queries = data.join("queries.jsonl");
    let mut found = [0.0; 3];
    for (mode, found) in MODES.into_iter().zip(&mut found) {
        let words = ["--mode", mode, "-k", K, "--queries"].map(OsStr::new);
        let search = [OsStr::new("search"), file.as_ref()].into_iter().chain(words).chain([queries.as_ref()]);
        *found = ndcg(&vdb(search)?, &relevant);
        write!(out, "{found:>9.4}")?;
        out.flush()?;
    }
    writeln!(out)?;
    Ok(found)
}

/// One text answers each query, so that the best possible sum is 1.
fn ndcg(hits: &[Value], relevant: &HashMap<String, String>) -> f64 {
    let right = hits.iter().map(|line| &line["data"]).filter(|hit| {
        let answer = hit["query"].as_str().and_then(|query| relevant.get(query));
        answer.is_some_and(|answer| hit["id"] == answer.as_str())
    });
    let sum: f64 = right.filter_map(|hit| hit["rank"].as_f64()).map(|rank| 1.0 / (rank + 1.0).log2()).sum();
    sum / relevant.len() as f64
}

/// Runs the program, which must succeed; returns the lines that it prints.
fn vdb<'w>(words: impl IntoIterator<Item = &'w OsStr>) -> io::Result<Vec<Value>> {
    let output = Command::new(env!("CARGO_BIN_EXE_vdb")).args(words).arg("--json").output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    String::from_utf8_lossy(&output.stdout).lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// The one answer to each query.
fn relevant(path: &Path) -> io::Result<HashMap<String, String>> {
    let file = std::fs::read_to_string(path)?;
    let pairs = file.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    });
    Ok(pairs.collect())
}
