//! Measures how well texts are found by meaning: nDCG@10 over a set of texts, queries and the texts that answer them.
//!
//! `make eval-vector DATA=directory`, which holds `corpus.jsonl`, `queries.jsonl` and `qrels.tsv`. Exit status 1 means
//! that the default model, exact search and texts cut at its limit find less than [`NDCG_MIN`], which holds for the
//! descriptions of 5,000 Debian packages.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use vdb::embed::{Chunking, DEFAULT_MODEL, LoadOptions, Models};
use vdb::{Document, OpenOptions, Query};

const NDCG_MIN: f64 = 0.811;
const K: usize = 10;

fn main() -> io::Result<ExitCode> {
    let Some(data) = std::env::var_os("VDB_EVAL_DATA").filter(|data| !data.is_empty()) else {
        writeln!(io::stderr(), "eval_vector: no data; run `make eval-vector DATA=directory`")?;
        return Ok(ExitCode::SUCCESS);
    };
    let data = Path::new(&data);
    let models = Models::of_user().map_err(io::Error::other)?;
    let options = LoadOptions::new().chunking(Chunking::Off);
    let model = Arc::new(options.load(&models, DEFAULT_MODEL).map_err(io::Error::other)?);
    let store = OpenOptions::new().embedder(model).in_memory().map_err(io::Error::other)?;
    let start = Instant::now();
    let corpus = texts(&data.join("corpus.jsonl"))?;
    let documents = corpus.into_iter().map(|(id, text)| Document::new(text).id(id));
    let report = store.add(documents).map_err(io::Error::other)?;
    let seconds = start.elapsed().as_secs_f64();
    let relevant = relevant(&data.join("qrels.tsv"))?;
    let queries = texts(&data.join("queries.jsonl"))?;
    let mut sum = 0.0;
    for (id, text) in &queries {
        let hits = store.search(&Query::text(text.as_str()).k(K)).map_err(io::Error::other)?;
        let wanted = relevant.get(id).ok_or_else(|| io::Error::other(format!("query {id} has no answer")))?;
        // One text answers each query, so that the best possible sum is 1.
        let rank = hits.iter().position(|hit| hit.id == *wanted);
        sum += rank.map_or(0.0, |rank| 1.0 / (rank as f64 + 2.0).log2());
    }
    let ndcg = sum / queries.len() as f64;
    let mut out = io::stdout().lock();
    let (texts, rate) = (report.ids.len(), report.ids.len() as f64 / seconds);
    writeln!(out, "{texts} texts in {seconds:.1} s, {rate:.1} texts/s, {} truncated", report.truncated)?;
    writeln!(out, "nDCG@{K} over {} queries: {ndcg:.4}, at least {NDCG_MIN}", queries.len())?;
    Ok(if ndcg >= NDCG_MIN { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The ids and texts of a file of JSON lines.
fn texts(path: &Path) -> io::Result<Vec<(String, String)>> {
    let file = std::fs::read_to_string(path)?;
    file.lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line)?;
            let field = |key: &str| {
                value
                    .get(key)
                    .and_then(Value::as_str)
                    .map(str::to_owned)
                    .ok_or_else(|| io::Error::other(key.to_owned()))
            };
            Ok((field("id")?, field("text")?))
        })
        .collect()
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
