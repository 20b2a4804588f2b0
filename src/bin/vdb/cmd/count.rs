//! `vdb count`: how many documents there are, or match.

use std::path::PathBuf;

use serde_json::json;

use crate::args::Globals;
use crate::choice::Choice;
use crate::failure::{Exit, Failure, Result};
use crate::open;
use crate::output::Output;

/// Print how many documents there are, or match
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store
    file: PathBuf,
    #[command(flatten)]
    choice: Choice,
    /// Count by the values of a field; not in this version
    #[arg(long, value_name = "FIELD", hide = true)]
    by: Option<String>,
}

/// Counts.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    if args.by.is_some() {
        return Err(Failure::later("--by"));
    }
    let filter = args.choice.filter()?;
    let snapshot = open::to_read(&args.file, globals)?.snapshot()?;
    let count = match filter {
        Some(filter) => snapshot.count_where(&filter)?,
        None => snapshot.count(),
    };
    output.result("count", &json!({"count": count}), count)?;
    Ok(Exit::Done)
}
