//! `vdb search`: the documents nearest to a text, a vector or a document.

use std::num::NonZero;
use std::path::PathBuf;

use clap::ValueEnum;
use vdb::{Filter, Fusion, Mode, Query};

use crate::args::Globals;
use crate::ask::Ask;
use crate::choice::Choice;
use crate::failure::{Exit, Failure, Result};
use crate::hits::{Found, PlanData};
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
    /// How many documents; with 0 there are no hits
    #[arg(short, value_name = "K", default_value = "10")]
    k: usize,
    /// What to compare by: `auto` is `hybrid` for a text where the store has both, else what it has
    #[arg(long, value_name = "MODE", default_value = "auto")]
    mode: SearchMode,
    #[command(flatten)]
    choice: Choice,
    /// Only documents of at least this score; beside a text needs `--mode vector` or `--mode text`
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    min_score: Option<f32>,
    /// Only documents with a part whose vector has at least this cosine with the query's, from -1 to 1
    #[arg(long, value_name = "F", allow_negative_numbers = true, value_parser = cosine)]
    min_cosine: Option<f32>,
    /// Search exactly, whatever `--recall` says: the same as a recall of 1
    #[arg(long)]
    exact: bool,
    /// The part of the true best to find on average, above 0 and up to 1, where segments have an index [default: 0.95]
    #[arg(long, value_name = "F", value_parser = recall)]
    recall: Option<f32>,
    /// Choose documents that are near the query and not near each other (maximal marginal relevance)
    #[arg(long)]
    mmr: bool,
    /// How much nearness counts beside diversity, from 0 to 1 [default: 0.5]
    #[arg(long, value_name = "F", requires = "mmr", value_parser = part)]
    lambda: Option<f64>,
    /// Among how many of the best documents to choose [default: 20, or K if that is more]
    #[arg(long, value_name = "N", requires = "mmr")]
    fetch_k: Option<NonZero<usize>>,
    /// How the rankings of a hybrid search become one
    #[arg(long, value_name = "HOW", default_value = "weighted")]
    fusion: FusionKind,
    /// How much words count in a hybrid search, from 0 to 1 [default: as the query demands]
    #[arg(long, value_name = "F", value_parser = part)]
    text_weight: Option<f64>,
    /// Print how each search was done
    #[arg(long)]
    explain: bool,
}

/// What to compare by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SearchMode {
    Auto,
    Vector,
    Text,
    Hybrid,
}

/// How two rankings become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FusionKind {
    Weighted,
    Rrf,
}

impl From<SearchMode> for Mode {
    fn from(mode: SearchMode) -> Self {
        match mode {
            SearchMode::Auto => Mode::Auto,
            SearchMode::Vector => Mode::Vector,
            SearchMode::Text => Mode::Text,
            SearchMode::Hybrid => Mode::Hybrid,
        }
    }
}

fn recall(text: &str) -> std::result::Result<f32, String> {
    match text.parse::<f32>() {
        Ok(recall) if recall > 0.0 && recall <= 1.0 => Ok(recall),
        _ => Err("expected a number above 0 and up to 1".to_owned()),
    }
}

fn part(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(part) if (0.0..=1.0).contains(&part) => Ok(part),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

fn cosine(text: &str) -> std::result::Result<f32, String> {
    match text.parse::<f32>() {
        Ok(cosine) if (-1.0..=1.0).contains(&cosine) => Ok(cosine),
        _ => Err("expected a number from -1 to 1".to_owned()),
    }
}

impl Args {
    /// A query with what the flags say of all of them.
    fn shaped(&self, query: Query, filter: Option<&Filter>) -> Query {
        let fusion = match self.fusion {
            FusionKind::Weighted => Fusion::Weighted,
            FusionKind::Rrf => Fusion::Ranks,
        };
        let recall = if self.exact { Some(1.0) } else { self.recall };
        let query = query.mode(self.mode.into()).k(self.k).fusion(fusion);
        let query = recall.into_iter().fold(query, Query::recall);
        let query = filter.into_iter().cloned().fold(query, Query::filter);
        let query = self.min_score.into_iter().fold(query, Query::min_score);
        let query = self.min_cosine.into_iter().fold(query, Query::min_cosine);
        let query = self.text_weight.into_iter().fold(query, Query::text_weight);
        if !self.mmr {
            return query;
        }
        let query = query.diverse(self.lambda.unwrap_or(0.5));
        self.fetch_k.into_iter().fold(query, |query, fetch_k| query.fetch_k(fetch_k.get()))
    }

    /// Whether texts need vectors, whatever the store has.
    fn needs_vectors(&self) -> bool {
        matches!(self.mode, SearchMode::Vector | SearchMode::Hybrid) || self.mmr || self.min_cosine.is_some()
    }

    fn check(&self) -> Result<()> {
        let is_one = matches!(self.mode, SearchMode::Vector | SearchMode::Text);
        if self.min_score.is_some() && self.ask.is_open() && !is_one {
            let message =
                "`--min-score` needs `--mode vector` or `--mode text`: scores of other modes differ";
            return Err(Failure::usage(message));
        }
        if self.min_score.is_some_and(f32::is_nan) {
            return Err(Failure::usage("`--min-score` is not a number"));
        }
        Ok(())
    }
}

/// Searches, and prints what was found.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    args.check()?;
    let filter = args.choice.filter()?;
    let mut questions = args.ask.questions()?;
    let stores = Stores::open(&args.file, &args.with, globals)?;
    questions.within(stores.budget());
    let mut nothing = false;
    loop {
        let batch = questions.batch()?;
        if batch.is_empty() {
            return Ok(globals.verdict(nothing));
        }
        let mut queries: Vec<Query> =
            batch.iter().map(|question| args.shaped(question.query.clone(), filter.as_ref())).collect();
        // Words need no model.
        let is_asked = args.mode != SearchMode::Text || args.needs_vectors();
        if is_asked && batch.iter().any(|question| question.is_text) {
            stores.embed(&mut queries, args.needs_vectors())?;
        }
        for (question, query) in batch.iter().zip(&queries) {
            output.go_on()?;
            nothing |= !answer(question.name.as_deref(), query, args.explain, &stores, output)?;
        }
    }
}

/// Answers one query. Returns whether anything was found.
fn answer(
    name: Option<&str>,
    query: &Query,
    explain: bool,
    stores: &Stores,
    output: &mut Output,
) -> Result<bool> {
    let found = stores.together()?.explain(query)?;
    if explain {
        let plan = PlanData { plan: &found.plan, query: name };
        output.result("plan", &plan.data(), &plan)?;
    }
    if found.hits.is_empty() {
        output.note("nothing found");
        return Ok(false);
    }
    let best = found.hits.iter().map(|hit| hit.score).fold(f32::NEG_INFINITY, f32::max);
    for (n, (hit, source)) in found.hits.iter().zip(&found.sources).enumerate() {
        let found = Found {
            rank: n + 1,
            hit,
            best: output.is_styled().then_some(best),
            highlights: stores.highlights(*source, query, hit)?,
            query: name,
            file: stores.name(*source),
        };
        output.result("hit", &found.data(), &found)?;
    }
    Ok(true)
}
