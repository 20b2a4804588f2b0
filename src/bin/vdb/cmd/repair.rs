//! `vdb repair`: makes anew what is damaged and derived from documents and vectors.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};
use vdb::{Damage, RepairMode};

use crate::args::Globals;
use crate::failure::{Exit, Result};
use crate::open;
use crate::output::Output;

/// Make damaged indexes anew from documents and vectors
///
/// No document is discarded, but for what `--discard-log` says.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store
    file: PathBuf,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Open a file whose log is damaged, left by a program that was killed, as it was before the damage: the commits from there
    /// on are lost. Copy the file first
    #[arg(long, conflicts_with = "dry_run")]
    discard_log: bool,
}

/// Repairs, and prints what came of it; exit status 1 if anything is left that is damaged.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    let started = Instant::now();
    let store = if args.dry_run {
        open::to_read(&args.file, globals)?
    } else {
        let options = open::options(globals).discard_damaged_log(args.discard_log);
        open::with_options(&options, &args.file, globals, output)?
    };
    let mode = if args.dry_run { RepairMode::DryRun } else { RepairMode::Repair };
    let control = output.control();
    let report = store.repair(mode, &control)?;
    drop(control);
    store.close()?;
    let damage = |damage: &[Damage]| -> Vec<Value> {
        damage.iter().map(|it| json!({"what": it.what, "detail": it.detail})).collect()
    };
    let data = json!({
        "dry_run": args.dry_run, "documents": report.documents, "unreadable": report.unreadable,
        "text_index": report.text, "metadata_index": report.metadata, "indexes": report.indexes,
        "discarded_log": report.discarded_log, "found": damage(&report.found), "left": damage(&report.left), "seconds": started.elapsed().as_secs_f64(),
    });
    let mut parts = Vec::new();
    parts.extend(report.text.then(|| "the text index".to_owned()));
    parts.extend(report.metadata.then(|| "the index over metadata".to_owned()));
    parts.extend((report.indexes > 0).then(|| super::counted(report.indexes, "index of a segment")));
    let renewed = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
    let does = if args.dry_run { "would make anew" } else { "made anew" };
    let text = format!("{}: {does}: {renewed}; {} damaged before", args.file.display(), report.found.len());
    let left = if args.dry_run || report.left.is_empty() {
        String::new()
    } else {
        format!(", {} still: only a backup brings that back", report.left.len())
    };
    let lost = report.discarded_log.as_ref();
    let lost = lost.map_or(String::new(), |detail| format!("; commits of the log are lost: {detail}"));
    output.result("summary", &data, text + &left + &lost)?;
    Ok(if args.dry_run || report.left.is_empty() { Exit::Done } else { Exit::Failed })
}
