//! `vdb import`: many documents from files, in durable batches.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Instant;

use clap::ValueEnum;
use serde_json::json;
use vdb::{Committed, ConflictPolicy, ExtraKeys, Import, ImportFormat, ImportSummary, JsonFields, OnError};

use crate::args::Globals;
use crate::destination::{Cutting, Destination};
use crate::failure::{Exit, Result};
use crate::making::Making;
use crate::output::Output;
use crate::resident::{Watch, resident};

/// Load many documents; makes FILE when there is none. Run it again after an interruption: it goes on
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The store
    file: PathBuf,
    /// JSON Lines files, directories of `.txt` and `.md` files, or arrays of NumPy with a vector a row
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// What the sources are; beside an array X.npy, X.jsonl may have a line a row with its id, text and metadata
    #[arg(long, default_value = "auto")]
    format: Format,
    /// What happens to a document whose id exists with another content
    #[arg(long, default_value = "replace", value_name = "POLICY")]
    on_conflict: Conflict,
    /// What happens at a document that cannot be read or added: `stop`, `skip`, or `file=PATH`, which collects it
    #[arg(long, default_value = "stop", value_name = "POLICY", value_parser = on_error)]
    on_error: OnError,
    /// The key of the text in JSON
    #[arg(long, default_value = "text", value_name = "KEY")]
    text_field: String,
    /// The key of the id in JSON
    #[arg(long, default_value = "id", value_name = "KEY")]
    id_field: String,
    /// What becomes of keys that mean nothing: `metadata` keeps them; else they are an error
    #[arg(long, value_name = "PLACE")]
    extra: Option<Extra>,
    /// Commit after so many new documents, and every second in any case [default: 20000]
    #[arg(long, value_name = "N")]
    commit_every: Option<NonZero<u64>>,
    /// Leave segments as they are at the end
    #[arg(long)]
    no_compact: bool,
    #[command(flatten)]
    cutting: Cutting,
    #[command(flatten)]
    making: Making,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Auto,
    Dir,
    Jsonl,
    Npy,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Conflict {
    Replace,
    Keep,
    Fail,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Extra {
    Metadata,
}

fn on_error(text: &str) -> std::result::Result<OnError, String> {
    match text.split_once('=') {
        None if text == "stop" => Ok(OnError::Stop),
        None if text == "skip" => Ok(OnError::Skip),
        Some(("file", path)) if !path.is_empty() => Ok(OnError::Collect(path.into())),
        _ => Err("expected stop, skip or file=PATH".to_owned()),
    }
}

impl Args {
    fn import(&self) -> Import {
        let format = match self.format {
            Format::Auto => ImportFormat::Auto,
            Format::Dir => ImportFormat::Directory,
            Format::Jsonl => ImportFormat::Jsonl,
            Format::Npy => ImportFormat::Npy,
        };
        let policy = match self.on_conflict {
            Conflict::Replace => ConflictPolicy::Replace,
            Conflict::Keep => ConflictPolicy::Keep,
            Conflict::Fail => ConflictPolicy::Fail,
        };
        let extra = if self.extra.is_some() { ExtraKeys::Metadata } else { ExtraKeys::Refuse };
        let fields = JsonFields { id: self.id_field.clone(), text: self.text_field.clone(), extra };
        let import =
            Import::new().format(format).on_conflict(policy).on_error(self.on_error.clone()).fields(fields);
        self.commit_every.into_iter().fold(import, |import, every| import.commit_every(every.get()))
    }
}

/// Imports, and prints a line for each durable batch, then the sum.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    let started = Instant::now();
    if let Some(missing) = args.sources.iter().find(|source| !source.exists()) {
        return Err(vdb::Error::NotFound { what: "source", name: missing.display().to_string() }.into());
    }
    let to = Destination::find(&args.file, true, &args.making, &args.cutting, globals)?;
    to.rehearse(|store| Ok(args.import().rehearse(store, &args.sources)?))?;
    let store = to.open(output)?;
    let (control, watch) = (output.control_of(&store), Watch::start());
    let (mut printed, mut warned) = (Ok(()), false);
    let result = args.import().control(&control).run(&store, &args.sources, |step| {
        if printed.is_ok() {
            printed = committed(step, output);
        }
        if let Some(misfit) = to.model.misfit().filter(|_| !warned) {
            output.warning(misfit);
            warned = true;
        }
    });
    let summary = result?;
    if !args.no_compact {
        store.compact(&control)?;
    }
    let granted = store.memory().peak;
    drop(control);
    store.close()?;
    // Documents are wanted whether or not anybody reads of it: status 0 means that they are there.
    printed?;
    summarise(&summary, (watch, granted), started, output)
}

fn committed(step: Committed, output: &mut Output) -> Result<()> {
    let data = json!({"documents": step.documents, "row": step.row});
    output.step("committed", &data)
}

fn summarise(
    summary: &ImportSummary,
    (watch, granted): (Watch, u64),
    started: Instant,
    output: &mut Output,
) -> Result<Exit> {
    let seconds = started.elapsed().as_secs_f64();
    let data = json!({
        "added": summary.added, "updated": summary.updated, "skipped": summary.skipped, "failed": summary.failed,
        "duplicates": summary.duplicates, "parts": summary.parts, "truncated": summary.truncated,
        "seconds": seconds, "peak_memory": watch.peak(),
        "peak_granted": granted, "peak_resident": resident("VmHWM"),
    });
    let if_any = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
    let more = if_any(summary.duplicates, "given again") + &if_any(summary.truncated, "truncated");
    let text = format!(
        "{} added, {} updated, {} skipped, {} failed{more} in {seconds:.1} s",
        super::counted(summary.added, "document"),
        summary.updated,
        summary.skipped,
        summary.failed
    );
    output.result("summary", &data, text)?;
    Ok(Exit::Done)
}
