//! `vdb get`: documents by their ids.

use std::path::PathBuf;

use serde_json::json;

use crate::args::Globals;
use crate::failure::{Exit, Result};
use crate::given;
use crate::open;
use crate::output::Output;
use crate::shown::{Extent, Shown};

/// Print documents by their ids
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store
    file: PathBuf,
    /// The ids; `-` reads them from standard input, one a line
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Print vectors, too
    #[arg(long)]
    with_vector: bool,
}

/// Prints each document, or that it is missing.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    let snapshot = open::to_read(&args.file, globals)?.snapshot()?;
    let mut missing = 0_usize;
    for id in given::ids(&args.ids)? {
        let id = id?;
        let found = if args.with_vector { snapshot.get_with_vectors(&id)? } else { snapshot.get(&id)? };
        if let Some(document) = found {
            output.document(&document, args.with_vector, Shown(&document, Extent::Whole))?;
        } else {
            missing += 1;
            output.json("missing", &json!({"id": id}))?;
            output.note(format_args!("no document {id:?}"));
        }
    }
    Ok(globals.verdict(missing > 0))
}
