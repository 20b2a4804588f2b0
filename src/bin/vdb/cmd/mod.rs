//! The commands: one file each.

mod add;
mod check;
mod compact;
mod completions;
mod count;
mod create;
mod delete;
mod get;
mod list;
mod search;
mod stats;
mod update;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Arg, Subcommand};
use vdb::{Embedder, Error, OpenOptions, Store};

use crate::args::{Arguments, Globals};
use crate::failure::{Exit, Failure, Result};
use crate::making::Making;
use crate::output::Output;

/// How long to sleep before the writer lock is tried again.
const RETRY: Duration = Duration::from_millis(25);

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Create(create::Args),
    Add(add::Args),
    Search(search::Args),
    Get(get::Args),
    Delete(delete::Args),
    Update(update::Args),
    List(list::Args),
    Count(count::Args),
    Stats(stats::Args),
    Check(check::Args),
    Compact(compact::Args),
    Completions(completions::Args),
}

/// The commands that later versions have.
pub(crate) const LATER: [&str; 12] = [
    "import", "fields", "repair", "set", "backup", "backups", "restore", "merge", "export", "reembed",
    "model", "monitor",
];

/// Adds the commands of later versions, so that they are known by name.
pub(crate) fn with_later(mut command: clap::Command) -> clap::Command {
    for name in LATER {
        let rest = Arg::new("rest").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true);
        let later = clap::Command::new(name).hide(true).disable_help_flag(true).arg(rest);
        command = command.subcommand(later);
    }
    command
}

/// Runs the command that was typed.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<Exit> {
    let globals = &arguments.globals;
    match &arguments.command {
        Command::Create(args) => create::run(args, globals, output),
        Command::Add(args) => add::run(args, globals, output),
        Command::Search(args) => search::run(args, globals, output),
        Command::Get(args) => get::run(args, globals, output),
        Command::Delete(args) => delete::run(args, globals, output),
        Command::Update(args) => update::run(args, globals, output),
        Command::List(args) => list::run(args, globals, output),
        Command::Count(args) => count::run(args, globals, output),
        Command::Stats(args) => stats::run(args, globals, output),
        Command::Check(args) => check::run(args, globals, output),
        Command::Compact(args) => compact::run(args, globals, output),
        Command::Completions(args) => completions::run(args, output),
    }
}

/// The options that the global flags ask for.
pub(crate) fn options(globals: &Globals) -> OpenOptions {
    let mut options = OpenOptions::new();
    if let Some(memory) = globals.memory {
        options = options.memory_budget(memory.as_u64());
    }
    if let Some(threads) = globals.threads {
        options = options.threads(threads);
    }
    options
}

/// Opens a store to read it.
pub(crate) fn open_to_read(path: &Path, globals: &Globals) -> Result<Store> {
    Ok(options(globals).read_only(true).open(path)?)
}

/// Opens a store to write it; waits for another writer as long as `--wait` says.
fn open_to_write(path: &Path, globals: &Globals, output: &Output) -> Result<Store> {
    open_with(&options(globals), path, globals, output)
}

/// As [`open_to_write`], with options.
fn open_with(options: &OpenOptions, path: &Path, globals: &Globals, output: &Output) -> Result<Store> {
    let started = Instant::now();
    loop {
        match options.clone().open(path) {
            Err(Error::Locked { .. }) if started.elapsed() < globals.wait => {
                output.go_on()?;
                std::thread::sleep(RETRY);
            }
            result => return Ok(result?),
        }
    }
}

/// Opens a store to write it, or makes it first, as `making` says, and says so. The model's vectors come from
/// `embedder`.
fn open_or_make(
    path: &Path,
    making: &Making,
    embedder: Option<Arc<dyn Embedder>>,
    globals: &Globals,
    output: &mut Output,
) -> Result<Store> {
    let with = |options: OpenOptions| match &embedder {
        Some(embedder) => options.embedder(Arc::clone(embedder)),
        None => options,
    };
    match open_with(&with(options(globals)), path, globals, output) {
        Err(Failure::Store(Error::NotFound { .. })) => {}
        Err(failure) => return Err(failure),
        Ok(store) => {
            making.fits(&store.stats()?)?;
            return Ok(store);
        }
    }
    match with(making.options(globals)?).create(path) {
        // Another process was quicker.
        Err(Error::Exists { .. }) => {
            let store = open_with(&with(options(globals)), path, globals, output)?;
            making.fits(&store.stats()?)?;
            Ok(store)
        }
        Err(error) => Err(error.into()),
        Ok(store) => {
            let made = making.made(path)?;
            output.status("created", &made.data, made.text);
            Ok(store)
        }
    }
}

/// A number of things: `1 document`, `2 documents`.
fn counted(count: u64, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}
