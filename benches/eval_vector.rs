//! Measures how well texts are found by meaning: nDCG@10 over a set of texts, queries and the texts that answer them.
//!
//! `make eval-vector DATA=directory`, which holds `corpus.jsonl`, `queries.jsonl` and `qrels.tsv`. The program imports the
//! texts and answers the queries as it does for everybody. Exit status 1 means that it finds less than [`NDCG_MIN`], which
//! holds for the descriptions of 5,000 Debian packages.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode};

use serde_json::Value;

const NDCG_MIN: f64 = 0.811;
const K: &str = "10";

fn main() -> io::Result<ExitCode> {
    let Some(data) = std::env::var_os("VDB_EVAL_DATA").filter(|data| !data.is_empty()) else {
        writeln!(io::stderr(), "eval_vector: no data; run `make eval-vector DATA=directory`")?;
        return Ok(ExitCode::SUCCESS);
    };
    let data = Path::new(&data);
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let file = scratch.path().join("eval.vdb");
    let imported = vdb([OsStr::new("import"), file.as_ref(), data.join("corpus.jsonl").as_ref()])?;
    let summary =
        imported.iter().rfind(|line| line["type"] == "summary").ok_or(io::ErrorKind::InvalidData)?;
    let queries = data.join("queries.jsonl");
    let words = ["--mode", "vector", "-k", K, "--queries"].map(OsStr::new);
    let search = [OsStr::new("search"), file.as_ref()].into_iter().chain(words).chain([queries.as_ref()]);
    let hits = vdb(search)?;
    let relevant = relevant(&data.join("qrels.tsv"))?;
    // One text answers each query, so that the best possible sum is 1.
    let found = hits.iter().map(|line| &line["data"]).filter(|hit| {
        let answer = hit["query"].as_str().and_then(|query| relevant.get(query));
        answer.is_some_and(|answer| hit["id"] == answer.as_str())
    });
    let sum: f64 = found.filter_map(|hit| hit["rank"].as_f64()).map(|rank| 1.0 / (rank + 1.0).log2()).sum();
    let ndcg = sum / relevant.len() as f64;
    let mut out = io::stdout().lock();
    let number = |key: &str| summary["data"][key].as_f64().unwrap_or(0.0);
    let (texts, parts, seconds) = (number("added"), number("parts"), number("seconds"));
    writeln!(out, "{texts} texts in {parts} parts in {seconds:.1} s, {:.1} texts/s", texts / seconds)?;
    writeln!(out, "nDCG@{K} over {} queries: {ndcg:.4}, at least {NDCG_MIN}", relevant.len())?;
    Ok(if ndcg >= NDCG_MIN { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
