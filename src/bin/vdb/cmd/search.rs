//! `vdb search`: the documents nearest to a text, a vector or a document.

use std::num::NonZero;
use std::path::PathBuf;

use clap::ValueEnum;
use vdb::Query;

use crate::args::Globals;
use crate::ask::Ask;
use crate::choice::Choice;
use crate::failure::{Exit, Failure, Result};
use crate::hits::Found;
use crate::output::Output;
use crate::stores::Stores;

/// Print the documents nearest to a text, a vector or a document
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "vdb search [OPTIONS] <FILE> <QUERY|--vector <JSON>|--like <ID>|--queries <FILE>>"
)]
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
    /// How to search: `vector`, which `auto` is in this version
    #[arg(long, value_name = "MODE", default_value = "auto")]
    mode: Mode,
    #[command(flatten)]
    choice: Choice,
    /// Only documents of at least this score; needs `--mode vector` beside a text
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    min_score: Option<f32>,
    /// Search exactly, whatever `--recall` says: the same as a recall of 1
    #[arg(long)]
    exact: bool,
    /// The part of the true best to find on average, above 0 and up to 1, where segments have an index [default: 0.95]
    #[arg(long, value_name = "F", value_parser = recall)]
    recall: Option<f32>,
    /// Print how each search was done
    #[arg(long)]
    explain: bool,
}

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Auto,
    Vector,
}

fn recall(text: &str) -> std::result::Result<f32, String> {
    match text.parse::<f32>() {
        Ok(recall) if recall > 0.0 && recall <= 1.0 => Ok(recall),
        _ => Err("expected a number above 0 and up to 1".to_owned()),
    }
}

/// Searches, and prints what was found.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    if args.mode == Mode::Auto && args.min_score.is_some() && args.ask.is_open() {
        return Err(Failure::usage("`--min-score` needs `--mode vector`: scores of other modes differ"));
    }
    if args.min_score.is_some_and(f32::is_nan) {
        return Err(Failure::usage("`--min-score` is not a number"));
    }
    let filter = args.choice.filter()?;
    let mut questions = args.ask.questions()?;
    let stores = Stores::open(&args.file, &args.with, globals)?;
    let recall = if args.exact { Some(1.0) } else { args.recall };
    let shape = |query: Query| {
        let query = recall.into_iter().fold(query, Query::recall);
        let query = filter.iter().fold(query.k(args.k.get()), |query, filter| query.filter(filter.clone()));
        args.min_score.into_iter().fold(query, Query::min_score)
    };
    let mut nothing = false;
    loop {
        let batch = questions.batch(&mut || stores.model())?;
        if batch.is_empty() {
            return Ok(globals.verdict(nothing));
        }
        for question in &batch {
            output.go_on()?;
            let mut answer = stores.search(&question.target, &shape)?;
            // Of several stores each has found so many.
            answer.hits.truncate(args.k.get());
            let query = question.name.as_deref();
            if args.explain {
                output.result("plan", &answer.plans.data(query), &answer.plans)?;
            }
            if answer.hits.is_empty() {
                nothing = true;
                output.note("nothing found");
            }
            for (n, (store, hit)) in answer.hits.iter().enumerate() {
                let found = Found { rank: n + 1, hit, query, file: stores.name(*store) };
                output.result("hit", &found.data(), &found)?;
            }
        }
    }
}
