//! `vdb check`: whether a store is whole.

use std::path::PathBuf;

use serde_json::json;
use vdb::{CheckLevel, Error};

use crate::args::Globals;
use crate::failure::{Exit, Failure, Result};
use crate::open;
use crate::output::Output;

/// Verify a store and name everything that is damaged; exit status 1 if anything is
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store
    file: PathBuf,
    /// Verify the checksum of every byte in use, too
    #[arg(long)]
    deep: bool,
}

/// Checks, and prints each damage, then the sum.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    let level = if args.deep { CheckLevel::Deep } else { CheckLevel::Quick };
    let control = output.control();
    let checked = open::to_read(&args.file, globals).and_then(|store| Ok(store.check(level, &control)?)).map(
        |report| {
            (report.objects, report.damage.into_iter().map(|it| (it.what, it.detail)).collect::<Vec<_>>())
        },
    );
    drop(control);
    let (objects, damage) = match checked {
        // Damage that lets nothing be opened is the one thing that was found.
        Err(
            Failure::Store(Error::Corrupt { what, offset, detail })
            | Failure::File { error: Error::Corrupt { what, offset, detail }, .. },
        ) => (1, vec![(what, format!("{detail} (at byte {offset})"))]),
        other => other?,
    };
    for (what, detail) in &damage {
        output.result(
            "damage",
            &json!({"what": what, "detail": detail}),
            format_args!("damaged: {what}: {detail}"),
        )?;
    }
    let sum = json!({"ok": damage.is_empty(), "objects": objects, "damaged": damage.len()});
    let path = args.file.display();
    if damage.is_empty() {
        output.result("check", &sum, format_args!("{path} is sound: {objects} objects checked"))?;
        return Ok(Exit::Done);
    }
    let text = format_args!("{path} is damaged: {} found, {objects} objects checked", damage.len());
    output.result("check", &sum, text)?;
    Ok(Exit::Failed)
}
