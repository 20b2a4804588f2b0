//! The commands: one file each.

mod check;
mod compact;
mod create;
mod stats;

use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Arg, Subcommand};
use vdb::{Error, OpenOptions, Store};

use crate::args::{Arguments, Globals};
use crate::failure::{Exit, Result};
use crate::output::Output;

/// How long to sleep before the writer lock is tried again.
const RETRY: Duration = Duration::from_millis(25);

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Create(create::Args),
    Stats(stats::Args),
    Check(check::Args),
    Compact(compact::Args),
}

/// The commands that later versions have.
pub(crate) const LATER: [&str; 20] = [
    "add",
    "import",
    "search",
    "get",
    "delete",
    "update",
    "list",
    "count",
    "fields",
    "repair",
    "set",
    "backup",
    "backups",
    "restore",
    "merge",
    "export",
    "reembed",
    "model",
    "monitor",
    "completions",
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
        Command::Stats(args) => stats::run(args, globals, output),
        Command::Check(args) => check::run(args, globals, output),
        Command::Compact(args) => compact::run(args, globals, output),
    }
}

/// The options that the global flags ask for.
fn options(globals: &Globals) -> OpenOptions {
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
fn open_to_read(path: &Path, globals: &Globals) -> Result<Store> {
    Ok(options(globals).read_only(true).open(path)?)
}

/// Opens a store to write it; waits for another writer as long as `--wait` says.
fn open_to_write(path: &Path, globals: &Globals, output: &Output) -> Result<Store> {
    let started = Instant::now();
    loop {
        match options(globals).open(path) {
            Err(Error::Locked { .. }) if started.elapsed() < globals.wait => {
                if output.cancel().is_cancelled() {
                    return Err(Error::Cancelled.into());
                }
                std::thread::sleep(RETRY);
            }
            result => return Ok(result?),
        }
    }
}
