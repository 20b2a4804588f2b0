//! `vdb fields`: which fields the metadata have, and of which types.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;
use vdb::FieldStats;

use crate::args::Globals;
use crate::failure::{Exit, Result};
use crate::open;
use crate::output::Output;
use crate::shown::tame;

use super::counted;

/// Print the fields of the metadata: their types, how many documents have them, how many values there are
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store
    file: PathBuf,
}

/// Prints the fields.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    for field in open::to_read(&args.file, globals)?.snapshot()?.fields()? {
        output.go_on()?;
        let types = types(&field);
        let data = json!({
            "field": field.name, "documents": field.documents, "values": field.values,
            "types": BTreeMap::from(types),
        });
        output.result("field", &data, line(&field, &types))?;
    }
    Ok(Exit::Done)
}

/// In how many documents each type is.
fn types(field: &FieldStats) -> [(&'static str, u64); 5] {
    [
        ("null", field.nulls),
        ("boolean", field.booleans),
        ("number", field.numbers),
        ("string", field.strings),
        ("other", field.others),
    ]
}

fn line(field: &FieldStats, types: &[(&str, u64)]) -> String {
    let types = types.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {count}"));
    format!(
        "{}  {}, {}: {}",
        tame(&field.name),
        counted(field.documents, "document"),
        counted(field.values, "value"),
        types.collect::<Vec<_>>().join(", ")
    )
}
