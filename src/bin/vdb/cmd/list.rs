//! `vdb list`: documents in the order in which they were added, or of a field.

use std::path::PathBuf;

use serde_json::json;
use vdb::SortOrder;

use crate::args::Globals;
use crate::choice::Choice;
use crate::failure::{Exit, Result};
use crate::open;
use crate::output::Output;
use crate::shown::{Extent, Shown};

/// Print documents in the order in which they were added, or of a field
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store
    file: PathBuf,
    #[command(flatten)]
    choice: Choice,
    /// The most documents to print
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Go on after an earlier list, from the cursor that it ended with
    #[arg(long, value_name = "CURSOR")]
    after: Option<u64>,
    /// Print them in the order of a metadata field, greatest first with :desc; those without it come last
    #[arg(long, value_name = "FIELD[:desc]")]
    sort: Option<String>,
    /// Print vectors, too
    #[arg(long)]
    with_vector: bool,
}

/// The field and the order that `--sort` names.
fn order(sort: &str) -> (&str, SortOrder) {
    match sort.strip_suffix(":desc") {
        Some(field) => (field, SortOrder::Descending),
        None => (sort.strip_suffix(":asc").unwrap_or(sort), SortOrder::Ascending),
    }
}

/// Prints the documents, then where to go on.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    let filter = args.choice.filter()?;
    let snapshot = open::to_read(&args.file, globals)?.snapshot()?;
    let mut documents = snapshot.documents().after(args.after.unwrap_or(0));
    if let Some(filter) = &filter {
        documents = documents.filter(filter);
    }
    if let Some(sort) = &args.sort {
        let (field, order) = order(sort);
        documents = documents.sort(field, order);
    }
    if args.with_vector {
        documents = documents.with_vectors();
    }
    let mut left = args.limit.unwrap_or(usize::MAX);
    let next = loop {
        let cursor = documents.cursor();
        let Some(document) = documents.next().transpose()? else { break None };
        if left == 0 {
            break Some(cursor.to_string());
        }
        left -= 1;
        output.document(&document, args.with_vector, Shown(&document, Extent::Line))?;
    };
    if let Some(cursor) = &next {
        output.note(format_args!("there are more: --after {cursor}"));
    }
    output.json("next", &json!({"cursor": next}))?;
    Ok(Exit::Done)
}
