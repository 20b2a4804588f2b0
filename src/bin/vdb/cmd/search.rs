//! `vdb search`: the documents nearest to a text, a vector or a document.

use std::num::NonZero;
use std::path::PathBuf;

use clap::ValueEnum;
use vdb::{Filter, Hit, Snapshot};

use crate::args::Globals;
use crate::ask::{Ask, Question};
use crate::choice::Choice;
use crate::failure::{Exit, Failure, Result};
use crate::hits::{Found, Plans};
use crate::output::Output;
use crate::stores::Stores;

/// Print the documents nearest to a text, a vector or a document
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store
    file: PathBuf,
    #[command(flatten)]
    ask: Ask,
    /// Another store to search as one with the first; may be repeated
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// How many documents
    #[arg(short, value_name = "K", default_value = "10")]
    k: NonZero<usize>,
    /// How to search: `vector`, which `auto` is in this version; not yet `text` and `hybrid`
    #[arg(long, value_name = "MODE", default_value = "auto")]
    mode: Mode,
    #[command(flatten)]
    choice: Choice,
    /// Only documents of at least this score; needs `--mode vector` beside a text
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    min_score: Option<f32>,
    /// Search exactly, as this version always does
    #[arg(long)]
    exact: bool,
    /// The least part of the true best to find, up to 1
    #[arg(long, value_name = "F", value_parser = recall)]
    recall: Option<f64>,
    /// Print how each search was done
    #[arg(long)]
    explain: bool,
}

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Auto,
    Vector,
    #[value(hide = true)]
    Text,
    #[value(hide = true)]
    Hybrid,
}

fn recall(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(recall) if recall > 0.0 && recall <= 1.0 => Ok(recall),
        _ => Err("expected a number above 0 and up to 1".to_owned()),
    }
}

/// Searches, and prints what was found.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    match args.mode {
        Mode::Text | Mode::Hybrid => return Err(Failure::later("--mode text` and `--mode hybrid")),
        Mode::Auto if args.min_score.is_some() && args.ask.is_open() => {
            return Err(Failure::usage("`--min-score` needs `--mode vector`: scores of other modes differ"));
        }
        Mode::Auto | Mode::Vector => {}
    }
    if args.min_score.is_some_and(f32::is_nan) {
        return Err(Failure::usage("`--min-score` is not a number"));
    }
    let filter = args.choice.filter()?;
    let mut questions = args.ask.questions()?;
    let stores = Stores::open(&args.file, &args.with, globals)?;
    let snapshots: Vec<&Snapshot> = stores.snapshots();
    let mut nothing = false;
    loop {
        let batch = questions.batch(&mut || stores.model())?;
        if batch.is_empty() {
            return Ok(globals.verdict(nothing));
        }
        for question in &batch {
            output.go_on()?;
            let hits = search(args, filter.as_ref(), question, &snapshots, output)?;
            if hits.is_empty() {
                nothing = true;
                output.note("nothing found");
            }
            for (n, (store, hit)) in hits.iter().enumerate() {
                let (query, file) = (question.name.as_deref(), stores.name(*store));
                let found = Found { rank: n + 1, hit, query, file };
                output.result("hit", &found.data(), &found)?;
            }
        }
    }
}

/// The best hits of all stores, each with the place of its store.
fn search(
    args: &Args,
    filter: Option<&Filter>,
    question: &Question,
    snapshots: &[&Snapshot],
    output: &mut Output,
) -> Result<Vec<(usize, Hit)>> {
    let (mut hits, mut plans) = (Vec::new(), Plans::default());
    let queries = question.target.queries(snapshots)?.unwrap_or_default();
    for (store, (mut query, snapshot)) in queries.into_iter().zip(snapshots).enumerate() {
        query = query.k(args.k.get());
        if let Some(filter) = filter {
            query = query.filter(filter.clone());
        }
        if let Some(score) = args.min_score {
            query = query.min_score(score);
        }
        let found = snapshot.explain(&query)?;
        plans.0.push(found.plan);
        hits.extend(found.hits.into_iter().map(|hit| (store, hit)));
    }
    // Stable: of equal hits those of the first store come first.
    hits.sort_by(|(_, a), (_, b)| b.score.total_cmp(&a.score));
    hits.truncate(args.k.get());
    let name = question.name.as_deref();
    if args.explain {
        output.result("plan", &plans.data(name), &plans)?;
    }
    Ok(hits)
}
