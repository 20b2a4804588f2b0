//! `vdb create`: a new, empty store.

use std::path::PathBuf;

use crate::args::Globals;
use crate::failure::{Exit, Result};
use crate::making::Making;
use crate::output::Output;

/// Make a new, empty store; an existing file is refused
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file to make
    file: PathBuf,
    #[command(flatten)]
    making: Making,
}

/// Makes the store.
pub(crate) fn run(args: &Args, globals: &Globals, output: &mut Output) -> Result<Exit> {
    let model = args.making.model()?;
    let made = args.making.made(&args.file, model.as_ref());
    args.making.options(model, globals).create(&args.file)?.close()?;
    output.result("created", &made.data, made.text)?;
    Ok(Exit::Done)
}
