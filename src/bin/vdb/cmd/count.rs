//! `vdb count`: how many documents there are, match, or have each value of a field.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use vdb::{Filter, Snapshot};

use crate::args::Globals;
use crate::choice::Choice;
use crate::failure::{Exit, Result};
use crate::open;
use crate::output::Output;
use crate::shown::tame;

/// Print how many documents there are, match, or have each value of a field
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store
    file: PathBuf,
    #[command(flatten)]
    choice: Choice,
    /// Count the documents of each value of a metadata field, the most frequent first
    #[arg(long, value_name = "FIELD")]
    by: Option<String>,
}

/// Counts.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    let filter = args.choice.filter()?;
    let snapshot = open::to_read(&args.file, globals)?.snapshot()?;
    if let Some(field) = &args.by {
        return groups(&snapshot, field, &filter.unwrap_or_default(), output);
    }
    let count = match filter {
        Some(filter) => snapshot.count_where(&filter)?,
        None => snapshot.count(),
    };
    output.result("count", &json!({"count": count}), count)?;
    Ok(Exit::Done)
}

/// One value, verbatim.
#[derive(Serialize)]
struct Group {
    value: Box<RawValue>,
    count: u64,
}

fn groups(snapshot: &Snapshot, field: &str, filter: &Filter, output: &mut Output) -> Result<Exit> {
    for group in snapshot.count_by(field, filter)? {
        output.go_on()?;
        let text = format!("{}  {}", group.count, tame(&group.value));
        let value = RawValue::from_string(group.value).map_err(std::io::Error::other)?;
        output.result("group", &Group { value, count: group.count }, text)?;
    }
    Ok(Exit::Done)
}
