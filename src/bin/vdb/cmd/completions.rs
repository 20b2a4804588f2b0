//! `vdb completions`: what a shell needs to complete our command line.

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use crate::args::Arguments;
use crate::failure::{Exit, Result};
use crate::output::Output;

/// Print the completions for a shell, to be sourced from its start-up file
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "vdb", &mut script);
    let script = String::from_utf8_lossy(&script);
    let data = json!({"shell": args.shell.to_string(), "script": script});
    output.result("completions", &data, script.trim_end())?;
    Ok(Exit::Done)
}
