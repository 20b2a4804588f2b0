//! The commands: one file each.

mod add;
mod check;
mod compact;
mod completions;
mod count;
mod create;
mod delete;
mod fields;
mod get;
mod import;
mod list;
mod model;
mod repair;
mod search;
mod stats;
mod update;

use clap::Subcommand;

use crate::args::Arguments;
use crate::failure::{Exit, Result};
use crate::output::Output;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Create(create::Args),
    Add(add::Args),
    Import(import::Args),
    Search(search::Args),
    Get(get::Args),
    Delete(delete::Args),
    Update(update::Args),
    List(list::Args),
    Count(count::Args),
    Fields(fields::Args),
    Stats(stats::Args),
    Check(check::Args),
    Repair(repair::Args),
    Compact(compact::Args),
    Model(model::Args),
    Completions(completions::Args),
}

/// Runs the command that was typed.
pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<Exit> {
    let globals = &arguments.globals;
    match &arguments.command {
        Command::Create(args) => create::run(args, globals, output),
        Command::Add(args) => add::run(args, globals, output),
        Command::Import(args) => import::run(args, globals, output),
        Command::Model(args) => model::run(args, output),
        Command::Search(args) => search::run(args, globals, output),
        Command::Get(args) => get::run(args, globals, output),
        Command::Delete(args) => delete::run(args, globals, output),
        Command::Update(args) => update::run(args, globals, output),
        Command::List(args) => list::run(args, globals, output),
        Command::Count(args) => count::run(args, globals, output),
        Command::Fields(args) => fields::run(args, globals, output),
        Command::Stats(args) => stats::run(args, globals, output),
        Command::Check(args) => check::run(args, globals, output),
        Command::Repair(args) => repair::run(args, globals, output),
        Command::Compact(args) => compact::run(args, globals, output),
        Command::Completions(args) => completions::run(args, output),
    }
}

/// A number of things: `1 document`, `2 documents`.
fn counted(count: u64, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}
