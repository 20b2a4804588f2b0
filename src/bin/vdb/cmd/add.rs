//! `vdb add`: documents from the command line or from JSON Lines, in one transaction.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use vdb::CommitReport;

use crate::args::Globals;
use crate::destination::{Cutting, Destination};
use crate::failure::{Exit, Result};
use crate::making::Making;
use crate::merging;
use crate::output::Output;
use crate::source::{Source, add};

/// Add documents, or replace those of the same id; makes FILE when there is none
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store
    file: PathBuf,
    /// The texts; `-` alone reads documents from standard input, as JSON Lines {id, text, metadata, vector}
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
    /// The id of a text, in their order [default: a fresh UUID]; may be repeated
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
    /// The metadata of the texts: a JSON object, or `@FILE`
    #[arg(long, value_name = "JSON")]
    meta: Option<String>,
    /// Refuse to make FILE
    #[arg(long)]
    no_create: bool,
    #[command(flatten)]
    cutting: Cutting,
    #[command(flatten)]
    making: Making,
}

/// Adds, and prints each document once all are safe, then the sum.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    let started = Instant::now();
    let mut source = Source::new(&args.texts, &args.ids, args.meta.as_deref())?;
    // What cannot be is said before anything is read or made.
    let to = Destination::find(&args.file, !args.no_create, &args.making, &args.cutting, globals)?;
    if let Some(lines) = source.lines() {
        lines.within(to.budget()?);
    }
    let mut batch = source.batch()?;
    to.rehearse(|store| add(&mut store.write()?, &batch, &to.model, &source).map(drop))?;
    let store = to.open(output)?;
    let mut txn = store.write()?;
    let control = output.control();
    txn.control(&control);
    let mut bare = 0;
    while !batch.is_empty() {
        bare += add(&mut txn, &batch, &to.model, &source)?;
        output.go_on()?;
        batch = source.batch()?;
    }
    let report = txn.commit()?;
    drop(control);
    merging::merge(&store, report.parts, output);
    let finds_words = store.snapshot()?.has_text_index();
    store.close()?;
    if bare > 0 {
        let texts = super::counted(bare, "text");
        let found = if finds_words {
            "`search` finds such documents by their words alone"
        } else {
            "`get`, `list` and filters find such documents, `search` does not"
        };
        output.warning(format_args!("{texts} without a vector, for the store has no model: {found}"));
    }
    print(&report, started, output)?;
    Ok(Exit::Done)
}

fn print(report: &CommitReport, started: Instant, output: &mut Output) -> Result<()> {
    // Of an id given twice the last document is the one that was added.
    let last: HashMap<&String, usize> = report.ids.iter().enumerate().map(|(n, id)| (id, n)).collect();
    for (n, (id, parts)) in report.ids.iter().zip(&report.part_counts).enumerate() {
        if last.get(id) == Some(&n) {
            output.result("added", &json!({"id": id, "parts": parts}), format_args!("added {id}"))?;
        }
    }
    let data = json!({
        "added": report.added, "updated": report.updated, "skipped": report.skipped, "parts": report.parts,
        "truncated": report.truncated, "duplicates": report.duplicates, "seconds": started.elapsed().as_secs_f64(),
    });
    let mut text = format!(
        "{} added, {} updated, {}",
        super::counted(report.added, "document"),
        report.updated,
        super::counted(report.parts, "part")
    );
    if let Some(id) = report.duplicates.first() {
        let ids = report.duplicates.len();
        let _ = write!(text, "; {ids} given again, first {id:?}: the last of an id counts");
    }
    output.result("summary", &data, text)
}
